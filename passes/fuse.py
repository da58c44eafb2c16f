"""Graph -> Program: nodes that share a loop nest become one kernel.

*Roots* are the nodes that need a value of their own: results, what kernels of other kinds
read, reductions, and shared pointwise nodes that cost too much to compute twice. All others
are computed where they are read. A root joins the kernel of a root it reads if both walk the
same domain and element meets element; so a softmax is one kernel with three stages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from graphjit.core.dims import Dim, Undecided, guess, is_symbolic
from graphjit.core.types import TupleType
from graphjit.ir import cost_model
from graphjit.ir.graph import Graph, reachable
from graphjit.ir.program import (
    Buffer,
    Kernel,
    LibraryCall,
    Program,
    RegionCall,
    Step,
    map_programs,
)
from graphjit.ops import source
from graphjit.ops.primitive import (
    Assemble,
    Contract,
    Control,
    Coordinate,
    Gather,
    Item,
    Library,
    Pointwise,
    Reduce,
    Scan,
    Scatter,
    Source,
    View,
)

from .build import Domain, MustStore, Target, Walk, build_kernel, new_domain
from .pipeline import Conversion
from .space import Expr, Exprs, Unfusable

FUSABLE = (Pointwise, View, Coordinate, Gather, Reduce, Scan, Contract)


@dataclass(eq=False, repr=False)
class FusionGroup:
    """What becomes one step or a few: a cluster of roots, or a node of another kind.

    walk: of a cluster of one root, made when there were `roots` of them in all.
    """

    nodes: list[int]
    domain: Domain | None = None
    output_indices: dict[int, Exprs] = field(default_factory=dict)
    depends: int = 0  # bit set of the groups that must run before
    reads: set[int] = field(default_factory=set)
    size: int = 0  # about how many values its kernel has
    walk: Walk | None = None
    roots: int = 0


class _Plan:
    """One attempt. Where an index can't be fused what it is of becomes a root; `missed` are the
    roots that were found so, with which another attempt has to start. alone: see `fuse`.
    """

    def __init__(
        self, graph: Graph, forced: set[int], library_products: frozenset[int]
    ) -> None:
        self.graph = graph
        self.library_products = library_products
        self.nodes = graph.nodes
        self.fusable = [isinstance(node.primitive.kind, FUSABLE) for node in self.nodes]
        self._sizes: dict[int, int] = {}
        self.live = reachable(graph)
        self.users = graph.users()
        self.decisions: list[str] = []
        self.required = self._required()
        self.roots = self.required | forced | self._shared()
        self.roots |= self._cut()
        self.missed: set[int] = set()
        self.groups: list[FusionGroup] = []
        self.group_of: dict[int, int] = {}

    def kind(self, node: int) -> Any:
        """A node's kind."""
        return self.nodes[node].primitive.kind

    def _viewed(self, number: int) -> int:
        """What a chain of views looks at."""
        while isinstance(self.kind(number), View):
            number = self.nodes[number].inputs[0]
        return number

    def _required(self) -> set[int]:
        found = set(self.graph.roots)
        for number, node in enumerate(self.nodes):
            if not self.live[number]:
                continue
            match node.primitive.kind:
                case Library() | Control():
                    found.update(node.inputs)
                case Contract():
                    found.update(map(self._viewed, node.inputs))
                case Gather():
                    found.add(node.inputs[0])
        return found

    def _shared(self) -> set[int]:
        """Reductions, scans, and pointwise nodes with several users that cost too much."""
        found: set[int] = set()
        cost, live, cheap = [0] * len(self.nodes), self.live, cost_model.RECOMPUTE_COST
        for number, node in enumerate(self.nodes):
            if not live[number]:
                continue
            kind = node.primitive.kind
            if isinstance(kind, (Reduce, Scan, Contract)):
                found.add(number)
                cost[number] = 1
            elif isinstance(kind, (Pointwise, Gather)):
                total = node.primitive.cost + sum([cost[i] for i in node.inputs])
                code = total * sum([live[u] for u in self.users[number]])
                dear = total > cheap and self._times_read(number) > 1
                if dear or code > max(total, cost_model.MAX_CODE):
                    found.add(number)
                    total = 1
                cost[number] = 1 if number in self.required else total
            elif isinstance(kind, View):
                cost[number] = cost[node.inputs[0]]
                if self._repeats(number) and cost[node.inputs[0]] > cheap:
                    found.add(node.inputs[0])
            else:
                cost[number] = 1
            if isinstance(kind, Pointwise):
                for i in node.inputs:
                    if cost[i] <= cheap or not self.fusable[i]:
                        continue
                    times = self._size(number) / max(1, self._size(i))
                    if times > 1 and times * cost[i] > cost_model.REPEATED_COST:
                        found.add(i)
        return found

    def _cut(self) -> set[int]:
        """Nodes at which expressions are cut that would be too long, or read too many buffers,
        for one kernel. What several nodes read is counted in parts, one for each.
        """
        found: set[int] = set()
        size, reads = [0.0] * len(self.nodes), [0.0] * len(self.nodes)
        for number, node in enumerate(self.nodes):
            if not self.live[number] or not node.inputs:
                continue
            if not self.fusable[number]:
                continue
            length, buffers = 1.0, 0.0
            for i in dict.fromkeys(node.inputs):
                if self.is_leaf(i) or i in found:
                    length += 1.0
                    buffers += self._in_memory(i)
                else:
                    users = max(1, len(self.users[i]))
                    length += size[i] / users
                    buffers += reads[i] / users
            if length >= cost_model.KERNEL_VALUES or buffers >= cost_model.KERNEL_READS:
                found.add(number)
            size[number], reads[number] = length, buffers
        return found

    def _in_memory(self, number: int) -> bool:
        """Whether a node that is read has a buffer: numbers stand in the code."""
        node = self.nodes[number]
        return node.primitive is not source.const or node.tensor.size > 1

    def _times_read(self, number: int) -> float:
        """How often an element of a node is read, on average: slices read their part only."""
        size = max(1, self._size(number))
        total = 0.0
        for user in self.users[number]:
            if self.live[user]:
                node = self.nodes[user]
                sliced = isinstance(node.primitive.kind, View) and self._size(user) < size
                total += self._size(user) / size if sliced else 1
        return total

    def _size(self, number: int) -> int:
        """About how many elements a node has."""
        found = self._sizes.get(number)
        if found is None:
            found = self._sizes[number] = guess(self.nodes[number].tensor.size)
        return found

    def _repeats(self, number: int) -> bool:
        """Whether a view gives the same element many times."""
        return self._size(number) > 4 * max(1, self._size(self.nodes[number].inputs[0]))

    def is_leaf(self, number: int) -> bool:
        """Whether a node has a buffer of its own (or is a number)."""
        return number in self.roots or not self.fusable[number]

    def run(self) -> None:
        """Make groups of all live nodes that need one."""
        for number in range(len(self.nodes)):
            if not self.live[number]:
                continue
            if self.fusable[number]:
                own_group = number in self.roots
            else:
                own_group = not isinstance(self.kind(number), (Source, Item))
            if own_group:
                self._assign_group(number)

    def _assign_group(self, number: int) -> None:
        """Make a group for a node, or put it into one, after those that it turns out to
        need.
        """
        todo = [number]
        while todo:
            try:
                if self.fusable[todo[-1]]:
                    self._place(todo[-1])
                else:
                    self._add(self._barrier(todo[-1]), todo[-1])
            except MustStore as need:
                if need.node in self.roots:
                    raise
                self.roots.add(need.node)
                self.missed.add(need.node)
                todo.append(need.node)
            else:
                todo.pop()

    def _add(self, group: FusionGroup, *nodes: int) -> None:
        group.depends = self._closure(group.reads)
        self.groups.append(group)
        for node in nodes:
            self.group_of[node] = len(self.groups) - 1

    def _closure(self, reads: set[int]) -> int:
        bits = 0
        for node in reads:
            group = self._group(node)
            if group is not None:
                bits |= self.groups[group].depends | (1 << group)
        return bits

    def _group(self, node: int) -> int | None:
        if isinstance(self.kind(node), Item):
            node = self.nodes[node].inputs[0]
        return self.group_of.get(node)

    def _barrier(self, number: int) -> FusionGroup:
        node = self.nodes[number]
        group = FusionGroup([number])
        kind = node.primitive.kind
        if isinstance(kind, (Library, Control)):
            group.reads = set(node.inputs)
        else:  # assembled and scattered pieces are computed as they are stored
            for piece in node.inputs:
                group.reads |= self._reads_of(piece)
        return group

    def _reads_of(self, number: int) -> set[int]:
        domain = new_domain(self.nodes[number].tensor.shape)
        walk = Walk(self.graph, domain, self.is_leaf)
        walk.ask(number, domain.index)
        walk.run(set())
        reads = {node for node, _ in walk.reads}
        return reads | self._gathered(walk)

    def _gathered(self, walk: Walk) -> set[int]:
        """The tensors that gathers on a walk read from."""
        return {
            self.nodes[n].inputs[0]
            for n in walk.asked
            if isinstance(self.kind(n), Gather)
            and not (self.is_leaf(n) and n not in self.roots)
        }

    def _own_domain(self, number: int) -> Domain:
        node = self.nodes[number]
        kind = node.primitive.kind
        if isinstance(kind, Reduce):
            return new_domain(self.nodes[node.inputs[0]].tensor.shape, node.attr("axes"))
        if isinstance(kind, Scan):
            return new_domain(node.tensor.shape, (node.attr("axis"),), scan=True)
        if isinstance(kind, Contract):
            inner = self.nodes[node.inputs[0]].tensor.shape[-1]
            shape = (*node.tensor.shape, inner)
            return replace(new_domain(shape, (len(shape) - 1,)), product=True)
        return new_domain(node.tensor.shape)

    def _home(self, number: int, domain: Domain) -> Exprs:
        """A root's index in a domain: full or outer. Unfusable if it is neither."""
        type = self.nodes[number].tensor
        if isinstance(self.kind(number), (Reduce, Contract)) or (
            domain.axes and type.size != _size(domain.shape)
        ):
            shape, index = domain.outer_shape, domain.outer_index
        else:
            shape, index = domain.shape, domain.index
        if _size(shape) != type.size:
            raise Unfusable
        return index if shape == type.shape else domain.space.reshape(index, shape, type.shape)

    def _walk(self, number: int, domain: Domain, output_index: Exprs) -> Walk:
        walk = Walk(self.graph, domain, self.is_leaf)
        walk.ask(number, output_index)
        walk.run({number})
        return walk

    def _place(self, number: int) -> None:
        """Put a root into a group that it fits, else into one of its own."""
        domain = self._own_domain(number)
        output_index = self._home(number, domain)
        walk = self._walk(number, domain, output_index)
        if not walk.keeps_order():
            raise MustStore(self.nodes[number].inputs[0])
        reads = {node for node, _ in walk.reads} | self._gathered(walk)
        tried: set[int] = set()
        for node in sorted(reads, reverse=True):
            group = self.group_of.get(node)
            if group is None or group in tried or self.groups[group].domain is None:
                continue
            tried.add(group)
            if self._join(number, group, reads):
                return
        for group in self._siblings(reads, tried, domain):
            if self._join(number, group, reads):
                return
        size, roots = len(walk.asked), len(self.roots)
        self._add(
            FusionGroup([number], domain, {number: output_index}, 0, reads, size, walk, roots),
            number,
        )

    def _siblings(self, reads: set[int], tried: set[int], domain: Domain) -> list[int]:
        """The latest groups that read a buffer this root reads, or that walk a domain like its
        own which is so small that a loop for itself would cost more than it does.
        """
        small = not domain.axes and guess(_size(domain.shape)) <= cost_model.SMALL_LOOP
        found = []
        for group in range(len(self.groups) - 1, max(-1, len(self.groups) - 5), -1):
            other = self.groups[group]
            large = {n for n in reads & other.reads if self._size(n) > 1}
            if (
                group in tried
                or other.domain is None
                or len(other.nodes) >= cost_model.SIBLINGS
            ):
                continue
            alike = other.domain.shape == domain.shape and not other.domain.axes
            if large or (small and alike and len(other.nodes) < cost_model.SMALL_LOOP_ROOTS):
                found.append(group)
        return found

    def _join(self, number: int, group_number: int, reads: set[int]) -> bool:
        """Add a root to a group if domains match and no cycle comes of it."""
        group = self.groups[group_number]
        outside = {n for n in reads if self._group(n) != group_number}
        depends = self._closure(outside)
        if depends >> group_number & 1:
            return False
        if sum(map(self._in_memory, group.reads | outside)) > cost_model.KERNEL_READS:
            self.decisions.append(f"%{number} apart from %{group.nodes[-1]}: too many operands")
            return False
        domain = self._common_domain(number, group)
        if isinstance(domain, str):
            self.decisions.append(f"%{number} apart from %{group.nodes[-1]}: {domain}")
            return False
        try:
            output_indices = (
                group.output_indices
                if domain is group.domain
                else {n: self._home(n, domain) for n in group.nodes}
            )
            output_index = self._home(number, domain)
            walk = self._walk(number, domain, output_index)
            walks = [walk]
            if domain is not group.domain:
                walks += [
                    self._walk(node, domain, output_indices[node]) for node in group.nodes
                ]
            if not all(w.keeps_order() for w in walks):
                raise Unfusable
        except (Unfusable, MustStore):
            self.decisions.append(
                f"%{number} apart from %{group.nodes[-1]}: the domains differ"
            )
            return False
        size = len(walk.asked)
        if group.size + size > cost_model.KERNEL_VALUES:
            self.decisions.append(f"%{number} apart from %{group.nodes[-1]}: too long a kernel")
            return False
        space = domain.space
        for node, flat in walk.reads:
            if self._group(node) == group_number:
                shape = self.nodes[node].tensor.shape
                if space.resolve(flat) != space.resolve(
                    space.flat(output_indices[node], shape)
                ):
                    self.decisions.append(f"%{number} apart from %{node}: reads other elements")
                    return False
        if self._gathered(walk) & set(group.nodes):
            return False
        group.domain = domain
        group.output_indices = output_indices | {number: output_index}
        group.nodes.append(number)
        group.size += size
        group.reads |= outside
        self.group_of[number] = group_number
        if depends | group.depends != group.depends:
            group.depends |= depends
            for other in self.groups:
                if other.depends >> group_number & 1:
                    other.depends |= group.depends
        return True

    def _common_domain(self, number: int, group: FusionGroup) -> Domain | str:
        """The domain for a group together with one more root, or why there is none."""
        domain = group.domain
        assert domain is not None
        node = self.nodes[number]
        kind = node.primitive.kind
        if isinstance(kind, Scan) or domain.scan:
            return "a scan runs alone"
        if isinstance(kind, Contract):
            return "a product begins a kernel of its own"
        if domain.product and not self.library_products.isdisjoint(group.nodes):
            return "a library computes the product"
        if domain.product and (
            isinstance(kind, Reduce) or node.tensor.size != _size(domain.outer_shape)
        ):
            return "it isn't computed element by element of the product"
        if isinstance(kind, Reduce):
            own = self._own_domain(number)
            if not domain.axes:
                full = node.inputs[0]
                if self.nodes[full].tensor.shape != domain.shape:
                    return "the domains differ"
                if _leaves_cache(own):
                    return "it walks its axes with strides, a map doesn't"
                return own
            if own.shape != domain.shape or own.axes != domain.axes:
                return "it reduces other axes"
        full_size = node.tensor.size == _size(domain.shape)
        if (full_size or isinstance(kind, Reduce)) and _leaves_cache(domain):
            return "a second pass over the reduced axes would not find them in the cache"
        return domain


