"""Small random programs that read state, which changes at random between calls.

    python tests/support/mutated_programs.py [--steps 100000] [--seed 0]

A program has globals, cells, objects, classes, containers, helpers; its function reads some of
them in an order that is drawn. Two copies run, one decorated. Before each call a statement that
is drawn changes something in both. Results must be the same, or both calls raise the same type
of exception. Prints how many calls ran compiled.
"""

from __future__ import annotations

import argparse
import random
import sys
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
CHANGE_LIST = [t.strip() for t in CHANGES.replace("\n", "|").split("|") if t.strip()]
X = np.array([0.5, 1.5, -2.0, 3.0])


class Steps:
    """Two copies of a drawn program, changed alike."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        terms = self.random.sample(TERM_LIST, self.random.randint(1, 5))
        lines = [f"    x = {term}" for term in terms]
        self.text = "\n".join(["def f(x):", *lines, "    return x"])
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
        if not agree(found, wanted):
            changes = "\n".join(self.history)
            return f"{self.text}\n{changes}\nfound {found!r}\nwanted {wanted!r}"
        return ""


def outcome(function: Any) -> Any:
    """What a call gives, or the type of what it raises."""
    try:
        return function(X.copy())
    except Exception as error:
        return type(error)


def agree(found: Any, wanted: Any) -> bool:
    """Whether two outcomes are the same, but for the rounding of functions such as exp."""
    if isinstance(wanted, type) or isinstance(found, type):
        if isinstance(wanted, type) and isinstance(found, type):
            return issubclass(found, wanted)
        return False
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
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    config.cache = False
    steps = wrong = programs = eager = 0
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
            if made.reason:
                eager += 1
                reason = made.reason.split("\n")[0]
                reasons[reason] = reasons.get(reason, 0) + 1
    print(f"{steps} steps of {programs} programs, {wrong} differ; eager: {eager}")
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1])[:10]:
        print(f"  {count} {reason}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
