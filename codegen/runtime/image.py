"""An object file -> an image: machine code that can be put at any address and run there.

LLVM writes the functions of a module as one relocatable ELF file for x86-64. `link` lays its
sections out once: all distances within the image are final, and what remains for a load is to
fill in the addresses of functions outside. An image is plain bytes and numbers, so that it can
be kept on disk; `loader.py` loads one. Neither needs LLVM.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from graphjit.core.frozen import dataclass

PAGE = 4096  # of every x86-64 system
_WORD = 8
# From the ELF specification and its supplement for x86-64.
_RELOCATABLE, _X86_64 = 1, 62
_PROGBITS, _SYMTAB, _RELA, _NOBITS, _UNWIND = 1, 2, 4, 8, 0x70000001
_WRITE, _ALLOC, _EXECUTE, _TLS = 1, 2, 4, 0x400
_UNDEFINED, _FIRST_RESERVED = 0, 0xFF00
_LOCAL = 0
_R_NONE, _R_64, _R_PC32, _R_PLT32 = 0, 1, 2, 4
_R_GOT = (9, 41, 42)  # GOTPCREL, GOTPCRELX, REX_GOTPCRELX
_JUMP = b"\xff\x25"  # jmp *distance(%rip)
_JUMP_BYTES = 6


class Unlinkable(Exception):
    """An object file with something that images don't have."""


@dataclass(frozen=True, slots=True)
class Image:
    """Code, and after it from the next page on what the code writes to.

    code: machine code and constants. data: the first bytes of what is writable; `data_bytes`
    with the zeros after them. symbols: the places of functions and variables by name. imports:
    the names of functions outside, each with the place of a pointer to it. pointers: places of
    pointers into the image, each with the place it points to. All places are in bytes from the
    start.
    """

    code: bytes
    data: bytes
    data_bytes: int
    symbols: dict[str, int]
    imports: tuple[tuple[str, int], ...]
    pointers: tuple[tuple[int, int], ...]

    @property
    def data_at(self) -> int:
        """Where the data begins."""
        return _up(len(self.code), PAGE)

    @property
    def total_bytes(self) -> int:
        """The room of the whole image."""
        return self.data_at + self.data_bytes


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


@dataclass(frozen=True, slots=True)
class _Symbol:
    """section: of the object file, or 0 where another module defines it."""

    name: str
    section: int
    value: int
    local: bool


def link(file: bytes) -> Image:
    """The image of an object file. Raises Unlinkable."""
    try:
        return _Linker(file).image()
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise Unlinkable(f"not an object file as expected: {error}") from error


