"""Control flow as machine code: functions that run regions, chosen or in turns.

A region becomes `i64 @name(ptr inputs…, ptr outputs…, ptr arena, ptr record, ptr sizes, ptr
poll)`, which makes the calls of its kernels one after another. The function of the whole call,
`i64 @name(ptr inputs…, ptr outputs…, ptr scratch, ptr record, ptr sizes, ptr poll)`, calls
these. What a loop carries is changed in place where the memory plan says so. Else it has two
places, read and written by turns, of which the last written one is the result's. Elements along
the first axis are read and written where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphjit.codegen.module import Module
from graphjit.codegen.runtime.runtime_symbols import INTERRUPTED, NOT_TAKEN, TEAM_INTERRUPTED
from graphjit.codegen.sizes import SizeEmitter
from graphjit.core.errors import InternalError
from graphjit.ir import cost_model
from graphjit.ir.program import Buffer, Program, RegionCall, reads_and_writes
from graphjit.ir.region_calls import carried_in_place, results_in_place, scratch_layout
from graphjit.ops.primitive import Assumption, Choice, ConditionalLoop, CountedLoop

from .kernel_calls import KernelInvocation, Operands, write_calls

# After about how much work a loop asks whether a signal came [ns].
ASK_NS = 20_000


def write_region(
    program: Program, symbol: str, calls: Sequence[KernelInvocation], symbols: Sequence[str]
) -> str:
    """The function of a region. symbols: those of the whole program."""
    own = [*program.inputs, *program.outputs]
    parameters = [f"ptr %b{n}" for n in own]
    parameters += ["ptr %arena", "ptr %record", "ptr %sizes", "ptr %poll"]
    lines = [f"define internal i64 @{symbol}({', '.join(parameters)}) nounwind {{", "entry:"]
    size = SizeEmitter(symbols, lines)
    for number in sorted({n for call in calls for n in call.buffers}):
        buffer = program.buffers[number]
        if buffer.role == "temporary":
            offset = size(buffer.offset_bytes)
            lines.append(f"  %b{number} = getelementptr i8, ptr %arena, i64 {offset}")
        elif number not in own:
            raise InternalError(f"a region takes b{number}, which is {buffer.role}")
    lines.append("  br label %step0")
    arrivals = write_calls(lines, calls, Operands(size, lines), "ptr %poll", polled=True)
    return "\n".join(
        [*lines, "done:", f"  %status = phi i64 {arrivals}", "  ret i64 %status", "}"]
    )


class ControlWriter:
    """Writes the function of one call of regions.

    symbol: its name. regions: those of the functions of its regions. symbols: those of the
    whole program
    """

    def __init__(
        self,
        call: RegionCall,
        buffers: Sequence[Buffer],
        symbol: str,
        regions: Sequence[str],
        symbols: Sequence[str],
        module: Module,
    ) -> None:
        self.call, self.symbol, self.regions = call, symbol, regions
        self.attrs = dict(call.attrs)
        self.lines: list[str] = []
        self.head: list[str] = []  # extents, which all blocks use
        self.size = SizeEmitter(symbols, self.head)
        self.layout = scratch_layout(call)
        self.buffers = buffers
        self.types = [buffers[n].type for n in call.outputs]
        self.ins = [f"%i{k}" for k in range(len(call.inputs))]
        self.outs = [f"%o{k}" for k in range(len(call.outputs))]
        module.declare("void", "llvm.memcpy.p0.p0.i64", "ptr, ptr, i64, i1")

    def write(self) -> str:
        """The function."""
        # nothing that is written is reached by two of them, but for what is changed in place
        pairs = results_in_place(self.call)
        shared = {name for k, j in pairs for name in (self.outs[k], self.ins[j])}
        parameters = [
            f"ptr {name}" if name in shared else f"ptr noalias {name}"
            for name in (*self.ins, *self.outs)
        ]
        parameters += ["ptr noalias %scratch", "ptr %record", "ptr %sizes", "ptr %poll"]
        self.add("%arena = " + self.at("%scratch", self.layout.arena))
        match self.call.primitive.kind:
            case Choice():
                self.write_choice()
            case Assumption():
                self.write_assumption()
            case CountedLoop():
                self.write_scan()
            case ConditionalLoop():
                self.write_while()
        head = f"define internal i64 @{self.symbol}({', '.join(parameters)}) nounwind {{"
        return "\n".join([head, "entry:", *self.head, *self.lines, "}"])

    # -- pieces

    def add(self, *lines: str) -> None:
        """Append instructions."""
        self.lines += [f"  {line}" for line in lines]

    def label(self, name: str) -> None:
        """Begin a block."""
        self.lines.append(f"{name}:")

    def at(self, pointer: str, offset: Any) -> str:
        """The address so many bytes further."""
        return f"getelementptr i8, ptr {pointer}, i64 {self.size(offset)}"

    def run(self, name: str, region: int, given: Sequence[str], made: Sequence[str]) -> None:
        """Call the function of a region; its status."""
        listed = ", ".join(f"ptr {p}" for p in (*given, *made))
        listed += f"{', ' if listed else ''}ptr %arena, ptr %record, ptr %sizes, ptr %poll"
        self.add(f"{name} = call i64 @{self.regions[region]}({listed})")

    def copy(self, target: str, source: str, number: int) -> None:
        """Copy a carried value."""
        size = self.size(self.types[number].nbytes)
        listed = f"ptr {target}, ptr {source}, i64 {size}, i1 false"
        self.add(f"call void @llvm.memcpy.p0.p0.i64({listed})")

    def fetch(self, number: int, source: str) -> None:
        """Copy what is changed in place to where the result is, unless it is there."""
        self.add(
            f"%there.{number} = icmp eq ptr {source}, {self.outs[number]}",
            f"br i1 %there.{number}, label %has.{number}, label %lacks.{number}",
        )
        self.label(f"lacks.{number}")
        self.copy(self.outs[number], source, number)
        self.add(f"br label %has.{number}")
        self.label(f"has.{number}")

    # -- choices

    def write_choice(self) -> None:
        """One region is run."""
        for k, j in results_in_place(self.call):
            self.fetch(k, self.ins[j])
        selector, given = self.ins[0], self.ins[1:]
        last = len(self.regions) - 1
        if self.buffers[self.call.inputs[0]].type.dtype.is_bool:
            self.add(
                f"%chosen = load i8, ptr {selector}, align 1",
                "%holds = icmp ne i8 %chosen, 0",
                "br i1 %holds, label %region0, label %region1",
            )
        else:
            self.add(
                f"%chosen = load i64, ptr {selector}, align 8",
                "%below = icmp slt i64 %chosen, 0",
                "%number = select i1 %below, i64 0, i64 %chosen",
            )
            arms = " ".join(f"i64 {k}, label %region{k}" for k in range(last))
            self.add(f"switch i64 %number, label %region{last} [ {arms} ]")
        for k in range(len(self.regions)):
            self.label(f"region{k}")
            self.run(f"%status{k}", k, given, self.outs)
            self.add(f"ret i64 %status{k}")

    def write_assumption(self) -> None:
        """The region is run if the predicate is as it was assumed to be."""
        expected = "ne" if self.attrs["holds"] else "eq"
        self.add(
            f"%chosen = load i8, ptr {self.ins[0]}, align 1",
            f"%holds = icmp {expected} i8 %chosen, 0",
            "br i1 %holds, label %region, label %elsewhere",
        )
        self.label("elsewhere")
        self.add(f"ret i64 {NOT_TAKEN}")
        self.label("region")
        self.run("%status", 0, self.ins[1:], self.outs)
        self.add("ret i64 %status")

    # -- loops

    def carried(self) -> tuple[list[int], list[int]]:
        """The numbers of carried values that are changed in place, and of the others."""
        inside = carried_in_place(self.call)
        numbers = range(self.attrs["carried"])
        return [k for k in numbers if k in inside], [k for k in numbers if k not in inside]

    def turns_per_question(self) -> int:
        """After how many turns a loop asks whether a signal came: a power of two."""
        costs = [
            cost_model.step_time_ns(inner, program.buffers)
            for program in self.call.programs
            for inner in program.steps
        ]
        turns = int(ASK_NS / max(1.0, sum(costs) + 2.0 * len(costs)))
        return 1 << max(0, turns.bit_length() - 1)

    def ask(self) -> None:
        """The blocks between some turns and the next ones, which ask whether a signal came."""
        self.label("pause")
        self.add("br i1 %polls, label %ask, label %some")
        self.label("ask")
        self.add(
            f"%raised = call i1 @{TEAM_INTERRUPTED}(ptr %poll)",
            "br i1 %raised, label %stopped, label %some",
        )

    def endings(self, turn: str) -> None:
        """The blocks in which a loop ends early."""
        self.label("stopped")
        self.add(f"ret i64 {INTERRUPTED}")
        self.label("failed")
        self.add(
            "%noted = icmp ne ptr %record, null",
            "br i1 %noted, label %note, label %fail",
        )
        self.label("note")
        self.add(  # of loops in loops the innermost one's is told
            "%turn.at = getelementptr i64, ptr %record, i64 2",
            "%known = load i64, ptr %turn.at, align 8",
            "%new = icmp eq i64 %known, 0",
            f"%counted = add i64 {turn}, 1",
            "%told = select i1 %new, i64 %counted, i64 %known",
            "store i64 %told, ptr %turn.at, align 8",
            "br label %fail",
        )
        self.label("fail")
        self.add("ret i64 %status")

    def places(self, apart: Sequence[int], entry: str) -> None:
        """The phis of the turn, and of where values are read and written, `%first{k}` and
        `%second{k}` at first: for the first of some turns, and for each of them.

        Some turns make a loop of their own, without the question for signals: LLVM keeps
        small values in registers in it.
        """
        turns = self.turns_per_question()
        self.label("some")
        arrivals = "[ {0}, %" + entry + " ], [ {1}, %pause ], [ {1}, %ask ]"
        self.add("%t.some = phi i64 " + arrivals.format(0, "%following"))
        for k in apart:
            self.add(
                f"%r.some{k} = phi ptr " + arrivals.format(self.ins[k], f"%w{k}"),
                f"%w.some{k} = phi ptr " + arrivals.format(f"%first{k}", f"%v{k}"),
                f"%v.some{k} = phi ptr " + arrivals.format(f"%second{k}", f"%w{k}"),
            )
        self.add(f"%end.some = add i64 %t.some, {turns}", "br label %loop")
        self.label("loop")
        self.add("%t = phi i64 [ %t.some, %some ], [ %following, %turned ]")
        for k in apart:
            self.add(
                f"%r{k} = phi ptr [ %r.some{k}, %some ], [ %w{k}, %turned ]",
                f"%w{k} = phi ptr [ %w.some{k}, %some ], [ %v{k}, %turned ]",
                f"%v{k} = phi ptr [ %v.some{k}, %some ], [ %w{k}, %turned ]",
            )

    def spares(self) -> dict[int, str]:
        """The second places of carried values."""
        found = {}
        for k, offset in self.layout.spare:
            self.add(f"%spare{k} = " + self.at("%scratch", offset))
            found[k] = f"%spare{k}"
        return found

    def write_scan(self) -> None:
        """A region is run a number of times that is known before."""
        carried, sliced = self.attrs["carried"], self.attrs["sliced"]
        inside, apart = self.carried()
        count = self.size(self.attrs["count"])
        spares = self.spares()
        self.add("%index = " + self.at("%scratch", self.layout.index))
        self.add("%polls = icmp ne ptr %poll, null")
        for k in inside:
            self.fetch(k, self.ins[k])
        self.add(f"%none = icmp eq i64 {count}, 0", "br i1 %none, label %nothing, label %begin")
        self.label("nothing")
        for k in apart:
            self.copy(self.outs[k], self.ins[k], k)
        self.add("ret i64 0")
        self.label("begin")
        self.add(f"%parity = and i64 {count}, 1", "%odd = icmp ne i64 %parity, 0")
        for k in apart:
            self.add(
                f"%first{k} = select i1 %odd, ptr {self.outs[k]}, ptr {spares[k]}",
                f"%second{k} = select i1 %odd, ptr {spares[k]}, ptr {self.outs[k]}",
            )
        rows = [self.size(b.type.nbytes) for b in (*self.sliced_buffers(), *self.row_buffers())]
        self.add("br label %some")
        self.places(apart, "begin")
        place = "%t"
        if self.attrs["reverse"]:
            self.add(f"%back = sub i64 {count}, %t", "%place = add i64 %back, -1")
            place = "%place"
        if self.reads_index():
            self.add(
                f"%number = add i64 {place}, {self.attrs['start']}",
                "store i64 %number, ptr %index, align 8",
            )
        whole = [*self.ins[carried : carried + sliced], *self.outs[carried:]]
        parts = []
        for k, (pointer, size) in enumerate(zip(whole, rows, strict=True)):
            self.add(
                f"%offset{k} = mul i64 {place}, {size}",
                f"%part{k} = getelementptr i8, ptr {pointer}, i64 %offset{k}",
            )
            parts.append(f"%part{k}")
        state = [self.outs[k] if k in inside else f"%r{k}" for k in range(carried)]
        new = [self.outs[k] if k in inside else f"%w{k}" for k in range(carried)]
        others = self.ins[carried + sliced :]
        self.run(
            "%status", 0, ["%index", *state, *parts[:sliced], *others], [*new, *parts[sliced:]]
        )
        self.add(
            "%ok = icmp eq i64 %status, 0",
            "br i1 %ok, label %done.one, label %failed",
        )
        self.label("done.one")
        self.add(
            "%following = add nuw i64 %t, 1",
            f"%more = icmp ult i64 %following, {count}",
            "br i1 %more, label %turned, label %finished",
        )
        self.label("turned")
        self.add(
            "%goes.on = icmp ult i64 %following, %end.some",
            "br i1 %goes.on, label %loop, label %pause",
        )
        self.ask()
        self.endings("%t")
        self.label("finished")
        self.add("ret i64 0")

    def reads_index(self) -> bool:
        """Whether the body reads the number of the turn."""
        body = self.call.programs[0]
        return any(body.inputs[0] in reads_and_writes(step)[0] for step in body.steps)

    def sliced_buffers(self) -> list[Buffer]:
        """The body's buffers of the elements that it reads."""
        body, carried = self.call.programs[0], self.attrs["carried"]
        numbers = body.inputs[1 + carried : 1 + carried + self.attrs["sliced"]]
        return [body.buffers[n] for n in numbers]

    def row_buffers(self) -> list[Buffer]:
        """The body's buffers of the elements that it makes."""
        body = self.call.programs[0]
        return [body.buffers[n] for n in body.outputs[self.attrs["carried"] :]]

    def write_while(self) -> None:
        """A region is run as long as another one gives true."""
        inside, apart = self.carried()
        spares = self.spares()
        self.add("%predicate = " + self.at("%scratch", self.layout.predicate))
        self.add("%polls = icmp ne ptr %poll, null")
        for k in inside:
            self.fetch(k, self.ins[k])
        for k in apart:
            self.add(
                f"%first{k} = getelementptr i8, ptr {self.outs[k]}, i64 0",
                f"%second{k} = getelementptr i8, ptr {spares[k]}, i64 0",
            )
        self.add("br label %begin")
        self.label("begin")
        self.add("br label %some")
        self.places(apart, "begin")
        carried = self.attrs["carried"]
        state = [self.outs[k] if k in inside else f"%r{k}" for k in range(carried)]
        new = [self.outs[k] if k in inside else f"%w{k}" for k in range(carried)]
        others = self.ins[carried:]
        self.run("%checked", 0, [*state, *others], ["%predicate"])
        self.add("%fine = icmp eq i64 %checked, 0", "br i1 %fine, label %test, label %failed")
        self.label("test")
        self.add(
            "%told.bool = load i8, ptr %predicate, align 1",
            "%holds = icmp ne i8 %told.bool, 0",
            "br i1 %holds, label %body, label %finished",
        )
        self.label("body")
        self.run("%ran", 1, [*state, *others], new)
        self.add("%ok = icmp eq i64 %ran, 0", "br i1 %ok, label %turned, label %failed")
        self.label("turned")
        self.add(
            "%following = add i64 %t, 1",
            "%goes.on = icmp ult i64 %following, %end.some",
            "br i1 %goes.on, label %loop, label %pause",
        )
        self.ask()
        self.endings("%t")
        position = self.lines.index("failed:")
        self.lines.insert(
            position + 1, "  %status = phi i64 [ %checked, %loop ], [ %ran, %body ]"
        )
        self.label("finished")
        for k in apart:
            self.add(
                f"%there{k} = icmp eq ptr %r{k}, {self.outs[k]}",
                f"br i1 %there{k}, label %kept{k}, label %fetch{k}",
            )
            self.label(f"fetch{k}")
            self.copy(self.outs[k], f"%r{k}", k)
            self.add(f"br label %kept{k}")
            self.label(f"kept{k}")
        self.add("ret i64 0")


__all__ = ["ControlWriter", "write_region"]
