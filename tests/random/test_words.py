"""The bits: against published values of Philox and of TensorFlow, and by statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compiled import same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from ptx import programs
from scipy import stats

import graphjit as gj
from graphjit import random
from graphjit.core.config import config
from graphjit.core.errors import InvalidArgumentError
from graphjit.ops.random import philox_words

KEY = random.key(0)


def word64(low: int, high: int) -> Any:
    return np.asarray(np.uint64(low | high << 32))


# Random123's kat_vectors, philox4x32 with 10 rounds: counter, key, result.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_published_answers(counter: Any, key: Any, words: Any) -> None:
    given = word64(*counter[:2]), word64(*counter[2:]), word64(*key)
    assert [int(x) for x in philox_words(*given)] == list(words)


def plain_block(counter: list[int], key: list[int]) -> list[int]:
    """Philox by Python's integers."""
    x, k = list(counter), list(key)
    for _ in range(10):
        p, q = x[0] * 0xD2511F53, x[2] * 0xCD9E8D57
        x = [q >> 32 ^ x[1] ^ k[0], q % 2**32, p >> 32 ^ x[3] ^ k[1], p % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return x


def joined(blocks: list[list[int]]) -> list[int]:
    return [word for block in blocks for word in block]


@given(st.integers(0, 2**64 - 1), st.integers(0, 40))
@settings(max_examples=30)
def test_bits_are_blocks_in_order(seed: int, count: int) -> None:
    k = [seed >> 32, seed % 2**32]
    blocks = [plain_block([i, 0, 0, 3], k) for i in range(-(-count // 4))]
    expected = np.array(joined(blocks)[:count], np.uint32)
    assert same_bits(random.bits(random.key(seed), (count,)).numpy(), expected)


def test_an_array_of_counters_that_is_computed_in_parts() -> None:
    rng = np.random.default_rng(0)
    low, high, key = rng.integers(0, 2**64, (3, 30_001), dtype=np.uint64)
    found = philox_words(low, high, key)
    for i in (0, 8191, 8192, 16_384, 30_000):
        halves = [int(x) >> s & 0xFFFFFFFF for x in (low[i], high[i], key[i]) for s in (0, 32)]
        assert [int(x[i]) for x in found] == plain_block(halves[:4], halves[4:])


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_compiled_bits_are_the_same_at_any_thread_count(dtype: str, threads: int) -> None:
    before = config.threads
    config.threads = threads
    try:
        f = gj.function(lambda k: random.bits(k, (123_457,), dtype), fallback="error")
        assert same_bits(f(KEY).numpy(), random.bits(KEY, (123_457,), dtype).numpy())
    finally:
        config.threads = before


@pytest.mark.parametrize("count", [1, 3, 4, 5, 130])
def test_a_draw_of_less_is_the_start_of_a_draw_of_more(count: int) -> None:
    for draw in (random.bits, random.uniform, random.normal):
        assert np.array_equal(draw(KEY, (count,)).numpy(), draw(KEY, (200,)).numpy()[:count])


@pytest.mark.parametrize("count", [1, 7, 700])
def test_ptx_has_the_same_bits(count: int) -> None:
    def function(key: Any) -> Any:
        return random.bits(key, (count,)), random.uniform(key, (count,), "float64")

    graph = programs.graph_of(function, KEY.numpy())
    found = programs.run(programs.planned(graph), [KEY.numpy()])
    expected = function(KEY)
    for actual, cpu, eager in zip(
        found, programs.on_cpu(graph, [KEY.numpy()]), expected, strict=True
    ):
        assert same_bits(actual, cpu)
        assert same_bits(actual, eager.numpy())


# -- TensorFlow's published examples: the documentation of tf.random.Generator,
# tf.random.split and tf.random.fold_in


def test_tensorflow_generator() -> None:
    g = random.Generator.from_seed(1234)
    assert g.state.numpy().tolist() == [1234, 0, 0]
    expected = [[0.9356609, 1.0854305, -0.93788373], [-0.5061547, 1.3169702, 0.7137579]]
    np.testing.assert_allclose(g.normal((2, 3)).numpy(), expected, rtol=2e-6)
    assert g.state.numpy().tolist() == [2770, 0, 0]
    expected = [[0.8673864, -0.29899067, -0.9310337], [-1.5828488, 1.2481191, -0.6770643]]
    found = random.Generator.from_seed(123, alg="philox").normal(shape=(2, 3))
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-6)


def test_tensorflow_seeds() -> None:
    seeds = random.split([1, 2], num=3)
    expected = [[1105988140, 1738052849], [-335576002, 370444179], [10670227, -246211131]]
    assert seeds.dtype == gj.int32
    assert seeds.numpy().tolist() == expected
    found = random.stateless_normal(shape=[3], seed=seeds[0, :])
    np.testing.assert_allclose(found.numpy(), [-0.59835213, -0.9578608, 0.9002807], rtol=2e-6)
    folded = random.fold_in([1, 2], 3)
    assert folded.numpy().tolist() == [1105988140, 3]
    found = random.stateless_normal(shape=[3], seed=folded)
    np.testing.assert_allclose(found.numpy(), [0.03197195, 0.8979765, 0.13253039], rtol=2e-6)


def scrambled(seed: tuple[int, int]) -> tuple[list[int], list[int]]:
    """The key and the first counter that TensorFlow makes of a seed."""
    words = [x % 2**64 >> s & 0xFFFFFFFF for x in seed for s in (0, 32)]
    mixed = plain_block(words, [0x3EC8F720, 0x02461E29])
    return mixed[:2], [0, 0, *mixed[2:]]


@given(st.tuples(*[st.integers(-(2**63), 2**63 - 1)] * 2), st.integers(1, 9))
@settings(max_examples=20)
def test_stateless_numbers_by_their_definition(seed: tuple[int, int], count: int) -> None:
    key, counter = scrambled(seed)
    words = joined([plain_block([i, *counter[1:]], key) for i in range(count)])
    given = np.array(seed, np.int64)
    found = random.stateless_uniform((count,), given).numpy()
    expected = [(w & 0x7FFFFF) / 2**23 for w in words[:count]]
    assert found.tolist() == expected
    found = random.stateless_uniform((count,), given, dtype="float64").numpy()
    pairs = zip(words[::2], words[1::2], strict=True)
    expected = [((a & 0xFFFFF) << 32 | b) / 2**52 for a, b in pairs][:count]
    assert found.tolist() == expected
    found = random.stateless_uniform((count,), given, dtype="float16").numpy()
    assert found.tolist() == [(w & 0x3FF) / 2**10 for w in words[:count]]
    found = random.stateless_uniform((count,), given, -7, 90, "int32").numpy()
    assert found.tolist() == [w % 97 - 7 for w in words[:count]]
    found = random.stateless_uniform((count,), given, -7, 2**50, "int64").numpy()
    pairs = zip(words[::2], words[1::2], strict=True)
    expected = [(a | b << 32) % (2**50 + 7) - 7 for a, b in pairs][:count]
    assert found.tolist() == expected
    u, v = np.float32(words[0] & 0x7FFFFF) / 2**23, np.float32(words[1] & 0x7FFFFF) / 2**23
    radius = np.sqrt(-2 * np.log(max(u, 1e-7)))
    expected = [np.sin(2 * np.pi * v) * radius, np.cos(2 * np.pi * v) * radius][:count]
    found = random.stateless_normal((min(count, 2),), given).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6)


def test_a_counter_carries_into_its_upper_half() -> None:
    g = random.Generator.from_state([-2, 5, 9])
    found = g.uniform_full_int((12,), "uint32").numpy()
    counters = [(2**64 - 2, 5), (2**64 - 1, 5), (0, 6)]
    split = [[w >> s & 0xFFFFFFFF for w in pair for s in (0, 32)] for pair in counters]
    assert found.tolist() == joined([plain_block(c, [9, 0]) for c in split])
    assert g.state.numpy().tolist() == [12 * 256 - 2, 6, 9]


# -- statistics of the bits


def streams() -> dict[str, Any]:
    """Bits as they are made in use: one key's, many keys' first, and of keys one bit apart."""
    count = 1 << 18
    one = random.bits(KEY, (count,)).numpy()
    keys = random.split(random.key(7), count // 4).numpy().reshape(-1)
    folded = gj.function(
        lambda k: gj.map(
            lambda i: random.bits(random.fold_in(k, i), (4,)), gj.range(count // 16)
        )
    )(KEY)
    seeds = [random.bits(random.key(s), (64,)).numpy() for s in range(256)]
    return {
        "one key": one, "split": keys, "fold_in": folded.numpy().reshape(-1),
        "seeds 0, 1, ...": np.concatenate(seeds), "every fourth": one[::4].copy(),
    }  # fmt: skip


@pytest.mark.parametrize("name", streams())
def test_bits_pass_a_battery(name: str) -> None:
    """Ones, bytes, pairs of bytes, runs, gaps of bits, and what words share with the next: each
    by a test whose chance of failing is 1e-4.
    """
    words = streams()[name]
    bits = np.unpackbits(words.view(np.uint8), bitorder="little").astype(np.int64)
    bytes_, n = words.view(np.uint8), len(bits)
    chances = {
        "ones": stats.binomtest(int(bits.sum()), n).pvalue,
        "bytes": stats.chisquare(np.bincount(bytes_, minlength=256)).pvalue,
        "pairs": stats.chisquare(
            np.bincount(bytes_[:-1:2].astype(int) // 4 * 64 + bytes_[1::2] // 4, minlength=4096)
        ).pvalue,
        "runs": stats.binomtest(int((bits[1:] != bits[:-1]).sum()), n - 1).pvalue,
    }
    each = bits.reshape(-1, 32).sum(0)
    z = (each - len(words) / 2) / np.sqrt(len(words) / 4)
    chances["each place"] = 1 - stats.chi2(32).cdf((z * z).sum())
    for step in (1, 2, 3, 4, 8):
        shared = np.bitwise_count(words[step:] ^ words[:-step]).astype(np.int64)
        total = int(shared.sum())
        chances[f"{step} apart"] = stats.binomtest(total, 32 * len(shared)).pvalue
        spread = (shared - 16).astype(float)
        chances[f"spread {step}"] = 2 * stats.norm.sf(
            abs(spread.var() - 8) / np.sqrt(2 * 64 / len(shared) * (1 - 1 / 32))
        )
    wrong = {test: p for test, p in chances.items() if p < 1e-4}
    assert not wrong


def test_new_keys_differ() -> None:
    many = random.split(KEY, 100_000).numpy()
    folded = np.array([random.fold_in(KEY, i).numpy() for i in range(50)])
    other = random.split(random.key(1), 100_000).numpy()
    whole = np.concatenate([many, folded, other, KEY.numpy()[None]])
    assert len(np.unique(whole, axis=0)) == len(whole)


def test_keys_and_generators_draw_apart() -> None:
    for seed in (0, 1, 7):
        key, generator = random.key(seed), random.Generator.from_seed(seed)
        x, y = random.normal(key, (5000,)), generator.normal((5000,))
        assert abs(np.corrcoef(x, y)[0, 1]) < 0.06


def test_split_of_a_shape() -> None:
    assert random.split(KEY, (2, 3)).shape == (2, 3, 2)
    assert np.array_equal(
        random.split([1, 2], (2, 3)).numpy().reshape(6, 2), random.split([1, 2], 6)
    )
    assert np.array_equal(random.split(KEY, (2, 3)).numpy().reshape(6, 2), random.split(KEY, 6))
    first, second = random.split(KEY)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63 - 1, -(2**63), 2**64 - 1, np.int32(5)])
def test_keys_of_ints_and_of_tensors(seed: Any) -> None:
    expected = [int(seed) % 2**64 >> 32, int(seed) % 2**32]
    assert random.key(seed).numpy().tolist() == expected
    assert random.key(seed).dtype == gj.uint32
    if int(seed) < 2**63:
        traced = gj.function(random.key, fallback="error")
        assert traced(gj.constant(int(seed), "int64")).numpy().tolist() == expected
        folded = gj.function(lambda i: random.fold_in(KEY, i))(gj.constant(int(seed), "int64"))
        assert np.array_equal(folded, random.fold_in(KEY, int(seed)))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: random.key(2**64), "64 bits"),
        (lambda: random.key(1.5), "no integer without axes"),
        (lambda: random.key([1, 2]), "no integer without axes"),
        (lambda: random.bits((3,)), r"first argument is a key.*not tuple \[Op:Bits\]"),
        (lambda: random.bits(gj.constant([1, 2])), r"shape \[2\] and dtype int32"),
        (lambda: random.bits(random.split(KEY)), r"shape \[2, 2\] and dtype uint32"),
        (lambda: random.bits(KEY, dtype="int32"), "unsigned one, not int32"),
        (lambda: random.bits(KEY, (-1,)), r"negative: \[-1\]"),
        (lambda: random.split(KEY, -2), r"negative: \[-2\]"),
        (lambda: random.fold_in(KEY, 0.5), "no integer"),
        (lambda: random.wrap_key_data(gj.constant([1.0, 2.0])), "no key's words"),
        (lambda: random.stateless_uniform((2,), [1, 2, 3]), r"shape \[2\] and dtype int32"),
        (lambda: random.stateless_uniform((2,), [1.0, 2.0]), "not .* float32"),
        (lambda: random.stateless_uniform((2,), [1, 2], dtype="int32"), "both `None`"),
        (lambda: random.stateless_uniform((2,), [1, 2], 5, 5, "int32"), "minval < maxval"),
        (lambda: random.stateless_uniform((2,), [1, 2], 1, 5, "uint32"), "bounded uniform"),
        (lambda: random.stateless_uniform((2,), [1, 2], dtype="int8"), "Invalid dtype int8"),
        (lambda: random.stateless_uniform((2,), [1, 2], [0], [5], "int32"), "without axes"),
        (lambda: random.stateless_normal((2,), [1, 2], dtype="int32"), "Invalid dtype int32"),
        (lambda: random.fold_in([1, 2], 1.5), "int32 or int64 without axes"),
        (lambda: random.Generator(copy_from=5), "int is no generator"),
        (lambda: random.Generator.from_seed(None), "isn't made of integers"),
        (lambda: random.Generator.from_key_counter([1, 2], [2, 3]), "one integer"),
        (lambda: random.Generator.from_key_counter(1.5, [2, 3]), "isn't made of integers"),
        (lambda: random.Generator.from_seed(1).make_seeds((2, 2)), "one count"),
        (lambda: random.stateless_categorical([[1.0, 2.0]], (3, 2), [1, 2]), "one count"),
        (lambda: random.Generator(), "made of another one or of a state"),
        (lambda: random.Generator.from_seed(1, alg="threefry"), "philox, not 'threefry'"),
        (lambda: random.Generator.from_state([1, 2]), r"int64 of shape \[3\]"),
        (lambda: random.Generator.from_seed(1).uniform((2,), dtype="int32"), "specify maxval"),
        (lambda: random.create_rng_state([1.5]), "isn't made of integers"),
        (lambda: random.set_global_generator(KEY), "Tensor is no generator"),
    ],
)
def test_errors(call: Any, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words) as caught:
        call()
    assert "test_words.py" in str(caught.value)
