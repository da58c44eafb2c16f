"""Learning rates that depend on the number of steps. They are called with it, from 0.

Names, defaults and numbers of those that Keras 3 has are its (keras.io/api/optimizers); they
are computed in float32.
"""

from __future__ import annotations

import math as pymath
from collections.abc import Sequence
from typing import Any

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import float32
from graphjit.functions import math
from graphjit.functions.math import where
from graphjit.tensors.apply import as_tensor


class LearningRateSchedule:
    """A learning rate by the number of steps. Subclasses define `__call__(step)`."""

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The settings, from which `from_config` makes another."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LearningRateSchedule:
        """A schedule with these settings."""
        return cls(**config)


def _require_positive(name: str, value: Any) -> None:
    if not value > 0:
        raise InvalidArgumentError(at_user_line(f"{name} is more than 0, not {value!r}"))


def _float(x: Any) -> Any:
    return math.cast(as_tensor(x), float32)


class ConstantSchedule(LearningRateSchedule):
    """One learning rate at every step."""

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate

    def __call__(self, step: Any) -> Any:
        """The learning rate."""
        return _float(self.learning_rate)


class ExponentialDecay(LearningRateSchedule):
    """initial_learning_rate * decay_rate ** (step / decay_steps); staircase: whole powers."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
    ) -> None:
        _require_positive("decay_steps", decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.decay_rate, self.staircase = decay_rate, staircase

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step."""
        part = _float(step) / float(self.decay_steps)
        power = math.floor(part) if self.staircase else part
        return math.pow(_float(self.decay_rate), power) * self.initial_learning_rate


class StepDecay(ExponentialDecay):
    """The learning rate times `decay_rate` after each `decay_steps`."""

    def __init__(
        self, initial_learning_rate: float, decay_steps: int, decay_rate: float = 0.1
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps, decay_rate, True)

    def get_config(self) -> dict[str, Any]:
        """The settings."""
        return {k: v for k, v in super().get_config().items() if k != "staircase"}


