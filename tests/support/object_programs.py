"""Random functions whose loops store in attributes of objects, in globals, and in variables of
functions around them.

    python tests/support/object_programs.py [--seed 0] [--count 200]
"""

from __future__ import annotations

import argparse
import random
import sys
import warnings
from collections import Counter
from typing import Any

import numpy as np
from decorated_checks import same

import graphjit as gj

TOLERANCE = 1e-9

HEAD = """
class Part:
    def __init__(self, size):
        self.speed, self.place = 1.0, np.arange(size) * 0.5

    def move(self, by):
        self.place = self.place + self.speed * by
        self.speed *= 0.5


class Box:
    def __init__(self, size):
        self.a, self.b, self.n, self.flag = 0.5, 2.0, 3, False
        self.v, self.w = np.arange(size) * 1.0, np.ones(size)
        self.best, self.log, self.part = 1e9, [], Part(size)

    def bump(self):
        self.n += 1

    def add(self, x):
        self.a += x
        if self.a > 9:
            self.a = 0.25
            self.flag = not self.flag

    def keep(self, x):
        if x < self.best:
            self.best = x

    def shift(self, by):
        self.v = self.v + by

    @property
    def total(self):
        return self.v.sum() + self.a

    @property
    def half(self):
        return self.a / 2

    @half.setter
    def half(self, value):
        self.a = value * 2


class Vec:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __add__(self, other):
        return Vec(self.x + other.x, self.y + other.y)

    def __mul__(self, k):
        return Vec(self.x * k, self.y * k)

    def turn(self):
        self.x, self.y = self.y, -self.x

count = 0
level = 0.5
"""


