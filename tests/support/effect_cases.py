"""Functions that change what outlives their calls, as users of NumPy write them.

Each case is the text of a module with a function `f`, statements that are executed in it between
calls, and an expression for the arguments of a call. The expression sees the module, `X`, a float64
array of six elements, `k`, which is 0 and 1 in turns, and `n`, the number of the call. Where the text
has `@function`, that decorates; else `f` is decorated.
"""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """A module's text, what is done between calls, each call's arguments, and statements that
    put back in the end what isn't the module's.
    """

    text: str
    changes: tuple[str, ...] = ()
    args: str = "(X + k,)"
    end: str = ""


SQUARE = "(np.arange(9.0).reshape(3, 3) + k,)"
TABLE = "(X.reshape(2, 3) + k,)"
TWO = "(X + k, X * 2)"

ARGUMENTS: dict[str, Case] = {
    "negative elements set to 0": Case(
        """
def f(x):
    x[x < 0] = 0
    return x.sum()
""",
        args="(X - 1.75 + k,)",
    ),
    "elements between two bounds scaled": Case(
        """
def f(x):
    x[(x > 1) & (x < 2.5)] *= 10
    return x
"""
    ),
    "a slice += 1": Case(
        """
def f(x):
    x[1:] += 1
    return x
"""
    ),
    "x += y": Case(
        """
def f(x, y):
    x += y
    return x
""",
        args=TWO,
    ),
    "every operator in place": Case(
        """
def f(x, y):
    x -= y
    x *= 3
    x /= y
    x **= 2
    x //= 0.5
    x %= 7
    return x.max()
""",
        args=TWO,
    ),
    "integers in place": Case(
        """
def f(x):
    x //= 2
    x <<= 3
    x |= 1
    x ^= 5
    return x & 3
""",
        args="(np.arange(6) + k,)",
    ),
    "a row filled": Case(
        """
def f(x):
    row = x[0]
    row[:] = 1
    return x
""",
        args=TABLE,
    ),
    "a column through the transpose": Case(
        """
def f(x):
    x.T[0] = 7
    return x * 2
""",
        args=TABLE,
    ),
    "a column by newaxis and ellipsis": Case(
        """
def f(x):
    x[..., -1] = 0
    x[:, None, 1] += 3
    return x
""",
        args=TABLE,
    ),
    "np.add with out": Case(
        """
def f(x, y):
    r = np.add(x, y, out=x)
    return r, y
""",
        args=TWO,
    ),
    "out by position": Case(
        """
def f(x):
    np.sqrt(x, x)
    return np.negative(x)
"""
    ),
    "out and where": Case(
        """
def f(x):
    np.multiply(x, 10, out=x, where=x > 1.5)
    return x[2]
"""
    ),
    "np.copyto": Case(
        """
def f(x, y):
    np.copyto(x, y)
    np.copyto(y, 5.0, where=y > 3)
    return x + y
""",
        args=TWO,
    ),
    "fill": Case(
        """
def f(x):
    x.fill(x[3])
    return x * 1
"""
    ),
    "sort": Case(
        """
def f(x):
    x.sort()
    return x[0], x[-1]
""",
        args="(np.sin(X * 9) + k,)",
    ),
    "partition": Case(
        """
def f(x):
    x.partition(2)
    return x[2]
""",
        args="(np.sin(X * 9) + k,)",
    ),
    "put, place and putmask": Case(
        """
def f(x):
    x.put([0, 5], [9.0, 8.0])
    np.place(x, x > 8.5, [1.5])
    np.putmask(x, x < 2, x * 2)
    np.put(x, [1], 77)
    return x.mean()
"""
    ),
    "fill_diagonal": Case(
        """
def f(x):
    np.fill_diagonal(x, 0)
    return x.sum(axis=0)
""",
        args=SQUARE,
    ),
    "put_along_axis": Case(
        """
def f(x):
    i = np.argmax(x, axis=1, keepdims=True)
    np.put_along_axis(x, i, -1, axis=1)
    return i
""",
        args=SQUARE,
    ),
    "flat": Case(
        """
def f(x):
    x.flat[2] = 9
    x.flat[[3, 4]] = 1
    return x
""",
        args=TABLE,
    ),
    "reversed onto itself": Case(
        """
def f(x):
    x[:] = x[::-1]
    return x[0]
"""
    ),
    "shifted onto itself": Case(
        """
def f(x):
    x[1:] = x[:-1]
    x[:-2] += x[2:]
    return x
"""
    ),
    "rows swapped by lists": Case(
        """
def f(x):
    x[[0, 1]] = x[[1, 0]]
    return x
""",
        args=TABLE,
    ),
    "rows that are views swapped by names": Case(
        """
def f(x):
    x[0], x[1] = x[1], x[0]
    return x
""",
        args=TABLE,
    ),
    "elements one after the other": Case(
        """
def f(x):
    for i in range(1, len(x)):
        x[i] += x[i - 1]
    return x
"""
    ),
    "np.add.at": Case(
        """
def f(x):
    np.add.at(x, [0, 0, 2], 1.0)
    np.subtract.at(x, 5, x[0])
    return x
"""
    ),
    "cumsum with out": Case(
        """
def f(x):
    x.cumsum(out=x)
    x.clip(1, 4, out=x)
    return np.cumprod(x, out=x)
"""
    ),
    "centred rows": Case(
        """
def f(x):
    x -= x.mean(axis=0)
    x /= 1 + np.abs(x).sum(axis=1, keepdims=True)
    return x.std()
""",
        args=TABLE,
    ),
    "real and imaginary part": Case(
        """
def f(x):
    x.real[:] = 0
    x.imag *= 2
    x.real += 1
    return abs(x)
""",
        args="(X * (1 + 2j) + k,)",
    ),
    "nan_to_num in place": Case(
        """
def f(x):
    np.nan_to_num(x, copy=False, nan=1.0)
    return x.sum()
""",
        args="(np.where(X > 2, np.nan, X + k),)",
    ),
    "a mask inverted in place": Case(
        """
def f(m):
    np.logical_not(m, out=m)
    m[0] = True
    return m.sum()
""",
        args="(X + k > 1.5,)",
    ),
    "bits through a view": Case(
        """
def f(x):
    v = x.view(np.int64)
    v[0] = 0
    return x
"""
    ),
    "a strided argument": Case(
        """
def f(x):
    x += 1
    x[::-1][0] = 50
    return x * 1
""",
        args="((a := np.arange(12.0) + k)[::2], a)[:1]",
    ),
    "an argument in Fortran's order": Case(
        """
def f(x):
    x[:, 0] = 0
    x.ravel(order="K")[1] = 44
    return x
""",
        args="(np.asfortranarray(X.reshape(2, 3)) + k,)",
    ),
    "fields of a structured array": Case(
        """
def f(x):
    x["a"] = 1
    x["b"] += x["a"]
    return x["b"].sum()
""",
        args="(np.array([(1.0, 2.0), (3.0, 4.0 + k)], [('a', 'f8'), ('b', 'f8')]),)",
    ),
    "shape assigned": Case(
        """
def f(x):
    x.shape = (2, 3)
    return x.sum(axis=0)
"""
    ),
    "flags set": Case(
        """
def f(x):
    x[0] = 3
    x.setflags(write=False)
    return x * 2
"""
    ),
    "shuffled": Case(
        """
rng = np.random.default_rng(3)
def f(x):
    rng.shuffle(x)
    return x[0]
"""
    ),
    "written by a helper": Case(
        """
def halve(a):
    a *= 0.5
def f(x):
    halve(x[1:])
    halve(x)
    return x
"""
    ),
    "written in a loop over rows": Case(
        """
def f(x):
    for i, row in enumerate(x):
        row += i
        row[0] = -row[0]
    return x
""",
        args=TABLE,
    ),
    "written in a branch": Case(
        """
def f(x):
    if x[0] > 1:
        x[1] = 100
    else:
        x[2] = 200
    return x
"""
    ),
    "written by while": Case(
        """
def f(x):
    i = 0
    while x.max() > 1 and i < 20:
        x *= 0.5
        i += 1
    return i
"""
    ),
    "out given or made": Case(
        """
def f(x, out=None):
    if out is None:
        out = np.empty_like(x)
    np.multiply(x, 2, out=out)
    return out
""",
        args="(X + k, np.zeros(6)) if k else (X,)",
    ),
    "a copy written": Case(
        """
def f(x):
    y = x.copy()
    y += 1
    y[0] = 0
    return y
"""
    ),
    "what may be a copy written": Case(
        """
def f(x):
    x.astype(np.float64, copy=False)[0] = 3
    x.astype(np.float64)[1] = 3
    np.asarray(x)[2] = 4
    np.array(x)[3] = 4
    x.reshape(2, 3)[1, 1] = 5
    x.flatten()[5] = 6
    x[[0, 1]][1] = 7
    return x
"""
    ),
    "the argument returned": Case("def f(x):\n    return x"),
    "views returned": Case("def f(x):\n    return x[1:], x[::-1], x.reshape(2, 3).T, x"),
    "views returned after a write": Case(
        """
def f(x):
    y = x[1:3]
    x[2] = 9
    return y, x[2:]
"""
    ),
    "view of a result returned": Case(
        """
def f(x):
    y = x * 2
    z = y[1:]
    z += 1
    return y, z
"""
    ),
    "asarray, ravel and squeeze returned": Case(
        "def f(x):\n    return np.asarray(x), x.ravel(), x.squeeze(), np.atleast_2d(x)"
    ),
    "the same array twice": Case(
        """
def f(x, y):
    x += 1
    return x * y, x is y
""",
        args="((a := X + k), a)",
    ),
    "arguments that overlap": Case(
        """
def f(x, y):
    y *= 2
    return x.sum(), x + 1
""",
        args="((a := X + k), a[1:])",
    ),
    "overlapping arguments, one onto the other": Case(
        """
def f(x, y):
    x[:] = y
    y += x
    return x - y
""",
        args="((a := np.arange(7.0) + k)[:-1], a[1:])",
    ),
    "arguments that sometimes overlap": Case(
        """
def f(x, y):
    x[:-1] += 1
    return y * 2
""",
        args="((a := X + k), a[1:] if k else a[1:].copy())",
    ),
    "interleaved arguments": Case(
        """
def f(x, y):
    x += 1
    y *= 2
    return x + y
""",
        args="((a := np.arange(12.0) + k)[::2], a[1::2])",
    ),
    "argument that is captured, too": Case(
        """
W = np.ones(6)
def f(x):
    x *= 2
    return x + W
""",
        ("W = np.ones(6) * 3",),
        "(W if k else X + 1,)",
    ),
    "argument that is a view of what is captured": Case(
        """
W = np.arange(8.0)
def f(x):
    W[3] = 50
    y = x + 1
    x += 1
    return y, W.sum()
""",
        ("W = np.ones(8)",),
        "(W[2:],)",
    ),
    "captured array in two variables": Case(
        """
W = np.arange(6.0)
V = W[::2]
def f(x):
    V[:] += 1
    return W * x
""",
        ("V = np.ones(3)", "V = W[1::2]"),
    ),
    "read-only argument": Case(
        """
def f(x):
    x[0] = 1
    return x
""",
        args="((a := X + k), a.setflags(write=bool(k)))[:1]",
    ),
    "read-only after another was written": Case(
        """
def f(x, y):
    y[0] = 9
    x += y
    return x
""",
        args="((a := X + k), X * 2, a.setflags(write=False))[:2]",
    ),
    "read-only and only read": Case(
        "def f(x):\n    return x * 2, x",
        args="((a := X + k), a.setflags(write=False))[:1]",
    ),
    "cast that fails after a write": Case(
        """
def f(x):
    x[0] = 5
    x += 0.5
    return x
""",
        args="(np.arange(6) + k,)",
    ),
    "shapes that don't fit after a write": Case(
        """
def f(x):
    x[0] = -1
    x += np.ones(4)
    return x
"""
    ),
    "index out of bounds after a write": Case(
        """
def f(x):
    x[0] = -1
    x[99] = 1
    return x
"""
    ),
    "index out of bounds known at the call": Case(
        """
def f(x, i):
    x[0] = -1
    x[i] += 1
    return x
""",
        args="(X + k, np.array([1, 2 + 9 * k]))",
    ),
    "division by zero after a write": Case(
        """
D = [2, 0]
def f(x):
    x[0] = -1
    x[1:] /= 2
    y = 1 // D[0]
    x[2] = 7
    return x + y
""",
        ("D.reverse()", "D.reverse()"),
    ),
    "assertion after a write": Case(
        """
def f(x):
    x *= 2
    assert x[0] < 2, "too large"
    x += 1
    return x
"""
    ),
    "raised between two writes": Case(
        """
LIMIT = 10.0
class TooLarge(ValueError):
    pass
def f(x, y):
    x += 1
    if LIMIT < 5:
        raise TooLarge(f"limit {LIMIT}")
    y += 1
    return x + y
""",
        ("LIMIT = 2.0", "LIMIT = 6.0"),
        TWO,
    ),
    "list argument appended to": Case(
        """
def f(x, into):
    into.append(x.sum())
    return into
""",
        args="(X + k, [])",
    ),
    "dict argument filled": Case(
        """
def f(x, out):
    out["double"] = x * 2
    out["x"] = x
    return out
""",
        args="(X + k, {'x': None})",
    ),
    "arrays in a list scaled": Case(
        """
def f(arrays):
    for a in arrays:
        a *= 0.5
    return arrays[0] + arrays[1]
""",
        args="([X + k, X * 3],)",
    ),
    "arrays in a list replaced": Case(
        """
def f(arrays):
    for i, a in enumerate(arrays):
        arrays[i] = a * 0.5
    return arrays
""",
        args="([X + k, X * 3],)",
    ),
    "parameters in a dict updated": Case(
        """
def f(params, grads):
    for name in params:
        params[name] -= 0.5 * grads[name]
    return params
""",
        args="({'w': X + k, 'b': np.ones(2)}, {'w': X * 2, 'b': np.ones(2) * k})",
    ),
    "parameters in a dict rebuilt": Case(
        """
def f(params, grads):
    return {name: p - 0.5 * grads[name] for name, p in params.items()}
""",
        args="({'w': X + k, 'b': np.ones(2)}, {'w': X * 2, 'b': np.ones(2) * k})",
    ),
    "attribute of an argument": Case(
        """
class P:
    def __init__(self):
        self.w = np.ones(6)
def f(x, p):
    p.w = p.w + x
    p.last = x
    return p
""",
        args="(X + k, P())",
    ),
    "items of a list argument sorted and deleted": Case(
        """
def f(x, items):
    items.sort()
    del items[0]
    items[-1] += 1
    return x * items[0]
""",
        args="(X, [3 + k, 1, 2])",
    ),
    "tuple with an array that is written": Case(
        """
def f(pair):
    a, b = pair
    a += b
    return pair
""",
        args="((X + k, X * 2),)",
    ),
    "matrix product into an argument": Case(
        """
def f(a, b, c):
    np.matmul(a, b, out=c)
    np.dot(c, b, out=a)
    return c
""",
        args="(np.eye(3) + k, np.arange(9.0).reshape(3, 3), np.zeros((3, 3)))",
    ),
    "float32 argument": Case(
        """
def f(x):
    x *= 1.1
    x[0] = 1 / 3
    return x
""",
        args="(X.astype(np.float32) + np.float32(k),)",
    ),
    "scalar argument in place": Case(
        """
def f(x, n):
    n += 1
    n *= 2
    return x * n
""",
        args="(X, 2 + k)",
    ),
    "0-d argument in place": Case(
        """
def f(x):
    x += 1
    x[()] = x * 2
    return x
""",
        args="(np.array(2.0 + k),)",
    ),
    "an empty argument": Case(
        """
def f(x):
    x += 1
    x[:] = 3
    return x
""",
        args="(np.zeros((0, 3)),)",
    ),
    "sizes that change": Case(
        """
def f(x):
    x[1:] -= x[:-1]
    return x.sum()
""",
        args="(np.arange(3.0 + n),)",
    ),
    "dtypes that change": Case(
        """
def f(x):
    x[::2] = 1
    return x
""",
        args="(np.arange(6).astype('fdiB'[n % 4]),)",
    ),
    "Gauss elimination": Case(
        """
def f(a):
    for i in range(3):
        a[i] /= a[i, i]
        for j in range(3):
            if j != i:
                a[j] -= a[j, i] * a[i]
    return a
""",
        args="(np.eye(3) * 4 + np.arange(9.0).reshape(3, 3) / 8 + k,)",
    ),
    "heat equation": Case(
        """
def f(u, steps):
    for _ in range(steps):
        u[1:-1] = u[1:-1] + 0.25 * (u[2:] - 2 * u[1:-1] + u[:-2])
    return u
""",
        args="(np.sin(np.arange(9.0)) + k, 3)",
    ),
}

