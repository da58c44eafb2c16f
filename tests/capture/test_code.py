"""Code objects taken apart and put together are what they were."""

from __future__ import annotations

import os
import sysconfig
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphjit.capture.code import decode, encode

LONG = bool(os.environ.get("GRAPHJIT_LONG_TESTS"))
LIBRARY = Path(sysconfig.get_paths()["stdlib"])
FILES = sorted(LIBRARY.glob("*.py")) + sorted(LIBRARY.glob("asyncio/*.py"))


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield from codes(value)


@pytest.mark.parametrize("part", range(8))
def test_the_standard_library_comes_back_byte_for_byte(part: int) -> None:
    count = 0
    for path in FILES[part :: 8 if LONG else 32]:
        for code in codes(compile(path.read_bytes(), str(path), "exec")):
            instructions, handlers = decode(code)
            copy = encode(
                code, instructions, handlers, consts=code.co_consts, stack=code.co_stacksize
            )
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
        instructions, handlers = decode(code)
        copy = encode(code, instructions, handlers, consts=code.co_consts, stack=4)
        assert copy.co_code == code.co_code
        function.__code__ = copy
        assert function(4) == 6 * count


def test_code_without_positions() -> None:
    def f(x: int) -> int:
        return x + 1

    code = f.__code__.replace(co_linetable=b"")
    instructions, handlers = decode(code)
    copy = encode(code, instructions, handlers, consts=code.co_consts, stack=code.co_stacksize)
    f.__code__ = copy
    assert f(1) == 2
    assert all(line is None for line, *_ in copy.co_positions())
