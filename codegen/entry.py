"""The compiled way in: a CPython built-in that takes arrays and runs a segment's kernels.

The generated function has CPython's METH_FASTCALL signature. It reads each array's data
pointer from the ndarray object; types and shapes were checked by whoever calls it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from graphjit.errors import InternalError
from graphjit.program import Band, Gemm, Program
from graphjit.values import dataclass

from .builder import ir_type

METH_FASTCALL = 0x0080
TEAM_RUN = "team_run"
# A status that no check has: a Python exception is set.
INTERRUPTED = -1
POINTER = 8
_api = ctypes.pythonapi


def data_offset() -> int:
    """Where an ndarray object holds its data pointer [bytes]; found, then checked twice."""
    for offset in range(2 * POINTER, 8 * POINTER, POINTER):
        if all(
            ctypes.c_void_p.from_address(id(a) + offset).value == a.ctypes.data
            for a in (np.arange(7), np.ones((2, 3)), np.zeros(5, np.int8))
        ):
            return offset
    raise InternalError("this NumPy lays arrays out in a way that graphjit doesn't know")


DATA_OFFSET = data_offset()


class _MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


# CPython keeps a pointer to the definition for as long as the function lives.
_definitions: list[_MethodDef] = []


def builtin_function(name: str, address: int) -> Callable[..., int]:
    """A Python callable for a generated METH_FASTCALL function."""
    definition = _MethodDef(name.encode(), address, METH_FASTCALL, None)
    _definitions.append(definition)
    make = _api.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    function: Callable[..., int] = make(ctypes.addressof(definition), None, None)
    return function


def external(externals: list[str], name: str) -> int:
    """The place of an outside function in the module's table."""
    if name not in externals:
        externals.append(name)
    return externals.index(name)


def external_address(name: str) -> int:
    """The address of an outside function: the team's, or BLAS's.

    BLAS is the one that NumPy brought with it, where it can be found: then products have
    NumPy's bits, and one pool of threads serves both. Else it is SciPy's.
    """
    if name == TEAM_RUN:
        from .team import team

        return int(team().run_address)
    return _numpy_blas(name) or _scipy_blas(name)


def _numpy_blas(name: str) -> int | None:
    """The address of a BLAS routine in the library of NumPy's wheels, if that is in use.

    The wheels' OpenBLAS names routines scipy_<name>_64_ and has 64-bit integers.
    """
    folder = Path(np.__file__).parent.parent / "numpy.libs"
    for path in sorted(folder.glob("libscipy_openblas64_*")):
        routine = getattr(ctypes.CDLL(str(path)), f"scipy_{name}_64_", None)
        if routine is not None:
            return ctypes.cast(routine, ctypes.c_void_p).value
    return None


def _scipy_blas(name: str) -> int:
    from scipy.linalg import cython_blas

    capsule = dict(cython_blas.__pyx_capi__)[name]
    get_name = _api.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, (ctypes.py_object,)
    get = _api.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    address: int = get(capsule, get_name(capsule))
    return address


def python_function(name: str) -> str:
    """The address of a function of Python's C API, as an LLVM operand."""
    address = ctypes.cast(getattr(_api, name), ctypes.c_void_p).value
    return f"inttoptr (i64 {address} to ptr)"


@dataclass(frozen=True, slots=True)
class Call:
    """A kernel's call: its symbol, its buffers, whether it can fail, and for a kernel that the
    team runs the extent of its outermost loop and of one chunk.
    """

    symbol: str
    buffers: list[int]
    checked: bool
    chunks: tuple[int, int] | None = None


def write_chunk(call: Call) -> str:
    """The function that a team calls for one chunk of a kernel."""
    lines = [
        f"define internal i64 @{call.symbol}.chunk(ptr %context, i64 %begin, i64 %end, "
        "ptr %record) nounwind {"
    ]
    for number in range(len(call.buffers)):
        lines.append(f"  %at{number} = getelementptr ptr, ptr %context, i64 {number}")
        lines.append(f"  %b{number} = load ptr, ptr %at{number}")
    listed = ", ".join(f"ptr %b{number}" for number in range(len(call.buffers)))
    lines.append(
        f"  %status = call i64 @{call.symbol}({listed}, ptr %record, i64 %begin, i64 %end)"
    )
    return "\n".join([*lines, "  ret i64 %status", "}"])


