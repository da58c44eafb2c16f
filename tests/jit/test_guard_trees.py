"""Guards that machine code compares owner by owner: each change of an owner is noticed.

Every case runs natively and through Python. It changes something, step by step, and after each
step the decorated function must do what the undecorated one does.
"""

from __future__ import annotations

import gc
import itertools
import os
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphjit as gj
from graphjit.codegen.runtime.entry_layout import GuardKind
from graphjit.codegen.runtime.entry_spec import GuardedRoot, LeafGuard, Step, guard_trees
from graphjit.core import attribute_layout, object_layout

X = np.arange(4, dtype=np.float32)
NATIVE = object_layout.fits() and os.environ.get("GRAPHJIT_NATIVE_AFTER") != "never"
pytestmark = pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")


@pytest.fixture(params=["native", "python"])
def way(request: Any, monkeypatch: Any) -> Iterator[str]:
    """Both ways into a function."""
    if request.param == "native" and not NATIVE:
        pytest.skip("calls go through Python here")
    after = 0 if request.param == "native" else None
    monkeypatch.setattr(gj.config, "native_after", after)
    yield request.param


def outcome(function: Callable[..., Any]) -> Any:
    """What a call gives, or the type of what it raises."""
    try:
        return np.asarray(function(X)).tolist()
    except Exception as error:
        return type(error)


class Checker:
    """A function, decorated and not."""

    def __init__(self, plain: Callable[..., Any]) -> None:
        self.plain, self.jitted = plain, gj.function(plain)
        self()

    def __call__(self) -> Any:
        """Compare the two, several times: the first call may make a specialization."""
        expected = outcome(self.plain)
        for _ in range(3):
            assert outcome(self.jitted) == expected
        return expected


def array(value: float) -> Any:
    return np.full(4, value, np.float32)


def test_fields_of_an_object(way: str) -> None:
    class Owner:
        pass

    owner = Owner()
    owner.w, owner.n, owner.text = array(1), 2.0, "a"  # type: ignore[attr-defined]

    def f(x: Any) -> Any:
        return x * owner.w + (owner.n if owner.text == "a" else -owner.n)  # type: ignore[attr-defined]

    check = Checker(f)
    owner.w = array(3)  # type: ignore[attr-defined]
    check()
    owner.w[:] = 7  # type: ignore[attr-defined]
    check()
    owner.n = 5.0  # type: ignore[attr-defined]
    check()
    owner.n = 5  # type: ignore[attr-defined]
    check()
    owner.text = "b"  # type: ignore[attr-defined]
    check()
    del owner.n  # type: ignore[attr-defined]
    assert check() is AttributeError
    owner.n = 2.0  # type: ignore[attr-defined]
    check()
    owner.w = array(1).astype(np.float64)  # type: ignore[attr-defined]
    check()
    owner.w = None  # type: ignore[attr-defined]
    assert check() is TypeError
    owner.w = array(2)[::-1]  # type: ignore[attr-defined]
    check()


@pytest.mark.parametrize("made", [False, True], ids=["values", "dict"])
def test_the_dict_of_an_object(way: str, made: bool) -> None:
    class Owner:
        pass

    owner: Any = Owner()
    owner.w, owner.n = array(1), 2.0
    if made:
        assert len(vars(owner)) == 2

    def f(x: Any) -> Any:
        return x * owner.w + owner.n

    check = Checker(f)
    vars(owner)["n"] = 4.0
    check()
    owner.__dict__ = {"w": array(5), "n": 2.0}
    check()
    owner.__dict__ = {"other": 1, "n": 3.0, "w": array(6)}
    check()
    owner.__dict__ = {}
    assert check() is AttributeError
    owner.n, owner.w = 2.0, array(1)  # in another order
    check()
    owner.__dict__ = types.MappingProxyType(vars(owner)) | {1: 2}  # not only strings
    check()
    owner.n = 9.0
    check()
    for k in range(40):
        setattr(owner, f"more{k}", k)
    owner.n = 10.0
    check()
    vars(owner).clear()
    assert check() is AttributeError


