"""The thread team: native workers that run a kernel's chunks beside the calling thread.

There is one team in a process. Its code is LLVM IR. Its threads are plain pthreads that never
touch Python, created when the first large kernel runs. Workers spin for a while after a job,
then sleep on a futex. A call that finds the team busy (nested calls, calls from other Python
threads) runs its chunks itself, eight as one. Chunks are handed out until a signal handler
raises in the calling thread, which checks every 50 ms. After a fork the child starts without
workers and creates its own.

Chunks share nothing: no result depends on how many there are, nor on who runs them.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
from typing import Any

from graphjit.codegen.runtime.runtime_symbols import (
    INTERRUPTED,
    STACK_END,
    TEAM_INTERRUPTED,
    TEAM_RUN,
)

from .native_code import lasting_code
from .segment_entry import declarations

# Pauses before a worker sleeps, about 50 µs: longer than Python takes from one call in a loop
# to the next, too short to matter for a laptop's battery.
SPINS = 4000
# How often a thread that calls long kernels checks for signals.
POLL_NS = 50_000_000
_EXPORTED = TEAM_RUN, TEAM_INTERRUPTED, STACK_END
_MONOTONIC_COARSE = 6
_POLLING = ("PyEval_RestoreThread", "PyErr_CheckSignals", "PyEval_SaveThread")
_FUTEX = {"x86_64": 202, "aarch64": 98}
_PAUSE = {
    "x86_64": ("call void @llvm.x86.sse2.pause()", "declare void @llvm.x86.sse2.pause()"),
    "aarch64": ("call void @llvm.aarch64.hint(i32 1)", "declare void @llvm.aarch64.hint(i32)"),
}

# @state: OPEN while a job may be joined, plus the number of workers in it.
# @failed: the lowest chunk that failed. @code and @record: its status and details.
_TEXT = """
@lock = global i64 0, align 128
@epoch = global i32 0, align 128
@next = global i64 0, align 128
@state = global i64 0, align 128
@sleepers = global i32 0, align 128
@wanted = global i64 0, align 128
@started = global i64 0
@job = global ptr null
@context = global ptr null
@extent = global i64 0
@chunk = global i64 0
@failing = global i64 0, align 128
@failed = global i64 0
@code = global i64 0
@record = global [3 x i64] zeroinitializer
@stopped = global i64 0, align 128

declare i32 @clock_gettime(i32, ptr)
declare i64 @syscall(i64, ...)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)
declare i32 @sched_yield()

; Whether a signal's handler has raised: asked every POLL_NS of the thread that was given a
; poll, { its Python thread state, when it was asked last }, the GIL being held meanwhile.
define internal i1 @interrupted(ptr %poll) nounwind {
entry:
  %time = alloca [2 x i64]
  %given = icmp ne ptr %poll, null
  br i1 %given, label %clock, label %no
clock:
  %c = call i32 @clock_gettime(i32 COARSE, ptr %time)
  %seconds = load i64, ptr %time
  %rest.at = getelementptr i64, ptr %time, i64 1
  %rest = load i64, ptr %rest.at
  %whole = mul i64 %seconds, 1000000000
  %now = add i64 %whole, %rest
  %last.at = getelementptr i64, ptr %poll, i64 1
  %last = load i64, ptr %last.at
  %never = icmp eq i64 %last, 0
  br i1 %never, label %start, label %compare
start:
  store i64 %now, ptr %last.at
  ret i1 false
compare:
  %passed = sub i64 %now, %last
  %due = icmp ugt i64 %passed, POLL_NS
  br i1 %due, label %ask, label %no
ask:
  store i64 %now, ptr %last.at
  %thread = load ptr, ptr %poll
  call void @PyEval_RestoreThread(ptr %thread)
  %raised = call i32 @PyErr_CheckSignals()
  %again = call ptr @PyEval_SaveThread()
  %stop = icmp ne i32 %raised, 0
  ret i1 %stop
no:
  ret i1 false
}

define i1 @team_interrupted(ptr %poll) nounwind {
  %stop = call i1 @interrupted(ptr %poll)
  ret i1 %stop
}

