"""Every check of the emulator is shown a kernel with that fault, and must name it."""

from __future__ import annotations

import numpy as np
import pytest
from ptx import kernels
from ptx.errors import (
    AlignmentError,
    ArgumentError,
    BoundsError,
    DeadlockError,
    ExecutionError,
    ParseError,
    RaceError,
    StepLimitError,
    UninitializedError,
    WarpSyncError,
)
from ptx.launch import Memory, launch, parse
from ptx.snippets import program, run

SCHEDULES: list[str | int] = ["lockstep", 3]
ZEROS = np.zeros(64, np.uint32)
SHARED = ".shared .align 16 .b8 s[256];"
# %d3: the thread's 4 bytes of s; %d4: the next thread's, of 32.
PLACES = """
    mov.b64 %d5, s;
    mad.wide.u32 %d3, %r0, 4, %d5;
    xor.b32 %r1, %r0, 1;
    mad.wide.u32 %d4, %r1, 4, %d5;
"""


@pytest.fixture(params=SCHEDULES)
def schedule(request: pytest.FixtureRequest) -> str | int:
    return request.param  # type: ignore[no-any-return]


def test_barrier_removed(schedule: str | int) -> None:
    """In each of LLVM's kernels, any barrier that is taken away is missed."""
    memory = Memory()
    x = memory.array(np.ones((40, 40), np.float32))
    y = memory.array(np.zeros((40, 40), np.float32))
    count = memory.array(np.zeros(64, np.int32))
    arguments = {
        "sum": (1, 256, [x, y, 1600]),
        "matmul": ((3, 3), (16, 16), [x, x, y, 40, 40, 40]),
        "transpose": ((3, 3), (16, 16), [x, y, 40, 40]),
        "histogram": (1, 128, [x, count, 1600]),
        "softmax": (1, 128, [x, y, 1600]),
    }
    for name, (grid, block, args) in arguments.items():
        text = kernels.ptx(name, "sm_80")
        barrier = "bar.sync \t0;"
        parts = text.split(barrier)
        assert len(parts) > 1
        for missing in range(1, len(parts)):
            mutant = barrier.join(parts[:missing]) + barrier.join(parts[missing:])
            with pytest.raises((RaceError, UninitializedError)):
                launch(parse(mutant), name, grid, block, args, memory=memory, schedule=schedule)


def test_bound_off_by_one(schedule: str | int) -> None:
    text = kernels.ptx("elementwise", "sm_80")
    memory = Memory()
    x, y = memory.array(np.ones(257, np.float32), name="x"), memory.empty(257, np.float32)
    with pytest.raises(BoundsError, match=r"4 bytes at byte 1028 of x, which has 1028"):
        launch(
            parse(text),
            "elementwise",
            2,
            256,
            [x, y, 258, 1.0],
            memory=memory,
            schedule=schedule,
        )


def test_shared_and_local_bounds() -> None:
    for body in (
        "mov.b64 %d5, s; st.shared.u32 [%d5+256], %r0;",
        "mov.b64 %d5, s; st.shared.u32 [%d5+-4], %r0;",
        "mov.b64 %d5, 0; st.shared.u32 [%d5], %r0;",
        "mov.b64 %d5, l; st.local.u32 [%d5+16], %r0;",
        "mov.b64 %d5, l; st.local.u32 [%d5+-16], %r0;",
        # Without cvta, an address of shared memory is not a generic one.
        "mov.b64 %d5, s; st.u32 [%d5], %r0;",
        "mov.b64 %d5, s; cvta.shared.u64 %d5, %d5; st.global.u32 [%d5], %r0;",
    ):
        with pytest.raises(BoundsError):
            run(f"{SHARED} .local .align 4 .b8 l[16]; {body}", ZEROS, block=1)


def test_far_out_of_bounds_does_not_meet_the_next_allocation() -> None:
    memory = Memory()
    memory.array(np.zeros(1 << 16, np.uint32))
    with pytest.raises(BoundsError, match="at byte 40000 of a"):
        run("ld.global.u32 %r1, [%d1+40000]; st.global.u32 [%d1], %r1;", ZEROS, memory=memory)
    with pytest.raises(BoundsError, match="at byte -40000 of a"):
        run("ld.global.u32 %r1, [%d1+-40000]; st.global.u32 [%d1], %r1;", ZEROS, memory=memory)