ARRAYS: dict[str, Case] = {
    "total of an object": Case(
        """
class Sum:
    def __init__(self):
        self.total = np.zeros(6)
    def add(self, x):
        self.total = self.total + x
        return self.total
o = Sum()
def f(x):
    return o.add(x)
""",
        ("o.total = np.ones(6)", "o = Sum()", "held = o.total"),
    ),
    "decay in place": Case(
        """
class Momentum:
    def __init__(self):
        self.v = np.zeros(6)
    @function
    def step(self, x):
        self.v *= 0.5
        self.v += x
        return self.v
o = Momentum()
def f(x):
    return o.step(x)
""",
        ("alias = o.v", "o.v = np.ones(6)", "alias[0] = 4"),
    ),
    "decay replaced": Case(
        """
class Momentum:
    def __init__(self):
        self.v = np.zeros(6)
    @function
    def step(self, x):
        self.v = 0.5 * self.v + x
        return x - self.v
o = Momentum()
def f(x):
    return o.step(x)
""",
        ("alias = o.v", "o.v[1] = 8", "o.v = 2.0"),
    ),
    "Adam": Case(
        """
class Adam:
    def __init__(self):
        self.t, self.m, self.v = 0, np.zeros(6), np.zeros(6)
        self.w = np.ones(6)
    def step(self, g):
        self.t += 1
        self.m = 0.5 * self.m + 0.5 * g
        self.v = 0.75 * self.v + 0.25 * g * g
        m = self.m / (1 - 0.5**self.t)
        v = self.v / (1 - 0.75**self.t)
        self.w -= 0.125 * m / (np.sqrt(v) + 1e-8)
        return self.w
o = Adam()
def f(x):
    return o.step(x).sum()
""",
        ("o.t = 0", "o = Adam()"),
    ),
    "running mean": Case(
        """
count, mean = 0, 0.0
def f(x):
    global count, mean
    count += 1
    mean += (x.mean() - mean) / count
    return x - mean
""",
        ("count, mean = 0, 0.0", "mean = np.zeros(6)"),
    ),
    "Welford": Case(
        """
class Stats:
    n = 0
    def push(self, x):
        self.n += 1
        if self.n == 1:
            self.mean, self.m2 = x, np.zeros_like(x)
        else:
            d = x - self.mean
            self.mean = self.mean + d / self.n
            self.m2 = self.m2 + d * (x - self.mean)
        return self.m2 / self.n
o = Stats()
def f(x):
    return o.push(x)
""",
        ("o = Stats()",),
    ),
    "batch normalization": Case(
        """
class Norm:
    training = True
    def __init__(self):
        self.mean, self.var = np.zeros(3), np.ones(3)
    @function
    def __call__(self, x):
        if self.training:
            mean, var = x.mean(axis=0), x.var(axis=0)
            self.mean = 0.75 * self.mean + 0.25 * mean
            self.var = 0.75 * self.var + 0.25 * var
        else:
            mean, var = self.mean, self.var
        return (x - mean) / np.sqrt(var + 0.125)
o = Norm()
def f(x):
    return o(x)
""",
        ("o.training = False", "o.training = True"),
        TABLE,
    ),
    "ring buffer": Case(
        """
buffer, at = np.zeros((4, 6)), 0
def f(x):
    global at
    buffer[at % 4] = x
    at += 1
    return buffer.sum(axis=0)
""",
        ("at = 0", "buffer = np.zeros((5, 6))"),
    ),
    "rolled buffer": Case(
        """
buffer = np.zeros((3, 6))
def f(x):
    buffer[:-1] = buffer[1:]
    buffer[-1] = x
    return buffer.mean(axis=0)
""",
        ("buffer = np.ones((3, 6))",),
    ),
    "history of results": Case(
        """
history = []
def f(x):
    y = x * 2
    history.append(y)
    return y
""",
        ("history = []", "history.append(None)"),
    ),
    "history of arguments": Case(
        """
history = []
def f(x):
    history.append(x)
    history.append(x[1:])
    return x.sum()
"""
    ),
    "history of bounded length": Case(
        """
history = []
def f(x):
    history.append(x.sum())
    if len(history) > 3:
        history.pop(0)
    return sum(history)
"""
    ),
    "history as array that grows": Case(
        """
history = np.zeros((0, 6))
def f(x):
    global history
    history = np.concatenate([history, x[None]])
    return history.sum(axis=0)
""",
        ("history = history[:1]",),
    ),
    "deque of arrays": Case(
        """
from collections import deque
recent = deque(maxlen=2)
def f(x):
    recent.append(x + 1)
    return np.sum(recent, axis=0)
"""
    ),
    "array in a dict in place": Case(
        """
state = {"w": np.ones(6), "n": 0}
def f(x):
    state["w"] -= 0.5 * x
    state["n"] += 1
    return state["w"] * state["n"]
""",
        ("state['w'] = np.zeros(6)", "held = state['w']"),
    ),
    "array in a dict replaced": Case(
        """
state = {"w": np.ones(6)}
def f(x):
    state["w"] = state["w"] - 0.5 * x
    return state
""",
        ("state['w'] = np.float64(2)", "state = {'w': np.arange(6.0)}"),
    ),
    "array in a list replaced": Case(
        """
layers = [np.ones(6), np.zeros(6)]
def f(x):
    for i in range(len(layers)):
        layers[i] = layers[i] + x * i
    return layers[0]
""",
        ("layers.append(np.ones(6))",),
    ),
    "tuple of arrays replaced": Case(
        """
S = (np.zeros(6), np.ones(6))
def f(x):
    global S
    S = (S[0] + x, S[0])
    return S
"""
    ),
    "deep in objects": Case(
        """
class Box:
    pass
o = Box()
o.opt = Box()
o.opt.state = {"m": [np.zeros(6), np.ones(6)]}
def f(x):
    m = o.opt.state["m"]
    m[0] = m[0] + x
    m[1] *= 0.5
    o.opt.steps = getattr(o.opt, "steps", 0) + 1
    return m[0] + m[1]
""",
        ("o.opt.state['m'].reverse()",),
    ),
    "array of a closure replaced": Case(
        """
def make():
    total = np.zeros(6)
    def add(x):
        nonlocal total
        total = total + x
        return total
    def get():
        return total
    return add, get
f, get = make()
"""
    ),
    "array of a closure in place": Case(
        """
def make():
    total = np.zeros(6)
    def add(x):
        total[:] += x
        return total[1:3]
    return add
f = make()
"""
    ),
    "global array in place": Case(
        """
W = np.ones(6)
def f(x):
    global W
    W += x
    return W
""",
        ("W = np.zeros(6)", "V = W"),
    ),
    "global array by items": Case(
        """
W = np.zeros((3, 6))
def f(x):
    W[1] = x
    W[2, ::2] += 1
    W[W > 2] = 2
    return W
"""
    ),
    "out into a global": Case(
        """
buffer = np.empty(6)
def f(x):
    return np.multiply(x, 2, out=buffer)
""",
        ("buffer = np.empty(6, np.float32)", "buffer = np.empty(6)"),
    ),
    "double buffering": Case(
        """
A, B = np.arange(6.0), np.zeros(6)
def f(x):
    global A, B
    B[1:-1] = 0.5 * (A[2:] + A[:-2])
    B[0] = x[0]
    A, B = B, A
    return A
""",
        ("A[3] = 9",),
    ),
    "swapped attributes": Case(
        """
class Pair:
    pass
o = Pair()
o.a, o.b = np.zeros(6), np.ones(6)
def f(x):
    o.a, o.b = o.b, o.a + x
    return o.a
"""
    ),
    "another shape at each call": Case(
        """
W = np.ones(1)
def f(x):
    global W
    W = np.append(W, x[0])[-4:]
    return W.sum() * x
"""
    ),
    "another dtype": Case(
        """
W = np.zeros(6, np.int64)
def f(x):
    global W
    W = W + x
    y = W
    W = W.astype(np.float32)
    return y
""",
        ("W = np.zeros(6, bool)",),
    ),
    "number that becomes an array": Case(
        """
total = 0
def f(x):
    global total
    total = total + x
    return total
""",
        ("total = 0", "total = 1.5"),
    ),
    "NumPy scalar replaced": Case(
        """
best = np.float64(-1)
def f(x):
    global best
    best = np.maximum(best, x.max())
    return best
""",
        ("best = np.float32(0)",),
    ),
    "best so far": Case(
        """
best, best_x = float("inf"), None
def f(x):
    global best, best_x
    loss = ((x - 1.25) ** 2).sum()
    if loss < best:
        best, best_x = loss, x
    return best
""",
        ("best = 0.5",),
    ),
    "0-d array as a counter": Case(
        """
n = np.array(0)
def f(x):
    global n
    n += 1
    return x * n
""",
        ("n = np.array(5.0)",),
    ),
    "element as a counter": Case(
        """
n = np.zeros(2, np.int64)
def f(x):
    n[0] += 1
    n[1] += len(x)
    return x * n[0]
"""
    ),
    "stored and returned": Case(
        """
class Box:
    pass
o = Box()
def f(x):
    o.last = x * 2
    o.again = o.last
    return o.last
"""
    ),
    "stored and written after": Case(
        """
class Box:
    pass
o = Box()
def f(x):
    y = x * 2
    o.y = y
    y += 1
    o.z = y[1:]
    y = y * 2
    return y
"""
    ),
    "view of the argument stored": Case(
        """
class Box:
    pass
o = Box()
def f(x):
    o.x = x
    o.tail = x[1:]
    o.row = x.reshape(2, 3)[0]
    return x * 2
""",
        ("o.tail[0] = 9", "o.x[0] = 8"),
    ),
    "stored and read by a helper": Case(
        """
class Box:
    k = 1.0
o = Box()
def g(x):
    return x * o.k
def f(x):
    o.k = x.sum()
    a = g(x)
    o.k = 2.0
    b = g(x)
    return a - b
""",
        ("o.k = 5.0",),
    ),
    "stored for the time of the call": Case(
        """
class Box:
    pass
o = Box()
def f(x):
    o.x = x * 3
    try:
        return o.x.sum()
    finally:
        del o.x
"""
    ),
    "read once, made once": Case(
        """
class Lazy:
    w = None
    def get(self):
        if self.w is None:
            self.w = np.arange(6.0)
        return self.w
o = Lazy()
def f(x):
    return o.get() * x
""",
        ("o.w[0] = 6", "o = Lazy()", "o.w = None"),
    ),
    "made of the first argument": Case(
        """
first = None
def f(x):
    global first
    if first is None:
        first = x + 0
    return x - first
""",
        ("first = None",),
    ),
    "memo by shape": Case(
        """
memo = {}
def window(n):
    if n not in memo:
        memo[n] = np.hanning(n)
    return memo[n]
def f(x):
    return x * window(len(x))
""",
        ("memo.clear()", "memo[6] = np.ones(6)"),
    ),
    "memo by setdefault": Case(
        """
memo = {}
def f(x):
    return x + memo.setdefault("w", np.ones(len(x)))
""",
        ("memo['w'][0] = 2", "memo = {}"),
    ),
    "memo with traced elements": Case(
        """
memo = {}
def f(x):
    if "first" not in memo:
        memo["first"] = x * 2
    return memo["first"]
""",
        ("memo.clear()",),
    ),
    "lru_cache of arrays": Case(
        """
import functools
made = []
@functools.lru_cache(maxsize=None)
def grid(n):
    made.append(n)
    return np.linspace(0, 1, n)
def f(x):
    return x * grid(len(x))
""",
        ("grid.cache_clear()", "grid(6)[0] = 7"),
    ),
    "cached_property of an array": Case(
        """
import functools
class P:
    k = 2.0
    @functools.cached_property
    def w(self):
        return np.ones(6) * self.k
p = P()
def f(x):
    return p.w * x
""",
        ("P.k = 3.0", "del p.w", "p.w[0] = 0", "p = P()"),
    ),
    "two decorated functions, one state": Case(
        """
W = np.ones(6)
@function
def add(x):
    global W
    W = W + x
@function
def read(x):
    return W * x
def f(x):
    add(x)
    return read(x)
"""
    ),
    "decorated function called by another": Case(
        """
log, W = [], np.zeros(6)
@function
def inner(x):
    W[:] = x
    log.append(len(log))
    return x + 1
@function
def f(x):
    return inner(x) * inner(x + 1) + W
"""
    ),
    "decorated method of a subclass": Case(
        """
class Base:
    def __init__(self):
        self.n, self.w = 0, np.ones(6)
    @function
    def step(self, x):
        self.n += 1
        self.w = self.w + self.scale(x)
        return self.w
class Twice(Base):
    def scale(self, x):
        return 2 * x
class Log(Base):
    def __init__(self):
        super().__init__()
        self.log = []
    def scale(self, x):
        self.log.append(self.n)
        return x
a, b = Twice(), Log()
def f(x):
    return a.step(x), b.step(x)
"""
    ),
    "array attribute of a class": Case(
        """
class P:
    w = np.ones(6)
    n = 0
    @classmethod
    def step(cls, x):
        cls.w = cls.w + x
        cls.n += 1
        return cls.w
class Q(P):
    pass
def f(x):
    return P.step(x) + Q.step(x)
""",
        ("P.w = np.zeros(6)", "del Q.w"),
    ),
    "+= through the instance on the class's array": Case(
        """
class P:
    w = np.ones(6)
    n = 0
o = P()
def f(x):
    o.w += x
    o.n += 1
    return P.w
""",
        ("del o.w", "o = P()"),
    ),
    "k-means": Case(
        """
centres = np.array([[0.5], [2.5]])
def f(x):
    global centres
    points = x[:, None]
    nearest = np.abs(points[:, None] - centres).sum(axis=2).argmin(axis=1)
    centres = np.stack([points[nearest == i].mean(axis=0) for i in range(2)])
    return centres
""",
        ("centres = np.array([[1.0], [3.0]])",),
    ),
    "user's module": Case(
        """
import types
m = types.ModuleType("settings")
m.calls, m.last = 0, None
def f(x):
    m.calls += 1
    m.last = x * m.calls
    return m.last
""",
        ("m.calls = 10",),
    ),
    "exception between two stores": Case(
        """
class Box:
    limit = 100.0
    w = np.zeros(6)
    n = 0
o = Box()
def f(x):
    o.n += 1
    o.w = o.w + x
    if o.w.max() > o.limit:
        raise ValueError("too large")
    o.done = o.n
    return o.w
""",
        ("o.limit = 20.0", "o.w = np.zeros(6)"),
    ),
    "exception swallowed after a store": Case(
        """
W, failed = np.zeros(6), 0
def risky(x):
    W[0] += 1
    raise KeyError("no")
def f(x):
    global failed
    try:
        risky(x)
    except KeyError as error:
        failed += 1
        return x + len(error.args)
""",
    ),
    "finally": Case(
        """
W, log = np.zeros(6), []
D = {"a": 1.0}
def f(x):
    try:
        W[1:] += x[1:]
        return x * D["a"]
    finally:
        log.append(len(D))
        W[0] = -1
""",
        ("del D['a']", "D['a'] = 2.0"),
    ),
    "operator module": Case(
        """
import operator
W, L = np.zeros(6), [0, 1]
def f(x):
    operator.iadd(W, x)
    operator.setitem(L, 0, len(L))
    operator.setitem(W, 2, 5.0)
    return W
"""
    ),
    "random numbers in place": Case(
        """
rng = np.random.default_rng(5)
W = np.zeros(6)
def f(x):
    W[:] = rng.random(6)
    return x * W
""",
        ("rng = np.random.default_rng(6)",),
    ),
    "seeded by the call": Case(
        """
import random
def f(x):
    np.random.seed(3)
    random.seed(4)
    return x + np.random.rand(6) + random.random()
"""
    ),
    "readings of a generator": Case(
        """
def source():
    n = 0
    while True:
        n += 1
        yield n
g = source()
def f(x):
    return x * next(g)
""",
        ("g = source()",),
    ),
    "sending to a generator": Case(
        """
def mean():
    total, n, value = 0.0, 0, None
    while True:
        x = yield value
        total, n = total + x, n + 1
        value = total / n
g = mean()
next(g)
def f(x):
    return g.send(x)
"""
    ),
}

