"""Compares every NumPy function that graphjit traces with undecorated NumPy, option by option.

    python tests/support/numpy_sweep.py                  # the largest sample: 150,000 cases
    python tests/support/numpy_sweep.py --share 0.05     # one of twenty of these
    python tests/support/numpy_sweep.py --seed 1         # another sample
    python tests/support/numpy_sweep.py --only median    # functions whose name holds this

The functions are those of the tables in graphjit.numpy_protocol, of ndarray's methods and
operators; the options those of NumPy's signatures. Arguments and options are made from the
names of the parameters: a name that has no recipe here fails the sweep. Compared are value (to
the bit where all ops are exact, else within a few units in the last place of the result, of its
magnitude if it is complex, and of what is added up, or as near to the same call in longer
numbers as NumPy's; signs of zeros and places of NaN always), dtype, shape, Python type, and the
exception, which is of NumPy's public class or one derived from it. What can't be traced runs as
undecorated NumPy and is counted apart. What differs on purpose stands in ON_PURPOSE. All of it
takes about six minutes of a processor.
"""

from __future__ import annotations

import argparse
import inspect
import itertools
import random
import sys
import time
import warnings
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import graphjit
from graphjit import numpy_protocol
from graphjit.core.errors import TracingError
from graphjit.core.types import TensorType, as_dtype
from graphjit.numpy_protocol import fourier, indexing, methods
from graphjit.numpy_protocol.special import SPECIAL
from graphjit.ops.primitive import Contract, Library, Pointwise, Reduce, Scan
from graphjit.tracing.trace import Trace

Array = np.ndarray[Any, Any]
BOOLS, INTS = ("bool",), ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
FLOATS, COMPLEX = ("float16", "float32", "float64"), ("complex64", "complex128")
BOOL = np.dtype(bool)
DTYPES = (*BOOLS, *INTS, *UNSIGNED, *FLOATS, *COMPLEX)
FEW = ("bool", "int8", "int64", "uint8", "float16", "float32", "float64", "complex128")
SHAPES = ((), (0,), (1,), (5,), (2, 3), (3, 3), (3, 0), (0, 3), (2, 1, 4))
FILLS = ("plain", "nan", "infinite", "zeros", "special")
BUNDLE = 24  # so many cases are compiled at once


# What differs on purpose: (reason, which). A case that differs and is none of these is a fault.
@dataclass(frozen=True)
class Purpose:
    """Why some results differ, and which: functions by name, and a test of the case."""

    reason: str
    names: frozenset[str]
    test: Callable[[Case, Any, Any], bool] = lambda case, actual, expected: True


def numbers(dtype: str, shape: tuple[int, ...], fill: str, seed: int = 0) -> Array:
    """An array of a dtype: small numbers of both signs, with what `fill` says among them."""
    draw = np.random.default_rng(seed + zlib.crc32(f"{dtype}{shape}{fill}".encode()))
    kind, size = np.dtype(dtype).kind, int(np.prod(shape))
    if kind == "b":
        values = draw.integers(0, 2, size).astype(bool)
    elif kind in "iu":
        values = draw.integers(1, 7, size) * (draw.choice([-1, 1], size) if kind == "i" else 1)
        values = values.astype(dtype)
        if fill == "special":
            values = _cycle(_extremes(dtype), size)
        elif fill == "zeros":
            values[:] = 0
    elif kind == "f":
        values = _floats(dtype, size, fill, draw)
    else:
        part = "float32" if dtype == "complex64" else "float64"
        values = np.empty(size, dtype)
        values.real = _floats(part, size, fill, draw)
        values.imag = _floats(part, size, "plain" if fill == "nan" else fill, draw)
        if fill == "special":
            values.imag = np.roll(values.imag, 3)
    return values.reshape(shape)


def _extremes(dtype: str) -> Array:
    info = np.iinfo(dtype)
    signed = [-1, -2] if info.min < 0 else []
    return np.array([0, 1, 2, info.max, info.min, info.max - 1, 3, *signed], dtype)


def _cycle(values: Array, size: int) -> Array:
    return np.resize(values, size) if size else values[:0]


