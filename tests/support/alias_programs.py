"""Random programs whose results are arguments, captured arrays, views, duplicates, in
containers; each compared with the undecorated function: which objects are one, which share
memory, and what changes when one is written to.

As a script: `python tests/alias_programs.py FIRST COUNT`.
"""

from __future__ import annotations

import random
import sys
import warnings
from typing import Any

import numpy as np

import graphjit as gj

_VIEWS = [
    "{}[1:]", "{}[::2]", "{}[...]", "{}.T", "{}.reshape(-1)", "{}[:, 0]", "{}[0]", "{}[::-1]",
    "{}[None]", "{}.ravel()", "np.transpose({})", "{}.swapaxes(0, -1)", "{}[1:, :2]",
    "np.broadcast_to({}, (2, 3, 4))", "{}.squeeze()", "np.atleast_1d({})", "{}.reshape(2, 6)",
    "np.atleast_2d({})", "{}[0, ...]", "{}[:]", "{}.view()", "np.flip({})",
    "np.expand_dims({}, 0)", "{}.real", "np.split({}, 2, 1)[0]",
]  # fmt: skip
_FRESH = [
    "{} + 1", "{} * 2.0", "{}.copy()", "{}.sum(0)", "{}.sum()", "np.abs({})", "np.zeros(3)",
    "np.concatenate([{}, {}])", "{}.flatten()", "{}[[0, 1]]", "np.array({})", "{} + W",
]  # fmt: skip
_SOURCES = ["x", "y", "d['a']", "t[0]", "l[0]", "W", "V", "H['w']", "K[0]", "o.w", "o.w[1:]"]
_OBJECTS = ["d", "t", "l", "H", "K", "o", "o.items", "o.table", "P", "H['k']", "n", "s", "l[1]"]


def program(seed: int) -> str:
    """The source of a function `f` of x, y, d, t, l, n."""
    r = random.Random(seed)
    names = [*_SOURCES]
    lines = ["def f(x, y, d, t, l, n):"]
    real = {"H['w']", "K[0]", "o.w", "o.w[1:]"}
    for k in range(r.randint(1, 5)):
        pattern = r.choice(_VIEWS if r.random() < 0.6 else _FRESH)
        source = r.choice(names[-3:] if r.random() < 0.5 else names)
        copies = pattern in _FRESH or any(part in pattern for part in ("ravel", "shape", "[0]"))
        if copies and source in real:  # what NumPy computes of it is built in
            source = "x"
        if source in real:
            real.add(f"a{k}")
        lines.append(f"    a{k} = " + pattern.replace("{}", source))
        names.append(f"a{k}")
        if r.random() < 0.15 and f"a{k}" not in real:
            lines.append(f"    a{k}[...] = 3.5")
    if r.random() < 0.3:
        lines.append(f"    c = [{r.choice(names)}]")
        names.append("c")

    def part(depth: int) -> str:
        kind = r.random()
        if depth == 0 or kind < 0.5:
            return r.choice(names[-5:] if r.random() < 0.6 else names)
        if kind < 0.65:
            return r.choice(_OBJECTS)
        if kind < 0.7:
            return r.choice(["(1, 2)", "{1}", "[1, 2]", "'text'", "2.5", "set()", "{}", "()"])
        parts = [part(depth - 1) for _ in range(r.randint(1, 3))]
        if kind < 0.85:
            return "(" + ", ".join(parts) + ",)"
        if kind < 0.93:
            return "[" + ", ".join(parts) + "]"
        return "{" + ", ".join(f"'k{i}': {p}" for i, p in enumerate(parts)) + "}"

    parts = [part(2) for _ in range(r.randint(1, 4))]
    lines.append("    return " + (parts[0] if len(parts) == 1 else ", ".join(parts)))
    return "\n".join(lines)


class Holder:
    """An object outside that the functions read."""