PLAIN: dict[str, Case] = {
    "counter in a dict": Case(
        """
counts = {"calls": 0}
def f(x):
    counts["calls"] += 1
    return x * counts["calls"]
""",
        ("counts['calls'] = 10", "counts = {'calls': 0}"),
    ),
    "counter of the function itself": Case(
        """
def f(x):
    f.calls += 1
    return x * f.calls
f.calls = 0
""",
        ("f.calls = 5",),
    ),
    "attribute of the function itself": Case(
        """
def f(x):
    f.last = x.sum()
    f.touched = True
    return x * 2
f.last, f.touched = None, False
""",
        ("f.touched = False",),
    ),
    "attribute of the function that is made later": Case(
        """
@function
def f(x):
    f.last = x.sum()
    f.calls = getattr(f, "calls", 0) + 1
    return x * f.calls
""",
        ("f.calls = 5", "del f.calls"),
    ),
    "attribute of a helper": Case(
        """
def g(x):
    g.last = x.sum()
    g.calls = getattr(g, "calls", 0) + 1
    return x + 1
def f(x):
    return g(x) * g.calls
""",
        ("del g.calls",),
    ),
    "counter of a closure": Case(
        """
def counting(h):
    n = 0
    def inner(x):
        nonlocal n
        n += 1
        return h(x) * n
    inner.get = lambda: n
    return inner
@counting
def f(x):
    return x + 1
"""
    ),
    "counter of a class": Case(
        """
class P:
    made = 0
    def __init__(self, x):
        P.made += 1
        self.x = x
def f(x):
    return P(x).x * P(x + 1).made
""",
        ("P.made = 0",),
    ),
    "counter that grows large": Case(
        """
n = 1
def f(x):
    global n
    n *= 100003
    return x + n % 7
""",
        ("n = 1",),
    ),
    "every third call": Case(
        """
n = 0
def f(x):
    global n
    n += 1
    if n % 3 == 0:
        return -x
    return x
"""
    ),
    "flag that toggles": Case(
        """
on = False
def f(x):
    global on
    on = not on
    return x + 1 if on else x - 1
"""
    ),
    "done once": Case(
        """
done = False
def f(x):
    global done
    if not done:
        done = True
        return x * 0
    return x
""",
        ("done = False",),
    ),
    "text that grows": Case(
        """
text = ""
def f(x):
    global text
    text += "ab"
    return x * len(text)
""",
        ("text = 'c'",),
    ),
    "log of texts": Case(
        """
log, step = [], 0
def f(x):
    global step
    step += 1
    log.append(f"step {step}: {x.shape} {x.dtype}")
    return x * step
"""
    ),
    "log of values": Case(
        """
log = []
def f(x):
    log.append(f"{x.sum():.2f}")
    log.append(float(x[0]))
    return x
"""
    ),
    "states by a dict": Case(
        """
NEXT = {"red": "green", "green": "yellow", "yellow": "red"}
state = "red"
def f(x):
    global state
    state = NEXT[state]
    return x * len(state)
""",
        ("state = 'yellow'", "NEXT['red'] = 'red'"),
    ),
    "list methods": Case(
        """
L = [3, 1, 2]
def f(x):
    L.append(len(L))
    L.extend([7, 5])
    L.insert(1, 4)
    L.sort(reverse=True)
    L.reverse()
    L.remove(7)
    del L[4:]
    L[1:2] = [9, 8]
    return x * L[-1] + L.index(9) + L.count(8)
""",
        ("L.clear(); L.append(5)",),
    ),
    "list operators in place": Case(
        """
L = [1.0]
alias = L
def f(x):
    global L
    L += [2.0]
    L *= 2
    y = x * sum(L)
    del L[2:]
    L = [*L, 3.0][:3]
    return y
""",
        ("alias = L",),
    ),
    "dict methods": Case(
        """
D = {"a": 1.0, "b": 2.0}
def f(x):
    global D
    y = x * D.pop("a")
    D.update(c=3.0)
    D.setdefault("d", len(D))
    D["a"] = D["b"] + 1
    D |= {"e": 5}
    last = D.popitem()
    return y + last[1] + len(D)
""",
        ("D['b'] = 7.0",),
    ),
    "set methods": Case(
        """
S = {1, 2}
def f(x):
    S.add(len(S))
    S.discard(2)
    return x * len(S)
""",
        ("S.add(50)",),
    ),
    "collections": Case(
        """
from collections import Counter, OrderedDict, defaultdict
counts, groups, order = Counter(), defaultdict(list), OrderedDict(a=1, b=2)
def f(x):
    counts["calls"] += 1
    groups[len(x)].append(counts["calls"])
    order.move_to_end("a")
    order["a"], order["b"] = order["b"], order["a"]
    return x * len(groups[6]) + next(iter(order.values()))
""",
        ("counts.clear()",),
    ),
    "heap and bisect": Case(
        """
import bisect
import heapq
heap, line = [5, 7], [1, 4]
def f(x):
    heapq.heappush(heap, len(heap) * 3 % 7)
    bisect.insort(line, heapq.heappop(heap))
    return x * line[0]
"""
    ),
    "objects linked": Case(
        """
class Node:
    def __init__(self, value, rest):
        self.value, self.rest = value, rest
head = None
def f(x):
    global head
    head = Node(x[0], head)
    total, node = 0.0, head
    while node is not None:
        total, node = total + node.value, node.rest
    return total
""",
        ("head = head.rest",),
    ),
    "callbacks": Case(
        """
seen = []
callbacks = [lambda x: seen.append(x.shape)]
def f(x):
    for callback in callbacks:
        callback(x)
    return x * len(seen)
""",
        ("callbacks.append(lambda x: seen.append(None))",),
    ),
    "mutable default": Case(
        """
def f(x, seen=[]):
    seen.append(len(seen))
    return x * sum(seen)
""",
        ("del getattr(f, '__wrapped__', f).__defaults__[0][:]",),
    ),
    "mutable default of a helper": Case(
        """
def g(x, *, memo={}):
    memo[len(memo)] = x.sum()
    return len(memo)
def f(x):
    return x * g(x)
"""
    ),
    "memo of a recursion": Case(
        """
memo = {}
def fib(n):
    if n < 2:
        return n
    if n not in memo:
        memo[n] = fib(n - 1) + fib(n - 2)
    return memo[n]
N = 10
def f(x):
    return x * fib(N)
""",
        ("N = 15", "memo[15] = 1"),
    ),
    "lru_cache with a count": Case(
        """
import functools
runs = []
@functools.lru_cache
def g(k):
    runs.append(k)
    return k * 2.0
K = 3
def f(x):
    return x * g(K)
""",
        ("K = 4", "K = 3", "g.cache_clear()"),
    ),
    "print of constants": Case(
        """
def f(x):
    print("called", 1, 2.5, sep="-", end="!\\n")
    return x * 2
"""
    ),
    "print of shapes": Case(
        """
def f(x):
    print("shape", x.shape, x.dtype, len(x), x.ndim)
    return x * 2
"""
    ),
    "print of values": Case(
        """
def f(x):
    print(x, x.sum(), f"{x.mean():.3f}")
    return x * 2
"""
    ),
    "print of a counter": Case(
        """
n = 0
def f(x):
    global n
    n += 1
    print("call", n)
    return x * n
"""
    ),
    "sys.stdout": Case(
        """
import sys
def f(x):
    sys.stdout.write("one\\n")
    print("two", file=sys.stdout)
    return x * 2
"""
    ),
    "text buffer": Case(
        """
import io
out = io.StringIO()
def f(x):
    print("line", file=out)
    out.write("x")
    return x * out.tell()
"""
    ),
    "logging": Case(
        """
import logging
records = []
class Handler(logging.Handler):
    def emit(self, record):
        records.append((record.levelname, record.getMessage(), record.lineno))
logger = logging.Logger("case")
logger.addHandler(Handler())
def f(x):
    logger.warning("called with %s", x.shape)
    return x * 2
""",
        ("logger.setLevel(logging.ERROR)",),
    ),
    "warning": Case(
        """
import warnings
def f(x):
    warnings.warn("old", DeprecationWarning)
    return x * 2
"""
    ),
    "warning with a stack level": Case(
        """
import warnings
def g(x):
    warnings.warn(f"shape {x.shape}", stacklevel=2)
    return x + 1
def f(x):
    y = x * 2
    return g(y)
"""
    ),
    "warning in a branch": Case(
        """
import warnings
def f(x):
    if x[0] > 1:
        warnings.warn("large")
    return x * 2
"""
    ),
    "warning made an error": Case(
        """
import warnings
n = 0
def f(x):
    global n
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            warnings.warn("stop")
        except UserWarning:
            n += 1
    return x * n
"""
    ),
    "base class counts": Case(
        """
class Base:
    calls = 0
    def __call__(self, x):
        self.calls += 1
        return self.go(x)
class Double(Base):
    def go(self, x):
        return x * 2 * self.calls
class Named(Double):
    def __call__(self, x):
        self.name = "n" * (self.calls + 1)
        return super().__call__(x) + len(self.name)
o = Named()
def f(x):
    return o(x)
""",
        ("o.calls = 7", "Base.calls = 3", "o = Named()"),
    ),
    "super().__init__ and super().__setattr__": Case(
        """
class Base:
    made = []
    def __init__(self, k):
        self.k = k
        Base.made.append(k)
class Sub(Base):
    def __init__(self, k):
        super().__init__(k + 1)
        self.twice = self.k * 2
    def __setattr__(self, name, value):
        super().__setattr__(name, value + 0)
def f(x):
    return x * Sub(len(Base.made)).twice
"""
    ),
    "property with a setter": Case(
        """
class P:
    _k = 1.0
    sets = 0
    @property
    def k(self):
        return self._k
    @k.setter
    def k(self, value):
        if value > 50:
            raise ValueError("too large")
        self._k = value
        self.sets += 1
    @k.deleter
    def k(self):
        self._k = 0.0
o = P()
def f(x):
    o.k = o.k * 2 + 1
    return x * o.k
""",
        ("del o.k", "o._k = 40.0", "o._k = 1.0"),
    ),
    "property set to an array": Case(
        """
class P:
    def __init__(self):
        self._w = np.ones(6)
    @property
    def w(self):
        return self._w
    @w.setter
    def w(self, value):
        self._w = np.clip(value, 0, 10)
o = P()
def f(x):
    o.w = o.w + x
    o.w += 1
    return o.w
"""
    ),
    "descriptor with __set__": Case(
        """
class Checked:
    def __set_name__(self, owner, name):
        self.name = "_" + name
    def __get__(self, o, t=None):
        return getattr(o, self.name, 1.0)
    def __set__(self, o, value):
        setattr(o, self.name, value)
class P:
    k = Checked()
o = P()
def f(x):
    o.k = o.k + 1
    return x * o.k
""",
        ("o._k = 10.0",),
    ),
    "__setattr__ that notes": Case(
        """
class P:
    def __init__(self):
        object.__setattr__(self, "log", [])
    def __setattr__(self, name, value):
        self.log.append(name)
        object.__setattr__(self, name, value)
o = P()
def f(x):
    o.a = x
    o.b = len(o.log)
    return x * o.b
"""
    ),
    "__setitem__, __delitem__ and __iadd__": Case(
        """
class Store:
    def __init__(self):
        self.d = {}
        self.adds = 0
    def __setitem__(self, k, v):
        self.d[k] = v
    def __getitem__(self, k):
        return self.d[k]
    def __delitem__(self, k):
        del self.d[k]
    def __contains__(self, k):
        return k in self.d
    def __iadd__(self, v):
        self.adds += v
        return self
s = Store()
def f(x):
    global s
    if "x" in s:
        del s["x"]
    else:
        s["x"] = x * 2
    s += 2
    return x * s.adds
""",
        ("s['x'] = 1", "s = Store()"),
    ),
    "dataclass": Case(
        """
import dataclasses
@dataclasses.dataclass
class State:
    n: int = 0
    w: object = None
    log: list = dataclasses.field(default_factory=list)
s = State()
def f(x):
    s.n += 1
    s.w = x if s.w is None else s.w + x
    s.log.append(s.n)
    return s.w * s.n
""",
        ("s = State(5)",),
    ),
    "frozen dataclass replaced": Case(
        """
import dataclasses
@dataclasses.dataclass(frozen=True)
class State:
    n: int
    w: object
s = State(0, np.zeros(6))
def f(x):
    global s
    s = dataclasses.replace(s, n=s.n + 1, w=s.w + x)
    return s.w
""",
        ("s = State(3, np.ones(6))",),
    ),
    "frozen dataclass assigned": Case(
        """
import dataclasses
@dataclasses.dataclass(frozen=True)
class State:
    n: int
s, tries = State(0), 0
def f(x):
    global tries
    tries += 1
    try:
        s.n = 1
    except dataclasses.FrozenInstanceError:
        return x * tries
"""
    ),
    "named tuple replaced": Case(
        """
from typing import NamedTuple
class State(NamedTuple):
    n: int
    w: object
s = State(0, np.zeros(6))
def f(x):
    global s
    s = s._replace(n=s.n + 1, w=s.w + x)
    return s
""",
        ("s = State(2, np.ones(6))",),
    ),
    "slots written": Case(
        """
class P:
    __slots__ = ("n", "w")
p = P()
p.n, p.w = 0, np.zeros(6)
def f(x):
    p.n += 1
    p.w = p.w + x
    return p.w * p.n
""",
        ("p.n = 10", "p.w = np.ones(6)"),
    ),
    "enum as state": Case(
        """
import enum
class Mode(enum.Enum):
    UP = 1
    DOWN = -1
mode = Mode.UP
def f(x):
    global mode
    mode = Mode(-mode.value)
    return x * mode.value
""",
        ("mode = Mode.UP",),
    ),
    "context manager that counts": Case(
        """
class Guard:
    depth = entered = 0
    def __enter__(self):
        self.depth += 1
        self.entered += 1
        return self
    def __exit__(self, kind, error, trace):
        self.depth -= 1
        self.failed = kind
        return kind is KeyError
guard = Guard()
D = {"k": 2.0}
def f(x):
    with guard as g:
        x = x * g.depth * D["k"]
    return x * g.entered
""",
        ("del D['k']", "D['k'] = 3.0"),
    ),
    "contextmanager with a flag": Case(
        """
import contextlib
training, log = False, []
@contextlib.contextmanager
def train():
    global training
    before, training = training, True
    try:
        yield
    finally:
        training = before
        log.append(before)
def g(x):
    return x * 2 if training else x
def f(x):
    with train():
        y = g(x)
    return y + g(x)
""",
        ("training = True",),
    ),
    "suppress and ExitStack": Case(
        """
import contextlib
log = []
D = {}
def f(x):
    with contextlib.ExitStack() as stack:
        stack.callback(log.append, "closed")
        with contextlib.suppress(KeyError):
            log.append("before")
            x = x * D["k"]
            log.append("after")
    return x + len(log)
""",
        ("D['k'] = 2.0",),
    ),
    "generator helper that notes": Case(
        """
log = []
def each(x):
    for i in range(3):
        log.append(i)
        yield x[i]
    log.append("end")
def f(x):
    return sum(each(x)), next(each(x))
"""
    ),
    "helper redefined by the call": Case(
        """
def g(x):
    return x + 1
def once(x):
    global g
    g = lambda x: x * 10
    return g(x)
def f(x):
    return g(x) + once(x)
""",
        ("def g(x):\n    return x - 1",),
    ),
    "class made by the call": Case(
        """
kinds = []
def f(x):
    class Local:
        k = len(kinds)
        def go(self, x):
            return x * self.k
    kinds.append(Local.__name__)
    return Local().go(x)
"""
    ),
    "attributes by name": Case(
        """
class Box:
    pass
o = Box()
def f(x):
    for i, name in enumerate(("a", "b")):
        setattr(o, name, x[i])
    delattr(o, "b")
    o.__dict__["c"] = len(vars(o))
    vars(o).update(d=o.c)
    return x * o.d
""",
        ("o.e = 1",),
    ),
    "globals() written": Case(
        """
def f(x):
    globals()["made"] = x.sum()
    return x * len("ab")
"""
    ),
    "global that is made and deleted": Case(
        """
def g(x):
    return x * temporary
def f(x):
    global temporary
    temporary = 3.0
    y = g(x)
    del temporary
    return y
"""
    ),
    "environment": Case(
        """
import os
os.environ["EFFECT_TEST_N"] = "1"
def f(x):
    os.environ["EFFECT_TEST_N"] += "1"
    return x * len(os.environ["EFFECT_TEST_N"])
""",
        ("os.environ['EFFECT_TEST_N'] = '1'",),
    ),
    "lock": Case(
        """
import threading
lock, n = threading.Lock(), 0
def f(x):
    global n
    with lock:
        n += 1
        return x * n
"""
    ),
    "itertools": Case(
        """
import itertools
ids = itertools.count()
turns = itertools.cycle([1.0, 2.0])
def f(x):
    return x * next(turns) + next(ids)
""",
        ("ids = itertools.count(5)",),
    ),
    "comprehension with effects": Case(
        """
log = []
def note(k):
    log.append(k)
    return k
def f(x):
    y = [x * note(k) for k in (1, 2)]
    z = {note(k): x for k in (3,)}
    return sum(y) + sum(map(note, (4, 5))) + len(z)
"""
    ),
    "key that counts": Case(
        """
asked = 0
def key(v):
    global asked
    asked += 1
    return -v
L = [1.0, 3.0, 2.0]
def f(x):
    return x * sorted(L, key=key)[0] + max(L, key=key)
""",
        ("L.append(9.0)",),
    ),
    "== that counts": Case(
        """
class V:
    asked = 0
    def __eq__(self, other):
        V.asked += 1
        return True
    __hash__ = None
a, b = V(), V()
def f(x):
    return x * (1 if a == b else 0) + V.asked
"""
    ),
    "__getattr__ that fills in": Case(
        """
class Lazy:
    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        value = self.__dict__[name] = len(name)
        return value
o = Lazy()
def f(x):
    return x * o.abc + o.de
""",
        ("o.abc = 50", "o = Lazy()"),
    ),
    "singledispatch": Case(
        """
import functools
calls = []
@functools.singledispatch
def kind(v):
    calls.append("other")
    return 1.0
@kind.register
def _(v: int):
    calls.append("int")
    return 2.0
V = 3
def f(x):
    return x * kind(V)
""",
        ("V = 'a'",),
    ),
    "partial that notes": Case(
        """
import functools
def put(into, x):
    into.append(x.ndim)
    return x * len(into)
into = []
p = functools.partial(put, into)
def f(x):
    return p(x)
""",
        ("p = functools.partial(put, [1, 2, 3])",),
    ),
    "bound append": Case(
        """
log = []
note = log.append
def f(x):
    note(len(log))
    return x * len(log)
""",
        ("note = [].append",),
    ),
    "return before a write": Case(
        """
n, stop = 0, False
def f(x):
    global n
    if stop:
        return x
    n += 1
    return x * n
""",
        ("stop = True", "stop = False"),
    ),
    "exception after appends": Case(
        """
log, W = [], np.zeros(6)
def f(x):
    for k in (1, 2, 0):
        log.append(k)
        W[k] += 1
        if 6 // k == limit:
            break
    return x
limit = -1
""",
        ("limit = 3", "limit = -1"),
    ),
    "exception of a helper with state": Case(
        """
class Error(Exception):
    pass
tries = 0
def risky(x):
    global tries
    tries += 1
    if tries % 2:
        raise Error("odd", tries)
    return x * tries
def f(x):
    return risky(x)
"""
    ),
    "retries": Case(
        """
tries = 0
def risky(x):
    global tries
    tries += 1
    if tries % 3:
        raise ValueError(tries)
    return x * tries
def f(x):
    while True:
        try:
            return risky(x)
        except ValueError:
            pass
"""
    ),
    "AttributeError after a write": Case(
        """
class Box:
    pass
o = Box()
o.n = 0
def f(x):
    o.n += 1
    return x * o.missing
""",
        ("o.missing = 2.0", "del o.missing"),
    ),
    "StopIteration after a write": Case(
        """
it = iter([1.0, 2.0, 3.0])
n = 0
def f(x):
    global n
    n += 1
    return x * next(it)
""",
        ("it = iter([5.0])",),
    ),
    "objects as keys": Case(
        """
class Key:
    pass
a, b = Key(), Key()
counts = {a: 0}
def f(x):
    counts[a] += 1
    counts[b] = counts.get(b, 10) + 1
    return x * counts[b]
""",
        ("a, b = b, a",),
    ),
    "weak dict": Case(
        """
import weakref
class Key:
    pass
key = Key()
data = weakref.WeakKeyDictionary()
def f(x):
    data[key] = data.get(key, 0) + 1
    return x * data[key]
""",
        ("key = Key()",),
    ),
    "ContextVar set": Case(
        """
import contextvars
depth = contextvars.ContextVar("depth", default=0)
def f(x):
    token = depth.set(depth.get() + 1)
    y = x * depth.get()
    depth.reset(token)
    return y
""",
        ("depth.set(5)",),
    ),
    "thread's own": Case(
        """
import threading
own = threading.local()
def f(x):
    own.n = getattr(own, "n", 0) + 1
    return x * own.n
"""
    ),
    "inner function with state of the call": Case(
        """
def f(x):
    n, log = 0, []
    def g(y):
        nonlocal n
        n += 1
        log.append(n)
        return y * n
    return g(x) + g(x) + len(log)
"""
    ),
    "closures returned": Case(
        """
made = []
def f(x):
    total = x * 2
    def get():
        return total
    made.append(get)
    return get() + len(made)
"""
    ),
    "object returned": Case(
        """
class Result:
    def __init__(self, value, n):
        self.value, self.n = value, n
n = 0
def f(x):
    global n
    n += 1
    return Result(x * 2, n)
"""
    ),
    "state returned": Case(
        """
state = {"w": np.zeros(6), "log": []}
def f(x):
    state["log"].append(1)
    return state, state["w"], state["log"]
"""
    ),
    "asynchronous helper": Case(
        """
log = []
async def g(x):
    log.append(x.shape)
    return x * 2
def f(x):
    try:
        g(x).send(None)
    except StopIteration as stop:
        return stop.value + len(log)
"""
    ),
    "type of what is stored": Case(
        """
kinds = []
def f(x):
    s = x.sum()
    kinds.append((type(x).__name__, type(s).__name__, isinstance(s, float)))
    return s
"""
    ),
    "identity of what is stored": Case(
        """
last, same = None, 0
def f(x):
    global last, same
    if last is x:
        same += 1
    last = x
    return x * same
""",
        args="((A if n % 4 < 2 else X),) if 'A' in globals() else (X,)",
        changes=("A = np.ones(6)",),
    ),
    "id of an object": Case(
        """
seen = []
class P:
    pass
p = q = P()
def f(x):
    seen.append(id(p) == id(q))
    return x * sum(seen)
""",
        ("q = P()", "q = p"),
    ),
    "abstract method and registry": Case(
        """
import abc
registry = {}
class Op(abc.ABC):
    def __init_subclass__(cls):
        registry[cls.__name__] = cls
    @abc.abstractmethod
    def run(self, x): ...
class Add(Op):
    n = 0
    def run(self, x):
        type(self).n += 1
        return x + self.n
class Mul(Op):
    def run(self, x):
        return x * 2
def f(x):
    for name in registry:
        x = registry[name]().run(x)
    return x
""",
        ("del registry['Mul']",),
    ),
    "operators that note": Case(
        """
ops = []
class V:
    def __init__(self, a):
        self.a = a
    def __add__(self, other):
        ops.append("+")
        return V(self.a + other.a)
    def __mul__(self, k):
        ops.append("*")
        return V(self.a * k)
    __rmul__ = __mul__
def f(x):
    return (V(x) + 2 * V(x)).a * len(ops)
"""
    ),
}

