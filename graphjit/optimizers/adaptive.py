"""Optimizers that scale each element's step by what its gradients were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphjit.functions import math, reduce
from graphjit.functions.math import where
from graphjit.tensors.apply import as_tensor
from graphjit.tensors.variable import Variable

from .optimizer import Optimizer

Step = tuple[Any, dict[str, Any]]


def _power(base: float, exponent: Any) -> Any:
    return math.pow(as_tensor(base, exponent.dtype), exponent)


class _Moments(Optimizer):
    """Keeps averages of gradients and of their squares."""

    def slots(self) -> dict[str, float]:
        """What is kept for each variable."""
        return {"momentum": 0.0, "velocity": 0.0}

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        settings: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        averages = {"beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
        super().__init__(learning_rate, averages | (settings or {}), **options)

    def _moments(self, gradient: Any, state: dict[str, Any]) -> tuple[Any, Any]:
        m, v = state["momentum"], state["velocity"]
        m = m + (gradient - m) * (1 - self.beta_1)
        v = v + (math.square(gradient) - v) * (1 - self.beta_2)
        return m, v


class Adam(_Moments):
    """D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", 2014; amsgrad: with
    the largest average of squares so far (S. J. Reddi and others, 2018).
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        settings = {"amsgrad": amsgrad}
        super().__init__(learning_rate, beta_1, beta_2, epsilon, settings, **options)

    def slots(self) -> dict[str, float]:
        """What is kept for each variable."""
        return {**super().slots(), **({"largest": 0.0} if self.amsgrad else {})}

    def update_step(
        self, gradient: Any, value: Any, state: dict[str, Any], rate: Any, step: Any
    ) -> Step:
        """The average over the root of that of squares, without the bias of their start."""
        m, v = self._moments(gradient, state)
        scale = math.sqrt(1.0 - _power(self.beta_2, step)) / (1.0 - _power(self.beta_1, step))
        changed, size = {"momentum": m, "velocity": v}, v
        if self.amsgrad:
            changed["largest"] = size = math.maximum(state["largest"], v)
        return value - m * (rate * scale) / (math.sqrt(size) + self.epsilon), changed


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: I. Loshchilov and F. Hutter, "Decoupled
    Weight Decay Regularization", 2017.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            amsgrad,
            weight_decay=weight_decay,
            **options,
        )


class Adamax(_Moments):
    """Adam with the largest gradient in place of the root of squares (in the same paper)."""

    def slots(self) -> dict[str, float]:
        """What is kept for each variable."""
        return {"momentum": 0.0, "norm": 0.0}

    def update_step(
        self, gradient: Any, value: Any, state: dict[str, Any], rate: Any, step: Any
    ) -> Step:
        """The average over the largest size so far, which fades."""
        m = state["momentum"] + (gradient - state["momentum"]) * (1 - self.beta_1)
        norm = math.maximum(state["norm"] * self.beta_2, math.abs(gradient))
        bias = 1.0 - _power(self.beta_1, step)
        return value - (m * rate) / (bias * (norm + self.epsilon)), {
            "momentum": m,
            "norm": norm,
        }


class Nadam(_Moments):
    """Adam with Nesterov's momentum: T. Dozat, "Incorporating Nesterov Momentum into Adam",
    2016.
    """

    def build_shared(self, variables: Sequence[Variable]) -> None:
        """The product of the momenta of all steps."""
        dtype = variables[0].dtype.dtype if variables else np.float32
        self._product = Variable(np.ones((), dtype), trainable=False, name="u_product")

    @property
    def variables(self) -> list[Any]:
        """All state."""
        return [*super().variables, *([self._product] if self.built else [])]

    def begin_step(self, now: Any) -> None:
        """The momentum of this step joins the product, if the variables change."""
        step = math.cast(self.iterations + 1, self._product.dtype)
        product = self._product * self._momentum(step)
        self._product.assign(
            product if now is True else where(now, product, self._product.as_tensor())
        )

    def _momentum(self, step: Any) -> Any:
        return self.beta_1 * (1.0 - 0.5 * _power(0.96, step))

    def update_step(
        self, gradient: Any, value: Any, state: dict[str, Any], rate: Any, step: Any
    ) -> Step:
        """The average as it will be at the next step, with this gradient."""
        m, v = self._moments(gradient, state)
        now, after = self._momentum(step), self._momentum(step + 1.0)
        product = math.cast(self._product.as_tensor(), step.dtype)
        ahead = (after * m) / (1.0 - product * after) + ((1.0 - now) * gradient) / (
            1.0 - product
        )
        size = v / (1.0 - _power(self.beta_2, step))
        new = value - (ahead * rate) / (math.sqrt(size) + self.epsilon)
        return new, {"momentum": m, "velocity": v}