def write_band(
    program: Program, band: Band, symbol: str, calls: list[Call], ranges: list[int]
) -> tuple[Call, str]:
    """The function that a team calls for some parts of a band, and its call.

    ranges: for each kernel, how many steps of its outermost loop a part is.
    """
    own = {number for call in calls for number in call.buffers}
    local = [n for n in sorted(own) if program.buffers[n].role == "local"]
    order = [n for n in sorted(own) if program.buffers[n].role != "local"]
    parts = band.rows // band.part
    checked = any(call.checked for call in calls)
    lines = [
        f"define internal i64 @{symbol}.chunk(ptr %context, i64 %begin, i64 %end, "
        "ptr %record) nounwind {",
        "entry:",
        f"  %room = alloca [{max(1, band.bytes)} x i8], align 64",
    ]
    for slot, number in enumerate(order):
        lines.append(f"  %at{number} = getelementptr ptr, ptr %context, i64 {slot}")
        lines.append(f"  %b{number} = load ptr, ptr %at{number}")
    lines += [
        "  br label %head",
        "head:",
        f"  %part = phi i64 [ %begin, %entry ], [ %next, %step{len(calls)} ]",
        "  %more = icmp ult i64 %part, %end",
        "  br i1 %more, label %body, label %done",
        "body:",
        "  %next = add nuw nsw i64 %part, 1",
    ]
    for number in local:  # as if the whole buffer were there, of which this part is in the room
        buffer = program.buffers[number]
        length = buffer.type.nbytes // parts
        lines += [
            f"  %back{number} = mul nsw i64 %part, {-length}",
            f"  %off{number} = add nsw i64 %back{number}, {buffer.offset_bytes}",
            f"  %b{number} = getelementptr i8, ptr %room, i64 %off{number}",
        ]
    lines.append("  br label %step0")
    for number, (call, count) in enumerate(zip(calls, ranges, strict=True)):
        listed = ", ".join(f"ptr %b{i}" for i in call.buffers)
        lines += [
            f"step{number}:",
            f"  %from{number} = mul nuw nsw i64 %part, {count}",
            f"  %to{number} = mul nuw nsw i64 %next, {count}",
            f"  %status{number} = call i64 @{call.symbol}({listed}, ptr %record, "
            f"i64 %from{number}, i64 %to{number})",
            f"  %bad{number} = icmp ne i64 %status{number}, 0",
            f"  br i1 %bad{number}, label %fail, label %step{number + 1}",
        ]
    arrivals = ", ".join(f"[ %status{n}, %step{n} ]" for n in range(len(calls)))
    lines += [
        f"step{len(calls)}:",
        "  br label %head",
        "fail:",
        f"  %status = phi i64 {arrivals}",
        "  ret i64 %status",
        "done:",
        "  ret i64 0",
        "}",
    ]
    return Call(symbol, order, checked, (parts, 1)), "\n".join(lines)


