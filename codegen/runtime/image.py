"""An object file -> an image: machine code that can be loaded at any address.

LLVM writes the functions of a module as one relocatable ELF file for x86-64. `link` lays its
sections out once. All distances within the image are then final; loading only fills in the
addresses of external functions. An image is plain bytes and numbers, so that it can be stored
on disk. loader.py loads one. Neither module needs LLVM.
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
    """Raised for an object file with something that images don't have."""


@dataclass(frozen=True, slots=True)
class Image:
    """Code, and from the next page on the data that the code writes to.

    All positions are in bytes from the start.

    code: machine code and constants
    data, data_bytes: the first bytes of the writable data; its size, with the zeros after them
    symbols: the positions of functions and variables by name
    imports: the name of each external function, with the position of a pointer to it
    pointers: positions of pointers into the image, each with the position that it points to
    """

    code: bytes
    data: bytes
    data_bytes: int
    symbols: dict[str, int]
    imports: tuple[tuple[str, int], ...]
    pointers: tuple[tuple[int, int], ...]

    @property
    def data_at(self) -> int:
        """The position of the data."""
        return round_up(len(self.code), PAGE)

    @property
    def total_bytes(self) -> int:
        """The size of the whole image."""
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
    """A symbol.

    section: that of the object file; 0 if another module defines it
    """

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


def round_up(number: int, unit: int) -> int:
    return -(-number // unit) * unit


class _Linker:
    """Takes an object file apart and lays out its image.

    positions: section -> its position in the image
    slots: external name or own symbol -> the position of a pointer to it
    stubs: external name -> the position of code that jumps there
    """

    def __init__(self, file: bytes) -> None:
        self.file = file
        kind, machine = struct.unpack_from("<HH", file, 16)
        if file[:6] != b"\x7fELF\x02\x01" or (kind, machine) != (_RELOCATABLE, _X86_64):
            raise Unlinkable("not a relocatable ELF file for x86-64")
        self.sections = self._sections()
        self.symbols = self._symbols()
        self.positions: dict[int, int] = {}
        self.slots: dict[str | int, int] = {}
        self.stubs: dict[str, int] = {}

    def image(self) -> Image:
        relocations = list(self._relocations())
        outside, pointed, written = self._collect_targets(relocations)
        code = [n for n, s in self._loaded() if not s.flags & _WRITE and n not in written]
        code.sort(key=lambda n: not self.sections[n].flags & _EXECUTE)
        data = [n for n, s in self._loaded() if n not in code]
        data.sort(key=lambda n: self.sections[n].kind == _NOBITS)
        end = self._lay_out(code, 0)
        for name in outside:
            self.stubs[name] = end = round_up(end, _WORD)
            end += _JUMP_BYTES
        code_bytes, end = end, round_up(end, PAGE)
        data_at = end
        keys: list[str | int] = [*outside, *pointed]
        for key in keys:
            self.slots[key] = end
            end += _WORD
        filled = end
        end = self._lay_out(data, end)
        for number in data:
            if self.sections[number].kind != _NOBITS:
                filled = self.positions[number] + self.sections[number].size
        whole = bytearray(filled)
        for number, position in self.positions.items():
            section = self.sections[number]
            if section.kind != _NOBITS:
                content = self.file[section.offset : section.offset + section.size]
                whole[position : position + section.size] = content
        for name, position in self.stubs.items():
            whole[position : position + 2] = _JUMP
            distance = self.slots[name] - (position + _JUMP_BYTES)
            struct.pack_into("<i", whole, position + 2, distance)
        imports = [(name, self.slots[name]) for name in outside]
        pointers = [(self.slots[n], self._position_of(self.symbols[n])) for n in pointed]
        for number, offset, kind, symbol, addend in relocations:
            position = self.positions[number] + offset
            if kind == _R_64:
                known = self.symbols[symbol]
                if known.section:
                    pointers.append((position, self._position_of(known) + addend))
                elif addend == 0:
                    imports.append((known.name, position))
                else:
                    raise Unlinkable(f"a pointer past {known.name}")
                continue
            distance = self._relative_target(kind, symbol) + addend - position
            if not -(2**31) <= distance < 2**31:
                raise Unlinkable("sections too far apart")
            struct.pack_into("<i", whole, position, distance)
        return Image(
            bytes(whole[:code_bytes]),
            bytes(whole[data_at:filled]),
            end - data_at,
            {s.name: self._position_of(s) for s in self.symbols if s.section and not s.local},
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

    def _text(self, position: int) -> str:
        return self.file[position : self.file.index(b"\0", position)].decode()

    def _symbols(self) -> list[_Symbol]:
        found = []
        for table in self.sections:
            if table.kind != _SYMTAB:
                continue
            strings = self.sections[table.link].offset
            for position in range(table.offset, table.offset + table.size, 24):
                name, info, _, section, value, _ = struct.unpack_from(
                    "<IBBHQQ", self.file, position
                )
                text = self._text(strings + name)
                found.append(_Symbol(text, section, value, info >> 4 == _LOCAL))
        return found

    def _loaded(self) -> Iterator[tuple[int, _Section]]:
        """The sections that are part of the image. Unwind tables aren't."""
        for number, section in enumerate(self.sections):
            if not section.flags & _ALLOC or not section.size or section.kind == _UNWIND:
                continue
            if section.name == ".eh_frame":
                continue
            if section.kind not in (_PROGBITS, _NOBITS) or section.flags & _TLS:
                raise Unlinkable(f"a section {section.name}")
            yield number, section

    def _relocations(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Section, offset in it, kind, symbol and addend of each relocation."""
        loaded = {number for number, _ in self._loaded()}
        for table in self.sections:
            if table.kind != _RELA or table.info not in loaded:
                continue
            for position in range(table.offset, table.offset + table.size, 24):
                offset, info, addend = struct.unpack_from("<QQq", self.file, position)
                kind, symbol = info & 0xFFFFFFFF, info >> 32
                width = _WORD if kind == _R_64 else 4
                if offset + width > self.sections[table.info].size:
                    raise Unlinkable("a relocation outside its section")
                if kind != _R_NONE:
                    yield table.info, offset, kind, symbol, addend

    def _collect_targets(
        self, relocations: list[tuple[int, int, int, int, int]]
    ) -> tuple[list[str], list[int], set[int]]:
        """The external names and own symbols that need pointers, and the sections that loading
        writes to.
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

    def _lay_out(self, sections: list[int], end: int) -> int:
        """Place sections one after another. Gives where the last ends."""
        for number in sections:
            section = self.sections[number]
            self.positions[number] = end = round_up(end, section.align)
            end += section.size
        return end

    def _position_of(self, symbol: _Symbol) -> int:
        if symbol.section >= _FIRST_RESERVED:
            return symbol.value
        if symbol.section not in self.positions:
            raise Unlinkable(f"{symbol.name!r} is in a section that is left out")
        return self.positions[symbol.section] + symbol.value

    def _relative_target(self, kind: int, symbol: int) -> int:
        """The position that a relative relocation refers to."""
        known = self.symbols[symbol]
        if kind in _R_GOT:
            return self.slots[symbol if known.section else known.name]
        return self._position_of(known) if known.section else self.stubs[known.name]


__all__ = ["Image", "Unlinkable", "link"]
