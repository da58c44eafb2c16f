"""What all optimizers of variables share: their state, and what is done to gradients."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import float32, int64
from graphjit.functions import linalg, math
from graphjit.functions.index import scatter_by
from graphjit.functions.math import where
from graphjit.tensors.apply import as_tensor, current_trace
from graphjit.tensors.recording import recorders
from graphjit.tensors.variable import IndexedSlices, Variable
from graphjit.transforms.tape import GradientTape

from .schedules import LearningRateSchedule


class Optimizer:
    """An optimizer of variables; `gj.optimizers.Adam` and others are made of it.

    learning_rate: a number, which can be assigned later, or a schedule or function of none.
    weight_decay: what part of the variables times the learning rate is taken off at each step.
    clipnorm, global_clipnorm, clipvalue: what gradients are clipped to: the norm of each, of
    all of them, or their elements. use_ema: whether moving averages of the variables are kept,
    with `ema_momentum`; they replace the variables after each `ema_overwrite_frequency` steps,
    and by `finalize_variable_values`. loss_scale_factor: by what losses are multiplied, and
    gradients divided. gradient_accumulation_steps: of how many steps gradients are averaged
    before the variables change. settings: those of the kind of optimizer, by name.

    Names, defaults and numbers are those of Keras 3 (keras.io/api/optimizers). Settings other
    than `learning_rate` stay as they are.
    """

    def __init__(
        self,
        learning_rate: Any,
        settings: dict[str, Any] | None = None,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise InvalidArgumentError(
                at_user_line(f"{type(self).__name__} has no setting {next(iter(unknown))!r}")
            )
        given = [clipnorm is not None, clipvalue is not None, global_clipnorm is not None]
        if sum(given) > 1:
            raise InvalidArgumentError(
                at_user_line("only one of clipnorm, clipvalue and global_clipnorm can be given")
            )
        if use_ema and not 0 <= ema_momentum <= 1:
            raise InvalidArgumentError(
                at_user_line(f"ema_momentum is between 0 and 1, not {ema_momentum!r}")
            )
        for what, steps in (
            ("ema_overwrite_frequency", ema_overwrite_frequency),
            ("gradient_accumulation_steps", gradient_accumulation_steps),
        ):
            least = 1 if what.startswith("ema") else 2
            if steps is not None and (not isinstance(steps, int) or steps < least):
                raise InvalidArgumentError(
                    at_user_line(f"{what} is an int of at least {least}, not {steps!r}")
                )
        self.name = name or type(self).__name__.lower()
        self._settings: dict[str, Any] = {
            "weight_decay": weight_decay, "clipnorm": clipnorm, "clipvalue": clipvalue,
            "global_clipnorm": global_clipnorm, "use_ema": use_ema,
            "ema_momentum": ema_momentum, "ema_overwrite_frequency": ema_overwrite_frequency,
            "loss_scale_factor": loss_scale_factor,
            "gradient_accumulation_steps": gradient_accumulation_steps, **(settings or {}),
        }  # fmt: skip
        self._calls = Variable(0, trainable=False, name="iteration", dtype=int64)
        self._schedule: Callable[..., Any] | None = None
        self._rate: Variable | None = None
        if callable(learning_rate):
            self._schedule = learning_rate
        else:
            self._rate = Variable(
                learning_rate, trainable=False, name="learning_rate", dtype=float32
            )
        self._numbers: dict[int, int] = {}  # of the variables, by the ids of their cells
        self._optimized: list[Variable] = []
        self._state: dict[str, list[Variable]] = {}
        self._excluded: tuple[frozenset[int], str] = frozenset(), ""

    def __getattr__(self, name: str) -> Any:
        settings = self.__dict__.get("_settings", {})
        if name in settings:
            return settings[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_settings", {}):
            raise AttributeError(f"{name} of an optimizer can't be set: make another")
        object.__setattr__(self, name, value)

    # -- state

    @property
    def learning_rate(self) -> Any:
        """The learning rate now: a variable, or what the schedule gives."""
        if self._schedule is None:
            return self._rate
        if isinstance(self._schedule, LearningRateSchedule):
            return self._schedule(self._calls)
        return self._schedule()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if self._rate is None or callable(value):
            raise InvalidArgumentError(
                at_user_line(
                    "the learning rate can't be set: it is a schedule, or is to be one",
                    "make the optimizer with it",
                )
            )
        self._rate.assign(value)

    @property
    def iterations(self) -> Any:
        """The number of steps so far, those that only accumulated not counted."""
        every = self.gradient_accumulation_steps
        return math.floordiv(self._calls.as_tensor(), every) if every else self._calls

    @property
    def built(self) -> bool:
        """Whether there is state for variables."""
        return bool(self._optimized)

    @property
    def variables(self) -> list[Any]:
        """All state: the number of steps, the learning rate, what is kept for each variable."""
        rate = [] if self._rate is None else [self._rate]
        kept = [v for name in self._state for v in self._state[name]]
        return [self._calls, *rate, *kept]

    def build(self, var_list: Iterable[Any]) -> None:
        """Make the state for variables; `apply_gradients` does it at first.

        Raises InvalidArgumentError for what is no variable of floats.
        """
        if self.built:
            return
        variables = list(var_list)
        for v in variables:
            if not isinstance(v, Variable) or not v.dtype.is_floating:
                raise InvalidArgumentError(
                    at_user_line(f"an optimizer of {v!r}, no variable of floats")
                )
        names = dict(self.slots())
        if self.use_ema:
            names["moving_average"] = 0.0
        if self.gradient_accumulation_steps:
            names["accumulated"] = 0.0
        with outside_of_traces():
            for name, begin in names.items():
                own = name in self.slots()
                self._state[name] = [
                    self._new_slot(
                        v,
                        name,
                        self.slot_shape(name, v.type.shape) if own else v.type.shape,
                        begin,
                    )
                    for v in variables
                ]
            self.build_shared(variables)
        self._optimized = variables
        self._numbers = {id(v.cell): k for k, v in enumerate(variables)}
        trace = current_trace.get()
        if trace is not None:
            trace.settle(self)

    @staticmethod
    def _new_slot(v: Variable, name: str, shape: tuple[int, ...], begin: float) -> Variable:
        array = np.full(shape, begin, v.dtype.dtype)
        return Variable(array, trainable=False, name=f"{v.name.removesuffix(':0')}_{name}")

    def slots(self) -> dict[str, float]:
        """The names of what is kept for each variable, and what each begins with."""
        return {}

    def slot_shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what is kept for a variable."""
        return shape

    def build_shared(self, variables: Sequence[Variable]) -> None:
        """Make what is kept for all variables together."""

    def exclude_from_weight_decay(
        self, var_list: Iterable[Any] = (), var_names: Iterable[str] = ()
    ) -> None:
        """Leave variables as they are by weight decay: these, and those in whose names one of
        these texts is. InvalidArgumentError once there is state.
        """
        if self.built:
            raise InvalidArgumentError(
                at_user_line("exclude_from_weight_decay is called before the first step")
            )
        pattern = "|".join(map(re.escape, var_names or ()))
        self._excluded = frozenset(id(v.cell) for v in var_list or ()), pattern

    # -- steps

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> Any:
        """Change variables by their gradients: pairs of both. Gives the number of steps.

        A gradient may be None: that variable stays as it is, with a warning. Raises
        InvalidArgumentError where all are, where a gradient doesn't fit, or for a variable that
        the first step didn't have.
        """
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])
        return self._calls

    def apply(
        self, grads: Sequence[Any], trainable_variables: Iterable[Any] | None = None
    ) -> None:
        """The same with gradients and variables apart; without variables, those of the first
        step.
        """
        if trainable_variables is None and not self.built:
            raise InvalidArgumentError(
                at_user_line("gradients without variables, before the optimizer has any")
            )
        variables = list(
            self._optimized if trainable_variables is None else trainable_variables
        )
        if len(variables) != len(grads):
            raise InvalidArgumentError(
                at_user_line(f"{len(grads)} gradients for {len(variables)} variables")
            )
        self.build(variables)
        for v in variables:
            if id(getattr(v, "cell", None)) not in self._numbers:
                raise InvalidArgumentError(
                    at_user_line(
                        f"{v!r} is not among the variables of the first step",
                        "make an optimizer for other variables",
                    )
                )
        missing = [v.name for g, v in zip(grads, variables, strict=True) if g is None]
        if len(missing) == len(variables):
            raise InvalidArgumentError(at_user_line("No gradients provided for any variable."))
        if missing:
            warnings.warn(
                f"Gradients do not exist for variables {missing} when minimizing the loss.",
                stacklevel=3,
            )
        found = [(g, v) for g, v in zip(grads, variables, strict=True) if g is not None]
        self._step([_dense(g, v) for g, v in found], [v for _, v in found])
        self._calls.assign_add(1)

    def minimize(self, loss: Any, var_list: Any, tape: GradientTape | None = None) -> Any:
        """Change variables by the gradient of a loss: a function of none, or a tensor that
        `tape` recorded. var_list: variables, or a function that gives them.
        """
        if callable(loss):
            with GradientTape() as tape:
                loss = self.scale_loss(loss())
        elif tape is None:
            raise InvalidArgumentError(
                at_user_line("`tape` is needed where the loss is a tensor [Op:minimize]")
            )
        elif self.loss_scale_factor is not None:
            with tape:
                loss = self.scale_loss(loss)
        variables = list(var_list() if callable(var_list) else var_list)
        gradients = tape.gradient(loss, variables)
        return self.apply_gradients(zip(gradients, variables, strict=True))

    def scale_loss(self, loss: Any) -> Any:
        """The loss times `loss_scale_factor`."""
        factor = self.loss_scale_factor
        return loss if factor is None else loss * factor

    def finalize_variable_values(self, var_list: Iterable[Any]) -> None:
        """Replace variables by their moving averages, if these are kept."""
        if self.use_ema:
            for v in var_list:
                v.assign(self._kept("moving_average", v))

    def update_step(
        self, gradient: Any, value: Any, state: dict[str, Any], rate: Any, step: Any
    ) -> tuple[Any, dict[str, Any]]:
        """A variable's new value, and what is kept for it. rate, step: the learning rate and
        the number of this step, from 1, in the variable's dtype.
        """
        raise NotImplementedError

    def begin_step(self, now: Any) -> None:
        """Change what is kept for all variables together. now: whether the variables change."""

    def _kept(self, name: str, v: Variable) -> Variable:
        return self._state[name][self._numbers[id(v.cell)]]

    def _step(self, gradients: list[Any], variables: list[Variable]) -> None:
        scale, every = self.loss_scale_factor, self.gradient_accumulation_steps
        if scale is not None:
            gradients = [g / scale for g in gradients]
        count, now = as_tensor(self.iterations), True
        if every:
            calls: Any = self._calls.as_tensor()
            now = math.equal(math.floormod(calls + 1, every), 0)
            kept = [self._kept("accumulated", v) for v in variables]
            sums = [g + x for g, x in zip(gradients, kept, strict=True)]
            for x, total in zip(kept, sums, strict=True):
                x.assign(where(now, total * 0.0, total))
            gradients = [total / float(every) for total in sums]
        gradients = self._clipped(gradients)
        rate = self.learning_rate
        self.begin_step(now)
        for g, v in zip(gradients, variables, strict=True):
            self._update(g, v, rate, count, now)
        if self.use_ema:
            self._average(variables, count)

    def _update(self, gradient: Any, v: Variable, rate: Any, count: Any, now: Any) -> None:
        value = v.as_tensor()
        own_rate = math.cast(as_tensor(rate, v.dtype), v.dtype)
        step = math.cast(count + 1, v.dtype)
        before = value
        if self.weight_decay is not None and self._decays(v):
            value = value - value * self.weight_decay * own_rate
        slots = {name: self._kept(name, v) for name in self.slots()}
        state = {name: slot.as_tensor() for name, slot in slots.items()}
        new, changed = self.update_step(gradient, value, state, own_rate, step)
        if now is not True:
            new = where(now, new, before)
            changed = {name: where(now, x, state[name]) for name, x in changed.items()}
        for name, x in changed.items():
            slots[name].assign(x)
        v.assign(new)

    def _decays(self, v: Variable) -> bool:
        cells, pattern = self._excluded
        named = bool(pattern) and re.search(pattern, v.name) is not None
        return id(v.cell) not in cells and not named

    def _clipped(self, gradients: list[Any]) -> list[Any]:
        if self.clipnorm is not None:
            return [linalg.clip_by_norm(g, self.clipnorm) for g in gradients]
        if self.global_clipnorm is not None:
            return _clipped_together(gradients, self.global_clipnorm)
        if self.clipvalue is not None:
            most = self.clipvalue
            return [math.clip_by_value(g, -most, most) for g in gradients]
        return gradients

    def _average(self, variables: list[Variable], count: Any) -> None:
        frequency = self.ema_overwrite_frequency
        for v in variables:
            kept = self._kept("moving_average", v)
            momentum = math.cast(math.not_equal(count, 0), v.dtype) * self.ema_momentum
            average = momentum * kept + (1.0 - momentum) * v
            kept.assign(average)
            if frequency:
                due = math.equal(math.floormod(count + 1, frequency), 0)
                v.assign(where(due, average, v.as_tensor()))

    # -- settings

    def get_config(self) -> dict[str, Any]:
        """The settings, from which `from_config` makes another such optimizer."""
        rate: Any = self._schedule
        if self._rate is not None:
            rate = float(self._rate.numpy())
        return {"name": self.name, "learning_rate": rate, **self._settings}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Optimizer:
        """An optimizer with these settings, and state of its own."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<gj.optimizers.{type(self).__name__} {self.name!r}>"


@contextmanager
def outside_of_traces() -> Iterator[None]:
    """Make variables in a `with` block, though a function is traced."""
    trace, tapes = current_trace.set(None), recorders.set(())
    try:
        yield
    finally:
        recorders.reset(tapes)
        current_trace.reset(trace)


def _clipped_together(gradients: list[Any], most: float) -> list[Any]:
    """Gradients of maybe several dtypes, by the norm of all of them in the widest."""
    dtypes = [g.dtype for g in gradients]
    widest = max(dtypes, key=lambda dtype: dtype.itemsize)
    found = linalg.clip_by_global_norm([math.cast(g, widest) for g in gradients], most)[0]
    return [math.cast(g, dtype) for g, dtype in zip(found, dtypes, strict=True)]


def _dense(gradient: Any, v: Variable) -> Any:
    """A gradient as a tensor of its variable's type."""
    if isinstance(gradient, IndexedSlices):
        rows = as_tensor(gradient.indices)
        zeros = as_tensor(np.zeros(v.type.shape, v.dtype.dtype))
        places = rows[..., None]  # type: ignore[index]
        return scatter_by(zeros, places, as_tensor(gradient.values, v.dtype), "add")
    found = as_tensor(gradient, v.dtype)
    if found.type.shape != v.type.shape or not found.dtype.is_floating:
        raise InvalidArgumentError(
            at_user_line(f"a gradient of {found.type} for {v.name} of {v.type}")
        )
    return found if found.dtype is v.dtype else math.cast(found, v.dtype)


__all__ = ["Optimizer", "outside_of_traces"]
