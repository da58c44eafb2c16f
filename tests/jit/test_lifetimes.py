"""What is made for an object ends with it; objects that are alike share code."""

import gc
import warnings
import weakref

import numpy as np
import pytest

import graphjit as gj
from graphjit import config
from graphjit.jit import call_key, specialization_table

pytestmark = pytest.mark.filterwarnings("ignore::graphjit.RecompileWarning")
X = np.linspace(-1, 1, 8)


@pytest.fixture(autouse=True, params=["Python", "machine code"])
def entered(request, monkeypatch):
    monkeypatch.setattr(config, "native_after", None if request.param == "Python" else 0)
    monkeypatch.setattr(config, "cache", False)
    monkeypatch.setattr(config, "verify", False)


class Model:
    def __init__(self, w):
        self.w = w

    @gj.function
    def f(self, x):
        me = self  # not a method that serves all objects
        return x * me.w


class Slotted:
    __slots__ = ("k",)

    def __init__(self, k):
        self.k = k


class Thing:
    pass


def everything(function):
    """How much a function keeps."""
    table = function._specializations
    owners = [o for o in table.owners.values() if not isinstance(o(), type)]
    tables = (table.by_key, table.by_rank, table.size_histories, owners)
    entries = 0 if function._table is None else len(function._table.entries)
    return [*map(len, tables), entries, len(function._entries.late), len(table.died)]


def test_forms_and_arrays_end_with_the_object():
    for size in (8, 100_000):
        model = Model(np.ones(size))
        held, array = weakref.ref(model), weakref.ref(model.w)
        for n in (size, size, size):
            np.testing.assert_array_equal(model.f(np.ones(n)), np.ones(n))
        assert Model.f.specializations
        del model
        gc.collect()
        assert held() is None and array() is None
        assert not any(everything(Model.f))


def test_forms_for_any_size_end_too():
    class Scaled:
        k = 2.0

        @gj.function
        def f(self, x):
            me = self  # not a method that serves all objects
            return x * me.k

    one, other = Scaled(), Scaled()
    for n in (3, 4, 5, 6):
        for scaled in (one, other):
            np.testing.assert_array_equal(scaled.f(np.ones(n)), np.full(n, 2.0))
    assert len(Scaled.f._specializations.by_rank) == 2
    del scaled, one
    gc.collect()
    assert len(Scaled.f._specializations.by_rank) == 1
    for n in (7, 8):
        np.testing.assert_array_equal(other.f(np.ones(n)), np.full(n, 2.0))
    del other
    gc.collect()
    assert not any(everything(Scaled.f))


@pytest.mark.parametrize("kind", [Thing, lambda: lambda: 1, lambda: type("Made", (), {})])
def test_static_arguments(kind):
    f = gj.function(lambda x, o=None: x * 2)
    for _ in range(12):
        np.testing.assert_array_equal(f(X, kind()), X * 2)
        gc.collect()
    assert not any(everything(f))


def test_objects_whose_end_nothing_tells_do_not_pile_up():
    f = gj.function(lambda x, o: x * o.k)
    for k in range(100):
        np.testing.assert_array_equal(f(X, Slotted(k)), X * k)
    assert len(f.specializations) <= 64 and len(f._specializations.immortal_keys) <= 128
    if f._table is not None:
        assert len(f._table.entries) <= 64


def test_calls_that_fail_leave_nothing():
    f = gj.function(lambda x: x + 1)
    for _ in range(12):
        with pytest.raises(TypeError):
            f(Thing())
    gc.collect()
    assert not any(everything(f))


def test_new_objects_run_the_code_of_others():
    code = []
    for k in range(5):
        model = Model(X + k)
        np.testing.assert_array_equal(model.f(X), X * (X + k))
        (specialization,) = Model.f.specializations
        code.append(specialization.executable)
        del model, specialization
        gc.collect()
    assert all(x is code[0] for x in code)


def test_a_spare_executable_holds_no_arrays():
    made = tuple(range(300_000))
    f = gj.function(lambda x, o: x + gj.constant(made, gj.float64))
    for _ in range(3):
        f(np.ones(300_000), Thing())
        gc.collect()
    assert not f._specializations.spare_executables


def test_an_object_that_dies_while_the_lock_is_held_is_forgotten_later():
    model = Model(X.copy())
    model.f(X)
    with Model.f._specializations.lock:
        del model
        gc.collect()
        assert Model.f._specializations.died and Model.f._specializations.owners
    assert Model.f.specializations == []
    assert not any(everything(Model.f))


def test_closures_end_with_their_arrays():
    def outer(w):
        f = gj.function(lambda x: x * w)
        f(w)
        return weakref.ref(w)

    held = [outer(np.ones(1000)) for _ in range(3)]
    gc.collect()
    assert [ref() for ref in held] == [None] * 3


def test_a_number_of_an_object_that_is_used_again():
    f = gj.function(lambda x, o: x * o.k)
    for k in range(80):  # addresses come again
        thing = Thing()
        thing.k = k
        np.testing.assert_array_equal(f(X, thing), X * k)


class Held:
    def __init__(self):
        self.v = X.copy()


