"""Grouping: which roots share a kernel.

A root joins the group of a root that it reads if both iterate over the same domain and element
meets element. So a softmax is one kernel with three stages.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

from graphjit.core.extents import guess
from graphjit.ir import cost_model
from graphjit.ops.primitive import (
    Contract,
    Control,
    Gather,
    Item,
    Library,
    Reduce,
    Scan,
    Source,
)

from .build import DemandWalk, Domain, MustStore, new_domain
from .fusion_roots import RootAnalysis
from .space import Exprs, Unfusable


@dataclass(eq=False, repr=False)
class FusionGroup:
    """Roots that share a kernel; or one node that isn't fusable.

    nodes: the group's nodes, in the order in which they joined
    domain: the kernel's iteration domain; None for a node that isn't fusable
    output_indices: each root's index in the domain
    depends: a bit set of the groups that must run before
    reads: the nodes outside that it reads
    size: about how many values its kernel has
    walk: the demands of its only root, if it has one root, made when there were `roots` in all
    """

    nodes: list[int]
    domain: Domain | None = None
    output_indices: dict[int, Exprs] = field(default_factory=dict)
    depends: int = 0  # bit set of the groups that must run before
    reads: set[int] = field(default_factory=set)
    size: int = 0  # about how many values its kernel has
    walk: DemandWalk | None = None
    roots: int = 0


class Grouping:
    """Groups the roots of a graph.

    library_products: see `Fuse`
    decisions: why roots were left apart, for `explain`
    late_roots: nodes found to be roots after groups had been made; another attempt must know
        them from the start
    groups, group_of: the groups, and the group of each node in one
    """

    def __init__(self, analysis: RootAnalysis, library_products: frozenset[int]) -> None:
        self.analysis = analysis
        self.graph = analysis.graph
        self.nodes = analysis.nodes
        self.library_products = library_products
        self.decisions: list[str] = []
        self.late_roots: set[int] = set()
        self.groups: list[FusionGroup] = []
        self.group_of: dict[int, int] = {}

    def run(self) -> None:
        """Make groups of all live nodes that need one."""
        for number in range(len(self.nodes)):
            if not self.analysis.live[number]:
                continue
            if self.analysis.fusable[number]:
                own_group = number in self.analysis.roots
            else:
                own_group = not isinstance(self.analysis.kind(number), (Source, Item))
            if own_group:
                self._assign_group(number)

    def _assign_group(self, number: int) -> None:
        """Put a node into a group. Nodes that it turns out to need stored get theirs before."""
        todo = [number]
        while todo:
            try:
                if self.analysis.fusable[todo[-1]]:
                    self._place_root(todo[-1])
                else:
                    self._add_group(self._single_node_group(todo[-1]), todo[-1])
            except MustStore as need:
                if need.node in self.analysis.roots:
                    raise
                self.analysis.roots.add(need.node)
                self.late_roots.add(need.node)
                todo.append(need.node)
            else:
                todo.pop()

    def _add_group(self, group: FusionGroup, *nodes: int) -> None:
        """Add a group for these nodes."""
        group.depends = self._dependencies(group.reads)
        self.groups.append(group)
        for node in nodes:
            self.group_of[node] = len(self.groups) - 1

    def _dependencies(self, reads: set[int]) -> int:
        """The groups that compute these nodes, and those that these depend on, as a bit set."""
        bits = 0
        for node in reads:
            group = self._group_number(node)
            if group is not None:
                bits |= self.groups[group].depends | (1 << group)
        return bits

    def _group_number(self, node: int) -> int | None:
        """The number of the group that computes a node, if there is one."""
        if isinstance(self.analysis.kind(node), Item):
            node = self.nodes[node].inputs[0]
        return self.group_of.get(node)

    def _single_node_group(self, number: int) -> FusionGroup:
        """The group of a node that isn't fusable."""
        node = self.nodes[number]
        group = FusionGroup([number])
        kind = node.primitive.kind
        if isinstance(kind, (Library, Control)):
            group.reads = set(node.inputs)
        else:  # pieces to assemble or scatter are computed as they are stored
            for piece in node.inputs:
                group.reads |= self._read_nodes(piece)
        return group

    def _read_nodes(self, number: int) -> set[int]:
        """The nodes with buffers that computing a node reads."""
        domain = new_domain(self.nodes[number].tensor.shape)
        walk = DemandWalk(self.graph, domain, self.analysis.is_leaf)
        walk.ask(number, domain.index)
        walk.run(set())
        reads = {node for node, _ in walk.reads}
        return reads | self._gathered_tensors(walk)

    def _gathered_tensors(self, walk: DemandWalk) -> set[int]:
        """The tensors that the gathers among a walk's nodes read."""
        return {
            self.nodes[n].inputs[0]
            for n in walk.asked
            if isinstance(self.analysis.kind(n), Gather)
            and not (self.analysis.is_leaf(n) and n not in self.analysis.roots)
        }

    def _own_domain(self, number: int) -> Domain:
        """The iteration domain of a root by itself."""
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

    def _output_index(self, number: int, domain: Domain) -> Exprs:
        """A root's index in a domain, over all dims or the outer ones. Raises Unfusable."""
        type = self.nodes[number].tensor
        if isinstance(self.analysis.kind(number), (Reduce, Contract)) or (
            domain.axes and type.size != prod(domain.shape)
        ):
            shape, index = domain.outer_shape, domain.outer_index
        else:
            shape, index = domain.shape, domain.index
        if prod(shape) != type.size:
            raise Unfusable
        return index if shape == type.shape else domain.space.reshape(index, shape, type.shape)

    def _walk_demands(self, number: int, domain: Domain, output_index: Exprs) -> DemandWalk:
        """The demands of a root that is computed in a domain."""
        walk = DemandWalk(self.graph, domain, self.analysis.is_leaf)
        walk.ask(number, output_index)
        walk.run({number})
        return walk

    def _place_root(self, number: int) -> None:
        """Put a root into a group that it fits, else into one of its own."""
        domain = self._own_domain(number)
        output_index = self._output_index(number, domain)
        walk = self._walk_demands(number, domain, output_index)
        if not walk.keeps_order():
            raise MustStore(self.nodes[number].inputs[0])
        reads = {node for node, _ in walk.reads} | self._gathered_tensors(walk)
        tried: set[int] = set()
        for node in sorted(reads, reverse=True):
            group = self.group_of.get(node)
            if group is None or group in tried or self.groups[group].domain is None:
                continue
            tried.add(group)
            if self._try_join(number, group, reads):
                return
        for group in self._find_siblings(reads, tried, domain):
            if self._try_join(number, group, reads):
                return
        size, roots = len(walk.asked), len(self.analysis.roots)
        self._add_group(
            FusionGroup([number], domain, {number: output_index}, 0, reads, size, walk, roots),
            number,
        )

    def _find_siblings(self, reads: set[int], tried: set[int], domain: Domain) -> list[int]:
        """Recent groups that a root could join without reading from them.

        They read a buffer that it reads; or they iterate over an equal domain so small that a
        loop of its own would cost more than the root.
        """
        small = not domain.axes and guess(prod(domain.shape)) <= cost_model.SMALL_LOOP
        found = []
        for group in range(len(self.groups) - 1, max(-1, len(self.groups) - 5), -1):
            other = self.groups[group]
            large = {n for n in reads & other.reads if self.analysis.size_of(n) > 1}
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

    def _try_join(self, number: int, group_number: int, reads: set[int]) -> bool:
        """Add a root to a group, if their domains match and no cycle of groups arises."""
        group = self.groups[group_number]
        outside = {n for n in reads if self._group_number(n) != group_number}
        depends = self._dependencies(outside)
        if depends >> group_number & 1:
            return False
        if (
            sum(map(self.analysis.is_in_memory, group.reads | outside))
            > cost_model.KERNEL_READS
        ):
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
                else {n: self._output_index(n, domain) for n in group.nodes}
            )
            output_index = self._output_index(number, domain)
            walk = self._walk_demands(number, domain, output_index)
            walks = [walk]
            if domain is not group.domain:
                walks += [
                    self._walk_demands(node, domain, output_indices[node])
                    for node in group.nodes
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
            if self._group_number(node) == group_number:
                shape = self.nodes[node].tensor.shape
                if space.resolve(flat) != space.resolve(
                    space.flat(output_indices[node], shape)
                ):
                    self.decisions.append(f"%{number} apart from %{node}: reads other elements")
                    return False
        if self._gathered_tensors(walk) & set(group.nodes):
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
        """The domain for a group with one more root, or the reason why there is none."""
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
            isinstance(kind, Reduce) or node.tensor.size != prod(domain.outer_shape)
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
        full_size = node.tensor.size == prod(domain.shape)
        if (full_size or isinstance(kind, Reduce)) and _leaves_cache(domain):
            return "a second pass over the reduced axes would not find them in the cache"
        return domain


def _leaves_cache(domain: Domain) -> bool:
    """Whether one block of lanes, iterated over the reduced axes, is too large for the
    cache.
    """
    inner = guess(prod(tuple(domain.shape[k] for k in domain.axes)))
    block_bytes = cost_model.LANE_BLOCK_BYTES * inner
    return (
        bool(domain.axes)
        and domain.lanes == "outer"
        and block_bytes > cost_model.STAGE_CACHE_BYTES
    )
