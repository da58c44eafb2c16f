"""Compiled programs and images as bytes, and back.

What is kept is JSON and, after it, raw bytes: machine code, data and constants. Reading makes
values of it and nothing else; nothing is ever executed to read them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.dims import Dim, Guard, Sizes, parse_dim
from graphjit.core.errors import SourceLine
from graphjit.core.types import BY_SHORT, DType, TensorType
from graphjit.ir.program import Buffer, LibraryCall, RegionCall
from graphjit.ir.verify_program import Access
from graphjit.ops.primitive import primitive_named

from .compiled import Check, CompiledProgram, Origin, Segment
from .image import Image


class Unreadable(Exception):
    """Bytes that aren't what they should be."""


class Unfit(Exception):
    """A program for other sizes than those at hand."""


class Unstorable(Exception):
    """A program with something that can't be kept."""


_ERRORS = (ValueError, KeyError, TypeError, IndexError, AttributeError, struct.error)


def pack_image(image: Image) -> bytes:
    """An image's bytes."""
    return _pack({"image": _image(image)}, [image.code, image.data])


def unpack_image(payload: bytes) -> Image:
    """The image of its bytes. Raises Unreadable."""
    try:
        said, blobs = _unpack(payload)
        return _made_image(said["image"], blobs)
    except _ERRORS as error:
        raise Unreadable(str(error)) from error


def pack_program(
    program: CompiledProgram,
    image: Image | None,
    lines: Sequence[SourceLine],
    guards: Sequence[Guard] = (),
) -> bytes:
    """The bytes of a program and of its segments' code. Raises Unstorable.

    lines: those of the traced graph, among which those of checks are. guards: which sizes it is
    for.
    """
    numbers = {line: number for number, line in enumerate(lines)}
    blobs = [b"", b""] if image is None else [image.code, image.data]

    def number_of(line: SourceLine | None) -> int | None:
        if line is not None and line not in numbers:
            raise Unstorable("a source line that the traced graph doesn't have")
        return None if line is None else numbers[line]

    def step(item: Segment | LibraryCall | RegionCall) -> list[Any]:
        if isinstance(item, Segment):
            return [item.symbol, item.buffers]
        attrs = [[name, _attr(value)] for name, value in item.attrs]
        line = number_of(item.source)
        call: list[Any] = [item.primitive.name, attrs, item.inputs, item.outputs]
        if isinstance(item, LibraryCall):
            return [*call, item.several, line, item.nodes]
        return [*call, list(map(said_of, item.programs)), line, item.nodes]

    def said_of(program: CompiledProgram) -> dict[str, Any]:
        return _said(program, blobs, step, number_of)

    said = said_of(program)
    said["guards"] = [[str(g.left), g.relation] for g in guards]
    said["image"] = None if image is None else _image(image)
    return _pack(said, blobs)


def _said(
    program: CompiledProgram,
    blobs: list[bytes],
    step: Callable[[Any], list[Any]],
    number_of: Callable[[SourceLine | None], int | None],
) -> dict[str, Any]:
    """A program for JSON. blobs: to which its constants come."""
    buffers = []
    for buffer in program.buffers:
        shown = [*_type(buffer.type), buffer.role, buffer.index, _size(buffer.offset_bytes)]
        if buffer.role == "constant":
            shown.append(len(blobs))
            blobs.append(np.ascontiguousarray(buffer.value).tobytes())
        buffers.append(shown)
    return {
        "name": program.name,
        "buffers": buffers,
        "inputs": program.inputs,
        "outputs": program.outputs,
        "updates": program.updates,
        "arena_bytes": _size(program.arena_bytes),
        "symbols": program.symbols,
        "aligned": program.aligned,
        "donated": program.donated,
        "origins": [[o.op, number_of(o.source)] for o in program.origins],
        "sequence": [step(item) for item in program.sequence],
        "checks": [[c.reason, c.op, number_of(c.source)] for c in program.checks],
        "steps": program.steps,
        "accesses": [
            [
                a.kernel,
                a.buffer,
                _size(a.size),
                _size(a.offset),
                [[_size(s), _size(n)] for s, n in a.axes],
                number_of(a.source),
            ]
            for a in program.accesses
        ],
    }


