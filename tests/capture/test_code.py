"""Code objects taken apart and put together are what they were."""

from __future__ import annotations

import dis
import os
import sysconfig
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphjit.capture.code import JUMPS, decode, encode, instruction

NOP = dis.opmap["NOP"]
LONG = bool(os.environ.get("GRAPHJIT_LONG_TESTS"))
LIBRARY = Path(sysconfig.get_paths()["stdlib"])
FILES = sorted(LIBRARY.glob("*.py")) + sorted(LIBRARY.glob("asyncio/*.py"))


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield from codes(value)


def copied(code: types.CodeType) -> types.CodeType:
    """A code object taken apart and put together."""
    decoded = decode(code)
    parts = [
        b"" if op in JUMPS else instruction(op, arg)
        for op, arg in zip(decoded.ops, decoded.args, strict=True)
    ]
    copy, starts = encode(code, decoded, parts, code.co_stacksize)
    assert list(starts) == decoded.starts
    return copy


@pytest.mark.parametrize("part", range(8))
def test_the_standard_library_comes_back_byte_for_byte(part: int) -> None:
    count = 0
    for path in FILES[part :: 8 if LONG else 32]:
        for code in codes(compile(path.read_bytes(), str(path), "exec")):
            copy = copied(code)
            assert copy.co_code == code.co_code
            assert copy.co_exceptiontable == code.co_exceptiontable
            assert list(copy.co_positions()) == list(code.co_positions())
            assert list(copy.co_lines()) == list(code.co_lines())
            count += 1
    assert count > 50


def test_jumps_that_need_more_bytes() -> None:
    """Distances of 300 and 70,000 units, forward and back."""
    for count in (100, 25_000):
        body = "\n".join("        total = total + k" for _ in range(count))
        text = f"def f(n):\n    total = 0\n    for k in range(n):\n{body}\n    return total\n"
        names: dict[str, object] = {}
        exec(text, names)
        function = names["f"]
        assert isinstance(function, types.FunctionType)
        code = function.__code__
        copy = copied(code)
        assert copy.co_code == code.co_code
        function.__code__ = copy
        assert function(4) == 6 * count


def test_code_without_positions() -> None:
    def f(x: int) -> int:
        return x + 1

    code = f.__code__.replace(co_linetable=b"")
    copy = copied(code)
    f.__code__ = copy
    assert f(1) == 2
    assert all(line is None for line, *_ in copy.co_positions())


def test_positions_of_longer_code() -> None:
    """Each instruction, made longer, keeps its position; on lines that go up and down, too."""
    text = (
        "def f(x):\n    y = (\n        x\n        + 1\n    )\n\n\n\n\n    return [\n"
        "        y for _ in range(3)\n        if y" + " or y" * 40 + "]\n"
    )
    names: dict[str, types.FunctionType] = {}
    exec(text, names)
    code = names["f"].__code__
    # not before what a FOR_ITER that ends passes over
    lengthened = {dis.opmap[name] for name in ("LOAD_FAST", "LOAD_CONST", "BINARY_OP", "SWAP")}
    for times in (1, 2, 9, 40):
        decoded, nop = decode(code), instruction(NOP)
        parts = [
            (nop * times if op in lengthened else b"")
            + (b"" if op in JUMPS else instruction(op, arg))
            for op, arg in zip(decoded.ops, decoded.args, strict=True)
        ]
        copy, starts = encode(code, decoded, parts, code.co_stacksize)
        before, after = list(code.co_positions()), list(copy.co_positions())
        assert len(after) == len(copy.co_code) // 2
        for number, start in enumerate(decoded.starts[:-1]):
            expected = {before[start]}
            assert set(after[starts[number] : starts[number + 1]]) == expected
        names["f"].__code__ = copy
        assert names["f"](1) == [2, 2, 2]


def test_positions_that_begin_inside_an_instruction() -> None:
    """No compiler makes such tables; what is dropped must not move the lines after it."""

    def f(x: list[int]) -> int:
        return x[0]

    decoded = decode(f.__code__)
    caches = next(n for n, op in enumerate(decoded.ops) if op == dis.opmap["BINARY_SUBSCR"])
    units = decoded.starts[caches] + 1
    inside = decoded.starts[caches + 1] - units
    rest = decoded.starts[-1] - units - inside
    for form, one_on in ((11, bytes([0, 4])), (13, bytes([2])), (14, bytes([2, 0, 1, 5]))):
        first = bytes([0x80 | 13 << 3 | units - 1, 0])
        entry = bytes([0x80 | form << 3 | inside - 1]) + one_on
        last = bytes([0x80 | 10 << 3 | rest - 1, 0, 4])
        code = f.__code__.replace(co_linetable=first + entry + last)
        before, after = (
            list(dict.fromkeys(line for _, _, line in made.co_lines()))
            for made in (code, copied(code))
        )
        line = code.co_firstlineno
        assert before == [line, line + 1] and after == [line, line + 1]