def _raises(x, o):
    raise ValueError("no", x)


def _branches(x, o):
    return x if x[0] > 5 else o.v


def _writes(x, o):
    o.z = x
    raise ValueError


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
@pytest.mark.parametrize("fallback", ["eager", "error"])
@pytest.mark.parametrize(
    ("body", "o"),
    [
        (_raises, Held),
        (_branches, Held),
        (_writes, Held),
        (lambda x, o: x + np.ones(3), Held),
        (lambda x, o: x[o], lambda: np.array([99])),
        (lambda x, o: x, lambda: {1, 2}),
        (lambda x, o: [o, {"x": x}], Held),
    ],
)
def test_arguments_end_with_the_call_however_it_ended(body, o, fallback):
    """By their reference counts alone."""
    f = gj.function(body, fallback=fallback)
    gc.collect()
    gc.disable()
    try:
        for make in (np.ones, np.ones, gj.ones):
            x, other = make(8), o()
            held = [weakref.ref(x)]
            if not isinstance(other, set):
                held.append(weakref.ref(other))
            try:
                f(x, other)
            except Exception as error:
                del error
            del x, other
            assert [ref() for ref in held if ref() is not None] == []
    finally:
        gc.enable()


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
@pytest.mark.parametrize("traced", [True, False])
def test_captured_arrays_can_be_resized(traced):
    """NumPy refuses that where anything refers to the array."""

    class Model:
        def __init__(self):
            self.w = np.arange(6.0)

        @gj.function
        def f(self, x):
            return self.w * x if traced or x[0] > 0 else x

    gc.collect()
    gc.disable()
    try:
        for calls in (1, 4):
            model, x, out = Model(), np.ones(6), np.ones(6)
            for _ in range(calls):
                model.f(x)
                model.f(x, out=out)
            model.w.resize(3)
            out.resize(3)
            x.resize(3)
            np.testing.assert_array_equal(model.f(x), np.arange(3.0))
    finally:
        gc.enable()


def _modes():
    f = gj.function(lambda x, m: x + len(m))
    return f, lambda k: (X, f"m{k}")


def _tuples():
    f = gj.function(lambda x, m: x + len(m))
    return f, lambda k: (X, (f"m{k}", frozenset([k])))


def _methods():
    model = Model(X)
    model.g = gj.function(lambda self, x, m: x * self.w).__get__(model)
    return model.g.__func__, lambda k: (model, X, f"m{k}")


def _branching():
    f = gj.function(lambda x, m: x + len(m) if x[0] < 5 else x)
    return f, lambda k: (X, f"m{k}")


def _dicts():
    f = gj.function(lambda x, m: x + len(m))
    return f, lambda k: (X, {f"m{k}": 1})


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
@pytest.mark.parametrize("kind", [_modes, _tuples, _methods, _branching, _dicts])
def test_values_that_are_new_at_each_call_do_not_pile_up(kind, monkeypatch):
    monkeypatch.setattr(specialization_table, "MAX_KEYS", 12)
    monkeypatch.setattr(call_key, "MAX_PLACES", 12)
    f, arguments = kind()
    for k in range(40):
        np.testing.assert_array_equal(f(*arguments(k)), f.python_function(*arguments(k)))
    table, reader = f._specializations, f._reader
    assert len(table.fallbacks) <= 12
    assert len(reader._integers) <= 13 and len(reader.pinned) <= 13
    assert sum(len(owner.keys) for owner in table.owners.values()) <= 24
    known, sized, seen, *_, late, died = everything(f)
    assert max(known, sized, seen, late) <= 12 and not died
    for k in (39, 0):  # kept; dropped, and made again
        np.testing.assert_array_equal(f(*arguments(k)), f.python_function(*arguments(k)))


def test_a_dropped_specialization_is_not_entered():
    f = gj.function(lambda x, m: x + len(m))
    for k in range(4):
        f(X, f"m{k}")
    table = f._specializations
    with table.lock:
        for entry in list(table.ownerless_keys):
            table._forget_key(*entry)
    assert not any(everything(f)) and not table.ownerless_keys and not table.fallbacks
    np.testing.assert_array_equal(f(X, "m0"), X + 2)


def test_classes_end_with_their_objects():
    f = gj.function(lambda x, o: x * o.k)
    g = gj.function(lambda x, o: x * o.k if x[0] < 5 else x)

    def call(bases):
        kind = type("Kind", bases, {"k": 2.0})
        for compiled in (f, g) if config.native_after is None else (f,):
            for _ in range(4):
                np.testing.assert_array_equal(compiled(X, kind()), X * 2)
        return weakref.ref(kind)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kinds = [call(()) for _ in range(3)]
    gc.collect()
    assert [kind() for kind in kinds if kind() is not None] == []


def test_what_is_told_of_misses_is_short_and_runs_no_code():
    class Text(str):
        def __str__(self):
            raise AssertionError

        __repr__ = __str__

    f = gj.function(lambda x, m: x)
    for m in (Text("m" * 10_000), b"m" * 10_000, "n", frozenset(range(10_000)), "m" * 10_000):
        f(X, m)
    assert all(len(str(miss)) < 1000 for miss in f.explain_misses())
