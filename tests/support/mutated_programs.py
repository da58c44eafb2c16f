"""Small random programs that read and write state, which changes at random between calls.

    python tests/support/mutated_programs.py [--steps 100000] [--seed 0] [--quick]

A program has globals, cells, objects, classes, containers, helpers; its function reads and
writes some of them in an order that is drawn. Two copies run, one decorated. Before each call a
statement that is drawn changes something in both. Results must be the same, or both calls raise
the same type of exception; the argument, all state and what was printed must be the same, too.
Prints how many specializations run eagerly, and why.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import re
import sys
import types
import warnings
from typing import Any

import numpy as np

import graphjit as gj
from graphjit.core.config import config

START = """
import functools, math, operator, types
import numpy as np
a, b, on, mode, none = 2.0, 3, True, "add", None
w, v = np.arange(4.0), np.ones(4)
numbers, arrays, nested = [1.0, 2.0], [np.ones(4), np.arange(4.0)], [[1.0], [2.0, 3.0]]
table, deep = {"p": 2.0, "q": 3.0}, {"k": {"w": np.ones(4), "n": 2.0}}
module = types.ModuleType("settings")
module.rate, module.w = 0.5, np.arange(4.0) + 1

class Base:
    scale = 2.0
    weights = np.ones(4) * 3
    def apply(self, x):
        return x * self.scale
    @property
    def double(self):
        return self.k * 2
    @classmethod
    def rated(cls, x):
        return x + cls.scale
    @staticmethod
    def shift(x):
        return x - 1

class Layer(Base):
    def __init__(self, k):
        self.k, self.w, self.items = k, np.arange(4.0) * k, [k, 1.0]
    def apply(self, x):
        return super().apply(x) + self.w
    def __call__(self, x):
        return x * self.k
    def __len__(self):
        return len(self.items)
    def bump(self):
        self.k += 1.0
        self.calls = getattr(self, "calls", 0) + 1
    @property
    def level(self):
        return self._level
    @level.setter
    def level(self, value):
        self._level = value * 2
    def mix(self, x):
        self.w = 0.9 * self.w + 0.1 * x
        self.last = self.w
        return self.w - x
    def __getitem__(self, n):
        return self.items[n]

class Pair:
    __slots__ = ("left", "right")
    def __init__(self, left, right):
        self.left, self.right = left, right
    def __add__(self, other):
        return Pair(self.left + other.left, self.right * other.right)
    def __eq__(self, other):
        return self.left == other.left

layers = [Layer(1.0), Layer(2.0)]
one, two = Pair(1.0, 2.0), Pair(1.0, 3.0)

def make(c):
    def inner(x):
        return x * c
    def put(value):
        nonlocal c
        c = value
    return inner, put
inner, put = make(2.0)

def helper(x, k=1.5, *, shift=0.5):
    return x * k + shift + a
def other(x):
    return x - helper(x)
def chosen(x):
    return x + 1
chosen.rate = 2.0
def hold(owner, x):
    owner.held, owner.pair = x, (x.sum(), [x * 2.0])
def history(x, seen=[]):
    seen.append(x.sum())
    return len(seen)
kept = {}
def memo(k):
    if k not in kept:
        kept[k] = k * 2
    return kept[k]
def flip(x, w):
    t = x.copy()
    x[:] = w
    w[:] = t
