"""Generators with state, under TensorFlow's names."""

from __future__ import annotations

import math as pymath
import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphjit.capture.sources import Check, ConstSource, Guard, ItemSource
from graphjit.core.errors import InvalidArgumentError, at_user_line, user_line
from graphjit.core.types import as_dtype, float32, int32, int64, uint64
from graphjit.functions import math
from graphjit.functions.shape import as_shape, reshape, stack
from graphjit.tensors.apply import as_tensor, current_trace
from graphjit.tensors.variable import Variable

from . import continuous, discrete, stateless
from .words import FLOATS, Counter, block_words, draw, integers, known_int, one_extent

_MASK = 0xFFFF_FFFF_FFFF_FFFF
# How far a draw moves the counter on for each of its elements.
_BLOCKS_PER_ELEMENT = 256


def create_rng_state(seed: Any, alg: Any = "philox") -> Any:
    """The state that a seed gives, int64 of shape [3]: counter, counter, key.

    seed: an int, cut into words of 64 bits, or up to three integers, which stand last. Raises
    InvalidArgumentError for other algorithms than "philox".
    """
    _require_philox(alg)
    known = known_int(seed)
    if known is not None:
        return _state_of([known >> 64 * k for k in range(3)])
    words = _integers(seed, "CreateRngState")[:3]
    return _state_of([0] * (3 - len(words)) + words)


def _integers(values: Any, op: str) -> list[int]:
    """Integers of any size, in a list or an array. InvalidArgumentError for others."""
    found = [known_int(x) for x in np.asarray(values, object).reshape(-1).tolist()]
    if not found or None in found:
        raise InvalidArgumentError(at_user_line(f"{values!r} isn't made of integers [Op:{op}]"))
    return [x for x in found if x is not None]


def _state_of(words: Sequence[int]) -> Any:
    """Three words, modulo 2**64, as a state."""
    return as_tensor(np.array([x & _MASK for x in words], np.uint64).view(np.int64))


def _require_philox(alg: Any) -> None:
    name = getattr(alg, "name", alg)
    if name not in (None, 1, "philox", "PHILOX", "auto_select"):
        raise InvalidArgumentError(
            at_user_line(f"the algorithm is philox, not {alg!r} [Op:Generator]")
        )


