"""Hypothesis strategies: shapes, dtypes, arrays, whole graphs, and inputs for a graph.

`graphs` walks the op table, so a new pointwise primitive, reduction or scan is drawn as soon
as it is defined. Every choice is drawn with the plainest one first, for shrinking goes there.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from graphjit.core.errors import InvalidArgumentError
from graphjit.core.types import (
    DTYPES,
    DType,
    Shape,
    TensorType,
    bool_,
    float32,
    float64,
    int32,
    int64,
)
from graphjit.ir.graph import Graph, GraphBuilder
from graphjit.ops import (
    PRIMITIVES,
    Primitive,
    assemble,
    contract,
    index,
    pointwise,
    source,
    view,
)
from graphjit.ops.primitive import (
    Assemble,
    Contract,
    Coordinate,
    Gather,
    Kind,
    Pointwise,
    Reduce,
    Scan,
    Scatter,
    View,
)

Array = np.ndarray[Any, Any]
Draw = Callable[..., Any]

MAX_ELEMENTS = 96
MAX_NDIM = 4
KINDS: tuple[type[Kind], ...] = (
    Pointwise, View, Reduce, Scan, Contract, Assemble, Gather, Scatter, Coordinate,
)  # fmt: skip
LAYOUTS = ("C", "F", "strided", "reversed", "readonly", "unaligned", "swapped")
VALUES = ("count", "small", "special", "bits")


def shapes(
    min_ndim: int = 0, max_ndim: int = 3, max_extent: int = 7, empty: bool = True
) -> st.SearchStrategy[Shape]:
    """Shapes: 0-d, extents of 1, odd ones, and 0 unless not `empty`."""
    extents = [n for n in (2, 1, 3, 0, 5, 4, 7, 8, 17, 33) if n <= max_extent and (n or empty)]
    extent = st.sampled_from(extents)
    return st.lists(extent, min_size=min_ndim, max_size=max_ndim).map(tuple)


def dtypes(kinds: str = "fiubc") -> st.SearchStrategy[DType]:
    """Dtypes whose kind letter is among `kinds`; float32, int32 and bool are the plainest."""
    rank = {float32: 0, int32: 1, bool_: 2, float64: 3, int64: 4}
    chosen = sorted((d for d in DTYPES if d.kind in kinds), key=lambda d: rank.get(d, 9))
    return st.sampled_from(chosen)


@cache
def special_values(dtype: DType) -> Array:
    """The dtype's awkward values: NaN, infinities, −0.0, subnormals, extremes; −1, 0, 1."""
    if dtype.is_bool:
        return np.array([False, True])
    if dtype.is_integer:
        near = {0, 1, 2, dtype.min, dtype.min + 1, dtype.max, dtype.max - 1, dtype.max // 2 + 1}
        if dtype.kind == "i":
            near |= {-1, -2}
        return np.array(sorted(near, key=abs), dtype.dtype)
    real = dtype.real
    info = _finfo(real)
    tiny, least = float(info.smallest_normal), float(info.smallest_subnormal)
    numbers = [0.0, 1.0, -1.0, -0.0, math.nan, math.inf, -math.inf, real.max, real.min]
    numbers += [tiny, -tiny, least, -least, tiny - least, 1 + float(info.eps), 0.5, 1.5, -2.5]
    values = np.array(numbers, np.float64).astype(real.dtype)
    if not dtype.is_complex:
        return values
    pairs = np.array(list(itertools.product(values[:9], values[:9])), real.dtype)
    return np.ascontiguousarray(pairs).view(dtype.dtype)[:, 0]


def _finfo(dtype: DType) -> Any:
    if dtype.name != "bfloat16":
        return np.finfo(dtype.dtype)
    import ml_dtypes

    return ml_dtypes.finfo(dtype.dtype)


def fill(dtype: DType, shape: Shape, values: str, seed: int) -> Array:
    """An array of one of VALUES: counted up, small numbers, special values or random bits."""
    size = math.prod(shape)
    random = np.random.default_rng(seed)
    if values == "special":
        flat = random.choice(special_values(dtype), size)
    elif values == "bits" and not dtype.is_bool:
        flat = np.frombuffer(random.bytes(size * dtype.size), dtype.dtype)
    elif dtype.is_bool:
        flat = random.integers(0, 2, size).astype(bool)
    elif values == "count":
        start = 0 if dtype.kind == "u" else -(seed % 4)
        flat = ((np.arange(size) % 100) + start).astype(dtype.dtype)
    else:
        low = 0 if dtype.kind == "u" else -8
        steps = random.integers(low, 9, size).astype(np.float64)
        if dtype.is_inexact:  # quarters: exact in every float type
            steps /= 4
        flat = steps.astype(dtype.dtype)
        if dtype.is_complex:
            flat += 1j * random.integers(-8, 9, size).astype(dtype.real.dtype) / 4
    return np.array(flat, dtype.dtype).reshape(shape)


def laid_out(array: Array, layout: str) -> Array:
    """The same values in another memory layout; in C order where the layout means nothing."""
    match layout:
        case "F":
            return array.copy(order="F")
        case "strided" if array.ndim:
            wide = np.zeros([2 * n + 1 for n in array.shape], array.dtype)
            part = wide[(slice(1, None, 2),) * array.ndim]
            part[...] = array
            return part
        case "reversed":
            flip = (slice(None, None, -1),) * array.ndim
            return np.ascontiguousarray(array[flip])[flip].reshape(array.shape)
        case "readonly":
            array = array.copy()
            array.flags.writeable = False
            return array
        case "unaligned":
            raw = np.zeros(array.nbytes + 1, np.uint8)
            part = raw[1 : array.nbytes + 1].view(array.dtype).reshape(array.shape)
            part[...] = array
            return part
        case "swapped" if array.dtype.kind != "V":  # bfloat16 knows one byte order only
            return array.astype(array.dtype.newbyteorder("S"))
        case _:
            return array


@st.composite
def arrays(
    draw: Draw,
    dtype: DType | st.SearchStrategy[DType],
    shape: Shape | st.SearchStrategy[Shape],
    layouts: Sequence[str] = ("C",),
    values: Sequence[str] = VALUES,
) -> Array:
    """An array of the dtype and shape; `layouts` and `values` say what may be drawn."""
    dtype = draw(dtype) if isinstance(dtype, st.SearchStrategy) else dtype
    shape = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    chosen = draw(st.sampled_from(values))
    if chosen == "special" and math.prod(shape) <= 4:  # few: choose, and shrink, each one
        special = special_values(dtype)
        places = [draw(st.integers(0, len(special) - 1)) for _ in range(math.prod(shape))]
        array = special[np.array(places, int)].reshape(shape)
    else:
        array = fill(dtype, shape, chosen, draw(st.integers(0, 999)))
    return laid_out(array, draw(st.sampled_from(layouts)))


def inputs_for(
    graph: Graph, layouts: Sequence[str] = ("C",), values: Sequence[str] = VALUES
) -> st.SearchStrategy[list[Array]]:
    """Arrays for the graph's parameters, in order."""
    types = [graph.nodes[i].tensor for i in graph.params]
    return st.tuples(*(arrays(t.dtype, t.shape, layouts, values) for t in types)).map(list)


def operand_count(primitive: Primitive) -> int:
    """How many tensors a pointwise primitive takes."""
    assert isinstance(primitive.kind, Pointwise)
    return primitive.kind.operands


def accepts(primitive: Primitive, *types: TensorType, **attrs: Any) -> bool:
    """Whether the primitive's type rule takes these types."""
    try:
        primitive.type(*types, **attrs)
    except InvalidArgumentError:
        return False
    return True


@cache
def pointwise_of(
    dtype: DType, exact: bool
) -> tuple[tuple[Primitive, tuple[dict[str, Any], ...]], ...]:
    """The pointwise primitives whose operands may all be of this dtype, each with its attrs."""
    scalar = TensorType((), dtype)
    found = []
    for primitive in PRIMITIVES.values():
        if not isinstance(primitive.kind, Pointwise) or (exact and not primitive.exact):
            continue
        if primitive is pointwise.pow_ and dtype.kind == "i":
            continue  # an error where the exponent is negative
        if primitive is pointwise.unless:
            continue  # an error where the second operand is true
        names = inspect.signature(primitive.kind.scalar).parameters
        options: list[dict[str, Any]] = [{}]
        if "strict" in names:
            options = [{"strict": False}]
        if "dtype" in names:
            options = [{"dtype": target} for target in DTYPES]
        if "word" in names:
            options = [{"word": word} for word in range(4)]
        types = [scalar] * operand_count(primitive)
        options = [attrs for attrs in options if accepts(primitive, *types, **attrs)]
        if options:
            found.append((primitive, tuple(options)))
    return tuple(found)


@cache
def along_axis(kind: type[Kind], dtype: DType, exact: bool) -> tuple[Primitive, ...]:
    """The reductions or the scans that take this dtype."""
    x = TensorType((1,), dtype)
    attrs: dict[str, Any] = {"axes": (0,)} if kind is Reduce else {"axis": 0}
    return tuple(
        primitive
        for primitive in PRIMITIVES.values()
        if isinstance(primitive.kind, kind)
        and (primitive.exact or not exact)
        and accepts(primitive, x, **attrs)
    )


class Drawer:
    """Draws nodes of a graph one after another. Each `draw_*` gives the new node's position.

    A method that finds nothing to do with its node returns None.
    """

    def __init__(self, draw: Draw, dtypes: Sequence[DType], exact: bool) -> None:
        self.draw = draw
        self.b = GraphBuilder("random")
        self.dtypes = dtypes
        self.exact = exact

    def choose(self, options: Iterable[Any]) -> Any:
        """One of the options; the first is the plainest."""
        options = list(options)
        return options[0] if len(options) == 1 else self.draw(st.sampled_from(options))

    def any_node(self) -> int:
        """A node; the newest is the plainest, which makes chains."""
        return int(self.choose(range(len(self.b.nodes) - 1, -1, -1)))

    def nodes_where(self, wanted: Callable[[TensorType], bool]) -> list[int]:
        """The nodes whose types are wanted, newest first."""
        count = len(self.b.nodes)
        return [i for i in range(count - 1, -1, -1) if wanted(self.b.type_of(i))]

    def constant(self, dtype: DType, shape: Shape) -> int:
        """A constant with drawn values."""
        return self.b.const(self.draw(arrays(dtype, shape)))

    # one method a kind; the name is the kind's

    def draw_pointwise(self, x: int) -> int | None:
        """A pointwise op of x and others of its dtype that broadcast with it."""
        type_x = self.b.type_of(x)
        if type_x.dtype is bool_ and self.draw(st.booleans()):
            return self._where(x)
        primitive, options = self.choose(pointwise_of(type_x.dtype, self.exact))
        wanted = [a for a in options if a.get("dtype", self.dtypes[0]) in self.dtypes]
        if not wanted:
            return None
        attrs = self.choose(wanted)
        inputs = [x]
        for _ in range(operand_count(primitive) - 1):
            inputs.append(self._companion(inputs, type_x.dtype))
        if len(inputs) == 2 and self.draw(st.booleans()):
            inputs.reverse()
        return self.b.add(primitive, inputs, **attrs)

    def _companion(self, inputs: list[int], dtype: DType) -> int:
        shapes_now = [self.b.type_of(i).shape for i in inputs]
        options = self.nodes_where(
            lambda t: t.dtype is dtype and _broadcast_size([*shapes_now, t.shape]) is not None
        )
        return int(self.choose(options))

    def _where(self, condition: int) -> int:
        x = self.choose(
            self.nodes_where(
                lambda t: (
                    _broadcast_size([t.shape, self.b.type_of(condition).shape]) is not None
                )
            )
        )
        y = self._companion([condition, x], self.b.type_of(x).dtype)
        return self.b.add(pointwise.where, (condition, x, y))

    def draw_view(self, x: int) -> int | None:
        """x reshaped, transposed, broadcast or sliced."""
        shape = self.b.type_of(x).shape
        match self.choose(["reshape", "transpose", "slice", "broadcast"]):
            case "reshape":
                return self.b.add(view.reshape, (x,), shape=self.choose(_reshapes(shape)))
            case "transpose":
                # the reversed order first, for the identity is seldom what is looked for
                orders = sorted(itertools.permutations(range(len(shape))), reverse=True)
                return self.b.add(view.transpose, (x,), perm=self.choose(orders))
            case "broadcast":
                return self.b.add(view.broadcast, (x,), shape=self.choose(_broadcasts(shape)))
            case _:
                boxes = [self.choose(_slices(extent)) for extent in shape]
                starts, sizes, steps = zip(*boxes, strict=True) if boxes else ((), (), ())
                return self.b.add(view.slice_, (x,), starts=starts, sizes=sizes, steps=steps)

    def draw_reduce(self, x: int) -> int | None:
        """A reduction along some axes, or along one where its coordinate counts."""
        type_x = self.b.type_of(x)
        options = along_axis(Reduce, type_x.dtype, self.exact)
        if not options:
            return None
        primitive = self.choose(options)
        assert isinstance(primitive.kind, Reduce)
        if primitive.kind.needs_coordinate:
            axes = [axis for axis, extent in enumerate(type_x.shape) if extent]
            return self.b.add(primitive, (x,), axes=(self.choose(axes),)) if axes else None
        ranks = range(len(type_x.shape), -1, -1)
        subsets = [s for n in ranks for s in itertools.combinations(range(type_x.ndim), n)]
        return self.b.add(primitive, (x,), axes=self.choose(subsets))

    def draw_scan(self, x: int) -> int | None:
        """A scan along an axis."""
        type_x = self.b.type_of(x)
        options = along_axis(Scan, type_x.dtype, self.exact)
        if not options or not type_x.ndim:
            return None
        axis = self.choose(range(type_x.ndim - 1, -1, -1))
        return self.b.add(self.choose(options), (x,), axis=axis)

    def draw_contract(self, x: int) -> int | None:
        """x times a fitting matrix: a node's, or its own transpose."""
        type_x = self.b.type_of(x)
        if self.exact or type_x.ndim < 2 or type_x.dtype is bool_:
            return None

        def fits(t: TensorType) -> bool:
            return (
                t.dtype is type_x.dtype
                and t.ndim >= 2
                and t.shape[-2] == type_x.shape[-1]
                and (size := _broadcast_size([t.shape[:-2], type_x.shape[:-2]])) is not None
                and size * type_x.shape[-2] * t.shape[-1] <= MAX_ELEMENTS
            )

        options: list[int | None] = [*self.nodes_where(fits), None]
        other = self.choose(options)
        if other is None:
            if type_x.size // max(type_x.shape[-1], 1) * type_x.shape[-2] > MAX_ELEMENTS:
                return None
            perm = (*range(type_x.ndim - 2), type_x.ndim - 1, type_x.ndim - 2)
            other = self.b.add(view.transpose, (x,), perm=perm)
        return self.b.add(contract.matmul, (x, other))

    def draw_assemble(self, x: int) -> int | None:
        """x joined with others, or with a piece written into it."""
        type_x = self.b.type_of(x)
        if not type_x.ndim:
            return None
        if self.draw(st.booleans()):
            return self._place(x)
        axis = self.choose(range(type_x.ndim))
        inputs = [x]
        for _ in range(self.choose([1, 2, 0])):
            length = sum(self.b.type_of(i).shape[axis] for i in inputs)
            other = self.choose([*self._joinable(x, axis, length), None])
            if other is not None:
                inputs.append(other)
        return self.b.add(assemble.concat, inputs, axis=axis)

    def _joinable(self, x: int, axis: int, length: int) -> list[int]:
        type_x = self.b.type_of(x)
        rest = math.prod(n for k, n in enumerate(type_x.shape) if k != axis)

        def fits(t: TensorType) -> bool:
            return (
                t.dtype is type_x.dtype
                and t.ndim == type_x.ndim
                and t.shape[:axis] == type_x.shape[:axis]
                and t.shape[axis + 1 :] == type_x.shape[axis + 1 :]
                and rest * (length + t.shape[axis]) <= MAX_ELEMENTS
            )

        return self.nodes_where(fits)

    def _place(self, x: int) -> int:
        base = self.b.type_of(x)

        def fits(t: TensorType) -> bool:
            return (
                t.dtype is base.dtype
                and t.ndim == base.ndim
                and all(n <= m for n, m in zip(t.shape, base.shape, strict=True))
            )

        piece = self.choose(self.nodes_where(fits))  # x itself fits
        starts, steps = [], []
        for size, extent in zip(self.b.type_of(piece).shape, base.shape, strict=True):
            start, step = self.choose(_placements(size, extent))
            starts.append(start)
            steps.append(step)
        return self.b.add(assemble.place, (x, piece), starts=tuple(starts), steps=tuple(steps))

    def draw_gather(self, x: int) -> int | None:
        """Elements of x chosen by indices that are in range by construction."""
        type_x = self.b.type_of(x)
        if not type_x.ndim:
            return None
        chosen = self._indices(type_x)
        if chosen is None:
            return None
        indices, axes = chosen
        return self.b.add(index.gather, (x, *indices), axes=axes)

    def draw_scatter(self, x: int) -> int | None:
        """Elements combined into x: a node's where one fits, else x's own, gathered."""
        type_x = self.b.type_of(x)
        chosen = self._indices(type_x) if type_x.ndim else None
        if chosen is None:
            return None
        indices, axes = chosen
        gathered = index.gather.type(type_x, *map(self.b.type_of, indices), axes=axes)
        other = self.choose([None, *self.nodes_where(lambda t: t == gathered)])
        if other is None:
            other = self.b.add(index.gather, (x, *indices), axes=axes)
        modes = {"b": ("update",), "c": ("update", "add", "sub", "mul")}
        if self.exact and type_x.dtype.is_inexact:
            modes[type_x.dtype.kind] = ("update",)
        mode = self.choose(modes.get(type_x.dtype.kind, index.MODES))
        return self.b.add(index.scatter, (x, other, *indices), axes=axes, mode=mode)

    def _indices(self, data: TensorType) -> tuple[list[int], Shape] | None:
        axes: Shape = (self.choose(range(data.ndim)),)
        if data.ndim > 1 and self.draw(st.booleans()):
            axes = self.choose(list(itertools.permutations(range(data.ndim), 2)))
        rest = math.prod(n for axis, n in enumerate(data.shape) if axis not in axes)
        sizes = [(2,), (), (3,), (1,), (2, 2), (0,)]
        if any(data.shape[axis] == 0 for axis in axes):
            sizes = [(0,), (2, 0)]
        fitting = [s for s in sizes if math.prod(s) * rest <= MAX_ELEMENTS]
        if not fitting:
            return None
        shape = self.choose(fitting)
        return [self._index(shape, data.shape[axis]) for axis in axes], axes

    def _index(self, shape: Shape, extent: int) -> int:
        sources = ["constant", *(["iota"] if shape else [])]
        sources += self.nodes_where(lambda t: t == TensorType(shape, int64))
        origin = self.choose(sources)
        if origin == "constant":
            places = fill(int64, shape, "bits", self.draw(st.integers(0, 99)))
            return self.b.const(places % extent if extent else places)
        if origin == "iota":
            origin = self.b.add(index.iota, shape=shape, axis=self.choose(range(len(shape))))
        # The floor remainder by a positive number is never negative.
        limit = self.b.const(np.array(max(extent, 1), np.int64))
        return self.b.add(pointwise.mod, (origin, limit), strict=False)

    def draw_coordinate(self, x: int) -> int | None:
        """Indices along an axis of x's shape."""
        shape = self.b.type_of(x).shape
        return (
            self.b.add(index.iota, shape=shape, axis=self.choose(range(len(shape))))
            if shape
            else None
        )

    def draw_constant(self, x: int) -> int:
        """A constant of x's dtype, of its shape or a scalar."""
        type_x = self.b.type_of(x)
        return self.constant(type_x.dtype, self.choose([(), type_x.shape]))


@st.composite
def graphs(
    draw: Draw,
    min_nodes: int = 1,
    max_nodes: int = 12,
    dtypes: Sequence[DType] = DTYPES,
    kinds: Sequence[type[Kind]] = KINDS,
    exact: bool = False,
    max_params: int = 4,
    roles: Sequence[str] = ("argument", "variable", "capture"),
) -> Graph:
    """A valid graph: one to four parameters, then `min_nodes` to `max_nodes` drawn steps.

    A step adds one op and what the op needs (an index, a transpose), so a graph may have some
    more nodes. Dead nodes, repeated outputs and outputs that are parameters all occur.
    dtypes: of parameters and casts; comparisons, indices and real parts bring their own.
    kinds: of the ops. exact: only ops whose results are equal to the bit however they are
    computed. Every variable has an update, and nothing else has.
    """
    d = Drawer(draw, list(dtypes), exact)
    base = draw(shapes(max_extent=5))
    main = d.choose(_plainest_first(dtypes))
    for number in range(draw(st.integers(1, max_params))):
        shape = d.choose(_relatives(base)) if number else base
        dtype = d.choose([main, main, *_plainest_first(dtypes)]) if number else main
        d.b.add(
            source.param, type=TensorType(shape, dtype), name=f"p{number}", role=d.choose(roles)
        )

    methods = {kind: getattr(d, f"draw_{kind.__name__.lower()}") for kind in kinds}
    # Pointwise ops thrice, for they are what graphs are made of.
    steps = [methods[kind] for kind in kinds for _ in range(3 if kind is Pointwise else 1)]
    for _ in range(draw(st.integers(min_nodes, max_nodes))):
        x = d.any_node()
        if d.choose([*steps, d.draw_constant])(x) is None:
            d.draw_constant(x)

    updates = []
    for position, node in enumerate(d.b.nodes):
        if node.primitive is source.param and node.attr("role") == "variable":
            same = d.nodes_where(lambda t, wanted=node.type: t == wanted)
            updates.append((position, int(d.choose(same))))
    newest_first = range(len(d.b.nodes) - 1, -1, -1)
    outputs = draw(st.lists(st.sampled_from(newest_first), min_size=1, max_size=3))
    return d.b.finish(outputs, updates)


def _plainest_first(dtypes: Sequence[DType]) -> list[DType]:
    rank = {float32: 0, int32: 1}
    return sorted(dtypes, key=lambda d: rank.get(d, 9))


def _broadcast_size(shapes: Sequence[Shape]) -> int | None:
    """The elements of the broadcast shape; None where there is none or it is too large."""
    try:
        size = math.prod(np.broadcast_shapes(*shapes))
    except ValueError:
        return None
    return size if size <= max(MAX_ELEMENTS, *map(math.prod, shapes)) else None


def _relatives(shape: Shape) -> list[Shape]:
    """Shapes that broadcast with this one, and its transpose."""
    found = [shape, (), shape[1:], shape[::-1], (1, *shape)]
    found += [(*shape[:k], 1, *shape[k + 1 :]) for k in range(len(shape))]
    return [s for s in dict.fromkeys(found) if len(s) <= MAX_NDIM]


def _reshapes(shape: Shape) -> list[Shape]:
    size = math.prod(shape)
    found = [(size,), (1, *shape), (*shape, 1), (size, 1), shape]
    found.append(tuple(n for n in shape if n != 1))
    found += [(n, size // n) for n in (2, 3, 4, 5) if size % n == 0]
    found += [(2, 2, size // 4)] if size % 4 == 0 else []
    return [s for s in dict.fromkeys(found) if len(s) <= MAX_NDIM]


def _broadcasts(shape: Shape) -> list[Shape]:
    found = [(2, *shape), tuple(3 if n == 1 else n for n in shape), shape, (0, *shape)]
    found += [(1, *shape), (2, *(2 if n == 1 else n for n in shape))]
    fitting = [s for s in dict.fromkeys(found) if math.prod(s) <= MAX_ELEMENTS]
    return [s for s in fitting if len(s) <= MAX_NDIM] or [shape]


def _slices(extent: int) -> list[tuple[int, int, int]]:
    """Starts, sizes and steps of boxes in an axis; the whole axis first."""
    found = [(0, extent, 1)]
    if extent:
        found += [(extent - 1, extent, -1), (0, extent - 1, 1), (1, extent - 1, 1)]
        found += [(0, (extent + 1) // 2, 2), (extent - 1, (extent + 1) // 2, -2)]
        found += [(extent // 2, 1, 1)]
    found += [(0, 0, 1)]
    return list(dict.fromkeys(found))


def _placements(size: int, extent: int) -> list[tuple[int, int]]:
    """Starts and steps that lay `size` elements within `extent`."""
    if size == 0:
        return [(0, 1)]
    found = [(0, 1), (extent - size, 1), (size - 1, -1)]
    if 2 * (size - 1) < extent:
        found += [(0, 2), (extent - 1, -2)]
    return list(dict.fromkeys(found))