bound = functools.partial(np.multiply, 2.0)
pick = lambda x: x * b
"""

# Expressions of x, an array of four floats.
TERMS = """
x * a|x + b|x * w|x - v|np.exp(-w) * x|helper(x)|helper(x, b)|other(x)|chosen(x)|pick(x)|inner(x)
x * chosen.rate|bound(x)|x * sum(numbers)|x * numbers[0]|x * numbers[-1]|x + len(numbers)
x * max(numbers)|sum(x * k for k in numbers)|sum(arrays) * x|arrays[0] * x|np.stack(arrays).sum(0)
x * sum(sum(r) for r in nested)|x * table["p"]|x * table.get("r", 1.0)|x * sum(table.values())
x + len(table)|x * deep["k"]["n"]|x * deep["k"]["w"]|x * module.rate|x + module.w
layers[0].apply(x)|layers[1](x)|x * layers[0].double|x * layers[0].scale|x + Layer.weights
Layer.rated(x)|layers[0].shift(x)|x * len(layers[0])|x * layers[0][0]|x + sum(layers[0].items)
x * (one + two).left|x if one == two else -x|x * one.right|x + 1 if on else x - 1
x if none is None else x * none|x * (2 if mode == "add" else 3)|x + len(mode)
x * getattr(layers[0], "k")|x * getattr(layers[0], "extra", 4.0)
x + 1 if hasattr(layers[0], "extra") else x|x + 1 if "r" in table else x|x + (2.0 in numbers)
x + isinstance(none, float)|x * (1 if w is v else 2)|x + float(f"{b}")|x * np.float32(a)
functools.reduce(lambda p, q: p + q, numbers) * x|x * sum(map(lambda k: k * a, numbers))
x * sorted(numbers, key=lambda k: -k * b)[0]|x.reshape(2, 2).sum() * x|x[:: 1 if on else -1]
sum(l.apply(x) for l in layers)|Layer(a).apply(x)|x * [k for k in numbers if k > 1][0]
x * operator.mul(a, b)|x * math.floor(a)|x * (lambda k=a: k)()|np.where(on, x, -x) * a
"""
# Statements that write outside of the function, or into its argument.
WRITES = """
global a; a = a + 1.0|global b; b += 1|global w; w = w * 0.5 + x|global v; v = x|w[1:] = x[1:]
w[w > 1.0] = 0.25|w += x|v *= 0.5|x[1:] += 1.0|x[x < 0] = 0.5|x += w|r = x[:2]; r[:] = 1.0
r = x[::2]; r *= 2.0; x = x + r.sum()|np.add(x, 1.0, out=x)|np.copyto(w, x)|x.fill(2.0)|x.sort()
x[-1] = a; x = x + 0.0|layers[0].k = layers[0].k + 1.0|layers[0].w = layers[0].w + x
layers[1].w += 0.5|layers[0].w[0] = x[1]|layers[0].extra = x * 1.0|layers[0].items[0] = 3.0
layers[0].items.append(1.5)|numbers.append(2.5)|numbers[0] = numbers[0] + 1.0|numbers += [1.0]
arrays[0] = arrays[0] + x|arrays[1] += x|arrays.append(x * 2.0)|table["p"] = table["p"] * 1.5
table["s"] = 2.0|table.setdefault("t", a)|table.update(p=1.0, u=2.0)|deep["k"]["w"] = x * 0.5
deep["k"]["n"] += 1.0|module.rate = module.rate * 1.25|module.w = module.w + x|module.w[2] = 1.0
one.left = one.left + 1.0|two.right += a|put(a)|put(x[0] * 1.0)|chosen.rate = chosen.rate + 1.0
print("calls", b)|print(x)|print(len(numbers), w.shape)|hold(layers[0], x)|layers[0].bump()
layers[0].level = a|x = layers[0].mix(x)|nested[0].append(a)|history(x)|memo(b)|global on; on = not on
x = x + (w is v)|vars(layers[0])["k"] = 1.5|setattr(layers[0], "k", 2.5)|flip(x, w)|first = x; x = x * 1.0; first[0] = 7.0
"""
# What changes: `r()` is a random number, `n()` a small whole one, `z()` an array of four floats.
CHANGES = """
a = r()|a = n()|b = n()|b = r()|on = not on|on = n()|mode = "mul" if mode == "add" else "add"
none = r()|none = None|none = z()|w = z()|w[n() % 4] = r()|v = w|v = z()|w = z().astype("f4")
numbers.append(r())|numbers[0] = r()|numbers = [r(), r()]|numbers.pop() if len(numbers) > 2 else 0
numbers.insert(0, n())|numbers = (r(), 2.0)|arrays.append(z())|arrays[0] = z()|arrays[1][0] = r()
arrays = arrays[:2]|nested[0].append(r())|nested.append([r()])|nested = nested[:2]|table["p"] = r()
table["r"] = r()|table.pop("r", 0)|table = dict(reversed(list(table.items())))|deep["k"]["n"] = r()
deep["k"]["w"] = z()|deep["k"] = {"w": z(), "n": r()}|module.rate = r()|module.w = z()
layers[0].k = r()|layers[0].w = z()|layers[1] = Layer(r())|layers.append(Layer(r()))
layers = layers[:2]|layers[0].items.append(r())|layers[0].items[0] = r()|Base.scale = r()
layers[0].scale = r()|layers[0].__dict__.pop("scale", 0)|Base.weights = z()|Layer.weights[0] = r()
layers[0].extra = r()|layers[0].__dict__.pop("extra", 0)|one.left = r()|one = Pair(r(), r())
two.left = one.left|one.right = r()|put(r())|put(n())|inner, put = make(r())|chosen.rate = r()
chosen = lambda x: x * 2; chosen.rate = r()|helper.__defaults__ = (r(),)
helper.__kwdefaults__ = {"shift": r()}|bound = functools.partial(np.multiply, r())
bound = functools.partial(np.add, r())|pick = (lambda x: x + b)|pick = np.negative|layers[0].apply = pick
layers[0].__dict__.pop("apply", 0)|Layer.shift = staticmethod(lambda x: x + a)
Base.double = property(lambda self: self.k * 3)|Layer.__len__ = lambda self: n0|0|0|0|0
"""
TERM_LIST = [t.strip() for t in TERMS.replace("\n", "|").split("|") if t.strip()]
WRITE_LIST = [t.strip() for t in WRITES.replace("\n", "|").split("|") if t.strip()]
CHANGE_LIST = [t.strip() for t in CHANGES.replace("\n", "|").split("|") if t.strip()]
NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:e[+-]\d+)?"
X = np.array([0.5, 1.5, -2.0, 3.0])


class Steps:
    """Two copies of a drawn program, changed alike."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        terms = self.random.sample(TERM_LIST, self.random.randint(1, 4))
        lines = [f"x = {term}" for term in terms]
        writes = self.random.sample(WRITE_LIST, self.random.choice([0, 0, 1, 1, 2, 3]))
        names = [t.split(";")[0] for t in writes if t.startswith("global")]
        for text in writes:
            parts = [t.strip() for t in text.split(";") if not t.startswith("global")]
            lines.insert(self.random.randint(0, len(lines)), "; ".join(parts))
        result = self.random.choice(["x", "x", "x", "x, w", "x[1:]", "x * 1.0, first"])
        result = result.replace("first", "v")
        body = [*dict.fromkeys(names), *lines, f"return {result}"]
        self.text = "\n".join(["def f(x):", *(f"    {line}" for line in body)])
        self.history: list[str] = []
        self.spaces: list[dict[str, Any]] = []
        for _ in range(2):
            space: dict[str, Any] = {"__name__": "__main__", "n0": 3}
            exec(START + self.text, space)
            self.spaces.append(space)
        self.plain = self.spaces[0]["f"]
        self.decorated = gj.function(self.spaces[1]["f"])

    def step(self) -> str:
        """Change something and call both; an empty string, or what differs."""
        change, seed = self.random.choice(CHANGE_LIST), self.random.random()
        self.history.append(change)
        for space in self.spaces:
            draw = random.Random(seed)
            space["r"] = lambda draw=draw: draw.choice([0.0, -1.5, 2.0, draw.uniform(-3, 3)])
            space["n"] = lambda draw=draw: draw.randint(0, 4)
            space["z"] = lambda draw=draw: np.array([draw.uniform(-2, 2) for _ in range(4)])
            try:
                exec(change, space)
            except (AttributeError, TypeError):  # such as to append to a tuple, in both
                continue
        wanted, found = outcome(self.plain), outcome(self.decorated)
        same = all(map(agree, found, wanted)) and len(found) == len(wanted)
        states = [state(space) for space in self.spaces]
        same = same and agree(states[1], states[0])
        if not same:
            changes = "\n".join(self.history)
            text = f"{self.text}\n{changes}\nfound {found!r}\nwanted {wanted!r}"
            for name in states[0].keys() | states[1].keys():
                pair = [space.get(name) for space in states]
                if not agree(pair[1], pair[0]):
                    text += f"\n{name}: found {pair[1]!r}, wanted {pair[0]!r}"
            return text
        return ""


