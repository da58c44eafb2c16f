"""Functions of SciPy's modules, which ask no operand what to do.

The hooks of calls bring them here. Transforms that NumPy has, too, are those of `fourier`. For
others the graph has the call itself: what the results are is seen by calling the function with
arrays that stand for the traced ones.
"""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from graphjit.core.dims import is_symbolic
from graphjit.ops import library
from graphjit.tensors.apply import apply, current_trace

from .promotion import array, fallback_on_error, is_symbol, is_weak_symbol, unsupported
from .scipy_distributions import distribution_of
from .scipy_formulas import formula_of

# Functions of scipy.fft that give what those of np.fft of the same name give.
_TRANSFORMS: Final = frozenset({
    "fft", "ifft", "rfft", "irfft", "fft2", "ifft2", "rfft2", "fftn", "ifftn", "rfftn",
    "fftshift", "ifftshift",
})  # fmt: skip
_NORMS: Final = (None, "backward", "ortho", "forward")
_PARAMETERS: Final = ("x", "n", "axis", "norm", "overwrite_x", "workers")
# Options that change arguments, or are arrays for results.
_WRITING: Final = ("overwrite", "out")
# Of how many elements a function is called while it is traced.
_MAX_ELEMENTS: Final = 1_000_000
# Up to so many, two arrays are tried.
_MAX_TRIED_ELEMENTS: Final = 10_000


def _module_and_name(function: Any) -> tuple[str, str] | None:
    name = getattr(function, "__name__", None)
    if not isinstance(name, str):
        return None
    for module, names in library.ROUTINES.items():
        if module == "numpy":  # which asks its operands what to do
            continue
        known = name in names or (module == "scipy.fft" and name in _TRANSFORMS)
        if known and getattr(sys.modules.get(module), name, None) is function:
            return module, name
    return None