def test_the_class_of_an_object(way: str) -> None:
    class Base:
        pass

    class Owner(Base):
        pass

    class Other(Base):
        n = property(lambda self: 11.0)

    owner: Any = Owner()
    owner.w, owner.n = array(1), 2.0

    def f(x: Any) -> Any:
        return x * owner.w + owner.n

    check = Checker(f)
    Owner.unrelated = 1  # type: ignore[attr-defined]
    check()
    Owner.n = property(lambda self: 7.0)  # type: ignore[attr-defined]
    assert check() == (X * 1 + 7).tolist()
    del Owner.n  # type: ignore[attr-defined]
    assert check() == (X * 1 + 2).tolist()
    Base.n = property(lambda self: 8.0)  # type: ignore[attr-defined]
    assert check() == (X * 1 + 8).tolist()
    del Base.n  # type: ignore[attr-defined]
    check()
    Owner.n = 6.0  # type: ignore[attr-defined]
    assert check() == (X * 1 + 2).tolist()  # the object's own comes first
    del owner.n
    assert check() == (X * 1 + 6).tolist()
    owner.n = 1.0
    check()
    owner.__class__ = Other
    assert check() == (X * 1 + 11).tolist()
    owner.__class__ = Owner
    check()

    class Strange(Base):
        def __getattribute__(self, name: str) -> Any:
            return 100.0 if name == "n" else object.__getattribute__(self, name)

    owner.__class__ = Strange
    assert check() == (X * 1 + 100).tolist()
    owner.__class__ = Owner
    check()
    Owner.__getattribute__ = Strange.__getattribute__  # type: ignore[method-assign]
    assert check() == (X * 1 + 100).tolist()
    Owner.__bases__ = (Other,)
    check()


def test_an_attribute_that_getattr_gives(way: str) -> None:
    class Owner:
        pass

    owner: Any = Owner()
    owner.w, owner.n = array(1), 2.0

    def f(x: Any) -> Any:
        return x * owner.w + owner.n

    check = Checker(f)
    Owner.__getattr__ = lambda self, name: 5.0  # type: ignore[attr-defined]
    check()
    del owner.n
    assert check() == (X * 1 + 5).tolist()
    owner.n = 2.0
    check()


def test_slots(way: str) -> None:
    class Owner:
        __slots__ = ("n", "w")

    class Below(Owner):  # has a dict, too
        pass

    for kind in (Owner, Below):
        owner: Any = kind()
        owner.w, owner.n = array(1), 2.0

        def f(x: Any, owner: Any = owner) -> Any:
            return x * owner.w + owner.n

        check = Checker(f)
        owner.n = 3.0
        check()
        owner.w = array(4)
        check()
        del owner.n
        assert check() is AttributeError
        owner.n = 3.0
        check()
        kept = kind.n  # type: ignore[attr-defined]
        kind.n = 12.0  # type: ignore[attr-defined]
        check()
        if kind is Owner:
            kind.n = kept  # type: ignore[attr-defined]
            check()


def test_a_replaced_and_a_dead_owner(way: str) -> None:
    class Owner:
        def __init__(self, n: float) -> None:
            self.w, self.n = array(n), n

    space: dict[str, Any] = {"owner": Owner(1.0)}
    exec("def f(x):\n    return x * owner.w + owner.n", space)
    check = Checker(space["f"])
    gone = weakref.ref(space["owner"])
    space["owner"] = Owner(2.0)
    check()
    gc.collect()
    assert gone() is None
    space["owner"] = types.SimpleNamespace(w=array(3), n=3.0)
    check()
    space["owner"].n = 4.0
    check()
    vars(space["owner"]).clear()
    assert check() is AttributeError
    del space["owner"]
    assert check() is NameError
    space["owner"] = Owner(1.0)
    check()


def test_lists_tuples_and_dicts(way: str) -> None:
    data: Any = [array(1), 2.0, (3.0, {"k": 4.0, 5: 6.0})]

    def f(x: Any) -> Any:
        return x * data[0] + data[1] + data[2][0] + data[2][1]["k"] + data[2][-1][5]

    check = Checker(f)
    data[1] = 7.0
    check()
    data[0] = array(8)
    check()
    data[2][1]["k"] = 9.0
    check()
    del data[2][1]["k"]
    assert check() is KeyError
    data[2][1].update(a=1, k=9.0)  # at another place
    check()
    data[2][1][5] = 10.0
    check()
    data[2] = (3.5, data[2][1])
    check()
    data.append(1)
    check()
    del data[1:]
    assert check() is IndexError
    data.clear()
    assert check() is IndexError


