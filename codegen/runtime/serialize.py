"""Compiled programs and images as bytes, and back.

The format is JSON followed by raw bytes: machine code, data and constants. Reading only builds
values and executes nothing.
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
    """Raised for bytes that aren't what they should be."""


class Unfit(Exception):
    """Raised for a program for other sizes than the current ones."""


class Unstorable(Exception):
    """Raised for a program with something that can't be stored."""


_ERRORS = (ValueError, KeyError, TypeError, IndexError, AttributeError, struct.error)


def pack_image(image: Image) -> bytes:
    """An image's bytes."""
    return _pack({"image": _encode_image(image)}, [image.code, image.data])


def unpack_image(payload: bytes) -> Image:
    """The image from its bytes. Raises Unreadable."""
    try:
        encoded, blobs = _unpack(payload)
        return _decode_image(encoded["image"], blobs)
    except _ERRORS as error:
        raise Unreadable(str(error)) from error


def pack_program(
    program: CompiledProgram,
    image: Image | None,
    lines: Sequence[SourceLine],
    guards: Sequence[Guard] = (),
) -> bytes:
    """The bytes of a program and of its segments' code. Raises Unstorable.

    lines: those of the traced graph, among them those of checks
    guards: the conditions on sizes that the program is for
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
        attrs = [[name, _encode_attr(value)] for name, value in item.attrs]
        line = number_of(item.source)
        call: list[Any] = [item.primitive.name, attrs, item.inputs, item.outputs]
        if isinstance(item, LibraryCall):
            return [*call, item.several, line, item.nodes]
        return [*call, list(map(encode_program, item.programs)), line, item.nodes]

    def encode_program(program: CompiledProgram) -> dict[str, Any]:
        return _program_to_json(program, blobs, step, number_of)

    encoded = encode_program(program)
    encoded["guards"] = [[str(g.left), g.relation] for g in guards]
    encoded["image"] = None if image is None else _encode_image(image)
    return _pack(encoded, blobs)


def _program_to_json(
    program: CompiledProgram,
    blobs: list[bytes],
    step: Callable[[Any], list[Any]],
    number_of: Callable[[SourceLine | None], int | None],
) -> dict[str, Any]:
    """A program for JSON. Appends its constants to `blobs`."""
    buffers = []
    for buffer in program.buffers:
        shown = [
            *_encode_type(buffer.type),
            buffer.role,
            buffer.index,
            _encode_size(buffer.offset_bytes),
        ]
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
        "arena_bytes": _encode_size(program.arena_bytes),
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
                _encode_size(a.size),
                _encode_size(a.offset),
                [[_encode_size(s), _encode_size(n)] for s, n in a.axes],
                number_of(a.source),
            ]
            for a in program.accesses
        ],
    }


def unpack_program(
    payload: bytes, lines: Sequence[SourceLine], sizes: Sizes | None = None
) -> tuple[CompiledProgram, Image | None]:
    """The program and its segments' code from their bytes. Raises Unreadable.

    sizes: the symbols of the traced graph, and their sizes now. The program's guards are noted
        in it. Raises Unfit if they don't hold.
    """
    try:
        encoded, blobs = _unpack(payload)
        sizes = Sizes() if sizes is None else sizes
        guards = [Guard(_decode_size(n, sizes), relation) for n, relation in encoded["guards"]]
        if not all(guard.holds(sizes.hints) for guard in guards):
            raise Unfit
        for guard in guards:
            sizes.note(guard.left, guard.relation)
        program = _decode_program(encoded, blobs, lines, sizes)
        image = None if encoded["image"] is None else _decode_image(encoded["image"], blobs)
        _validate(program, image)
        return program, image
    except _ERRORS as error:
        raise Unreadable(str(error)) from error


def _decode_program(
    encoded: dict[str, Any], blobs: Sequence[bytes], lines: Sequence[SourceLine], sizes: Sizes
) -> CompiledProgram:
    return CompiledProgram(
        encoded["name"],
        tuple(_decode_buffer(item, blobs, sizes) for item in encoded["buffers"]),
        tuple(encoded["inputs"]),
        tuple(encoded["outputs"]),
        tuple(encoded["updates"]),
        _decode_size(encoded["arena_bytes"], sizes),
        tuple(_decode_step(item, blobs, lines, sizes) for item in encoded["sequence"]),
        tuple(Check(reason, op, _line_at(n, lines)) for reason, op, n in encoded["checks"]),
        encoded["steps"],
        tuple(encoded["symbols"]),
        tuple(encoded["aligned"]),
        tuple((output, source) for output, source in encoded["donated"]),
        tuple(Origin(op, _line_at(n, lines)) for op, n in encoded["origins"]),
        tuple(_decode_access(item, lines, sizes) for item in encoded["accesses"]),
    )


def _validate(program: CompiledProgram, image: Image | None) -> None:
    """Raise ValueError unless everything that is referred to exists."""
    numbers = [*program.inputs, *program.outputs, *program.updates, *program.aligned]
    numbers += [number for pair in program.donated for number in pair]
    if len(program.origins) != len(program.buffers):
        raise ValueError("a buffer of no origin")
    for item in program.sequence:
        if not isinstance(item, Segment):
            numbers += (*item.inputs, *item.outputs)
            if isinstance(item, RegionCall):
                _validate_regions(item, program, image)
            continue
        numbers += item.buffers
        if image is None or item.symbol not in image.symbols:
            raise ValueError(f"no code for {item.symbol}")
    if not set(numbers) <= set(range(len(program.buffers))):
        raise ValueError("a buffer that isn't there")
    if not isinstance(program.arena_bytes, (int, Dim)) or type(program.steps) is not int:
        raise ValueError("a count that is no number")


def _validate_regions(call: RegionCall, program: CompiledProgram, image: Image | None) -> None:
    wanted = [program.buffers[n].type for n in call.outputs]
    for inner in call.programs:
        _validate(inner, image)
        if [inner.buffers[n].type for n in inner.outputs] != wanted or inner.updates:
            raise ValueError("a region of other results")


def _pack(encoded: dict[str, Any], blobs: Sequence[bytes]) -> bytes:
    """The length of the JSON, the JSON with the blobs' lengths, and the blobs."""
    encoded["lengths"] = [len(blob) for blob in blobs]
    text = json.dumps(encoded, separators=(",", ":")).encode()
    return b"".join([struct.pack("<Q", len(text)), text, *blobs])


