"""The op table: every primitive has what its kind needs, and computes what its NumPy rule says.

Compiled code is compared with the NumPy rules op by op, for each dtype that an op takes, over
special values and awkward lengths.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from typing import Any

import numpy as np
import pytest
from compiled import reduced_length, run_compiled, same_bits
from levels import level, sampled
from strategies import fill, operand_count, pointwise_of, special_values
from tolerance import assert_close

from graphjit.core.errors import InvalidArgumentError
from graphjit.core.types import DTYPES, DType, TensorType
from graphjit.ir.graph import Graph, GraphBuilder, Node
from graphjit.ir.interpreter import run_primitive
from graphjit.ops import PRIMITIVES, Primitive, primitive_named, source
from graphjit.ops.primitive import Assemble, Library, Pointwise, Reduce, Scan, Scatter, View

Array = np.ndarray[Any, Any]
LIBRARY = {
    "sort", "argsort", "searchsorted", "cholesky", "inv", "det", "slogdet", "solve",
    "triangular_solve", "qr", "svd", "eigh", "eig", "lstsq", "lstsq_rank", "pinv", "expm",
    "fft", "special", "routine",
}  # fmt: skip
KINDS = {
    "Source", "Pointwise", "Coordinate", "View", "Reduce", "Scan", "Contract", "Assemble",
    "Gather", "Scatter", "Library", "Item", "Choice", "Assumption", "CountedLoop",
    "ConditionalLoop", "OwnGradient",
}  # fmt: skip


@pytest.mark.parametrize("name", PRIMITIVES)
def test_every_primitive_is_complete(name: str) -> None:
    primitive = PRIMITIVES[name]
    assert primitive.name == name and primitive_named(name) is primitive
    assert type(primitive.kind).__name__ in KINDS
    assert callable(primitive.type) and callable(primitive.numpy)
    assert primitive.tensorflow and primitive.cost >= 1
    rules: tuple[Any, ...]
    match primitive.kind:
        case Pointwise(scalar=scalar):
            rules = (scalar,)
        case View(index=index):
            rules = (index,)
        case Reduce() | Scan() as kind:
            rules = (kind.identity, kind.combine, kind.finish)
        case Assemble(boxes=boxes):
            rules = (boxes,)
        case Scatter(combine=combine):
            rules = (combine,)
        case _:
            rules = ()
    assert all(map(callable, rules))


def test_a_primitive_pickles_as_its_name() -> None:
    import pickle

    for primitive in PRIMITIVES.values():
        assert pickle.loads(pickle.dumps(primitive)) is primitive


def test_library_primitives() -> None:
    # Adding one is a decision: what can have a kernel should have one.
    found = {p.name for p in PRIMITIVES.values() if isinstance(p.kind, Library)}
    assert found == LIBRARY


def test_routines_give_arrays_of_their_own() -> None:
    a = np.array([[4.0, 1.0], [1.0, 3.0]])
    vector, one = np.array([1.0, 2.0]), np.array([[2.0]])
    special = {"digamma": (vector,), "gammainc": (vector, vector)}
    calls: list[tuple[str, tuple[Array, ...], dict[str, Any]]] = [
        *(("sort", (x,), {"axis": 0, "kind": "quicksort"}) for x in (vector, one[0])),
        *(("argsort", (x,), {"axis": 0, "kind": "stable"}) for x in (vector, np.arange(2))),
        ("searchsorted", (vector, vector), {"right": False}),
        *((n, (x,), {}) for n in ("cholesky", "inv", "det", "slogdet") for x in (a, one)),
        *((n, (x,), {}) for n in ("eigh", "eig", "expm") for x in (a, one)),
        ("solve", (a, vector), {}),
        ("solve", (one, one), {}),
        ("triangular_solve", (a, a), {"lower": True, "adjoint": False}),
        *(("qr", (x,), {"complete": c}) for c in (True, False) for x in (a, one)),
        *(("svd", (x,), {"full": c}) for c in (True, False) for x in (a, one)),
        ("lstsq", (a, vector), {"rcond": None}),
        ("lstsq_rank", (a,), {"rcond": None}),
        ("pinv", (a,), {"rcond": None}),
        *(
            ("fft", (x,), {"transform": t, "axis": 0, "n": 1 if t != "irfft" else 2})
            for t in ("fft", "ifft", "irfft")
            for x in (np.array([1 + 2j]),)
        ),
        ("fft", (vector[:1],), {"transform": "rfft", "axis": 0, "n": 1}),
        (
            "routine",
            (vector,),
            {
                "function": "scipy.fft.dct",
                "arguments": '[[[0]], {"norm": {"value": "ortho"}}]',
                "results": (("float64", 2),),
            },
        ),
        (
            "routine",
            (a,),
            {
                "function": "scipy.ndimage.sobel",
                "arguments": "[[[0]], {}]",
                "results": (("float64", 2, 2),),
            },
        ),
        *(("special", arrays, {"name": name}) for name, arrays in special.items()),
    ]
    assert {name for name, _, _ in calls} == LIBRARY
    for name, arrays, attrs in calls:
        before = [x.copy() for x in arrays]
        results = PRIMITIVES[name].numpy(*arrays, **attrs)
        for result in results if isinstance(results, tuple) else (results,):
            assert not any(np.may_share_memory(result, x) for x in arrays), name
        assert all(same_bits(x, y) for x, y in zip(arrays, before, strict=True)), name


@pytest.mark.parametrize(
    "name", [p.name for p in PRIMITIVES.values() if getattr(p.kind, "quiet", False)]
)
def test_quiet_routines_heed_no_error_state(name: str) -> None:
    worst = np.array([[np.inf, np.nan, 1e308], [-1e308, 1e-308, 0.0], [1e308, 1e308, 5e-324]])
    attrs: dict[str, dict[str, Any]] = {
        "sort": {"axis": 0, "kind": "quicksort"}, "argsort": {"axis": 0, "kind": "stable"},
        "searchsorted": {"right": True}, "qr": {"complete": True}, "svd": {"full": True},
        "fft": {"transform": "fft", "axis": 0, "n": 3},
    }  # fmt: skip
    with np.errstate(all="ignore"):
        cases = worst, worst.astype(np.float32), worst[::-1] * 1e-30, np.eye(3) * 1e200
    with np.errstate(all="raise"):
        for x in cases:
            given = [x[:, 0], x] if name == "searchsorted" else [x] * (1 + (name == "solve"))
            if name == "fft":
                given = [x + 0j]
            with contextlib.suppress(InvalidArgumentError, np.linalg.LinAlgError):
                PRIMITIVES[name].numpy(*given, **attrs.get(name, {}))


def test_commutative_primitives_commute() -> None:
    for primitive in PRIMITIVES.values():
        if not primitive.commutative:
            continue
        for dtype in DTYPES:
            if not any(p is primitive for p, _ in pointwise_of(dtype, False)):
                continue
            x, y = pairs(dtype)
            with np.errstate(all="ignore"):
                assert same_bits(primitive.numpy(x, y), primitive.numpy(y, x)), primitive


def pairs(dtype: DType) -> tuple[Array, Array]:
    """Two arrays in which every special value meets every other."""
    special = special_values(dtype)[:24]
    both = np.array(list(itertools.product(range(len(special)), repeat=2)))
    return special[both[:, 0]], special[both[:, 1]]


def operands(dtype: DType, count: int) -> list[Array]:
    if count == 1:
        random = fill(dtype, (257,), "bits", 1)
        return [np.concatenate([special_values(dtype), random, fill(dtype, (33,), "small", 2)])]
    x, y = pairs(dtype)
    return [x, y, y[::-1].copy()][:count]


def defined(primitive: Primitive, arrays: list[Array]) -> list[Array]:
    """The operands without those whose result NumPy leaves to the machine or refuses."""
    x = arrays[0]
    if primitive.name == "pow" and x.dtype.kind == "i":
        return [x, np.abs(arrays[1]) % 5]
    if x.dtype.kind == "c" and not primitive.exact:
        # What complex functions make of infinities has tests of its own.
        with np.errstate(invalid="ignore"):
            parts = [np.abs(np.stack([a.real, a.imag]).astype(np.float64)) for a in arrays]
        good = [np.all((p == 0) | ((p > 1e-3) & (p < 1e3)), axis=0) for p in parts]
        return [a[np.logical_and.reduce(good)] for a in arrays]
    return arrays


def check_node(node: Node, actual: Array, expected: Array, length: int) -> None:
    """Compare one op's value by the rule for that op."""
    name, dtype = node.primitive.name, node.tensor.dtype
    if name in ("minimum", "maximum", "min", "max", "cummax", "cummin"):
        # Which zero is the smaller, NumPy leaves to the machine.
        assert_close(np.abs(actual), np.abs(expected), exact=True)
        assert_close(actual, expected, ulps=0)
    elif node.primitive.exact and not (dtype.is_complex and name in ("mul", "div", "cumprod")):
        assert same_bits(actual, expected), differences(actual, expected)
    elif name != "lgamma":  # scipy's is wrong near 0: codegen/test_math.py has a better judge
        assert_close(actual, expected, length=length)


