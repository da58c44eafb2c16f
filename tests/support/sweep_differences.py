"""What a call of the sweep gives, and how it differs from NumPy's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sweep_arguments import BOOL, Array
from sweep_calls import Case, Raised, copies, outcome

from graphjit.core.errors import TracingError
from graphjit.core.types import TensorType, as_dtype
from graphjit.ops.primitive import Contract, Library, Pointwise, Reduce, Scan
from graphjit.tracing.trace import Trace


def traced(case: Case) -> bool:
    """Whether a case can be traced; how exact its ops are is noted in it."""
    trace = Trace("case")
    trace.branches.enabled = True
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
    wide_dtype = np.clongdouble if e.dtype.kind == "c" else np.longdouble
    with np.errstate(all="ignore"):
        finite = np.isfinite(a) & np.isfinite(e)
        wide_a, wide_e = a.astype(wide_dtype), e.astype(wide_dtype)
        size = np.abs(wide_e)
        near = np.abs(wide_a - wide_e) <= _allowed(case, size, e.real.dtype, scale)
        if wide is not None:
            wide = wide.astype(wide_dtype)
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
        for x in copies(case.leaves)
    ]
    result = outcome(case.call, leaves)
    return None if isinstance(result, Raised) else result


def _scale(case: Case) -> tuple[Any, float]:
    """The results of a call on the sizes of all numbers, which bounds what is added up, and
    the largest of these sizes.
    """
    sizes = [
        np.abs(x.astype(np.clongdouble)) if getattr(x, "dtype", BOOL) != BOOL else x
        for x in copies(case.leaves)
    ]
    wide = [x for x in sizes if getattr(x, "dtype", BOOL) != BOOL]
    largest = max([1.0, *(float(x[np.isfinite(x)].max(initial=0)) for x in wide)])
    return outcome(case.call, sizes), largest


def _short(value: Any) -> str:
    return " ".join(repr(value).split())[:100]
