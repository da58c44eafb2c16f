"""Optimizers that are pure functions over structures of arrays, with optax's names and numbers.

Each is a pair of functions: `init(params)` gives the state, `update(updates, state, params)`
gives what is added to the parameters, and the new state. The state is made of tuples and dicts
of arrays and numbers, and so may be an argument and a result of compiled functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.tree import flatten, leaves_like, unflatten
from graphjit.functions import math
from graphjit.functions.region_values import is_numpy
from graphjit.tensors.apply import TensorBase

Rate = Any  # a number, or a function of the number of steps


class GradientTransformation(NamedTuple):
    """A pair of functions.

    init: parameters -> state. update: (updates, state, parameters) -> updates, state.
    """

    init: Callable[[Any], Any]
    update: Callable[..., tuple[Any, Any]]


def apply_updates(params: Any, updates: Any) -> Any:
    """Parameters with updates added, in the parameters' dtypes."""
    return _zipped(lambda p, u: p if u is None else _as(p, p + u), params, updates)


def chain(*transformations: GradientTransformation) -> GradientTransformation:
    """One after the other; the state is a tuple of theirs."""

    def init(params: Any) -> Any:
        return tuple(t.init(params) for t in transformations)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if len(state) != len(transformations):
            raise InvalidArgumentError(
                at_user_line(
                    f"a state of {len(state)} parts for {len(transformations)} transformations"
                )
            )
        new = []
        for t, s in zip(transformations, state, strict=True):
            updates, changed = t.update(updates, s, params)
            new.append(changed)
        return updates, tuple(new)

    return GradientTransformation(init, update)


def identity() -> GradientTransformation:
    """Updates as they are."""
    return _stateless(lambda updates, params: updates)


def scale(factor: float) -> GradientTransformation:
    """Updates times a number."""
    return _stateless(lambda updates, params: _each(lambda g: g * factor, updates))


def scale_by_schedule(schedule: Callable[[Any], Any]) -> GradientTransformation:
    """Updates times what a function of the number of steps gives."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        factor = schedule(state["count"])
        new = {"count": state["count"] + 1}
        return _each(lambda g: g * _like(factor, g), updates), new

    return GradientTransformation(lambda params: {"count": np.int64(0)}, update)


def scale_by_learning_rate(learning_rate: Rate) -> GradientTransformation:
    """Updates times the negative learning rate: what goes down."""
    if callable(learning_rate):
        return scale_by_schedule(lambda count: -learning_rate(count))
    return scale(-learning_rate)


def trace(decay: float, nesterov: bool = False) -> GradientTransformation:
    """Sums of updates that fade by `decay`: momentum."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        new = _zipped(lambda g, t: g + decay * t, updates, state["trace"])
        given = _zipped(lambda g, t: g + decay * t, updates, new) if nesterov else new
        return given, {"trace": new}

    return GradientTransformation(lambda params: {"trace": _zeros(params)}, update)


def scale_by_adam(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    nesterov: bool = False,
) -> GradientTransformation:
    """Averages of updates over roots of those of their squares: Adam."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        mu = _zipped(lambda g, m: (1 - b1) * g + b1 * m, updates, state["mu"])
        nu = _zipped(lambda g, n: (1 - b2) * (g * g) + b2 * n, updates, state["nu"])
        count = state["count"] + 1
        if nesterov:
            ahead, own = _correction(b1, count + 1), _correction(b1, count)
            hat = _zipped(
                lambda m, g: b1 * (m / _like(ahead, m)) + (1 - b1) * (g / _like(own, g)),
                mu,
                updates,
            )
        else:
            hat = _unbiased(mu, b1, count)
        size = _unbiased(nu, b2, count)
        given = _zipped(lambda m, n: m / (_sqrt(n + eps_root) + eps), hat, size)
        return given, {"count": count, "mu": mu, "nu": nu}

    return GradientTransformation(_moments, update)


def scale_by_rms(
    decay: float = 0.9, eps: float = 1e-8, initial_scale: float = 0.0
) -> GradientTransformation:
    """Updates over the root of the average of their squares: RMSprop."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        nu = _zipped(lambda g, n: (1 - decay) * (g * g) + decay * n, updates, state["nu"])
        return _zipped(lambda g, n: g / _sqrt(n + eps), updates, nu), {"nu": nu}

    return GradientTransformation(lambda params: {"nu": _full(params, initial_scale)}, update)


