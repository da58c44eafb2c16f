"""Arguments and options that the sweep over NumPy's functions tries, by parameters' names."""

from __future__ import annotations

import inspect
import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
BOOLS, INTS = ("bool",), ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
FLOATS, COMPLEX = ("float16", "float32", "float64"), ("complex64", "complex128")
BOOL = np.dtype(bool)
DTYPES = (*BOOLS, *INTS, *UNSIGNED, *FLOATS, *COMPLEX)
FEW = ("bool", "int8", "int64", "uint8", "float16", "float32", "float64", "complex128")
SHAPES = ((), (0,), (1,), (5,), (2, 3), (3, 3), (3, 0), (0, 3), (2, 1, 4))
FILLS = ("plain", "nan", "infinite", "zeros", "special")


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
    "return_index": (True, False), "return_inverse": (True, False),
    "return_counts": (True, False, 1), "sorted": (True, False), "minlength": (0, 7, 300),
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
    "val", "x1", "a1", "object", "from_", "M", "ar",
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
    if name == "kth":
        return (0, -1, 1, [0, 1], (1, 0), 7, np.int64(0))
    if name == "indices":
        return (np.array([0, -1]), [0, 1], 0, np.array(1))
    if name == "indices_or_sections":
        return REQUIRED[name]
    return None


def variants(
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
            options["where"] = [
                random_mask(x, 0),
                random_mask(x, 1),
                True,
                False,
                [True, False, True],
            ]
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


def random_mask(x: Array, seed: int) -> Array:
    shape = x.shape if seed == 0 else x.shape[-1:]
    return np.random.default_rng(seed + x.size).random(shape) < 0.6