def test_read_only_buffer() -> None:
    memory = Memory()
    buffer = memory.array(ZEROS, readonly=True)
    text = program("ld.param.u64 %d1, [a]; st.global.u32 [%d1], 1; ret;")
    with pytest.raises(BoundsError, match="read-only"):
        launch(parse(text), "k", 1, 1, [buffer], memory=memory)


def test_misaligned_vector() -> None:
    text = kernels.ptx("elementwise", "sm_80")
    memory = Memory()
    y = memory.empty(64, np.float32)
    x = memory.array(np.ones(64, np.float32), shift=4)
    with pytest.raises(ArgumentError, match="promises alignment 16"):
        launch(parse(text), "elementwise", 1, 256, [x, y, 64, 1.0], memory=memory)
    lying = text.replace(".ptr .global .align 16", ".ptr .global .align 1")
    with pytest.raises(AlignmentError, match="no multiple of 16"):
        launch(parse(lying), "elementwise", 1, 256, [x, y, 64, 1.0], memory=memory)
    with pytest.raises(AlignmentError):
        run("ld.global.u64 %d3, [%d1+4]; st.global.u64 [%d1], %d3;", ZEROS)


def test_undefined_register() -> None:
    with pytest.raises(ParseError, match=r"unknown register %r99"):
        run("add.s32 %r1, %r0, %r99;", ZEROS)
    with pytest.raises(ParseError, match="%r5 is never written"):
        run("add.s32 %r1, %r0, %r5;", ZEROS)


def test_register_written_on_one_path_only(schedule: str | int) -> None:
    body = "setp.lt.u32 %p1, %r0, 5; @%p1 mov.u32 %r1, 7; {} st.global.u32 [%d2], %r1;"
    with pytest.raises(UninitializedError, match="thread 5 stores"):
        run(body.format(""), ZEROS, schedule=schedule)
    result = run(body.format("selp.u32 %r1, %r1, 9, %p1;"), ZEROS, schedule=schedule)
    assert (result[:32] == np.where(np.arange(32) < 5, 7, 9)).all()


def test_unwritten_memory(schedule: str | int) -> None:
    memory = Memory()
    source, target = memory.empty(32, np.uint32), memory.array(np.zeros(32, np.uint32))
    uses = {
        "a store": "st.global.u32 [%d4], %r1;",
        "a sum": "add.s32 %r2, %r1, 1; st.global.u32 [%d4], %r2;",
        "a vector": "mov.b64 %d5, {%r1, %r1}; st.global.u64 [%d4], %d5;",
        "an address": "cvt.u64.u32 %d5, %r1; add.s64 %d5, %d4, %d5; ld.global.u32 %r3, [%d5];",
        "a branch": "setp.eq.u32 %p1, %r1, 0; @%p1 bra L; st.global.u32 [%d4], 1; L:",
        "an atomic": "red.global.add.u32 [%d4], %r1;",
        "what an atomic finds": "red.global.add.u32 [%d3], 1;",
        "a vote": "setp.eq.u32 %p1, %r1, 0; vote.sync.any.pred %p2, %p1, -1;",
        "a shuffle": "shfl.sync.idx.b32 %r3, %r1, 0, 31, -1; st.global.u32 [%d4], %r3;",
    }
    start = """
        mov.u32 %r0, %tid.x;
        ld.param.u64 %d3, [a];
        ld.param.u64 %d4, [b];
        ld.global.u32 %r1, [%d3];
    """
    for name, use in uses.items():
        text = program(start + use + " ret;", ".param .u64 a, .param .u64 b")
        with pytest.raises(UninitializedError):
            launch(parse(text), "k", 1, 32, [source, target], memory=memory, schedule=schedule)
            pytest.fail(name)
    harmless = "selp.b32 %r2, %r1, 4, %p1; mad.wide.u32 %d4, %r0, 4, %d4;"
    harmless = "setp.gt.u32 %p1, %r0, 99;" + harmless + "st.global.u32 [%d4], %r2; ret;"
    text = program(start + harmless, ".param .u64 a, .param .u64 b")
    launch(parse(text), "k", 1, 32, [source, target], memory=memory, schedule=schedule)
    assert (target.numpy() == 4).all()