def scale_by_stddev(
    decay: float = 0.9, eps: float = 1e-8, initial_scale: float = 0.0
) -> GradientTransformation:
    """Updates over the root of their variance: centered RMSprop."""

    def init(params: Any) -> Any:
        return {"mu": _zeros(params), "nu": _full(params, initial_scale)}

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        mu = _zipped(lambda g, m: (1 - decay) * g + decay * m, updates, state["mu"])
        nu = _zipped(lambda g, n: (1 - decay) * (g * g) + decay * n, updates, state["nu"])
        given = _zipped(lambda g, m, n: g / _sqrt(n - m * m + eps), updates, mu, nu)
        return given, {"mu": mu, "nu": nu}

    return GradientTransformation(init, update)


def scale_by_rss(
    initial_accumulator_value: float = 0.1, eps: float = 1e-7
) -> GradientTransformation:
    """Updates over the root of the sum of their squares: Adagrad."""

    def init(params: Any) -> Any:
        return {"sum_of_squares": _full(params, initial_accumulator_value)}

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        total = _zipped(lambda g, t: g * g + t, updates, state["sum_of_squares"])
        given = _zipped(lambda g, t: _where(t > 0, g / _sqrt(t + eps), g * 0.0), updates, total)
        return given, {"sum_of_squares": total}

    return GradientTransformation(init, update)


def scale_by_adadelta(rho: float = 0.9, eps: float = 1e-6) -> GradientTransformation:
    """Updates times the ratio of the sizes of changes and gradients: Adadelta."""

    def init(params: Any) -> Any:
        return {"e_g": _zeros(params), "e_x": _zeros(params)}

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        e_g = _zipped(lambda g, e: (1 - rho) * (g * g) + rho * e, updates, state["e_g"])
        given = _zipped(
            lambda g, a, b: _sqrt(b + eps) / _sqrt(a + eps) * g, updates, e_g, state["e_x"]
        )
        e_x = _zipped(lambda g, e: (1 - rho) * (g * g) + rho * e, given, state["e_x"])
        return given, {"e_g": e_g, "e_x": e_x}

    return GradientTransformation(init, update)


