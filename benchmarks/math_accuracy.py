"""Asks how far the elementary functions are from the true values and how long they take.

Prints Markdown tables. Per function and type, the largest error [units in the last place] on
random arguments of all magnitudes, hard cases and NumPy's own validation set, beside the errors
of NumPy (SciPy), JAX and PyTorch on the same arguments, where they are installed:

    python benchmarks/math_accuracy.py                         real functions
    python benchmarks/math_accuracy.py --complex               error of the norm
    python benchmarks/math_accuracy.py --fast                  those of fast_math=True
    python benchmarks/math_accuracy.py --exhaustive exp,log    all 2^32 float32 arguments
    python benchmarks/math_accuracy.py --time                  ns per element, one thread

`--only exp,log` takes some functions, `--count` says how many arguments.

True values of float32 are float64's, which are wrong by 2^-28 units in the last place of
float32 or so: an error shown as 0.500 may be a tie. True values of float64 are the 80-bit long
double's; the worst arguments of each library are then measured against mpmath, and those errors
are shown.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import importlib.util
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import mpmath
import numpy as np
import scipy.special
from math_samples import BINARY, complex_samples, samples

from graphjit.codegen.builder import Builder
from graphjit.codegen.cpu.processor import host
from graphjit.codegen.math import MATH
from graphjit.codegen.math.fast import FAST_MATH
from graphjit.codegen.module import Module
from graphjit.codegen.values import Value
from graphjit.core.types import as_dtype
from graphjit.ops import PRIMITIVES

Array = np.ndarray[Any, Any]
Function = Callable[..., Array]

PARTS = ("_huge", "_hypot", "_root")  # names of what serves other functions end so
REAL = [n for n in MATH if not n.startswith("complex_") and not n.endswith(PARTS)]
LONG = np.finfo(np.longdouble).nmant >= 63
_SPELLING = {p.name: p.names.ufuncs[0] for p in PRIMITIVES.values() if p.names.ufuncs}
_SPELLING["pow"] = "power"


class Compiled:
    """A loop over arrays of one type that applies one function to `width` elements a time.

    table: where the function's rule is. native: as for a Module; the host's if None.
    """

    def __init__(
        self,
        name: str,
        dtype: str,
        width: int,
        table: dict[str, Callable[..., Value]] = MATH,
        native: frozenset[str] | None = None,
    ) -> None:
        self.table = table
        self.native = host().native if native is None else native
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.kind = np.dtype(dtype)
        self.parts = 2 if self.kind.kind == "c" else 1
        self.width = width
        self.count = (
            2 if name.removeprefix("complex_") in (*BINARY, "add", "sub", "mul", "div") else 1
        )
        self.text = self._loop(name)
        triple = llvm.Target.from_default_triple()
        features = llvm.get_host_cpu_features().flatten()
        self.machine = triple.create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features, opt=3
        )
        self.module = llvm.parse_assembly(self.text)
        self.module.verify()
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        passes = llvm.create_pass_builder(self.machine, options)
        passes.getModulePassManager().run(self.module, passes)
        self.engine = llvm.create_mcjit_compiler(self.module, self.machine)
        self.engine.finalize_object()
        pointers = [ctypes.c_void_p] * (self.parts * (self.count + 1))
        prototype = ctypes.CFUNCTYPE(None, *pointers, ctypes.c_int64)
        self.entry = prototype(self.engine.get_function_address("loop"))

    def _loop(self, name: str) -> str:
        dtype = as_dtype(self.kind.name)
        module = Module(self.native)
        b = Builder(module, self.width, self.table)
        element, vector = b.type(dtype.real, False), b.type(dtype.real, True)
        operands = []
        for i in range(self.count):
            parts = []
            for part in range(self.parts):
                place = b.emit(f"getelementptr {element}, ptr %a{i}.{part}, i64 %i")
                parts.append(b.emit(f"load {vector}, ptr {place}, align {dtype.real.size}"))
            imag = parts[1] if self.parts == 2 else None
            operands.append(Value(dtype, parts[0], True, imag))
        rule = name.removeprefix("complex_")
        if self.parts == 2:
            result = b.widen(self.table["complex_" + rule](b, *operands))
        else:
            result = b.widen(b.call_math(rule, *operands))
        for part, text in enumerate((result.ir, result.imag)[: self.parts]):
            place = b.emit(f"getelementptr {element}, ptr %r.{part}, i64 %i")
            b.lines.append(f"  store {vector} {text}, ptr {place}, align {dtype.real.size}")
        names = [f"%a{i}.{part}" for i in range(self.count) for part in range(self.parts)]
        names += [f"%r.{part}" for part in range(self.parts)]
        listed = ", ".join(f"ptr noalias {n}" for n in names)
        lines = [
            *(f"define void @loop({listed}, i64 %n) {{", "entry:", "  br label %body"),
            *("body:", "  %i = phi i64 [ 0, %entry ], [ %next, %latch ]"),
            *(*b.lines, "  br label %latch", "latch:", f"  %next = add i64 %i, {self.width}"),
            "  %more = icmp slt i64 %next, %n",
            *("  br i1 %more, label %body, label %end", "end:", "  ret void", "}"),
        ]
        module.functions.append("\n".join(lines))
        vectors = '"prefer-vector-width"="512" "min-legal-vector-width"="512"'
        text = module.text()
        text = text.replace(") alwaysinline {", f") alwaysinline {vectors} {{")
        return text.replace("i64 %n) {", f"i64 %n) {vectors} {{")

    def split(self, x: Array) -> list[Array]:
        """The real arrays that make up x, padded to whole vectors."""
        padded = np.ones(-(-x.size // self.width) * self.width, self.kind)
        padded[: x.size] = x.ravel()
        if self.parts == 1:
            return [padded]
        return [np.ascontiguousarray(padded.real), np.ascontiguousarray(padded.imag)]

    def __call__(self, *operands: Array) -> Array:
        """The function of the operands, elementwise."""
        inputs = [part for x in operands for part in self.split(np.asarray(x, self.kind))]
        results = [np.empty_like(inputs[0]) for _ in range(self.parts)]
        self.entry(*(a.ctypes.data for a in inputs + results), inputs[0].size)
        size = operands[0].size
        if self.parts == 1:
            return results[0][:size]
        joined = np.empty(size, self.kind)
        joined.real, joined.imag = results[0][:size], results[1][:size]
        return joined


def numpy_function(name: str) -> Function:
    """NumPy's or SciPy's function of our name."""
    special: dict[str, Function] = {
        "softplus": lambda x: np.logaddexp(x, np.zeros_like(x)),
        "rsqrt": lambda x: 1 / np.sqrt(x),
    }
    if name in special:
        return special[name]
    function: Function = (
        getattr(np, _SPELLING[name])
        if name in _SPELLING
        else getattr(scipy.special, PRIMITIVES[name].names.scipy[0])
    )
    return function


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def truth(name: str, *operands: Array) -> Array:
    """The values in a longer type: float64 of float32, long double of float64."""
    single = operands[0].dtype == np.float32
    slow = name in ("erf", "erfc", "tgamma") or not LONG
    # near its zeros SciPy's gammaln is no better than a float32 should be
    if name != "lgamma" and (single or not slow):
        kind = np.float64 if single else np.longdouble
        stable: dict[str, Function] = {"sigmoid": _sigmoid, "softplus": _softplus}
        function = stable.get(name) or numpy_function(name)
        values = [x.astype(kind) for x in operands]
        if single and name == "sigmoid":
            function = _sigmoid
        result: Array = function(*values)
        return result
    return np.array([_exact(name, *row) for row in zip(*operands, strict=True)], np.longdouble)


def _log_gamma(v: Any) -> Any:
    """Ln |Γ(v)|; below 0 by the reflection, for Γ itself may be 0."""
    if v > 0:
        return mpmath.loggamma(v)
    sine = abs(mpmath.sinpi(v))
    return mpmath.log(mpmath.pi / (sine * -v)) - mpmath.loggamma(-v)


def _exact(name: str, *operands: Any) -> np.longdouble:
    x = float(operands[0])
    if name in ("lgamma", "tgamma") and x <= 0 and x == np.floor(x):
        return np.longdouble(numpy_function(name)(x))
    most = np.inf if name == "lgamma" else 1e5
    if not all(np.isfinite(v) and v != 0 and abs(v) < most for v in operands):
        return np.longdouble(numpy_function(name)(*operands))
    with mpmath.workprec(200 if name == "lgamma" else 90):
        functions: dict[str, Callable[..., Any]] = {
            "erf": mpmath.erf,
            "erfc": mpmath.erfc,
            "lgamma": _log_gamma,
            "tgamma": mpmath.gamma,
            "sigmoid": lambda v: 1 / (1 + mpmath.exp(-v)),
            "softplus": lambda v: mpmath.log1p(mpmath.exp(v)),
            "rsqrt": lambda v: 1 / mpmath.sqrt(v),
            "exp2": lambda v: mpmath.power(2, v),
            "log2": lambda v: mpmath.log(v, 2),
            "pow": mpmath.power,
        }
        if name == "cbrt":
            value = mpmath.sign(x) * mpmath.cbrt(abs(x))
        elif name == "log10":
            value = mpmath.log10(x)
        else:
            value = (functions.get(name) or getattr(mpmath, name))(
                *(mpmath.mpf(float(v)) for v in operands)
            )
        if isinstance(value, mpmath.mpc):
            return np.longdouble("nan")
        high = float(value)
        if not np.isfinite(high):
            return np.longdouble(high)
        return np.longdouble(high) + np.longdouble(float(value - high))


def ulp_errors(y: Array, exact: Array) -> Array:
    """|y − exact| in units of the last place of y's type at exact; 0 where both agree.

    A wrong NaN, infinity or sign of zero counts as infinite.
    """
    if y.dtype == np.float32 and exact.dtype == np.float64:
        return _single_errors(y, exact)
    return _errors(y, exact)


def _single_errors(y: Array, exact: Array) -> Array:
    """The same for float32 beside float64, quickly: units are made of exponents' bits."""
    with np.errstate(all="ignore"):
        field = (exact.view(np.int64) >> 52) & 0x7FF
        np.clip(field, 1023 - 126, 1023 + 127, out=field)
        per_unit = ((1023 + 23 + 1023 - field) << 52).view(np.float64)
        error = np.abs(y - exact) * per_unit
        odd = ~np.isfinite(y) | ~np.isfinite(exact) | (exact == 0)
        same = y.view(np.int32) == exact.astype(np.float32).view(np.int32)
        same |= np.isnan(y) & np.isnan(exact)
        error[odd & same] = 0
        odd &= ~same
        if odd.any():
            error[odd] = _errors(y[odd], exact[odd])
        return error