def test_unwritten_shared_memory() -> None:
    body = SHARED + PLACES + "ld.shared.u32 %r2, [%d3+128]; st.global.u32 [%d2], %r2;"
    with pytest.raises(UninitializedError):
        run(body, ZEROS)


@pytest.mark.parametrize(
    "opcode",
    [
        "frobnicate.u32 %r1, %r0;",
        "add.f32.rn %r1, %r0, %r0;",
        "add.rn.ftz.sat.f64 %d3, %d1, %d1;",
        "add.cc.u32 %r1, %r0, %r0;",
        "fma.f32 %r1, %r0, %r0, %r0;",
        "div.f32 %r1, %r0, %r0;",
        "cvt.f16.f32 %h1, %r0;",
        "cvt.s32.f32 %r1, %r0;",
        "ld.global.v3.u32 {%r1, %r2, %r3}, [%d1];",
        "ex2.f32 %r1, %r0;",
        "setp.ltu.s32 %p1, %r0, %r0;",
        "setp.lt.b32 %p1, %r0, %r0;",
        "shfl.bfly.b32 %r1, %r0, 1, 31;",
        "bar.sync;",
        "add.u32 %r1, %r0;",
        "add.u32 %r1, %r0, %r0, %r0;",
        "add.u32 3, %r0, %r0;",
        "add.u32 %r1, %r0, 4294967296;",
        "add.u32 %r1, %r0, 0f3F800000, 1;",
        "add.u64 %d3, %r0, %d1;",
        "add.u16 %r1, %r0, 1;",
        "mov.b64 {%r1, %r2, %r3}, %d1;",
        "mov.u32 %r1, %d1;",
        "mov.u32 %tid.x, %r0;",
        "ld.global.u64 %r1, [%d1];",
        "ld.global.u32 %r1, [%r0];",
        "ld.global.u32 %r1, [a];",
        "ld.param.u32 %r1, [a+8];",
        "ld.param.u64 %d3, [a+4];",
        "ld.param.v2.u64 {%d3, %d4}, [a];",
        "bra nowhere;",
        "@%r0 bra L; L:",
        "call other, (a);",
        ".reg .b32 %r1;",
        ".surprise 5;",
        "{ mov.u32 %r1, 0;",
        "mov.u32 %r1, 0",
    ],
)
def test_what_is_not_known_is_refused(opcode: str) -> None:
    with pytest.raises(ParseError, match=r"^line \d+: "):
        run(opcode, ZEROS)


def test_error_names_the_line() -> None:
    text = program("ld.param.u64 %d1, [a];\n\n    bogus.u32 %r1, 4;\n ret;")
    with pytest.raises(ParseError) as error:
        parse(text)
    assert text.split("\n")[error.value.line - 1].strip() == "bogus.u32 %r1, 4;"


def test_instruction_newer_than_the_target() -> None:
    body = "max.NaN.f32 %r1, %r0, %r0; st.global.u32 [%d2], %r1;"
    run(body, ZEROS, target=80)
    with pytest.raises(ParseError, match="needs sm_80"):
        run(body, ZEROS, target=75)


@pytest.mark.parametrize(
    "directive", [".version 8", ".target sm_x", ".address_size 32", ".file"]
)
def test_head(directive: str) -> None:
    lines = program("ret;").split("\n")
    index = next(
        (i for i, line in enumerate(lines) if line.startswith(directive.split()[0])), 3
    )
    lines[index] = directive
    with pytest.raises(ParseError):
        parse("\n".join(lines))


