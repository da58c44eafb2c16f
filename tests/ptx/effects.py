"""The instructions that do more than make values: control, memory, warps, barriers; a row each.

A function takes the machine, the instruction and the mask of the threads that do it; what it
returns is None to go on, or anything else if the threads' counters or waits have changed.
PTX ISA sections are 9.7.9 (data movement), 9.7.12 (control flow), 9.7.13 (synchronisation)
and 9.7.14 (warp-level matrix multiply).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from ptx import alu, arithmetic
from ptx.errors import ExecutionError, UninitializedError, WarpSyncError
from ptx.isa import row
from ptx.memory import REGION_BITS, UNWRITTEN, WRITTEN
from ptx.types import HALF, TYPES, Array

if TYPE_CHECKING:
    from ptx.machine import Machine
    from ptx.parse import Instruction

WARP = 32
PRED, U32, U64, B32 = (TYPES[name] for name in ("pred", "u32", "u64", "b32"))
ALL = 0xFFFFFFFF
MOVED = True


def warp_wide(operand: int | None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a row's function: it runs when all lanes of a mask are there.

    `operand` is the place of the member mask; None stands for the whole warp, none of whose
    threads may have exited (.aligned instructions).
    """

    def members(machine: Machine, instruction: Instruction, mask: Array) -> Array:
        if operand is not None:
            return machine.known(instruction.operands[operand], U32, mask, "the member mask")
        whole = machine.exited.reshape(-1, WARP).any(1) & mask.reshape(-1, WARP).any(1)
        if whole.any():
            raise WarpSyncError("a thread of the warp has exited")
        return np.full(machine.n, ALL, np.uint32)

    def mark(run: Callable[..., Any]) -> Callable[..., Any]:
        run.members = members  # type: ignore[attr-defined]
        return run

    return mark


# Control flow


@row("bra uni?", "label", pure=False)
def bra(machine: Machine, instruction: Instruction, mask: Array) -> Any:
    machine.pc[mask] = instruction.targets[0]
    return MOVED


@row("brx idx uni?", "u32, table", pure=False)
def brx(machine: Machine, instruction: Instruction, mask: Array) -> Any:
    index = machine.known(instruction.operands[0], U32, mask, "the index of a branch")
    if (index[mask] >= len(instruction.targets)).any():
        raise ExecutionError("a branch beyond its table")
    targets = np.array(instruction.targets)
    machine.pc[mask] = targets[index[mask]]
    return MOVED


@row("ret uni?", "", pure=False)
@row("exit", "", pure=False)
def leave(machine: Machine, instruction: Instruction, mask: Array) -> Any:
    machine.leave(mask)
    return MOVED


@row("trap", "", pure=False)
def trap(machine: Machine, instruction: Instruction, mask: Array) -> Any:
    raise ExecutionError(f"trap in thread {int(np.flatnonzero(mask)[0])}")


@row("membar level=cta|gl|sys", "", pure=False)
@row("fence sem=sc|acq_rel? scope=cta|cluster|gpu|sys", "", pure=False)
@row("nanosleep u32", "u32", pure=False)
@row("prefetch space=global|local? level=L1|L2", "mem", pure=False)
def nothing(machine: Machine, instruction: Instruction, mask: Array) -> None:
    """Orders or hints what is already in order here."""


# Moving


def _mov_check(mods: dict[str, str], operands: list[Any]) -> str | None:
    """Scalars have the width of the type, vectors add up to it."""
    wanted = TYPES[mods["type"]]
    for operand in operands:
        parts = operand if isinstance(operand, tuple) else (operand,)
        known = [part.type for part in parts if hasattr(part, "type")]
        if isinstance(operand, tuple):
            if len({type_.bits for type_ in known}) > 1 or (
                known and known[0].bits * len(parts) != wanted.bits
            ):
                return f"the elements do not make .{wanted.name}"
        elif known and known[0].bits != wanted.bits:
            return f"a register of {known[0].bits} bits for .{wanted.name}"
    return None