define internal void @work(ptr %poll) nounwind {
entry:
  %notes = alloca [3 x i64]
  store [3 x i64] zeroinitializer, ptr %notes
  %job = load ptr, ptr @job
  %context = load ptr, ptr @context
  %extent = load i64, ptr @extent
  %chunk = load i64, ptr @chunk
  br label %take
take:
  %stop = call i1 @interrupted(ptr %poll)
  br i1 %stop, label %halt, label %look
halt:
  store atomic i64 1, ptr @stopped monotonic, align 8
  br label %done
look:
  %halted = load atomic i64, ptr @stopped monotonic, align 8
  %go = icmp eq i64 %halted, 0
  br i1 %go, label %next, label %done
next:
  %begin = atomicrmw add ptr @next, i64 %chunk monotonic
  %more = icmp ult i64 %begin, %extent
  br i1 %more, label %run, label %done
run:
  %after = add i64 %begin, %chunk
  %short = icmp ult i64 %after, %extent
  %end = select i1 %short, i64 %after, i64 %extent
  %status = call i64 %job(ptr %context, i64 %begin, i64 %end, ptr %notes)
  %bad = icmp ne i64 %status, 0
  br i1 %bad, label %report, label %take
report:
  %turn = cmpxchg ptr @failing, i64 0, i64 1 acquire monotonic
  %mine = extractvalue { i64, i1 } %turn, 1
  br i1 %mine, label %compare, label %report
compare:
  %best = load i64, ptr @failed
  %first = icmp ult i64 %begin, %best
  br i1 %first, label %note, label %leave
note:
  store i64 %begin, ptr @failed
  store i64 %status, ptr @code
  call void @llvm.memcpy.p0.p0.i64(ptr @record, ptr %notes, i64 24, i1 false)
  br label %leave
leave:
  store atomic i64 0, ptr @failing release, align 8
  br label %take
done:
  ret void
}

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define internal ptr @worker(ptr %unused) nounwind {
entry:
  br label %rest
rest:
  %seen = phi i32 [ 0, %entry ], [ %now, %joined ], [ %now, %check ], [ %now, %closed ]
  br label %spin
spin:
  %count = phi i32 [ 0, %rest ], [ %counted, %pause ], [ 0, %woken ]
  %now = load atomic i32, ptr @epoch acquire, align 4
  %new = icmp ne i32 %now, %seen
  br i1 %new, label %check, label %wait
wait:
  %tired = icmp uge i32 %count, SPINS
  br i1 %tired, label %sleep, label %pause
pause:
  PAUSE
  %counted = add i32 %count, 1
  br label %spin
sleep:
  %s0 = atomicrmw add ptr @sleepers, i32 1 seq_cst
  %s1 = call i64 (i64, ...) @syscall(i64 FUTEX, ptr @epoch, i32 128, i32 %seen, ptr null)
  %s2 = atomicrmw sub ptr @sleepers, i32 1 seq_cst
  br label %woken
woken:
  br label %spin
check:
  %state = load atomic i64, ptr @state acquire, align 8
  %open = icmp uge i64 %state, OPEN
  br i1 %open, label %join, label %rest
join:
  %inside = sub i64 %state, OPEN
  %wanted = load atomic i64, ptr @wanted monotonic, align 8
  %room = icmp ult i64 %inside, %wanted
  br i1 %room, label %enter, label %closed
closed:
  br label %rest
enter:
  %grown = add i64 %state, 1
  %swap = cmpxchg ptr @state, i64 %state, i64 %grown acq_rel monotonic
  %in = extractvalue { i64, i1 } %swap, 1
  br i1 %in, label %joined.work, label %check
joined.work:
  call void @work(ptr null)
  %out = atomicrmw sub ptr @state, i64 1 release
  br label %joined
joined:
  br label %rest
}

