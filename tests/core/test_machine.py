"""The machine's description: from the system, measured, stored, given; never in the way."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

import graphjit as gj
from graphjit.cli import calibrate
from graphjit.core import machine as description
from graphjit.core.machine import Machine, keep, machine
from graphjit.core.types import TensorType, float32, float64
from graphjit.ir import cost_model
from graphjit.ir.program import Buffer, Index, Kernel, Load


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHJIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("GRAPHJIT_MACHINE", raising=False)
    machine.cache_clear()
    yield
    machine.cache_clear()


def test_the_system_tells_cores_and_caches():
    found = machine()
    assert found.cores >= 1 and not found.measured
    assert 4096 <= found.l1_bytes <= found.l2_bytes <= found.l3_bytes


def test_what_was_measured_is_kept_for_this_machine_only(tmp_path):
    found = replace(machine(), bytes_per_ns=123.0, measured=True)
    path = keep(found)
    assert path is not None and json.loads(path.read_text()) == asdict(found)
    assert machine() == found
    machine.cache_clear()
    path.write_text(json.dumps({**asdict(found), "name": "another"}))
    assert not machine().measured


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"cores": 0}', '{"cores": 4.0}', '{"speed": 3}', '{"cores": "x"}']
)
def test_a_spoilt_file_is_as_none_and_a_spoilt_description_an_error(
    text, tmp_path, monkeypatch
):
    path = keep(machine())
    path.write_text(text)
    machine.cache_clear()
    assert not machine().measured
    given = tmp_path / "machine.json"
    given.write_text(text)
    monkeypatch.setenv("GRAPHJIT_MACHINE", str(given))
    machine.cache_clear()
    with pytest.raises(gj.errors.InvalidArgumentError, match="GRAPHJIT_MACHINE"):
        machine()


def test_a_given_description_wins(tmp_path, monkeypatch):
    given = tmp_path / "machine.json"
    given.write_text('{"l3_bytes": 4096, "bytes_per_ns": 2}')
    monkeypatch.setenv("GRAPHJIT_MACHINE", str(given))
    assert (machine().l3_bytes, machine().bytes_per_ns) == (4096, 2)


def test_no_folder_no_file(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRAPHJIT_CACHE_DIR", str(tmp_path / "file"))
    assert keep(machine()) is None
    monkeypatch.delenv("GRAPHJIT_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "there"))
    assert description.cache_folder() == tmp_path / "there" / "graphjit"


def test_measuring(monkeypatch):
    monkeypatch.setattr(calibrate, "STREAM_BYTES", 8 << 20)
    monkeypatch.setattr(calibrate, "SIDE", 64)
    threads = gj.config.threads
    found = calibrate.measure()
    assert found.measured and gj.config.threads == threads
    rates = [v for k, v in asdict(found).items() if k.endswith("per_ns")]
    assert all(0.1 < rate < 1e5 for rate in rates)


def test_time_and_floor_follow_the_description(monkeypatch):
    here = Machine("test", 2, l2_bytes=1000, l3_bytes=4000, bytes_per_ns=2.0,
                   all_bytes_per_ns=4.0, cached_bytes_per_ns=10.0)  # fmt: skip
    monkeypatch.setattr(cost_model, "machine", lambda: here)
    for count, time, floor in ((100, 40.0, 20.0), (10_000, 20_000.0, 10_000.0)):
        buffers = (Buffer(TensorType((count,), float32), "input"),)
        load = Load(0, Index(0, (1,)), float32)
        kernel = Kernel("k", (count,), 0, "outer", (load,), ())
        assert cost_model.step_time_ns(kernel, buffers) == time
        assert cost_model.floor_ns(kernel, buffers) == floor


def test_explain_says_how_far_a_call_is_from_the_roofline(tmp_path):
    f = gj.function(lambda x: np.exp(x) + 1)
    x = np.ones(1000)
    f(x)
    assert "at least" in f.explain(x)


@pytest.mark.parametrize("dtype", [float32, float64])
def test_the_team_starts_where_one_thread_would_take_as_long(dtype):
    """Of symbolic extents as of those that are known."""
    fn = gj.function(lambda x: np.tanh(x) * 2, input_signature=[gj.TensorSpec([None], dtype)])
    step, buffers = _only_kernel(fn, np.ones(9, dtype.dtype))
    enough = cost_model.team_points(step, buffers)
    assert enough > 1
    for n, wanted in ((enough, True), (enough - 1, False)):
        static = gj.function(lambda x: np.tanh(x) * 2)
        known, sizes = _only_kernel(static, np.ones(n, dtype.dtype))
        assert (cost_model.step_time_ns(known, sizes) >= cost_model.TEAM_NS) == wanted


def _only_kernel(fn, x):
    program = fn.specialization(x).program
    (step,) = program.steps
    return step, program.buffers