def _errors(y: Array, exact: Array) -> Array:
    kind = y.dtype.type
    info = np.finfo(kind)
    with np.errstate(all="ignore"):
        rounded = exact.astype(kind)
        # Beyond the largest number the last place is that number's.
        bounded = np.minimum(np.abs(exact), info.max).astype(exact.dtype)
        exponent = np.maximum(np.frexp(bounded)[1] - 1, info.minexp)
        unit = np.ldexp(np.ones_like(exact), exponent - info.nmant)
        error = np.abs(y.astype(exact.dtype) - exact) / unit
        # Overflow: infinity stands for the first number beyond the range.
        edge = np.isinf(y) != np.isinf(rounded)
        beyond = exact.dtype.type(2) ** (info.maxexp)
        shown = np.where(np.isinf(y), np.copysign(beyond, y), y).astype(exact.dtype)
        error = np.where(edge, np.abs(shown - exact) / unit, error)
        same = (y == rounded) & (np.signbit(y) == np.signbit(exact))
        same &= np.isinf(y) | (exact == y)
        same |= np.isnan(y) & np.isnan(exact)
        error = np.where(same, 0, error)
        wrong = np.isnan(y) != np.isnan(exact)
        zero = (y == 0) & (exact == 0) & (np.signbit(y) != np.signbit(exact))
        return np.where(wrong | zero | np.isnan(error), np.inf, error).astype(np.float64)