def test_keys_that_are_not_interned(way: str) -> None:
    names = [f"name {k}" for k in range(12)]
    data = {str(name): float(k) for k, name in enumerate(names)}
    exec("def f(x):\n    return x + data['name 3'] + data['name ' + '5']", {}, space := {})
    f = types.FunctionType(space["f"].__code__, {"data": data})
    check = Checker(f)
    data["name 3"] = 30.0
    check()
    del data["name 3"]
    data["".join(["name", " ", "3"])] = 31.0
    check()
    for name in names[6:]:
        del data[name]
    data.update({f"new {k}": 0.0 for k in range(100)})
    data["name 5"] = 50.0
    check()


def test_globals(way: str) -> None:
    space: dict[str, Any] = {"w": array(1), "n": 2.0, "on": True, "none": None}
    exec("def f(x):\n    return x * w + n if on and none is None else x - len(w)", space)
    check = Checker(space["f"])
    for name, value in [
        ("n", 3.0), ("n", 3), ("w", array(4)), ("on", False), ("on", 1), ("none", 0),
        ("none", None), ("len", lambda w: 100), ("on", False),
    ]:  # fmt: skip
        space[name] = value
        check()
    del space["len"]
    check()
    space.update({f"more{k}": k for k in range(1000)})
    space["n"] = 5.0
    check()
    del space["n"]
    space["on"] = True
    assert check() is NameError


def test_what_a_dead_function_leaves_is_not_none(way: str) -> None:
    space: dict[str, Any] = {}
    exec("def g(x):\n    return x + 1\n\ndef f(x):\n    return g(x)", space)
    check = Checker(space["f"])
    space["g"] = None  # the function dies: what the weak reference gives is None, too
    gc.collect()
    assert check() is TypeError
    space["g"] = lambda x: x + 2
    check()


def test_cells_and_modules(way: str) -> None:
    module: Any = types.ModuleType("settings")
    module.w, module.n = array(1), 2.0
    factor = 3.0

    def f(x: Any) -> Any:
        return x * module.w + module.n * factor

    check = Checker(f)
    module.n = 4.0
    check()
    factor = 5.0
    check()
    module.w = array(6)
    check()
    del module.n
    assert check() is AttributeError
    module.__getattr__ = lambda name: 7.0
    assert check() == (X * 6 + 7 * 5).tolist()


def test_methods_and_what_stands_before_them(way: str) -> None:
    class Layer:
        scale = 2.0

        def __init__(self, k: float) -> None:
            self.w = array(k)

        def __call__(self, x: Any) -> Any:
            return self.act(x * self.w) * self.scale

        def act(self, x: Any) -> Any:
            return x + 1

    layers: Any = [Layer(k) for k in (1.0, 2.0, 3.0)]

    def f(x: Any) -> Any:
        for layer in layers:
            x = layer(x)
        return x

    check = Checker(f)
    act, call = Layer.act, Layer.__call__
    layers[1].act = lambda x: x - 1
    check()
    del layers[1].act
    check()
    vars(layers[2])["act"] = lambda x: x - 2
    check()
    del layers[2].act
    check()
    Layer.act = lambda self, x: x * 3  # type: ignore[method-assign]
    check()
    Layer.act = act  # type: ignore[method-assign]
    check()
    Layer.scale = 4.0
    check()
    layers[0].scale = 5.0
    check()
    Layer.__call__ = lambda self, x: x  # type: ignore[method-assign]
    check()
    Layer.__call__ = call  # type: ignore[method-assign]
    check()
    act.__code__ = (lambda self, x: x + 10).__code__
    check()
    layers[1] = Layer(7.0)
    check()
    layers.append(Layer(1.0))
    check()

    class Below(Layer):
        def act(self, x: Any) -> Any:
            return super().act(x) * 2

    layers[0] = Below(1.0)
    check()
    Layer.act = lambda self, x: x - 3  # type: ignore[method-assign]
    check()
    layers[0].__class__ = Layer
    check()


def test_names_that_are_new_to_a_class(way: str) -> None:
    class Layer:
        def __init__(self) -> None:
            self.w = array(1)

        def act(self, x: Any) -> Any:
            return x * self.w

    layer: Any = Layer()

    def f(x: Any) -> Any:
        return layer.act(x)

    check = Checker(f)
    Layer().new = 1  # type: ignore[attr-defined]
    check()
    Layer().act = None  # type: ignore[assignment]
    check()
    layer.act = lambda x: x + 5
    check()