def differences(actual: Array, expected: Array) -> str:
    bad = [i for i in range(actual.size) if not same_bits(actual.flat[i], expected.flat[i])]
    return "\n".join(f"{i}: {actual.flat[i]!r}, not {expected.flat[i]!r}" for i in bad[:5])


def compare(graph: Graph, inputs: list[Array]) -> None:
    """Run a graph of single ops on parameters, and compare each output."""
    outputs, _ = run_compiled(graph, inputs)
    for name in sampled(len(graph.nodes)):
        with level(name):
            others, _ = run_compiled(graph, inputs)
        for position, one, other in zip(graph.outputs, outputs, others, strict=True):
            node = graph.nodes[position]
            assert same_bits(one, other), f"{node.primitive.name} {dict(node.attrs)} on {name}"
    given = dict(zip(graph.params, inputs, strict=True))
    wrong = []
    for position, actual in zip(graph.outputs, outputs, strict=True):
        node = graph.nodes[position]
        arrays = [given[i] for i in node.inputs]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = run_primitive(node.primitive, arrays, node.type, dict(node.attrs))
        try:
            check_node(node, actual, expected, reduced_length(graph, node))
        except AssertionError as error:
            wrong.append(f"{node.primitive.name} {dict(node.attrs)}: {error}")
    assert not wrong, "\n".join(wrong)


