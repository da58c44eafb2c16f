"""Why functions are compiled again: as data, a warning, an error where it is forbidden."""

import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj
from graphjit.core.errors import RecompileError
from graphjit.core.tree import Identity

X = np.ones((2, 3), np.float32)


def made():
    return gj.function(lambda x, y=1.0, flag=True: x * y if flag else x, fallback="error")


@pytest.mark.parametrize(
    ("args", "guard", "expected", "found"),
    [
        ((np.ones((4, 3), np.float32),), "shape of x", "[2,3]", "[4,3]"),
        ((np.ones((2, 3)),), "dtype of x", "float32", "float64"),
        ((gj.constant(X),), "kind of x", "array", "tensor"),
        ((np.ones(3),), "shape of x", "[2,3]", "[3]"),
    ],
)
def test_what_differs(args, guard, expected, found):
    f = made()
    f(X)
    assert f.explain_misses() == ()
    f(*args)
    (miss,) = f.explain_misses()
    assert (miss.guard, miss.expected, miss.found, miss.specializations) == (
        guard,
        expected,
        found,
        1,
    )
    assert miss.source.file.endswith("test_recompile.py")
    f(*args)
    assert len(f.explain_misses()) == 1


def test_static_values_structures_and_several_at_once():
    f = made()
    f(X, 1.0, True)
    f(X, 1.0, False)
    assert str(f.explain_misses()[-1]).startswith("value of flag: True, now False\n")
    f(X)
    assert f.explain_misses()[-1].guard == "structure of the arguments"
    f(np.ones((5, 3)), 1.0, False)
    assert f.explain_misses()[-1].guard == "shape of x"
    f(np.ones(7, np.int32), 1, True)
    assert f.explain_misses()[-1].guard == "shape of x, kind of y"


def test_an_extent_that_is_symbolic_is_no_difference():
    f = gj.function(lambda x: x + 1)
    for n in (3, 4):
        f(np.ones((n, 2), np.float32))
    f(np.ones((5, 2), np.float64))
    miss = f.explain_misses()[-1]
    assert (miss.guard, miss.expected, miss.found) == ("dtype of x", "float32", "float64")


def test_a_float_is_no_reason():
    f = made()
    for value in range(20):
        f(X, float(value))
    assert f.explain_misses() == () and len(f.specializations) == 1


def test_captured_arrays_are_a_guard():
    w = np.ones(3, np.float32)

    def scaled(x):
        return x * w

    f = gj.function(scaled, fallback="error")
    f(X)
    w = np.ones((2, 1), np.float32)
    f(X)
    assert f.explain_misses()[-1].guard == "captured arrays"


def test_the_warning_names_the_line_and_comes_once(monkeypatch):
    monkeypatch.setattr(gj.config, "recompile_warning", 3)
    monkeypatch.setattr(gj.config, "symbolic_after", None)
    f = gj.function(lambda x: x + 1)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for size in range(1, 8):
            f(np.ones(size))
    (warning,) = [w for w in seen if w.category is gj.RecompileWarning]
    assert "shape of x: [3], now [4]" in str(warning.message)
    assert warning.filename.endswith("test_recompile.py")
    monkeypatch.setattr(gj.config, "recompile_warning", 0)
    assert len(f.explain_misses()) == 6


def test_forbidden():
    f = gj.function(lambda x: x + 1)
    with gj.config.forbid_recompile():
        f(np.ones(3))  # the first compile
        f(np.ones(3))
        with pytest.raises(RecompileError, match=r"shape of x: \[3\], now \[4\]"):
            f(np.ones(4))
        with pytest.raises(RecompileError, match="test_recompile"):
            f.specialization(np.ones(4))
        seen = []
        thread = threading.Thread(target=lambda: seen.append(f(np.ones(5)).shape))
        thread.start()
        thread.join()
        assert seen == [(5,)]  # other threads are free to
    assert f(np.ones(4)).shape == (4,)
    assert len(f.specializations) == 2
    with gj.config.forbid_recompile():
        assert f(np.ones(6)).shape == (6,)


def test_a_new_object_costs_no_more_where_there_are_many(monkeypatch):
    """What is looked through for the reason of a miss doesn't grow with the objects."""
    monkeypatch.setattr(gj.config, "recompile_warning", 0)

    class Model:
        @gj.function
        def step(self, x):
            return x * 2 if isinstance(self, Model) else x  # no other object's entry serves it

    compared = []
    equal = Identity.__eq__
    monkeypatch.setattr(Identity, "__eq__", lambda a, b: compared.append(0) or equal(a, b))
    counts, models = [], [Model() for _ in range(120)]
    for model in models:
        compared.clear()
        model.step(np.ones(2))
        counts.append(len(compared))
    assert len(Model.step.specializations) == len(models)
    assert counts[119] <= counts[40] + 10
    assert "self" in Model.step.explain_misses()[-1].guard


def test_calls_with_and_without_out_are_alike() -> None:
    for args in ((np.ones(3),), (np.ones(3), 1.5), (np.ones(3), 1.5, np.ones(3))):
        f = gj.function(lambda x, *more: x + len(more))
        for _ in range(3):
            f(*args)
            f(*args, out=np.ones(3))
            f.get_graph(*args)
        assert f.trace_count == 1 and not f.explain_misses()


def test_an_extent_of_one_is_told_of() -> None:
    f = gj.function(lambda x: x * 2, input_signature=[gj.TensorSpec([None], gj.float64)])
    for n in (3, 4, 1, 5, 1):
        f(np.ones(n))
    (miss,) = f.explain_misses()
    assert str(miss).startswith("shape of x: [n0] with extents other than 1, now [1]")


@pytest.mark.parametrize("bounds", [lambda n: (0, n), lambda n: (n, 9), lambda n: (n, n + 2)])
def test_loops_to_a_number_that_varies(bounds: Callable[[int], tuple[int, int]]) -> None:
    def body(n: int, x: Any) -> Any:
        return gj.fori_loop(*bounds(n), lambda i, c: c * 2 + i, x)

    f = gj.function(body, fallback="error")
    for n in (3, 4, 5, 4, 3, 6):
        np.testing.assert_array_equal(f(n, np.ones(3)), body(n, np.ones(3)))
    assert len(f.specializations) <= 4


def test_a_choice_by_data_has_its_advice() -> None:
    f = gj.function(lambda x: [v for v in [*x] * 9 if v > 0], fallback="error")
    with pytest.raises(gj.errors.TracingError, match=r"gj\.cond for a choice between"):
        f(np.ones(3))
