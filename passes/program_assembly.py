"""Assembly: the program of a grouping. Buffers first, then steps in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from graphjit.core.dims import Undecided, is_symbolic
from graphjit.core.types import TupleType
from graphjit.ir.graph import Graph
from graphjit.ir.program import Buffer, LibraryCall, Program, RegionCall, Step
from graphjit.ir.region_calls import runs_natively
from graphjit.ops import source
from graphjit.ops.primitive import Assemble, Control, Item, Library, Scatter, Source

from .build import DemandWalk, Domain, KernelOutput, build_kernel, new_domain
from .fusion_groups import FusionGroup, Grouping
from .space import Expr

# The program of a region, given the prefix of its kernels' names.
RegionCompiler = Callable[[Graph, str], Program]


class ProgramAssembler:
    """Makes the program of a finished grouping.

    compile_region: makes the program of a region
    buffer_of: node -> buffer
    copies: (node, buffer): results that are copied at the end
    routines: (call, index of its result) -> buffer
    external: the nodes that some group reads from another
    """

    def __init__(self, grouping: Grouping, compile_region: RegionCompiler) -> None:
        self.grouping = grouping
        self.graph = grouping.graph
        self.compile_region = compile_region
        self.buffers: list[Buffer] = []
        self.buffer_of: dict[int, int] = {}
        self.steps: list[Step] = []
        self.outputs: list[int] = []
        self.updates: list[int] = []
        self.copies: list[tuple[int, int]] = []  # (node, buffer)
        self.routines: dict[tuple[int, int], int] = {}  # result of a library call -> buffer
        self.external = {node for group in grouping.groups for node in group.reads}

    def program(self) -> Program:
        """The program."""
        inputs = []
        for number, param in enumerate(self.graph.params):
            type = self.graph.nodes[param].tensor
            inputs.append(self._add_buffer(Buffer(type, "input", number)))
            self.buffer_of[param] = inputs[-1]
        for role, roots, found in (
            ("output", self.graph.outputs, self.outputs),
            ("update", tuple(v for _, v in self.graph.updates), self.updates),
        ):
            for number, node in enumerate(roots):
                found.append(self._result_buffer(node, role, number))
        for group in self._order_groups():
            self._add_steps(group)
        for number, (node, buffer) in enumerate(self.copies):
            self._add_copy(node, buffer, f"copy{number}")
        return Program(
            self.graph.name,
            tuple(self.buffers),
            tuple(self.steps),
            tuple(inputs),
            tuple(self.outputs),
            tuple(self.updates),
            decisions=tuple(self.grouping.decisions),
        )

    def _add_buffer(self, buffer: Buffer) -> int:
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def _result_buffer(self, node: int, role: str, number: int) -> int:
        """The buffer of a result. A node that can't be computed there is copied at the end."""
        type = self.graph.nodes[node].tensor
        buffer = self._add_buffer(Buffer(type, role, number))
        record = self.graph.nodes[node]
        source = isinstance(record.primitive.kind, Source)
        if source or node in self.buffer_of or self._library_result_of(node) in self.routines:
            self.copies.append((node, buffer))
        else:
            self.buffer_of[node] = self.routines[self._library_result_of(node)] = buffer
        return buffer

    def _library_result_of(self, node: int) -> tuple[int, int]:
        """The library call, and the index of its result, that a node is."""
        record = self.graph.nodes[node]
        if isinstance(record.primitive.kind, Item):
            return record.inputs[0], record.attr("index")
        return node, 0

    def _buffer_of(self, node: int) -> int:
        """A node's buffer, made at first use."""
        found = self.buffer_of.get(node)
        if found is None:
            record = self.graph.nodes[node]
            if record.primitive is source.const:
                value = record.attr("value").array
                found = self._add_buffer(Buffer(record.tensor, "constant", 0, value))
            else:
                found = self._add_buffer(Buffer(record.tensor, "temporary"))
            self.buffer_of[node] = found
        return found

    def _order_groups(self) -> list[FusionGroup]:
        """The groups, each after those that it depends on, else in node order."""
        groups = self.grouping.groups
        return [
            groups[i]
            for i in sorted(
                range(len(groups)), key=lambda i: (groups[i].depends.bit_count(), i)
            )
        ]

    def _add_steps(self, group: FusionGroup) -> None:
        """Add the steps of a group."""
        if group.domain is not None:
            self._add_group_kernel(group)
            return
        number = group.nodes[0]
        node = self.graph.nodes[number]
        match node.primitive.kind:
            case Library() | Control():
                self._add_call(number)
            case Assemble() as kind:
                types = [self.graph.nodes[i].tensor for i in node.inputs]
                boxes = kind.boxes(*types, **dict(node.attrs))
                for k, (piece, box) in enumerate(zip(node.inputs, boxes, strict=True)):
                    self._add_piece(number, piece, box, f"k{number}_{k}")
            case Scatter():
                shape = node.tensor.shape
                whole = ((0,) * len(shape), (1,) * len(shape))
                self._add_piece(number, node.inputs[0], whole, f"k{number}_base")
                self._add_scatter(number)

    def _add_kernel(
        self,
        domain: Domain,
        outputs: list[KernelOutput],
        members: set[int],
        name: str,
        nodes: tuple[int, ...] = (),
        walk: DemandWalk | None = None,
    ) -> None:
        """Add a kernel that computes these outputs, unless it has nothing to do.

        nodes: nodes that it computes a part of
        """
        if any(n == 0 for n in domain.outer_shape) or all(
            self.buffers[o.buffer].type.size == 0 for o in outputs
        ):
            return
        kernel = build_kernel(
            self.graph,
            domain,
            outputs,
            members,
            self._buffer_of,
            self.grouping.analysis.is_leaf,
            name,
            walk,
        )
        if nodes:
            kernel = replace(kernel, nodes=tuple(sorted({*kernel.nodes, *nodes})))
        self.steps.append(kernel)

    def _add_group_kernel(self, group: FusionGroup) -> None:
        """Add the kernel of a group of roots."""
        domain = group.domain
        assert domain is not None
        members = set(group.nodes)
        needed = [
            n for n in group.nodes if n in self.grouping.analysis.required or n in self.external
        ]
        outputs = []
        for node in needed:
            output_index = group.output_indices[node]
            offset = domain.space.flat(output_index, self.graph.nodes[node].tensor.shape)
            outputs.append(KernelOutput(node, output_index, self._buffer_of(node), offset))
        # a walk made before the last roots were found may go through them
        single = len(group.nodes) == 1 and group.roots == len(self.grouping.analysis.roots)
        walk = group.walk if single else None
        self._add_kernel(domain, outputs, members, f"k{group.nodes[-1]}", walk=walk)

    def _add_piece(self, number: int, piece: int, box: Any, name: str) -> None:
        """Add the kernel that stores one piece of an assembled node."""
        type = self.graph.nodes[piece].tensor
        domain = new_domain(type.shape)
        starts, steps = box
        inside = [
            e * step + start for e, start, step in zip(domain.index, starts, steps, strict=True)
        ]
        offset = domain.space.flat(inside, self.graph.nodes[number].tensor.shape)
        output = KernelOutput(piece, domain.index, self._buffer_of(number), offset)
        self._add_kernel(domain, [output], set(), name, (number,))

    def _add_scatter(self, number: int) -> None:
        """Add the kernel that scatters a node's updates."""
        node = self.graph.nodes[number]
        domain = new_domain(self.graph.nodes[node.inputs[1]].tensor.shape)
        output = KernelOutput(
            node.inputs[1], domain.index, self._buffer_of(number), Expr(0, ()), number
        )
        self._add_kernel(domain, [output], set(), f"k{number}")

    def _add_copy(self, node: int, buffer: int, name: str) -> None:
        """Add the kernel that copies a node to a result's buffer."""
        domain = new_domain(self.graph.nodes[node].tensor.shape)
        offset = domain.space.flat(domain.index, self.graph.nodes[node].tensor.shape)
        self._add_kernel(
            domain, [KernelOutput(node, domain.index, buffer, offset)], set(), name
        )

    def _add_call(self, number: int) -> None:
        """Add a library call, or a call of regions."""
        node = self.graph.nodes[number]
        several = isinstance(node.type, TupleType)
        types = node.type.items if isinstance(node.type, TupleType) else (node.type,)
        call: RegionCall | None = None
        role = "library"
        if node.regions:
            programs = tuple(
                self.compile_region(region, f"k{number}_{k}")
                for k, region in enumerate(node.regions)
            )
            call = RegionCall(
                node.primitive, node.attrs, (), (), programs, node.source, (number,)
            )
            if runs_natively(call):
                role = "temporary"  # it writes into what it is given
            elif any(program.symbols for program in programs) or is_symbolic(
                [*(n for type in types for n in type.shape), *(v for _, v in node.attrs)]
            ):
                raise Undecided("control flow with library calls over symbolic extents")
        outputs = []
        for index, type in enumerate(types):
            found = self.routines.get((number, index))
            outputs.append(self._add_buffer(Buffer(type, role)) if found is None else found)
        for user in self.grouping.analysis.users[number] if several else (number,):
            self.buffer_of[user] = outputs[self._library_result_of(user)[1]]
        inputs = tuple(self._buffer_of(i) for i in node.inputs)
        if call is not None:
            programs, constants = _with_constants_as_inputs(call.programs)
            inputs += tuple(map(self._add_buffer, constants))
            self.steps.append(
                replace(call, inputs=inputs, outputs=tuple(outputs), programs=programs)
            )
            return
        self.steps.append(
            LibraryCall(
                node.primitive,
                node.attrs,
                inputs,
                tuple(outputs),
                several,
                node.source,
                (number,),
            )
        )


def _with_constants_as_inputs(
    programs: tuple[Program, ...],
) -> tuple[tuple[Program, ...], list[Buffer]]:
    """The programs of regions with their constants as inputs that all of them have, the last
    ones, and these constants.
    """
    constants = [b for program in programs for b in program.buffers if b.role == "constant"]
    done, first = [], 0
    for program in programs:
        buffers, inputs = list(program.buffers), list(program.inputs)
        own = [k for k, b in enumerate(buffers) if b.role == "constant"]
        for number, constant in enumerate(constants):
            added = Buffer(constant.type, "input", len(inputs))
            if first <= number < first + len(own):
                buffers[own[number - first]] = added
                inputs.append(own[number - first])
            else:
                buffers.append(added)
                inputs.append(len(buffers) - 1)
        done.append(replace(program, buffers=tuple(buffers), inputs=tuple(inputs)))
        first += len(own)
    return tuple(done), constants
