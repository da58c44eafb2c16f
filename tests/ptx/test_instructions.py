"""Warps, matrices, memory and calls: instructions against what defines them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ptx import kernels, ptxas
from ptx.errors import BoundsError, ParseError
from ptx.launch import Memory, launch, parse
from ptx.snippets import program, run
from ptx.types import TYPES, Array

WORDS = np.zeros(32, np.uint32)
SCHEDULES: list[str | int] = ["lockstep", 5]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("width", [32, 8, 1])
@pytest.mark.parametrize("mode", ["up", "down", "bfly", "idx"])
def test_shuffle(mode: str, width: int, schedule: str | int) -> None:
    """As CUDA's __shfl_*_sync with a width: the mask is (32 - width) << 8."""
    for amount in (0, 1, 3, 31):
        clamp = (32 - width) << 8 | (0 if mode == "up" else 31)
        body = f"""
            shfl.sync.{mode}.b32 %r1|%p1, %r0, {amount}, {clamp}, -1;
            selp.b32 %r2, 256, 0, %p1;
            or.b32 %r1, %r1, %r2;
            st.global.u32 [%d2], %r1;
        """
        actual = run(body, WORDS, schedule=schedule)
        for lane in range(32):
            start = lane // width * width
            source = {
                "up": lane - amount,
                "down": lane + amount,
                "bfly": lane ^ amount,
                "idx": start + amount % width,
            }[mode]
            low = source >= start if mode in ("up",) else True
            valid = low and (mode == "up" or source < start + width)
            assert actual[lane] == (source | 256 if valid else lane)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_votes(schedule: str | int) -> None:
    body = """
        and.b32 %r1, %r0, 3;
        setp.eq.u32 %p1, %r1, 0;
        vote.sync.ballot.b32 %r2, %p1, -1;
        vote.sync.all.pred %p2, %p1, -1;
        vote.sync.any.pred %p3, %p1, -1;
        vote.sync.uni.pred %p4, !%p1, -1;
        selp.b32 %r3, 1, 0, %p2;
        selp.b32 %r4, 2, 0, %p3;
        selp.b32 %r5, 4, 0, %p4;
        add.s32 %r2, %r2, %r3;
        add.s32 %r2, %r2, %r4;
        add.s32 %r2, %r2, %r5;
        match.any.sync.b32 %r6, %r1, -1;
        redux.sync.add.s32 %r7, %r0, -1;
        xor.b32 %r2, %r2, %r6;
        xor.b32 %r2, %r2, %r7;
        st.global.u32 [%d2], %r2;
    """
    lane = np.arange(32, dtype=np.uint32)
    match = np.uint32(0x11111111) << (lane & np.uint32(3))
    expected = np.uint32(0x11111111 + 2) ^ match ^ np.uint32(31 * 16)
    np.testing.assert_array_equal(run(body, WORDS, schedule=schedule), expected)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_divergent_loop_meets_again(schedule: str | int) -> None:
    """Each lane loops its own number of times, and all shuffle after it."""
    body = """
        mov.u32 %r1, 0;
        mov.u32 %r2, 0;
    L:  setp.ge.u32 %p1, %r1, %r0;
        @%p1 bra M;
        add.u32 %r1, %r1, 1;
        add.u32 %r2, %r2, %r1;
        bra L;
    M:  shfl.sync.bfly.b32 %r3, %r2, 1, 31, -1;
        st.global.u32 [%d2], %r3;
    """
    lane = np.arange(32) ^ 1
    actual = run(body, WORDS, schedule=schedule)
    np.testing.assert_array_equal(actual, lane * (lane + 1) // 2)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_barrier_that_reduces(schedule: str | int) -> None:
    body = """
        setp.lt.u32 %p1, %r0, 40;
        bar.red.popc.u32 %r1, 0, %p1;
        bar.red.and.pred %p2, 0, %p1;
        bar.red.or.pred %p3, 0, %p1;
        selp.b32 %r2, 100, 0, %p2;
        selp.b32 %r3, 1000, 0, %p3;
        add.u32 %r1, %r1, %r2;
        add.u32 %r1, %r1, %r3;
        st.global.u32 [%d2], %r1;
    """
    actual = run(body, np.zeros(96, np.uint32), block=96, schedule=schedule)
    assert (actual == 1040).all()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_atomics(schedule: str | int) -> None:
    body = """
        add.u32 %r1, %r0, 1;
        cvt.rn.f32.u32 %r2, %r1;
        atom.global.add.u32 %r3, [%d1], %r1;
        red.global.max.s32 [%d1+4], %r1;
        red.global.min.u32 [%d1+8], %r1;
        red.global.xor.b32 [%d1+12], %r1;
        red.global.inc.u32 [%d1+16], 4;
        red.global.add.f32 [%d1+20], %r2;
        atom.global.cas.b32 %r4, [%d1+24], 0, %r1;
        atom.relaxed.gpu.global.exch.b32 %r5, [%d1+28], 7;
        red.global.and.b32 [%d1+32], %r1;
        red.global.dec.u32 [%d1+36], 2;
    """
    start = np.zeros(32, np.uint32)
    start[2] = 99
    start[8] = 0xFFFFFFFF
    found = run(body, start, schedule=schedule)
    numbers = np.arange(1, 33)
    assert found[0] == numbers.sum() and found[1] == 32 and found[2] == 1
    assert found[3] == np.bitwise_xor.reduce(numbers) and found[4] == 32 % 5
    assert found.view(np.float32)[5] == numbers.sum()
    assert 1 <= found[6] <= 32 and found[7] == 7 and found[8] == 0
    assert found[9] == [0, 2, 1][32 % 3]


def test_packing_and_vectors() -> None:
    body = """
        ld.global.v4.u8 {%h1, %h2, %h3, %h4}, [%d2];
        mov.b32 %r1, {%h4, %h1};
        mov.b32 {%h5, %h6}, %r1;
        mov.b64 %d3, {%r1, %r0};
        mov.b64 {_, %r2}, %d3;
        cvt.u32.u16 %r3, %h5;
        cvt.s32.s8 %r4, %h6;
        shl.b32 %r3, %r3, 8;
        add.u32 %r3, %r3, %r2;
        add.u32 %r3, %r3, %r4;
        st.global.u32 [%d2], %r3;
    """
    values = np.arange(32, dtype=np.uint32) * 0x01030507
    octets = values.view(np.uint8).reshape(-1, 4).astype(np.int64)
    expected = (octets[:, 3] << 8) + np.arange(32) + octets[:, 0].astype(np.int8)
    np.testing.assert_array_equal(run(body, values), expected.astype(np.uint32))


def test_generic_addresses() -> None:
    body = """
        .shared .align 4 .b8 s[128];
        .local .align 4 .b8 l[8];
        mov.b64 %d3, s;
        cvta.shared.u64 %d3, %d3;
        mad.wide.u32 %d3, %r0, 4, %d3;
        mov.b64 %d4, l;
        cvta.local.u64 %d4, %d4;
        and.b32 %r1, %r0, 1;
        setp.eq.u32 %p1, %r1, 0;
        selp.b64 %d5, %d3, %d4, %p1;
        st.u32 [%d5], %r0;
        ld.u32 %r2, [%d5];
        isspacep.shared %p2, %d5;
        selp.b32 %r3, 100, 0, %p2;
        add.u32 %r2, %r2, %r3;
        cvta.to.shared.u64 %d6, %d3;
        @%p1 ld.shared.u32 %r4, [%d6];
        @!%p1 mov.u32 %r4, %r0;
        add.u32 %r2, %r2, %r4;
        st.u32 [%d2], %r2;
    """
    lane = np.arange(32)
    np.testing.assert_array_equal(run(body, WORDS), 2 * lane + 100 * (lane % 2 == 0))


def test_shared_memory_by_32_bits() -> None:
    """As nvcc addresses it (PTX ISA 6.4.1: addresses of other sizes are extended by zeros)."""
    body = """
        .shared .align 4 .b8 before[64];
        .shared .align 4 .b8 s[132];
        mov.u32 %r1, s;
        mad.lo.u32 %r1, %r0, 4, %r1;
        st.shared.u32 [%r1+4], %r0;
        bar.sync 0;
        xor.b32 %r2, %r0, 31;
        mov.u32 %r3, s;
        mad.lo.u32 %r3, %r2, 4, %r3;
        ld.shared.u32 %r4, [%r3+4];
        st.global.u32 [%d2], %r4;
    """
    np.testing.assert_array_equal(run(body, WORDS), np.arange(32)[::-1])
    with pytest.raises(BoundsError):
        run(body.replace("[%r1+4]", "[%r1+8]"), WORDS)
    for wrong in (
        "ld.global.u32 %r5, [%r1];",
        "ld.u32 %r5, [%r1];",
        "ld.shared.u32 %r5, [%h1];",
    ):
        with pytest.raises(ParseError, match="no 64-bit address"):
            run(body + f"cvt.u16.u32 %h1, %r1; {wrong} st.global.u32 [%d2], %r5;", WORDS)
    for space in ("global", "const"):
        with pytest.raises(ParseError, match="needs 64 bits"):
            run("mov.u32 %r1, other;", WORDS, before=f".{space} .align 4 .b8 other[4];")


def test_variables_with_values() -> None:
    before = """
        .const .align 4 .b8 table[16] = {1, 0, 0, 0, 2, 0, 0, 0, 3};
        .global .align 4 .u32 more[4] = {10, 20, 0x1E};
        .global .align 8 .u64 where[1] = {generic(more)+4};
        .global .align 4 .f32 real[1] = {0f3F800000};
        .extern .shared .align 16 .b8 dynamic[];
    """
    body = """
        mov.b64 %d3, table;
        and.b32 %r1, %r0, 3;
        mad.wide.u32 %d3, %r1, 4, %d3;
        ld.const.u32 %r2, [%d3];
        mov.b64 %d4, more;
        mad.wide.u32 %d4, %r1, 4, %d4;
        ld.global.u32 %r3, [%d4];
        ld.global.u64 %d5, [where];
        ld.u32 %r4, [%d5];
        add.u32 %r2, %r2, %r3;
        add.u32 %r2, %r2, %r4;
        mov.b64 %d6, dynamic;
        mad.wide.u32 %d6, %r0, 4, %d6;
        st.shared.u32 [%d6], %r2;
        ld.shared.u32 %r5, [%d6];
        st.global.u32 [%d2], %r5;
    """
    actual = run(body, WORDS, before=before, shared_bytes=128)
    table = np.array([1, 2, 3, 0]) + [10, 20, 30, 0] + 20
    np.testing.assert_array_equal(actual, np.tile(table, 8))


def fragment(kind: str, rows: Array) -> Array:
    """The 32-bit registers that hold a row of values of a kind, in order."""
    if kind == "tf32":
        return rows.astype(np.float32).view(np.uint32)
    return rows.astype(TYPES[kind].dtype).view(np.uint32)


Places = list[list[tuple[int, int]]]


def manuals(kind: str, depth: int) -> tuple[Places, Places, Places]:
    """For each lane the places of what it holds of A, B and C, as tabled element by element for
    each shape (PTX ISA 9.7.14.5).
    """
    places: tuple[Places, Places, Places] = ([], [], [])
    for lane in range(32):
        group, member = lane >> 2, lane % 4
        if kind == "tf32":
            of_a = [(group + 8 * (i in (1, 3)), member + 4 * (i >= 2)) for i in range(4)]
            of_b = [(member + 4 * i, group) for i in range(2)]
        elif depth == 8:
            of_a = [(group + 8 * (i >= 2), member * 2 + (i & 1)) for i in range(4)]
            of_b = [(member * 2 + i, group) for i in range(2)]
        else:
            of_a = [
                (
                    group if i < 2 or 4 <= i < 6 else group + 8,
                    member * 2 + (i & 1) + (8 if i >= 4 else 0),
                )
                for i in range(8)
            ]
            of_b = [(member * 2 + (i & 1) + (8 if i >= 2 else 0), group) for i in range(4)]
        of_c = [(group + 8 * (i >= 2), member * 2 + (i & 1)) for i in range(4)]
        for found, own in zip(places, (of_a, of_b, of_c), strict=True):
            found.append(own)
    return places


# What CUTLASS has found to hold: layouts of (lanes, values) as shapes and strides, the first
# fastest, whose offsets number the elements of A by columns, those of B by steps of the inner
# dim and of C by columns. Source: NVIDIA/cutlass, include/cute/atom/mma_traits_sm80.hpp.
_ROWS_OF_16 = ((4, 8, 2, 2), (32, 1, 16, 8))
LAYOUTS = {
    ("tf32", 8): (((4, 8, 2, 2), (16, 1, 8, 64)), ((4, 8, 2), (8, 1, 32))),
    ("f16", 16): (((4, 8, 2, 2, 2), (32, 1, 16, 8, 128)), ((4, 8, 2, 2), (16, 1, 8, 64))),
    ("f16", 8): (_ROWS_OF_16, ((4, 8, 2), (16, 1, 8))),
}


def cutlass(kind: str, depth: int) -> tuple[Places, Places, Places]:
    """The same as CUTLASS has it."""
    of_a, of_b = LAYOUTS["tf32" if kind == "tf32" else "f16", depth]

    def places(layout: Any, rows: int, turned: bool) -> Places:
        shape, strides = layout
        offsets = np.zeros((1,), int)
        for extent, stride in zip(shape, strides, strict=True):
            offsets = (np.arange(extent)[:, None] * stride + offsets).ravel()
        by_lane = offsets.reshape(-1, 32).T
        found = [[(int(n) % rows, int(n) // rows) for n in own] for own in by_lane]
        return [[place[::-1] for place in own] for own in found] if turned else found

    return places(of_a, 16, False), places(of_b, 8, True), places(_ROWS_OF_16, 16, False)


@pytest.mark.parametrize("source", [manuals, cutlass])
@pytest.mark.parametrize(
    ("kind", "depth"), [("tf32", 8), ("f16", 16), ("bf16", 16), ("f16", 8), ("bf16", 8)]
)
def test_mma(kind: str, depth: int, source: Any) -> None:
    """What lanes hold is where two sources that know nothing of each other say."""
    random = np.random.default_rng(depth)
    a, b = random.integers(-8, 9, (16, depth)), random.integers(-8, 9, (depth, 8))
    c = random.integers(-99, 99, (16, 8)).astype(np.float32)
    places_a, places_b, places_c = source(kind, depth)
    lanes_a = [fragment(kind, np.array([a[place] for place in own])) for own in places_a]
    lanes_b = [fragment(kind, np.array([b[place] for place in own])) for own in places_b]
    lanes_c = [np.array([c[place] for place in own]).view(np.uint32) for own in places_c]
    counts = len(lanes_a[0]), len(lanes_b[0])
    per_lane = sum(counts) + 4
    data = np.concatenate(
        [np.concatenate(x) for x in zip(lanes_a, lanes_b, lanes_c, strict=True)]
    )
    names = [f"%r{i + 1}" for i in range(per_lane)]
    loads = "\n".join(f"ld.global.b32 {n}, [%d3+{4 * i}];" for i, n in enumerate(names))
    groups = [
        ", ".join(names[: counts[0]]),
        ", ".join(names[counts[0] : -4]),
        ", ".join(names[-4:]),
    ]
    shape = f"m16n8k{depth}.row.col.f32.{kind}.{kind}.f32"
    stores = "\n".join(
        f"st.global.b32 [%d3+{4 * i}], {name};" for i, name in enumerate(names[-4:])
    )
    body = f"""
        mul.wide.u32 %d3, %r0, {4 * per_lane};
        add.s64 %d3, %d1, %d3;
        {loads}
        mma.sync.aligned.{shape} {{{groups[2]}}}, {{{groups[0]}}}, {{{groups[1]}}},
            {{{groups[2]}}};
        {stores}
    """
    result = run(body, data).reshape(32, per_lane)[:, :4].copy().view(np.float32)
    expected = a @ b + c
    for lane, own in enumerate(places_c):
        assert [expected[place] for place in own] == result[lane].tolist()


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("number", [1, 2, 4])
def test_ldmatrix(number: int, transposed: bool) -> None:
    """Lane l gets elements 2 (l % 4) and the next of row l // 4 of each matrix."""
    registers = ", ".join(f"%r{10 + i}" for i in range(number))
    stores = "\n".join(f"st.global.b32 [%d3+{4 * i}], %r{10 + i};" for i in range(number))
    body = f"""
        .shared .align 16 .b8 s[512];
        mov.b64 %d5, s;
        mad.wide.u32 %d4, %r0, 16, %d1;
        mad.wide.u32 %d6, %r0, 16, %d5;
        ld.global.v4.b32 {{%r1, %r2, %r3, %r4}}, [%d4];
        st.shared.v4.b32 [%d6], {{%r1, %r2, %r3, %r4}};
        bar.sync 0;
        ldmatrix.sync.aligned.m8n8.x{number}{".trans" if transposed else ""}.shared.b16
            {{{registers}}}, [%d6];
        mad.wide.u32 %d3, %r0, {4 * number}, %d1;
        bar.sync 0;
        {stores}
    """
    values = np.arange(256, dtype=np.uint16)
    result = run(body, values)[: 64 * number].reshape(32, number, 2)
    for lane in range(32):
        for i in range(number):
            matrix = values.reshape(4, 8, 8)[i]
            matrix = matrix.T if transposed else matrix
            row, column = lane >> 2, lane % 4 * 2
            assert result[lane, i].tolist() == matrix[row, column : column + 2].tolist()


CALLS = r"""
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
define internal i32 @twice(i32 %x, i64 %y) noinline {
  %small = icmp ult i32 %x, 8
  br i1 %small, label %a, label %b
a:
  %p = mul i32 %x, 3
  ret i32 %p
b:
  %w = trunc i64 %y to i32
  %q = add i32 %x, %w
  ret i32 %q
}
define ptx_kernel void @k(ptr addrspace(1) %out, i8 %c, i1 %flag, half %h, i64 %n) {
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %u = call i32 @twice(i32 %t, i64 %n)
  %v = call i32 @twice(i32 %u, i64 7)
  %m = alloca [4 x i32]
  %i = and i32 %t, 3
  %s = getelementptr [4 x i32], ptr %m, i32 0, i32 %i
  store volatile i32 %v, ptr %s
  %w = load volatile i32, ptr %s
  %e = sext i8 %c to i32
  %f = select i1 %flag, i32 %e, i32 0
  %hi = fptosi half %h to i32
  %x = add i32 %w, %f
  %y = add i32 %x, %hi
  switch i32 %t, label %d [ i32 1, label %one
    i32 2, label %two
    i32 3, label %three
    i32 4, label %four
    i32 5, label %one ]
one:
  store volatile i32 1, ptr addrspace(1) %out
  br label %d
two:
  store volatile i32 2, ptr addrspace(1) %out
  br label %d
three:
  fence seq_cst
  br label %d
four:
  store volatile i32 4, ptr addrspace(1) %out
  br label %d
d:
  %z = phi i32 [ %y, %0 ], [ 1, %one ], [ 2, %two ], [ 3, %three ], [ 4, %four ]
  %r = add i32 %t, 1
  %q = getelementptr i32, ptr addrspace(1) %out, i32 %r
  store i32 %z, ptr addrspace(1) %q
  ret void
}
"""


@pytest.mark.parametrize("cpu", kernels.TARGETS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_calls_locals_and_switches_of_llvm(cpu: str, schedule: str | int) -> None:
    text = kernels.compile_ptx(CALLS, cpu)
    memory = Memory()
    out = memory.empty(33, np.int32)
    args = [out, -5, 1, np.float16(2.5).tobytes(), 100]
    launch(parse(text), "k", 1, 32, args, memory=memory, schedule=schedule)

    def twice(x: int, y: int) -> int:
        return x * 3 if x < 8 else x + y

    expected = [twice(twice(t, 100), 7) - 5 + 2 for t in range(32)]
    expected[1:6] = [1, 2, 3, 4, 1]
    assert out.numpy()[1:].tolist() == expected
    if ptxas.find_ptxas():
        ptxas.assemble(text, cpu)


def test_statistics() -> None:
    memory = Memory()
    x = memory.array(np.zeros(4096, np.float32))
    text = """
        ld.param.u64 %d1, [a];
        mov.u32 %r0, %tid.x;
        mad.wide.u32 %d2, %r0, {}, %d1;
        ld.global.u32 %r1, [%d2];
        ret;
    """
    for stride, sectors in ((4, 4), (8, 8), (32, 32), (0, 1)):
        statistics = launch(parse(program(text.format(stride))), "k", 1, 32, [x], memory=memory)
        assert statistics.global_load_sectors == sectors
        assert statistics.instructions == 5 and statistics.thread_instructions == 160
    shared = """
        .shared .align 16 .b8 s[4096];
        mov.u32 %r0, %tid.x;
        mov.b64 %d1, s;
        mad.wide.u32 %d1, %r0, {}, %d1;
        st.shared.{} [%d1], {};
        ret;
    """
    for stride, type_, value, conflicts in (
        (4, "u32", "1", 0),
        (8, "u32", "1", 1),
        (128, "u32", "1", 31),
        (132, "u32", "1", 0),
        (8, "u64", "1", 0),
        (16, "v4.u32", "{%r0, %r0, %r0, %r0}", 0),
    ):
        code = parse(program(shared.format(stride, type_, value)))
        statistics = launch(code, "k", 1, 32 if stride < 132 else 31, [x], memory=memory)
        assert statistics.bank_conflicts == conflicts