def test_race(schedule: str | int) -> None:
    exchange = (
        "st.shared.u32 [%d3], %r0; {} ld.shared.u32 %r2, [%d4]; st.global.u32 [%d2], %r2;"
    )
    body = SHARED + PLACES + exchange
    for order in ("bar.sync 0;", "barrier.sync 0;", "bar.warp.sync -1;"):
        result = run(body.format(order), ZEROS, schedule=schedule)
        assert (result[:32] == np.arange(32) ^ 1).all()
    for order in ("", "membar.cta;", "shfl.sync.idx.b32 %r3, %r0, 0, 31, -1;"):
        with pytest.raises((RaceError, UninitializedError)):
            run(body.format(order), ZEROS, schedule=schedule)
    # Between warps only a barrier of the block orders.
    with pytest.raises((RaceError, UninitializedError)):
        run(
            body.replace("xor.b32 %r1, %r0, 1;", "xor.b32 %r1, %r0, 32;").format(
                "bar.warp.sync -1;"
            ),
            ZEROS,
            block=64,
            schedule=schedule,
        )


def test_race_of_writes(schedule: str | int) -> None:
    """Also of one instruction, and of equal values; bytes of one word are no race."""
    for body in (
        "mov.b64 %d5, s; st.shared.u32 [%d5], 1;",
        "mov.b64 %d5, s; red.shared.add.u32 [%d5], 0;",
        "st.global.u32 [%d1], %r0;",
        "red.global.add.u32 [%d1], 1; ld.global.u32 %r2, [%d1]; st.global.u32 [%d2+4], %r2;",
    ):
        with pytest.raises((RaceError, UninitializedError)):
            run(SHARED + body, ZEROS, schedule=schedule)
    run("cvt.u64.u32 %d3, %r0; add.s64 %d3, %d1, %d3; st.global.u8 [%d3], %r0;", ZEROS)
    run("red.global.add.u32 [%d1], 1; atom.global.add.u32 %r1, [%d1], 1;", ZEROS)


def test_race_between_blocks(schedule: str | int) -> None:
    for body in (
        "st.global.u32 [%d2], 1;",
        "mov.u32 %r1, %ctaid.x; setp.eq.u32 %p1, %r1, 0; @%p1 st.global.u32 [%d2], 1;"
        "@!%p1 ld.global.u32 %r2, [%d2];",
    ):
        with pytest.raises(RaceError, match="two blocks"):
            run(body, ZEROS, grid=2, schedule=schedule)
        run(body, ZEROS, grid=2, schedule=schedule, cross_block_races=False)
    run("red.global.add.u32 [%d2], 1;", ZEROS, grid=2, schedule=schedule)


def test_constant_load_of_what_is_written() -> None:
    with pytest.raises(RaceError, match="nc of a byte"):
        run("ld.global.nc.u32 %r1, [%d2]; st.global.u32 [%d2], %r1;", ZEROS)
    with pytest.raises(RaceError, match="nc of a byte"):
        run("st.global.u32 [%d2], 1; ld.global.nc.u32 %r1, [%d2];", ZEROS)


def test_deadlock(schedule: str | int) -> None:
    half = "setp.lt.u32 %p1, %r0, 16;"
    for body in (
        half + "@%p1 bar.sync 0; bar.sync 1;",
        half + "@%p1 bra L; bar.sync 0; bra M; L: bar.sync 0; M: bar.sync 1;",
        half + "@%p1 bra L; L: @%p1 bar.sync 0; @!%p1 bar.sync 1;",
        half + "@!%p1 bra L; bar.warp.sync -1; bra L; L: bar.warp.sync 0xFFFFFFFF;",
        half + "@%p1 shfl.sync.idx.b32 %r1, %r0, 0, 31, -1; bar.sync 0;",
    ):
        with pytest.raises(DeadlockError):
            run(body, ZEROS, schedule=schedule)
    with pytest.raises(DeadlockError):
        run(
            "setp.lt.u32 %p1, %r0, 32; @%p1 bar.sync 0; @!%p1 bar.sync 1;",
            ZEROS,
            block=64,
            schedule=schedule,
        )
    # Threads that have exited are not waited for.
    run(half + "@%p1 ret; bar.sync 0; bar.warp.sync -1;", ZEROS, schedule=schedule)