def unpack_program(
    payload: bytes, lines: Sequence[SourceLine], sizes: Sizes | None = None
) -> tuple[CompiledProgram, Image | None]:
    """The program of its bytes, and its segments' code. Raises Unreadable.

    sizes: the symbols of the traced graph, and their sizes now; Unfit if the program isn't for
    those. Its guards are noted.
    """
    try:
        said, blobs = _unpack(payload)
        sizes = Sizes() if sizes is None else sizes
        guards = [Guard(_made_size(n, sizes), relation) for n, relation in said["guards"]]
        if not all(guard.holds(sizes.hints) for guard in guards):
            raise Unfit
        for guard in guards:
            sizes.note(guard.left, guard.relation)
        program = _made_program(said, blobs, lines, sizes)
        image = None if said["image"] is None else _made_image(said["image"], blobs)
        _check(program, image)
        return program, image
    except _ERRORS as error:
        raise Unreadable(str(error)) from error


def _made_program(
    said: dict[str, Any], blobs: Sequence[bytes], lines: Sequence[SourceLine], sizes: Sizes
) -> CompiledProgram:
    return CompiledProgram(
        said["name"],
        tuple(_made_buffer(item, blobs, sizes) for item in said["buffers"]),
        tuple(said["inputs"]),
        tuple(said["outputs"]),
        tuple(said["updates"]),
        _made_size(said["arena_bytes"], sizes),
        tuple(_made_step(item, blobs, lines, sizes) for item in said["sequence"]),
        tuple(Check(reason, op, _line(n, lines)) for reason, op, n in said["checks"]),
        said["steps"],
        tuple(said["symbols"]),
        tuple(said["aligned"]),
        tuple((output, source) for output, source in said["donated"]),
        tuple(Origin(op, _line(n, lines)) for op, n in said["origins"]),
        tuple(_made_access(item, lines, sizes) for item in said["accesses"]),
    )


def _check(program: CompiledProgram, image: Image | None) -> None:
    """ValueError unless all that is named is there."""
    numbers = [*program.inputs, *program.outputs, *program.updates, *program.aligned]
    numbers += [number for pair in program.donated for number in pair]
    if len(program.origins) != len(program.buffers):
        raise ValueError("a buffer of no origin")
    for item in program.sequence:
        if not isinstance(item, Segment):
            numbers += (*item.inputs, *item.outputs)
            if isinstance(item, RegionCall):
                _check_regions(item, program, image)
            continue
        numbers += item.buffers
        if image is None or item.symbol not in image.symbols:
            raise ValueError(f"no code for {item.symbol}")
    if not set(numbers) <= set(range(len(program.buffers))):
        raise ValueError("a buffer that isn't there")
    if not isinstance(program.arena_bytes, (int, Dim)) or type(program.steps) is not int:
        raise ValueError("a count that is no number")


def _check_regions(call: RegionCall, program: CompiledProgram, image: Image | None) -> None:
    wanted = [program.buffers[n].type for n in call.outputs]
    for inner in call.programs:
        _check(inner, image)
        if [inner.buffers[n].type for n in inner.outputs] != wanted or inner.updates:
            raise ValueError("a region of other results")


def _pack(said: dict[str, Any], blobs: Sequence[bytes]) -> bytes:
    """The length of the JSON, the JSON, and the blobs, whose lengths it has."""
    said["lengths"] = [len(blob) for blob in blobs]
    text = json.dumps(said, separators=(",", ":")).encode()
    return b"".join([struct.pack("<Q", len(text)), text, *blobs])


def _unpack(payload: bytes) -> tuple[dict[str, Any], list[bytes]]:
    (length,) = struct.unpack_from("<Q", payload)
    said = json.loads(payload[8 : 8 + length])
    blobs, place = [], 8 + length
    for size in said["lengths"]:
        blobs.append(payload[place : place + size])
        place += size
    if place != len(payload):
        raise ValueError("a wrong length")
    return said, blobs


def _image(image: Image) -> list[Any]:
    return [image.data_bytes, image.symbols, image.imports, image.pointers]


