"""Random functions with `for` loops that write into arrays, leave early, and nest."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from decorated_checks import outcome, same

import graphjit as gj

TOLERANCE = 1e-9


def program(rng: random.Random) -> str:
    """A function of numbers a and b, an int k, vectors v and w of one length, and a matrix."""
    lines: list[str] = []
    listing = rng.random() < 0.3
    counters = iter(range(100))

    def index(names: list[str]) -> str:
        chosen = (
            rng.choice([*names, "0", "-1", "k % 3"]) if names else rng.choice(["0", "1", "-1"])
        )
        if names and rng.random() < 0.3:
            return rng.choice([f"{chosen} - 1", f"-{names[-1]}", f"({chosen} + 1) % 3"])
        return chosen

    def test(names: list[str]) -> str:
        simple = [
            "a < 4", "b < a", "v.sum() < 30", "k % 3 != 0", "flag", "a > b and v[1] > 0",
            f"v[{index(names)}] > 1", f"w[{index(names)}] < v[{index(names)}]",
            f"m[{index(names)}, {index(names)}] > 0",
        ]  # fmt: skip
        if names:
            simple += [f"{names[-1]} % 2 == 0", f"{names[-1]} > 1", f"{names[0]} < k"]
        return rng.choice(simple)

    def simple(names: list[str]) -> str:
        i, j = index(names), index(names)
        choices = [
            f"v[{i}] = a", f"v[{i}] += w[{j}]", f"w[{i}] = v[{j}] * 0.5 + b", "a = a * 0.5 + 1",
            f"a = v[{i}] + b", f"b = m[{i}, {j}]", f"m[{i}, {j}] = a", f"m[{i}] = v",
            f"m[{i}, :] = m[{j}, :] * 0.5", f"m[:, {i}] += 1.0", "v[1:] += w[:-1]", "b += a",
            f"v[{i}], v[{j}] = v[{j}], v[{i}]", f"row = m[{i}]; a = row.sum()", "k = 5 - k",
            f"row = m[{i}]; row[0] = b", "v = v * 0.5", "w = v + 1", "w[:] = v", "flag = a > b",
            f"t = v[{i}]; v[{i}] = w[{j}]; w[{j}] = t", "a = max(a, b)", "b = min(b, v[0])",
            "v[v > 3] = 0.5", "u = v.copy(); u[0] = a; a = u[1]", "a, b = b, a", "k += 1",
            "p = v[1:]; p[0] = a", "a = float(3) + b", "v *= 0.9", "b = abs(a - b)",
        ]  # fmt: skip
        if rng.random() < 0.4:
            choices = [
                f"a = v[:{i}].sum()", f"b = v[{i}:] @ w[{i}:]", f"m[{i}, :{j}] += 1.0",
                f"v[:{i}] = a", "a = v[v > b].sum()", "k = len(v[v > 1]) + k % 2",
                "for q in np.flatnonzero(v > 1): w[q] += 1.0", "a = max(0.0, b)",
                "p = np.nonzero(v > 0)[0]; v[p] += 1.0", f"b = np.sort(v)[:{i}].sum()",
                f"v[{i}:] *= 0.5", f"v[:{i}] = w[:{i}]", "v[v > b] = w[v > b]", "a = 0.0",
                f"q = v[k % 3:]; a = q.max(); q[{i}] = b", "b = np.unique(v).sum()",
                f"m[k % 2:, {i}:] -= np.outer(v[k % 2:], w[{i}:])", "k = np.argmax(v) + 1",
                f"p = m[:, {i}:]; a = p.sum(axis=1).max()",
                f"a = v[:k % 4][::-1].sum() + v[{i}]",
                "p = v[v > a]; a = p[0] if len(p) > 1 else b", "a = min(a, 1, b)",
                f"v = np.concatenate([v[:k % 3], v[k % 3:]])[:len(w)] + v[{i}] * 0",
                f"t = 0\n{{}}for q in range({i}): t += v[q]\n{{}}b = t + 0.5",
            ]  # fmt: skip
        if listing and rng.random() < 0.5:
            choices = [
                "out.append(a)", "out.append(b)", f"out.append(v[{i}])", "out.append(float(a))",
                "k = len(out) % 5", "a = out[-1] if len(out) > 2 else a", "out.append(v * 1)",
                "a = sum(out) if len(out) else b", "out = []", f"b = out[{i}] if out else b",
                "b = max(out) if len(out) > 1 else b", "out.append((k, a))", "out.append(k)",
                "t = out.pop() if out else a", f"table[{i}] = a", "table[k % 3] = b",
                f"a = table[{i}]", "table = [0.0] * 3", f"table[{i}] += v[{j}]",
                "out = [x * a for x in v]", "out = [q + k for q in range(k % 4)]",
                f"t = [v[q] * a for q in range(3)]; b = t[{i}]", "out = v.tolist()",
                "a = sum([x for x in v if x > b])", "flag = all([x < 4 for x in v])",
                "k = len([x for x in w if x > a])", "out = [x for x in out if x]",
                "t = [0, 0, 0]\n{}t[k % 3] = k\n{}k = k + sum(t) % 4",
                "b = max([abs(x) for x in v] + [1.0])", f"a = v.item({i}) + w[0].item()",
                "t = []\n{}for q in v: t.append(q * a)\n{}b = t[-1]",
            ]  # fmt: skip
            choices = choices if rng.random() < 0.3 else choices[:4]
        if names:
            n = names[-1]
            choices += [f"a = a + {n}", f"k = k + {n}", f"b = {n} * 0.5", f"v[{n}] = {n}"]
        return rng.choice(choices)

    def statement(depth: int, indent: str, names: list[str], loop: str) -> None:
        pick = rng.random()
        more = indent + "    "
        if depth and pick < 0.2:
            lines.append(f"{indent}if {test(names)}:")
            block(depth - 1, more, names, loop)
            if rng.random() < 0.5:
                lines.append(f"{indent}else:")
                block(depth - 1, more, names, loop)
        elif depth and pick < 0.5:
            name = f"i{next(counters)}"
            least = "3" if rng.random() < 0.8 else "4"
            bounds = rng.choice(
                [least, "len(v)", f"0, {least}", "2, -1, -1", "1, 3", "0, 3, 2"]
            )
            lines.append(f"{indent}for {name} in range({bounds}):")
            block(depth - 1, more, [*names, name], "for")
            if rng.random() < 0.15:
                lines.append(f"{indent}else:")
                block(0, more, names, loop)
        elif depth and pick < 0.56:
            name = f"i{next(counters)}"
            lines.append(f"{indent}{name} = 0")
            lines.append(f"{indent}while {name} < 3 and {test(names)}:")
            block(depth - 1, more, names, "while")
            lines.append(f"{more}{name} += 1")
        elif loop and pick < 0.62:
            lines.append(f"{indent}if {test(names)}:")
            ways = ["break", "break", "return a, b, v, 1", "k = 2; break"]
            ways += ["continue"] * (loop == "for")  # the other kind counts at its end
            lines.append(more + rng.choice(ways))
        elif loop and pick < 0.63:
            lines.append(f"{indent}if {test(names)}:")
            lines.append(f"{more}raise ValueError(k)")
        else:
            lines.append(indent + simple(names).replace("{}", indent))

    def block(depth: int, indent: str, names: list[str], loop: str) -> None:
        for _ in range(rng.randrange(1, 4)):
            statement(depth, indent, names, loop)

    block(3, "    ", [], "")
    block(2, "    ", [], "")
    start = ["def f(a, b, k, v, w, m):", "    flag, out, table = True, [], [0.0, 1.0, 2.0]"]
    result = "out, table, flag" if listing else "flag"
    return "\n".join([*start, *lines, f"    return a, b, k, v, w, m, {result}"])


def check(seed: int) -> Any:
    """Call a random function decorated and undecorated; gives the decorated one."""
    rng = random.Random(seed)
    text = program(rng)
    names: dict[str, Any] = {"np": np}
    exec(text, names)
    f, draw = names["f"], np.random.default_rng(seed)
    decorated = gj.function(f)
    for _ in range(5):
        a, b = (np.float64(round(x, 1)) for x in draw.normal(size=2) * 3)
        size = rng.choice([4, 4, 5])
        arrays = [np.round(draw.normal(size=s), 1) for s in (size, size, (size, size))]
        args = (a, b, int(draw.integers(0, 6)), *arrays)
        outcomes = []
        for g in (decorated, f):
            given = tuple(x.copy() if isinstance(x, np.ndarray) else x for x in args)
            outcomes.append((outcome(g, given), given))
        same(outcomes[0], outcomes[1], f"seed {seed}, {args}\n{text}", TOLERANCE)
    return decorated


__all__ = ["check"]
