"""One block of threads: registers, program counters, schedules and what threads wait for.

Every register is an array over the threads of the block; an instruction is done for all
threads of a group at once. In lockstep the group is the threads at the least program counter
(so that paths that diverged meet again); with a random schedule it is some threads of one
warp, for a few instructions, so that warps and divergent paths overtake each other, as they
may on sm_70 and later (CUDA C Programming Guide, independent thread scheduling).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ptx.errors import (
    BoundsError,
    DeadlockError,
    ExecutionError,
    StepLimitError,
    UninitializedError,
    WarpSyncError,
)
from ptx.memory import (
    CONST,
    LOCAL,
    PARAM,
    PLACE,
    REGION_BITS,
    SHARED,
    Memory,
    Store,
    check_alignment,
)
from ptx.parse import Imm, Instruction, Kernel, Mem, Operand, Reg, Special, Symbol, Variable
from ptx.races import WARP, Access, BlockRaces, Races
from ptx.types import BITS, TYPES, Array, Type, bits_of, values

# Shared and local variables start here, so that a null pointer is outside.
SPACE_BASE = 1024
REGIONS = {"shared": SHARED, "local": LOCAL, "const": CONST, "param": PARAM}
RUNNING, AT_WARP_SYNC, AT_BARRIER = 0, 1, 2

Poison = Array | None


@dataclass(slots=True)
class Statistics:
    """What a launch did: instructions by warp and by thread, memory traffic of the warps.

    A sector is 32 bytes of global memory. A conflict is a pass over the banks of shared memory
    beyond those that the size of the access needs.
    """

    instructions: int = 0
    thread_instructions: int = 0
    global_loads: int = 0
    global_stores: int = 0
    global_load_sectors: int = 0
    global_store_sectors: int = 0
    shared_accesses: int = 0
    bank_conflicts: int = 0
    opcodes: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Launch:
    """What the blocks of one launch share."""

    kernel: Kernel
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    memory: Memory
    params: Store
    const: Store
    shared_size: int
    dynamic_size: int
    frame_size: int
    random: np.random.Generator
    shuffled: bool
    block_races: BlockRaces | None
    statistics: Statistics
    steps: int


@dataclass(slots=True)
class Piece:
    """Threads whose address lies in one store: their numbers, places and addresses."""

    space: str
    store: Store
    threads: Array
    places: Array
    addresses: Array


class Machine:
    """Runs one block."""

    def __init__(self, launch: Launch, index: int) -> None:
        self.launch, self.index = launch, index
        self.random = launch.random
        self.code = launch.kernel.instructions
        count = int(np.prod(launch.block))
        self.n = -(-count // WARP) * WARP
        self.warps = self.n // WARP
        thread = np.arange(self.n)
        self.lane = (thread % WARP).astype(np.uint32)
        self.exited = thread >= count
        self.pc = np.zeros(self.n, np.int64)
        self.waits = np.zeros(self.n, np.int8)
        self.wait_at = np.full(self.n, -1, np.int64)
        self.members = np.zeros(self.n, np.uint32)
        self.barrier_id = np.zeros(self.n, np.int64)
        self.clock = np.zeros(self.warps, np.int64)
        unwritten = np.ones(self.n, bool)
        empty = {bits: np.zeros(self.n, dtype) for bits, dtype in BITS.items()}
        registers = launch.kernel.registers
        self.registers: list[Array] = [empty[type_.bits] for _, type_ in registers]
        self.poison: list[Poison] = [unwritten] * len(registers)
        self.shared = Store(SPACE_BASE + launch.shared_size)
        self.shared.state[:SPACE_BASE] = 0
        self.local = Store(launch.frame_size * self.n)
        self.races = Races()
        self.copies: list[list[list[Any]]] = [[[]] for _ in range(self.n)]
        self.special = self._special(thread)
        self.steps = 0
        self.at = 0

    def _special(self, thread: Array) -> dict[str, Array]:
        launch, lane = self.launch, self.lane
        x, y, _ = launch.block
        grid_x, grid_y, _ = launch.grid
        one, bit = np.uint32(1), np.uint32(1) << lane
        found: dict[str, Any] = {
            "%tid.x": thread % x,
            "%tid.y": thread // x % y,
            "%tid.z": thread // (x * y),
            "%ctaid.x": self.index % grid_x,
            "%ctaid.y": self.index // grid_x % grid_y,
            "%ctaid.z": self.index // (grid_x * grid_y),
            "%laneid": lane,
            "%warpid": thread // WARP,
            "%nwarpid": self.warps,
            "%smid": self.index,
            "%lanemask_eq": bit,
            "%lanemask_lt": bit - one,
            "%lanemask_le": bit | (bit - one),
            "%lanemask_gt": ~(bit | (bit - one)),
            "%lanemask_ge": ~(bit - one),
            "%clock": 0,
            "%dynamic_smem_size": launch.dynamic_size,
            "%total_smem_size": launch.shared_size,
        }
        for axis, threads, blocks in zip("xyz", launch.block, launch.grid, strict=True):
            found[f"%ntid.{axis}"], found[f"%nctaid.{axis}"] = threads, blocks
        special = {
            name: np.broadcast_to(np.asarray(value), self.n).astype(np.uint32)
            for name, value in found.items()
        }
        special["%clock64"] = np.zeros(self.n, np.uint64)
        return special

    # Operands

    def read(self, operand: Operand, type_: Type) -> tuple[Array, Poison]:
        """The values of a source operand over all threads, and which are poison."""
        if isinstance(operand, Reg):
            found = values(self.registers[operand.index], type_)
            return (~found if operand.negated else found), self.poison[operand.index]
        if isinstance(operand, Imm):
            return operand.bits.view(type_.dtype), None
        if isinstance(operand, Special):
            return values(self.special[operand.name], type_), None
        if isinstance(operand, Symbol):
            address = operand.variable.address + operand.offset
            return np.array([address], f"u{type_.size}").view(type_.dtype), None
        raise AssertionError(operand)

    def known(self, operand: Operand, type_: Type, mask: Array, what: str) -> Array:
        """The values of an operand that must not be poison in the threads of the mask."""
        found, poison = self.read(operand, type_)
        if poison is not None and (poison & mask).any():
            thread = int(np.flatnonzero(poison & mask)[0])
            raise UninitializedError(f"thread {thread}: {what} depends on unwritten data")
        return np.broadcast_to(found, self.n)

    def write(
        self, register: Operand, result: Array, type_: Type, poison: Poison, mask: Array
    ) -> None:
        """Give a register its values in the threads of the mask."""
        if register is None:
            return
        assert isinstance(register, Reg)
        bits = bits_of(result, type_, register.type.bits)
        if bits.shape != (self.n,):
            bits = np.repeat(bits, self.n) if bits.size == 1 else np.broadcast_to(bits, self.n)
        index, old = register.index, self.poison[register.index]
        if (mask | self.exited).all():
            self.registers[index], self.poison[index] = bits, poison
            return
        self.registers[index] = np.where(mask, bits, self.registers[index])
        if old is not None or poison is not None:
            before = False if old is None else old
            after = False if poison is None else poison
            merged = np.where(mask, after, before)
            self.poison[index] = merged if merged.any() else None

    # Memory

    def addresses(self, mem: Mem, mask: Array) -> tuple[Array, Array]:
        """The threads of the mask and their addresses."""
        threads = np.flatnonzero(mask)
        offset = np.uint64(mem.offset & ((1 << 64) - 1))
        if isinstance(mem.base, Reg):
            kind = TYPES[f"u{mem.base.type.bits}"]
            base = self.known(mem.base, kind, mask, "the address")[threads]
            return threads, base.astype(np.uint64) + offset
        start = mem.base.address if isinstance(mem.base, Variable) else 0
        return threads, np.full(len(threads), start, np.uint64) + offset

    def pieces(
        self, mem: Mem, space: str | None, mask: Array, size: int, write: bool
    ) -> list[Piece]:
        """Where the threads' accesses go, checked for alignment and bounds."""
        threads, addresses = self.addresses(mem, mask)
        if not len(threads):
            return []
        check_alignment(addresses, size)
        space = space.removesuffix("::cta") if space else None
        if isinstance(mem.base, Variable) and mem.base.space == "argument":
            space = "local"
        if space is not None:
            return [self.piece(space, threads, addresses, size, write)]
        found = []
        regions = addresses >> np.uint64(REGION_BITS)
        special = np.where(regions > PARAM, 0, regions)
        for region in np.unique(special):
            pick = special == region
            name = {value: key for key, value in REGIONS.items()}.get(int(region), "global")
            inner = addresses[pick] if name == "global" else addresses[pick] & PLACE
            found.append(self.piece(name, threads[pick], inner, size, write))
        return found

    def piece(
        self, space: str, threads: Array, addresses: Array, size: int, write: bool
    ) -> Piece:
        """The accesses of threads to one space."""
        if space == "global":
            memory = self.launch.memory
            places = memory.places(addresses, size, write)
            return Piece(space, memory.store, threads, places, addresses)
        places = addresses.astype(np.int64)
        if space == "local":
            frame = self.launch.frame_size
            store, wrong = (
                self.local,
                (places < SPACE_BASE) | (places - SPACE_BASE + size > frame),
            )
            places = places - SPACE_BASE + threads * frame
        else:
            store = {
                "shared": self.shared,
                "const": self.launch.const,
                "param": self.launch.params,
            }[space]
            wrong = store.outside(places, size)
        if wrong.any():
            i = np.flatnonzero(wrong)[0]
            raise BoundsError(
                f"thread {threads[i]}: {size} bytes at {int(addresses[i]):#x} of .{space},"
                " outside every variable"
            )
        if write and space in ("const", "param"):
            raise BoundsError(f"write to .{space}")
        if space == "shared":
            addresses = addresses + np.uint64(SHARED << REGION_BITS)
        return Piece(space, store, threads, places, addresses)

    def note(
        self, piece: Piece, size: int, write: bool, strong: bool = False, nc: bool = False
    ) -> None:
        """Tell the race detectors and the statistics of an access."""
        if piece.space not in ("global", "shared"):
            return
        line = self.code[self.at].line
        clock = self.clock[piece.threads // WARP]
        access = Access(piece.addresses, piece.threads, clock, size, write, strong, line)
        self.races.note(access)
        statistics = self.launch.statistics
        warp = piece.threads // WARP
        if piece.space == "shared":
            statistics.shared_accesses += len(np.unique(warp))
            statistics.bank_conflicts += _conflicts(piece.threads, piece.places, size)
            return
        if self.launch.block_races is not None:
            self.launch.block_races.note(piece.places, size, self.index, write, strong, nc)
        sectors = len(
            np.unique(
                (warp.astype(np.uint64) << np.uint64(48)) ^ (piece.addresses >> np.uint64(5))
            )
        )
        if write:
            statistics.global_stores += len(np.unique(warp))
            statistics.global_store_sectors += sectors
        else:
            statistics.global_loads += len(np.unique(warp))
            statistics.global_load_sectors += sectors

    def note_copy(self, piece: Piece, thread: int, place: int, size: int) -> None:
        """Tell the race detector of an asynchronous copy that has arrived."""
        address = np.array([place + (SHARED << REGION_BITS)], np.uint64)
        clock = self.clock[thread // WARP : thread // WARP + 1]
        line = self.code[self.at].line
        self.races.note(Access(address, np.array([thread]), clock, size, True, False, line))

    # Waiting

    def arrive_warp(self, members: Array, mask: Array) -> None:
        """Threads reach a warp-wide instruction and wait for the others of their mask."""
        outside = mask & ((members >> self.lane) & np.uint32(1) == 0)
        if outside.any():
            thread = int(np.flatnonzero(outside)[0])
            raise WarpSyncError(
                f"lane {thread % WARP} is not in its own member mask {int(members[thread]):#x}"
            )
        self.waits[mask], self.wait_at[mask] = AT_WARP_SYNC, self.at
        self.members[mask] = members[mask]
        self.release_warp(self.at)

    def release_warp(self, at: int) -> None:
        """Do a warp-wide instruction for the threads whose partners are all there."""
        arrived = (self.waits == AT_WARP_SYNC) & (self.wait_at == at)
        here = arrived.reshape(-1, WARP)
        live = ~self.exited.reshape(-1, WARP)
        members = self.members.reshape(-1, WARP)
        wanted = (members[:, :, None] >> np.arange(WARP, dtype=np.uint32)) & np.uint32(1) != 0
        wanted &= live[:, None, :]
        different = wanted & here[:, None, :] & (members[:, :, None] != members[:, None, :])
        if (different & here[:, :, None]).any():
            self.at = at
            raise WarpSyncError("lanes name different member masks")
        ready = (here & (~wanted | here[:, None, :]).all(2)).ravel()
        if ready.any():
            self.waits[ready] = RUNNING
            self.at = at
            instruction = self.code[at]
            instruction.opcode.row.run(self, instruction, ready)

    def arrive_barrier(self, mask: Array, number: Array) -> None:
        """Threads reach a barrier of the block."""
        self.waits[mask], self.wait_at[mask] = AT_BARRIER, self.at
        self.barrier_id[mask] = number[mask]
        self.release_barrier()

    def release_barrier(self) -> None:
        """Let all go on once every thread that has not exited waits at the same barrier."""
        live = ~self.exited
        if not live.any() or (self.waits[live] != AT_BARRIER).any():
            return
        if len(np.unique(self.barrier_id[live])) > 1:
            return
        places = self.wait_at.reshape(-1, WARP)
        for warp in range(self.warps):
            found = np.unique(places[warp][live.reshape(-1, WARP)[warp]])
            aligned = any(self.code[at].opcode.mods.get("aligned") for at in found)
            aligned |= any(self.code[at].opcode.row.name == "bar" for at in found)
            if len(found) > 1 and aligned:
                lines = ", ".join(str(self.code[at].line) for at in found)
                raise DeadlockError(
                    f"warp {warp} is at different aligned barriers: lines {lines}"
                )
        self.waits[live] = RUNNING
        self.races.barrier()
        self.clock[:] = 0
        for at in np.unique(self.wait_at[live]):
            after = getattr(self.code[at].opcode.row.run, "after", None)
            if after is not None:
                after(self, self.code[at], live & (self.wait_at == at), live)

    def leave(self, mask: Array) -> None:
        """Threads end; who waits for them waits no longer."""
        self.exited |= mask
        for at in np.unique(self.wait_at[(self.waits == AT_WARP_SYNC) & ~self.exited]):
            self.release_warp(int(at))
        self.release_barrier()

    # Running

    def run(self) -> None:
        """Run until every thread has ended."""
        with np.errstate(all="ignore"):
            try:
                while not self.exited.all():
                    mask, limit = self.choose()
                    self.go(mask, limit)
                self.races.barrier()
            except ExecutionError as error:
                instruction = self.code[min(self.at, len(self.code) - 1)]
                raise type(error)(
                    f"{error} [block {self.index}, line {instruction.line}: {instruction.text}]"
                ) from error

    def choose(self) -> tuple[Array, int]:
        """The next group, and for how many instructions it runs."""
        ready = ~self.exited & (self.waits == RUNNING)
        if not ready.any():
            waiting = np.unique(self.wait_at[~self.exited])
            lines = ", ".join(f"{self.code[at].line} ({self.code[at].text})" for at in waiting)
            self.at = int(waiting[0])
            raise DeadlockError(f"threads wait for others that never come, at lines {lines}")
        limit = 1 << 30
        if self.launch.shuffled:
            warp = self.random.choice(np.flatnonzero(ready.reshape(-1, WARP).any(1)))
            ready &= np.arange(self.n) // WARP == warp
            limit = int(self.random.integers(1, 24))
        counters = self.pc[ready]
        pick = counters.min()
        if self.launch.shuffled and self.random.random() < 0.5:
            pick = self.random.choice(counters)
        mask = ready & (self.pc == pick)
        later = counters[counters > pick]
        return mask, min(limit, int(later.min() - pick)) if len(later) else limit

    def go(self, mask: Array, limit: int) -> None:
        """Run a group until it branches, waits, or has done its share."""
        launch, statistics = self.launch, self.launch.statistics
        at = int(self.pc[mask][0])
        warps = int(mask.reshape(-1, WARP).any(1).sum())
        threads = int(mask.sum())
        for _ in range(limit):
            self.at = at
            if at >= len(self.code):
                raise ExecutionError("control ran off the end of the kernel")
            instruction = self.code[at]
            opcode = instruction.opcode
            self.steps += 1
            if self.steps > launch.steps:
                raise StepLimitError(f"more than {launch.steps} steps")
            statistics.instructions += warps
            statistics.thread_instructions += threads
            name = opcode.row.name
            statistics.opcodes[name] = statistics.opcodes.get(name, 0) + warps
            active = mask
            if instruction.guard is not None:
                active = mask & self.known(
                    instruction.guard, TYPES["pred"], mask, "a predicate that guards"
                )
            at += 1
            if opcode.row.pure:
                if active is mask or active.any():
                    self.compute(instruction, active)
                continue
            self.pc[mask] = at
            if active is not mask and not active.any():
                continue
            members = getattr(opcode.row.run, "members", None)
            if members is not None:
                self.arrive_warp(members(self, instruction, active), active)
                return
            if opcode.row.run(self, instruction, active) is not None:
                return
        self.pc[mask] = at

    def compute(self, instruction: Instruction, mask: Array) -> None:
        """Do an instruction that makes values from values."""
        opcode = instruction.opcode
        results: list[tuple[Operand, Type]] = []
        sources: list[Any] = []
        poisons: list[Poison] = []
        for kind, operand in zip(opcode.kinds, instruction.operands, strict=False):
            if kind.result:
                assert kind.type is not None
                if isinstance(operand, tuple):
                    assert kind.second is not None
                    results = [(operand[0], kind.type), (operand[1], kind.second)]
                else:
                    results = [(operand, kind.type)]
            elif kind.type is None:
                sources.append(operand)
            else:
                found, poison = self.read(operand, kind.type)
                sources.append(found)
                poisons.append(poison)
        made = opcode.row.run(opcode.mods, self.random, *sources)
        poison = None
        if any(p is not None for p in poisons):
            if opcode.row.accepts == "chosen":
                a, b, p = (np.zeros(self.n, bool) if x is None else x for x in poisons)
                poison = p | np.where(sources[2], a, b)
            else:
                poison = np.logical_or.reduce([p for p in poisons if p is not None])
            if not poison.any():
                poison = None
        makes = made if isinstance(made, tuple) else (made,)
        for (register, type_), result in zip(results, makes, strict=False):
            self.write(register, result, type_, poison, mask)


def _conflicts(threads: Array, places: Array, size: int) -> int:
    """Passes over the 32 banks of 4 bytes beyond the least that a warp's access needs.

    Accesses of 8 and 16 bytes go by halves and quarters of a warp; threads that read one word
    share it. Source: CUDA C Programming Guide, shared memory of compute capability 5.x.
    """
    share = WARP // max(1, size // 4)
    words = max(1, size // 4)
    group = np.repeat(threads // share, words).astype(np.int64)
    word = (places[:, None] // 4 + np.arange(words)).ravel()
    pairs = np.unique(group << 32 | word)
    banks, passes = np.unique((pairs >> 32) << 5 | (pairs & 31), return_counts=True)
    worst = np.zeros(int(group.max()) + 1, np.int64)
    np.maximum.at(worst, banks >> 5, passes)
    return int((worst[worst > 0] - 1).sum())
