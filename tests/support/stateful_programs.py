"""Small random programs with state, of which many can't be traced, compared with plain Python.

    python tests/support/stateful_programs.py [--programs 10000] [--seed 0]

A program is a class, helpers and globals whose parts are drawn: what is read and written, where
(attributes, slots, globals, cells, class attributes, defaults, attributes of functions, lists,
dicts, sets, deques, arrays, random generators), in which order, by which helper, what ends a
trace part way (`if` on a value, an exception of the program's own, float()), and how often it
is called. Two copies run, one decorated. Results, exceptions and all that can be reached
afterwards must be the same after each call, and none of it may be a traced value. A decorated
copy with `fallback="error"` may raise TracingError instead, but must then have changed nothing.
"""

from __future__ import annotations

import argparse
import random
import sys
import warnings
from typing import Any

import numpy as np

import graphjit as gj
from graphjit.tracing.symbolic_tensor import SymbolicTensor

START = """
import random, math, functools
from collections import deque, OrderedDict, defaultdict
import numpy as np

total = np.zeros(3)
count = 0
table = {"n": 0}
items = []
seen = set()
last = deque(maxlen=3)
rng = np.random.default_rng(5)
state = np.random.RandomState(6)
dice = random.Random(7)
buffer = np.zeros(4)
ordered = OrderedDict(a=1.0, b=2.0)

class Slotted:
    __slots__ = ("value", "n")
    def __init__(self):
        self.value, self.n = np.zeros(3), 0
    def bump(self, x):
        self.n += 1
        self.value = self.value + x
        return self.value

class Inner:
    scale = 1.0
    made = 0
    def __init__(self):
        self.w, self.log, self.k = np.ones(3), [], 0
    def go(self, x):
        self.k += 1
        self.log.append(self.k)
        return x * self.w
    @property
    def counted(self):
        self.k += 10
        return float(self.k)
    def __call__(self, x):
        self.w = self.w + x
        return self.w
    def __add__(self, x):
        self.k += 100
        return x + self.k

class Model:
    shared = np.zeros(3)
    def __init__(self):
        self.w = np.zeros(3)
        self.n = 0
        self.inner = Inner()
        self.slotted = Slotted()
        self.layers = [Inner(), Inner()]
        self.cache = {}
        self.rng = np.random.default_rng(1)
        self.buffer = np.zeros(3)
        self.lazy = None

def make():
    held = 0.0
    calls = []
    def push(x):
        nonlocal held
        held = held + x
        calls.append(1)
        return held
    def look():
        return held, list(calls)
    return push, look

push, look = make()

def add_global(x):
    global total, count
    total = total + x
    count += 1
    return total

def memo(x, cache={}):
    cache["s"] = cache.get("s", 0) + x
    return cache["s"]

def counted(x):
    counted.n = getattr(counted, "n", 0) + 1
    return x * counted.n

def draws(x):
    return x + rng.normal()

def legacy(x):
    return x * state.rand() + dice.random()

def kept(x):
    last.append(x)
    return sum(last)

def fills(x):
    buffer[:] += 1.0
    return x + buffer.sum()

@functools.lru_cache(maxsize=None)
def window(n):
    seen.add(n)
    return np.hanning(n)

def nested(x):
    return counted(add_global(x)) + 1

def classy(x):
    Model.shared = Model.shared + x
    Inner.made += 1
    return x * Inner.made

model = Model()
"""
STATEMENTS = [
    "m.n += 1",
    "m.w = m.w + x",
    "m.w = m.w * 0.5",
    "m.cache['last'] = x * 2",
    "m.cache[len(m.cache)] = m.n",
    "m.inner.w = x + 1",
    "x = m.inner.go(x)",
    "x = x + m.inner.counted",
    "x = m.inner(x)",
    "x = m.inner + x",
    "for layer in m.layers:\n        x = layer.go(x)",
    "setattr(m.layers[0], 'w', x)",
    "getattr(m, 'inner').k += 5",
    "vars(m)['n'] += 2",
    "x = m.slotted.bump(x)",
    "m.slotted.n -= 1",
    "m.buffer += 1.0",
    "m.buffer[0] = m.n",
    "x = x + m.rng.random()",
    "if m.lazy is None:\n        m.lazy = np.arange(3.0)\n    x = x + m.lazy",
    "if m.lazy is None:\n        m.lazy = x * 2\n    x = x + m.lazy",
    "x = push(x)",
    "x = add_global(x)",
    "x = memo(x)",
    "x = counted(x)",
    "x = draws(x)",
    "x = legacy(x)",
    "x = kept(x)",
    "x = fills(x)",
    "x = x * window(3)",
    "x = nested(x)",
    "x = classy(x)",
    "x = x + np.random.rand()",
    "x = x + random.random()",
    "table['n'] += 1",
    "items.append(m.n)",
    "items.append(x)",
    "items[:] = items[-2:]",
    "seen.add(m.n)",
    "ordered.move_to_end('a')",
    "ordered['b'] = ordered['b'] + 1",
    "m.new = m.n",
    "m.new = x",
    "if hasattr(m, 'new'):\n        del m.new",
    "Inner.scale = Inner.scale + 1",
    "x = x * Inner.scale",
    "x = np.tanh(x) + 0.25",
    "y = x - 1\n    x = y * y",
    "rng.shuffle(items)",
    "m.layers.append(Inner())",
    "m.layers.reverse()",
    "m.inner, m.layers[0] = m.layers[0], m.inner",
]
ENDS = [
    "if x.sum() > {C}:\n        x = x * 0.1",
    "if m.n > {C}:\n        raise ValueError('n')",
    "if float(x[0]) > {C}:\n        raise KeyError('x')",
    "x = x + float(x.mean())",
    "x = x + int(x[0])",
    "assert m.n < {C} + 3, 'many'",
    "try:\n        x = x * float(x[1])\n    finally:\n        m.n += 1",
    "try:\n        if x.max() > {C}:\n            raise IndexError\n    except IndexError:\n"
    "        m.n += 3",
    "x = x + [1.0, 2.0][m.n]",
    "x = np.array([float(v) for v in x])",
    "raise RuntimeError('always')",
    "",
    "",
    "",
]
RETURNS = ["return x", "return x * 2, m.n", "return {'x': x + 0, 'n': m.n}", "return x.sum()"]