def _up(number: int, unit: int) -> int:
    return -(-number // unit) * unit


class _Linker:
    """The object file taken apart, and the image as far as it is laid out."""

    def __init__(self, file: bytes) -> None:
        self.file = file
        kind, machine = struct.unpack_from("<HH", file, 16)
        if file[:6] != b"\x7fELF\x02\x01" or (kind, machine) != (_RELOCATABLE, _X86_64):
            raise Unlinkable("not a relocatable ELF file for x86-64")
        self.sections = self._sections()
        self.symbols = self._symbols()
        self.places: dict[int, int] = {}  # section -> its place in the image
        self.slots: dict[str | int, int] = {}  # outside name or own symbol -> its pointer
        self.stubs: dict[str, int] = {}  # outside name -> code that jumps there

    def image(self) -> Image:
        relocations = list(self._relocations())
        outside, pointed, written = self._needs(relocations)
        code = [n for n, s in self._loaded() if not s.flags & _WRITE and n not in written]
        code.sort(key=lambda n: not self.sections[n].flags & _EXECUTE)
        data = [n for n, s in self._loaded() if n not in code]
        data.sort(key=lambda n: self.sections[n].kind == _NOBITS)
        end = self._place(code, 0)
        for name in outside:
            self.stubs[name] = end = _up(end, _WORD)
            end += _JUMP_BYTES
        code_bytes, end = end, _up(end, PAGE)
        data_at = end
        keys: list[str | int] = [*outside, *pointed]
        for key in keys:
            self.slots[key] = end
            end += _WORD
        filled = end
        end = self._place(data, end)
        for number in data:
            if self.sections[number].kind != _NOBITS:
                filled = self.places[number] + self.sections[number].size
        whole = bytearray(filled)
        for number, place in self.places.items():
            section = self.sections[number]
            if section.kind != _NOBITS:
                content = self.file[section.offset : section.offset + section.size]
                whole[place : place + section.size] = content
        for name, place in self.stubs.items():
            whole[place : place + 2] = _JUMP
            distance = self.slots[name] - (place + _JUMP_BYTES)
            struct.pack_into("<i", whole, place + 2, distance)
        imports = [(name, self.slots[name]) for name in outside]
        pointers = [(self.slots[n], self._target(self.symbols[n])) for n in pointed]
        for number, offset, kind, symbol, addend in relocations:
            place = self.places[number] + offset
            if kind == _R_64:
                known = self.symbols[symbol]
                if known.section:
                    pointers.append((place, self._target(known) + addend))
                elif addend == 0:
                    imports.append((known.name, place))
                else:
                    raise Unlinkable(f"a pointer past {known.name}")
                continue
            distance = self._address(kind, symbol) + addend - place
            if not -(2**31) <= distance < 2**31:
                raise Unlinkable("sections too far apart")
            struct.pack_into("<i", whole, place, distance)
        return Image(
            bytes(whole[:code_bytes]),
            bytes(whole[data_at:filled]),
            end - data_at,
            {s.name: self._target(s) for s in self.symbols if s.section and not s.local},
            tuple(imports),
            tuple(pointers),
        )

    def _sections(self) -> list[_Section]:
        (start,) = struct.unpack_from("<Q", self.file, 40)
        size, count, names = struct.unpack_from("<HHH", self.file, 58)
        raw = [
            struct.unpack_from("<IIQQQQIIQQ", self.file, start + number * size)
            for number in range(count)
        ]
        strings = raw[names][4]
        return [
            _Section(
                self._text(strings + r[0]), r[1], r[2], r[4], r[5], r[6], r[7], max(1, r[8])
            )
            for r in raw
        ]

    def _text(self, place: int) -> str:
        return self.file[place : self.file.index(b"\0", place)].decode()

    def _symbols(self) -> list[_Symbol]:
        found = []
        for table in self.sections:
            if table.kind != _SYMTAB:
                continue
            strings = self.sections[table.link].offset
            for place in range(table.offset, table.offset + table.size, 24):
                name, info, _, section, value, _ = struct.unpack_from(
                    "<IBBHQQ", self.file, place
                )
                text = self._text(strings + name)
                found.append(_Symbol(text, section, value, info >> 4 == _LOCAL))
        return found

    def _loaded(self) -> Iterator[tuple[int, _Section]]:
        """The sections that are part of the image; tables for unwinding are not."""
        for number, section in enumerate(self.sections):
            if not section.flags & _ALLOC or not section.size or section.kind == _UNWIND:
                continue
            if section.name == ".eh_frame":
                continue
            if section.kind not in (_PROGBITS, _NOBITS) or section.flags & _TLS:
                raise Unlinkable(f"a section {section.name}")
            yield number, section

    def _relocations(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Section, place in it, kind, symbol and addend of each relocation."""
        loaded = {number for number, _ in self._loaded()}
        for table in self.sections:
            if table.kind != _RELA or table.info not in loaded:
                continue
            for place in range(table.offset, table.offset + table.size, 24):
                offset, info, addend = struct.unpack_from("<QQq", self.file, place)
                kind, symbol = info & 0xFFFFFFFF, info >> 32
                width = _WORD if kind == _R_64 else 4
                if offset + width > self.sections[table.info].size:
                    raise Unlinkable("a relocation outside its section")
                if kind != _R_NONE:
                    yield table.info, offset, kind, symbol, addend

    def _needs(
        self, relocations: list[tuple[int, int, int, int, int]]
    ) -> tuple[list[str], list[int], set[int]]:
        """The outside names and own symbols to which pointers are needed, and the sections
        that are written to as the image is loaded.
        """
        outside: dict[str, None] = {}
        pointed: dict[int, None] = {}
        written = set()
        for section, _, kind, symbol, _ in relocations:
            known = self.symbols[symbol]
            if known.section >= _FIRST_RESERVED:
                raise Unlinkable(f"the symbol {known.name}")
            if kind == _R_64:
                if self.sections[section].flags & _EXECUTE:
                    raise Unlinkable("an absolute address in code")
                written.add(section)
            elif kind in _R_GOT and known.section:
                pointed[symbol] = None
            elif kind in _R_GOT or (kind == _R_PLT32 and not known.section):
                outside[known.name] = None
            elif kind not in (_R_PC32, _R_PLT32) or not known.section:
                raise Unlinkable(f"a relocation of kind {kind} for {known.name!r}")
        return list(outside), list(pointed), written

    def _place(self, sections: list[int], end: int) -> int:
        """Place sections one after another; where the last ends."""
        for number in sections:
            section = self.sections[number]
            self.places[number] = end = _up(end, section.align)
            end += section.size
        return end

    def _target(self, symbol: _Symbol) -> int:
        if symbol.section >= _FIRST_RESERVED:
            return symbol.value
        if symbol.section not in self.places:
            raise Unlinkable(f"{symbol.name!r} stands in a section that is left out")
        return self.places[symbol.section] + symbol.value

    def _address(self, kind: int, symbol: int) -> int:
        """The place that a relative relocation means."""
        known = self.symbols[symbol]
        if kind in _R_GOT:
            return self.slots[symbol if known.section else known.name]
        return self._target(known) if known.section else self.stubs[known.name]


__all__ = ["Image", "Unlinkable", "link"]