@row(
    "mov type=b16|b32|b64|u16|u32|u64|s16|s32|s64|f32|f64|pred",
    "=any, any",
    pure=False,
)
def mov(machine: Machine, instruction: Instruction, mask: Array) -> None:
    target, source = instruction.operands
    type_ = instruction.opcode.type()
    plain = TYPES[f"b{type_.bits}"] if type_.kind != "p" else type_
    if isinstance(source, tuple):
        part = TYPES[f"b{plain.bits // len(source)}"]
        found = np.zeros(machine.n, plain.dtype)
        poison: Array | None = None
        for i, element in enumerate(source):
            bits, bad = machine.read(element, part)
            found = found | (bits.astype(plain.dtype) << plain.dtype.type(i * part.bits))
            if bad is not None:
                poison = bad if poison is None else poison | bad
    else:
        found, poison = machine.read(source, plain)
    if not isinstance(target, tuple):
        machine.write(target, found, plain, poison, mask)
        return
    part = TYPES[f"b{plain.bits // len(target)}"]
    for i, register in enumerate(target):
        element_bits = (found >> plain.dtype.type(i * part.bits)).astype(part.dtype)
        machine.write(register, element_bits, part, poison, mask)


mov.check = _mov_check  # type: ignore[attr-defined]

SPACES = {"global": 0, "shared": 1, "local": 2, "const": 3, "param": 4}


@row("cvta to? space=global|shared|local|const|param type=u64", "=type, any", pure=False)
def cvta(machine: Machine, instruction: Instruction, mask: Array) -> None:
    found, poison = machine.read(instruction.operands[1], U64)
    mods = instruction.opcode.mods
    base = np.uint64(SPACES[mods["space"]] << REGION_BITS)
    found = found - base if "to" in mods else found + base
    machine.write(instruction.operands[0], found, U64, poison, mask)


@row("isspacep space=global|shared|local|const", "=pred, u64", pure=False)
def isspacep(machine: Machine, instruction: Instruction, mask: Array) -> None:
    found, poison = machine.read(instruction.operands[1], U64)
    region = found >> np.uint64(REGION_BITS)
    space = SPACES[instruction.opcode.mods["space"]]
    result = region == space if space else (region > 4) | (region == 0)
    machine.write(instruction.operands[0], result, PRED, poison, mask)


# Loads and stores

_SEM = "sem=volatile|relaxed|acquire|release|weak? scope=cta|cluster|gpu|sys?"
_EVICT = "evict=L1::evict_normal|L1::evict_first|L1::evict_last|L1::no_allocate?"
_TYPES = "type=" + "|".join(f"{kind}{bits}" for kind in "bus" for bits in (8, 16, 32, 64))
_TYPES += "|f32|f64"


def _shape(instruction: Instruction) -> tuple[int, int]:
    """Elements of an access and bytes of each."""
    count = int(instruction.opcode.mods.get("vec", "v1")[1:])
    return count, instruction.opcode.type().size


def _strong(mods: dict[str, str]) -> bool:
    return mods.get("sem", "weak") != "weak"


@row(
    f"ld {_SEM} space=param|global|shared|shared::cta|local|const? cop=ca|cg|cs|lu|cv? nc?"
    f" {_EVICT} vec=v2|v4? {_TYPES}",
    "=type~*, mem",
    pure=False,
)
def ld(machine: Machine, instruction: Instruction, mask: Array) -> None:
    mods, type_ = instruction.opcode.mods, instruction.opcode.type()
    count, size = _shape(instruction)
    results = [np.zeros(machine.n, np.dtype(f"u{size}")) for _ in range(count)]
    poisons = [np.zeros(machine.n, bool) for _ in range(count)]
    pieces = machine.pieces(
        instruction.operands[1], mods.get("space"), mask, count * size, False
    )
    for piece in pieces:
        for i in range(count):
            words, bad = piece.store.load(piece.places + i * size, size)
            results[i][piece.threads], poisons[i][piece.threads] = words, bad
        machine.note(piece, count * size, False, _strong(mods), "nc" in mods)
    target = instruction.operands[0]
    registers = target if isinstance(target, tuple) else (target,)
    for register, result, poison in zip(registers, results, poisons, strict=True):
        clean = poison if poison.any() else None
        machine.write(register, result.view(type_.dtype), type_, clean, mask)