def scale_by_adamax(
    b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> GradientTransformation:
    """Averages of updates over the largest of their sizes, which fades: Adamax."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        count = state["count"] + 1
        mu = _zipped(lambda g, m: (1 - b1) * g + b1 * m, updates, state["mu"])
        nu = _zipped(lambda g, n: _maximum(_abs(g) + eps, b2 * n), updates, state["nu"])
        given = _zipped(lambda m, n: m / n, _unbiased(mu, b1, count), nu)
        return given, {"count": count, "mu": mu, "nu": nu}

    return GradientTransformation(_moments, update)


def scale_by_lion(b1: float = 0.9, b2: float = 0.99) -> GradientTransformation:
    """The signs of averages of updates: Lion."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        given = _zipped(lambda g, m: _sign((1 - b1) * g + b1 * m), updates, state["mu"])
        mu = _zipped(lambda g, m: (1 - b2) * g + b2 * m, updates, state["mu"])
        return given, {"mu": mu}

    return GradientTransformation(lambda params: {"mu": _zeros(params)}, update)


def scale_by_trust_ratio() -> GradientTransformation:
    """Updates as long as the parameters are large: LAMB's ratio of norms."""

    def scaled(g: Any, p: Any) -> Any:
        own, other = _norm(p), _norm(g)
        ratio = _where(other > 0, own / _where(other > 0, other, other * 0 + 1), other * 0 + 1)
        return g * _where(own > 0, ratio, own * 0 + 1)

    return _stateless(lambda updates, params: _zipped(scaled, updates, params), True)


def add_decayed_weights(weight_decay: float = 0.0, mask: Any = None) -> GradientTransformation:
    """Updates and a part of the parameters. mask: which of them, a structure of bools or a
    function that gives one.
    """

    def change(updates: Any, params: Any) -> Any:
        if mask is None:
            return _zipped(lambda g, p: g + weight_decay * p, updates, params)
        chosen = mask(params) if callable(mask) else mask
        return _zipped(
            lambda g, p, m: g + weight_decay * p if m else g, updates, params, chosen
        )

    return _stateless(change, True)


def clip(max_delta: float) -> GradientTransformation:
    """Updates between -max_delta and max_delta."""
    return _stateless(
        lambda updates, params: _each(
            lambda g: _maximum(_minimum(g, max_delta), -max_delta), updates
        )
    )


def global_norm(updates: Any) -> Any:
    """The root of the sum of the squares of all elements."""
    total: Any = 0.0
    leaves: list[Any] = []
    flatten(updates, leaves)
    for g in leaves:
        total = total + _sum(g * g)
    return _sqrt(total)


def clip_by_global_norm(max_norm: float) -> GradientTransformation:
    """Updates of which all together have at most this norm."""

    def change(updates: Any, params: Any) -> Any:
        norm = global_norm(updates)
        return _each(
            lambda g: _where(norm < max_norm, g, g / _like(norm, g) * max_norm), updates
        )

    return _stateless(change)


def ema(decay: float, debias: bool = True) -> GradientTransformation:
    """Moving averages of updates."""

    def init(params: Any) -> Any:
        return {"count": np.int64(0), "ema": _zeros(params)}

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        new = _zipped(lambda g, e: (1 - decay) * g + decay * e, updates, state["ema"])
        count = state["count"] + 1
        given = _unbiased(new, decay, count) if debias else new
        return given, {"count": count, "ema": new}

    return GradientTransformation(init, update)


def apply_every(k: int = 1) -> GradientTransformation:
    """Sums of updates of k steps, and 0 between."""

    def init(params: Any) -> Any:
        return {"count": np.int64(0), "grad_acc": _zeros(params)}

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        place = state["count"] % k
        kept = _zipped(lambda g, a: g + a * _like(place != 0, a), updates, state["grad_acc"])
        given = _each(lambda a: a * _like(place == k - 1, a), kept)
        return given, {"count": state["count"] + 1, "grad_acc": kept}

    return GradientTransformation(init, update)


# -- optimizers


def sgd(
    learning_rate: Rate, momentum: float | None = None, nesterov: bool = False
) -> GradientTransformation:
    """Gradient descent, with momentum where it is given."""
    first = identity() if momentum is None else trace(momentum, nesterov)
    return chain(first, scale_by_learning_rate(learning_rate))


def adam(
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    nesterov: bool = False,
) -> GradientTransformation:
    """D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", 2014."""
    adam_scale = scale_by_adam(b1, b2, eps, eps_root, nesterov)
    return chain(adam_scale, scale_by_learning_rate(learning_rate))


def nadam(
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
) -> GradientTransformation:
    """Adam with Nesterov's momentum."""
    return adam(learning_rate, b1, b2, eps, eps_root, True)


def adamw(
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    weight_decay: float = 1e-4,
    mask: Any = None,
    nesterov: bool = False,
) -> GradientTransformation:
    """Adam with weight decay apart from the gradient; mask: see `add_decayed_weights`."""
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, nesterov),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