def _made_image(said: list[Any], blobs: Sequence[bytes]) -> Image:
    data_bytes, symbols, imports, pointers = said
    imported = tuple((name, place) for name, place in imports)
    code, data, *_ = blobs
    image = Image(code, data, data_bytes, symbols, imported, tuple((a, b) for a, b in pointers))
    places = [place for _, place in imported] + [place for place, _ in image.pointers]
    if not all(image.data_at <= place <= image.total_bytes - 8 for place in places):
        raise ValueError("a pointer outside the data")
    if not all(0 <= place < image.total_bytes for place in symbols.values()):
        raise ValueError("a symbol outside the image")
    if len(data) > data_bytes:
        raise ValueError("more data than room for it")
    return image


def _type(type: TensorType) -> list[Any]:
    return [type.dtype.short, [_size(n) for n in type.shape]]


def _size(n: int) -> int | str:
    """An extent for JSON: a symbolic one as its text."""
    return str(n) if isinstance(n, Dim) else n


def _made_size(said: int | str, sizes: Sizes) -> int:
    if isinstance(said, str):
        made = parse_dim(said, sizes)
        if isinstance(made, Dim) and not sizes.hints.keys() >= set(made.symbols):
            raise ValueError(f"a symbol that isn't there in {said}")
        return made
    if type(said) is not int:
        raise ValueError("an extent that is no number")
    return said


def _made_buffer(said: list[Any], blobs: Sequence[bytes], sizes: Sizes) -> Buffer:
    short, shape, role, index, offset, *blob = said
    offset_bytes = _made_size(offset, sizes)
    type = TensorType(tuple(_made_size(n, sizes) for n in shape), BY_SHORT[short])
    value = None
    if blob:
        value = np.ndarray(type.shape, type.dtype.dtype, blobs[blob[0]])
    return Buffer(type, role, index, value, offset_bytes)


def _made_access(said: list[Any], lines: Sequence[SourceLine], sizes: Sizes) -> Access:
    kernel, buffer, size, offset, axes, line = said
    pairs = tuple((_made_size(s, sizes), _made_size(n, sizes)) for s, n in axes)
    size, offset = _made_size(size, sizes), _made_size(offset, sizes)
    return Access(kernel, buffer, size, offset, pairs, _line(line, lines))


def _made_step(
    said: list[Any], blobs: Sequence[bytes], lines: Sequence[SourceLine], sizes: Sizes
) -> Segment | LibraryCall | RegionCall:
    if len(said) == 2:
        return Segment(tuple(said[1]), said[0])
    name, attrs, inputs, outputs, several, line, nodes = said
    if isinstance(several, list):
        return RegionCall(
            primitive_named(name),
            tuple((key, _made_attr(value, sizes)) for key, value in attrs),
            tuple(inputs),
            tuple(outputs),
            tuple(_made_program(inner, blobs, lines, sizes) for inner in several),
            _line(line, lines),
            tuple(nodes),
        )
    return LibraryCall(
        primitive_named(name),
        tuple((key, _made_attr(value, sizes)) for key, value in attrs),
        tuple(inputs),
        tuple(outputs),
        several,
        _line(line, lines),
        tuple(nodes),
    )


def _line(number: int | None, lines: Sequence[SourceLine]) -> SourceLine | None:
    return None if number is None else lines[number]


def _attr(value: Any) -> Any:
    """An attribute for JSON: as it is, or what it is and a list of what it is made of."""
    kind = type(value)
    if kind in (int, bool, str, float, type(None)):
        return value
    if kind is tuple:
        return ["tuple", *map(_attr, value)]
    if kind is complex:
        return ["complex", value.real, value.imag]
    if kind is DType:
        return ["dtype", value.short]
    if kind is Dim:
        return ["extent", _size(value)]
    raise Unstorable(f"an attribute of type {kind.__name__}")


def _made_attr(said: Any, sizes: Sizes) -> Any:
    if not isinstance(said, list):
        return said
    kind, *parts = said
    match kind:
        case "tuple":
            return tuple(_made_attr(part, sizes) for part in parts)
        case "complex":
            return complex(*parts)
        case "dtype":
            return BY_SHORT[parts[0]]
        case "extent":
            return _made_size(parts[0], sizes)
    raise ValueError(f"an attribute of kind {kind}")


__all__ = [
    "Unfit", "Unreadable", "Unstorable",
    "pack_image", "pack_program", "unpack_image", "unpack_program",
]  # fmt: skip