@row(
    f"st {_SEM} space=param|global|shared|shared::cta|local? cop=wb|cg|cs|wt? {_EVICT}"
    f" vec=v2|v4? {_TYPES}",
    "mem, type~*",
    pure=False,
)
def st(machine: Machine, instruction: Instruction, mask: Array) -> None:
    mods, type_ = instruction.opcode.mods, instruction.opcode.type()
    count, size = _shape(instruction)
    source = instruction.operands[1]
    elements = source if isinstance(source, tuple) else (source,)
    pieces = machine.pieces(
        instruction.operands[0], mods.get("space"), mask, count * size, True
    )
    for piece in pieces:
        for i, element in enumerate(elements):
            found, poison = machine.read(element, type_)
            words = np.broadcast_to(found, machine.n)[piece.threads].view(f"u{size}")
            bad = None if poison is None else poison[piece.threads]
            if piece.space == "global" and bad is not None and bad.any():
                thread = piece.threads[np.flatnonzero(bad)[0]]
                raise UninitializedError(f"thread {thread} stores unwritten data")
            piece.store.store(piece.places + i * size, words, bad)
        machine.note(piece, count * size, True, _strong(mods))


# Atomics


def _atomic(op: str, name: str, space: str) -> Callable[..., Array]:
    """What an atomic leaves in memory, from the old value and the operands."""
    if op == "add" and name in ("f32", "f64", "f16", "bf16", *HALF):
        if name == "f32" and space == "global":
            # Subnormals are flushed in global memory only (PTX ISA 9.7.13, atom).
            return lambda old, b: alu.flush(
                alu.flush(old, name) + alu.flush(b, name), name
            ).astype(np.float32)
        add = alu.floating(alu.add_floats)
        return lambda old, b: add({"type": name}, None, old, b)
    return {
        "add": lambda old, b: old + b,
        "and": lambda old, b: old & b,
        "or": lambda old, b: old | b,
        "xor": lambda old, b: old ^ b,
        "exch": lambda old, b: b,
        "min": np.minimum,
        "max": np.maximum,
        "inc": lambda old, b: np.where(old >= b, 0, old + np.uint32(1)).astype(np.uint32),
        "dec": lambda old, b: np.where((old == 0) | (old > b), b, old - np.uint32(1)),
        "cas": lambda old, b, c: np.where(old == b, c, old),
    }[op]


def _change(machine: Machine, instruction: Instruction, mask: Array, returns: bool) -> None:
    mods, type_ = instruction.opcode.mods, instruction.opcode.type()
    mem, *arguments = instruction.operands[1:] if returns else instruction.operands
    sources = [machine.known(x, type_, mask, "the operand of an atomic") for x in arguments]
    result = np.zeros(machine.n, type_.dtype)
    for piece in machine.pieces(mem, mods.get("space"), mask, type_.size, True):
        change = _atomic(mods["op"], type_.name, piece.space)
        rest = np.arange(len(piece.threads))
        if machine.launch.shuffled:
            rest = machine.random.permutation(rest)
        # One access of each place at a time; those of one place follow each other.
        while len(rest):
            _, first = np.unique(piece.places[rest], return_index=True)
            now = rest[first]
            words, bad = piece.store.load(piece.places[now], type_.size)
            if bad.any():
                raise UninitializedError("an atomic changes unwritten data")
            threads = piece.threads[now]
            old = words.view(type_.dtype)
            result[threads] = old
            new = change(old, *(source[threads] for source in sources))
            piece.store.store(
                piece.places[now], np.ascontiguousarray(new).view(f"u{type_.size}"), None
            )
            rest = np.delete(rest, first)
        machine.note(piece, type_.size, True, strong=True)
    if returns:
        machine.write(instruction.operands[0], result, type_, None, mask)


def atom(machine: Machine, instruction: Instruction, mask: Array) -> None:
    _change(machine, instruction, mask, True)


def red(machine: Machine, instruction: Instruction, mask: Array) -> None:
    _change(machine, instruction, mask, False)