class Lamb(_Moments):
    """Adam with steps as long as the variable is large: Y. You and others, "Large Batch
    Optimization for Deep Learning", 2019.
    """

    def update_step(
        self, gradient: Any, value: Any, state: dict[str, Any], rate: Any, step: Any
    ) -> Step:
        """Adam's step, scaled by the ratio of norms."""
        m, v = self._moments(gradient, state)
        size = math.sqrt(v / (1.0 - _power(self.beta_2, step))) + self.epsilon
        change = m / (1.0 - _power(self.beta_1, step)) / size
        own = math.sqrt(reduce.reduce_sum(math.square(value)))
        other = math.sqrt(reduce.reduce_sum(math.square(change)))
        both = math.logical_and(own > 0.0, other > 0.0)
        ratio = where(both, own / where(both, other, other * 0.0 + 1.0), own * 0.0 + 1.0)
        return value - ratio * rate * change, {"momentum": m, "velocity": v}


class Lion(Optimizer):
    """X. Chen and others, "Symbolic Discovery of Optimization Algorithms", 2023."""

    def slots(self) -> dict[str, float]:
        """What is kept for each variable."""
        return {"momentum": 0.0}

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, {"beta_1": beta_1, "beta_2": beta_2}, **options)

    def update_step(
        self, gradient: Any, value: Any, state: dict[str, Any], rate: Any, step: Any
    ) -> Step:
        """A step of one length, in the direction of an average."""
        m = state["momentum"]
        direction = math.sign(m * self.beta_1 + gradient * (1.0 - self.beta_1))
        kept = m * self.beta_2 + gradient * (1.0 - self.beta_2)
        return value - rate * direction, {"momentum": kept}


class RMSprop(Optimizer):
    """G. Hinton, lecture 6e of "Neural Networks for Machine Learning", 2012; centered: with the
    variance in place of the average of squares.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **options: Any,
    ) -> None:
        settings = {
            "rho": rho, "momentum": momentum, "epsilon": epsilon, "centered": centered
        }  # fmt: skip
        super().__init__(learning_rate, settings, **options)

    def slots(self) -> dict[str, float]:
        """What is kept for each variable."""
        names = ["velocity", *(["momentum"] if self.momentum > 0 else [])]
        return dict.fromkeys([*names, *(["average"] if self.centered else [])], 0.0)

    def update_step(
        self, gradient: Any, value: Any, state: dict[str, Any], rate: Any, step: Any
    ) -> Step:
        """The gradient over the root of the average of its squares."""
        rho = self.rho
        velocity = state["velocity"] * rho + math.square(gradient) * (1 - rho)
        changed, size = {"velocity": velocity}, velocity
        if self.centered:
            average = state["average"] * rho + gradient * (1 - rho)
            changed["average"], size = average, velocity - math.square(average)
        change = (gradient * rate) / math.sqrt(size + self.epsilon)
        if self.momentum > 0:
            changed["momentum"] = change = state["momentum"] * self.momentum + change
        return value - change, changed


class Adagrad(Optimizer):
    """J. Duchi and others, "Adaptive Subgradient Methods for Online Learning", 2011."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **options: Any,
    ) -> None:
        begin = initial_accumulator_value
        settings = {"initial_accumulator_value": begin, "epsilon": epsilon}
        super().__init__(learning_rate, settings, **options)

    def slots(self) -> dict[str, float]:
        """What is kept for each variable."""
        return {"accumulator": self.initial_accumulator_value}

    def update_step(
        self, gradient: Any, value: Any, state: dict[str, Any], rate: Any, step: Any
    ) -> Step:
        """The gradient over the root of the sum of all its squares."""
        total = state["accumulator"] + math.square(gradient)
        new = value - (gradient * rate) / math.sqrt(total + self.epsilon)
        return new, {"accumulator": total}