def write_entry(
    program: Program,
    symbol: str,
    calls: list[Call],
    release: bool,
    externals: list[str],
) -> tuple[tuple[int, ...], str]:
    """The entry of a segment, and the buffers whose arrays it takes, in order.

    Its arguments are those arrays, then the arena and the record. release: let other Python
    threads run while the kernels do.
    """
    used = {number for call in calls for number in call.buffers}
    buffers = program.buffers
    results = (*program.outputs, *program.updates)
    first = [*program.inputs, *results]
    others = [i for i, b in enumerate(buffers) if b.role in ("constant", "library")]
    order = (*first, *(i for i in others if i in used or buffers[i].role == "constant"))
    lines = [f"define ptr @{symbol}(ptr %self, ptr %args, i64 %count) nounwind {{", "entry:"]

    def data(name: str, position: int) -> None:
        lines.append(f"  {name}.slot = getelementptr ptr, ptr %args, i64 {position}")
        lines.append(f"  {name}.object = load ptr, ptr {name}.slot")
        lines.append(f"  {name}.field = getelementptr i8, ptr {name}.object, i64 {DATA_OFFSET}")
        lines.append(f"  {name} = load ptr, ptr {name}.field")

    for position, number in enumerate(order):
        if number in used:
            data(f"%b{number}", position)
    if any(buffers[i].role == "temporary" for i in used):
        data("%arena", len(order))
    for number in sorted(used):
        if buffers[number].role == "temporary":
            offset = buffers[number].offset_bytes
            lines.append(f"  %b{number} = getelementptr i8, ptr %arena, i64 {offset}")
    if any(call.checked for call in calls):
        data("%record", len(order) + 1)
    polled = release and any(call.chunks is not None for call in calls)
    if release:
        lines.append(f"  %thread = call ptr {python_function('PyEval_SaveThread')}()")
    if polled:  # the thread state, and when signals were looked at last: never
        lines += [
            "  %poll = alloca [2 x i64], align 8",
            "  store [2 x i64] zeroinitializer, ptr %poll",
            "  store ptr %thread, ptr %poll",
        ]
    lines.append("  br label %step0")
    arrivals = []
    for number, call in enumerate(calls):
        lines.append(f"step{number}:")
        record = "ptr %record" if call.checked else "ptr null"
        if call.chunks is not None:
            poll = "ptr %poll" if polled else "ptr null"
            place = external(externals, TEAM_RUN)
            lines += _team_call(call, number, f"{record}, {poll}", place)
        else:
            listed = ", ".join([*(f"ptr %b{i}" for i in call.buffers), record])
            lines.append(f"  %status{number} = call i64 @{call.symbol}({listed})")
        if call.checked or (polled and call.chunks is not None):
            lines.append(f"  %bad{number} = icmp ne i64 %status{number}, 0")
            lines.append(f"  br i1 %bad{number}, label %done, label %step{number + 1}")
            arrivals.append(f"[ %status{number}, %step{number} ]")
        else:
            lines.append(f"  br label %step{number + 1}")
    last = len(calls)
    lines += [f"step{last}:", "  br label %done", "done:"]
    arrivals.append(f"[ 0, %step{last} ]")
    lines.append(f"  %status = phi i64 {', '.join(arrivals)}")
    if release:
        lines.append(f"  call void {python_function('PyEval_RestoreThread')}(ptr %thread)")
    if polled:
        lines += [
            f"  %raised = icmp eq i64 %status, {INTERRUPTED}",
            "  br i1 %raised, label %leave, label %tell",
            "leave:",
            "  ret ptr null",
            "tell:",
        ]
    lines.append(f"  %result = call ptr {python_function('PyLong_FromLongLong')}(i64 %status)")
    lines += ["  ret ptr %result", "}"]
    return order, "\n".join(lines)


def _team_call(call: Call, number: int, record: str, place: int) -> list[str]:
    """The instructions that let the team run a kernel's chunks."""
    assert call.chunks is not None
    extent, chunk = call.chunks
    lines = [f"  %context{number} = alloca [{len(call.buffers)} x ptr]"]
    for slot, buffer in enumerate(call.buffers):
        name = f"%context{number}.{slot}"
        lines.append(f"  {name} = getelementptr ptr, ptr %context{number}, i64 {slot}")
        lines.append(f"  store ptr %b{buffer}, ptr {name}")
    lines += [
        f"  %team{number}.at = getelementptr ptr, ptr @externals, i64 {place}",
        f"  %team{number} = load ptr, ptr %team{number}.at",
        f"  %status{number} = call i64 %team{number}(ptr @{call.symbol}.chunk, "
        f"ptr %context{number}, i64 {extent}, i64 {chunk}, {record})",
    ]
    return lines


@dataclass(frozen=True, slots=True)
class Routine:
    """How a BLAS routine is called: its name, its arguments in order, the integers and the
    letters among them. `a`, `b` and `c` stand for the matrices.
    """

    name: str
    order: tuple[str, ...]
    integers: dict[str, int]
    letters: dict[str, str]


