# ruff: noqa: E501
"""What once was frozen, lost or done twice: each case agrees with undecorated Python, compiled or
not.
"""

from __future__ import annotations

import warnings

import pytest
import state_driver
from effect_cases import Case

CASES = {
    "list in an argument replaced": Case(
        "def f(d, x):\n    d['hist'] = d['hist'] + [x.sum()]\n    return d",
        args="({'hist': [k]}, X)",
    ),
    "lists in an argument swapped": Case(
        "def f(L, x):\n    L[0], L[1] = L[1], L[0]\n    return x + 1", args="([[1], [2 + k]], X)"
    ),
    "list taken out of an argument": Case(
        "def f(p, x):\n    q = p[0]; q.append(x[0]); p[0] = None\n    return q",
        args="([[1], [k]], X)",
    ),
    "one argument stored in another": Case(
        "def f(L, d, x):\n    d['x'] = L; L.append(x[0])\n    return d['x'] is L",
        args="([k], {}, X)",
    ),
    "or and and of objects": Case(
        "class Opt:\n    def __init__(self, v): self.v = v\n    def __bool__(self): return self.v > 2\n"
        "o, z = Opt(3), Opt(1)\ndef f(x):\n    return (o or x) is o, (z and x) is z",
        ("o.v = 0", "z.v = 9"),
    ),
    "classes derived from values": Case(
        "from collections import namedtuple\nclass Pt(namedtuple('T', 'a b')): pass\n"
        "class Unit(float): pass\n"
        "p, u = Pt(2, 3), Unit(2.0)\n"
        "def f(x):\n    return p, u * 2, x + 1, p[0:1]",
        ("p = Pt(9, 9)", "u = Unit(7.0)"),
    ),
    "new exceptions": Case(
        "class E(ValueError): pass\nG = []\n"
        "def f(x):\n    G.append(E('m')); G.append(KeyError(1))\n    return x + 1, len({id(e) for e in G})"
    ),
    "callables of C": Case(
        "import operator\nclass O: pass\no = O(); o.v = 2; D = {'a': 1}; L = [1, 2]\n"
        "def f(x):\n    return (list(map(operator.attrgetter('v'), [o])), list(map(D.get, ['a', 'c'])),\n"
        "        list(map(operator.itemgetter(0), [L])), list(filter(L.__contains__, [1, 9])),\n"
        "        list(map(str, [L])), list(map(list, [L])), max([o], key=operator.attrgetter('v')).v)",
        ("o.v = 4", "D['c'] = 3", "L[0] = 9"),
    ),
    "print of items": Case(
        "L = [1, 2]; D = {'a': 1}\ndef f(x):\n    print(*L); print(*D, sep='-')\n    return x + 1",
        ("L.append(7)", "D['b'] = 2"),
    ),
    "texts of containers": Case(
        "L = [1, 2]; D = {'a': 5}\ndef f(x):\n    return '%s' % L, '%r' % (D,), f'{L!r:>12}', x + 1",
        ("L[0] = 4", "D['a'] = 6"),
    ),
    "objects that can be called": Case(
        "class Net:\n    def __init__(self, n): self.n = n\n    def __call__(self, x): return x * self.n\n"
        "    def __bool__(self): return self.n > 2\n    def __str__(self): return f'Net{self.n}'\n"
        "    def __hash__(self): return 5\n"
        "net = Net(2)\ndef f(x):\n    return bool(net), str(net), hash(net), [net].count(net), net(x)",
        ("net.n = 5",),
    ),
    "iterators see what is written": Case(
        "L = [1, 2]; D = {'a': 1, 'b': 2}\n"
        "def f(x):\n    it = iter(L); z = zip(L, L); g = map(abs, L); L.append(5)\n"
        "    vs = D.values(); D['a'] = 9\n    return sum(it), list(z), list(g), list(vs), x + 1"
    ),
    "views see what is written": Case(
        "E = {'a': 1}\ndef f(x):\n    ks, vs = E.keys(), E.values(); E.pop('a', None); E['b'] = 1\n"
        "    return 'a' in ks, len(vs), x"
    ),
    "list that grows while it is gone through": Case(
        "L = [3, 1]\ndef f(x):\n    for v in L:\n        if v > 0 and len(L) < 9: L.append(v - 1)\n"
        "    return x * len(L)"
    ),
    "dict that grows while it is gone through": Case(
        "D = {1: 2}\ndef f(x):\n    for k in D: D[k + 1] = 1\n    return x"
    ),
    "deque that changes while it is gone through": Case(
        "from collections import deque\nQ = deque([1, 2])\n"
        "def f(x):\n    for k in Q: Q.rotate(1)\n    return x"
    ),
    "generator left open": Case(
        "log = []\ndef g(x):\n    try: yield x\n    finally: log.append('end')\n"
        "def f(x):\n    it = g(x); next(it); y = x * 2\n    id(y)\n    return y, len(log)"
    ),
    "finalizer": Case(
        "class S: n = 0\nclass Res:\n    def __init__(self): S.n += 1\n    def __del__(self): S.n -= 1\n"
        "def f(x):\n    r = Res()\n    return x * S.n"
    ),
    "dict of attributes": Case(
        "class O: pass\no = O(); o.v = 2\ndef f(x):\n    return vars(o) is o.__dict__, vars(o), x + 1",
        ("o.v = 4",),
    ),
    "kinds of dicts": Case(
        "import copy\nfrom collections import Counter, OrderedDict, defaultdict\n"
        "dd, od, cn = defaultdict(int, a=1), OrderedDict(a=1), Counter('ab')\n"
        "def f(x):\n    return (type(dd.copy()).__name__, type(copy.deepcopy(od)).__name__, str(od),\n"
        "        type(od | {'q': 1}).__name__, f'{dd}', repr(cn), x + 1)"
    ),
    "class attribute that comes": Case(
        "class O: pass\ndef f(x):\n    return hasattr(O, 'zz'), getattr(O, 'zz', None), x + 1",
        ("O.zz = 1", "del O.zz"),
    ),
    "list among lists": Case(
        "L = [1, 2]\ndef f(x):\n    return L in [[1, 2]], [1, 2, 4] in [L], x + 1", ("L.append(4)",)
    ),
    "index by an object": Case(
        "class I:\n    def __init__(self, v): self.v = v\n    def __index__(self): return self.v\n"
        "i = I(1)\ndef f(x):\n    return x[i], [4, 5, 6][i]",
        ("i.v = 2",),
    ),
    "dataclass that differs": Case(
        "import dataclasses\n@dataclasses.dataclass\nclass DC: v: int\nq = DC(2)\n"
        "def f(x):\n    return q != DC(2), q == DC(2), x + 1",
        ("q = DC(4)",),
    ),
    "property of an enum": Case(
        "import enum\nclass C(enum.Enum):\n    A = 1\n    @property\n    def v(self): return 1\n"
        "    def m(self): return 2\ndef f(x):\n    return C.A.v, C.A.m(), x + 1",
        ("C.v = 9", "C.m = lambda self: 5"),
    ),
    "defaults of keywords": Case(
        "def h(*, a=1): return a\ndef f(x):\n    h.__kwdefaults__['a'] += 1\n    return x + h()"
    ),
    "type of a text": Case(
        "def f(x):\n    s = f'{x.sum()}'\n    return type(s) is str, s.__class__ is str, type(enumerate(x)) is enumerate"
    ),
    "list in a new list": Case(
        "L = [1]\ndef f(x):\n    r = []; r.append(L)\n    return r, r[0] is L, x + 1"
    ),
    "attributes of a partial": Case(
        "import functools\ndef base(a, b=2): return a * b\n"
        "def f(x):\n    p = functools.partial(base, 1)\n    return p.func is base, p(x)"
    ),
    "text of an error": Case(
        "def f(x):\n    try: return x + x[:-1]\n    except ValueError as e: return str(e)"
    ),
    "argument that holds itself": Case(
        "def f(L, x):\n    L.append(x[0])\n    return len(L)\ndef own(k):\n    L = [k]; L.append(L)\n    return L",
        args="(own(k), X)",
    ),
    "warning, then a draw": Case(
        "import warnings\nrng = np.random.default_rng(1)\n"
        "def f(x):\n    warnings.warn('w')\n    return x + rng.random()",
        ("warnings.filterwarnings('error', 'w')",),
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_undecorated_python(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = state_driver.run(CASES[name], False)
        found = state_driver.run(CASES[name], True)
    assert not state_driver.compare(found, expected)
