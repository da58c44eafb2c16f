"""Runs the cases of `state_cases` and `effect_cases`, undecorated and decorated. Compares what
they give and what they leave behind: results, arguments, the module, texts printed, warnings.

`python tests/support/state_driver.py` prints which cases run eagerly and why, and which differ.
With `--json` it prints what happened to each case; `--pickled` imports the cases as modules
from files and calls what a pickle gives back. Names of cases may follow.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import pickle
import random
import re
import sys
import tempfile
import threading
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

from effect_cases import EFFECT_CASES, Case
from picture import Painter, difference
from state_cases import CASES as STATE_CASES

import graphjit as gj

CASES: dict[str, Case] = {
    **{name: Case(text, tuple(changes)) for name, (text, changes) in STATE_CASES.items()},
    **EFFECT_CASES,
}
X = np.linspace(0.5, 3, 6)
# Names in a module's globals that are the driver's or Python's.
_OURS = {"np", "function", "__builtins__"}
_MODULE = "state_case"
# What NumPy warns of, and compiled code doesn't.
_NUMPYS_WARNINGS = re.compile("encountered in|divide by zero|invalid value|Mean of empty")


class Observation(NamedTuple):
    """A call's outcome, and all that could be seen after it."""

    outcome: Any
    arguments: Any
    state: Any
    overlaps: Any
    printed: str
    warned: Any


class Run(NamedTuple):
    """A case's observations, and the decorated functions that it made."""

    observations: list[Any]
    functions: list[gj.Function]
    fallbacks: list[str]

    def reasons(self) -> list[str]:
        """Why its functions run eagerly, where they do."""
        made = [s.reason for f in self.functions for s in f.specializations if s.reason]
        return made or self.fallbacks

    def counts(self) -> tuple[int, int]:
        """How many specializations were compiled, and how many of these come from the disk."""
        made = [s for f in self.functions for s in f.specializations if not s.reason]
        return len(made), sum(s.from_cache for s in made)


def run(case: Case, decorate: bool, *, threads: bool = False, folder: str = "") -> Run:
    """Call the function of a case again and again, with changes in between.

    threads: each call runs in a new thread. folder: where the case becomes a module of its own
    that is imported; what is called has been pickled.
    """
    functions: list[gj.Function] = []

    def decorated(function: Callable[..., Any]) -> Any:
        functions.append(gj.function(function))
        return functions[-1]

    marker: Any = decorated if decorate else lambda function: function
    with _seeded():
        if folder:
            space, call_of = _import(case, marker, folder)
        else:
            sys.modules[_MODULE] = module = types.ModuleType(_MODULE)
            space = vars(module)
            space.update({"np": np, "function": marker})
            exec(compile(case.text, "<case>", "exec"), space)
            call_of = lambda: space["f"]  # noqa: E731
        if "@function" not in case.text:
            space["f"] = marker(space["f"])
        observations: list[Any] = []
        held: list[Any] = []
        fallbacks: list[str] = []
        call = 0
        for change in ("", "", *case.changes, "", ""):
            observations.append(_change(change, space))
            for k in range(2):
                args = eval(case.args, space, {"X": X.copy(), "k": k, "n": call})
                call += 1
                observations.append(_observe(call_of(), args, space, threads, held, fallbacks))
        # What was given to earlier calls and came from them is as it was.
        painter = Painter(_MODULE)
        observations.append((painter.paint(held), painter.overlaps()))
        exec(case.end, space)
    return Run(observations, functions, fallbacks)


