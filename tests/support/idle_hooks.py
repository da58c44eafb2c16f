"""Run tests of the standard library with the functions that they test instrumented.

python idle_hooks.py textwrap difflib …   prints a line for each module, and ends with 1 if a
test failed that passes without hooks.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import io
import sys
import types
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from graphjit.capture.hooks import Hooks
from graphjit.capture.instrument import CannotInstrument, instrument


class CountingHooks(Hooks):
    """Hooks that do nothing but count some of what they see."""

    seen = 0

    def load_global(self, value: Any, name: str) -> Any:
        """Count a global."""
        CountingHooks.seen += 1
        return value


HOOKS = CountingHooks()
refused: list[str] = []


def _instrumented(code: types.CodeType) -> types.CodeType:
    try:
        return instrument(code, HOOKS, nested=True)
    except CannotInstrument as error:
        refused.append(str(error))
        return code


@contextlib.contextmanager
def instrumented_imports(name: str) -> Iterator[None]:
    """Within, a module, its submodules and what it is in Python have hooks in all functions."""
    tops = name, f"_py{name}"
    for other in [m for m in sys.modules if m.partition(".")[0] in tops]:
        del sys.modules[other]
    original = importlib.machinery.SourceFileLoader.get_code

    def get_code(self: Any, module: str) -> Any:
        code = original(self, module)
        ours = module.partition(".")[0] in tops
        return _instrumented(code) if ours and code is not None else code

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    try:
        yield
    finally:
        importlib.machinery.SourceFileLoader.get_code = original  # type: ignore[method-assign]


def main(names: list[str]) -> int:
    """Run the tests of these modules; gives how many of them had a failure."""
    bad = 0
    for name in names:
        before = CountingHooks.seen
        stream = io.StringIO()
        with instrumented_imports(name):
            importlib.import_module(name)
            suite = unittest.defaultTestLoader.loadTestsFromName(f"test.test_{name}")
            result = unittest.TextTestRunner(stream=stream, verbosity=0).run(suite)
        failed = len(result.failures) + len(result.errors)
        seen = CountingHooks.seen - before
        print(
            f"{name}: {result.testsRun} run, {failed} failed, {seen} globals seen", flush=True
        )
        if failed:
            print(stream.getvalue(), flush=True)
        bad += bool(failed) or not result.testsRun or not seen
    print(f"refused: {refused}")
    return bad


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
