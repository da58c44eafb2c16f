"""Elementwise functions and activations."""

from __future__ import annotations

import builtins
from typing import Any

from graphjit.core.types import bool_
from graphjit.functions import linalg, math, nn
from graphjit.functions import shape as _shape
from graphjit.tensors.apply import as_tensor, same_dtype

from .settings import invalid

__all__ = [
    "abs", "clip", "cos", "elu", "equal", "exp", "greater", "greater_equal", "hard_sigmoid",
    "l2_normalize", "less", "less_equal", "log", "maximum", "minimum", "not_equal", "pow",
    "relu", "round", "sigmoid", "sign", "sin", "softmax", "softplus", "softsign", "sqrt",
    "square", "switch", "tanh",
]  # fmt: skip


abs = math.abs
cos = math.cos
equal = math.equal
exp = math.exp
greater = math.greater
greater_equal = math.greater_equal
less = math.less
less_equal = math.less_equal
log = math.log
maximum = math.maximum
minimum = math.minimum
not_equal = math.not_equal
pow = math.pow
round = math.round
sigmoid = math.sigmoid
sign = math.sign
sin = math.sin
softplus = math.softplus
softsign = nn.softsign
square = math.square
tanh = math.tanh


def sqrt(x: Any) -> Any:
    """Square root, 0 of negative numbers."""
    return math.sqrt(math.maximum(x, 0.0))


def clip(x: Any, min_value: Any = None, max_value: Any = None) -> Any:
    """X limited to a range, open where a bound is None; the lower bound wins."""
    numbers = (int, float)
    if isinstance(min_value, numbers) and isinstance(max_value, numbers):
        max_value = builtins.max(min_value, max_value)
    x = as_tensor(x)
    if min_value is not None:
        x = math.maximum(x, as_tensor(min_value, x.dtype))
    return x if max_value is None else math.minimum(x, as_tensor(max_value, x.dtype))


def relu(x: Any, alpha: Any = 0.0, max_value: Any = None, threshold: Any = 0.0) -> Any:
    """X over the threshold, limited to [0, max_value] if given; alpha (x - threshold) below."""
    x = as_tensor(x)
    above = math.greater(x, threshold)
    if isinstance(alpha, (int, float)) and alpha == 0:
        below: Any = math.zeros_like_scalar(x)
    else:
        below = math.multiply(math.subtract(x, threshold), alpha)
    over = x if max_value is None else math.clip_by_value(x, 0.0, max_value)
    result = math.where(above, over, below)
    return math.where(math.is_nan(x), x, result) if x.dtype.is_floating else result


def elu(x: Any, alpha: Any = 1.0) -> Any:
    """X where it is positive, alpha (exp(x) - 1) elsewhere."""
    return nn.elu(x, alpha)


def hard_sigmoid(x: Any) -> Any:
    """0.2 x + 0.5, limited to [0, 1]."""
    return math.clip_by_value(math.add(math.multiply(x, 0.2), 0.5), 0.0, 1.0)


def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) / sum(exp(x)) along an axis."""
    return nn.softmax(x, axis)


def l2_normalize(x: Any, axis: Any = None) -> Any:
    """X divided by its Euclidean norm along axes."""
    return linalg.l2_normalize(x, axis)


def switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    """One value or the other; each may be a function of no arguments.

    A scalar condition chooses between wholes; one with fewer axes than the values chooses
    along their leading axes.
    """
    chosen = as_tensor(condition)
    if not chosen.dtype.is_bool:
        chosen = math.cast(chosen, bool_)
    if chosen.ndim == 0 and chosen.recorder is None:
        taken = then_expression if builtins.bool(chosen) else else_expression
        return taken() if callable(taken) else as_tensor(taken)
    then, other = same_dtype(
        *(v() if callable(v) else v for v in (then_expression, else_expression))
    )
    if chosen.ndim > then.ndim:
        raise invalid(
            "Rank of `condition` should be less than or equal to rank of `then_expression` and "
            f"`else_expression`. ndim(condition)={chosen.ndim}, "
            f"ndim(then_expression)={then.ndim}"
        )
    column = (*chosen.type.shape, *(1 for _ in range(then.ndim - chosen.ndim)))
    return math.where(_shape.reshape(chosen, column), then, other)
