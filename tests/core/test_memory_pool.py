"""The pool of large results: used again only when no array can see the old contents."""

import gc
import mmap
import pickle

import numpy as np
import pytest

import graphjit as gj
from graphjit.core import memory_pool

LARGE = (1 << 20) // 4 + 3


def fresh(shape=(LARGE,), dtype=np.float64):
    return memory_pool.empty(shape, np.dtype(dtype))


def test_memory_is_used_again_after_the_last_view_dies():
    memory_pool.trim()
    a = fresh()
    a[:] = 1
    address = a.ctypes.data
    view = a[5:].reshape(-1)[::2]
    del a
    gc.collect()
    b = fresh()
    assert b.ctypes.data != address, "a view still sees the old memory"
    assert np.all(view == 1)
    del view
    gc.collect()
    assert fresh().ctypes.data == address


def test_results_of_one_function_are_different_arrays():
    f = gj.function(lambda x: x + 1, fallback="error")
    x = np.zeros(LARGE)
    first = f(x)
    second = f(first)
    assert np.all(first == 1) and np.all(second == 2)
    assert not np.shares_memory(first, second)


def test_small_arrays_are_numpys_own():
    assert fresh((10,)).flags.owndata


@pytest.mark.parametrize("shape", [(LARGE,), (3, LARGE), (LARGE, 2, 1)])
def test_arrays_behave(shape):
    a = fresh(shape, np.float32)
    assert type(a) is np.ndarray and a.flags.c_contiguous and a.flags.writeable
    assert a.ctypes.data % 64 == 0
    a[:] = 3
    assert np.array_equal(pickle.loads(pickle.dumps(a)), a)
    assert np.array_equal(a.copy(), a)


def test_what_is_held_is_bounded_and_returned():
    pool = memory_pool.Pool(limit_bytes=3 << 20)
    mappings = [pool.take(1 << 20) for _ in range(5)]
    for mapping in mappings:
        pool.give(mapping)
    assert pool.stats()["held_bytes"] <= 3 << 20
    held = pool.stats()["held_bytes"]
    assert held > 0 and pool.trim() == held
    assert pool.stats()["held_bytes"] == 0


@pytest.mark.parametrize("size", [1, 4096, 4097, 1 << 20, (1 << 20) + 1, 10**8, 3 * 10**9])
def test_size_classes_fit_and_waste_little(size):
    room = memory_pool.size_class(size)
    assert size <= room <= size + max(mmap.PAGESIZE, size // 4)
    assert memory_pool.size_class(room) == room


def test_no_memory_is_a_memory_error():
    with pytest.raises(MemoryError):
        memory_pool.empty((1 << 60,), np.dtype(np.float64))
