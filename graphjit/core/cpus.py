"""How many CPUs are this process's share of the machine.

The least of: the CPUs it may run on, whole CPUs of its cgroups' quotas, what `OMP_NUM_THREADS`
(set by Dask's nanny, Ray, joblib and many queues) and `SLURM_CPUS_PER_TASK` say, and, where a
launcher of MPI pinned nothing, an equal part for each process that it started here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

# The number of an MPI job's processes on this machine: Open MPI, MPICH and Intel MPI, MVAPICH,
# Cray's PALS.
_LOCAL_SIZES = (
    "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "MV2_COMM_WORLD_LOCAL_SIZE",
    "PALS_LOCAL_SIZE", "PMI_LOCAL_SIZE",
)  # fmt: skip
_MAX_LEVELS = 32
Read = Callable[[str], str]


def available(
    allowed: int | None = None, names: Mapping[str, str] | None = None, read: Read | None = None
) -> int:
    """The number of CPUs, from 1 on.

    allowed: those that the process may run on; names: the environment; read: what gives a
    file's text, or nothing where there is none. The system's own unless given.
    """
    names = os.environ if names is None else names
    read = _text if read is None else read
    everything = os.cpu_count() or 1
    if allowed is None:
        can_ask = hasattr(os, "sched_getaffinity")
        allowed = len(os.sched_getaffinity(0)) if can_ask else everything
    limits = [allowed, *_quotas(read)]
    size = _local_size(names)
    if size and allowed >= everything:  # else each process has CPUs of its own
        limits.append(max(1, min(limits) // size))
    for name in ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "SLURM_CPUS_PER_TASK"):
        limits.append(
            _count(names.get(name, "").partition(",")[0])
        )  # one for each nested level
    return min(n for n in limits if n)


def _count(text: str) -> int:
    """The number from 1 on that a text says, or 0: what others' variables hold is theirs."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() else 0


def _local_size(names: Mapping[str, str]) -> int:
    """The number of processes that a launcher started on this machine, 0 if none did."""
    found = [_count(names.get(name, "")) for name in _LOCAL_SIZES]
    # Slurm's: of a step's nodes in order, such as "4(x2),3"
    tasks: list[int] = []
    for part in names.get("SLURM_STEP_TASKS_PER_NODE", "").split(","):
        size, _, times = part.partition("(x")
        tasks += [_count(size)] * max(1, _count(times.rstrip(")")))
    node = names.get("SLURM_NODEID", "0")
    place = int(node) if node.isascii() and node.isdecimal() else 0
    found.append(tasks[place] if place < len(tasks) else 0)
    return max(found)


def _quotas(read: Read) -> list[int]:
    """Whole CPUs of the quotas of the process's cgroups and of those that they are in."""
    found = []
    for line in read("/proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            roots, second = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"), True
        elif "cpu" in controllers.split(","):
            roots, second = ("/sys/fs/cgroup/cpu", f"/sys/fs/cgroup/{controllers}"), False
        else:
            continue
        parts = [part for part in path.split("/") if part and part != ".."][:_MAX_LEVELS]
        # within a container the path may be the host's, of which only the root is seen here
        for depth in range(len(parts) + 1):
            for root in roots:
                folder = "/".join([root, *parts[:depth]])
                if second:
                    quota, _, period = read(f"{folder}/cpu.max").strip().partition(" ")
                else:
                    quota = read(f"{folder}/cpu.cfs_quota_us").strip()
                    period = read(f"{folder}/cpu.cfs_period_us").strip()
                if _count(quota) and _count(period):
                    found.append(max(1, _count(quota) // _count(period)))
    return found


def _text(path: str) -> str:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(handle, 1 << 14).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(handle)