def _unpack(payload: bytes) -> tuple[dict[str, Any], list[bytes]]:
    (length,) = struct.unpack_from("<Q", payload)
    encoded = json.loads(payload[8 : 8 + length])
    blobs, position = [], 8 + length
    for size in encoded["lengths"]:
        blobs.append(payload[position : position + size])
        position += size
    if position != len(payload):
        raise ValueError("a wrong length")
    return encoded, blobs


def _encode_image(image: Image) -> list[Any]:
    return [image.data_bytes, image.symbols, image.imports, image.pointers]


def _decode_image(encoded: list[Any], blobs: Sequence[bytes]) -> Image:
    data_bytes, symbols, imports, pointers = encoded
    imported = tuple((name, position) for name, position in imports)
    code, data, *_ = blobs
    image = Image(code, data, data_bytes, symbols, imported, tuple((a, b) for a, b in pointers))
    positions = [position for _, position in imported] + [
        position for position, _ in image.pointers
    ]
    if not all(image.data_at <= position <= image.total_bytes - 8 for position in positions):
        raise ValueError("a pointer outside the data")
    if not all(0 <= position < image.total_bytes for position in symbols.values()):
        raise ValueError("a symbol outside the image")
    if len(data) > data_bytes:
        raise ValueError("more data than room for it")
    return image