class World:
    """Arguments and globals, made anew."""

    def __init__(self, source: str, decorate: bool) -> None:
        def array(start: int) -> Any:
            return np.arange(12.0).reshape(3, 4) + start

        w = array(100)
        holder = Holder()
        holder.__dict__.update(w=array(200), items=[1, 2], table={"a": [1]})
        self.names: dict[str, Any] = {
            "np": np, "W": w, "V": w[:, 1:], "H": {"w": array(300), "k": [1, 2]},
            "K": [array(400), w], "o": holder, "P": (1, [2]), "s": "text",
        }  # fmt: skip
        exec(compile(source, "<program>", "exec"), self.names)
        self.function = self.names["f"]
        if decorate:
            self.function = gj.function(self.function)
        x = array(0)
        self.arguments = [
            x,
            array(10),
            {"a": array(20), "b": x},
            (array(30), 1),
            [array(40), [5]],
            7,
        ]

    def parts(self, results: list[Any]) -> list[Any]:
        """All objects in the results, arguments and globals, in one order."""
        found: list[Any] = []

        def walk(value: Any) -> None:
            found.append(value)
            if isinstance(value, (list, tuple)):
                for item in value:
                    walk(item)
            elif isinstance(value, dict):
                for item in value.values():
                    walk(item)
            elif isinstance(value, Holder):
                walk(vars(value))

        walk(results)
        walk(self.arguments)
        walk([self.names[n] for n in ("W", "V", "H", "K", "o", "P")])
        return found


def _shape(parts: list[Any]) -> Any:
    return [
        (type(p).__name__, p.shape, p.flags.writeable)
        if isinstance(p, np.ndarray)
        else (type(p).__name__, repr(p))
        if isinstance(p, (int, float, str, np.generic))
        else type(p).__name__
        for p in parts
    ]


def _one(parts: list[Any]) -> list[int]:
    """For each object the first that it is; numbers and the like are equal by value."""
    first: dict[Any, int] = {}
    plain = (int, float, str, np.generic, type(None))
    return [
        first.setdefault(("value", type(p), repr(p)) if isinstance(p, plain) else id(p), k)
        for k, p in enumerate(parts)
    ]


def _memory(parts: list[Any]) -> list[tuple[int, int]]:
    arrays = [(k, p) for k, p in enumerate(parts) if isinstance(p, np.ndarray)]
    return [
        (k, m)
        for i, (k, a) in enumerate(arrays)
        for m, b in arrays[:i]
        if a is not b and np.shares_memory(a, b)
    ]


def _values(parts: list[Any]) -> list[Any]:
    return [
        p.tolist()
        if isinstance(p, np.ndarray)
        else len(p)
        if isinstance(p, (list, dict, set))
        else None
        for p in parts
    ]


def check(seed: int) -> str:
    """What differs from the undecorated function; empty if nothing does."""
    source = program(seed)
    plain, ours = World(source, False), World(source, True)
    expected: list[Any] = []
    got: list[Any] = []
    for call in range(3):
        try:
            expected.append(plain.function(*plain.arguments))
        except Exception as error:
            try:
                ours.function(*ours.arguments)
            except Exception as other:
                if isinstance(other, type(error)):
                    return ""
                return f"{seed}: {type(other).__name__} instead of {error!r}\n{source}"
            return f"{seed}: no {error!r}\n{source}"
        got.append(ours.function(*ours.arguments))
        parts, other = plain.parts(expected), ours.parts(got)
        for test in (_shape, _one, _memory):
            if test(parts) != test(other):
                found = f"{test(parts)}\n{test(other)}"
                return f"{seed}: call {call}: {test.__name__}\n{found}\n{source}"
        r = random.Random(seed + call)
        for k in r.sample(range(len(parts)), min(8, len(parts))):
            for part in (parts[k], other[k]):
                if isinstance(part, np.ndarray) and part.size and part.flags.writeable:
                    part[...] = part + k + 1
                elif isinstance(part, set):
                    part.add(k)
                elif isinstance(part, list) and part and type(part[-1]) is int:
                    part.append(k)
        if _values(parts) != _values(other):
            return f"{seed}: call {call}: values after writing\n{source}"
    return ""


def main() -> None:
    """Check programs."""
    warnings.simplefilter("ignore")
    gj.config.native_after = 0
    first, count = int(sys.argv[1]), int(sys.argv[2])
    wrong = 0
    for seed in range(first, first + count):
        message = check(seed)
        if message:
            wrong += 1
            print(message, "\n", flush=True)
    print(f"{wrong} of {count} programs differ")


if __name__ == "__main__":
    main()