def test_operators_that_a_class_gets_later(way: str) -> None:
    class Scale:
        def __init__(self, n: float) -> None:
            self.n = n

        def __mul__(self, x: Any) -> Any:
            return x * self.n

    scale: Any = Scale(2.0)

    def f(x: Any) -> Any:
        return scale * x

    check = Checker(f)
    scale.n = 3.0
    check()
    Scale.__add__ = lambda self, x: x  # type: ignore[attr-defined]
    check()
    Scale.__mul__ = lambda self, x: x - self.n  # type: ignore[method-assign]
    check()
    del Scale.__mul__
    assert check() is TypeError


@pytest.mark.skipif(not NATIVE, reason="calls go through Python here")
def test_an_owner_that_dies_while_it_is_read(monkeypatch: Any) -> None:
    """Reading a field runs code that lets go of the owner, its dict and its class."""
    monkeypatch.setattr(gj.config, "native_after", 0)

    class Owner:
        pass

    def new() -> Any:
        owner: Any = Owner()
        owner.a, owner.w, owner.n = array(1), array(2), 3.0
        return owner

    space: dict[str, Any] = {"holder": [new()]}
    exec("def f(x):\n    o = holder[0]\n    return x * o.a + o.w * o.n", space)
    f = gj.function(space["f"])
    for _ in range(3):
        assert f(X).tolist() == (X + 6).tolist()

    def read(self: Any) -> Any:
        holder = space["holder"]
        if holder and holder[0] is self:
            vars(self).clear()
            self.__dict__ = {}
            holder[:] = [types.SimpleNamespace(a=array(5), w=array(6), n=7.0)]
            gc.collect()
        return array(4)

    for _ in range(5):
        space["holder"][:] = [new()]
        f(X)
        Owner.w = property(read)  # type: ignore[attr-defined]
        outcome(f)
        del Owner.w  # type: ignore[attr-defined]
        assert outcome(f) == outcome(space["f"])


@pytest.mark.skipif(not NATIVE, reason="calls go through Python here")
def test_a_key_that_changes_what_is_looked_up(monkeypatch: Any) -> None:
    monkeypatch.setattr(gj.config, "native_after", 0)

    class Owner:
        pass

    owner: Any = Owner()
    owner.w, owner.n = array(1), 2.0

    def f(x: Any) -> Any:
        return x * owner.w + owner.n

    jitted = gj.function(f)
    for _ in range(3):
        assert jitted(X).tolist() == (X + 2).tolist()

    class Key:
        def __hash__(self) -> int:
            return hash("n")

        def __eq__(self, other: Any) -> bool:
            owner.__dict__ = {"w": array(3), "n": 4.0}
            gc.collect()
            return False

    for _ in range(5):
        owner.__dict__ = {Key(): 0, "w": array(1), "n": 2.0}  # type: ignore[dict-item]
        outcome(jitted)
        assert outcome(jitted) == (X * 3 + 4).tolist()


@pytest.mark.skipif(not NATIVE, reason="calls go through Python here")
def test_fields_that_another_thread_replaces(monkeypatch: Any) -> None:
    monkeypatch.setattr(gj.config, "native_after", 0)

    class Owner:
        pass

    owner: Any = Owner()
    owner.w, owner.n, owner.inner = array(1), 1.0, Owner()
    owner.inner.w = array(1)

    @gj.function
    def f(x: Any) -> Any:
        return x * owner.w + owner.inner.w

    f(X)
    done = threading.Event()

    def replace() -> None:
        for k in itertools.count():
            if done.is_set():
                return
            inner = Owner()
            inner.w = array(1)  # type: ignore[attr-defined]
            owner.inner, owner.w = inner, array(1)
            owner.__dict__ = dict(owner.__dict__)
            if k % 3 == 0:
                del owner.w
                owner.w = array(1)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for _ in range(3000):
            found = outcome(f)
            assert found in ((X + 1).tolist(), AttributeError)
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(interval)


@pytest.mark.skipif(not NATIVE, reason="calls go through Python here")
def test_no_reference_is_lost_or_kept(monkeypatch: Any) -> None:
    monkeypatch.setattr(gj.config, "native_after", 0)

    class Owner:
        def act(self, x: Any) -> Any:
            return x

    owner: Any = Owner()
    owner.w, owner.n, owner.text = array(1), 2.5, "text of an attribute"
    data = {"w": array(2), "n": 3.5}

    def f(x: Any) -> Any:
        text = owner.text
        return owner.act(x * owner.w + owner.n + data["w"] * data["n"] + len(text))

    jitted = gj.function(f)
    for _ in range(5):
        jitted(X)
    held = [owner, owner.w, owner.n, owner.text, vars(owner), data, *data.values(), Owner]
    before = [sys.getrefcount(x) for x in held]
    for _ in range(1000):
        jitted(X)
    assert [sys.getrefcount(x) for x in held] == before
    owner.n = 2.5 + len(held) - len(held)  # an equal number, another object
    for _ in range(1000):
        jitted(X)
    assert jitted.trace_count == 1
    assert [sys.getrefcount(x) for x in held][:2] == before[:2]