define internal void @start() nounwind {
entry:
  %thread = alloca i64
  br label %more
more:
  %started = load i64, ptr @started
  %wanted = load atomic i64, ptr @wanted monotonic, align 8
  %short = icmp ult i64 %started, %wanted
  br i1 %short, label %make, label %done
make:
  %failed = call i32 @pthread_create(ptr %thread, ptr null, ptr @worker, ptr null)
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %made, label %done
made:
  %id = load i64, ptr %thread
  %ignored = call i32 @pthread_detach(i64 %id)
  %grown = add i64 %started, 1
  store i64 %grown, ptr @started
  br label %more
done:
  ret void
}

define i64 @team_run(ptr %job, ptr %context, i64 %extent, i64 %chunk, ptr %record,
    ptr %poll) nounwind {
entry:
  %wanted = load atomic i64, ptr @wanted monotonic, align 8
  %alone = icmp eq i64 %wanted, 0
  br i1 %alone, label %serial, label %try
try:
  %turn = cmpxchg ptr @lock, i64 0, i64 1 acquire monotonic
  %mine = extractvalue { i64, i1 } %turn, 1
  br i1 %mine, label %lead, label %serial
serial:
  %polled = icmp ne ptr %poll, null
  %many = shl i64 %chunk, 3
  br i1 %polled, label %pieces, label %whole
whole:
  %own = call i64 %job(ptr %context, i64 0, i64 %extent, ptr %record)
  ret i64 %own
pieces:
  %at = phi i64 [ 0, %serial ], [ %to, %piece ]
  %rest = icmp ult i64 %at, %extent
  br i1 %rest, label %ask, label %served
ask:
  %raised = call i1 @interrupted(ptr %poll)
  br i1 %raised, label %break, label %piece
piece:
  %behind = add i64 %at, %many
  %inside = icmp ult i64 %behind, %extent
  %to = select i1 %inside, i64 %behind, i64 %extent
  %part = call i64 %job(ptr %context, i64 %at, i64 %to, ptr %record)
  %wrong = icmp ne i64 %part, 0
  br i1 %wrong, label %told, label %pieces
told:
  ret i64 %part
served:
  ret i64 0
break:
  ret i64 INTERRUPTED
lead:
  call void @start()
  store ptr %job, ptr @job
  store ptr %context, ptr @context
  store i64 %extent, ptr @extent
  store i64 %chunk, ptr @chunk
  store i64 -1, ptr @failed
  store i64 0, ptr @code
  store atomic i64 0, ptr @next monotonic, align 8
  store atomic i64 OPEN, ptr @state release, align 8
  %e = atomicrmw add ptr @epoch, i32 1 seq_cst
  %asleep = load atomic i32, ptr @sleepers seq_cst, align 4
  %any = icmp ne i32 %asleep, 0
  br i1 %any, label %wake, label %help
wake:
  %w = call i64 (i64, ...) @syscall(i64 FUTEX, ptr @epoch, i32 129, i32 2147483647)
  br label %help
help:
  call void @work(ptr %poll)
  %closing = atomicrmw sub ptr @state, i64 OPEN acq_rel
  br label %drain
drain:
  %spins = phi i32 [ 0, %help ], [ %spun, %pausing ]
  %left = load atomic i64, ptr @state acquire, align 8
  %empty = icmp eq i64 %left, 0
  br i1 %empty, label %finish, label %still
still:
  %spun = add i32 %spins, 1
  %long = icmp ugt i32 %spun, 20000
  br i1 %long, label %yield, label %pausing
yield:
  %y = call i32 @sched_yield()
  br label %pausing
pausing:
  PAUSE
  br label %drain
finish:
  %status = load i64, ptr @code
  %bad = icmp ne i64 %status, 0
  %cut = load i64, ptr @stopped
  %cancelled = icmp ne i64 %cut, 0
  store i64 0, ptr @stopped
  br i1 %cancelled, label %leaving, label %judge
leaving:
  store atomic i64 0, ptr @lock release, align 8
  ret i64 INTERRUPTED
judge:
  br i1 %bad, label %tell, label %release
tell:
  call void @llvm.memcpy.p0.p0.i64(ptr %record, ptr @record, i64 24, i1 false)
  br label %release
release:
  store atomic i64 0, ptr @lock release, align 8
  ret i64 %status
}
"""


_STACK_END = """
@key = global i32 0