def worst(name: str, y: Array, operands: tuple[Array, ...]) -> tuple[float, tuple[Any, ...]]:
    """The largest error of y [ULP], and where."""
    error = ulp_errors(y, truth(name, *operands))
    i = int(np.argmax(error))
    return float(error[i]), tuple(x[i] for x in operands)


DATA = Path(np.__file__).parent / "_core" / "tests" / "data"


def validation_set(name: str, dtype: str) -> Array:
    """The arguments of NumPy's validation set for a function, if it has one."""
    path = DATA / f"umath-validation-set-{_SPELLING.get(name, name)}.csv"
    if not path.is_file():
        return np.empty(0, dtype)
    with path.open() as stream:
        lines = [line for line in stream if line.strip() and line[0] not in "$#"]
    rows = csv.DictReader(lines, ["type", "input", "output", "ulp"])
    bits = [int(r["input"], 16) for r in rows if r["type"] == f"np.{dtype}"]
    return np.array(bits, "u4" if dtype == "float32" else "u8").view(dtype)


def arguments(name: str, dtype: str, count: int) -> tuple[Array, ...]:
    """What a function is measured on: hard and random arguments, and the validation set."""
    found = samples(name, dtype, count)
    if len(found) > 1:
        return found
    x = np.concatenate([found[0], validation_set(name, dtype)])
    if name == "tgamma":  # from Γ(x) = ∞ on there is nothing to measure
        x = x[np.abs(x) < (171 if dtype == "float64" else 35)]
    return (x,)