def outcome(function: Any) -> list[Any]:
    """What a call gives, or the type of what it raises, the argument after it, what it printed,
    and whether the result is the argument.
    """
    x, text = X.copy(), io.StringIO()
    with contextlib.redirect_stdout(text):
        try:
            result = function(x)
        except Exception as error:
            result = type(error)
    shared = isinstance(result, np.ndarray) and np.may_share_memory(result, x)
    return [result, x, text.getvalue(), result is x, shared]


def state(value: Any, depth: int = 0) -> Any:
    """All that an object holds, as plain containers."""
    if depth > 6:
        return None
    if isinstance(value, dict):
        names = [k for k in value if k not in ("__builtins__", "r", "n", "z", "f")]
        return {k: state(value[k], depth + 1) for k in names}
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *(state(x, depth + 1) for x in value)]
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, types.FunctionType):
        cells = [c.cell_contents for c in value.__closure__ or ()]
        held = [vars(value), value.__defaults__, value.__kwdefaults__, cells]
        return [state(x, depth + 1) for x in held]
    if isinstance(value, types.ModuleType) and value.__name__ != "settings":
        return value.__name__
    own = {} if isinstance(value, type) else getattr(value, "__dict__", {})
    names = getattr(type(value), "__slots__", ())
    slots = {k: getattr(value, k, None) for k in names} if isinstance(names, tuple) else {}
    if own or slots:
        return [type(value).__name__, state(dict(own), depth + 1), state(slots, depth + 1)]
    return value if isinstance(value, (int, float, str, np.generic)) else type(value).__name__


