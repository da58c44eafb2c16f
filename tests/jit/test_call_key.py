"""How argument lists are read, and the table that specializations are found in."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import graphjit as gj
from graphjit.capture.sources import Readings
from graphjit.core.tree import SCALAR, STATIC
from graphjit.jit.call_key import ArgumentReader
from graphjit.jit.compiled_call import CompiledCall
from graphjit.jit.options import OPTION_NAMES, FunctionOptions

X = np.arange(4.0)


def kinds(call: Any) -> list[str]:
    return [kind.kind for kind in call.kinds]


def test_plain_arguments_have_a_short_key():
    reader = ArgumentReader()
    call = reader.read((X, gj.constant([1.0]), 2.0), {})
    assert call.key == reader.short_key(call.args) == call.short
    assert call.leaves == list(call.args)
    for args, kwargs in (((X, 2), {}), (([X],), {}), ((X,), {"y": X})):
        call = reader.read(args, kwargs)
        assert call.short is None and call.key == (call.tree, call.kinds)


def test_an_int_becomes_a_run_time_scalar_when_it_changes():
    reader = ArgumentReader()
    first = reader.read((X, 2), {})
    assert kinds(first)[1] == STATIC and reader.refresh(first) is first
    assert kinds(reader.read((X, 3), {}))[1] == SCALAR
    assert kinds(reader.refresh(first))[1] == SCALAR


def test_pinned_scalars_are_static_until_that_is_taken_back():
    reader = ArgumentReader()
    call = reader.read((X, 2.5), {})
    before = set(reader.pinned)
    pinned = reader.pin(call)
    assert kinds(call)[1] == SCALAR and kinds(pinned)[1] == STATIC
    assert call.short is not None and pinned.short is None
    reader.restore_pinned(before)
    assert kinds(reader.refresh(pinned)) == kinds(call)


def test_calls_of_the_same_types_and_ranks_share_keys():
    reader = ArgumentReader()
    a, b = (reader.read((np.ones(n), 2.0), {}) for n in (3, 4))
    assert a.key != b.key
    assert a.rank_key == b.rank_key and a.type_key == b.type_key
    other = reader.read((np.ones((3, 3)), 2.0), {})
    assert other.rank_key != a.rank_key and other.type_key == a.type_key


@pytest.mark.parametrize("args", [(X,), (X, 2.0), (X, 2), (X, gj.constant(1.0, gj.float64))])
def test_specialization_is_the_one_that_a_call_uses(args: Any):
    f = gj.function(lambda x, y=1.0: x * y, outputs="numpy")
    f(*args)
    assert f.specialization(*args) is f.specializations[0]
    assert f.trace_count == 1 and f.explain_misses() == ()


def test_a_removed_specialization_is_made_again():
    f = gj.function(lambda x: x + 1)
    f(X)
    table = f._specializations
    (found,) = f.specializations
    key = f._reader.read((X,), {}).key
    assert table.find(key, Readings()) is found
    table.remove(found)
    assert table.find(key, Readings()) is None and f.specializations == []
    np.testing.assert_array_equal(CompiledCall(f.specialization(X), [X]).run(), X + 1)
    assert f.trace_count == 2


def test_a_function_dies_with_its_last_reference():
    f = gj.function(lambda x: x + 1)
    f(X)
    gc.collect()
    gc.disable()
    try:
        dead = []

        reference = weakref.ref(f, lambda _: dead.append(True))
        del f
        assert dead and reference() is None
    finally:
        gc.enable()


def test_options_are_attributes():
    f = gj.function(lambda x: x + 1, outputs="tensor", donate="x")
    assert f.options == FunctionOptions(outputs="tensor", donate=("x",))
    assert [getattr(f, name) for name in OPTION_NAMES] == [
        None, "eager", "tensor", (), False, ("x",), None,
    ]  # fmt: skip
    f.input_signature = (gj.TensorSpec([None], gj.float32),)
    with pytest.raises(gj.errors.InvalidArgumentError, match="input_signature"):
        f(np.ones((2, 2), np.float32))