def program(rng: random.Random) -> str:
    """A function of an object, a number, an int and a vector; its name is `f`."""
    lines: list[str] = []
    counters = iter(range(100))
    where = rng.choice(["given", "given", "made", "global", "both"])
    objects = {"given": ["o"], "made": ["m"], "global": ["BOX"], "both": ["o", "m"]}[where]
    lists = rng.random() < 0.3
    cells = rng.random() < 0.25
    exits = rng.random() < 0.3
    records = rng.random() < 0.35

    def box() -> str:
        return rng.choice(objects)

    def test(names: list[str]) -> str:
        o = box()
        chosen = [
            f"{o}.a < 3", f"{o}.n % 3 == 0", f"{o}.v[0] < {o}.b", f"{o}.flag", "x[0] > a",
            f"{o}.total < 40", f"{o}.part.speed < 0.3", "count % 2 == 0", f"a < {o}.a",
            f"{o}.v.sum() < 20", f"{o}.best > 1",
        ]  # fmt: skip
        if names:
            chosen += [f"{names[-1]} % 2 == 0", f"{names[-1]} > 3"]
        return rng.choice(chosen)

    def simple(names: list[str]) -> str:
        o, p = box(), box()
        choices = [
            f"{o}.a = {o}.a * 0.5 + 1", f"{o}.a += a", f"{o}.n += 1", f"{o}.b = {p}.a",
            f"{o}.v = {o}.v * 0.5 + x", f"{o}.w = {p}.v + 1", f"{o}.v[0] += 1.0",
            f"{o}.v *= 0.9", f"{o}.v[1:] = {p}.w[:-1]", f"{o}.bump()", f"{o}.add(0.75)",
            f"{o}.keep({p}.v[1])", f"{o}.shift(a)", f"{o}.part.move(0.1)", "a = a * 0.5 + 0.25",
            f"a = {o}.total * 0.1", f"x = {o}.v * 1.5", f"{o}.flag = {p}.a > 1",
            f"{o}.half = {p}.half + 0.5", f"{o}.a, {o}.b = {p}.b * 0.5, {p}.a", "a += 1",
            f"{o}.v, {o}.w = {o}.w, {o}.v", f"u = {o}.v; {o}.v = u + 1; a = u[0]",
            f"{o}.part.speed = {p}.b * 0.1", f"{o}.n = {o}.n * 2 % 7", "k = 5 - k",
            f"{o}.w = {o}.v", f"x = {o}.w", f"{o}.v = x", f"{o}.a = {o}.v[k % 3]",
            f"{o}.a = min({o}.a, 3.0)", f"{o}.b = float({o}.n)", f"{o}.c = {p}.a + 1",
        ]  # fmt: skip
        if rng.random() < 0.25:
            choices = ["count += 1", "level = level * 0.5 + a", f"{o}.n = count"]
        if cells and rng.random() < 0.3:
            choices = ["tally()", f"{o}.n = seen", "seen += 1"]
        if lists and rng.random() < 0.4:
            choices = [
                f"{o}.log.append({p}.a)", f"{o}.log.append({p}.n)", f"a = {o}.log[-1]",
                f"{o}.log = []", f"{o}.n = len({o}.log)", f"{o}.log[0] = {p}.a",
                f"{o}.log.append({p}.v)",
            ]  # fmt: skip
        if records and rng.random() < 0.4:
            choices = [
                "p = p * 0.5", f"p = Vec({o}.a, a)", "p = p + q", "q = q * 0.9 + p", "a = p.y",
                "p.turn()", "q.x = p.y + 1", "p, q = q, p", "q = p", f"{o}.a = q.x * 0.5",
                "p.x *= 0.5", "s = (s[1] * 0.5, s[0] + a)", "s = (x * 0.5, a)",
                "a = s[1] * 0.1",
                f"p = Vec({o}.v[0], q.y)", "r = Vec(p.x, a); a = r.x * 0.5",
            ]  # fmt: skip
        if names and rng.random() < 0.2:
            choices = [f"{o}.n += {names[-1]}", f"{o}.a = {names[-1]} * 0.5"]
        return rng.choice(choices)

    def statement(depth: int, indent: str, names: list[str], loop: str) -> None:
        pick, more = rng.random(), indent + "    "
        if depth and pick < 0.2:
            lines.append(f"{indent}if {test(names)}:")
            block(depth - 1, more, names, loop)
            if rng.random() < 0.4:
                lines.append(f"{indent}else:")
                block(depth - 1, more, names, loop)
        elif depth and pick < 0.36:
            name = f"i{next(counters)}"
            over = rng.choice(["range(150)", "range(k)", "range(len(x))", "range(2, 9)"])
            lines.append(f"{indent}for {name} in {over}:")
            block(depth - 1, more, [*names, name], "for")
        elif depth and pick < 0.42:
            lines.append(f"{indent}for t in x:")
            lines.append(f"{more}{box()}.{rng.choice(['add', 'keep', 'shift'])}(t)")
            block(depth - 1, more, names, "for")
        elif depth and pick < 0.5:
            name = f"i{next(counters)}"
            lines.append(f"{indent}{name} = 0")
            lines.append(f"{indent}while {name} < 6 and {test(names)}:")
            block(depth - 1, more, names, "while")
            lines.append(f"{more}{name} += 1")
        elif loop and exits and pick < 0.58:
            lines.append(f"{indent}if {test(names)}:")
            ways = ["break", "return a, k", "k = 2; break", *["continue"] * (loop == "for")]
            lines.append(more + rng.choice(ways))
        elif loop and pick < 0.585:
            lines.append(f"{indent}if {test(names)}:")
            lines.append(f"{more}raise ValueError(k)")
        else:
            lines.append(indent + simple(names))

    def block(depth: int, indent: str, names: list[str], loop: str) -> None:
        for _ in range(rng.randrange(1, 4)):
            statement(depth, indent, names, loop)

    block(0, "    ", [], "")
    over = rng.choice(["for i in range(200):", "for i in range(k):", "for i in range(len(x)):"])
    o = box()
    loop = rng.choice([over, over, f"while {o}.n < 60", f"while {o}.total < 50"])
    if loop.startswith("while"):
        lines.append("    turns = 0")
        lines.append(f"    {loop} and turns < 80:")
        lines.append(f"        turns += 1; {o}.n += 1; {o}.a += 0.5")
        block(2, "        ", [], "while")
    else:
        lines.append(f"    {loop}")
        block(2, "        ", ["i"], "for")
    block(1, "    ", [], "")
    start = ["def f(o, a, k, x):", "    global count, level"]
    if cells:
        start += [
            "    seen = 0",
            "    def tally():",
            "        nonlocal seen",
            "        seen += 2",
        ]
    if "m" in objects:
        start += ["    m = Box(len(x))"]
    if records:
        start += ["    p, q, s = Vec(a, 1.0), Vec(2.0, a), (0.5, 1.5)"]
    values = ["a", "k", "x", *(["p, q, p is q, s"] if records else [])]
    values = [*values, *(["m.a, m.v, m.log, m.n"] if "m" in objects else [])]
    values += rng.sample(["o.v", "BOX.w", "o.n", "o.total", "o.log"], 2)
    return "\n".join([HEAD, *start, *lines, f"    return {', '.join(values)}", ""])