def test_member_masks(schedule: str | int) -> None:
    with pytest.raises(WarpSyncError, match="lane 16 is not in its own"):
        run("shfl.sync.idx.b32 %r1, %r0, 0, 31, 0xFFFF;", ZEROS, schedule=schedule)
    with pytest.raises((WarpSyncError, DeadlockError), match=r"different member|never come"):
        run(
            "setp.lt.u32 %p1, %r0, 16; selp.b32 %r1, 0xFFFFFFFF, 0xFFFF0000, %p1;"
            "vote.sync.any.pred %p2, %p1, %r1;",
            ZEROS,
            schedule=schedule,
        )
    # A value from a lane that takes no part is undefined.
    body = """
        setp.lt.u32 %p1, %r0, 16;
        @!%p1 ret;
        shfl.sync.down.b32 %r1, %r0, {}, 31, 0xFFFF;
        st.global.u32 [%d2], %r1;
    """
    with pytest.raises(UninitializedError):
        run(body.format(1), ZEROS, schedule=schedule)
    run(body.format(0), ZEROS, schedule=schedule)


def test_whole_warp_instructions() -> None:
    body = """
        setp.lt.u32 %p1, %r0, 16;
        @!%p1 ret;
        mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32
            {%r1, %r2, %r3, %r4}, {%r0, %r0, %r0, %r0}, {%r0, %r0}, {%r0, %r0, %r0, %r0};
    """
    with pytest.raises(WarpSyncError, match="has exited"):
        run(body, ZEROS)


def test_asynchronous_copy_is_not_there_before_it_is_waited_for() -> None:
    body = (
        SHARED
        + PLACES
        + """
        cp.async.ca.shared.global [%d3], [%d2], 4;
        cp.async.commit_group;
        {}
        ld.shared.u32 %r2, [%d3];
        add.s32 %r2, %r2, 1;
        st.global.u32 [%d2+128], %r2;
    """
    )
    values = np.arange(64, dtype=np.uint32)
    assert (run(body.format("cp.async.wait_group 0;"), values)[32:] == np.arange(1, 33)).all()
    assert (run(body.format("cp.async.wait_all;"), values)[32:] == np.arange(1, 33)).all()
    for wait in ("", "cp.async.wait_group 1;"):
        with pytest.raises(UninitializedError):
            run(body.format(wait), values)
    # What another thread copied needs a barrier as well.
    with pytest.raises(RaceError):
        run(body.format("cp.async.wait_all;").replace("%r2, [%d3]", "%r2, [%d4]"), values)


def test_arguments() -> None:
    memory = Memory()
    code = parse(program("ret;", ".param .f32 x, .param .u32 n, .param .align 4 .b8 s[8]"))
    good = [1.0, 5, bytes(8)]
    launch(code, "k", 1, 32, good, memory=memory)
    for index, wrong in (
        (0, np.float64(1)),
        (0, np.int32(1)),
        (1, np.uint64(1)),
        (1, 1 << 32),
        (1, 1.5),
        (2, bytes(4)),
        (2, 5),
        (1, memory.array(ZEROS)),
    ):
        with pytest.raises(ArgumentError):
            launch(code, "k", 1, 32, [*good[:index], wrong, *good[index + 1 :]], memory=memory)
    for arguments in (good[:2], [*good, 1]):
        with pytest.raises(ArgumentError, match="takes 3 arguments"):
            launch(code, "k", 1, 32, arguments, memory=memory)
    with pytest.raises(ArgumentError, match="no kernel"):
        launch(code, "other", 1, 32, good, memory=memory)


def test_block_sizes() -> None:
    memory = Memory()
    x = memory.array(np.zeros(1, np.float32))
    with pytest.raises(ArgumentError, match="reqntid"):
        launch(parse(kernels.ptx("sum", "sm_80")), "sum", 1, 128, [x, x, 0], memory=memory)
    code = parse(kernels.ptx("elementwise", "sm_80"))
    with pytest.raises(ArgumentError, match="maxntid"):
        launch(code, "elementwise", 1, 512, [x, x, 0, 1.0], memory=memory)
    with pytest.raises(ArgumentError):
        launch(parse(program("ret;")), "k", 1, 2048, [x], memory=memory)
    with pytest.raises(ArgumentError, match="no dynamic"):
        launch(parse(program("ret;")), "k", 1, 32, [x], memory=memory, shared_bytes=64)


def test_endless_loop_and_trap() -> None:
    with pytest.raises(StepLimitError):
        run("L: bra L;", ZEROS, steps=1000)
    with pytest.raises(ExecutionError, match="trap in thread 0"):
        run("trap;", ZEROS)