def source(draw: random.Random) -> str:
    """The text of a program's function."""
    lines = draw.sample(STATEMENTS, draw.randint(1, 5))
    lines.insert(draw.randint(0, len(lines)), draw.choice(ENDS))
    lines.append(draw.choice(RETURNS))
    body = "\n    ".join(line for line in lines if line)
    return "def step(m, x):\n    " + body.replace("{C}", str(draw.randint(0, 4))) + "\n"


def seen(value: Any, met: dict[int, int]) -> Any:
    """All that can be reached from a value, as something that compares. met: the objects met,
    by number, so that two ways to one object differ from two objects.
    """
    if isinstance(value, SymbolicTensor):
        return "a traced value"
    if isinstance(value, np.ndarray):
        return "array", value.dtype.str, value.shape, np.round(value, 9).tolist()
    if isinstance(value, (int, float, str, type(None), np.generic)):
        number = float(value) if isinstance(value, (float, np.generic)) else value
        return type(value).__name__, round(number, 9) if type(number) is float else number
    if id(value) in met:
        return "met", met[id(value)]
    met[id(value)] = len(met)
    if isinstance(value, dict):
        return type(value).__name__, [(seen(k, met), seen(v, met)) for k, v in value.items()]
    if isinstance(value, (list, tuple)) or type(value).__name__ == "deque":
        return type(value).__name__, [seen(v, met) for v in value]
    if isinstance(value, set):
        return "set", sorted(map(repr, value))
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return repr(value.get_state())
    if isinstance(value, random.Random):
        return value.getstate()
    if hasattr(type(value), "__slots__"):
        return type(value).__name__, [seen(getattr(value, n), met) for n in value.__slots__]
    return type(value).__name__, seen(vars(value), met)


NAMES = [
    "model", "total", "count", "table", "items", "seen", "last", "rng", "state", "dice",
    "buffer", "ordered",
]  # fmt: skip


def everything(space: dict[str, Any]) -> Any:
    """All the state of a program."""
    met: dict[int, int] = {}
    parts = [seen(space[name], met) for name in NAMES]
    parts += [seen(space["look"](), met), seen(vars(space["counted"]), met)]
    parts += [seen(space["memo"].__defaults__, met)]
    for kind in ("Model", "Inner"):
        own = {
            k: v
            for k, v in vars(space[kind]).items()
            if isinstance(v, (int, np.ndarray, float))
        }
        parts.append(seen(own, met))
    return parts, random.getstate(), repr(np.random.get_state())


class Program:
    """One copy of a program: its names, and the process's generators when it is its turn."""

    def __init__(self, text: str, options: dict[str, Any] | None) -> None:
        self.space: dict[str, Any] = {"__name__": "__main__"}
        exec(START + text, self.space)
        self.call = self.space["step"]
        if options is not None:
            self.call = gj.function(self.call, **options)
        random.seed(3)
        np.random.seed(4)
        self.states = random.getstate(), np.random.get_state()

    def run(self, x: Any) -> tuple[Any, Any, str]:
        """What a call gives or raises, all state afterwards, and that of before."""
        random.setstate(self.states[0])
        np.random.set_state(self.states[1])
        before = everything(self.space)
        failed = ""
        try:
            result = seen(self.call(self.space["model"], x), {})
        except gj.errors.TracingError as error:
            result, failed = "TracingError", str(error)
        except Exception as error:
            result = type(error).__name__, str(error)
        after = everything(self.space)
        if failed and after != before:
            result = "TracingError, and state has changed"
        self.states = random.getstate(), np.random.get_state()
        return result, after, failed


def difference(draw: random.Random) -> str:
    """What a random program does otherwise when it is decorated; empty if nothing."""
    text = source(draw)
    strict = draw.random() < 0.25
    plain = Program(text, None)
    jitted = Program(text, {"fallback": "error"} if strict else {})
    sizes = draw.choice([[1.0] * 4, [0.5, 2.0, -1.0, 3.0], [0.0, 0.0, 5.0, 5.0]])
    for number, scale in enumerate(sizes):
        x = np.array([0.25, 0.5, 1.0]) * scale
        got, after, failed = jitted.run(x.copy())
        if got == "TracingError":
            if strict:
                return ""
            return f"call {number}: {failed}\n{text}"
        wanted, state, _ = plain.run(x)
        if (
            strict
            and isinstance(wanted, tuple)
            and got == wanted
            and wanted[0].endswith("Error")
        ):
            return ""  # raised while tracing: nothing was changed
        if got != wanted:
            return f"call {number}: {got} for {wanted}\n{text}"
        if after != state:
            apart = [
                (a, b) for a, b in zip(after[0], state[0], strict=True) if a != b
            ] or "random numbers"
            return f"call {number}: state differs: {str(apart)[:600]}\n{text}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    wrong = 0
    warnings.simplefilter("ignore")
    for number in range(given.programs):
        said = difference(random.Random(f"{given.seed} {number}"))
        if said:
            wrong += 1
            print(f"program {number}: {said}", flush=True)
        if (number + 1) % 500 == 0:
            print(f"{number + 1} programs, {wrong} differences", flush=True)
    print(f"{given.programs} programs, {wrong} differences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