def _finite(value: Any) -> bool:
    return bool(np.isfinite(value))


def confirmed(name: str, y: Array, operands: tuple[Array, ...], most: int = 24) -> float:
    """The largest error of y [ULP]: float64's worst candidates are measured with mpmath."""
    error = ulp_errors(y, truth(name, *operands))
    if y.dtype == np.float32 or not np.isfinite(error).all():
        return float(error.max())
    found = 0.0
    for i in np.argsort(error)[-most:]:
        exact = np.array([_exact(name, *(x[i] for x in operands))], np.longdouble)
        found = max(found, float(ulp_errors(y[i : i + 1], exact)[0]))
    return found


def element_ns(call: Callable[[], Any], elements: int) -> float:
    """Time of a call per element [ns]: the best of several runs."""
    call()
    best = float("inf")
    for _ in range(40):
        start = time.perf_counter_ns()
        for _ in range(3):
            call()
        best = min(best, (time.perf_counter_ns() - start) / 3)
    return best / elements


def _jax() -> dict[str, Function]:
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    import jax

    jax.config.update("jax_enable_x64", True)
    special = {
        "erf": jax.lax.erf, "erfc": jax.lax.erfc, "rsqrt": jax.lax.rsqrt,
        "lgamma": jax.lax.lgamma, "sigmoid": jax.nn.sigmoid, "softplus": jax.nn.softplus,
        "tgamma": jax.scipy.special.gamma,
    }  # fmt: skip

    def made(name: str) -> Function:
        numpy = getattr(jax.numpy, _SPELLING.get(name, name), None)
        call: Function = jax.jit(special.get(name) or numpy)
        return call

    return {name: made(name) for name in REAL}


def _torch() -> dict[str, Function]:
    import torch

    torch.set_num_threads(1)
    special = {
        "sigmoid": torch.sigmoid, "softplus": torch.nn.functional.softplus,
        "tgamma": None, "cbrt": None,
    }  # fmt: skip
    found = {name: special.get(name, getattr(torch, name, None)) for name in REAL}
    return {name: call for name, call in found.items() if call is not None}


def peers() -> dict[str, dict[str, Function]]:
    """The other libraries that are installed: each one's functions of arrays by our names."""
    found = {"NumPy": {name: numpy_function(name) for name in REAL}}
    if importlib.util.find_spec("jax"):
        jitted = _jax()

        def through_jax(call: Function) -> Function:
            return lambda *operands: np.asarray(call(*operands))

        found["JAX"] = {name: through_jax(call) for name, call in jitted.items()}
    if importlib.util.find_spec("torch"):
        import torch

        def through_torch(call: Function) -> Function:
            return lambda *operands: call(*map(torch.from_numpy, operands)).numpy()

        found["PyTorch"] = {name: through_torch(call) for name, call in _torch().items()}
    return found


