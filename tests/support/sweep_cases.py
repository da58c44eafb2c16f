"""The calls that the sweep over NumPy's functions makes, undecorated and traced."""

from __future__ import annotations

import inspect
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sweep_arguments import (
    DTYPES,
    FEW,
    FILLS,
    OPTIONS,
    SHAPES,
    Array,
    numbers,
    random_mask,
    variants,
)
from sweep_calls import Case, Raised, Weak, outcome

from graphjit import numpy_protocol
from graphjit.numpy_protocol import fourier, indexing, methods
from graphjit.numpy_protocol.special import SPECIAL


def _signature(function: Any, handler: Any = None) -> list[inspect.Parameter]:
    for candidate in (function, handler):
        try:
            return list(inspect.signature(candidate).parameters.values())
        except (TypeError, ValueError):
            continue
    return []


def functions() -> dict[str, tuple[Any, list[inspect.Parameter]]]:
    """Every function of NumPy that is traced, with its parameters."""
    found: dict[str, tuple[Any, list[inspect.Parameter]]] = {}
    tables = (
        numpy_protocol.FUNCTIONS, numpy_protocol.VIEWS, fourier.FUNCTIONS, indexing.IN_PLACE,
    )  # fmt: skip
    for table in tables:
        for function, handler in table.items():
            module = function.__module__.replace("numpy", "np")
            parameters = _signature(function, handler)
            if function in indexing.IN_PLACE:
                function = _on_a_copy(function)
            found[f"{module}.{function.__name__}"] = (function, parameters)
    for name, handler in (methods.METHODS | methods.VIEW_METHODS).items():
        if name.startswith("__") or name in ("item", "tolist"):
            continue
        known = getattr(np.ndarray, name)
        found[f"ndarray.{name}"] = (_method(name), _signature(handler)) if known else ([], [])
    for name, handler in methods.IN_PLACE_METHODS.items():
        found[f"ndarray.{name}"] = (_on_a_copy(_method(name)), _signature(handler))
    for name in (*methods.VALUES, *methods.VIEW_VALUES):
        found[f"ndarray.{name}"] = (_attribute(name), [_parameter("x")])
    return found


def _parameter(name: str) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    function.__name__ = name
    return function


def _method(name: str) -> Callable[..., Any]:
    return _named(name, lambda x, *args, **options: getattr(x, name)(*args, **options))


def _attribute(name: str) -> Callable[..., Any]:
    return _named(name, lambda x: getattr(x, name))


def _on_a_copy(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any, *args: Any, **options: Any) -> Any:
        copy = x.copy()
        result = function(copy, *args, **options)
        return copy, result

    return _named(function.__name__, call)