class Generator:
    """A random generator whose state is a `Variable`: `tf.random.Generator` with "philox".

    Each method draws what comes next. In a compiled function the state is read and written as
    that of any variable. Uniform and normal numbers and integers are those that TensorFlow
    draws of the same state; the state after a draw is TensorFlow's, too.
    """

    def __init__(
        self, copy_from: Generator | None = None, state: Any = None, alg: Any = None
    ) -> None:
        """From another generator, or from a state: int64 of shape [3], or a Variable of one.

        Raises InvalidArgumentError where there is neither, or both.
        """
        if (copy_from is None) == (state is None):
            raise InvalidArgumentError(
                at_user_line("a generator is made of another one or of a state [Op:Generator]")
            )
        _require_philox(alg)
        if copy_from is not None and not isinstance(copy_from, Generator):
            raise InvalidArgumentError(
                at_user_line(f"{type(copy_from).__name__} is no generator [Op:Generator]")
            )
        if isinstance(state, Variable):
            self._state = state
        else:
            given = state if copy_from is None else copy_from.state.read_value()
            self._state = Variable(_checked_state(given), trainable=False, name="StateVar")

    @classmethod
    def from_seed(cls, seed: Any, alg: Any = None) -> Generator:
        """The generator of a seed: see `create_rng_state`."""
        return cls(state=create_rng_state(seed, alg), alg=alg)

    @classmethod
    def from_state(cls, state: Any, alg: Any = None) -> Generator:
        """The generator of a state, int64 of shape [3]."""
        return cls(state=state, alg=alg)

    @classmethod
    def from_non_deterministic_state(cls, alg: Any = None) -> Generator:
        """A generator of a state that the operating system draws."""
        return cls(state=_state_of([secrets.randbits(64) for _ in range(3)]), alg=alg)

    @classmethod
    def from_key_counter(cls, key: Any, counter: Any, alg: Any = None) -> Generator:
        """The generator of a key and of a counter of two words."""
        words = [*_integers(counter, "Generator"), *_integers(key, "Generator")]
        if len(words) != 3:
            raise InvalidArgumentError(
                at_user_line("a key is one integer, a counter two [Op:Generator]")
            )
        return cls(state=_state_of(words), alg=alg)

    @property
    def state(self) -> Variable:
        """The state: counter, counter, key."""
        return self._state

    @property
    def key(self) -> Any:
        """The key, int64 without axes."""
        words: Any = self._state.read_value()
        return words[2]

    @property
    def algorithm(self) -> int:
        """TensorFlow's number of "philox"."""
        return 1

    def reset(self, state: Any) -> None:
        """Go on from a state."""
        self._state.assign(_checked_state(state))

    def reset_from_seed(self, seed: Any) -> None:
        """Go on as a generator of this seed starts."""
        self._state.assign(create_rng_state(seed))

    def reset_from_key_counter(self, key: Any, counter: Any) -> None:
        """Go on from a key and a counter of two words."""
        both: Any = as_tensor(counter)
        words = [math.cast(as_tensor(x), int64) for x in (both[0], both[1], key)]
        self._state.assign(stack(words))

    def skip(self, delta: Any) -> Any:
        """Move on as a draw of `delta` elements would. Gives the state before."""
        if current_trace.get() is None:
            with self._state.cell.lock:  # a draw of another thread comes before or after
                return self._moved(delta)
        return self._moved(delta)

    def _moved(self, delta: Any) -> Any:
        before = self._state.read_value()
        words = math.bitcast(before, uint64)
        amount = math.cast(as_tensor(delta), int64) * as_tensor(_BLOCKS_PER_ELEMENT, int64)
        low = words[0] + math.bitcast(amount, uint64)
        high = words[1] + math.cast(low < words[0], uint64)
        self._state.assign(math.bitcast(stack([low, high, words[2]]), int64))
        return before

    def _counter(self, shape: Any, op: str) -> Counter:
        """Where a draw of a shape starts, and the state moved on beyond it."""
        words = math.bitcast(self.skip(pymath.prod(as_shape(shape, op))), uint64)
        return Counter(words[2], words[0], words[1])

    def _key(self, shape: Any, op: str) -> Any:
        """A key for a draw of a shape."""
        x0, x1, _, _ = block_words(self._counter(shape, op), 1)
        return stack([reshape(x0, ()), reshape(x1, ())])

    def uniform(
        self, shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = float32
    ) -> Any:
        """Numbers or integers spread evenly over [minval, maxval)."""
        target, op = as_dtype(dtype), "StatefulUniform"
        if target not in FLOATS and maxval is None:
            raise InvalidArgumentError(
                at_user_line(f"Must specify maxval for integer dtype {target.name} [Op:{op}]")
            )
        stateless.require_range(minval, maxval, dtype, op)
        return stateless.uniform_of(self._counter(shape, op), shape, minval, maxval, target, op)

    def uniform_full_int(self, shape: Any, dtype: Any = uint64) -> Any:
        """Integers spread evenly over all that a dtype has."""
        target, op = as_dtype(dtype), "StatefulUniformFullInt"
        if target.kind not in "iu" or target.bits < 32:
            raise InvalidArgumentError(at_user_line(f"Invalid dtype {target.name} [Op:{op}]"))
        return draw(self._counter(shape, op), shape, *integers(target), op)

    def normal(
        self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = float32
    ) -> Any:
        """Normally distributed numbers."""
        op = "StatefulStandardNormal"
        return stateless.normal_of(self._counter(shape, op), shape, mean, stddev, dtype, op)

    def truncated_normal(
        self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = float32
    ) -> Any:
        """Normally distributed numbers within two standard deviations of the mean."""
        op, target = "StatefulTruncatedNormal", as_dtype(dtype)
        extents = as_shape(shape, op)
        key = self._key(extents, op)
        found = continuous.truncated_normal(key, -2.0, 2.0, extents, target)
        return found * continuous.parameter(stddev, target) + continuous.parameter(mean, target)

    def binomial(self, shape: Any, counts: Any, probs: Any, dtype: Any = int32) -> Any:
        """How many of `counts` trials of success probability `probs` succeed."""
        op = "StatefulRandomBinomial"
        extents = as_shape(shape, op)
        return discrete.binomial(
            self._key(extents, op), as_tensor(counts), as_tensor(probs), extents, dtype
        )

    def make_seeds(self, count: Any = 1) -> Any:
        """Seeds for the stateless functions, int64 [2, count]: one in each column."""
        number = one_extent(count, "MakeSeeds")
        words = self.uniform_full_int((number,), int64)
        return stack([words, words * as_tensor(0, int64)])

    def split(self, count: int = 1) -> Sequence[Generator]:
        """New generators, each with a key of its own."""
        number = one_extent(count, "Split")
        keys = np.asarray(self.uniform_full_int((number,), int64))
        return [type(self)(state=np.array([0, 0, key], np.int64)) for key in keys]


def _checked_state(state: Any) -> Any:
    if isinstance(state, (list, tuple)):
        state = np.array([x & _MASK for x in _integers(state, "Generator")], np.uint64)
    given = as_tensor(state)
    if given.type.shape != (3,) or given.dtype.kind not in "iu":
        raise InvalidArgumentError(
            at_user_line(
                f"a state is int64 of shape [3], not {given.dtype.name} of shape "
                f"{list(given.type.shape)} [Op:Generator]"
            )
        )
    if given.dtype is uint64:
        return math.bitcast(given, int64)
    return math.cast(given, int64)


_global: list[Generator] = []


def get_global_generator() -> Generator:
    """The generator that all share; it starts from a state of the operating system's."""
    trace = current_trace.get()
    if not _global:
        token = current_trace.set(None)  # it outlives a trace that asks for it first
        try:
            _global.append(Generator.from_non_deterministic_state())
        finally:
            current_trace.reset(token)
    generator = _global[0]
    if trace is not None:
        source = ItemSource(ConstSource(_global, "generators"), 0, "the generator of all")
        trace.required.append(Guard(Check.SAME, source, generator, user_line()))
    return generator


def set_global_generator(generator: Generator) -> None:
    """Let all share this generator."""
    if not isinstance(generator, Generator):
        raise InvalidArgumentError(
            at_user_line(f"{type(generator).__name__} is no generator [Op:Generator]")
        )
    _global[:] = [generator]


def set_seed(seed: Any) -> None:
    """Let the generator that all share go on as one of this seed starts."""
    get_global_generator().reset_from_seed(seed)