def _row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def _head(*cells: str) -> None:
    _row(*cells)
    _row(*("---" if number < 2 else "---:" for number in range(len(cells))))


def _shown(error: float | None, ordinary: float | None = None) -> str:
    """An error, or the one for ordinary arguments with a star where the whole is beyond 100."""
    if error is None:
        return "–"
    if not error < 100 and ordinary is not None and ordinary < error:
        return _shown(ordinary) + " \\*"
    if not np.isfinite(error):
        return "wrong"
    return f"{error:.3f}" if error < 100 else f"{error:.1e}"


def _number(value: Any) -> str:
    return repr(float(value)) if np.asarray(value).dtype.kind == "f" else str(value)


def ordinary(exact: Array, *operands: Array) -> Array:
    """Where arguments and result are finite, normal numbers, as fast_math wants them."""
    info = np.finfo(operands[0].dtype)
    keep = np.ones(exact.size, bool)
    for x in (*operands, exact):
        keep &= (np.abs(x) >= info.smallest_normal) & (np.abs(x) <= info.max)
    return keep


def table(names: list[str], count: int, fast: bool) -> None:
    """Errors of real functions."""
    others = peers()
    _head("function", "type", "graphjit", *others, "graphjit's worst at")
    for dtype in ("float32", "float64"):
        for name in names:
            operands = arguments(name, dtype, count)
            keep = ordinary(truth(name, *operands), *operands)
            plain = tuple(x[keep] for x in operands)
            operands = plain if fast else operands
            width = 16 if dtype == "float32" else 8
            ours = Compiled(name, dtype, width, FAST_MATH if fast else MATH)(*operands)
            _, place = worst(name, ours, operands)
            cells = [_shown(confirmed(name, ours, operands))]
            for functions in others.values():
                call = functions.get(name)
                if call is None:
                    cells.append(_shown(None))
                    continue
                error = confirmed(name, call(*operands), operands)
                inner = error if error < 100 else confirmed(name, call(*plain), plain)
                cells.append(_shown(error, inner))
            _row(name, dtype, *cells, ", ".join(map(_number, place)))


def exhaustive(names: list[str], stride: int) -> None:
    """Errors of unary functions for all float32 arguments."""
    chunk = 2**20
    others = peers()
    _head("function", "type", "graphjit", *others, "graphjit's worst at", "not nearest")
    for name in names:
        compiled = Compiled(name, "float32", 16)
        calls = [compiled, *(functions.get(name) for functions in others.values())]
        found = [0.0] * len(calls)
        inner = [0.0] * len(calls)
        place, wrong = 0.0, 0
        for start in range(0, 2**32, chunk * stride):
            end = min(start + chunk * stride, 2**32)
            x = np.arange(start, end, stride, dtype=np.uint32).view(np.float32)
            exact = truth(name, x)
            for number, call in enumerate(calls):
                if call is None:
                    continue
                error = ulp_errors(call(x), exact)
                most = float(error.max())
                if number == 0:
                    wrong += int(np.count_nonzero(error > 0.5))
                    place = float(x[error.argmax()]) if most > found[0] else place
                found[number] = max(found[number], most)
                if not most < 100:
                    most = float(error[ordinary(exact, x)].max(initial=0))
                inner[number] = max(inner[number], most)
        cells = [
            _shown(None if call is None else found[number], inner[number])
            for number, call in enumerate(calls)
        ]
        share = f"{100 * wrong / (2**32 / stride):.2f} %"
        _row(name, "float32", *cells, _number(place), share)


