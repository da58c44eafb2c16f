"""Functions of state outside of them, and what happens to that state between calls.

Each case is the text of a module with a function `f(x)`, and statements that are executed in it
between calls. Undecorated and decorated, in modules of their own, they must agree.
"""

from __future__ import annotations

CLASS = """
class Scale:
    rate = 0.5
    def __init__(self, k):
        self.k = k
        self.w = np.arange(6.0)
        self.items = [1.0, 2.0]
    @property
    def twice(self):
        return self.k * 2
    @staticmethod
    def shift(x):
        return x + 1
    @classmethod
    def rated(cls, x):
        return x * cls.rate
    def __call__(self, x):
        return x * self.k
    def apply(self, x):
        return x * self.w + self.k
o = Scale(2.0)
"""

# name -> the module's text, statements
CASES: dict[str, tuple[str, list[str]]] = {
    "global number": ("C = 2.0\ndef f(x):\n    return x * C", ["C = 3.0", "C = -0.0", "C = 2"]),
    "global bool": (
        "ON = True\ndef f(x):\n    return x * 2 if ON else x - 1",
        ["ON = False", "ON = 0", "ON = [0]"],
    ),
    "global text": (
        "MODE = 'add'\ndef f(x):\n    return x + 1 if MODE == 'add' else x * 2",
        ["MODE = 'mul'", "MODE = ''.join(['a', 'dd'])"],
    ),
    "global None": (
        "W = None\ndef f(x):\n    return x if W is None else x * W",
        ["W = np.arange(6.0)", "W = 2.0", "W = None"],
    ),
    "global NaN": (
        "C = float('nan')\ndef f(x):\n    return x + C",
        ["C = float('nan')", "C = 1.0"],
    ),
    "global tuple": (
        "S = (2, 3)\ndef f(x):\n    return x.reshape(S).sum(axis=0)",
        ["S = (3, 2)", "S = (2, 3)", "S = [3, 2]"],
    ),
    "global list of numbers": (
        "L = [1.0, 2.0]\ndef f(x):\n    for k in L:\n        x = x * k + 1\n    return x",
        [
            "L.append(3.0)",
            "L[0] = 5.0",
            "L = (4.0,)",
            "L.clear() if isinstance(L, list) else 0",
        ],
    ),
    "global dict": (
        "D = {'a': 2.0}\ndef f(x):\n    for k, v in D.items():\n        x = x * v + len(k)\n    return x",
        ["D['bb'] = 3.0", "D['a'] = 1.0", "del D['a']"],
    ),
    "dict.get": (
        "D = {'a': 2.0}\ndef f(x):\n    return x * D.get('a', 1.0) + D.get('b', 0.0)",
        ["D['b'] = 3.0", "D.pop('a')"],
    ),
    "dict by key": (
        "D = {'a': {'b': 2.0}}\ndef f(x):\n    return x * D['a']['b']",
        ["D['a']['b'] = 3.0", "D['a'] = {'b': 4.0}", "D = {'a': {'b': 5.0}}"],
    ),
    "missing key": (
        "D = {}\ndef f(x):\n    try:\n        return x * D['k']\n    except KeyError:\n        return x",
        ["D['k'] = 3.0", "D.clear()"],
    ),
    "key in dict": (
        "D = {}\ndef f(x):\n    return x + 1 if 'k' in D else x",
        ["D['k'] = 1", "D.pop('k')"],
    ),
    "set": (
        "S = {1, 2}\ndef f(x):\n    return x * sum(S) if 3 in S else x * len(S)",
        ["S.add(3)", "S.remove(1)"],
    ),
    "nested list": (
        "L = [[1.0, 2.0], [3.0]]\ndef f(x):\n    return x * sum(sum(r) for r in L)",
        ["L[1][0] = 5.0", "L[0].append(1.0)", "L.append([2.0])"],
    ),
    "list comprehension": (
        "L = [1.0, 2.0]\ndef f(x):\n    return sum([x * k for k in L if k > 1])",
        ["L[0] = 4.0", "L.append(9.0)"],
    ),
    "list of arrays": (
        "L = [np.arange(6.0), np.ones(6)]\ndef f(x):\n    for w in L:\n        x = x * w + 1\n    return x",
        ["L[0] = L[0] + 1", "L[1][2] = 7.0", "L.append(np.ones(6) * 2)", "L.pop(0)"],
    ),
    "stacked list": (
        "L = [np.arange(6.0), np.ones(6)]\ndef f(x):\n    return np.stack(L).sum(axis=0) * x",
        ["L[0] = L[0] + 1", "L[1][2] = 7.0", "L.append(np.ones(6) * 2)"],
    ),
    "unpacked": (
        "P = [1.0, 2.0]\ndef f(x):\n    a, b = P\n    return x * a + b",
        ["P[0] = 3.0", "P[:] = [5.0, 6.0]"],
    ),
    "star arguments": (
        "P = [1.0, 2.0]\nK = {'c': 3.0}\ndef g(x, a, b, c):\n    return x * a + b - c\n"
        "def f(x):\n    return g(x, *P, **K)",
        ["P[0] = 3.0", "K['c'] = 4.0"],
    ),
    "slices": (
        "L = [1.0, 2.0, 3.0]\ndef f(x):\n    return x * sum(L[1:]) + L[-1]",
        ["L.append(4.0)", "L[1] = 9.0"],
    ),
    "zip and enumerate": (
        "A, B = [1.0, 2.0], [3.0, 4.0]\n"
        "def f(x):\n    for k, (a, b) in enumerate(zip(A, B)):\n        x = x * a + b * k\n    return x",
        ["A[1] = 5.0", "B.append(1.0)", "A.append(2.0)"],
    ),
    "sorted by key": (
        "L = [3.0, 1.0]\nSIGN = 1\ndef f(x):\n    return x * sorted(L, key=lambda v: SIGN * v)[0]",
        ["L.append(0.5)", "SIGN = -1"],
    ),
    "map and filter": (
        "L = [1.0, 2.0]\nC = 2.0\ndef f(x):\n    return x * sum(map(lambda v: v * C, filter(None, L)))",
        ["C = 3.0", "L.append(4.0)"],
    ),
    "max of list": ("L = [1.0, 2.0]\ndef f(x):\n    return x * max(L)", ["L.append(4.0)"]),
    "formatted": (
        "N = 3\ndef f(x):\n    return x * len(f'{N:05d}') + len('%s' % N) + int(str(N))",
        ["N = 123456", "N = -1"],
    ),
    "helper": (
        "def g(x):\n    return x * 2\ndef f(x):\n    return g(x) + 1",
        ["def g(x):\n    return x * 3", "g = lambda x: x"],
    ),
    "helper of a helper": (
        "C = 1.0\ndef h(x):\n    return x + C\ndef g(x):\n    return h(x) * 2\ndef f(x):\n    return g(x)",
        ["C = 2.0", "def h(x):\n    return x - C"],
    ),
    "helper's default": (
        "def g(x, k=2.0):\n    return x * k\ndef f(x):\n    return g(x)",
        ["g.__defaults__ = (3.0,)"],
    ),
    "keyword default": (
        "def g(x, *, k=2.0):\n    return x * k\ndef f(x):\n    return g(x)",
        ["g.__kwdefaults__['k'] = 3.0", "g.__kwdefaults__ = {'k': 5.0}"],
    ),
    "helper's code": (
        "def g(x):\n    return x * 2\ndef other(x):\n    return x - 2\ndef f(x):\n    return g(x)",
        ["g.__code__ = other.__code__"],
    ),
    "function attribute": (
        "def g(x):\n    return x * g.k\ng.k = 2.0\ndef f(x):\n    return g(x)",
        ["g.k = 3.0"],
    ),
    "closure cell": (
        "def make():\n    k = 2.0\n    def f(x):\n        return x * k\n    def put(v):\n"
        "        nonlocal k\n        k = v\n    return f, put\nf, put = make()",
        ["put(3.0)", "put(4)"],
    ),
    "closure of a helper": (
        "def make():\n    k = np.ones(6)\n    def g(x):\n        return x * k\n    def put(v):\n"
        "        nonlocal k\n        k = v\n    return g, put\ng, put = make()\n"
        "def f(x):\n    return g(x) + 1",
        ["put(np.arange(6.0))", "put(4.0)"],
    ),
    "lambda in a list": (
        "L = [lambda x: x * 2]\ndef f(x):\n    for g in L:\n        x = g(x)\n    return x",
        ["L.append(lambda x: x + 1)", "L[0] = np.abs"],
    ),
    "function in a dict": (
        "T = {'a': np.sin}\nK = 'a'\ndef f(x):\n    return T[K](x)",
        ["T['a'] = np.cos", "T['b'] = np.tan", "K = 'b'"],
    ),
    "partial": (
        "import functools\ndef g(k, x, c=1.0):\n    return x * k + c\nP = functools.partial(g, 2.0)\n"
        "def f(x):\n    return P(x)",
        ["P = functools.partial(g, 3.0)", "P.keywords['c'] = 5.0"],
    ),
    "partial of an array": (
        "import functools\nW = np.ones(6)\nP = functools.partial(np.multiply, W)\ndef f(x):\n    return P(x)",
        ["W[2] = 5.0", "P = functools.partial(np.add, W)"],
    ),
    "np replaced": (
        "def f(x):\n    return np.exp(x)",
        ["class np:\n    exp = staticmethod(lambda x: x + 1)"],
    ),
    "builtin hidden": (
        "def f(x):\n    return x * len('ab')",
        ["len = lambda text: 7", "del len"],
    ),
    "import inside": (
        "def f(x):\n    import math\n    from math import pi\n    return x * math.floor(pi)",
        [],
    ),
    "user module": (
        "import types\nm = types.ModuleType('settings')\nm.k = 2.0\ndef f(x):\n    return x * m.k",
        ["m.k = 3.0", "m.k = np.arange(6.0)"],
    ),
    "attribute": (CLASS + "def f(x):\n    return x * o.k", ["o.k = 3.0", "o = Scale(4.0)"]),
    "array attribute": (
        CLASS + "def f(x):\n    return x * o.w",
        ["o.w = np.ones(6)", "o.w[1] = 9.0", "o.w = np.ones(6, np.float32)", "o.w = 2.0"],
    ),
    "NumPy of an array alone": (
        CLASS + "def f(x):\n    return x * np.exp(o.w).sum()",
        ["o.w = np.ones(6)", "o.w[1] = 3.0"],
    ),
    "method": (
        CLASS + "def f(x):\n    return o.apply(x)",
        ["o.k = 3.0", "Scale.apply = lambda self, x: x", "o.apply = lambda x: x - 1"],
    ),
    "property": (
        CLASS + "def f(x):\n    return x * o.twice",
        ["o.k = 3.0", "Scale.twice = property(lambda self: self.k)", "Scale.twice = 7.0"],
    ),
    "class attribute": (
        CLASS + "def f(x):\n    return x * o.rate + Scale.rate",
        ["Scale.rate = 3.0", "o.rate = 4.0", "del o.rate"],
    ),
    "static and class method": (
        CLASS + "def f(x):\n    return Scale.shift(o.rated(x))",
        ["Scale.rate = 3.0", "Scale.shift = staticmethod(lambda x: x - 1)"],
    ),
    "callable object": (
        CLASS + "def f(x):\n    return o(x)",
        ["o.k = 3.0", "Scale.__call__ = lambda self, x: x + self.k"],
    ),
    "list attribute": (
        CLASS + "def f(x):\n    for k in o.items:\n        x = x * k\n    return x",
        ["o.items.append(3.0)", "o.items = [5.0]", "o.items[0] = 7.0"],
    ),
    "getattr": (
        CLASS + "N = 'k'\ndef f(x):\n    return x * getattr(o, N) + getattr(o, 'none', 1.0)",
        ["o.k = 3.0", "o.none = 4.0", "N = 'rate'"],
    ),
    "hasattr": (
        CLASS + "def f(x):\n    return x + 1 if hasattr(o, 'extra') else x",
        ["o.extra = 1", "del o.extra"],
    ),
    "isinstance": (
        CLASS + "def f(x):\n    return x + 1 if isinstance(o, Scale) else x",
        ["o = 3", "o = Scale(1.0)"],
    ),
    "type": (
        CLASS + "def f(x):\n    return x + 1 if type(o) is Scale else x",
        ["class Other(Scale):\n    pass", "o = Other(1.0)"],
    ),
    "class changed": (
        CLASS + "class Other(Scale):\n    def apply(self, x):\n        return x - 1\n"
        "def f(x):\n    return o.apply(x)",
        ["o.__class__ = Other", "o.__class__ = Scale"],
    ),
    "inherited": (
        CLASS
        + "class Sub(Scale):\n    def apply(self, x):\n        return super().apply(x) * 2\n"
        "o = Sub(1.0)\ndef f(x):\n    return o.apply(x)",
        ["o.k = 5.0", "Scale.apply = lambda self, x: x"],
    ),
    "slots": (
        "class P:\n    __slots__ = ('a', 'w')\np = P()\np.a = 2.0\np.w = np.ones(6)\n"
        "def f(x):\n    return x * p.a + p.w",
        ["p.a = 3.0", "p.w = np.arange(6.0)", "p.w[0] = 8.0"],
    ),
    "dataclass": (
        "import dataclasses\n@dataclasses.dataclass\nclass P:\n    a: float = 2.0\n    n: tuple = (1, 2)\n"
        "p = P()\ndef f(x):\n    return x * p.a + sum(p.n)",
        ["p.a = 3.0", "p.n = (4,)", "p = P(1.0)"],
    ),
    "named tuple": (
        "from typing import NamedTuple\nclass P(NamedTuple):\n    a: float\n    w: object\n"
        "p = P(2.0, np.ones(6))\ndef f(x):\n    return x * p.a + p.w",
        ["p = p._replace(a=3.0)", "p.w[1] = 5.0"],
    ),
    "enum": (
        "import enum\nclass E(enum.Enum):\n    A = 1\n    B = 2\ne = E.A\n"
        "def f(x):\n    return x * e.value if e is E.A else x - e.value",
        ["e = E.B", "e = E.A"],
    ),
    "operators of a class": (
        "class V:\n    def __init__(self, a):\n        self.a = a\n    def __add__(self, other):\n"
        "        return V(self.a + other.a)\n    def __mul__(self, x):\n        return x * self.a\n"
        "    def __len__(self):\n        return int(self.a)\n    def __getitem__(self, k):\n"
        "        return self.a + k\n    def __bool__(self):\n        return self.a > 2\n"
        "u, v = V(1.0), V(2.0)\ndef f(x):\n    return (u + v) * x + len(u) + v[1] + (1 if v else 0)",
        ["u.a = 4.0", "v = V(5.0)", "V.__len__ = lambda self: 9"],
    ),
    "comparison of a class": (
        "class V:\n    def __init__(self, a):\n        self.a = a\n    def __eq__(self, other):\n"
        "        return self.a == other.a\n    __hash__ = None\nu, v = V(1.0), V(1.0)\n"
        "def f(x):\n    return x + 1 if u == v else x",
        ["u.a = 4.0", "v.a = 4.0"],
    ),
    "iterable of a class": (
        "class V:\n    def __init__(self):\n        self.a = [1.0, 2.0]\n    def __iter__(self):\n"
        "        for k in self.a:\n            yield k * 2\nv = V()\n"
        "def f(x):\n    for k in v:\n        x = x + k\n    return x",
        ["v.a.append(5.0)", "v.a[0] = 9.0"],
    ),
    "context manager of a class": (
        "class M:\n    k = 2.0\n    def __enter__(self):\n        return self.k\n"
        "    def __exit__(self, *e):\n        return False\nm = M()\n"
        "def f(x):\n    with m as k:\n        return x * k",
        ["M.k = 5.0", "m.k = 6.0"],
    ),
    "contextmanager function": (
        "import contextlib\nK = 2.0\n@contextlib.contextmanager\ndef m():\n    yield K\n"
        "def f(x):\n    with m() as k:\n        return x * k",
        ["K = 3.0"],
    ),
    "generator helper": (
        "L = [1.0, 2.0]\nC = 1.0\ndef g():\n    for k in L:\n        yield k * C\n"
        "def f(x):\n    return x * sum(g())",
        ["C = 2.0", "L.append(4.0)"],
    ),
    "recursion": (
        "N = 3\nC = 2.0\ndef g(x, n):\n    return x if n == 0 else g(x * C, n - 1)\n"
        "def f(x):\n    return g(x, N)",
        ["N = 4", "C = 3.0"],
    ),
    "decorated helper": (
        "import functools\nC = 2.0\ndef d(h):\n    @functools.wraps(h)\n    def inner(*a):\n"
        "        return h(*a) * C\n    return inner\n@d\ndef g(x):\n    return x + 1\n"
        "def f(x):\n    return g(x)",
        ["C = 3.0"],
    ),
    "lru_cache": (
        "import functools\nC = 2.0\n@functools.lru_cache\ndef g(k):\n    return k * C\n"
        "def f(x):\n    return x * g(3)",
        ["C = 5.0", "g.cache_clear()"],
    ),
    "cached_property": (
        "import functools\nclass P:\n    k = 2.0\n    @functools.cached_property\n    def c(self):\n"
        "        return self.k * 2\np = P()\ndef f(x):\n    return x * p.c",
        ["p.k = 3.0", "p = P()", "P.k = 7.0", "p = P()"],
    ),
    "__getattr__": (
        "class P:\n    def __init__(self):\n        self.d = {'k': 2.0}\n    def __getattr__(self, n):\n"
        "        return self.d[n]\np = P()\ndef f(x):\n    return x * p.k",
        ["p.d['k'] = 3.0", "p.k = 5.0"],
    ),
    "descriptor": (
        "class D:\n    def __get__(self, o, t=None):\n        return o.v * 2\nclass P:\n    d = D()\n"
        "    v = 1.0\np = P()\ndef f(x):\n    return x * p.d",
        ["p.v = 3.0", "P.v = 4.0"],
    ),
    "deque": (
        "from collections import deque\nq = deque([1.0, 2.0])\ndef f(x):\n    return x * q[0] + sum(q)",
        ["q.append(3.0)", "q.rotate(1)"],
    ),
    "default dict": (
        "from collections import defaultdict\nd = defaultdict(float, a=2.0)\ndef f(x):\n    return x * d['a']",
        ["d['a'] = 3.0"],
    ),
    "append": (
        "L = []\ndef f(x):\n    L.append(1)\n    return x * len(L)",
        ["L.clear()"],
    ),
    "counter": (
        "n = 0\ndef f(x):\n    global n\n    n += 1\n    return x * n",
        ["n = 10"],
    ),
    "counter on self": (
        CLASS + "def f(x):\n    o.k += 1\n    return x * o.k",
        ["o.k = 10"],
    ),
    "array in place": (
        CLASS + "def f(x):\n    o.w += x\n    return o.w * 2",
        ["o.w[:] = 0"],
    ),
    "array replaced": (
        CLASS + "def f(x):\n    o.w = o.w + x\n    return o.w * 2",
        ["o.w = np.ones(6)"],
    ),
    "setting and putting back": (
        "ON = False\ndef g(x):\n    return x + 1 if ON else x\n"
        "def f(x):\n    global ON\n    ON = True\n    y = g(x)\n    ON = False\n    return y",
        [],
    ),
    "iterator": (
        "it = iter([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])\ndef f(x):\n    return x * next(it)",
        ["it = iter([7.0, 8.0, 9.0, 1.0])"],
    ),
    "time": (
        "import time\nTIMES = [0]\ntime = lambda: len(TIMES)\ndef f(x):\n    return x * time()",
        ["TIMES.append(1)"],
    ),
    "vars": (
        CLASS + "def f(x):\n    return x * vars(o)['k'] + o.__dict__['k']",
        ["o.k = 3.0"],
    ),
    "itemgetter": (
        "import operator\nG = operator.itemgetter('a')\nD = {'a': 2.0}\ndef f(x):\n    return x * G(D)",
        ["D['a'] = 3.0"],
    ),
    "attrgetter": (
        "import operator\n"
        + CLASS
        + "G = operator.attrgetter('k')\ndef f(x):\n    return x * G(o)",
        ["o.k = 3.0"],
    ),
    "reduce": (
        "import functools\nL = [1.0, 2.0]\nC = 1.0\ndef f(x):\n"
        "    return x * functools.reduce(lambda a, b: a * b + C, L)",
        ["L.append(4.0)", "C = 2.0"],
    ),
    "match": (
        "D = {'kind': 'a', 'k': 2.0}\ndef f(x):\n    match D:\n        case {'kind': 'a', 'k': k}:\n"
        "            return x * k\n        case _:\n            return x",
        ["D['k'] = 3.0", "D['kind'] = 'b'"],
    ),
    "try and except": (
        "D = [1.0]\ndef f(x):\n    try:\n        return x * D[1]\n    except IndexError:\n        return x * 2",
        ["D.append(5.0)", "D.pop()"],
    ),
    "warnings filter and errstate": (
        "def f(x):\n    with np.errstate(all='ignore'):\n        return np.sqrt(x - 1) * 0 + x",
        [],
    ),
    "two names of one array": (
        "a = np.ones(6)\nb = a\ndef f(x):\n    return x * a + b",
        ["a[1] = 5.0", "b = np.arange(6.0)", "a = b"],
    ),
    "identity": (
        "a = [1]\nb = a\ndef f(x):\n    return x + 1 if a is b else x",
        ["b = [1]", "a = b"],
    ),
    "view of an array": (
        "base = np.arange(12.0)\nv = base[::2]\ndef f(x):\n    return x * v",
        ["base[2] = 50.0", "v = base[1::2]"],
    ),
    "NumPy scalar": (
        "C = np.float32(2.5)\ndef f(x):\n    return x * C",
        ["C = np.float64(2.5)", "C = np.float32(3)"],
    ),
    "0-d array": (
        "C = np.array(2.5)\ndef f(x):\n    return x * C",
        ["C[()] = 3.5", "C = np.array(1.5)", "C = 3.0"],
    ),
    "dtype": (
        "T = np.float32\nD = np.dtype('f8')\ndef f(x):\n    return x.astype(T) + np.zeros(6, D)",
        ["T = np.float64", "D = np.dtype('f4')"],
    ),
    "inner function": (
        "C = 2.0\ndef f(x):\n    k = C\n    def g(y):\n        return y * k + C\n    return g(x)",
        ["C = 3.0"],
    ),
    "made object": (
        CLASS + "def f(x):\n    s = Scale(3.0)\n    return s.apply(x) * s.rate",
        ["Scale.rate = 2.0", "Scale.apply = lambda self, x: x * self.k"],
    ),
    "reading after writing": (
        "D = {'k': 1.0}\ndef f(x):\n    D['k'] = 5.0\n    y = x * D['k']\n    D['k'] = 1.0\n    return y",
        [],
    ),
    "weak reference": (
        "import weakref\n" + CLASS + "r = weakref.ref(o)\ndef f(x):\n    return x * r().k",
        ["o.k = 3.0"],
    ),
    "ContextVar": (
        "import contextvars\nv = contextvars.ContextVar('v', default=2.0)\ndef f(x):\n    return x * v.get()",
        ["v.set(3.0)"],
    ),
    "globals()": (
        "C = 2.0\ndef f(x):\n    return x * globals()['C']",
        ["C = 3.0"],
    ),
    "exec": (
        "C = 2.0\ndef f(x):\n    return x * eval('C')",
        ["C = 3.0"],
    ),
    "os.environ": (
        "import os\nos.environ['STATE_TEST_K'] = '2'\ndef f(x):\n    return x * int(os.environ['STATE_TEST_K'])",
        ["os.environ['STATE_TEST_K'] = '3'"],
    ),
    "random state": (
        "rng = np.random.default_rng(0)\ndef f(x):\n    return x + rng.normal(size=6)",
        [],
    ),
    "attribute and property of super": (
        "class A:\n    v, z = 1.0, 3.0\n    @property\n    def p(self):\n        return self.z\n"
        "class B(A):\n    def m(self, x):\n        return x * super().p + super().v\no = B()\n"
        "def f(x):\n    return o.m(x)",
        ["o.z = 5.0", "A.v = 4.0", "A.p = property(lambda self: 9.0)"],
    ),
    "super with other bases": (
        "class A:\n    def m(self, x):\n        return x + 1\nclass N(A):\n    def m(self, x):\n"
        "        return x * 10\nclass M(A):\n    pass\nclass B(M):\n    def m(self, x):\n"
        "        return super().m(x) * 2\no = B()\ndef f(x):\n    return o.m(x)",
        ["M.m = lambda self, x: x * 7", "del M.m", "B.__bases__ = (N,)"],
    ),
    "a name that appears": (
        "def f(x):\n    try:\n        return x * nope\n    except NameError:\n        return -x",
        ["nope = 7.0", "del nope"],
    ),
    "special methods that appear": (
        "class V:\n    pass\nv, w = V(), V()\n"
        "def f(x):\n    return (x if v else -x) + (1 if w == 2 else 0)",
        ["V.__len__ = lambda self: 0", "V.__eq__ = lambda self, other: True", "del V.__len__"],
    ),
    "mutable value of an enum": (
        "import enum\nclass E(enum.Enum):\n    X = [1.0]\n    Y = 2\n"
        "def f(x):\n    return x * E.X.value[0] + E.Y.value",
        ["E.X.value[0] = 5.0", "E.Y._value_ = 7"],
    ),
    "class that is registered": (
        "import abc\nclass U:\n    pass\nclass B(abc.ABC):\n    pass\nu = U()\n"
        "def f(x):\n    return x if isinstance(u, B) else -x",
        ["B.register(U)"],
    ),
    "property of a class of which objects are made": (
        "class P:\n    pass\ndef f(x):\n    p = P()\n    p.q = x\n    return p.q * 2",
        ["P.q = property(lambda self: X1, lambda self, v: None); X1 = np.ones(6)"],
    ),
    "keys that are equal and of another type": (
        "D = {1: 2}\ndef f(x):\n    for k in D:\n        x = x.astype(int) + k\n    return x",
        ["D = {1.0: 2}", "D = {True: 2}"],
    ),
    "frozenset of equal numbers": (
        "S = frozenset({1})\ndef f(x):\n    for k in S:\n        x = x.astype(int) + k\n    return x",
        ["S = frozenset({1.0})"],
    ),
    "equal numbers with other texts": (
        "import decimal\nS = decimal.Decimal('1.0')\ndef f(x):\n    return x * len(str(S))",
        ["S = decimal.Decimal('1.00')"],
    ),
    "equal ranges": (
        "S = range(0)\ndef f(x):\n    return x * (S.start + 1)",
        ["S = range(5, 5)"],
    ),
    "containment and length that appear": (
        "class V:\n    def __iter__(self):\n        return iter([1, 2])\nv = V()\ndef f(x):\n"
        "    try:\n        x = x * len(v)\n    except TypeError:\n        x = x - 1\n"
        "    return x if 1 in v else -x",
        ["V.__contains__ = lambda self, k: False", "V.__len__ = lambda self: 4"],
    ),
    "unary operator that appears": (
        "class V:\n    def __abs__(self):\n        return 3\nv = V()\ndef f(x):\n    try:\n"
        "        return x * (-v)\n    except TypeError:\n        return x",
        ["V.__neg__ = lambda self: 5"],
    ),
    "an operator that the metaclass has": (
        "class V:\n    pass\nv = V()\ndef f(x):\n    try:\n        return x * (v | 1)\n"
        "    except TypeError:\n        return x",
        ["V.__or__ = lambda self, other: 5"],
    ),
    "__init__ that appears": (
        "class A:\n    pass\nclass B(A):\n    def __init__(self):\n        super().__init__()\n"
        "class P:\n    pass\ndef put(self):\n    self.k = 9\n"
        "def f(x):\n    return x * getattr(B(), 'k', 2) + getattr(P(), 'k', 3)",
        ["A.__init__ = put", "P.__init__ = put"],
    ),
}