for _ops, _types, _sm in (
    ("op=add", "type=u32|s32|u64|f32|f64", 60),
    ("op=add noftz", "type=f16|f16x2", 70),
    ("op=add noftz", "type=bf16|bf16x2", 90),
    ("op=and|or|xor", "type=b32|b64", 50),
    ("op=min|max", "type=u32|s32|u64|s64", 50),
    ("op=inc|dec", "type=u32", 50),
):
    _head = (
        "sem=relaxed|acquire|release|acq_rel? scope=cta|cluster|gpu|sys?"
        " space=global|shared|shared::cta?"
    )
    row(f"atom {_head} {_ops} {_types}", "=type, mem, type", pure=False, sm=_sm)(atom)
    row(f"red {_head} {_ops} {_types}", "mem, type", pure=False, sm=_sm)(red)
row(f"atom {_head} op=exch type=b32|b64", "=type, mem, type", pure=False)(atom)
row(f"atom {_head} op=cas type=b16|b32|b64", "=type, mem, type, type", pure=False)(atom)


# Barriers


@row("bar cta? sync", "u32, u32?", pure=False)
@row("barrier cta? sync aligned?", "u32, u32?", pure=False)
def barrier(machine: Machine, instruction: Instruction, mask: Array) -> Any:
    number = machine.known(instruction.operands[0], U32, mask, "the barrier's number")
    if (number[mask] > 15).any():
        raise ExecutionError("barriers are numbered 0 to 15")
    if len(instruction.operands) > 1:
        count = machine.known(instruction.operands[1], U32, mask, "the barrier's count")
        if (count[mask] != machine.n).any():
            raise ExecutionError("a barrier of part of the block is not known here")
    machine.arrive_barrier(mask, number)
    return MOVED


@row("bar cta? red op=popc u32", "=u32, u32, !pred", pure=False)
@row("bar cta? red op=and|or pred", "=pred, u32, !pred", pure=False)
@row("barrier cta? red op=popc aligned? u32", "=u32, u32, !pred", pure=False)
@row("barrier cta? red op=and|or aligned? pred", "=pred, u32, !pred", pure=False)
def barrier_red(machine: Machine, instruction: Instruction, mask: Array) -> Any:
    machine.known(instruction.operands[2], PRED, mask, "a predicate that is reduced")
    number = machine.known(instruction.operands[1], U32, mask, "the barrier's number")
    machine.arrive_barrier(mask, number)
    return MOVED


def _reduced(machine: Machine, instruction: Instruction, mask: Array, live: Array) -> None:
    votes, _ = machine.read(instruction.operands[2], PRED)
    votes = np.broadcast_to(votes, machine.n)[mask]
    if mask.sum() != live.sum():
        raise ExecutionError("threads meet at different reducing barriers")
    op = instruction.opcode.mods["op"]
    if op == "popc":
        result, type_ = np.array([votes.sum()], np.uint32), U32
    else:
        result, type_ = np.array([votes.all() if op == "and" else votes.any()]), PRED
    machine.write(instruction.operands[0], result, type_, None, mask)


barrier_red.after = _reduced  # type: ignore[attr-defined]


# Warps


@row("bar warp sync", "b32", pure=False)
@warp_wide(0)
def bar_warp(machine: Machine, instruction: Instruction, mask: Array) -> None:
    """Orders the memory of the warp if all its threads take part."""
    here = mask.reshape(-1, WARP)
    whole = (here | machine.exited.reshape(-1, WARP)).all(1) & here.any(1)
    machine.clock[whole] += 1


@row("activemask b32", "=b32", pure=False)
def activemask(machine: Machine, instruction: Instruction, mask: Array) -> None:
    machine.write(instruction.operands[0], _ballot(mask), B32, None, mask)


def _ballot(votes: Array) -> Array:
    """For each thread the votes of its warp, a bit a lane."""
    weights = np.uint64(1) << np.arange(WARP, dtype=np.uint64)
    words = (votes.reshape(-1, WARP) * weights).sum(1).astype(np.uint32)
    return np.repeat(words, WARP)