# What is written is there already when the function is traced, and later isn't.
SAME: dict[str, Case] = {
    "attribute": Case(
        """
class Box:
    done = False
o = Box()
o.done = True
def f(x):
    o.done = True
    return x * 2
""",
        ("o.done = False", "del o.done", "o.done = 1"),
    ),
    "global": Case(
        """
mode = "train"
def f(x):
    global mode
    mode = "train"
    return x * 2
""",
        ("mode = 'test'",),
    ),
    "item of a list": Case(
        """
L = [1.0, 2.0]
def f(x):
    L[0] = 1.0
    return x * 2
""",
        ("L[0] = 9.0", "L = [3.0]"),
    ),
    "item of a dict": Case(
        """
D = {"k": 1.0}
def f(x):
    D["k"] = 1.0
    return x * 2
""",
        ("D['k'] = 9.0", "D.clear()", "D = {'j': 0}"),
    ),
    "attribute of a class": Case(
        """
class P:
    k = 1.0
def f(x):
    P.k = 1.0
    return x * 2
""",
        ("P.k = 9.0",),
    ),
    "variable of a closure": Case(
        """
def make():
    k = 1.0
    def f(x):
        nonlocal k
        k = 1.0
        return x * 2
    def put(v):
        nonlocal k
        k = v
    return f, put
f, put = make()
""",
        ("put(9.0)",),
    ),
    "attribute of a function": Case(
        """
def g(x):
    g.k = 1.0
    return x
g.k = 1.0
def f(x):
    return g(x) * 2
""",
        ("g.k = 9.0", "del g.k"),
    ),
    "attribute in slots": Case(
        """
class P:
    __slots__ = ("k",)
p = P()
p.k = 1.0
def f(x):
    p.k = 1.0
    return x * 2
""",
        ("p.k = 9.0", "del p.k"),
    ),
    "by setattr": Case(
        """
class P:
    k = 1.0
p = P()
p.k = 1.0
def f(x):
    setattr(p, "k", 1.0)
    return x * 2
""",
        ("p.k = 9.0",),
    ),
    "by a property": Case(
        """
class P:
    _k = 1.0
    @property
    def k(self):
        return self._k
    @k.setter
    def k(self, value):
        self._k = value
p = P()
p.k = 1.0
def f(x):
    p.k = 1.0
    return x * 2
""",
        ("p.k = 9.0",),
    ),
    "of a module": Case(
        """
import types
m = types.ModuleType("settings")
m.k = 1.0
def f(x):
    m.k = 1.0
    return x * 2
""",
        ("m.k = 9.0",),
    ),
    "cleared when empty": Case(
        """
L, D = [], {}
def f(x):
    L.clear()
    D.clear()
    return x * 2
""",
        ("L.append(1)", "D['k'] = 1"),
    ),
    "popped when missing": Case(
        """
D = {"j": 1}
def f(x):
    D.pop("k", None)
    D.update(j=1)
    return x * 2
""",
        ("D['k'] = 1", "D['j'] = 2"),
    ),
    "sorted already": Case(
        """
L = [1, 2, 3]
def f(x):
    L.sort()
    return x * 2
""",
        ("L[0] = 5",),
    ),
    "reversed twice": Case(
        """
L = [1, 1]
def f(x):
    L.reverse()
    return x * 2
""",
        ("L[0] = 5",),
    ),
    "a list onto itself": Case(
        """
L = [1.0, 2.0]
M = [1.0, 2.0]
def f(x):
    L[:] = M
    return x * 2
""",
        ("L[0] = 5.0", "M.append(3.0)"),
    ),
    "the same array": Case(
        """
class P:
    pass
p = P()
W = p.w = np.ones(6)
def f(x):
    p.w = W
    return p.w * x
""",
        ("W = np.arange(6.0)", "p.w = None"),
    ),
    "the argument": Case(
        """
class P:
    pass
p = P()
A = B = p.x = np.ones(6)
def f(x):
    p.x = x
    return x * 2
""",
        ("B = np.arange(6.0)", "A = np.zeros(6)"),
        "(B if k else A,)",
    ),
    "popped and put back": Case(
        """
D = {"a": 1.0, "b": 2.0}
def f(x):
    D["a"] = D.pop("a")
    return x * next(iter(D.values()))
""",
        ("D['c'] = 5.0",),
    ),
    "equal and of another type": Case(
        """
L, D = [1, 2], {"k": True}
def f(x):
    L[0] = 1.0
    D["k"] = 1
    return x * 2
""",
        ("L[0] = 1", "D['k'] = True"),
    ),
    "equal and of another sign": Case(
        """
L, D = [0.0], {"k": float("nan")}
def f(x):
    L[0] = -0.0
    D["k"] = float("nan")
    return x * 2
""",
        ("L[0] = 0.0",),
    ),
    "an equal list": Case(
        """
class P:
    pass
p = P()
kept = p.items = [1.0, 2.0]
def f(x):
    p.items = list(p.items)
    return x * sum(p.items)
""",
        ("kept = p.items", "p.items.append(1.0)"),
    ),
    "an equal array": Case(
        """
class P:
    pass
p = P()
kept = p.w = np.ones(6)
def f(x):
    p.w = p.w.copy()
    return x * 2
""",
        ("kept = p.w", "p.w[0] = 3"),
    ),
    "an equal key": Case(
        """
D = {1: "a"}
def f(x):
    D[1.0] = "a"
    D[True] = "b"
    D[1] = "a"
    return x * 2
""",
        ("D.clear()",),
    ),
    "two objects swapped": Case(
        """
class P:
    k = 1.0
a, b = P(), P()
def f(x):
    global a, b
    a, b = b, a
    return x * a.k
""",
        ("a.k = 5.0",),
    ),
    "elements of an array": Case(
        """
W = np.ones(6)
def f(x):
    W[0] = 1.0
    W[1:3] = W[1:3]
    return x * 2
""",
        ("W[0] = 5.0",),
    ),
    "random state": Case(
        """
import random
def f(x):
    state = random.getstate()
    random.random()
    random.setstate(state)
    return x * 2
""",
        ("random.seed(7)",),
    ),
    "added and removed": Case(
        """
L, S = [1], {1}
def f(x):
    L.append(2)
    L.pop()
    S.add(1)
    return x * len(L)
""",
        ("S.clear()", "L.clear()"),
    ),
    "counted up and down": Case(
        """
depth = 0
def g(x):
    global depth
    depth += 1
    try:
        return x if depth > 2 else g(x * 2)
    finally:
        depth -= 1
def f(x):
    return g(x) + depth
""",
        ("depth = 1", "depth = 5"),
    ),
    "dict.__setitem__": Case(
        """
D = {"k": 1}
def f(x):
    dict.__setitem__(D, "k", 1)
    return x * 2
""",
        ("D['k'] = 9",),
    ),
    "class of an object": Case(
        """
class A:
    pass
class B:
    pass
o = B()
def f(x):
    o.__class__ = B
    return x * 2
""",
        ("o.__class__ = A",),
    ),
    "__dict__ of an object": Case(
        """
class A:
    pass
o = A()
o.k = 1
def f(x):
    o.__dict__ = {"k": 1}
    return x * 2
""",
        ("o.k = 9", "o.j = 9"),
    ),
    "defaults of a function": Case(
        """
def g(k=1):
    return k
def f(x):
    g.__defaults__ = (1,)
    return x * 2
""",
        ("g.__defaults__ = (9,)",),
    ),
    "keywords of a partial": Case(
        """
import functools
p = functools.partial(dict, k=1)
def f(x):
    p.keywords["k"] = 1
    return x * 2
""",
        ("p.keywords['k'] = 9",),
    ),
    "attribute of an enum": Case(
        """
import enum
class E(enum.Enum):
    A = 1
E.A.k = 1
def f(x):
    E.A.k = 1
    return x * 2
def read(x):
    seen.append(E.A.k)
    return x
seen = []
""",
        ("E.A.k = 9",),
        "(read(X + k),)",
    ),
    "builtins": Case(
        """
import builtins
builtins.effect_test_k = 1
seen = []
def f(x):
    builtins.effect_test_k = 1
    return x * 2
def read(x):
    seen.append(builtins.effect_test_k)
    return x
""",
        ("builtins.effect_test_k = 9",),
        "(read(X + k),)",
        "del builtins.effect_test_k",
    ),
}