def param(b: GraphBuilder, array: Array, dtype: DType) -> int:
    type = TensorType(array.shape, dtype)
    return b.add(source.param, type=type, name=f"p{len(b.nodes)}", role="argument")


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_pointwise(dtype: DType) -> None:
    b, inputs, outputs = GraphBuilder("f"), [], []
    for primitive, options in pointwise_of(dtype, False):
        if primitive is PRIMITIVES["where"]:
            continue
        arrays = defined(primitive, operands(dtype, operand_count(primitive)))
        nodes = [param(b, a, dtype) for a in arrays]
        inputs += arrays
        outputs += [b.add(primitive, nodes, **attrs) for attrs in options]
    compare(b.finish(outputs), inputs)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_where(dtype: DType) -> None:
    x, y = pairs(dtype)
    c = np.arange(x.size) % 3 == 0
    b = GraphBuilder("f")
    nodes = [param(b, c, DTYPES[0]), param(b, x, dtype), param(b, y, dtype)]
    compare(b.finish([b.add(PRIMITIVES["where"], nodes)]), [c, x, y])


SHAPES: dict[tuple[int, ...], tuple[tuple[int, ...], ...]] = {
    (33,): ((0,), ()),
    (0,): ((0,),),
    (1,): ((0,),),
    (): ((),),
    (3, 0): ((0,), (1,), (0, 1)),
    (2, 31): ((0,), (1,), (0, 1)),
    (5, 1, 32): ((0,), (1,), (0, 2), (0, 1, 2)),
    (3, 2, 65): ((0,), (2,), (1, 2), (0, 2)),
}


def reducible(primitive: Primitive, dtype: DType, **attrs: Any) -> bool:
    try:
        primitive.type(TensorType((2,), dtype), **attrs)
    except InvalidArgumentError:
        return False
    return True


@pytest.mark.parametrize("values", ["small", "special"])
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_reductions_and_scans(dtype: DType, values: str) -> None:
    b, inputs, outputs = GraphBuilder("f"), [], []
    for number, (shape, choices) in enumerate(SHAPES.items()):
        array = fill(dtype, shape, values, number)
        x = param(b, array, dtype)
        inputs.append(array)
        for primitive in PRIMITIVES.values():
            # Sums and products of special values depend on the order of adding.
            free = primitive.exact or dtype.is_integer or values == "small"
            if isinstance(primitive.kind, Reduce) and free:
                if not reducible(primitive, dtype, axes=(0,)):
                    continue
                for axes in choices:
                    empty = any(shape[a] == 0 for a in axes) or len(axes) != 1
                    if primitive.kind.needs_coordinate and empty:
                        continue
                    outputs.append(b.add(primitive, (x,), axes=axes))
            elif isinstance(primitive.kind, Scan) and reducible(primitive, dtype, axis=0):
                if primitive.name == "cumprod" and dtype.is_complex and values == "special":
                    continue  # 1 times an infinity is not that infinity
                for axis in range(len(shape)):
                    outputs.append(b.add(primitive, (x,), axis=axis))
    compare(b.finish(outputs), inputs)