def test_owners_are_looked_up_once() -> None:
    top, kind = object(), LeafGuard(GuardKind.TYPE, value=object)
    first, second = (Step(GuardKind.ATTRIBUTE, name) for name in ("first", "second"))
    one = LeafGuard(GuardKind.SAME, value=1)
    call = Step(GuardKind.CALL)
    roots = [
        GuardedRoot(top, (first, first), one),
        GuardedRoot(print, (call,), one),
        GuardedRoot(top, (first, second), one, 0),
        GuardedRoot(top, (second,), 0),
        GuardedRoot(top, (first,), one),
        GuardedRoot(top, (first,), kind),
    ]
    trees = guard_trees(roots)
    assert [value for value, _ in trees] == [top, print, top]  # Python's and repeats come last
    [(step, node)] = trees[0][1].in_order()[1]
    leaves, steps = node.in_order()
    assert step == first and leaves == [(kind, None), (one, None)]
    assert [step for step, _ in steps] == [first, second]
    assert steps[1][1].in_order() == ([(one, 0)], [])


@pytest.mark.skipif(
    not attribute_layout.layout_fits(), reason="objects are laid out differently"
)
class TestPlaces:
    """Where attributes lie, and where they have to be looked up."""

    def test_found(self) -> None:
        class Owner:
            shared = 1

        class Slots:
            __slots__ = ("one",)

        owner: Any = Owner()
        owner.one, owner.two, owner.shared = object(), object(), object()
        slots: Any = Slots()
        slots.one = object()
        for value, name in [
            (owner, "one"), (owner, "two"), (owner, "shared"), (slots, "one"),
            (types.SimpleNamespace(a=1), "a"), (outcome, "__code__"),
        ]:  # fmt: skip
            place = attribute_layout.Places().attribute(value, name)
            assert place is not None and attribute_layout.reads(place, value, name)

    def test_looked_up(self) -> None:
        class Owner:
            shared = 1
            made = property(lambda self: 1)

            def method(self) -> None:
                pass

        class Strange(Owner):
            def __getattribute__(self, name: str) -> Any:
                return object.__getattribute__(self, name)

        owner, strange = Owner(), Strange()
        strange.own = 1  # type: ignore[attr-defined]
        for value, name in [
            (owner, "shared"), (owner, "made"), (owner, "method"), (owner, "missing"),
            (owner, "__dict__"), (owner, "__class__"), (strange, "own"), (Owner, "shared"),
            (sys, "path"), (X, "shape"), (1, "real"), (super(Strange, strange), "shared"),
        ]:  # fmt: skip
            assert attribute_layout.Places().attribute(value, name) is None

    def test_entries_of_dicts(self) -> None:
        for count in (1, 2, 5, 6, 200, 300, 70_000):
            names = {f"name {k}": k for k in range(count)}
            if count > 2:
                del names["name 1"]
            last = f"name {count - 1}"
            key, hint = attribute_layout.Places().item(names, last)
            assert hint == count - 1 and key == last and any(key is own for own in names)
            assert attribute_layout.Places().item(names, "missing") == ("missing", -1)
        assert attribute_layout.Places().item({1: 2, "a": 3}, "a") == ("a", -1)
        assert attribute_layout.Places().item([1], 0) == (0, -1)

    def test_versions(self) -> None:
        class Base:
            pass

        class Owner(Base):
            pass

        before = attribute_layout.Places().version(Owner)
        assert before and attribute_layout.Places().version(Owner) == before
        Base.new = 1  # type: ignore[attr-defined]
        assert attribute_layout.Places().version(Owner) not in (0, before)


@pytest.mark.skipif(not NATIVE, reason="calls go through Python here")
def test_without_known_layouts(monkeypatch: Any) -> None:
    """Every attribute is looked up, and the results are the same."""
    monkeypatch.setattr(gj.config, "native_after", 0)
    monkeypatch.setattr(attribute_layout, "layout_fits", lambda: False)
    test_fields_of_an_object("native")
    test_the_class_of_an_object("native")
    test_lists_tuples_and_dicts("native")
    test_methods_and_what_stands_before_them("native")
    test_slots("native")