def _leaves_cache(domain: Domain) -> bool:
    """Whether one block of lanes, walked along the reduced axes, is too much for the cache."""
    inner = guess(_size(tuple(domain.shape[k] for k in domain.axes)))
    walked = cost_model.LANE_BLOCK_BYTES * inner
    return (
        bool(domain.axes) and domain.lanes == "outer" and walked > cost_model.STAGE_CACHE_BYTES
    )


def _size(shape: tuple[int, ...]) -> int:
    total = 1
    for extent in shape:
        total *= extent
    return total


@dataclass(frozen=True)
class Fuse(Conversion):
    """Group a graph's nodes into kernels, products and library calls.

    Undecided is raised where an index over symbolic extents is affine for some sizes only.
    """

    name: ClassVar[str] = "fuse"
    library_products: frozenset[int] = frozenset()  # matmuls left unfused: a library has them
    fast_math: bool = False  # of the program: see `Program.fast_math`

    def run(self, graph: Graph) -> Program:
        """The program of a graph."""
        program = _fuse(graph, self.library_products, self._region)
        dims = [
            n for p in graph.params for n in graph.nodes[p].tensor.shape if isinstance(n, Dim)
        ]
        symbols = tuple(dict.fromkeys(name for n in dims for name in n.symbols))
        guards = tuple(dims[0].sizes.guards) if dims else ()
        return replace(program, symbols=symbols, guards=guards, fast_math=self.fast_math)

    def _region(self, graph: Graph, name: str) -> Program:
        """The program of a region; name: what those of its kernels begin with."""
        program = Fuse(fast_math=self.fast_math).run(graph)
        if program.symbols:
            raise Undecided("control flow over arrays of symbolic extents")
        return _prefixed(program, name)


