"""What a function writes outside of it is written at each call, natively, and by no trace."""

from __future__ import annotations

import gc
import io
import sys
import threading
import weakref
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import graphjit as gj
from graphjit.core.errors import TracingError

X = np.linspace(0.5, 3, 6)


@pytest.fixture(autouse=True)
def natively_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "native_after", 0)


def compiled(function: Any, **options: Any) -> Any:
    return gj.function(function, fallback="error", **options)


class Running:
    """A mean that is updated, with all that it has seen."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.mean = np.zeros(6)
        self.seen: list[Any] = []
        self.last: dict[str, Any] = {"x": None}

    def add(self, x: Any) -> Any:
        self.count += 1
        self.total += 0.5
        self.mean += (x - self.mean) / self.count
        self.seen.append(x.sum())
        self.last["x"] = x
        return self.mean


def test_all_that_an_object_holds() -> None:
    plain, other = Running(), Running()
    mean = other.mean
    add = compiled(Running.add)
    for k in range(8):
        expected, found = plain.add(X + k), add(other, X + k)
        np.testing.assert_allclose(found, expected, rtol=1e-15)
        assert found is other.mean is mean
        assert (other.count, other.total) == (plain.count, plain.total)
        assert type(other.count) is int
        np.testing.assert_allclose(other.seen, plain.seen, rtol=1e-15)
        assert [type(v) for v in other.seen] == [np.float64] * (k + 1)
        np.testing.assert_array_equal(other.last["x"], X + k)
    assert add.trace_count == 2  # the numbers are inputs from their second values on


def test_large_arrays_are_written_in_place() -> None:
    @compiled
    def scale(x: Any) -> None:
        x *= 2

    x = np.ones(1 << 20)
    for _ in range(3):
        scale(x)
    assert (x == 8).all()
    program = scale.specializations[0].executable.program
    assert program.donated  # the result lies where the argument does


@pytest.mark.parametrize("n", [0, 1, 2, 7, 33])
def test_any_number_of_elements(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "symbolic_after", 2)

    def shift(x: Any, y: Any) -> Any:
        x[1:] += y[:-1]
        y[::2] = 7
        return x.sum() + y

    f = compiled(shift)
    for m in (5, 9, n, n, 12):
        a, b = [[np.arange(m) * 1.0, np.arange(m) + 0.5] for _ in range(2)]
        np.testing.assert_allclose(f(*a), shift(*b))
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])


ARRAYS = {
    "strided": lambda: np.arange(12.0)[::2],
    "reversed": lambda: np.arange(6.0)[::-1],
    "columns": lambda: np.arange(12.0).reshape(6, 2)[:, 1],
    "unaligned": lambda: np.frombuffer(bytearray(49), np.uint8)[1:].view(np.float64),
    "other byte order": lambda: np.arange(6.0).astype(">f8"),
    "read-only": lambda: np.broadcast_to(np.arange(6.0), (6,)),
    "overlapping itself": lambda: np.lib.stride_tricks.as_strided(np.zeros(6), (6,), (0,)),
    "memmap": lambda: np.zeros(6).view(np.memmap),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_arrays_of_any_layout(name: str) -> None:
    def fill(x: Any, y: Any) -> Any:
        x += y
        x[0] = 5
        return x * 2

    f = gj.function(fill)
    for _ in range(4):
        a, b = ARRAYS[name](), ARRAYS[name]()
        for given in (np.ones(6), X, a if name == "strided" else X):
            outcomes = []
            for function, x in ((fill, b), (f, a)):
                try:
                    outcomes.append(function(x, b if given is a and x is b else given))
                except ValueError as error:
                    outcomes.append(type(error))
            if isinstance(outcomes[0], type):
                assert outcomes[1] is outcomes[0]
            else:
                np.testing.assert_array_equal(outcomes[1], outcomes[0])
            np.testing.assert_array_equal(a, b)


def test_arguments_that_overlap_run_eagerly() -> None:
    def move(x: Any, y: Any) -> Any:
        x[1:] += 1
        return y * 2

    f = gj.function(move)
    for _ in range(3):
        for pick in (lambda a: (a, a), lambda a: (a, a[::2]), lambda a: (a[:3], a[3:])):
            a, b = np.arange(6.0), np.arange(6.0)
            np.testing.assert_array_equal(f(*pick(a)), move(*pick(b)))
            np.testing.assert_array_equal(a, b)


def test_an_argument_in_the_memory_of_a_memmap(tmp_path: Path) -> None:
    held = np.memmap(tmp_path / "held", np.float64, "w+", shape=(4,))

    def add(x: Any, other: Any) -> Any:
        x += 1
        return other * 2

    f = gj.function(add)
    for _ in range(4):
        outcomes = []
        for function in (add, f):
            held[:] = 0
            outcomes.append(function(np.asarray(held).view(np.ndarray), held).tolist())
        assert outcomes[0] == outcomes[1] == [2.0] * 4


@pytest.mark.parametrize("fallback", ["eager", "error"])
def test_an_attribute_that_is_made_by_the_call(fallback: str) -> None:
    owner = SimpleNamespace()

    def note(x: Any) -> Any:
        owner.last = x * 2
        return x + 1

    f = gj.function(note, fallback=fallback)
    for k in range(4):
        f(X + k)
        np.testing.assert_array_equal(owner.last, (X + k) * 2)


def test_an_error_leaves_what_was_written_until_then() -> None:
    log: list[int] = []

    def pick(x: Any, k: Any) -> Any:
        log.append(1)
        x[0] = 9
        y = x[k]
        x[1] = 9
        return y

    f = gj.function(pick)
    for k in (2, 3, 77, 1, -99):
        a, b = X.copy(), X.copy()
        outcomes = []
        for function, x in ((pick, b), (f, a)):
            log.clear()
            try:
                outcomes.append((function(x, np.array(k)), len(log)))
            except IndexError:
                outcomes.append((IndexError, len(log)))
        assert outcomes[0] == outcomes[1]
        np.testing.assert_array_equal(a, b)


def test_nothing_is_stored_while_the_function_is_traced() -> None:
    state = SimpleNamespace(w=np.zeros(6))
    seen: list[type] = []

    class Watched:
        def __init__(self) -> None:
            self.w = np.zeros(6)

        def step(self, x: Any) -> Any:
            self.w = self.w + x
            seen.append(0)
            return self.w

    watched, stop = Watched(), threading.Event()
    found: list[type] = []

    def watch() -> None:
        while not stop.is_set():
            found.append(type(watched.w))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        for _ in range(5):
            gj.function(Watched.step)(watched, X)
    finally:
        stop.set()
        thread.join()
    assert set(found) == {np.ndarray}
    assert len(seen) == 5
    assert state.w.sum() == 0


def test_objects_that_are_written_end_by_their_reference_counts() -> None:
    add = gj.function(Running.add)
    gc.disable()
    try:
        owner = Running()
        for _ in range(4):
            add(owner, X.copy())
        dead = weakref.ref(owner)
        array = weakref.ref(owner.mean)
        del owner
        assert dead() is None
        assert array() is None
    finally:
        gc.enable()


def test_what_is_printed_is_what_was_there_then() -> None:
    def show(x: Any) -> Any:
        y = x * 2
        print("first", y, y.shape, sep=";")
        y[0] = 0
        print(y.sum(), [y[:2]], end="!")
        return y

    f = compiled(show)
    for k in range(3):
        texts = []
        for function in (show, f):
            with redirect_stdout(io.StringIO()) as out:
                function(X + k)
            texts.append(out.getvalue())
        assert texts[0] == texts[1]


BRANCHES: dict[str, Any] = {
    "append": lambda o, x: o.seen.append(1),
    "attribute": lambda o, x: setattr(o, "count", 3),
    "item": lambda o, x: o.last.update(x=1),
    "method": lambda o, x: o.seen.clear(),
    "print": lambda o, x: print("here"),
}


@pytest.mark.parametrize("name", BRANCHES)
@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_what_is_written_in_a_branch_is_written_in_that_branch(name: str) -> None:
    write = BRANCHES[name]

    def choose(o: Any, x: Any) -> Any:
        def first(v: Any) -> Any:
            write(o, v)
            return v + 1

        return gj.cond(x.sum() > 0, first, lambda v: v * 2, x)

    f = gj.function(choose)
    plain, other = Running(), Running()
    for sign in (1, -1, -1, 1):
        texts = []
        for function, owner in ((choose, plain), (f, other)):
            with redirect_stdout(io.StringIO()) as out:
                function(owner, X * sign)
            texts.append(out.getvalue())
        assert texts[0] == texts[1]
        assert (plain.count, plain.seen, plain.last) == (other.count, other.seen, other.last)


def test_explain_lists_what_is_written() -> None:
    owner = Running()
    f = compiled(Running.add)
    for k in range(3):
        f(owner, X + k)
    text = f.explain(owner, X)
    for part in (
        "reads self.count: int64 of shape []",
        "reads self.mean: float64 of shape [6]",
        "requires type(self) is Running",
        "writes the elements of self.mean",
        "writes: .count of a Running is stored",
        "writes: a list is appended to",
        "writes: item 'x' of a dict is stored",
        "test_effects.py",
    ):
        assert part in text, text


def test_a_counter_beyond_the_numbers_that_are_inputs() -> None:
    owner = SimpleNamespace(n=2**53 - 2)

    def count(x: Any) -> Any:
        owner.n += 1
        return x * 2

    f = gj.function(count)
    for k in range(6):
        f(X)
        assert owner.n == 2**53 - 1 + k
    owner.n = 2**63 - 2
    for k in range(4):
        f(X)
        assert owner.n == 2**63 - 1 + k


HIDDEN = 2.0


class Steps:
    def __init__(self) -> None:
        self.k = 0

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        self.k += 1
        if self.k > 3:
            raise StopIteration
        return self.k * HIDDEN


class Key:
    def __call__(self, value: Any) -> Any:
        return -value * HIDDEN


class Sorted:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: Any) -> bool:
        return bool(self.value * HIDDEN < other.value * HIDDEN)


UNSEEN: dict[str, Any] = {
    "steps of an iterator": lambda x: sum((v for v in Steps()), x),
    "steps in a loop": lambda x: [x := x + v for v in Steps()][-1],
    "steps of zip": lambda x: sum(
        (a * b for a, b in zip(Steps(), [1.0, 2.0], strict=False)), x
    ),
    "key that is an object": lambda x: x * sorted([1, 2, 3], key=Key())[0],
    "map of an object": lambda x: x * max(map(Key(), [1, 2, 3])),
    "method as a key": lambda x: x * min([1, 2, 3], key=Key().__call__),
    "comparison": lambda x: x * min([Sorted(1), Sorted(2)]).value,
    "functions in a list": lambda x: np.piecewise(x, [x < 1], [lambda v: v * HIDDEN, 1.0]),
}


@pytest.mark.parametrize("name", UNSEEN)
@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_code_that_c_code_calls_is_seen_or_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = UNSEEN[name]
    f = gj.function(function)
    for hidden in (2.0, 2.0, -3.0, 0.5):
        monkeypatch.setattr(sys.modules[__name__], "HIDDEN", hidden)
        np.testing.assert_array_equal(f(X), function(X))


def test_a_profile_function_is_put_back() -> None:
    before = sys.getprofile()

    class Plain:
        def __len__(self) -> int:
            return 3

    with pytest.raises(TracingError, match="__len__"):
        compiled(lambda x: x * sorted([Plain()], key=id)[0])(X)
    assert sys.getprofile() is before


ALIASES: dict[str, tuple[str, list[str]]] = {
    "two lists": ("def f(a, b, x):\n    a[0] = a[0] + 1\n    return b[0]", ["l, m", "l, l"]),
    "two dicts": ("def f(a, b, x):\n    a['k'] = x.sum()\n    return b['k']", ["d, e", "d, d"]),
    "appended": ("def f(a, b, x):\n    a.append(x)\n    return len(b)", ["l, m", "l, l"]),
    "one list first": ("def f(a, b, x):\n    a[0] = 3.0\n    b[0] = 2.0\n    return a[0]",
        ["l, l", "l, m"]),
    "attribute": ("def f(a, b, x):\n    b.append(2.0)\n    return len(a.l)", ["p, l", "o, l"]),
    "of an attribute": ("def f(a, b, x):\n    a.l.append(2.0)\n    return len(b)",
        ["p, l", "o, l"]),
    "its dict": ("def f(a, b, x):\n    a.n = a.n + 1\n    return b['n']",
        ["p, d", "o, vars(o)"]),
    "by its dict": ("def f(a, b, x):\n    b['n'] = b['n'] + 1\n    return a.n",
        ["p, d", "o, vars(o)"]),
    "objects": ("def f(a, b, x):\n    a.n += 1\n    b.n += 1\n    return a.n",
        ["o, p", "o, o"]),
}  # fmt: skip
ALIASED = """
x, l, m = np.ones(3), [1.0], [2.0]
d, e = {"k": 1.0, "n": 1.0}, {"k": 2.0, "n": 5.0}
o, p = Namespace(n=1.0, l=l), Namespace(n=2.0, l=[7.0])
"""


class Namespace:
    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


@pytest.mark.parametrize("name", ALIASES)
@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_arguments_that_become_one_object(name: str) -> None:
    text, arguments = ALIASES[name]
    found = []
    for decorate in (False, True):
        space: dict[str, Any] = {"np": np, "Namespace": Namespace, "__name__": __name__}
        exec(ALIASED + text, space)
        if decorate:
            space["f"] = gj.function(space["f"])
        calls = [arguments[0]] * 4 + [arguments[1]] * 2 + [arguments[0]]
        found.append([eval(f"f({given}, x)", space) for given in calls])
    assert found[0] == found[1]


def test_an_array_and_a_tensor_are_a_new_tensor() -> None:
    for other in (gj.constant(np.arange(6.0)), gj.Variable(np.arange(6.0))):

        def add(x: Any, other: Any = other) -> Any:
            x += other
            return x

        x = X.copy()
        f = gj.function(add)
        for _ in range(4):
            np.testing.assert_array_equal(np.asarray(f(x)), X + np.arange(6.0))
            np.testing.assert_array_equal(x, X)