@row("shfl sync mode=up|down|bfly|idx b32", "=b32|pred, b32, b32, b32, b32", pure=False)
@warp_wide(4)
def shfl(machine: Machine, instruction: Instruction, mask: Array) -> None:
    """A value from another lane; undefined, so poison, from one that takes no part."""
    target, value, b, c, _ = instruction.operands
    found, poison = machine.read(value, B32)
    found = np.broadcast_to(found, machine.n)
    amount = machine.known(b, U32, mask, "the lane of a shuffle").astype(np.int64) & 31
    packed = machine.known(c, U32, mask, "the clamp of a shuffle").astype(np.int64)
    clamp, segment = packed & 31, packed >> 8 & 31
    lane = machine.lane.astype(np.int64)
    edge = (lane & segment) | (clamp & ~segment)
    mode = instruction.opcode.mods["mode"]
    source = {
        "up": lane - amount,
        "down": lane + amount,
        "bfly": lane ^ amount,
        "idx": (lane & segment) | (amount & ~segment),
    }[mode]
    valid = source >= edge if mode == "up" else source <= edge
    source = np.where(valid, source, lane) + np.arange(machine.n) // WARP * WARP
    result = found[source]
    # The threads that are ready include every live member, so the others take no part.
    bad = ~mask[source]
    if poison is not None:
        bad |= poison[source]
    clean = bad if (bad & mask).any() else None
    if isinstance(target, tuple):
        machine.write(target[0], result, B32, clean, mask)
        machine.write(target[1], valid, PRED, None, mask)
    else:
        machine.write(target, result, B32, clean, mask)