declare i32 @pthread_key_create(ptr, ptr)
declare ptr @pthread_getspecific(i32)
declare i32 @pthread_setspecific(i32, ptr)
declare i64 @pthread_self()
declare i32 @pthread_getattr_np(i64, ptr)
declare i32 @pthread_attr_getstack(ptr, ptr, ptr)
declare i32 @pthread_attr_destroy(ptr)

define void @prepare() nounwind {
  %failed = call i32 @pthread_key_create(ptr @key, ptr null)
  ret void
}

; The lowest address of this thread's stack, asked of the system once a thread.
define i64 @stack_end() nounwind {
entry:
  %attributes = alloca [64 x i64], align 16
  %end = alloca i64
  %size = alloca i64
  %key = load i32, ptr @key
  %known = call ptr @pthread_getspecific(i32 %key)
  %new = icmp eq ptr %known, null
  br i1 %new, label %ask, label %tell
ask:
  %self = call i64 @pthread_self()
  %failed = call i32 @pthread_getattr_np(i64 %self, ptr %attributes)
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %read, label %unknown
read:
  %r = call i32 @pthread_attr_getstack(ptr %attributes, ptr %end, ptr %size)
  %d = call i32 @pthread_attr_destroy(ptr %attributes)
  %found = load ptr, ptr %end
  %s = call i32 @pthread_setspecific(i32 %key, ptr %found)
  br label %tell
tell:
  %address = phi ptr [ %known, %entry ], [ %found, %read ]
  %number = ptrtoint ptr %address to i64
  ret i64 %number
unknown:
  ret i64 9223372036854775807
}
"""
_NO_STACK_END = """
define void @prepare() nounwind {
  ret void
}

define i64 @stack_end() nounwind {
  ret i64 0
}
"""


class Team:
    """The process's team.

    native: whether this system can have worker threads
    addresses: those of the functions that other code calls, by name
    """

    def __init__(self) -> None:
        self.native = sys.platform == "linux" and platform.machine() in _FUTEX
        # never unloaded: workers sleep in this code until the process ends
        self._code = lasting_code("team", _text)
        ctypes.CFUNCTYPE(None)(self._code.address("prepare"))()
        self.addresses = {name: self._code.address(name) for name in _EXPORTED}
        os.register_at_fork(after_in_child=self._forget)

    def _word(self, name: str) -> Any:
        return ctypes.c_int64.from_address(self._code.address(name))

    def set_threads(self, threads: int) -> None:
        """Set how many threads work on one kernel, the caller included."""
        self._word("wanted").value = max(0, threads - 1) if self.native else 0

    def _forget(self) -> None:
        """Reset the state in a forked child: neither workers nor jobs were forked."""
        for name in ("lock", "state", "started", "failing", "stopped"):
            self._word(name).value = 0
        ctypes.c_int32.from_address(self._code.address("sleepers")).value = 0


def _text() -> str:
    """The team's code for this machine, as LLVM IR."""
    machine_name = platform.machine()
    stack = _STACK_END if sys.platform == "linux" else _NO_STACK_END
    text = (_TEXT + stack).replace("SPINS", str(SPINS)).replace("OPEN", str(1 << 32))
    text = text.replace("POLL_NS", str(POLL_NS)).replace("INTERRUPTED", str(INTERRUPTED))
    text = text.replace("COARSE", str(_MONOTONIC_COARSE))
    text = text.replace("FUTEX", str(_FUTEX.get(machine_name, 202)))
    pause, declared = _PAUSE.get(machine_name, ("", ""))
    return text.replace("PAUSE", pause) + f"{declared}\n{declarations(*_POLLING)}"


@functools.cache
def team() -> Team:
    """The team, with as many threads as the configuration says."""
    from graphjit.core.config import config

    made = Team()
    config.watch_threads(made.set_threads)
    return made


def team_addresses() -> dict[str, int]:
    """The addresses of the team's functions that other code calls, by name."""
    return team().addresses
