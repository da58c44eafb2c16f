"""Asks how far the elementary functions are from the true values and how long they take.

Prints, per function and type, the largest error [units in the last place] on hard and random
arguments beside NumPy's on the same, and the time per element [ns] beside NumPy's, on arrays
of 4096. `--exhaustive` takes all 2^32 float32 arguments of the unary functions instead;
`--only NAME` takes one function. True values come from float64 for float32 and from mpmath
(or the 80-bit long double, where there is one) for float64.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import mpmath
import numpy as np
import scipy.special

from graphjit.codegen.builder import Builder, Module, Value
from graphjit.codegen.math import MATH
from graphjit.types import as_dtype

Array = np.ndarray[Any, Any]
Function = Callable[..., Array]

BINARY = ("pow", "atan2", "hypot")
REAL = [n for n in MATH if not n.startswith("complex_") and not n.endswith(("_huge", "_hypot"))]
LONG = np.finfo(np.longdouble).nmant >= 63
_SPELLING = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh"}
_SPELLING |= {"acosh": "arccosh", "atanh": "arctanh", "pow": "power", "atan2": "arctan2"}


class Compiled:
    """A loop over arrays of one type that applies one function to `width` elements a time."""

    def __init__(self, name: str, dtype: str, width: int) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.kind = np.dtype(dtype)
        self.parts = 2 if self.kind.kind == "c" else 1
        self.width = width
        self.count = (
            2 if name.removeprefix("complex_") in (*BINARY, "add", "sub", "mul", "div") else 1
        )
        self.text = self._loop(name)
        host = llvm.Target.from_default_triple()
        features = llvm.get_host_cpu_features().flatten()
        self.machine = host.create_target_machine(
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
        module = Module()
        b = Builder(module, self.width, MATH)
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
            result = b.widen(MATH["complex_" + rule](b, *operands))
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
        return module.text()

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
        "erf": scipy.special.erf,
        "erfc": scipy.special.erfc,
        "sigmoid": scipy.special.expit,
        "softplus": lambda x: np.logaddexp(x, np.zeros_like(x)),
        "rsqrt": lambda x: 1 / np.sqrt(x),
        "lgamma": scipy.special.gammaln,
        "tgamma": scipy.special.gamma,
    }
    function: Function = special.get(name) or getattr(np, _SPELLING.get(name, name))
    return function


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def truth(name: str, *operands: Array) -> Array:
    """The values in a longer type: float64 of float32, long double of float64."""
    single = operands[0].dtype == np.float32
    slow = name in ("erf", "erfc", "lgamma", "tgamma") or not LONG
    if single or not slow:
        kind = np.float64 if single else np.longdouble
        stable: dict[str, Function] = {"sigmoid": _sigmoid, "softplus": _softplus}
        function = stable.get(name) or numpy_function(name)
        values = [x.astype(kind) for x in operands]
        if single and name == "sigmoid":
            function = _sigmoid
        result: Array = function(*values)
        return result
    return np.array([_exact(name, *row) for row in zip(*operands, strict=True)], np.longdouble)


def _exact(name: str, *operands: Any) -> np.longdouble:
    x = float(operands[0])
    if name in ("lgamma", "tgamma") and x <= 0 and x == np.floor(x):
        return np.longdouble(numpy_function(name)(x))
    if not all(np.isfinite(v) and v != 0 and abs(v) < 1e5 for v in operands):
        return np.longdouble(numpy_function(name)(*operands))
    with mpmath.workprec(200 if name == "lgamma" else 90):
        functions: dict[str, Callable[..., Any]] = {
            "erf": mpmath.erf,
            "erfc": mpmath.erfc,
            "lgamma": lambda v: mpmath.log(abs(mpmath.gamma(v))),
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


def specials(dtype: str) -> Array:
    """Zeros, infinities, NaN, the ends of the range and small whole numbers, both signs."""
    info = np.finfo(dtype)
    tiny, step = info.smallest_normal, info.smallest_subnormal
    values = [0.0, np.inf, np.nan, info.max, tiny, step, 2 * step, tiny - step, info.eps]
    values += [0.5, 1, 1.5, 2, 2.5, 3, 4, 10, 100, 1e10, 1 - info.epsneg, 1 + info.eps]
    x = np.array(values).astype(dtype)
    return np.concatenate([x, -x])


def near(centres: Any, dtype: str, steps: int = 4) -> Array:
    """The floats round the given numbers."""
    x = np.atleast_1d(np.asarray(centres)).astype(dtype)
    bits = x.view("i4" if dtype == "float32" else "i8")
    moved = bits[:, None] + np.arange(-steps, steps + 1, dtype=bits.dtype)
    return moved.ravel().view(dtype)


# Where something changes: thresholds of range, of our own intervals, hard cases of reduction.
TURNS = [0.25, 0.3465736, 0.4142136, 0.5, 0.6, 1.0, 1.0397208, 1.4142135623730951, 2.0, 4.0]
TURNS += [6.0, 10.0, 10.06, 20.0, 26.5, 27.3, 30.0, 88.72284, 89.416, 103.97, 128.0, 149.5]
TURNS += [709.782712893384, 710.4758600739439, 745.1332191019412, 1024.0, 1074.5, 2.0**30]
TURNS += [
    32768.0,
    131072.0,
    2.0**23,
    2.0**24,
    2.0**52,
    2.0**53,
    1e-4,
    1e-8,
    1e-16,
    0.9999,
    1.0001,
]


def samples(name: str, dtype: str, count: int, seed: int = 0) -> tuple[Array, ...]:
    """Hard and random arguments for a function."""
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype)
    size = info.bits // 8

    def anything(n: int) -> Array:
        return np.frombuffer(rng.bytes(n * size), dtype).copy()

    def plain(n: int, limit: float) -> Array:
        return rng.uniform(-limit, limit, n).astype(dtype)

    def scaled(n: int, low: float, high: float) -> Array:
        sign = rng.choice([-1.0, 1.0], n)
        return (sign * np.exp2(rng.uniform(low, high, n))).astype(dtype)

    part = max(count // 8, 16)
    if name in BINARY:
        edge = specials(dtype)
        first, second = (a.ravel() for a in np.meshgrid(edge, edge))
        x = [first, anything(part), plain(part, 10), scaled(part, -2, 2)]
        y = [second, anything(part), plain(part, 10), scaled(part, -2, 2)]
        if name == "pow":
            base = np.abs(scaled(4 * part, -300 if dtype == "float64" else -60, 60))
            reach = (1100 if dtype == "float64" else 152) / np.abs(np.log2(base) + 1e-9)
            x += [base, 1 + scaled(part, -12, -1), np.round(plain(part, 50))]
            power = rng.uniform(-1, 1, 4 * part) * reach
            y += [power.astype(dtype), scaled(part, 0, 12), np.round(plain(part, 20))]
        else:
            one = anything(2 * part)
            other = (one.astype(np.float64) * np.exp2(rng.uniform(-30, 30, 2 * part))).astype(
                dtype
            )
            x += [one, scaled(part, info.minexp - 20, info.minexp + 4)]
            y += [other, scaled(part, info.minexp - 20, info.minexp + 4)]
        return np.concatenate(x), np.concatenate(y)
    turns = np.array(TURNS)
    groups = [specials(dtype), near(turns, dtype), near(-turns, dtype), anything(2 * part)]
    groups += [plain(part, 1), plain(part, 10), scaled(part, -12, 4), scaled(part, -3, 11)]
    groups += [plain(part, 110 if dtype == "float32" else 750), 1 + scaled(part, -30, -1)]
    if name in ("sin", "cos", "tan"):
        multiples = np.concatenate([np.arange(1, 400), rng.integers(1, 2**22, part)])
        exact = (
            multiples.astype(np.longdouble)
            * (np.longdouble(np.pi) + np.longdouble(1.2246467991473532e-16))
            / 2
        )
        groups += [near(exact, dtype, 1), scaled(part, 10, info.maxexp)]
        groups += [
            near([6381956970095103.0 * 2.0**797, 5.319372648326541e255], "float64").astype(
                dtype
            )
        ]
        groups += [near([16367173 * 2.0**72, 1.6e7, 1e22], dtype)]
    if name in ("lgamma", "tgamma"):
        groups = [specials(dtype), plain(part, 170 if dtype == "float64" else 34)]
    return (np.concatenate(groups),)


def worst(name: str, y: Array, operands: tuple[Array, ...]) -> tuple[float, tuple[Any, ...]]:
    """The largest error of y [ULP], and where."""
    error = ulp_errors(y, truth(name, *operands))
    i = int(np.argmax(error))
    return float(error[i]), tuple(x[i] for x in operands)


def element_ns(call: Callable[[], Any], elements: int) -> float:
    """Time of a call per element [ns]: the best of several runs."""
    call()
    best = float("inf")
    repeats = 20
    for _ in range(15):
        start = time.perf_counter_ns()
        for _ in range(repeats):
            call()
        best = min(best, (time.perf_counter_ns() - start) / repeats)
    return best / elements


def speed(name: str, dtype: str) -> tuple[float, float]:
    """Our time per element [ns], and NumPy's, on 4096 ordinary arguments."""
    compiled = Compiled(name, dtype, 16 if dtype == "float32" else 8)
    rng = np.random.default_rng(0)
    low = 1.0 if name == "acosh" else 0.01
    high = 0.99 if name in ("asin", "acos", "atanh") else 8.0
    operands = [rng.uniform(low, high, 4096).astype(dtype) for _ in range(compiled.count)]
    result = np.empty_like(operands[0])
    pointers = [a.ctypes.data for a in [*operands, result]]
    ours = element_ns(lambda: compiled.entry(*pointers, 4096), 4096)
    function = numpy_function(name)
    return ours, element_ns(lambda: function(*operands), 4096)