def _into(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with a copy of its last argument as out=."""

    def call(*args: Any, **options: Any) -> Any:
        out = args[-1].copy()
        result = function(*args[:-1], out=out, **options)
        return result, out

    return _named(function.__name__, call)


# Calls of functions whose parameters have no names.
def _by_hand(x: Array, y: Array) -> Iterator[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    yield np.meshgrid, (x, y), {}
    yield np.meshgrid, (x, y), {"indexing": "ij"}
    yield np.meshgrid, (x, y), {"sparse": True}
    yield np.gradient, (x, 2.0), {}
    yield np.gradient, (x, 2), {"edge_order": 2}
    yield np.gradient, (x, np.float32(0.5)), {}
    yield np.gradient, (x, 1.0, 2.0), {}
    yield np.broadcast_arrays, (x, y), {}
    yield np.broadcast_arrays, (x, [1, 2, 3]), {}
    yield np.ix_, (x, y), {}
    yield np.result_type, (x, y), {}
    yield np.result_type, (x, 1.5), {}
    yield np.common_type, (x, y), {}
    for f in (np.atleast_1d, np.atleast_2d, np.atleast_3d):
        yield f, (x,), {}
        yield f, (x, y), {}
    for equation in ("i->", "ij->ji", "ij->i", "ii->i", "ii", "ij->", "...->...", "i...->..."):
        yield np.einsum, (equation, x), {}
    for equation in ("i,i->", "i,j->ij", "ij,jk->ik", "ij,ij->ij", "ij,kj->ik", "...,...->..."):
        yield np.einsum, (equation, x, y), {}
        yield np.einsum, (equation, x, y), {"optimize": True}
    yield np.where, (x, y, x), {}
    yield np.where, (x > 0 if x.dtype.kind != "c" else x == 0, x, 2), {}
    yield np.where, (x, 2.5, y), {}
    yield np.where, (x, 300, y), {}
    yield np.where, (x, [1, 2, 3], y), {}
    yield np.where, (x,), {}
    real = x.real if x.dtype.kind == "c" else x
    yield np.select, ([real > 0, real < 0], [x, y]), {}
    yield np.select, ([real > 0, real < 0], [x, 1]), {"default": 9}
    yield np.select, ([x, x], [x, y]), {}
    yield np.concatenate, ([x, y],), {}
    yield np.block, ([[x, y], [y, x]],), {}
    yield np.block, ([x, y],), {}
    yield np.linalg.multi_dot, ([x, y, x],), {}
    yield np.interp, (x, np.array([-1.0, 0.0, 2.0]), np.array([3.0, -1.0, 5.0])), {}
    yield np.interp, (x, [-1.0, 0.0, 2.0], [3.0, np.inf, 5.0]), {"left": -9, "right": 9.5}
    yield np.interp, (x, [-1.0, 0.0, 0.0], [3.0, 1, 5.0]), {}
    yield np.interp, (x, [-1.0, 0.0, 2.0], [3.0, np.nan, 5.0]), {"period": 3.0}
    yield np.digitize, (x, [-1.0, 0.0, 1.0]), {}
    yield np.digitize, (x, [1.0, 0.0, -1.0]), {"right": True}
    yield np.digitize, (x, [-1, 0, 1]), {"right": True}
    for kinds in ((x, 1), (1, x), (x, [1, 2]), (x.dtype, x)):
        yield np.result_type, kinds, {}
    yield np.linspace, (x, y), {}
    yield np.linspace, (x, 5), {"num": 3}
    yield np.linspace, (0, x), {"num": 4, "endpoint": False}
    yield np.logspace, (x, 2), {"num": 3}
    yield np.take, (x, [0, -1]), {}
    yield np.take, (x, np.array([0, -1, 1])), {"axis": 0}
    for mode in ("raise", "wrap", "clip"):
        yield np.take, (x, np.array([0, -9, 9])), {"mode": mode}
        yield np.take, (x, [5, -7]), {"mode": mode, "axis": -1}
    yield np.take_along_axis, (x, np.zeros(x.shape, int)), {"axis": -1}
    yield np.take_along_axis, (x, np.full(x.shape, -1)), {"axis": 0}
    yield np.take_along_axis, (x, np.zeros(2, int)), {"axis": None}
    yield _on_a_copy(np.put_along_axis), (x, np.zeros(x.shape, int), y), {"axis": -1}
    yield _on_a_copy(np.put_along_axis), (x, np.zeros(x.shape, int), 3), {"axis": 0}
    yield _on_a_copy(np.copyto), (x, y), {}
    yield _on_a_copy(np.copyto), (x, 1), {"where": real > 0}
    yield _on_a_copy(np.copyto), (x, 2.5), {}
    yield _on_a_copy(np.copyto), (x, y), {"casting": "unsafe"}
    yield _on_a_copy(np.putmask), (x, real > 0, y), {}
    yield _on_a_copy(np.putmask), (x, real > 0, 3), {}
    yield _on_a_copy(np.putmask), (x, x, [1, 2]), {}
    for places in ([0, -1], [0, 0, 1], 0, [], [99], np.array([[0, 2]])):
        for values in (7, [1, 2], x, []):
            yield _on_a_copy(np.put), (x, places, values), {}
    for values in (7, [1, 2], x, []):
        yield _on_a_copy(np.place), (x, real > 0, values), {}
    yield _on_a_copy(np.fill_diagonal), (x, 3), {}
    yield _on_a_copy(np.fill_diagonal), (x, -1.5), {}
    yield np.compress, ([True, False, True], x), {}
    yield np.compress, ([1, 0, 1], x), {"axis": 0}
    yield np.full, ((2,), x), {}
    yield np.full, ((2, 3), x), {"dtype": "float32"}
    yield np.full, (3, x), {"dtype": int}
    yield np.cross, (np.resize(x, (2, 3)), np.resize(y, (2, 3))), {}
    yield np.cross, (np.resize(x, (3, 2)), np.resize(y, (3, 2))), {"axis": 0}
    for wanted in ((-1,), (x.size,), (1, -1), (x.size, 1), (7,), ((),), ((-1, 1),), (None,)):
        yield _method("reshape"), (x, *wanted), {}
        yield _method("reshape"), (x, *wanted), {"order": "F"}
    for axes in ((), (None,), (0,), (1, 0), ((1, 0),), (0, 0), (-1, 0), (2, 0, 1)):
        yield _method("transpose"), (x, *axes), {}
    for indices in (0, [0, -1], np.array([[0], [-1]]), 9):
        yield _method("take"), (x, indices), {}
    yield np.linalg.cross, (np.resize(x, (2, 3)), np.resize(y, (2, 3))), {}


BY_HAND_ONLY = {
    "np.where", "np.select", "np.result_type", "np.common_type", "np.ix_", "np.meshgrid",
    "np.einsum", "np.broadcast_arrays", "np.interp", "np.digitize", "np.linspace",
    "np.logspace", "np.take", "np.take_along_axis", "np.put_along_axis", "np.copyto",
    "np.putmask", "np.put", "np.place",
    "np.fill_diagonal", "np.compress", "np.full", "np.zeros", "np.ones",
    "np.empty",
    "np.atleast_1d", "np.atleast_2d", "np.atleast_3d", "np.cross", "np.linalg.cross",
    "ndarray.take", "np.block", "np.linalg.multi_dot", "np.can_cast", "ndarray.transpose",
}  # fmt: skip
# What depends on memory that nobody has written to.
UNDEFINED = {"np.empty", "np.empty_like", "np.resize"}


def cases(share: float = 1.0, only: str = "", seed: int = 0) -> Iterator[Case]:
    """The cases of the sweep, a share of them drawn by a seed."""
    draw = random.Random(seed)

    def kept(weight: float = 1.0) -> bool:
        return draw.random() < share * weight

    for name, (function, parameters) in functions().items():
        if only not in name or name in BY_HAND_ONLY or name in UNDEFINED:
            continue
        for dtype, shape, fill in itertools.product(DTYPES, SHAPES, FILLS):
            if not np.prod(shape) and fill != "plain":
                continue
            if np.dtype(dtype).kind in "iu" and fill in ("nan", "infinite"):
                continue
            if np.dtype(dtype).kind == "b" and fill != "plain":
                continue
            x, y = numbers(dtype, shape, fill), numbers(dtype, shape, "plain", 1)
            common = dtype in FEW and shape in ((5,), (2, 3), (0, 3), (3, 3), ())
            for k, (arguments, options) in enumerate(variants(parameters, x, y, list)):
                weight = 0.25 if k == 0 else 0.02 if common else 0.002
                if kept(weight):
                    yield Case(name, function, arguments, options, fill)
    yield from _ufunc_cases(kept, only)
    yield from _hand_cases(kept, only)
    yield from _operator_cases(kept, only)
    yield from _index_cases(kept, only)
    yield from _key_cases(kept, only, draw)
    yield from _special_cases(kept, only)
    yield from _narrow_cases(kept, only)
    yield from _out_cases(kept, only)


def _hand_cases(kept: Callable[[float], bool], only: str) -> Iterator[Case]:
    for dtype, shape, fill in itertools.product(FEW, SHAPES, FILLS):
        x, y = numbers(dtype, shape, fill), numbers(dtype, shape, "plain", 1)
        for function, arguments, options in _by_hand(x, y):
            module = getattr(function, "__module__", "numpy")
            home = {__name__: "np", "numpy.linalg": "np.linalg"}.get(module, "np")
            name = f"{home}.{function.__name__}"
            if only in name and kept(0.2):
                yield Case(name, function, arguments, options, fill)


def _index_cases(kept: Callable[[float], bool], only: str) -> Iterator[Case]:
    keys: tuple[Any, ...] = (
        0, -1, 9, -9, np.int64(1), slice(1, None), slice(None, None, -1), slice(9, None, 2),
        slice(-2, 0, -2), None, Ellipsis, (), (0, 1), (0, Ellipsis), (Ellipsis, 0), (None, 0),
        (slice(None), 1), (slice(1), slice(None, None, 2)), [0, -1], [[0], [1]], [], [9],
        np.array([1, 0]), (np.array([0, 1]), np.array([1, 0])), (0, np.array([1, 0])),
        (np.array([0, 1]), slice(None)), (slice(None), np.array([-1, 0])), np.array(1), 1.5,
        (0, 0, 0), (np.array([[0, 1]]), None), True, [True, False], np.array([0.5]), "a",
        (0, 1, Ellipsis), (0, slice(0, 1)), (Ellipsis, np.array([0, -1])), slice(1, 1),
    )  # fmt: skip
    values: tuple[Any, ...] = (
        1, -1, 2.5, float("nan"), float("inf"), 1j, True, 300, 2**70, np.float32(2.5), [5],
        [[5]], [1, 2, 3], [[[7, 8]]], np.array([5]), np.array([[1.5, 2, 3]]), np.array(4),
        np.array(2j), np.complex128(1j), np.int8(-3), Weak(2.5), Weak(1j), Weak(7), "x", None,
        [],
    )  # fmt: skip
    place = _named("setitem", lambda x, key, value: x.__setitem__(key, value))
    for dtype, shape in itertools.product(DTYPES, ((), (1,), (5,), (2, 3), (3, 3), (0, 3))):
        x = numbers(dtype, shape, "special")
        for key in (*keys, random_mask(x, 0), ~random_mask(x, 1)):
            if only in "x[key]" and kept(0.2):
                yield Case("x[key]", lambda x, key: x[key], (x, key), {}, "special")
            for value in (*values, x):
                if only in "x[key] = value" and kept(0.02):
                    copied = _on_a_copy(place)
                    yield Case("x[key] = value", copied, (x, key, value), {}, "special")


def _key_cases(kept: Callable[[float], bool], only: str, draw: random.Random) -> Iterator[Case]:
    """Keys of several parts, drawn: read, written, and written with an operator."""
    if only not in "x[several]":
        return
    parts: tuple[Callable[[int], Any], ...] = (
        lambda n: draw.randrange(-n, n) if n else 0, lambda n: np.int64(0),
        lambda n: slice(draw.choice((None, 0, 1, -2)), draw.choice((None, 2, -1, 0)),
                        draw.choice((None, 1, 2, -1, -2))),
        lambda n: slice(None), lambda n: slice(None),
        lambda n: [draw.randrange(-n, n) for _ in range(2)] if n else [],
        lambda n: np.array([draw.randrange(-n, n) for _ in range(2)] if n else [], int),
        lambda n: np.array([[draw.randrange(-n, n)] if n else [0]]),
        lambda n: np.array(0, "u1"), lambda n: [draw.random() < 0.5 for _ in range(n)],
        lambda n: np.array([n + 5]), lambda n: range(n), lambda n: np.zeros(0, "i4"),
    )  # fmt: skip
    place = _named("setitem", lambda x, key, value: x.__setitem__(key, value))
    add = _named("iadd", lambda x, key, value: x.__setitem__(key, x[key] + value))
    for number in range(4000):
        shape = ((2, 3, 4), (4,), (3, 2), (1, 2, 1, 3), (2, 0, 3), ())[number % 6]
        dtype = ("float64", "int16", "complex64", "bool", "float32")[number % 5]
        x = numbers(dtype, shape, "special")
        rank = draw.randint(0, len(shape))
        key = [draw.choice(parts)(n) for n in shape[:rank]]
        for extra in (None, Ellipsis):
            if draw.random() < 0.3:
                key.insert(draw.randint(0, len(key)), extra)
        found = tuple(key)
        if kept(1):
            yield Case("x[several]", lambda x, key: x[key], (x, found), {}, "special")
        chosen = outcome(lambda given, k=found: given[k], x)
        wanted = () if isinstance(chosen, Raised) else np.shape(chosen)
        for value in (
            3,
            numbers(dtype, wanted, "plain"),
            numbers("float32", wanted[-1:], "nan"),
        ):
            for function in (place, add):
                if kept(0.3):
                    copied = _on_a_copy(function)
                    yield Case("x[several] = v", copied, (x, found, value), {}, "special")


def _special_cases(kept: Callable[[float], bool], only: str) -> Iterator[Case]:
    """SciPy's special functions."""
    from scipy import special

    for name in SPECIAL:
        ufunc = getattr(special, name)
        if only not in f"special.{name}":
            continue
        for dtype, fill in itertools.product(("float32", "float64", "int32", "bool"), FILLS):
            first, second = numbers(dtype, (40,), fill), numbers(dtype, (40,), "plain", 1)
            far = np.roll(first, 1) if dtype == "bool" else np.clip(first, -9, 9) * 9
            for x in (first, np.abs(first), far.astype(dtype)):
                operands = (x, np.abs(second), np.abs(second) / 2)[: ufunc.nin]
                if kept(1):
                    yield Case(f"special.{name}", ufunc, operands, {}, fill)
                if kept(0.3):
                    scalars = tuple(o.reshape(-1)[3] for o in operands)
                    yield Case(f"special.{name}", ufunc, scalars, {}, fill)
                if ufunc.nin == 2 and kept(0.5):
                    yield Case(f"special.{name}", ufunc, (x, 0.5), {}, fill)
                    yield Case(f"special.{name}", ufunc, (2, x), {}, fill)


def _narrow_cases(kept: Callable[[float], bool], only: str) -> Iterator[Case]:
    """bfloat16, which is none of NumPy's own dtypes."""
    import ml_dtypes

    narrow = np.dtype(ml_dtypes.bfloat16)
    reductions = (np.sum, np.mean, np.max, np.min, np.prod, np.cumsum, np.argmax, np.sort,
                  np.any, np.var, np.ptp, np.median, np.dot, np.concatenate, np.where, np.clip,
                  np.round, np.diff, np.flip, np.zeros_like, np.isnan, np.isfinite)  # fmt: skip
    for fill, shape in itertools.product(FILLS, ((23,), (2, 3), ())):
        x, y = (
            numbers("float32", shape, f, k).astype(narrow) for f, k in ((fill, 0), ("plain", 1))
        )
        for ufunc in numpy_protocol.UFUNCS:
            name = f"bfloat16 {ufunc.__name__}"
            if only not in name or ufunc.signature is not None:
                continue
            others: tuple[Any, ...] = (
                y,
                2,
                0.5,
                np.float32(3),
                numbers("float32", shape, fill),
            )
            for other in others if ufunc.nin == 2 else (None,):
                operands = (x,) if other is None else (x, other)
                if kept(1):
                    yield Case(name, ufunc, operands, {}, fill)
                if other is not None and kept(0.5):
                    yield Case(name, ufunc, operands[::-1], {}, fill)
        for function in reductions:
            name = f"bfloat16 {function.__name__}"
            given: tuple[Any, ...] = {
                np.dot: (x, y), np.concatenate: ([x, y],), np.where: (np.isfinite(x), x, y),
                np.clip: (x, -1, 1),
            }.get(function, (x,))  # fmt: skip
            if only in name and kept(1):
                yield Case(name, function, given, {}, fill)
        for target in ("float32", "float64", "int32", "bool", "float16", "complex64"):
            if only in "bfloat16 astype" and kept(1):
                other = numbers(target, shape, "plain")
                yield Case("bfloat16 astype", _method("astype"), (x, target), {}, fill)
                yield Case("bfloat16 astype", _method("astype"), (other, narrow), {}, fill)


def _out_cases(kept: Callable[[float], bool], only: str) -> Iterator[Case]:
    """Results in given arrays, and masks of what is computed."""
    functions = (
        np.sum, np.prod, np.mean, np.max, np.min, np.any, np.all, np.cumsum, np.cumprod, np.std,
        np.var, np.argmax, np.argmin, np.clip, np.round, np.take, np.dot, np.matmul, np.nansum,
        np.nanmean, np.median, np.ptp, np.compress,
    )  # fmt: skip
    for function, dtype, shape in itertools.product(functions, FEW, ((5,), (2, 3), (3, 3))):
        name = f"np.{function.__name__}(out=)"
        x = numbers(dtype, shape, "plain")
        more: tuple[Any, ...] = {
            np.clip: (-1, 1), np.take: ([0, 1],), np.dot: (x,), np.matmul: (x,),
        }.get(function, ([True, False],) if function is np.compress else ())  # fmt: skip
        given = (more[0], x) if function is np.compress else (x, *more)
        for options in ({}, {"axis": 0}, {"axis": -1, "keepdims": True}):
            wanted = outcome(lambda given, f=function, o=options: f(*given, **o), given)
            if isinstance(wanted, Raised) or only not in name:
                continue
            for kind in (np.asarray(wanted).dtype, *FEW):
                if kept(0.3):
                    out = np.zeros(np.shape(wanted), kind)
                    yield Case(name, _into(function), (*given, out), options, "plain")
    for ufunc in numpy_protocol.UFUNCS:
        name = f"np.{ufunc.__name__}(where=)"
        if ufunc.signature is not None or ufunc.nout > 1 or only not in name:
            continue
        for dtype in FEW:
            x, y = numbers(dtype, (3, 4), "special"), numbers(dtype, (4,), "plain", 1)
            operands = (x, y)[: ufunc.nin]
            for mask in (
                random_mask(x, 0),
                random_mask(x, 1),
                random_mask(x, 0)[:, :1],
                np.array(True),
                True,
            ):
                if kept(0.3):
                    out = np.ones((3, 4), dtype)
                    yield Case(name, _into(ufunc), (*operands, out), {"where": mask}, "special")


def _ufunc_cases(kept: Callable[[float], bool], only: str) -> Iterator[Case]:
    for ufunc in numpy_protocol.UFUNCS:
        name = f"np.{ufunc.__name__}"
        if only not in name:
            continue
        for dtype, fill, size in itertools.product(DTYPES, FILLS, (0, 1, 23, 256)):
            shape = (size,)
            x, y = numbers(dtype, shape, fill), numbers(dtype, shape, "plain", 1)
            if fill == "special" and size == 256:  # each with each
                few = numbers(dtype, (16,), fill)
                x, y = np.repeat(few, 16), np.tile(few, 16)
            if ufunc.signature is not None:
                x, y = np.resize(x, (4, 4)), np.resize(y, (4, 4))
            operands = (x, y)[: ufunc.nin]
            if kept(0.5):
                yield Case(name, ufunc, operands, {}, fill)
            if size != 23:
                continue
            mixed = tuple(
                numbers(draw, o.shape, fill, 2) if i else o
                for i, (o, draw) in enumerate(zip(operands, ("int8", "float32"), strict=False))
            )
            if ufunc.nin == 2:
                for other in (2, -1, 0, 0.5, 3.5, 1e300, float("nan"), 2j, True, 300, 2**70,
                              np.float32(0.5), np.int8(3), np.float64(1e300), np.uint64(2**63),
                              [1], [1, 2], np.array(2), np.array([0.5])):  # fmt: skip
                    for pair in ((x, other), (other, x)):
                        if kept(0.2):
                            yield Case(name, ufunc, pair, {}, fill)
                if kept(0.5):
                    yield Case(name, ufunc, mixed, {}, fill)
                if kept(0.2):
                    yield Case(f"{name}.outer", ufunc.outer, (x[:4], y[:3]), {}, fill)
            for target in OPTIONS["dtype"]:
                if kept(0.1):
                    yield Case(name, ufunc, operands, {"dtype": target}, fill)
            for casting in OPTIONS["casting"]:
                if kept(0.05):
                    yield Case(name, ufunc, operands, {"casting": casting}, fill)
            for target in DTYPES:
                if kept(0.1) and ufunc.nout == 1:
                    out = np.ones(x.shape, target)
                    yield Case(name, _into(ufunc), (*operands, out), {}, fill)
                    masked = {"where": random_mask(x, 0)}
                    yield Case(name, _into(ufunc), (*operands, out), masked, fill)
            if ufunc.nin == 2 and ufunc.nout == 1 and ufunc.signature is None:
                square = np.resize(x, (4, 5))
                for method in ("reduce", "accumulate"):
                    for options in ({}, {"axis": 1}, {"dtype": "float32"}, {"axis": -3}):
                        if kept(0.5):
                            bound = getattr(ufunc, method)
                            yield Case(f"{name}.{method}", bound, (square,), options, fill)
                for options in ({"keepdims": True}, {"axis": None}, {"initial": 2},
                                {"where": random_mask(square, 0)}, {"axis": (0, 1)},
                                {"initial": 1, "where": random_mask(square, 0)}):  # fmt: skip
                    if kept(0.5):
                        yield Case(f"{name}.reduce", ufunc.reduce, (square,), options, fill)


def _operator_cases(kept: Callable[[float], bool], only: str) -> Iterator[Case]:
    import operator as op

    binary = {
        "+": op.add, "-": op.sub, "*": op.mul, "/": op.truediv, "//": op.floordiv, "%": op.mod,
        "**": op.pow, "@": op.matmul, "&": op.and_, "|": op.or_, "^": op.xor, "<<": op.lshift,
        ">>": op.rshift, "==": op.eq, "!=": op.ne, "<": op.lt, "<=": op.le, ">": op.gt,
        ">=": op.ge, "divmod": divmod,
    }  # fmt: skip
    unary = {"neg": op.neg, "pos": op.pos, "abs": abs, "~": op.invert}
    in_place = {
        "+=": op.iadd, "-=": op.isub, "*=": op.imul, "/=": op.itruediv, "//=": op.ifloordiv,
        "%=": op.imod, "**=": op.ipow, "&=": op.iand, "|=": op.ior, "^=": op.ixor,
        "<<=": op.ilshift, ">>=": op.irshift,
    }  # fmt: skip
    others = (2, -1, 0, 0.5, -0.0, 3.5, float("nan"), float("inf"), 1e300, 2j, True, 300, 2**70,
              -(2**63), np.float32(0.5), np.int8(3), np.float64(2), [1, 2, 3])  # fmt: skip
    for dtype, fill in itertools.product(DTYPES, FILLS):
        x, y = numbers(dtype, (18,), fill), numbers(dtype, (18,), "plain", 1)
        for name, function in unary.items():
            if only in f"operator {name}" and kept(1):
                yield Case(f"operator {name}", function, (x,), {}, fill)
        for name, function in binary.items():
            if only not in f"operator {name}":
                continue
            if kept(1):
                yield Case(f"operator {name}", function, (x, y), {}, fill)
            for other in others:
                for pair in ((x, other), (other, x)):
                    if kept(0.2):
                        yield Case(f"operator {name}", function, pair, {}, fill)
                number = isinstance(other, (float, int)) and not isinstance(other, bool)
                if number and (other != other or -(2**63) <= other < 2**63) and kept(0.1):
                    yield Case(f"operator {name}", function, (x, Weak(other)), {}, fill)
            for k in range(3):  # a NumPy scalar with what else there is
                for other in (y, y[1], 0.5, 2, -1):
                    if kept(0.1):
                        scalar = _of_element(function, k)
                        yield Case(f"operator {name}", scalar, (x, other), {}, fill)
        for name, function in in_place.items():
            if only not in f"operator {name}":
                continue
            for other in (y, *others):
                if kept(0.1):
                    copied = _on_a_copy(function)
                    yield Case(f"operator {name}", copied, (x, other), {}, fill)
    for a, b in itertools.product((3, -2, 0, 7.5, -0.0, 1e200, float("inf"), float("nan"), 2j),
                                  repeat=2):  # fmt: skip
        for name, function in (binary | {"divmod": divmod}).items():
            if only in f"Python {name}" and name != "@" and kept(0.5):
                yield Case(f"Python {name}", function, (Weak(a), Weak(b)), {}, "plain")
                yield Case(f"Python {name}", function, (Weak(a), b), {}, "plain")
                yield Case(f"Python {name}", function, (a, Weak(b)), {}, "plain")


def _of_element(function: Callable[..., Any], k: int) -> Callable[..., Any]:
    return _named(function.__name__, lambda x, other: function(x[k], other))