class InverseTimeDecay(LearningRateSchedule):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps)."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
    ) -> None:
        _require_positive("decay_steps", decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.decay_rate, self.staircase = decay_rate, staircase

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step."""
        part = _float(step) / float(self.decay_steps)
        part = math.floor(part) if self.staircase else part
        return self.initial_learning_rate / (part * self.decay_rate + 1.0)


class PolynomialDecay(LearningRateSchedule):
    """From initial to end_learning_rate within `decay_steps`, by a power of what is left.

    cycle: again and again, in longer rounds
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
    ) -> None:
        _require_positive("decay_steps", decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.end_learning_rate, self.power, self.cycle = end_learning_rate, power, cycle

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step."""
        now, steps = _float(step), _float(self.decay_steps)
        if self.cycle:
            rounds = math.ceil(now / steps)
            steps = steps * where(math.equal(now, 0.0), rounds * 0.0 + 1.0, rounds)
        else:
            now = math.minimum(now, steps)
        left = math.pow(1.0 - now / steps, float(self.power))
        end = self.end_learning_rate
        return left * (self.initial_learning_rate - end) + end


class PiecewiseConstantDecay(LearningRateSchedule):
    """values[0] up to and with step boundaries[0], then values[1] and so on."""

    def __init__(self, boundaries: Sequence[int], values: Sequence[float]) -> None:
        if len(boundaries) != len(values) - 1:
            raise InvalidArgumentError(
                at_user_line(
                    f"{len(boundaries)} boundaries and {len(values)} values: there is one "
                    "value more than boundaries"
                )
            )
        self.boundaries, self.values = list(boundaries), list(values)

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step."""
        now = as_tensor(step)
        found = _float(self.values[-1])
        for boundary, value in zip(
            reversed(self.boundaries), reversed(self.values[:-1]), strict=True
        ):
            limit = math.cast(as_tensor(boundary), now.dtype)
            found = where(math.less_equal(now, limit), _float(value), found)
        return found


class CosineDecay(LearningRateSchedule):
    """Half a wave from initial_learning_rate to `alpha` of it within `decay_steps`.

    I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016.
    warmup_target: up to which the learning rate grows in the first `warmup_steps`.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        _require_positive("decay_steps", decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.alpha, self.warmup_target, self.warmup_steps = alpha, warmup_target, warmup_steps

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step."""
        steps, begin, target = float(self.decay_steps), self.warmup_steps, self.warmup_target
        if target is None:
            return self._wave(math.minimum(_float(step), steps), self.initial_learning_rate)
        now = math.minimum(_float(step), steps + begin)
        wave = self._wave(now - float(begin), target)
        if not begin:
            return wave
        grown = now / float(begin) * (target - self.initial_learning_rate)
        return where(math.less(now, float(begin)), grown + self.initial_learning_rate, wave)

    def _wave(self, now: Any, rate: float) -> Any:
        wave = (math.cos(now / float(self.decay_steps) * pymath.pi) + 1.0) * 0.5
        return (wave * (1 - self.alpha) + self.alpha) * rate


class CosineDecayRestarts(LearningRateSchedule):
    """Cosine decays that begin anew: each `t_mul` times as long as the one before, from `m_mul`
    times its learning rate (in the same paper).
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
    ) -> None:
        _require_positive("first_decay_steps", first_decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps, self.t_mul, self.m_mul = first_decay_steps, t_mul, m_mul
        self.alpha = alpha

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step."""
        part = _float(step) / float(self.first_decay_steps)
        if self.t_mul == 1.0:
            number = math.floor(part)
            part = part - number
        else:
            length = _float(self.t_mul)
            whole = math.log(1.0 - part * (1.0 - self.t_mul)) / math.log(length)
            number = math.floor(whole)
            longer = math.pow(length, number)
            part = (part - (1.0 - longer) / (1.0 - length)) / longer
        wave = (math.cos(part * pymath.pi) + 1.0) * 0.5 * math.pow(_float(self.m_mul), number)
        return (wave * (1 - self.alpha) + self.alpha) * self.initial_learning_rate


class WarmUp(LearningRateSchedule):
    """A line from `initial_learning_rate` to what another schedule begins with, which follows
    after `warmup_steps`.
    """

    def __init__(
        self, schedule: Any, warmup_steps: int, initial_learning_rate: float = 0.0
    ) -> None:
        _require_positive("warmup_steps", warmup_steps)
        self.schedule = schedule if callable(schedule) else ConstantSchedule(schedule)
        self.warmup_steps = warmup_steps
        self.initial_learning_rate = initial_learning_rate

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step."""
        now, steps = _float(step), float(self.warmup_steps)
        first = _float(self.schedule(0))
        begin = self.initial_learning_rate
        grown = (first - begin) * (now / steps) + begin
        after = _float(self.schedule(math.maximum(now - steps, 0.0)))
        return where(math.less(now, steps), grown, after)


class OneCycle(LearningRateSchedule):
    """L. N. Smith and N. Topin, "Super-Convergence", 2018: half a wave up to `peak` in
    `pct_start` of the steps, from peak / div_factor, and one down to the begin's
    1 / final_div_factor. Numbers are those of optax's `cosine_onecycle_schedule`.
    """

    def __init__(
        self,
        transition_steps: int,
        peak: float,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        _require_positive("transition_steps", transition_steps)
        self.transition_steps, self.peak, self.pct_start = transition_steps, peak, pct_start
        self.div_factor, self.final_div_factor = div_factor, final_div_factor

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step."""
        now, steps = _float(step), self.transition_steps
        turn = float(int(self.pct_start * steps))
        begin = self.peak / self.div_factor
        end = begin / self.final_div_factor
        up = _between(begin, self.peak, now / max(turn, 1.0))
        last = max(steps - turn, 1.0)
        down = _between(self.peak, end, math.minimum((now - turn) / last, 1.0))
        return where(math.less(now, turn), up, down)


def _between(begin: float, end: float, part: Any) -> Any:
    """Half a wave from one number to another."""
    return (begin - end) * ((math.cos(part * pymath.pi) + 1.0) * 0.5) + end


__all__ = [
    "ConstantSchedule", "CosineDecay", "CosineDecayRestarts", "ExponentialDecay",
    "InverseTimeDecay", "LearningRateSchedule", "OneCycle", "PiecewiseConstantDecay",
    "PolynomialDecay", "StepDecay", "WarmUp",
]  # fmt: skip