def blas_routine(step: Gemm) -> Routine:
    """The routine for a product.

    BLAS counts in column order, in which a row-major matrix is its own transpose: so it is
    given b and a exchanged, and computes the transpose of c, which is c in row order. A
    product with a vector is one of a matrix, in BLAS's sense, and a vector.
    """
    prefix = {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}
    letter = prefix[step.dtype.name]
    rows_b = step.k if step.transpose_b else step.n
    rows_a = step.m if step.transpose_a else step.k
    if step.m == 1 or step.n == 1:
        matrix, vector, rows = ("b", "a", rows_b) if step.m == 1 else ("a", "b", rows_a)
        plain = not step.transpose_b if step.m == 1 else step.transpose_a
        results = step.n if step.m == 1 else step.m
        sizes = (results, step.k) if plain else (step.k, results)
        by_vector = ("t", "m", "n", "one", matrix, "ld", vector, "step", "zero", "c", "step")
        integers = {"m": sizes[0], "n": sizes[1], "ld": max(1, rows), "step": 1}
        letters = {"t": "N" if plain else "T"}
        return Routine(letter + "gemv", by_vector, integers, letters)
    order = ("tb", "ta", "n", "m", "k", "one", "b", "ldb", "a", "lda", "zero", "c", "ldc")
    integers = {
        "m": step.m, "n": step.n, "k": step.k,
        "lda": max(1, rows_a), "ldb": max(1, rows_b), "ldc": max(1, step.n),
    }  # fmt: skip
    letters = {"ta": "NT"[step.transpose_a], "tb": "NT"[step.transpose_b]}
    return Routine(letter + "gemm", order, integers, letters)


def write_gemm(step: Gemm, symbol: str, externals: list[str]) -> str:
    """A function that runs a batched product through BLAS's Fortran interface."""
    routine = blas_routine(step)
    place = external(externals, routine.name)
    part = ir_type(step.dtype)
    parts = 2 if step.dtype.is_complex else 1
    size = step.dtype.size
    lines = [
        f"define internal i64 @{symbol}(ptr %a, ptr %b, ptr %c, ptr %record) nounwind {{",
        "entry:",
        f"  %slot = getelementptr ptr, ptr @externals, i64 {place}",
        "  %routine = load ptr, ptr %slot",
    ]
    # a library with 32-bit integers reads the low halves: the machines here are little-endian
    for name, integer in routine.integers.items():
        lines += [f"  %{name}.at = alloca i64", f"  store i64 {integer}, ptr %{name}.at"]
    for name, letter in routine.letters.items():
        lines += [f"  %{name}.at = alloca i8", f"  store i8 {ord(letter)}, ptr %{name}.at"]
    for name, number in (("one", "1.0"), ("zero", "0.0")):
        lines.append(f"  %{name}.at = alloca [{parts} x {part}]")
        for k in range(parts):
            value = number if k == 0 else "0.0"
            lines.append(f"  %{name}{k} = getelementptr {part}, ptr %{name}.at, i64 {k}")
            lines.append(f"  store {part} {value}, ptr %{name}{k}")
    offsets = {"a": "0", "b": "0", "c": "0"}
    strides = {"a": step.a_strides, "b": step.b_strides, "c": _dense(step)}
    lines += [f"  %i{level}.at = alloca i64" for level in range(len(step.batch))]
    for level, extent in enumerate(step.batch):
        lines += [
            f"  store i64 0, ptr %i{level}.at",
            f"  br label %head{level}",
            f"head{level}:",
            f"  %i{level} = load i64, ptr %i{level}.at",
            f"  %more{level} = icmp ult i64 %i{level}, {extent}",
            f"  br i1 %more{level}, label %body{level}, label %exit{level}",
            f"body{level}:",
        ]
        for name in offsets:
            lines.append(
                f"  %{name}.step{level} = mul i64 %i{level}, {strides[name][level] * size}"
            )
            lines.append(
                f"  %{name}.offset{level} = add i64 {offsets[name]}, %{name}.step{level}"
            )
            offsets[name] = f"%{name}.offset{level}"
    for name, offset in offsets.items():
        lines.append(f"  %{name}.at = getelementptr i8, ptr %{name}, i64 {offset}")
    listed = ", ".join(f"ptr %{name}.at" for name in routine.order)
    lines.append(f"  call void %routine({listed})")
    for level in reversed(range(len(step.batch))):
        lines += [
            f"  %next{level} = add i64 %i{level}, 1",
            f"  store i64 %next{level}, ptr %i{level}.at",
            f"  br label %head{level}",
            f"exit{level}:",
        ]
    lines += ["  ret i64 0", "}"]
    return "\n".join(lines)


def _dense(step: Gemm) -> tuple[int, ...]:
    strides, total = [], step.m * step.n
    for extent in reversed(step.batch):
        strides.append(total)
        total *= extent
    return tuple(reversed(strides))


__all__: list[Any] = [
    "builtin_function",
    "external_address",
    "write_entry",
    "write_gemm",
]
