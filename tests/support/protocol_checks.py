"""What the tests of NumPy's functions on traced arrays share: arrays, tracing, comparison."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit
from graphjit.core.errors import TracingError
from graphjit.core.types import TensorType, as_dtype
from graphjit.ir.interpreter import run as run_eagerly
from graphjit.tracing.symbolic_tensor import SymbolicTensor
from graphjit.tracing.trace import Trace

Array = np.ndarray[Any, np.dtype[Any]]
FLOATS = ("float16", "float32", "float64")
COMPLEX = ("complex64", "complex128")
INTS = ("int8", "int32", "uint8", "int64")
REAL = ("bool", *INTS, *FLOATS)
ALL = (*REAL, *COMPLEX)
SHAPES = ((), (0,), (1,), (3, 5), (2, 3, 4))
EPSILON = {2: 2e-3, 4: 2e-5, 8: 1e-12}
# What tracing may raise where NumPy raises each of these.
BUILT_INS = (
    ValueError,
    TypeError,
    IndexError,
    OverflowError,
    ZeroDivisionError,
    AttributeError,
)


def array(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Array:
    """Small numbers of both signs, no two alike if floating-point, no zeros but in bools."""
    random = np.random.default_rng(seed + sum(shape))
    size = int(np.prod(shape))
    kind = np.dtype(dtype).kind
    if kind == "b":
        return random.integers(0, 2, size).astype(bool).reshape(shape)
    if kind in "iu":
        numbers = random.integers(1, 7, size)
        signs = random.choice([-1, 1], size) if kind == "i" else 1
        return (numbers * signs).astype(dtype).reshape(shape)
    numbers = (random.permutation(size) + 0.5) / (size + 1) * 4 - 2
    if kind == "c":
        return (numbers + 1j * random.permutation(numbers)).astype(dtype).reshape(shape)
    return numbers.astype(dtype).reshape(shape)


def flatten(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in flatten(item)]
    return [value]


def traced(function: Callable[..., Any], *arrays: Any) -> Any:
    """What the function's graph gives, as a flat list of ndarrays or static values."""
    trace = Trace("f")
    with trace.active():
        symbols = []
        for i, a in enumerate(arrays):
            if isinstance(a, (int, float, complex)) and not isinstance(a, np.generic):
                origin, known = "weak", np.asarray(a)
            else:
                origin, known = "numpy", np.asarray(a)
            symbols.append(
                trace.parameter(
                    TensorType(known.shape, as_dtype(known.dtype)), f"a{i}", origin, "argument"
                )
            )
        leaves = flatten(function(*symbols))
        tensors = [x for x in leaves if isinstance(x, SymbolicTensor)]
        assert not any(isinstance(x, graphjit.Tensor) for x in leaves)
        # as_tensor would make a Python number a tensor of TensorFlow's dtype
        outputs = [SymbolicTensor(trace, x.node, x.type, "numpy") for x in tensors]
        graph = trace.finish(outputs)
    given_ = iter(arrays)
    captured = iter(trace.captures)
    values = []
    for index in graph.params:
        role = graph.nodes[index].attr("role")
        values.append(next(given_) if role == "argument" else next(captured))
    results = iter(run_eagerly(graph, values)[0])
    return [next(results) if isinstance(x, SymbolicTensor) else x for x in leaves]


def compare(found: Any, expected: Any, tolerance: float | None = None) -> None:
    if isinstance(expected, (bool, int, str, np.dtype, type(None))):
        expected_array = np.asarray(expected)
        if not isinstance(found, np.ndarray):
            assert found == expected
            return
        assert found == expected_array
        return
    expected, found = np.asarray(expected), np.asarray(found)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    if expected.dtype.kind in "fc":
        size = expected.dtype.itemsize // (2 if expected.dtype.kind == "c" else 1)
        wide = complex if expected.dtype.kind == "c" else float
        close = EPSILON[size] if tolerance is None else tolerance
        scale = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
        np.testing.assert_allclose(
            found.astype(wide),
            expected.astype(wide),
            rtol=close,
            atol=close * max(1e-30, scale),
        )
    else:
        np.testing.assert_array_equal(found, expected)


def check(
    function: Callable[..., Any],
    *arrays: Any,
    may_refuse: bool = False,
    tolerance: float | None = None,
    jit: bool = False,
) -> None:
    """The traced function agrees with NumPy, or raises as NumPy does (or TracingError)."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        copies = [a.copy() if isinstance(a, np.ndarray) else a for a in arrays]
        try:
            expected = flatten(function(*copies))
        except BUILT_INS as error:
            kinds = tuple(k for k in BUILT_INS if isinstance(error, k))
            with pytest.raises((TracingError, *kinds)):
                traced(function, *arrays)
            return
        try:
            found = traced(function, *arrays)
        except TracingError:
            if may_refuse:
                return
            raise
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            compare(one, other, tolerance)
        compiled = getattr(graphjit, "function", None)
        if jit and compiled is not None:
            result = flatten(compiled(fallback="error")(function)(*arrays))
            for one, other in zip(result, expected, strict=True):
                compare(np.asarray(one), other, tolerance)


def refused(function: Callable[..., Any], *arrays: Any) -> None:
    """Tracing says that it can't."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # np.matrix is on its way out
        with pytest.raises(TracingError):
            traced(function, *arrays)


LOOSE = {"float16": 2e-2, "float32": 1e-4}


def outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """What a call gives, or the built-in exception that it raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*arguments)
    except Exception as error:
        return next(b for b in type(error).__mro__ if b.__module__ == "builtins")


def same_outcome(actual: Any, expected: Any) -> bool:
    """Whether two outcomes agree to the bit, but for which NaN it is."""
    if isinstance(expected, type) or isinstance(actual, type):
        return actual is expected
    a, e = np.asarray(actual), np.asarray(expected)
    if (a.dtype, a.shape, type(actual)) != (e.dtype, e.shape, type(expected)):
        return False
    return bool(np.all((a == e) & (np.signbit(a) == np.signbit(e)) | (a != a) & (e != e)))