def _library(imports: str, statement: str, probe: str, reset: str) -> Case:
    """A case that changes what is a library's. That is read and put back before each call."""
    text = f"""
{imports}
seen = []
def read(x):
    seen.append({probe})
    {reset}
    return x
def f(x):
    {statement}
    return x * 2
"""
    return Case(text, (), "(read(X + k),)", reset)


LIBRARIES: dict[str, Case] = {
    "np.seterr": _library(
        "", "np.seterr(over='ignore')", "np.geterr()['over']", "np.seterr(over='warn')"
    ),
    "np.seterrcall": _library(
        "", "np.seterrcall(len)", "np.geterrcall()", "np.seterrcall(None)"
    ),
    "np.setbufsize": _library(
        "", "np.setbufsize(16384)", "np.getbufsize()", "np.setbufsize(8192)"
    ),
    "np.set_printoptions": _library(
        "",
        "np.set_printoptions(precision=3)",
        "np.get_printoptions()['precision']",
        "np.set_printoptions(precision=8)",
    ),
    "attribute of math": _library(
        "import math",
        "math.effect_test_k = 1",
        "vars(math).pop('effect_test_k', None)",
        "vars(math).pop('effect_test_k', None)",
    ),
    "sys.path": _library(
        "import sys",
        "sys.path.append('effect_test')",
        "'effect_test' in sys.path",
        "sys.path[:] = [p for p in sys.path if p != 'effect_test']",
    ),
    "sys.modules": _library(
        "import sys",
        "sys.modules['effect_test_m'] = sys",
        "'effect_test_m' in sys.modules",
        "sys.modules.pop('effect_test_m', None)",
    ),
    "decimal context": _library(
        "import decimal",
        "decimal.getcontext().prec = 5",
        "decimal.getcontext().prec",
        "decimal.getcontext().prec = 28",
    ),
    "garbage collector": _library("import gc", "gc.disable()", "gc.isenabled()", "gc.enable()"),
    "logging": _library(
        "import logging",
        "logging.getLogger('effect_test').setLevel(10)",
        "logging.getLogger('effect_test').level",
        "logging.getLogger('effect_test').setLevel(0)",
    ),
}