def _state(names: dict[str, Any], boxes: list[Any], result: Any) -> Any:
    """What objects and globals hold, and which arrays are one object."""
    seen: dict[int, int] = {}
    kept: list[Any] = []

    def shown(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [type(value).__name__, *map(shown, value)]
        if hasattr(value, "__dict__") and type(value).__name__ in ("Box", "Part", "Vec"):
            return {key: shown(x) for key, x in vars(value).items()}
        if isinstance(value, np.ndarray):
            kept.append(value)
            return [seen.setdefault(id(value), len(seen)), value]
        return value

    return shown([boxes, names["count"], names["level"], result])


def _outcome(function: Any, arguments: Any, reasons: list[str]) -> Any:
    """What a call gives, or the name of its error. reasons: why it ran eagerly is added."""
    with warnings.catch_warnings(record=True) as found, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        try:
            return function(*arguments)
        except (ValueError, LookupError, AttributeError, UnboundLocalError) as error:
            return next(k.__name__ for k in type(error).__mro__ if k.__module__ == "builtins")
        finally:
            reasons += [str(w.message) for w in found if w.category is gj.FallbackWarning]


def check(seed: int) -> list[str]:
    """Call a random function decorated and undecorated; gives why it ran eagerly."""
    rng = random.Random(seed)
    text = program(rng)
    sides, reasons = [], list[str]()
    for decorate in (True, False):
        names: dict[str, Any] = {"np": np, "__name__": "object_programs"}
        exec(text, names)
        f = gj.function(names["f"]) if decorate else names["f"]
        sides.append((names, f))
    draw = np.random.default_rng(seed)
    boxes = [[names["Box"](4) for _ in range(2)] for names, _ in sides]
    for (names, _), pair in zip(sides, boxes, strict=True):
        names["BOX"] = pair[1]
    for step in range(8):
        size = rng.choice([4, 4, 4, 5])
        a, x = round(float(draw.normal()), 2), np.round(draw.normal(size=size), 1)
        k, pick = int(draw.integers(0, 7)), draw.integers(0, 2)
        states = []
        for (names, f), pair in zip(sides, boxes, strict=True):
            if pick == 0:
                pair[0] = names["Box"](size)
            for box in pair:
                for owner, name in ((box, "v"), (box, "w"), (box.part, "place")):
                    if len(getattr(owner, name)) != size:
                        setattr(owner, name, np.resize(getattr(owner, name), size))
            result = _outcome(f, (pair[0], a, k, x.copy()), reasons)
            states.append(_state(names, pair, result))
        message = f"seed {seed}, step {step}, {a}, {k}, {x}\n{text}"
        same(states[0], states[1], message, TOLERANCE)
    return reasons


def main() -> int:
    """Run random programs; 1 where one differs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    given = parser.parse_args()
    gj.config.native_after = 0
    differ, ways = 0, Counter[str]()
    for seed in range(given.seed, given.seed + given.count):
        print(f"\r{seed}", end="", file=sys.stderr)
        try:
            reasons = check(seed)
        except Exception as error:
            differ += 1
            print(f"\nseed {seed}: {type(error).__name__}: {error}\n", flush=True)
            continue
        ways.update(" | ".join(reason.split("\n"))[:300] for reason in reasons)
        ways["compiled"] += not reasons
    for reason, count in ways.most_common(40):
        print(f"{count:6} {reason}")
    print(f"{given.count} programs, {differ} differ")
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main())