def lines_that_show_traced_values(case: Case) -> list[int]:
    """The lines of a case before or after which its globals hold a traced value, which other
    threads could then read.
    """
    shown: set[int] = set()

    def look(frame: types.FrameType, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename != "<case>":
            return None
        painter = Painter(_MODULE)
        held = frame.f_globals
        painter.paint([held[k] for k in list(held) if k not in _OURS and k[:2] != "__"])
        if painter.traced:
            shown.add(frame.f_lineno)
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        run(case, True)
    finally:
        sys.settrace(before)
    return sorted(shown)


def compare(found: Run, expected: Run) -> str:
    """Where two runs differ first; empty where they don't."""
    pairs = zip(found.observations, expected.observations, strict=True)
    for number, (a, b) in enumerate(pairs):
        if isinstance(b, Observation):
            for name, x, y in zip(b._fields, a, b, strict=True):
                if text := difference(x, y):
                    return f"call {number}, {name}: {text}"
        elif text := difference(a, b):
            return f"observation {number}: {text}"
    return ""


def _change(text: str, space: dict[str, Any]) -> Any:
    """Execute statements; the error where they fail, which they should do in both runs."""
    try:
        exec(text, space)
    except Exception as error:
        return (type(error).__name__, _text(error))
    return ()


def _observe(
    function: Any,
    args: tuple[Any, ...],
    space: dict[str, Any],
    thread: bool,
    held: list[Any],
    fallbacks: list[str],
) -> Observation:
    outcome: list[Any] = []

    def call() -> None:
        try:
            outcome.extend(("result", function(*args)))
        except Exception as error:
            outcome.extend(("error", type(error).__name__, _text(error)))

    printed = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(printed):
        warnings.simplefilter("always")
        if thread:
            worker = threading.Thread(target=call)
            worker.start()
            worker.join()
        else:
            call()
    held.append((args, outcome))
    fallback = [str(w.message) for w in caught if w.category is gj.FallbackWarning]
    fallbacks += [text.partition("without being compiled: ")[2] for text in fallback]
    painter = Painter(_MODULE)
    arguments = painter.paint(args)
    result = painter.paint(outcome)
    names = [k for k in space if k not in _OURS and not (k[:2] == k[-2:] == "__")]
    state = tuple((k, painter.paint(space[k])) for k in names)
    generators = (hash(random.getstate()), hash(repr(np.random.get_state())))
    return Observation(
        result,
        arguments,
        (state, generators),
        painter.overlaps(),
        printed.getvalue(),
        tuple(
            (w.category.__name__, str(w.message), w.lineno)
            for w in caught
            if w.category is not gj.FallbackWarning
            and not (w.category is RuntimeWarning and _NUMPYS_WARNINGS.search(str(w.message)))
        ),
    )


def _text(error: BaseException) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", str(error))


def _import(case: Case, marker: Any, folder: str) -> tuple[dict[str, Any], Any]:
    """The globals of a case that is imported, and what gives its function out of a pickle."""
    path = Path(folder, _MODULE + ".py")
    path.write_text("import numpy as np\nfrom state_marker import function\n" + case.text)
    marking = types.ModuleType("state_marker")
    marking.__dict__["function"] = marker
    sys.modules["state_marker"] = marking
    sys.modules.pop(_MODULE, None)
    importlib.invalidate_caches()
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    sys.path.insert(0, folder)
    try:
        module = importlib.import_module(_MODULE)
    finally:
        sys.path.remove(folder)
        sys.dont_write_bytecode = before
    space = vars(module)

    def unpickled() -> Any:
        function = space["f"]
        if "<locals>" in function.__qualname__:  # Python's pickle has no such functions
            return function
        return pickle.loads(pickle.dumps(function))

    return space, unpickled


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    """Both runs of a case begin with the same global random generators."""
    states = random.getstate(), np.random.get_state()
    random.seed(1)
    np.random.seed(1)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def check(name: str, **options: Any) -> tuple[str, Run]:
    """Where a case differs when it is decorated, and the decorated run."""
    expected = run(CASES[name], False, **options)
    found = run(CASES[name], True, **options)
    return compare(found, expected), found


def _summarise(names: list[str], pickled: bool) -> dict[str, Any]:
    """What happened to each case, for `--json`."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            differs, made = check(name, folder=folder if pickled else "")
            compiled, loaded = made.counts()
            found[name] = {
                "differs": differs,
                "reasons": made.reasons(),
                "compiled": compiled,
                "from_cache": loaded,
            }
    return found


def _kind(reason: str) -> str:
    """A reason without what is the case's own."""
    first = reason.partition("\n")[0]
    return re.sub(r"'[^']*'|`[^`]*`|\b[A-Z]\w*\b", "…", first)[:90]


def _print_table(found: dict[str, Any]) -> None:
    groups: dict[str, list[str]] = {}
    for name, what in found.items():
        for reason in dict.fromkeys(map(_kind, what["reasons"])):
            groups.setdefault(reason, []).append(name)
    eager = [name for name, what in found.items() if what["reasons"]]
    raising = [
        name
        for name in eager
        if all(reason.startswith("tracing raised") for reason in found[name]["reasons"])
    ]
    differing = {name: what["differs"] for name, what in found.items() if what["differs"]}
    print(
        f"{len(found)} cases: {len(found) - len(eager)} compiled, "
        f"{len(raising)} but for calls that raise, {len(eager) - len(raising)} run eagerly"
    )
    counts = Counter({reason: len(names) for reason, names in groups.items()})
    for reason, count in counts.most_common():
        print(f"\n{count}  {reason}")
        for name in groups[reason]:
            print(f"      {name}")
    print(f"\n{len(differing)} differ from undecorated Python")
    for name, text in differing.items():
        print(f"  {name}\n      {text}")


def main(arguments: list[str]) -> None:
    """Print the table, or JSON."""
    flags = {a for a in arguments if a.startswith("--")}
    names = [a for a in arguments if a not in flags] or list(CASES)
    found = _summarise(names, "--pickled" in flags)
    if "--json" in flags:
        print(json.dumps(found))
    else:
        _print_table(found)


if __name__ == "__main__":
    main(sys.argv[1:])