class Adadelta(Optimizer):
    """M. D. Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012."""

    def slots(self) -> dict[str, float]:
        """What is kept for each variable."""
        return {"gradients": 0.0, "changes": 0.0}

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, {"rho": rho, "epsilon": epsilon}, **options)

    def update_step(
        self, gradient: Any, value: Any, state: dict[str, Any], rate: Any, step: Any
    ) -> Step:
        """The gradient times the ratio of the sizes of changes and gradients."""
        rho, epsilon = self.rho, self.epsilon
        squares = state["gradients"] * rho + math.square(gradient) * (1 - rho)
        ratio = math.sqrt(state["changes"] + epsilon) * gradient / math.sqrt(squares + epsilon)
        changes = state["changes"] * rho + math.square(ratio) * (1 - rho)
        return value - ratio * rate, {"gradients": squares, "changes": changes}


class Adafactor(Optimizer):
    """N. Shazeer and M. Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost",
    2018: of matrices only averages over rows and columns are kept.
    """

    def slots(self) -> dict[str, float]:
        """What is kept for each variable."""
        return {"rows": 0.0, "columns": 0.0, "velocity": 0.0}

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        **options: Any,
    ) -> None:
        settings = {
            "beta_2_decay": beta_2_decay, "epsilon_1": epsilon_1, "epsilon_2": epsilon_2,
            "clip_threshold": clip_threshold, "relative_step": relative_step,
        }  # fmt: skip
        super().__init__(learning_rate, settings, **options)

    def slot_shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Averages along one of the last two axes; of vectors each element."""
        if len(shape) < 2:
            return shape if name == "velocity" else (0,)
        if name == "rows":
            return shape[:-1]
        return (*shape[:-2], shape[-1]) if name == "columns" else (0,)

    def update_step(
        self, gradient: Any, value: Any, state: dict[str, Any], rate: Any, step: Any
    ) -> Step:
        """A step relative to the size of the variable."""
        least = 1.0 / math.sqrt(step)
        if self.relative_step and self._schedule is None:
            rate = math.minimum(rate, least)
        scale = math.maximum(self.epsilon_2, _rms(value)) * math.minimum(rate, least)
        squares = math.square(gradient) + self.epsilon_1
        beta = 1.0 - math.pow(step, self.beta_2_decay)
        if len(value.type.shape) >= 2:
            mean = reduce.reduce_mean
            rows = state["rows"] * beta + mean(squares, axis=-1) * (1.0 - beta)
            columns = state["columns"] * beta + mean(squares, axis=-2) * (1.0 - beta)
            relative = rows / mean(rows, axis=-1, keepdims=True)
            size = relative[..., None] * columns[..., None, :]
            changed = {"rows": rows, "columns": columns}
        else:
            size = state["velocity"] * beta + squares * (1.0 - beta)
            changed = {"velocity": size}
        change = gradient / math.sqrt(size)
        change = change / math.maximum(1.0, _rms(change) / self.clip_threshold)
        return value - scale * change, changed


def _rms(x: Any) -> Any:
    return math.sqrt(reduce.reduce_mean(math.square(x)))


__all__ = [
    "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Lamb", "Lion", "Nadam",
    "RMSprop",
]  # fmt: skip
