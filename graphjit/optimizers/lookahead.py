"""Lookahead: an optimizer whose variables are drawn back to slow ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import int64
from graphjit.functions import math
from graphjit.functions.math import where
from graphjit.tensors.apply import current_trace
from graphjit.tensors.variable import Variable

from .optimizer import Optimizer, outside_of_traces


class Lookahead(Optimizer):
    """Another optimizer, with slow copies of the variables that follow.

    After each `sync_period` steps the slow variables go a part `slow_step_size` of the way to
    the variables, which start from there again (M. Zhang et al., "Lookahead Optimizer: k steps
    forward, 1 step back", 2019). The numbers are those of `Lookahead` in TensorFlow Addons.
    Learning rate, settings and number of steps are the other optimizer's.

    Raises InvalidArgumentError where `optimizer` is none, for a period below 1 and a step size
    outside of [0, 1].
    """

    def __init__(
        self,
        optimizer: Optimizer,
        sync_period: int = 6,
        slow_step_size: float = 0.5,
        name: str | None = None,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise InvalidArgumentError(
                at_user_line(f"optimizer is an optimizer, not a {type(optimizer).__name__}")
            )
        if not isinstance(sync_period, int) or sync_period < 1:
            raise InvalidArgumentError(
                at_user_line(f"sync_period is an int of at least 1, not {sync_period!r}")
            )
        if not 0 <= slow_step_size <= 1:
            raise InvalidArgumentError(
                at_user_line(f"slow_step_size is between 0 and 1, not {slow_step_size!r}")
            )
        self.name = name or "lookahead"
        self.optimizer = optimizer
        self._slow: list[Variable] = []
        own = {"sync_period": sync_period, "slow_step_size": slow_step_size}
        self._settings: dict[str, Any] = {**optimizer._settings, **own}

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the other optimizer."""
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.optimizer.learning_rate = value

    @property
    def iterations(self) -> Any:
        """The number of steps so far."""
        return self.optimizer.iterations

    @property
    def built(self) -> bool:
        """Whether there is state for variables."""
        return self.optimizer.built

    @property
    def variables(self) -> list[Any]:
        """The state of the other optimizer, and the slow variables."""
        return [*self.optimizer.variables, *self._slow]

    def build(self, var_list: Iterable[Any]) -> None:
        """Make the state for variables; the first step does it otherwise."""
        variables = list(var_list)
        self.optimizer.build(variables)
        if not self._slow:
            with outside_of_traces():
                self._slow = [
                    Variable(
                        np.zeros(v.type.shape, v.dtype.dtype),
                        trainable=False,
                        name=f"{v.name.removesuffix(':0')}_slow",
                    )
                    for v in self.optimizer._optimized
                ]
            trace = current_trace.get()
            if trace is not None:
                trace.settle(self)

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> Any:
        """Change variables by their gradients. Gives the number of steps."""
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])
        return self.optimizer._calls

    def apply(
        self, grads: Sequence[Any], trainable_variables: Iterable[Any] | None = None
    ) -> None:
        """The same with gradients and variables apart."""
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
            self.build(trainable_variables)
        before = self._count()
        variables = self.optimizer._optimized
        begun = [v.as_tensor() for v in variables]
        self.optimizer.apply(grads, trainable_variables)
        # where gradients are accumulated, only some calls are steps
        after = self._count()
        due = math.logical_and(
            math.equal(math.floormod(after, self.sync_period), 0), math.greater(after, before)
        )
        for v, slow, start in zip(variables, self._slow, begun, strict=True):
            kept = where(math.equal(before, 0), start, slow.as_tensor())
            fast: Any = v.as_tensor()
            synced = kept + (fast - kept) * self.slow_step_size
            slow.assign(where(due, synced, kept))
            v.assign(where(due, synced, fast))

    def _count(self) -> Any:
        return math.cast(self.optimizer.iterations, int64)

    def scale_loss(self, loss: Any) -> Any:
        """The loss as the other optimizer scales it."""
        return self.optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list: Iterable[Any]) -> None:
        """What the other optimizer does at the end."""
        self.optimizer.finalize_variable_values(var_list)

    def exclude_from_weight_decay(
        self, var_list: Iterable[Any] = (), var_names: Iterable[str] = ()
    ) -> None:
        """Leave variables as they are by the other optimizer's weight decay."""
        self.optimizer.exclude_from_weight_decay(var_list, var_names)

    def get_config(self) -> dict[str, Any]:
        """The settings, from which `from_config` makes another such optimizer."""
        return {
            "optimizer": (type(self.optimizer), self.optimizer.get_config()),
            "sync_period": self.sync_period,
            "slow_step_size": self.slow_step_size,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Lookahead:
        """An optimizer with these settings, and state of its own."""
        kind, inner = config["optimizer"]
        return cls(**{**config, "optimizer": kind.from_config(inner)})


__all__ = ["Lookahead"]