def table(names: list[str], count: int) -> None:
    print(f"{'function':10} {'type':8} {'max ULP':>8} {'NumPy':>8} {'ns':>7} {'NumPy':>7}  at")
    for dtype in ("float32", "float64"):
        for name in names:
            operands = samples(name, dtype, count)
            compiled = Compiled(name, dtype, 16 if dtype == "float32" else 8)
            error, place = worst(name, compiled(*operands), operands)
            theirs, _ = worst(name, numpy_function(name)(*operands), operands)
            ours_ns, numpy_ns = speed(name, dtype)
            shown = ", ".join(repr(float(v)) for v in place)
            print(
                f"{name:10} {dtype:8} {error:8.3f} {theirs:8.3f} {ours_ns:7.2f} "
                f"{numpy_ns:7.2f}  {shown}",
                flush=True,
            )


def exhaustive(names: list[str], stride: int) -> None:
    chunk = 2**24
    for name in names:
        if name in (*BINARY, "lgamma", "tgamma"):
            continue
        compiled = Compiled(name, "float32", 16)
        found: tuple[float, tuple[Any, ...]] = (0.0, ())
        for start in range(0, 2**32, chunk * stride):
            end = min(start + chunk * stride, 2**32)
            x = np.arange(start, end, stride, dtype=np.uint32).view(np.float32)
            found = max(found, worst(name, compiled(x), (x,)), key=lambda pair: pair[0])
        print(f"{name:10} float32 {found[0]:8.3f}  {found[1]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exhaustive", action="store_true")
    parser.add_argument("--stride", type=int, default=1, help="of --exhaustive")
    parser.add_argument("--only", action="append")
    parser.add_argument("--count", type=int, default=40000)
    options = parser.parse_args()
    np.seterr(all="ignore")
    names = options.only or REAL
    if options.exhaustive:
        exhaustive(names, options.stride)
    else:
        table(names, options.count)


if __name__ == "__main__":
    main()