def _floats(dtype: str, size: int, fill: str, draw: Any) -> Array:
    values = ((draw.permutation(size) + 0.5) / (size + 1) * 4 - 2).astype(dtype)
    if fill == "zeros":
        values[:] = -0.0
    elif fill == "nan":
        values[size // 2 :: 4] = np.nan
    elif fill == "infinite":
        values[size // 2 :: 4] = np.inf
        values[size // 3 :: 5] = -np.inf
    elif fill == "special":
        info = np.finfo(dtype)
        values = [-0.0, np.nan, 1.0, np.inf, 0.0, -np.inf, info.max, info.smallest_subnormal]
        values += [info.min, -1.0, 0.5, info.smallest_normal, -info.smallest_subnormal, 2.5]
        values = _cycle(np.array(values, dtype), size)
    return np.asarray(values, dtype)


# Options by the name of NumPy's parameter: what may be given for an array of this many axes.
AXES = (None, 0, -1, 1, (0,), (0, 1), (), [0], 7, -8, (0, 0), np.int64(0), True)
OPTIONS: dict[str, Sequence[Any]] = {
    "axis": AXES, "axes": (None, 0, 1, 2, (0,), (1, 0), (0, 1), ([0], [0]), ([1], [0]), [1,
    0], 9),
    "axis1": (0, 1, -1, 5), "axis2": (1, 0, -1, 5), "axisa": (0, -1), "axisb": (0, -1),
    "axisc": (0, -1), "keepdims": (True, False, np.True_, 1, 0),
    "dtype": (*DTYPES, float, int, bool, complex, np.dtype("f4"), "f8", ">f8", "U3", None),
    "initial": (0, 1, -1, 2.5, -0.0, 300, float("nan"), np.float32(2), np.int64(3), [3], 1j,
    True,
                None, 2**70),
    "ddof": (1, 0, 2, 0.5, 9, -1, np.int64(1), np.float32(1)), "correction": (1, 0, 2.5),
    "include_initial": (True, False), "returned": (True, False), "overwrite_input": (True,),
    "method": ("lower", "higher", "nearest", "midpoint", "linear", "hazen", "weibull"),
    "rowvar": (False, True), "bias": (True,), "kind": ("quicksort", "stable", "heapsort",
    "mergesort", "sort", "table", "bogus"), "order": ("C", "F", "A", "K", "bogus", None),
    "stable": (True, False), "side": ("left", "right", "bogus"), "right": (True, False),
    "density": (True,), "range": ((-1.0, 1.0), (0, 3)), "k": (0, 1, -1, 2, -9, np.int64(1), 9),
    "casting": ("same_kind", "safe", "unsafe", "no", "equiv", "bogus"),
    "mode": ("full", "same", "valid", "reduced", "complete", "r", "raw", "raise", "wrap",
    "clip",
             "constant", "edge", "reflect", "symmetric", "linear_ramp", "mean", "empty",
             "bogus"),
    "subok": (True, False), "shape": ((2,), 3, (), (2, 2), [3], (0,), (-1,), np.int64(2)),
    "device": ("cpu", "gpu"), "copy": (True, False, None), "ndmin": (0, 1, 3), "ndmax": (1, 3),
    "sparse": (True, False), "indexing": ("xy", "ij", "bogus"), "num": (5, 1, 0, 2, -1),
    "endpoint": (True, False), "retstep": (True, False), "base": (2.0, 10, 1, 0.5),
    "default": (7, 2.5, float("nan"), -1), "deg": (True, False), "period": (6.0, 3, 360),
    "decimals": (0, 1, 2, -1, 3, np.int64(1), 20, -20, 400), "nan": (7.0, 1),
    "posinf": (9.0, 5),
    "neginf": (-9.0, -5), "rtol": (1e-3, 0, 1), "atol": (1e-3, 0), "equal_nan": (True, False),
    "assume_unique": (True, False), "invert": (True, False), "discont": (1.0, 4.0),
    "n": (0, 1, 2, 3, -1, 4, np.int64(1), 7), "prepend": (0, 1.5, [1, 2]),
    "append": (0, 2, [3]),
    "to_end": (9, [1, 2]), "to_begin": (9, [1, 2]), "edge_order": (1, 2, 3), "N": (0, 1, 2, 4),
    "increasing": (True, False), "dx": (2.0, 1, 0.5), "offset": (0, 1, -1, 9),
    "optimize": (True, False, "greedy"), "upper": (True, False), "full_matrices": (True, False),
    "compute_uv": (True, False), "hermitian": (True,), "UPLO": ("L", "U", "l", "x"),
    "tol": (100, 1e-3), "rcond": (1e-3, 1e-15, [1e-3]), "p": (None, 1, 2, -2, np.inf, "fro"),
    "ord": (None, 0, 1, 2, 3, -1, -2, 2.5, 0.5, np.inf, -np.inf, "fro", "nuc", "bogus"),
    "wrap": (True, False), "norm": ("ortho", "forward", "backward", None, "bogus"),
    "s": ((2, 2), (4,)), "start": (0, 1, 2, -1, 9), "left": (-7.0, 1),
    "bins": (3, [-1.0, 0, 2]),
    "a_min": (-1, 0, 0.5, None, 300, -300, float("nan"), 2**70),
    "a_max": (1, 0, 0.5, None, 300, float("nan"), -(2**70)),
    "min": (0, -1.5), "max": (1, 0.5), "mean": (), "fweights": ([1, 2, 1],),
    "aweights": ([1.0, 2.0, 0.5],), "sorter": ([0, 1, 2, 3, 4],), "like": (),
    "newshape": (), "strides": (), "stream": (None,), "type": (), "api_version": (None,),
    "max_rows": (), "memo": (None,), "signature": (), "strict": (True,), "kwargs": (),
    "subscripts": (), "constant_values": (0, 2, 1.5, float("nan")), "reflect_type": ("even",
    "odd"),
}  # fmt: skip
# Made from the array at hand: what a name stands for as a required parameter.
MAIN = {
    "a", "x", "m", "v", "arr", "ary", "A", "array", "prototype", "z", "element", "p", "f", "y",
    "val", "x1", "a1", "object", "from_", "M",
}  # fmt: skip
OTHER = {"b", "x2", "a2", "test_elements", "w"}
REQUIRED: dict[str, Sequence[Any]] = {
    "q": (0.5, 0, 1, 0.25, [0.1, 0.9], [0.5], np.float32(0.3), 1.5, (0.2,), [[0.5]]),
    "reps": (2, (2, 1), 0, [1, 2], (1, 2, 2), -1), "repeats": (2, 0, [1, 2, 3, 0, 1], [2], -1),
    "shift": (1, -1, 0, 7, (1, 1), -20), "pad_width": (1, (1, 2), 0, ((0, 1),), -1, [2], 4),
    "obj": (0, -1, 1, [0, 1], slice(0, 2), 99, [], [True] * 5),
    "new_shape": ((7,), 3, (2, 4), 0),
    "fill_value": (3, -1, 2.5, float("nan"), True, 300, 1j, 2**70, -0.0, np.float32(1.5)),
    "shape": ((6,), (3, 2), -1, (-1, 1), (1, 2, 3), 0, (2, 3), (4, 2, 3), [5], (2, -1)),
    "to": ("float32", "int8", "complex64"), "n": (0, 1, 2, 3, -1, 5),
    "source": (0, 1, (0, 1), -1, 9), "destination": (1, 0, (1, 0), -1),
    "axis": (0, 1, -1, (0, 1), 9), "axis1": (0, 1, -1, 5), "axis2": (1, 0, -1, 5),
    "indices_or_sections": (1, 2, 3, 5, [1, 2], [0], (2, 9), 0, [-1]),
    "dtype": OPTIONS["dtype"], "device": ("cpu", "gpu"),
    "value": (3, -1.5, 300, [1], float("nan")),
}  # fmt: skip


@dataclass
class Case:
    """One call: the arrays among its arguments and options are traced, all else is static."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    fill: str
    leaves: list[Any] = field(default_factory=list)
    rules: tuple[str, ...] = ()
    exact: bool = False
    length: int = 1
    steps: int = 1
    eps: float = 0.0

    def __post_init__(self) -> None:
        self.arguments = self._lift(self.arguments)
        self.options = self._lift(self.options)

    def _lift(self, value: Any) -> Any:
        if isinstance(value, Weak) or (isinstance(value, np.ndarray) and value.dtype != object):
            self.leaves.append(value.value if isinstance(value, Weak) else value)
            return Slot(len(self.leaves) - 1)
        if type(value) in (list, tuple):
            return type(value)(self._lift(v) for v in value)
        if type(value) is dict:
            return {k: self._lift(v) for k, v in value.items()}
        return value

    def call(self, leaves: Sequence[Any]) -> Any:
        """The result for these leaves."""
        return self.function(*_filled(self.arguments, leaves), **_filled(self.options, leaves))

    def __str__(self) -> str:
        def text(value: Any) -> str:
            if isinstance(value, Slot):
                leaf = self.leaves[value.number]
                if not isinstance(leaf, np.ndarray):
                    return f"<{leaf!r}>"
                return f"{leaf.dtype}{list(leaf.shape)}"
            if type(value) in (list, tuple):
                return "[" + ", ".join(map(text, value)) + "]"
            return repr(value)

        parts = [text(a) for a in self.arguments]
        parts += [f"{k}={text(v)}" for k, v in self.options.items()]
        return f"{self.name}({', '.join(parts)}) of {self.fill}"


@dataclass(frozen=True)
class Slot:
    """The place of a traced leaf."""

    number: int


@dataclass(frozen=True)
class Weak:
    """A Python number that is traced, not static."""

    value: Any


def _filled(value: Any, leaves: Sequence[Any]) -> Any:
    if isinstance(value, Slot):
        return leaves[value.number]
    if type(value) in (list, tuple):
        return type(value)(_filled(v, leaves) for v in value)
    if type(value) is dict:
        return {k: _filled(v, leaves) for k, v in value.items()}
    return value


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
    "np.putmask", "np.fill_diagonal", "np.compress", "np.full", "np.zeros", "np.ones",
    "np.empty",
    "np.atleast_1d", "np.atleast_2d", "np.atleast_3d", "np.cross", "np.linalg.cross",
    "ndarray.take", "np.block", "np.linalg.multi_dot", "np.can_cast", "ndarray.transpose",
}  # fmt: skip
# What depends on memory that nobody has written to.
UNDEFINED = {"np.empty", "np.empty_like", "np.resize"}
MANY = {"arrays", "tup"}


def _values(name: str, place: int, x: Array, y: Array) -> Sequence[Any] | None:
    """What a required parameter may be, the plainest first; None if there is no recipe."""
    if name in MANY:
        return ([x, y], (x, x), [x], [x, [1, 2, 3]], [])
    if place == 0 and name in MAIN:
        return (x,)
    if name in REQUIRED:
        return REQUIRED[name]
    if name in OTHER or name in MAIN or name in ("values", "bins"):
        return (y, 2, -1.5, [1, 2, 3])
    if name == "indices":
        return (np.array([0, -1]), [0, 1], 0, np.array(1))
    if name == "indices_or_sections":
        return REQUIRED[name]
    return None


def _variants(
    parameters: list[inspect.Parameter], x: Array, y: Array, out: Callable[[], Any]
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Arguments and options: the plainest, each other value of each, and some pairs."""
    plain: list[Any] = []
    others: list[tuple[int, Any]] = []
    options: dict[str, list[Any]] = {}
    for place, p in enumerate(parameters):
        if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL):
            continue
        if p.default is p.empty:
            values = _values(p.name, place, x, y)
            if values is None:
                raise LookupError(f"no recipe for the parameter {p.name}")
            if p.kind is p.KEYWORD_ONLY:
                raise LookupError(f"a required option {p.name}")
            plain.append(values[0])
            others += [(place, v) for v in values[1:]]
            continue
        if p.name == "out":
            continue
        if p.name == "where":
            options["where"] = [_mask(x, 0), _mask(x, 1), True, False, [True, False, True]]
        elif p.name == "weights":
            options["weights"] = [y, np.abs(y), [1, 2, 3], np.zeros_like(x)]
        elif p.name in ("y", "x"):
            options[p.name] = [y, x]
        elif p.name not in OPTIONS:
            raise LookupError(f"no recipe for the option {p.name}")
        else:
            options[p.name] = list(OPTIONS[p.name])
    yield tuple(plain), {}
    for place, value in others:
        yield (*plain[:place], value, *plain[place + 1 :]), {}
    for name, values in options.items():
        for value in values:
            yield tuple(plain), {name: value}
    for (name, values), (second, more) in itertools.combinations(options.items(), 2):
        for value, other in zip(values[:4], more[:4], strict=False):
            yield tuple(plain), {name: value, second: other}
    for place, value in others:
        for name, values in options.items():
            yield (
                (*plain[:place], value, *plain[place + 1 :]),
                {name: values[0] if values else 0},
            )


def _mask(x: Array, seed: int) -> Array:
    shape = x.shape if seed == 0 else x.shape[-1:]
    return np.random.default_rng(seed + x.size).random(shape) < 0.6


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
            for k, (arguments, options) in enumerate(_variants(parameters, x, y, list)):
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
        for key in (*keys, _mask(x, 0), ~_mask(x, 1)):
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
            for mask in (_mask(x, 0), _mask(x, 1), _mask(x, 0)[:, :1], np.array(True), True):
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
                    masked = {"where": _mask(x, 0)}
                    yield Case(name, _into(ufunc), (*operands, out), masked, fill)
            if ufunc.nin == 2 and ufunc.nout == 1 and ufunc.signature is None:
                square = np.resize(x, (4, 5))
                for method in ("reduce", "accumulate"):
                    for options in ({}, {"axis": 1}, {"dtype": "float32"}, {"axis": -3}):
                        if kept(0.5):
                            bound = getattr(ufunc, method)
                            yield Case(f"{name}.{method}", bound, (square,), options, fill)
                for options in ({"keepdims": True}, {"axis": None}, {"initial": 2},
                                {"where": _mask(square, 0)}, {"axis": (0, 1)},
                                {"initial": 1, "where": _mask(square, 0)}):  # fmt: skip
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


class Raised:
    """An exception, by the classes that it is: built-in ones and NumPy's public ones."""

    def __init__(self, error: BaseException) -> None:
        self.kinds = tuple(k for k in type(error).__mro__ if _is_public(k))
        self.text = str(error).split("\n")[0]

    def __repr__(self) -> str:
        return f"{self.kinds[0].__name__}: {self.text[:90]}"


def _is_public(kind: type) -> bool:
    """Whether code may name this class of exceptions: NumPy has some of its own use."""
    homes = (np.exceptions, np.linalg)
    known = kind.__module__ == "builtins" and kind is not object
    return known or any(getattr(home, kind.__name__, None) is kind for home in homes)


def _copies(leaves: Sequence[Any]) -> list[Any]:
    return [x.copy() if isinstance(x, np.ndarray) else x for x in leaves]


def outcome(function: Callable[..., Any], leaves: Sequence[Any]) -> Any:
    """What a call gives or raises, silently."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return function(leaves)
        except TracingError:
            raise
        except Exception as error:
            return Raised(error)


def traced(case: Case) -> bool:
    """Whether a case can be traced; how exact its ops are is noted in it."""
    trace = Trace("case")
    with trace.active():
        symbols = []
        for number, leaf in enumerate(case.leaves):
            weak = not isinstance(leaf, np.ndarray)
            known = np.asarray(leaf)
            kind = TensorType(known.shape, as_dtype(known.dtype))
            name = f"a{number}"
            symbols.append(trace.parameter(kind, name, "weak" if weak else "numpy", "argument"))
        try:
            result = outcome(case.call, symbols)
        except TracingError:
            return False
    if trace.refusal is not None:
        return False
    if type(result) is Raised:
        return True
    inexact = 0
    for node in trace.builder.nodes:
        kind, primitive = node.primitive.kind, node.primitive
        if isinstance(kind, (Reduce, Scan, Contract)):
            sizes = [trace.builder.nodes[i].tensor.size for i in node.inputs]
            case.length = max(case.length, *sizes, 2)
        if isinstance(kind, Library) and node.primitive.name not in (
            "sort", "argsort", "searchsorted",
        ):  # fmt: skip
            case.length = max(case.length, 16)
        rounds = not primitive.exact or (
            primitive.name in ("mul", "div") and (node.tensor.dtype.is_complex)
        )
        if isinstance(kind, Pointwise) and rounds:
            inexact += 1
        if rounds and isinstance(node.type, TensorType) and node.tensor.dtype.is_inexact:
            case.eps = max(case.eps, _precision(node.tensor.dtype.dtype))
    names = {n.primitive.name for n in trace.builder.nodes}
    exact_reductions = {"max", "min", "argmax", "argmin", "any", "all", "cummax", "cummin"}
    reductions = {
        n.primitive.name for n in trace.builder.nodes
        if isinstance(n.primitive.kind, (Reduce, Scan, Contract))
    }  # fmt: skip
    case.rules = tuple(sorted(names))
    if reductions <= exact_reductions and case.length != 16:
        case.length = 1
    case.steps = max(inexact, 1)
    case.exact = not inexact and case.length == 1
    return True


def difference(case: Case, actual: Any, expected: Any) -> str:
    """How two outcomes differ; empty where they don't."""
    found = _difference(case, actual, expected, None, 0.0)
    if not found or case.exact or isinstance(expected, Raised) or isinstance(actual, Raised):
        return found
    sums, largest = _scale(case) if case.length > 1 else (None, 0.0)
    return _difference(case, actual, expected, _wider(case), sums, largest)


def _difference(
    case: Case, actual: Any, expected: Any, wide: Any, scale: Any, largest: float = 0.0
) -> str:
    if isinstance(expected, Raised) or isinstance(actual, Raised):
        if not isinstance(expected, Raised):
            return f"raises {actual}, not {_short(expected)}"
        if not isinstance(actual, Raised):
            return f"gives {_short(actual)}, should raise {expected}"
        if expected.kinds[0] not in actual.kinds:
            return f"raises {actual}, not {expected}"
        return ""
    if type(actual) is not type(expected):
        return f"is a {type(actual).__name__}, not a {type(expected).__name__}"
    if isinstance(expected, (list, tuple)):
        if len(actual) != len(expected):
            return f"has {len(actual)} items, not {len(expected)}"
        parts = zip(
            actual, expected, _items_of(wide, expected), _items_of(scale, expected), strict=True
        )
        found = [_difference(case, a, e, w, s, largest) for a, e, w, s in parts]
        return next((f for f in found if f), "")
    if not isinstance(expected, (np.ndarray, np.generic, float, complex, int)):
        return "" if actual == expected else f"{actual!r}, not {expected!r}"
    a, e = np.asarray(actual), np.asarray(expected)
    if a.shape != e.shape:
        return f"shape is {a.shape}, not {e.shape}"
    if a.dtype != e.dtype:
        return f"dtype is {a.dtype}, not {e.dtype}"
    if e.dtype.kind not in "fc" and e.dtype.name != "bfloat16":
        wide = scale = None
    wide = np.asarray(wide) if wide is not None and np.shape(wide) == e.shape else None
    fits = isinstance(scale, (np.ndarray, np.generic)) and np.shape(scale) == e.shape
    scale = np.abs(np.asarray(scale)) if fits else largest
    if e.dtype.name == "bfloat16":
        a, e, wide = (None if v is None else v.astype("f4") for v in (a, e, wide))
    good = _agree(
        case, a, e, wide, np.maximum(scale, largest) if case.name in _DEVIATE else scale
    )
    if good.all():
        return ""
    where = tuple(int(i) for i in np.argwhere(~good)[0])
    inputs = [x[where] for x in case.leaves if isinstance(x, np.ndarray) and x.shape == a.shape]
    return f"{(~good).sum()} of {a.size}: {a[where]!r}, not {e[where]!r}, of {inputs}"


def _agree(case: Case, a: Array, e: Array, wide: Any, scale: Any) -> Array:
    """Where results are equal, or as near to the exact ones as NumPy's: wide, the same call in
    wider numbers. scale: what was added up, without signs.
    """
    if e.dtype.kind not in "fc":
        return np.asarray(a == e)
    if e.dtype.kind == "c":
        parts = [_same(a.real, e.real), _same(a.imag, e.imag)]
        same = np.asarray(parts[0] & parts[1])
    else:
        same = _same(a, e)
    if case.exact:
        return same
    form = np.clongdouble if e.dtype.kind == "c" else np.longdouble
    with np.errstate(all="ignore"):
        finite = np.isfinite(a) & np.isfinite(e)
        wide_a, wide_e = a.astype(form), e.astype(form)
        size = np.abs(wide_e)
        near = np.abs(wide_a - wide_e) <= _allowed(case, size, e.real.dtype, scale)
        if wide is not None:
            wide = wide.astype(form)
            error, numpys = np.abs(wide_a - wide), np.abs(wide_e - wide)
            near |= np.isfinite(wide) & (error <= numpys)
        if e.dtype.kind == "c":  # each part may be zero
            return np.asarray(same | (finite & near))
        zeros = (a == 0) & (e == 0) & (np.signbit(a) != np.signbit(e))
    return np.asarray(same | (finite & near & ~zeros))


# Sums of differences: those of the numbers' sizes are none.
_DEVIATE = frozenset(
    f"{home}.{name}"
    for home in ("np", "ndarray")
    for name in ("var", "std", "nanvar", "nanstd")
) | {"np.cov", "np.corrcoef"}


def _precision(dtype: Any) -> float:
    """The distance from 1 to the next larger number."""
    return 2.0**-7 if dtype.name == "bfloat16" else float(np.finfo(dtype).eps)


def _items_of(value: Any, expected: Any) -> Sequence[Any]:
    """The parts that belong to those of what is expected; None for each if there are none."""
    fits = isinstance(value, (list, tuple)) and len(value) == len(expected)
    return value if fits else [None] * len(expected)


def _same(a: Array, e: Array) -> Array:
    return np.asarray(((a == e) & (np.signbit(a) == np.signbit(e))) | ((a != a) & (e != e)))


def _allowed(case: Case, size: Array, dtype: Any, scale: Any) -> Any:
    """How far two results may lie apart: a few units in the last place of the result and, where
    much is added up, of what is added up.
    """
    info = np.finfo(dtype)
    eps, least = max(float(info.eps), case.eps), float(info.smallest_subnormal)
    if case.name.startswith("np.logaddexp"):  # a difference of its operands
        size = size + 8.0
    if "pow" in case.rules and any(
        getattr(x, "dtype", np.dtype(int)).kind == "c" for x in case.leaves
    ):  # its error grows with |w ln z|
        size = size * 16.0
    if case.name.startswith("special."):  # SciPy's own errors: no wider one is there
        x = case.leaves[-1]
        steep = case.name in ("special.erfc", "special.ndtr") and np.shape(x) == np.shape(size)
        with np.errstate(all="ignore"):
            size = size * (1.0 + np.square(x, dtype="f8")) if steep else size
        size = size * 16.0 + float(case.name == "special.gammaln")  # which has zeros
        least = float(info.smallest_normal) / eps  # SciPy's erfc ends there
    bound = 2 * case.steps * np.maximum(size * eps, least)
    if case.length > 1:
        scale = np.where(np.isfinite(scale), scale, 0.0)
        bound = bound + (2 + np.log2(case.length)) * eps * np.maximum(scale, size)
    return bound


_WIDER = {
    "float16": "f8",
    "float32": "f8",
    "complex64": "c16",
    "float64": "g",
    "complex128": "G",
}


def _wider(case: Case) -> Any:
    """The results of a call in wider numbers; None where NumPy has none for it."""
    leaves = [
        x.astype(_WIDER.get(x.dtype.name, x.dtype)) if isinstance(x, np.ndarray) else x
        for x in _copies(case.leaves)
    ]
    result = outcome(case.call, leaves)
    return None if isinstance(result, Raised) else result


def _scale(case: Case) -> tuple[Any, float]:
    """The results of a call on the sizes of all numbers, which bounds what is added up, and
    the largest of these sizes.
    """
    sizes = [
        np.abs(x.astype(np.clongdouble)) if getattr(x, "dtype", BOOL) != BOOL else x
        for x in _copies(case.leaves)
    ]
    wide = [x for x in sizes if getattr(x, "dtype", BOOL) != BOOL]
    largest = max([1.0, *(float(x[np.isfinite(x)].max(initial=0)) for x in wide)])
    return outcome(case.call, sizes), largest


def _short(value: Any) -> str:
    return " ".join(repr(value).split())[:100]


@dataclass
class Report:
    """What a sweep has found."""

    compared: int = 0
    eager: int = 0
    raised: int = 0
    on_purpose: Counter[str] = field(default_factory=Counter)
    names: Counter[str] = field(default_factory=Counter)
    never: Counter[str] = field(default_factory=Counter)
    options: set[tuple[str, str]] = field(default_factory=set)
    differences: list[tuple[Case, str]] = field(default_factory=list)


def purpose_of(case: Case, found: str, actual: Any, expected: Any) -> str:
    """The reason for a difference that is on purpose; empty where it is a fault."""
    for purpose in ON_PURPOSE:
        if (not purpose.names or case.name in purpose.names) and purpose.test(
            case, actual, expected
        ):
            return purpose.reason
    return ""


def _has_complex_extremes(case: Case, actual: Any, expected: Any) -> bool:
    """Whether complex numbers that aren't finite, or nearly, were computed with."""
    arrays = [np.asarray(x) for x in (*case.leaves, actual, expected) if not _is_tree(x)]
    arrays += [
        np.asarray(y) for x in (actual, expected) if _is_tree(x) for y in x if y is not None
    ]
    numeric = [a for a in arrays if a.dtype.kind in "fciu"]
    return any(a.dtype.kind == "c" for a in numeric) and any(
        bool((~np.isfinite(a)).any()) or bool((np.abs(a) > 1e18).any())
        or bool((np.abs(a[a != 0]) < 1e-18).any()) or bool((a == 0).any())
        for a in numeric
    )  # fmt: skip


def _is_tree(value: Any) -> bool:
    return isinstance(value, (list, tuple, Raised))


def _zeros_only(case: Case, actual: Any, expected: Any) -> bool:
    """Whether results are equal but for the signs of zeros."""
    if isinstance(actual, (list, tuple)) and isinstance(expected, (list, tuple)):
        return all(_zeros_only(case, a, e) for a, e in zip(actual, expected, strict=True))
    if _is_tree(actual) or _is_tree(expected):
        return False
    return bool(np.array_equal(actual, expected, equal_nan=True))


def _both_raise(case: Case, actual: Any, expected: Any) -> bool:
    return isinstance(actual, Raised) and isinstance(expected, Raised)


def _other_fault(case: Case, actual: Any, expected: Any) -> bool:
    """Whether NumPy raises the error that was raised for a part of what is wrong: without one
    of the options, or with arrays of another dtype, or of another shape.
    """
    if not _both_raise(case, actual, expected):
        return False
    changes: tuple[Callable[[Array], Array], ...] = (
        lambda x: x.real.astype("f8"), lambda x: x.real.astype("i8"), np.ones_like,
        lambda x: np.resize(x, (3, 3)), lambda x: np.resize(x, 3),
        lambda x: np.resize(x.real.astype("f8"), (3, 3)),
    )  # fmt: skip
    less: list[Any] = []
    for options in (
        *({k: v for k, v in case.options.items() if k != name} for name in case.options),
        *(case.options | {name: 0} for name in case.options),
    ):
        less.append(
            lambda given, options=options: case.function(
                *_filled(case.arguments, given), **_filled(options, given)
            )
        )
    for change in changes:
        less.append(
            lambda given, change=change: case.call(
                [change(x) if isinstance(x, np.ndarray) else x for x in given]
            )
        )
    found = (outcome(call, _copies(case.leaves)) for call in less)
    return any(isinstance(x, Raised) and x.kinds[0] in actual.kinds for x in found)


def _differs_in_unsigned(case: Case, actual: Any, expected: Any) -> bool:
    if _is_tree(actual) or _is_tree(expected) or np.asarray(expected).dtype != np.uint32:
        return False
    return any(
        x.dtype.kind in "fc" and bool((~(np.abs(x) < 2**32)).any())
        for x in case.leaves
        if isinstance(x, np.ndarray)
    )


def _transforms(case: Case, actual: Any, expected: Any) -> bool:
    return "fft" in case.rules and case.fill in ("nan", "infinite", "special")


ON_PURPOSE = (
    Purpose(
        "products, powers and functions of complex numbers at infinities, NaN, zeros and "
        "beyond the square root of the range follow C99; NumPy's depend on the processor",
        frozenset(),
        lambda case, a, e: not case.exact and not _both_raise(case, a, e)
        and not isinstance(a, Raised) and not isinstance(e, Raised)
        and type(a) is type(e) and _has_complex_extremes(case, a, e),
    ),
    Purpose(
        "of two zeros minimum and maximum take -0.0 for the smaller; NumPy's choice depends on "
        "the processor and the place in the array",
        frozenset(),
        lambda case, a, e: bool(
            {"minimum", "maximum", "fmin", "fmax", "min", "max", "cummin", "cummax"}
            & set(case.rules)
        ) and _zeros_only(case, a, e),
    ),
    Purpose(
        "where two things are wrong with a call, the error may be the other one's",
        frozenset(),
        _other_fault,
    ),
    Purpose(
        "what NaN and numbers out of range become as uint32 depends in NumPy on the processor "
        "and on the place in the array",
        frozenset(),
        lambda case, a, e: "cast" in case.rules and _differs_in_unsigned(case, a, e),
    ),
    Purpose(
        "comparisons of complex NumPy scalars with NaN in them are those of arrays",
        frozenset({"operator <", "operator <=", "operator >", "operator >="}),
        lambda case, a, e: isinstance(e, np.bool_) and case.fill in ("nan", "special"),
    ),
    Purpose(
        "sums and products are made in another order than NumPy's, those of narrow floats in "
        "float32: where partial ones overflow, infinity or NaN may come of it",
        frozenset(),
        lambda case, a, e: case.length > 1 and case.fill == "special"
        and not _is_tree(a) and not _is_tree(e) and type(a) is type(e),
    ),
    Purpose(
        "decompositions of matrices with infinities or NaN raise LinAlgError where NumPy's "
        "routine for singular values alone gives NaN",
        frozenset({"np.linalg.svdvals", "np.linalg.matrix_rank", "np.linalg.cond",
                   "np.linalg.norm", "np.linalg.matrix_norm", "np.linalg.svd"}),
        lambda case, a, e: isinstance(a, Raised) and case.fill in ("nan", "infinite",
        "special"),
    ),
    Purpose(
        "SciPy's gammaln of subnormal numbers is infinite; here it isn't",
        frozenset({"special.gammaln"}),
        lambda case, a, e: case.fill == "special",
    ),
    Purpose(
        "bfloat16 numbers are sorted with NaN last, as all floats; ml_dtypes leaves them in "
        "disorder",
        frozenset({"bfloat16 sort", "bfloat16 median"}),
        lambda case, a, e: case.fill in ("nan", "special"),
    ),
    Purpose(
        "transforms of infinities and NaN give NaN in other places",
        frozenset(),
        _transforms,
    ),
)  # fmt: skip


def sweep(found: Iterator[Case], progress: bool = False) -> Report:
    """Compare these cases."""
    report = Report()
    bundle: list[tuple[Case, Any]] = []
    started = time.monotonic()
    for number, case in enumerate(found):
        if progress and number % 2000 == 1999:
            print(f"{number + 1} cases, {time.monotonic() - started:.0f} s", file=sys.stderr)
        expected = outcome(case.call, _copies(case.leaves))  # some functions write into them
        if not traced(case):
            report.eager += 1
            report.never[case.name] += 1
            continue
        report.names[case.name] += 1
        report.options.update((case.name, option) for option in case.options)
        report.compared += 1
        bundle.append((case, expected))
        if len(bundle) == BUNDLE:
            _compare(bundle, report)
            bundle = []
    _compare(bundle, report)
    return report


def _compare(bundle: list[tuple[Case, Any]], report: Report) -> None:
    plain = [item for item in bundle if not isinstance(item[1], Raised)]
    for case, expected in bundle:
        if isinstance(expected, Raised):
            report.raised += 1
            _judge(case, _alone(case), expected, report)
    if not plain:
        return
    bounds = list(itertools.accumulate((len(c.leaves) for c, _ in plain), initial=0))

    def together(*leaves: Any) -> Any:
        return [
            c.call(leaves[a:b])
            for (c, _), (a, b) in zip(plain, itertools.pairwise(bounds), strict=True)
        ]

    leaves = _copies([leaf for c, _ in plain for leaf in c.leaves])
    compiled = graphjit.function(together, fallback="error")
    try:
        results = outcome(lambda given: compiled(*given), leaves)
    except TracingError:
        results = None
    if isinstance(results, list):
        for (case, expected), actual in zip(plain, results, strict=True):
            _judge(case, actual, expected, report)
        return
    for case, expected in plain:
        _judge(case, _alone(case), expected, report)


def _alone(case: Case) -> Any:
    compiled = graphjit.function(lambda *given: case.call(given), fallback="error")
    try:
        return outcome(lambda given: compiled(*given), _copies(case.leaves))
    except TracingError:
        return _EAGER


_EAGER = object()


def _judge(case: Case, actual: Any, expected: Any, report: Report) -> None:
    if actual is _EAGER:
        report.compared -= 1
        report.eager += 1
        return
    found = difference(case, actual, expected)
    if not found:
        return
    reason = purpose_of(case, found, actual, expected)
    if reason:
        report.on_purpose[reason] += 1
    else:
        report.differences.append((case, found))


def main() -> None:
    """Run the sweep and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", type=int, default=4, help="differences shown for a function")
    given = parser.parse_args()
    report = sweep(cases(given.share, given.only, given.seed), progress=True)
    by_name: dict[str, list[tuple[Case, str]]] = defaultdict(list)
    for case, found in report.differences:
        by_name[case.name].append((case, found))
    for name, items in sorted(by_name.items(), key=lambda item: -len(item[1])):
        print(f"{name}: {len(items)} of {report.names[name]}")
        for case, found in items[: given.each]:
            print(f"    {case}: {found}")
    print(
        f"{len(report.names)} functions, {len(report.options)} options, {report.compared} "
        f"compared (of which {report.raised} raise), {report.eager} not traced, "
        f"{len(report.differences)} differ, {sum(report.on_purpose.values())} on purpose"
    )
    never = sorted(set(report.never) - set(report.names))
    print("never traced:", ", ".join(never))
    for reason, count in report.on_purpose.items():
        print(f"  {count}: {reason}")


if __name__ == "__main__":
    main()