def _prefixed(program: Program, name: str) -> Program:
    """A region's program with names for kernels, those inside its steps too, that no other
    program has.
    """
    program = map_programs(program, lambda inner: _prefixed(inner, name))
    steps = tuple(
        replace(step, name=f"{name}_{step.name}") if isinstance(step, Kernel) else step
        for step in program.steps
    )
    return replace(program, steps=steps)


Region = Callable[[Graph, str], Program]


def _fuse(graph: Graph, library_products: frozenset[int], region: Region) -> Program:
    try:
        return _fused(graph, library_products, region)
    except (Unfusable, MustStore) as error:
        if any(is_symbolic(graph.nodes[p].tensor.shape) for p in graph.params):
            raise Undecided(f"an index: {error}") from error
        raise


def _fused(graph: Graph, library_products: frozenset[int], region: Region) -> Program:
    forced: set[int] = set()
    while True:
        plan = _Plan(graph, forced, library_products)
        plan.run()
        forced |= plan.missed
        if plan.missed:
            continue
        try:
            program = _Assembler(plan, region).program()
            plan.groups.clear()  # their walks refer to the plan: a cycle for the collector
            return program
        except MustStore as need:
            if need.node in forced:
                raise
            forced.add(need.node)


class _Assembler:
    """Makes the program of a finished plan: buffers, then steps in order."""

    def __init__(self, plan: _Plan, region: Region) -> None:
        self.plan = plan
        self.graph = plan.graph
        self.region = region
        self.buffers: list[Buffer] = []
        self.buffer_of: dict[int, int] = {}
        self.steps: list[Step] = []
        self.outputs: list[int] = []
        self.updates: list[int] = []
        self.copies: list[tuple[int, int]] = []  # (node, buffer)
        self.routines: dict[tuple[int, int], int] = {}  # result of a library call -> buffer
        self.external = {node for group in plan.groups for node in group.reads}

    def program(self) -> Program:
        """The program."""
        inputs = []
        for number, param in enumerate(self.graph.params):
            type = self.graph.nodes[param].tensor
            inputs.append(self._new(Buffer(type, "input", number)))
            self.buffer_of[param] = inputs[-1]
        for role, roots, found in (
            ("output", self.graph.outputs, self.outputs),
            ("update", tuple(v for _, v in self.graph.updates), self.updates),
        ):
            for number, node in enumerate(roots):
                found.append(self._result(node, role, number))
        for group in self._ordered():
            self._steps(group)
        for number, (node, buffer) in enumerate(self.copies):
            self._copy(node, buffer, f"copy{number}")
        return Program(
            self.graph.name,
            tuple(self.buffers),
            tuple(self.steps),
            tuple(inputs),
            tuple(self.outputs),
            tuple(self.updates),
            decisions=tuple(self.plan.decisions),
        )

    def _new(self, buffer: Buffer) -> int:
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def _result(self, node: int, role: str, number: int) -> int:
        """The buffer of a result; what can't be computed there is copied at the end."""
        type = self.graph.nodes[node].tensor
        buffer = self._new(Buffer(type, role, number))
        record = self.graph.nodes[node]
        source = isinstance(record.primitive.kind, Source)
        if source or node in self.buffer_of or self._library_result(node) in self.routines:
            self.copies.append((node, buffer))
        else:
            self.buffer_of[node] = self.routines[self._library_result(node)] = buffer
        return buffer

    def _library_result(self, node: int) -> tuple[int, int]:
        """Which result a node is of which call, where a library makes it."""
        record = self.graph.nodes[node]
        if isinstance(record.primitive.kind, Item):
            return record.inputs[0], record.attr("index")
        return node, 0

    def _buffer(self, node: int) -> int:
        """A node's buffer, made where there is none yet."""
        found = self.buffer_of.get(node)
        if found is None:
            record = self.graph.nodes[node]
            if record.primitive is source.const:
                value = record.attr("value").array
                found = self._new(Buffer(record.tensor, "constant", 0, value))
            else:
                found = self._new(Buffer(record.tensor, "temporary"))
            self.buffer_of[node] = found
        return found

    def _ordered(self) -> list[FusionGroup]:
        """The groups so that each comes after those it depends on, else in node order."""
        groups = self.plan.groups
        return [
            groups[i]
            for i in sorted(
                range(len(groups)), key=lambda i: (groups[i].depends.bit_count(), i)
            )
        ]

    def _steps(self, group: FusionGroup) -> None:
        if group.domain is not None:
            self._cluster(group)
            return
        number = group.nodes[0]
        node = self.graph.nodes[number]
        match node.primitive.kind:
            case Library() | Control():
                self._call(number)
            case Assemble() as kind:
                types = [self.graph.nodes[i].tensor for i in node.inputs]
                boxes = kind.boxes(*types, **dict(node.attrs))
                for k, (piece, box) in enumerate(zip(node.inputs, boxes, strict=True)):
                    self._piece(number, piece, box, f"k{number}_{k}")
            case Scatter():
                shape = node.tensor.shape
                whole = ((0,) * len(shape), (1,) * len(shape))
                self._piece(number, node.inputs[0], whole, f"k{number}_base")
                self._scatter(number)

    def _kernel(
        self,
        domain: Domain,
        targets: list[Target],
        members: set[int],
        name: str,
        nodes: tuple[int, ...] = (),
        walk: Walk | None = None,
    ) -> None:
        if any(n == 0 for n in domain.outer_shape) or all(
            self.buffers[t.buffer].type.size == 0 for t in targets
        ):
            return
        kernel = build_kernel(
            self.graph, domain, targets, members, self._buffer, self.plan.is_leaf, name, walk
        )
        if nodes:  # what it stores is part of these
            kernel = replace(kernel, nodes=tuple(sorted({*kernel.nodes, *nodes})))
        self.steps.append(kernel)

    def _cluster(self, group: FusionGroup) -> None:
        domain = group.domain
        assert domain is not None
        members = set(group.nodes)
        needed = [n for n in group.nodes if n in self.plan.required or n in self.external]
        targets = []
        for node in needed:
            output_index = group.output_indices[node]
            place = domain.space.flat(output_index, self.graph.nodes[node].tensor.shape)
            targets.append(Target(node, output_index, self._buffer(node), place))
        # nodes that became roots since would be leaves now
        single = len(group.nodes) == 1 and group.roots == len(self.plan.roots)
        walk = group.walk if single else None
        self._kernel(domain, targets, members, f"k{group.nodes[-1]}", walk=walk)

    def _piece(self, number: int, piece: int, box: Any, name: str) -> None:
        type = self.graph.nodes[piece].tensor
        domain = new_domain(type.shape)
        starts, steps = box
        inside = [
            e * step + start for e, start, step in zip(domain.index, starts, steps, strict=True)
        ]
        place = domain.space.flat(inside, self.graph.nodes[number].tensor.shape)
        target = Target(piece, domain.index, self._buffer(number), place)
        self._kernel(domain, [target], set(), name, (number,))

    def _scatter(self, number: int) -> None:
        node = self.graph.nodes[number]
        domain = new_domain(self.graph.nodes[node.inputs[1]].tensor.shape)
        target = Target(node.inputs[1], domain.index, self._buffer(number), Expr(0, ()), number)
        self._kernel(domain, [target], set(), f"k{number}")

    def _copy(self, node: int, buffer: int, name: str) -> None:
        domain = new_domain(self.graph.nodes[node].tensor.shape)
        place = domain.space.flat(domain.index, self.graph.nodes[node].tensor.shape)
        self._kernel(domain, [Target(node, domain.index, buffer, place)], set(), name)

    def _call(self, number: int) -> None:
        node = self.graph.nodes[number]
        several = isinstance(node.type, TupleType)
        types = node.type.items if isinstance(node.type, TupleType) else (node.type,)
        outputs = []
        for index, type in enumerate(types):
            found = self.routines.get((number, index))
            outputs.append(self._new(Buffer(type, "library")) if found is None else found)
        for user in self.plan.users[number] if several else (number,):
            self.buffer_of[user] = outputs[self._library_result(user)[1]]
        inputs = tuple(self._buffer(i) for i in node.inputs)
        if node.regions:
            programs = tuple(
                self.region(region, f"k{number}_{k}") for k, region in enumerate(node.regions)
            )
            call = node.primitive, node.attrs, inputs, tuple(outputs), programs, node.source
            self.steps.append(RegionCall(*call, (number,)))
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


__all__ = ["Fuse", "Kernel"]
