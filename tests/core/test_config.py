"""Options: a process's share of the CPUs; what is misspelt or has a bad value is said."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

import graphjit as gj
from graphjit.core import cpus
from graphjit.core.config import VARIABLES


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)


def files(*texts: tuple[str, str]) -> Any:
    held = dict(texts)
    return lambda path: held.get(path, "")


def test_all_that_it_may_run_on() -> None:
    assert cpus.available(64, {}, files()) == 64 and cpus.available(3, {}, files()) == 3
    assert 1 <= cpus.available() <= 64


@pytest.mark.parametrize(
    ("names", "count"),
    [
        ({"OMP_NUM_THREADS": "1"}, 1),  # Dask's nanny, Ray, joblib
        ({"OMP_NUM_THREADS": "8"}, 8),
        ({"OMP_NUM_THREADS": "6,2"}, 6),
        ({"OMP_NUM_THREADS": " 6 "}, 6),
        ({"OMP_NUM_THREADS": ""}, 64),
        ({"OMP_NUM_THREADS": "many"}, 64),
        ({"OMP_NUM_THREADS": "0"}, 64),
        ({"OMP_NUM_THREADS": "-1"}, 64),
        ({"OMP_NUM_THREADS": "²"}, 64),
        ({"OMP_NUM_THREADS": "1000"}, 64),
        ({"OMP_THREAD_LIMIT": "5", "OMP_NUM_THREADS": "9"}, 5),
        ({"SLURM_CPUS_PER_TASK": "12"}, 12),
        ({"SLURM_CPUS_PER_TASK": "12", "OMP_NUM_THREADS": "3"}, 3),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "4"}, 16),
        ({"MPI_LOCALNRANKS": "3"}, 21),
        ({"MV2_COMM_WORLD_LOCAL_SIZE": "128"}, 1),
        ({"PALS_LOCAL_SIZE": "1"}, 64),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "4", "OMP_NUM_THREADS": "20"}, 16),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "4", "OMP_NUM_THREADS": "2"}, 2),
        ({"SLURM_STEP_TASKS_PER_NODE": "8"}, 8),
        ({"SLURM_STEP_TASKS_PER_NODE": "8(x2),2", "SLURM_NODEID": "1"}, 8),
        ({"SLURM_STEP_TASKS_PER_NODE": "8(x2),2", "SLURM_NODEID": "2"}, 32),
        ({"SLURM_STEP_TASKS_PER_NODE": "x(y", "SLURM_NODEID": "z"}, 64),
    ],
)
def test_what_launchers_say(names: dict[str, str], count: int) -> None:
    assert cpus.available(64, names, files()) == count


def test_processes_that_are_pinned_have_cpus_of_their_own() -> None:
    assert cpus.available(16, {"OMPI_COMM_WORLD_LOCAL_SIZE": "4"}, files()) == 16


@pytest.mark.parametrize(
    ("texts", "count"),
    [
        # a container of the second version sees its own group as the root
        ([("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/cpu.max", "400000 100000\n")], 4),
        ([("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/cpu.max", "max 100000\n")], 64),
        ([("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/cpu.max", "150000 100000\n")], 1),
        ([("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/cpu.max", "50000 100000\n")], 1),
        (
            [
                ("/proc/self/cgroup", "0::/a.slice/b.scope\n"),
                ("/sys/fs/cgroup/a.slice/cpu.max", "300000 100000"),
                ("/sys/fs/cgroup/a.slice/b.scope/cpu.max", "800000 100000"),
            ],
            3,
        ),
        (
            [
                ("/proc/self/cgroup", "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n"),
                ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000\n"),
                ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ],
            2,
        ),
        (
            [
                ("/proc/self/cgroup", "5:cpu,cpuacct:/job\n"),
                ("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "700000\n"),
                ("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n"),
            ],
            7,
        ),
        (
            [
                ("/proc/self/cgroup", "5:cpu:/\n"),
                ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
                ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ],
            64,
        ),
        ([("/proc/self/cgroup", "garbage\n::\n0::\n")], 64),
    ],
)
def test_quotas_of_cgroups(texts: list[tuple[str, str]], count: int) -> None:
    assert cpus.available(64, {}, files(*texts)) == count


def test_processes_share_a_quota() -> None:
    read = files(("/proc/self/cgroup", "0::/"), ("/sys/fs/cgroup/cpu.max", "1600000 100000"))
    assert cpus.available(64, {"MPI_LOCALNRANKS": "4"}, read) == 4


def imported(code: str = "", **names: str) -> subprocess.CompletedProcess[str]:
    code = f"import graphjit as gj; print(gj.config.threads); {code}"
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GRAPHJIT_", "OMP_"))}
    return subprocess.run(
        [sys.executable, "-c", code], env=env | names, capture_output=True, text=True
    )


def test_the_explicit_number_wins() -> None:
    assert imported(OMP_NUM_THREADS="1").stdout == "1\n"
    assert imported(OMP_NUM_THREADS="1", GRAPHJIT_NUM_THREADS="7").stdout == "7\n"
    assert imported(OMP_NUM_THREADS="junk").returncode == 0


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GRAPHJIT_NUM_THREADS", "many", "a count from 1 on"),
        ("GRAPHJIT_NUM_THREADS", "0", "a count from 1 on"),
        ("GRAPHJIT_CACHE_BYTES", "1G", "a count from 0 on"),
        ("GRAPHJIT_SYMBOLIC_AFTER", "neve", '"never"'),
        ("GRAPHJIT_NATIVE_AFTER", "-1", '"never"'),
        ("GRAPHJIT_EAGER", "maybe", "1 or 0"),
        ("GRAPHJIT_CACHE", "2", "1 or 0"),
        ("GRAPHJIT_LOG", "compiles", "compile"),
    ],
)
def test_bad_values_in_the_environment_are_errors(name: str, value: str, said: str) -> None:
    result = imported(**{name: value})
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert name in last and repr(value) in last and said in last


def test_unknown_variables_are_warned_of() -> None:
    result = imported(GRAPHJIT_NUM_THREAD="3")
    assert result.returncode == 0 and "did you mean GRAPHJIT_NUM_THREADS?" in result.stderr
    assert all(name in result.stderr for name in VARIABLES)
    assert not imported(**dict.fromkeys(VARIABLES, "")).stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("verify", 1), ("cache", "no"), ("cache_bytes", -1), ("cache_bytes", 1.5),
        ("cublas", None), ("log", "compile"), ("log", {"all"}), ("static_values", None),
        ("recompile_warning", True), ("symbolic_after", 0), ("symbolic_after", "never"),
        ("native_after", -1), ("threads", 0), ("threads", None),
    ],
)  # fmt: skip
def test_bad_values_of_options_are_errors(name: str, value: Any) -> None:
    before = getattr(gj.config, name)
    with pytest.raises(gj.errors.InvalidArgumentError, match=rf"config\.{name} is .*, not"):
        setattr(gj.config, name, value)
    assert getattr(gj.config, name) == before


@pytest.mark.parametrize(
    "name", ["thread", "num_threads", "eager", "forbid_recompile", "Cache"]
)
def test_misspelt_options_are_errors(name: str) -> None:
    with pytest.raises(AttributeError, match=r"no option .*There are: cache, .*verify"):
        setattr(gj.config, name, True)


@pytest.mark.parametrize(
    "options",
    [{"fast_math": "yes"}, {"passes": "simplify"}, {"passes": [1]}, {"fallback": "no"}],
)
def test_bad_options_of_functions_are_errors(options: dict[str, Any]) -> None:
    with pytest.raises(gj.errors.InvalidArgumentError, match=next(iter(options))):
        gj.function(lambda x: x, **options)


def test_misspelt_options_of_functions_are_errors() -> None:
    with pytest.raises(TypeError, match="fallbak"):
        gj.function(lambda x: x, fallbak="error")