def call_scipy(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What a function of SciPy gives for traced arrays; NotImplemented for other functions and
    arguments.
    """
    given = [*args, *kwargs.values()]
    given += [x for part in args if type(part) is tuple for x in part]  # of cho_factor
    if not any(map(is_symbol, given)):
        return NotImplemented
    formula = _written_out(function)
    trace = current_trace.get()
    if formula is not None and not any(is_symbol(x) and x.origin == "tensor" for x in given):
        with fallback_on_error(f"scipy's {function.__name__}"):
            return trace.with_numpy_rules(lambda: formula(*args, **kwargs))
    found = _module_and_name(function)
    if found is None or any(is_symbol(x) and x.origin == "tensor" for x in given):
        return NotImplemented
    module, name = found
    with fallback_on_error(f"{module}.{name}"):
        if name in _TRANSFORMS and module == "scipy.fft":
            return _transformed(name, args, kwargs, trace)
        return trace.with_numpy_rules(lambda: called(module, name, args, kwargs))


def _cho_factor(
    a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> Any:
    """A Cholesky factor in one triangle; the other is the matrix's."""
    if overwrite_a or a.ndim != 2:
        raise unsupported("scipy.linalg.cho_factor with these arguments")
    linalg = sys.modules["scipy.linalg"]
    factor = _call(linalg.cholesky, (a,), {"lower": lower, "check_finite": check_finite})
    mask = np.tri(a.shape[0], dtype=bool)
    return np.where(mask if lower else mask.T, factor, a), lower


def _cho_solve(
    c_and_lower: Any, b: Any, overwrite_b: bool = False, check_finite: bool = True
) -> Any:
    """The solution by a factor of cho_factor."""
    c, lower = c_and_lower
    if overwrite_b or c.ndim != 2:
        raise unsupported("scipy.linalg.cho_solve with these arguments")
    solve = sys.modules["scipy.linalg"].solve_triangular
    options = {"lower": bool(lower), "check_finite": check_finite}
    first, second = (0, 2) if lower else (2, 0)
    y = _call(solve, (c, b), {"trans": first, **options})
    return _call(solve, (c, y), {"trans": second, **options})


def _call(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """A function of SciPy of arrays of which some may be traced."""
    made = call_scipy(function, args, kwargs)
    return function(*args, **kwargs) if made is NotImplemented else made


# Of scipy.linalg, by their names: what is written out in other functions of SciPy.
_FACTORS: Final[dict[str, Callable[..., Any]]] = {
    "cho_factor": _cho_factor,
    "cho_solve": _cho_solve,
}


def _written_out(function: Any) -> Callable[..., Any] | None:
    """What is called in place of a function of SciPy's; None for others."""
    name = str(getattr(function, "__name__", None))
    if getattr(sys.modules.get("scipy.linalg"), name, None) is function:
        return _FACTORS.get(name)
    return formula_of(function) or distribution_of(function)


def _transformed(name: str, args: Any, kwargs: dict[str, Any], trace: Any) -> Any:
    """A transform by NumPy's function, where both take the arguments."""
    function = getattr(np.fft, name)
    if name.endswith("shift"):
        return function(*args, **kwargs)
    options = dict(zip(_PARAMETERS, args, strict=False)) | kwargs
    x, n, axis = options.pop("x"), options.pop("n", None), options.pop("axis", -1)
    norm = options.pop("norm", None)
    if name[-1] in "2n":  # their second and third parameters are `s` and `axes`
        if n is not None or axis != -1 or any(k not in ("axes", "norm") for k in kwargs):
            raise unsupported(f"scipy.fft.{name} with these arguments")
        return function(x, norm=norm, **options)
    if any(options.values()) or norm not in _NORMS or type(axis) is not int:
        raise unsupported(f"scipy.fft.{name} with these arguments")
    if not is_symbol(x) or not -x.ndim <= axis < x.ndim or not (n is None or n > 0):
        raise unsupported(f"scipy.fft.{name} with these arguments")
    if name == "rfft" and x.type.dtype.is_complex:
        raise unsupported("scipy.fft.rfft of complex numbers")
    if x.type.dtype.is_narrow:  # NumPy may give them back
        x = x.astype(np.float32)
    return function(x, n=n, axis=axis, norm=norm)


def called(module: str, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
    """What one of `library.ROUTINES` gives, as a node of the graph that calls it."""
    function = f"{module}.{name}"
    inputs: list[Any] = []

    def part(value: Any) -> Any:
        if is_symbol(value):
            if is_weak_symbol(value) or not value.type.shape:
                raise unsupported(f"{function} of a number")
        elif not isinstance(value, np.ndarray):
            json.dumps(value)  # TypeError for others
            return {"value": value}
        inputs.append(array(value))
        return [len(inputs) - 1]

    for option, value in kwargs.items():
        if option.startswith(_WRITING) and value not in (None, False):
            raise unsupported(f"{function} with {option}=")
    if any(isinstance(x, tuple) for x in (*args, *kwargs.values())):
        kwargs = {k: list(v) if isinstance(v, tuple) else v for k, v in kwargs.items()}
        args = tuple(list(v) if isinstance(v, tuple) else v for v in args)
    arguments = json.dumps([list(map(part, args)), {k: part(v) for k, v in kwargs.items()}])
    if any(is_symbolic(x.type.shape) for x in inputs):
        raise unsupported(f"{function} of an array whose size is known only at the call")
    if sum(x.type.size for x in inputs) > _MAX_ELEMENTS:
        raise unsupported(f"{function} of more than {_MAX_ELEMENTS} elements")
    results, rebuild = _results(function, arguments, inputs)
    found = apply(
        library.routine, *inputs, function=function, arguments=arguments, results=results
    )
    return rebuild(found)


def _even(x: Any) -> Any:
    """An array that most functions take: of matrices the identity, else ones."""
    extents, dtype = x.type.shape, x.type.dtype.dtype
    if len(extents) >= 2 and extents[-1] == extents[-2]:
        return np.broadcast_to(np.eye(extents[-1], dtype=dtype), extents).copy()
    return np.ones(extents, dtype)


def _uneven(x: Any) -> Any:
    """Another, whose elements differ: 1, 1/2, 1/4, ... away from the diagonal of a matrix, and
    from the first element otherwise; of integers 2, 1, 0, ...
    """
    extents, dtype = x.type.shape, x.type.dtype.dtype
    places = np.indices(extents)
    away = places.sum(axis=0)
    if len(extents) >= 2 and extents[-1] == extents[-2]:
        away = abs(places[-1] - places[-2])
    return (np.maximum(2 - away, 0) if dtype.kind in "biu" else 0.5**away).astype(dtype)


def _results(
    function: str, arguments: str, inputs: list[Any]
) -> tuple[Any, Callable[[Any], Any]]:
    """The results' dtypes and extents, and how they are given to the code."""
    found: list[Any] = []
    small = sum(x.type.size for x in inputs) <= _MAX_TRIED_ELEMENTS
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for stand_in in (_even, _uneven):
            if small or not found:
                # the first says what's wrong with the arguments
                with contextlib.suppress(Exception if found else np.linalg.LinAlgError):
                    values = [stand_in(x) for x in inputs]
                    found.append(library.call_routine(function, arguments, values))
    if not found:
        raise unsupported(f"{function}, of which other numbers can't tell the results' shapes,")
    value, *others = found
    if any([*map(np.shape, _parts(x))] != [*map(np.shape, _parts(value))] for x in others):
        raise unsupported(f"{function}, the shapes of whose results depend on numbers,")
    parts = _parts(value)
    if not all(type(p) is np.ndarray or isinstance(p, np.generic) for p in parts):
        raise unsupported(f"{function}, which gives what isn't arrays,")
    if not all(p.dtype.kind in "biufc" for p in parts):
        raise unsupported(f"{function}, which gives other arrays,")

    def rebuild(found: Any) -> Any:
        symbols = found if isinstance(found, tuple) else (found,)
        for symbol, known in zip(symbols, parts, strict=True):
            if type(known) is np.ndarray and not known.shape:
                symbol.mark_as_array()
        return tuple(symbols) if type(value) is tuple else symbols[0]

    return tuple((p.dtype.name, *p.shape) for p in parts), rebuild


def _parts(value: Any) -> tuple[Any, ...]:
    return value if type(value) is tuple else (value,)


__all__ = ["call_scipy", "called"]