def _encode_type(type: TensorType) -> list[Any]:
    return [type.dtype.short, [_encode_size(n) for n in type.shape]]


def _encode_size(n: int) -> int | str:
    """An extent for JSON: a symbolic one as its text."""
    return str(n) if isinstance(n, Dim) else n


def _decode_size(encoded: int | str, sizes: Sizes) -> int:
    if isinstance(encoded, str):
        made = parse_dim(encoded, sizes)
        if isinstance(made, Dim) and not sizes.hints.keys() >= set(made.symbols):
            raise ValueError(f"a symbol that isn't there in {encoded}")
        return made
    if type(encoded) is not int:
        raise ValueError("an extent that is no number")
    return encoded


def _decode_buffer(encoded: list[Any], blobs: Sequence[bytes], sizes: Sizes) -> Buffer:
    short, shape, role, index, offset, *blob = encoded
    offset_bytes = _decode_size(offset, sizes)
    type = TensorType(tuple(_decode_size(n, sizes) for n in shape), BY_SHORT[short])
    value = None
    if blob:
        value = np.ndarray(type.shape, type.dtype.dtype, blobs[blob[0]])
    return Buffer(type, role, index, value, offset_bytes)


def _decode_access(encoded: list[Any], lines: Sequence[SourceLine], sizes: Sizes) -> Access:
    kernel, buffer, size, offset, axes, line = encoded
    pairs = tuple((_decode_size(s, sizes), _decode_size(n, sizes)) for s, n in axes)
    size, offset = _decode_size(size, sizes), _decode_size(offset, sizes)
    return Access(kernel, buffer, size, offset, pairs, _line_at(line, lines))


def _decode_step(
    encoded: list[Any], blobs: Sequence[bytes], lines: Sequence[SourceLine], sizes: Sizes
) -> Segment | LibraryCall | RegionCall:
    if len(encoded) == 2:
        return Segment(tuple(encoded[1]), encoded[0])
    name, attrs, inputs, outputs, several, line, nodes = encoded
    if isinstance(several, list):
        return RegionCall(
            primitive_named(name),
            tuple((key, _decode_attr(value, sizes)) for key, value in attrs),
            tuple(inputs),
            tuple(outputs),
            tuple(_decode_program(inner, blobs, lines, sizes) for inner in several),
            _line_at(line, lines),
            tuple(nodes),
        )
    return LibraryCall(
        primitive_named(name),
        tuple((key, _decode_attr(value, sizes)) for key, value in attrs),
        tuple(inputs),
        tuple(outputs),
        several,
        _line_at(line, lines),
        tuple(nodes),
    )


def _line_at(number: int | None, lines: Sequence[SourceLine]) -> SourceLine | None:
    return None if number is None else lines[number]


def _encode_attr(value: Any) -> Any:
    """An attribute for JSON: as it is, or a list of its kind and its parts."""
    kind = type(value)
    if kind in (int, bool, str, float, type(None)):
        return value
    if kind is tuple:
        return ["tuple", *map(_encode_attr, value)]
    if kind is complex:
        return ["complex", value.real, value.imag]
    if kind is DType:
        return ["dtype", value.short]
    if kind is Dim:
        return ["extent", _encode_size(value)]
    raise Unstorable(f"an attribute of type {kind.__name__}")


def _decode_attr(encoded: Any, sizes: Sizes) -> Any:
    if not isinstance(encoded, list):
        return encoded
    kind, *parts = encoded
    match kind:
        case "tuple":
            return tuple(_decode_attr(part, sizes) for part in parts)
        case "complex":
            return complex(*parts)
        case "dtype":
            return BY_SHORT[parts[0]]
        case "extent":
            return _decode_size(parts[0], sizes)
    raise ValueError(f"an attribute of kind {kind}")


__all__ = [
    "Unfit", "Unreadable", "Unstorable",
    "pack_image", "pack_program", "unpack_image", "unpack_program",
]  # fmt: skip