def adamax(
    learning_rate: Rate, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> GradientTransformation:
    """Adam with the largest gradient in place of the root of squares."""
    return chain(scale_by_adamax(b1, b2, eps), scale_by_learning_rate(learning_rate))


def rmsprop(
    learning_rate: Rate,
    decay: float = 0.9,
    eps: float = 1e-8,
    initial_scale: float = 0.0,
    centered: bool = False,
    momentum: float | None = None,
    nesterov: bool = False,
) -> GradientTransformation:
    """The gradient over the root of the average of its squares; centered: of its variance."""
    made = (scale_by_stddev if centered else scale_by_rms)(decay, eps, initial_scale)
    last = identity() if momentum is None else trace(momentum, nesterov)
    return chain(made, scale_by_learning_rate(learning_rate), last)


def adagrad(
    learning_rate: Rate, initial_accumulator_value: float = 0.1, eps: float = 1e-7
) -> GradientTransformation:
    """The gradient over the root of the sum of all its squares."""
    made = scale_by_rss(initial_accumulator_value, eps)
    return chain(made, scale_by_learning_rate(learning_rate))


def adadelta(
    learning_rate: Rate | None = None,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
) -> GradientTransformation:
    """The gradient times the ratio of the sizes of changes and gradients."""
    last = scale(-1.0) if learning_rate is None else scale_by_learning_rate(learning_rate)
    return chain(add_decayed_weights(weight_decay), scale_by_adadelta(rho, eps), last)


def lion(
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.99,
    weight_decay: float = 1e-3,
    mask: Any = None,
) -> GradientTransformation:
    """A step of one length, in the direction of an average."""
    return chain(
        scale_by_lion(b1, b2),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


def lamb(
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-6,
    eps_root: float = 0.0,
    weight_decay: float = 0.0,
    mask: Any = None,
) -> GradientTransformation:
    """Adam with steps as long as the parameters are large."""
    return chain(
        scale_by_adam(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(),
        scale_by_learning_rate(learning_rate),
    )


# -- parts


class LookaheadParams(NamedTuple):
    """The parameters of `lookahead`: those that each step changes, and those that follow."""

    fast: Any
    slow: Any


def lookahead(
    fast_optimizer: GradientTransformation,
    sync_period: int,
    slow_step_size: float,
    reset_state: bool = False,
) -> GradientTransformation:
    """Parameters that follow others: after each `sync_period` steps the slow ones go a part of
    the way to the fast ones, and these start from there again (M. Zhang et al., "Lookahead
    Optimizer: k steps forward, 1 step back", 2019).

    Parameters and updates are `LookaheadParams`; gradients are of the fast ones alone.
    reset_state: whether the fast optimizer begins anew then, too. Raises InvalidArgumentError
    for periods below 1, and parameters of another kind.
    """
    if sync_period < 1:
        raise InvalidArgumentError(
            at_user_line(f"sync_period is at least 1, not {sync_period!r}")
        )

    def init(params: Any) -> Any:
        _require_pairs(params)
        return {"count": np.int64(0), "fast": fast_optimizer.init(params.fast)}

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        _require_pairs(params)
        given, fast = fast_optimizer.update(updates, state["fast"], params.fast)
        now = state["count"] == sync_period - 1
        ahead = _zipped(lambda p, u, s: p + u - s, params.fast, given, params.slow)
        due = _each(lambda x: x * _like(now, x), ahead)
        slow = _each(lambda x: slow_step_size * x, due)
        moved = _zipped(lambda u, x: u - (1 - slow_step_size) * x, given, due)
        if reset_state:
            begin = fast_optimizer.init(params.fast)
            fast = _zipped(lambda x, b: _as(x, _where(_like(now, True), b, x)), fast, begin)
        count = (state["count"] + 1) % sync_period
        return LookaheadParams(moved, slow), {"count": count, "fast": fast}

    return GradientTransformation(init, update)


def _require_pairs(params: Any) -> None:
    if not isinstance(params, LookaheadParams):
        raise InvalidArgumentError(
            at_user_line(
                f"lookahead takes LookaheadParams, not a {type(params).__name__}",
                "begin with LookaheadParams(params, params)",
            )
        )


def _stateless(
    change: Callable[[Any, Any], Any], needs_params: bool = False
) -> GradientTransformation:
    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if needs_params and params is None:
            raise InvalidArgumentError(
                at_user_line("update needs the parameters: update(updates, state, params)")
            )
        return change(updates, params), state

    return GradientTransformation(lambda params: (), update)


def _moments(params: Any) -> Any:
    return {"count": np.int64(0), "mu": _zeros(params), "nu": _zeros(params)}


def _correction(decay: float, count: Any) -> Any:
    """1 less the weight that the beginning still has in an average."""
    return 1 - decay ** (count * 1.0)


def _unbiased(average: Any, decay: float, count: Any) -> Any:
    by = _correction(decay, count)
    return _each(lambda m: m / _like(by, m), average)


def _zipped(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """A function of the leaves of structures that are alike."""
    leaves: list[Any] = []
    shape = flatten(tree, leaves)
    columns = [leaves]
    for other in others:
        found = leaves_like(other, shape)
        if found is None:
            raise InvalidArgumentError(
                at_user_line("updates, state and parameters differ in structure")
            )
        columns.append(found)
    results = iter([function(*row) for row in zip(*columns, strict=True)])
    return unflatten(shape, lambda: next(results))


def _each(function: Callable[[Any], Any], tree: Any) -> Any:
    return _zipped(function, tree)


def _zeros(params: Any) -> Any:
    return _full(params, 0.0)


def _full(params: Any, value: float) -> Any:
    return _each(lambda p: p * 0.0 + value, params)


def _is_tensor(x: Any) -> bool:
    return isinstance(x, TensorBase) and not is_numpy(x)


def _like(value: Any, x: Any) -> Any:
    """A number in the dtype of an array."""
    if _is_tensor(x):
        return math.cast(value, x.dtype)
    if isinstance(value, TensorBase) and not is_numpy(value):
        value = value.as_tensor()
        trace = value.recorder
        value = value.numpy() if trace is None else trace.as_result(value, "numpy")
    if isinstance(x, float) and isinstance(value, (float, int, np.generic)):
        return float(value)
    dtype = getattr(x, "dtype", None)
    found = value if hasattr(value, "astype") else np.asarray(value)
    return found if dtype is None else found.astype(getattr(dtype, "as_numpy_dtype", dtype))


def _as(p: Any, value: Any) -> Any:
    """A value in the dtype of a parameter."""
    same = getattr(value, "dtype", None) == getattr(p, "dtype", None)
    return value if same else _like(value, p)


def _function(name: str, numpy: Callable[..., Any]) -> Callable[..., Any]:
    own = getattr(math, name)
    return lambda *args: (own if any(map(_is_tensor, args)) else numpy)(*args)


_sqrt, _abs, _sign = (
    _function("sqrt", np.sqrt),
    _function("abs", np.abs),
    _function("sign", np.sign),
)
_maximum, _minimum = _function("maximum", np.maximum), _function("minimum", np.minimum)
_where = _function("where", np.where)


def _sum(x: Any) -> Any:
    from graphjit.functions.reduce import reduce_sum

    return reduce_sum(x) if _is_tensor(x) else np.sum(x)


def _norm(x: Any) -> Any:
    return _sqrt(_sum(x * x))


__all__ = [
    "GradientTransformation", "LookaheadParams", "adadelta", "adagrad", "adam", "adamax",
    "adamw", "add_decayed_weights", "apply_every", "apply_updates", "chain", "clip",
    "clip_by_global_norm", "ema", "global_norm", "identity", "lamb", "lion", "lookahead",
    "nadam", "rmsprop", "scale", "scale_by_adadelta", "scale_by_adam", "scale_by_adamax",
    "scale_by_learning_rate", "scale_by_lion", "scale_by_rms", "scale_by_rss",
    "scale_by_schedule", "scale_by_stddev", "scale_by_trust_ratio", "sgd", "trace",
]  # fmt: skip