def agree(found: Any, wanted: Any) -> bool:
    """Whether two outcomes are the same, but for the rounding of functions such as exp."""
    if isinstance(wanted, type) or isinstance(found, type):
        if isinstance(wanted, type) and isinstance(found, type):
            return issubclass(found, wanted)
        return False
    if isinstance(wanted, dict) and isinstance(found, dict):
        return list(found) == list(wanted) and all(agree(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, (list, tuple)) and type(found) is type(wanted):
        return len(found) == len(wanted) and all(map(agree, found, wanted))
    if isinstance(wanted, (float, int)) and not isinstance(wanted, np.generic):
        return type(found) is type(wanted) and bool(
            np.allclose(found, wanted, rtol=1e-5, atol=1e-5, equal_nan=True)
        )
    if isinstance(wanted, str) and isinstance(found, str):  # the numbers in it are as close
        texts = [re.split(NUMBER, text) for text in (found, wanted)]
        numbers = [list(map(float, re.findall(NUMBER, text))) for text in (found, wanted)]
        return texts[0] == texts[1] and agree(*numbers)
    if wanted is None or found is None:
        return wanted is found
    if type(found) is not type(wanted) or found.dtype != wanted.dtype:
        return False
    # `exp` of float32 differs from NumPy's in the last bit; changes are larger than that
    return found.shape == wanted.shape and bool(
        np.allclose(found, wanted, rtol=1e-5, atol=1e-5, equal_nan=True)
    )


def main() -> int:
    """Run until so many steps were made; gives whether one differed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="see quick_code.py")
    given = parser.parse_args()
    if given.quick:
        import quick_code

        quick_code.install()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    config.cache = False
    config.native_after = 0
    steps = wrong = programs = eager = writing = 0
    reasons: dict[str, int] = {}
    while steps < given.steps:
        program = Steps(given.seed + programs)
        programs += 1
        for _ in range(12):
            steps += 1
            difference = program.step()
            if difference:
                wrong += 1
                print(f"seed {given.seed + programs - 1}:\n{difference}\n", flush=True)
                break
        for made in program.decorated.specializations:
            writing += made.effects is not None
            if made.reason:
                eager += 1
                reason = made.reason.split("\n")[0]
                reasons[reason] = reasons.get(reason, 0) + 1
    print(
        f"{steps} steps of {programs} programs, {wrong} differ; "
        f"compiled with writes: {writing}; eager: {eager}"
    )
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1])[:10]:
        print(f"  {count} {reason}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