def exact_complex(name: str, *operands: complex) -> Any:
    """The true value of a complex function, named without `complex_`, as mpmath has it."""
    functions: dict[str, Any] = {
        "add": lambda z, w: z + w,
        "sub": lambda z, w: z - w,
        "mul": lambda z, w: z * w,
        "div": lambda z, w: z / w,
        "exp2": lambda z: mpmath.power(2, z),
        "log2": lambda z: mpmath.log(z) / mpmath.log(2),
        "log10": lambda z: mpmath.log(z) / mpmath.log(10),
        "log1p": lambda z: mpmath.log(1 + z),
        "expm1": lambda z: mpmath.exp(z) - 1,
        "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
        "pow": mpmath.power,
    }
    with mpmath.workprec(200):
        function = functions.get(name) or getattr(mpmath, name)
        return function(*(mpmath.mpc(z) for z in operands))


def norm_errors(name: str, y: Array, operands: tuple[Array, ...]) -> Array:
    """|y − true| / |true| of a complex function [eps of y's type]."""
    found = []
    with mpmath.workprec(200):
        for value, *row in zip(y, *operands, strict=True):
            exact = exact_complex(name, *map(complex, row))
            found.append(float(abs(mpmath.mpc(complex(value)) - exact) / abs(exact)))
    return np.array(found) / np.finfo(y.dtype).eps


def complex_table(count: int) -> None:
    """Errors of complex functions: |y − true| / |true| in units of the type's eps."""
    _head("function", "type", "graphjit", "NumPy", "graphjit's worst at")
    for dtype in ("complex64", "complex128"):
        for name in sorted(n for n in MATH if n.startswith("complex_")):
            rule = name.removeprefix("complex_")
            compiled = Compiled(name, dtype, 4)
            operands = complex_samples(dtype, count)[: compiled.count]
            error = norm_errors(rule, compiled(*operands), operands)
            theirs = getattr(np, _SPELLING.get(rule, rule), None)
            other = None
            if theirs is not None:
                other = float(norm_errors(rule, theirs(*operands), operands).max())
            at = ", ".join(str(x[error.argmax()]) for x in operands)
            _row(rule, dtype, _shown(float(error.max())), _shown(other), at)


def times(names: list[str], fast: bool) -> None:
    """Times per element of arrays of 98304 that stay in the cache; one thread each."""
    others = peers()
    elements = 98304
    _head("function", "type", "graphjit", *(["fast_math"] if fast else []), *others)
    for dtype in ("float32", "float64"):
        for name in names:
            rng = np.random.default_rng(0)
            low = 1.0 if name == "acosh" else 0.01
            high = 0.99 if name in ("asin", "acos", "atanh") else 4.0
            count = 2 if name in BINARY else 1
            operands = [rng.uniform(low, high, elements).astype(dtype) for _ in range(count)]
            result = np.empty_like(operands[0])
            pointers = [a.ctypes.data for a in [*operands, result]]
            width = 2 * host().vector_bytes // result.itemsize
            found: list[float] = []
            for rules in (MATH, FAST_MATH) if fast else (MATH,):
                compiled = Compiled(name, dtype, width, rules)  # owns the code of its entry
                found.append(element_ns(partial(compiled.entry, *pointers, elements), elements))
            for functions in others.values():
                call = functions.get(name)
                ns = call and element_ns(partial(call, *operands), elements)
                found.append(ns or float("nan"))
            _row(name, dtype, *(f"{ns:.2f}" if _finite(ns) else "–" for ns in found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--exhaustive", metavar="NAMES", help="exp,log or all")
    parser.add_argument("--stride", type=int, default=1, help="of --exhaustive")
    parser.add_argument("--complex", action="store_true")
    parser.add_argument("--fast", action="store_true", help="the functions of fast_math")
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--only", metavar="NAMES")
    parser.add_argument("--count", type=int, help="about how many arguments")
    options = parser.parse_args()
    np.seterr(all="ignore")
    changed = [n for n in REAL if FAST_MATH[n] is not MATH[n]]
    names = options.only.split(",") if options.only else changed if options.fast else REAL
    if options.exhaustive:
        unary = [n for n in REAL if n not in (*BINARY, "lgamma", "tgamma")]
        chosen = options.exhaustive
        exhaustive(unary if chosen == "all" else chosen.split(","), options.stride)
    elif options.complex:
        complex_table(options.count or 500)
    elif options.time:
        times(names, options.fast)
    else:
        table(names, options.count or 1_000_000, options.fast)


if __name__ == "__main__":
    main()