# Containers in containers, and objects that are reached in several ways.
NESTED: dict[str, Case] = {
    "enumerate": Case(
        """
P=[{'lr':1.0},{'lr':2.0}]
def f(x):
    for i,g in enumerate(P): g['lr']*=.5
    return x*P[0]['lr']
""",
    ),
    "items of a dict": Case(
        """
D={'a':[1.0],'b':[2.0]}
def f(x):
    for k,v in D.items(): v[0]*=2
    return x*D['a'][0]
""",
    ),
    "values of a dict": Case(
        """
D={'a':[1.0],'b':[2.0]}
def f(x):
    for v in D.values(): v.append(1.0)
    return x*len(D['a'])
""",
    ),
    "get": Case(
        """
D={'a':[1.0]}
def f(x):
    D.get('a').append(1)
    return x*len(D['a'])
""",
    ),
    "zip": Case(
        """
S=[[1.0],[2.0]]
T=[3.0,4.0]
def f(x):
    for a,b in zip(S,T): a[0]+=b
    return x*S[0][0]
""",
    ),
    "sorted": Case(
        """
S=[[2.0],[1.0]]
def f(x):
    sorted(S)[0].append(5.0)
    return x*S[1][0]
""",
    ),
    "min stored elsewhere": Case(
        """
S=[[2.0],[1.0]]
R=[]
def f(x):
    m=min(S)
    m[0]-=1.0
    R.append(m)
    return x
""",
    ),
    "a list of it": Case(
        """
S=[[2.0],[1.0]]
def f(x):
    for a in list(S): a.append(1.0)
    return x+len(S[0])
""",
    ),
    "lists added": Case(
        """
S=[[2.0],[1.0]]
def f(x):
    for a in S+S: a.append(1.0)
    return x+len(S[0])
""",
    ),
    "a list repeated": Case(
        """
S=[[2.0],[1.0]]
def f(x):
    for a in S*2: a.append(1.0)
    return x+len(S[0])
""",
    ),
    "a copy": Case(
        """
S=[[2.0],[1.0]]
def f(x):
    for a in S.copy(): a.append(1.0)
    return x+len(S[0])
""",
    ),
    "copy.copy": Case(
        """
import copy
S=[[2.0],[1.0]]
def f(x):
    for a in copy.copy(S): a.append(1.0)
    return x+len(S[0])
""",
    ),
    "reversed in place": Case(
        """
S=[[2.0],[1.0]]
def f(x):
    S.reverse(); S[0].append(5)
    return x+len(S[0])
""",
    ),
    "after a pop": Case(
        """
D={'z':1}
def f(x):
    D.pop('z',None); D.setdefault('s',[]).append(1)
    return x
""",
    ),
    "a deque that is rotated": Case(
        """
import collections
q=collections.deque([[1],[2]])
def f(x):
    q.rotate(); q[0].append(3)
    return x+len(q[0])
""",
    ),
    "get returned": Case(
        """
D={'a':[1.0]}
def f(x):
    return D.get('a')
""",
    ),
    "itertools.chain": Case(
        """
import itertools
S=[[2.0],[1.0]]
def f(x):
    for a in itertools.chain(S,S): a.append(1.0)
    return x+len(S[0])
""",
    ),
    "itemgetter": Case(
        """
import operator
S=[[2.0],[1.0]]
g=operator.itemgetter(0)
def f(x):
    g(S).append(1.0)
    return x+len(S[0])
""",
    ),
    "reduce": Case(
        """
import functools
S=[[2.0],[1.0]]
def f(x):
    functools.reduce(lambda p,q: p if p[0]<q[0] else q, S).append(1.0)
    return x+len(S[1])
""",
    ),
    "match": Case(
        """
S={'a':[1.0]}
def f(x):
    match S:
        case {'a': v}: v.append(2.0)
    return x*len(S['a'])
""",
    ),
    "two objects that become one": Case(
        """
class A: pass
a=A(); b=A(); a.n=b.n=0
def f(x): a.n+=1; b.n+=1; return x
""",
        ("b=a",),
    ),
    "two lists that become one": Case(
        """
L=[0]; M=[0]
def f(x): L[0]+=1; M[0]+=1; return x
""",
        ("M=L",),
    ),
    "a list written that becomes the one read": Case(
        """
L=[0]; M=[0]
def f(x): L.append(1); return x*len(M)
""",
        ("M=L",),
    ),
    "attributes that become one object": Case(
        """
class A: pass
a=A(); o=A(); o.p=A(); o.q=A(); o.p.w=1.0; o.q.w=2.0
def f(x): o.p.w=x; return o.q.w
""",
        ("o.q=o.p",),
    ),
    "division by zero after effects": Case(
        """
v=1.0; L=[]
def f(x): x+=1; L.append(1); return 1/v
""",
        (
            "v=2.0",
            "v=3.0",
            "v=0.0",
        ),
    ),
    "number that is an input and a new array": Case(
        """
n=0
def f(x): o=np.ones(6); o*=n; return o
""",
        (
            "n=1",
            "n=2",
        ),
    ),
    "error with a number that is an input": Case(
        """
n=1;g=0
def f(x):
    if g: raise ValueError(n)
    return x*n
""",
        (
            "n=2",
            "n=3",
            "n=4;g=1",
        ),
    ),
    "weak reference that dies": Case(
        """
import weakref
class A: pass
a=A(); ra=weakref.ref(a)
def f(x): return x if ra() is None else x*2
""",
        ("del a",),
    ),
    "array behind a weak reference": Case(
        """
import weakref
w=np.ones(6)
r=weakref.ref(w)
def f(x): v=r(); v+=x; return v
""",
        ("w=np.zeros(6); r=weakref.ref(w)",),
    ),
    "array of an lru_cache returned": Case(
        """
import functools
@functools.lru_cache(None)
def c(): return np.ones(6)
def f(x): return c()
""",
        ("c()[0]=9",),
    ),
    "function registered later": Case(
        """
import functools
@functools.singledispatch
def h(v): return 1.0
def f(x): return x*h(2.0)
""",
        ("h.register(float)(lambda v: 5.0)",),
    ),
}

EFFECT_CASES: dict[str, Case] = {
    **{f"argument: {name}": case for name, case in ARGUMENTS.items()},
    **{f"array: {name}": case for name, case in ARRAYS.items()},
    **{f"effect: {name}": case for name, case in PLAIN.items()},
    **{f"written again: {name}": case for name, case in SAME.items()},
    **{f"nested: {name}": case for name, case in NESTED.items()},
    **{f"library: {name}": case for name, case in LIBRARIES.items()},
}