def _groups(machine: Machine, mask: Array) -> list[Array]:
    """The ready threads, by warp and member mask."""
    threads = np.flatnonzero(mask)
    key = (threads // WARP).astype(np.int64) << 32 | machine.members[threads].astype(np.int64)
    return [threads[key == one] for one in np.unique(key)]


@row("vote sync mode=all|any|uni pred", "=pred, !pred, b32", pure=False)
@row("vote sync mode=ballot b32", "=b32, !pred, b32", pure=False)
@warp_wide(2)
def vote(machine: Machine, instruction: Instruction, mask: Array) -> None:
    votes = machine.known(instruction.operands[1], PRED, mask, "a vote")
    mode = instruction.opcode.mods["mode"]
    result = np.zeros(machine.n, np.uint32 if mode == "ballot" else bool)
    for threads in _groups(machine, mask):
        here = votes[threads]
        result[threads] = {
            "all": here.all(),
            "any": here.any(),
            "uni": here.all() or not here.any(),
            "ballot": int((here * (1 << (threads % WARP))).sum()),
        }[mode]
    machine.write(
        instruction.operands[0], result, B32 if mode == "ballot" else PRED, None, mask
    )


@row("match any sync type=b32|b64", "=b32, type, b32", pure=False, sm=70)
@warp_wide(2)
def match_any(machine: Machine, instruction: Instruction, mask: Array) -> None:
    found = machine.known(
        instruction.operands[1], instruction.opcode.type(), mask, "the value of a match"
    )
    result = np.zeros(machine.n, np.uint32)
    for threads in _groups(machine, mask):
        same = found[threads][:, None] == found[threads]
        result[threads] = (same * (1 << (threads % WARP))).sum(1)
    machine.write(instruction.operands[0], result, B32, None, mask)


@row("redux sync op=add|min|max type=u32|s32", "=type, type, b32", pure=False, sm=80)
@row("redux sync op=and|or|xor type=b32", "=type, type, b32", pure=False, sm=80)
@warp_wide(2)
def redux(machine: Machine, instruction: Instruction, mask: Array) -> None:
    type_ = instruction.opcode.type()
    found = machine.known(instruction.operands[1], type_, mask, "a value that is reduced")
    reduce = {
        "add": np.add,
        "min": np.minimum,
        "max": np.maximum,
        "and": np.bitwise_and,
        "or": np.bitwise_or,
        "xor": np.bitwise_xor,
    }[instruction.opcode.mods["op"]]
    result = np.zeros(machine.n, type_.dtype)
    for threads in _groups(machine, mask):
        result[threads] = reduce.reduce(found[threads])
    machine.write(instruction.operands[0], result, type_, None, mask)


# Matrices


@row(
    "mma sync aligned shape=m16n8k8 row col f32_d=f32 a=tf32 b=tf32 f32_c=f32",
    "=f32*4, b32*4, b32*2, f32*4",
    pure=False,
    sm=80,
)
@row(
    "mma sync aligned shape=m16n8k16 row col f32_d=f32 a=f16 b=f16 f32_c=f32",
    "=f32*4, b32*4, b32*2, f32*4",
    pure=False,
    sm=80,
)
@row(
    "mma sync aligned shape=m16n8k16 row col f32_d=f32 a=bf16 b=bf16 f32_c=f32",
    "=f32*4, b32*4, b32*2, f32*4",
    pure=False,
    sm=80,
)
@row(
    "mma sync aligned shape=m16n8k8 row col f32_d=f32 a=f16 b=f16 f32_c=f32",
    "=f32*4, b32*2, b32*1, f32*4",
    pure=False,
    sm=75,
)
@row(
    "mma sync aligned shape=m16n8k8 row col f32_d=f32 a=bf16 b=bf16 f32_c=f32",
    "=f32*4, b32*2, b32*1, f32*4",
    pure=False,
    sm=80,
)
@warp_wide(None)
def mma(machine: Machine, instruction: Instruction, mask: Array) -> None:
    """D = A B + C, each warp its own 16 x 8 result.

    The sum is exact to float64, then rounded to nearest or toward zero at random: order and
    rounding of the hardware's sum are not specified (PTX ISA 9.7.14.5).
    """
    kind = instruction.opcode.mods["a"]
    depth = int(instruction.opcode.mods["shape"].rpartition("k")[2])
    target, *fragments = instruction.operands
    registers = []
    for fragment in fragments:
        assert isinstance(fragment, tuple)
        found = [machine.known(x, B32, mask, "a matrix") for x in fragment]
        registers.append(np.stack(found, 1).reshape(-1, WARP, len(found)))
    a, b, c = registers
    warps = machine.warps
    lane = np.arange(WARP)
    group, member = lane >> 2, lane & 3
    left, right = np.zeros((warps, 16, depth)), np.zeros((warps, depth, 8))
    # Each register holds one tf32 or two halves next to each other in a row of A or column
    # of B; registers go down by 8 rows of A first, then to the next 8 (tf32: 4) columns.
    each = 1 if kind == "tf32" else 2
    step = 4 * each
    for i in range(a.shape[2]):
        for part, element in enumerate(_elements(a[:, :, i], kind)):
            left[:, group + 8 * (i & 1), member * each + part + step * (i >> 1)] = element
    for i in range(b.shape[2]):
        for part, element in enumerate(_elements(b[:, :, i], kind)):
            right[:, member * each + part + step * i, group] = element
    total = np.zeros((warps, 16, 8))
    where = [(group + 8 * (i >> 1), member * 2 + (i & 1)) for i in range(4)]
    for i, (rows, columns) in enumerate(where):
        total[:, rows, columns] = np.ascontiguousarray(c[:, :, i]).view(np.float32)
    total += left @ right
    nearest = arithmetic.narrow(total, "f32")
    toward = arithmetic.narrow(total, "f32", "rz")
    total = np.where(machine.random.random(total.shape) < 0.5, nearest, toward)
    assert isinstance(target, tuple)
    for register, (rows, columns) in zip(target, where, strict=True):
        result = np.ascontiguousarray(total[:, rows, columns]).astype(np.float32).ravel()
        machine.write(register, result, TYPES["f32"], None, mask)


def _elements(registers: Array, kind: str) -> list[Array]:
    """The values in registers, as float64, the lower half first."""
    registers = np.ascontiguousarray(registers)
    if kind == "tf32":
        # The lower 13 bits are not looked at.
        return [(registers & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)]
    halves = registers.view(TYPES[kind].dtype).reshape(*registers.shape, 2)
    return [halves[..., i].astype(np.float64) for i in (0, 1)]


@row(
    "ldmatrix sync aligned m8n8 num=x1|x2|x4 trans? space=shared|shared::cta b16",
    "=b32*num, mem",
    pure=False,
    sm=75,
)
@warp_wide(None)
def ldmatrix(machine: Machine, instruction: Instruction, mask: Array) -> None:
    """Matrices of 8 x 8 halves; lanes 8 i to 8 i + 7 hold the row addresses of matrix i."""
    target, mem = instruction.operands
    assert isinstance(target, tuple)
    lane = np.arange(WARP)
    used = mask & (machine.lane < 8 * len(target))
    (piece,) = machine.pieces(mem, "shared", used, 16, False)
    rows = np.zeros((machine.n, 8), np.uint16)
    unwritten = np.zeros((machine.n, 8), bool)
    for i in range(8):
        words, bad = piece.store.load(piece.places + 2 * i, 2)
        rows[piece.threads, i], unwritten[piece.threads, i] = words, bad
    machine.note(piece, 16, False)
    for i, register in enumerate(target):
        matrix = rows.reshape(-1, WARP, 8)[:, 8 * i : 8 * i + 8]
        bad = unwritten.reshape(-1, WARP, 8)[:, 8 * i : 8 * i + 8]
        if "trans" in instruction.opcode.mods:
            matrix, bad = matrix.transpose(0, 2, 1), bad.transpose(0, 2, 1)
        row_, column = lane >> 2, (lane & 3) * 2
        pair = np.stack([matrix[:, row_, column], matrix[:, row_, column + 1]], -1)
        poison = (bad[:, row_, column] | bad[:, row_, column + 1]).ravel()
        result = np.ascontiguousarray(pair).view(np.uint32).ravel()
        machine.write(register, result, B32, poison if poison.any() else None, mask)


# Asynchronous copies: done when waited for, until then the target is unwritten.


@row(
    "cp async cop=ca|cg space=shared|shared::cta global L2::64B|L2::128B|L2::256B?",
    "mem@shared, mem@global, imm, u32?",
    pure=False,
    sm=80,
)
def cp_async(machine: Machine, instruction: Instruction, mask: Array) -> None:
    target, source, size = instruction.operands[:3]
    if size not in (4, 8, 16) or (instruction.opcode.mods["cop"] == "cg" and size != 16):
        raise ExecutionError(f"a copy of {size} bytes")
    amount = np.full(machine.n, size, np.uint32)
    if len(instruction.operands) > 3:
        amount = machine.known(instruction.operands[3], U32, mask, "the size of a copy")
    (to,) = machine.pieces(target, "shared", mask, size, True)
    machine.note(to, size, True)
    octets = {int(t): np.zeros(size, np.uint8) for t in to.threads}
    states = {int(t): np.full(size, WRITTEN, np.uint8) for t in to.threads}
    reads = mask & (amount > 0)
    for piece in machine.pieces(source, "global", reads, size, False):
        machine.note(piece, size, False)
        for thread, place in zip(piece.threads, piece.places, strict=True):
            part = slice(place, place + int(amount[thread]))
            octets[int(thread)][: int(amount[thread])] = piece.store.octets[part]
            states[int(thread)][: int(amount[thread])] = piece.store.state[part]
    for thread, place in zip(to.threads, to.places, strict=True):
        to.store.state[place : place + size] = UNWRITTEN
        copy = (to, place, octets[int(thread)], states[int(thread)])
        machine.copies[thread][-1].append(copy)


@row("cp async commit_group", "", pure=False, sm=80)
def cp_commit(machine: Machine, instruction: Instruction, mask: Array) -> None:
    for thread in np.flatnonzero(mask):
        machine.copies[thread].append([])


@row("cp async wait_group", "imm", pure=False, sm=80)
@row("cp async wait_all", "", pure=False, sm=80)
def cp_wait(machine: Machine, instruction: Instruction, mask: Array) -> None:
    for thread in np.flatnonzero(mask):
        groups = machine.copies[thread]
        if instruction.operands:
            (pending,) = instruction.operands
            assert isinstance(pending, int)
            done = max(0, len(groups) - 1 - pending)
        else:
            groups.append([])
            done = len(groups) - 1
        for group in groups[:done]:
            for piece, place, octets, states in group:
                piece.store.octets[place : place + len(octets)] = octets
                piece.store.state[place : place + len(octets)] = states
                machine.note_copy(piece, int(thread), place, len(octets))
        del groups[:done]
