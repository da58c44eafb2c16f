"""The limited-memory method of Broyden, Fletcher, Goldfarb and Shanno, as one compiled loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.tree import flatten, unflatten
from graphjit.functions.loops import while_loop
from graphjit.tensors.apply import TensorBase
from graphjit.transforms.differentiation import require_trace
from graphjit.transforms.gradients import value_and_grad
from graphjit.transforms.transformed import Transformed

# Of the strong Wolfe conditions: J. Nocedal and S. Wright, "Numerical Optimization", 2006.
_DECREASE: Final = 1e-4
_CURVATURE: Final = 0.9


class Minimum(NamedTuple):
    """What `gj.optimizers.lbfgs` found.

    x: in the structure of x0; value, gradient: of the function there; steps: how many were
    made; evaluations: how often the function and its gradient were computed; converged:
    whether no part of the gradient is larger than `gradient_tolerance`
    """

    x: Any
    value: Any
    gradient: Any
    steps: Any
    evaluations: Any
    converged: Any


def lbfgs(
    fun: Callable[..., Any],
    x0: Any,
    *args: Any,
    memory_size: int = 10,
    max_steps: int = 100,
    gradient_tolerance: float = 1e-5,
    max_line_search_steps: int = 20,
) -> Minimum:
    """A local minimum of `fun(x, *args)`, one float, from x0 on.

    x0: any structure of arrays of one dtype, float32 or float64. memory_size: of how many steps
    the change of the gradient is kept. It ends after `max_steps`, where no part of the gradient
    is larger than `gradient_tolerance`, or where no smaller value is found along a direction in
    `max_line_search_steps`. Steps meet the strong Wolfe conditions (Nocedal and Wright, 2006).

    The loop is part of the compiled function that it is called in, and else compiled. Raises
    InvalidArgumentError for other arguments, and what `gj.value_and_grad` raises.
    """
    for name, n in (
        ("memory_size", memory_size),
        ("max_steps", max_steps),
        ("max_line_search_steps", max_line_search_steps),
    ):
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise InvalidArgumentError(at_user_line(f"{name} is a positive int, not {n!r}"))
    options = memory_size, max_steps, float(gradient_tolerance), max_line_search_steps
    found: Minimum = Transformed(fun, _minimize, *options, needs_trace=True)(x0, *args)
    return found


class _Vector:
    """A structure of arrays as one vector."""

    def __init__(self, x: Any) -> None:
        leaves: list[Any] = []
        self._tree = flatten(x, leaves)
        for leaf in leaves:
            if not isinstance(leaf, (TensorBase, np.ndarray, np.generic, float)):
                raise InvalidArgumentError(
                    at_user_line(f"a minimum by a {type(leaf).__name__} [Op:lbfgs]")
                )
        self._shapes = [tuple(np.shape(leaf)) for leaf in leaves]
        dtypes = {getattr(leaf, "dtype", np.dtype(float)) for leaf in leaves}
        names = sorted(str(getattr(t, "name", t)) for t in dtypes)
        if names not in (["float32"], ["float64"]):
            raise InvalidArgumentError(
                at_user_line(
                    f"a minimum by arrays of {', '.join(names) or 'nothing'} [Op:lbfgs]"
                )
            )
        self.dtype = np.dtype(names[0])
        self.value = np.concatenate([np.reshape(leaf, (-1,)) for leaf in leaves])

    def structure(self, vector: Any) -> Any:
        """The structure that has the numbers of a vector."""
        parts, at = [], 0
        for shape in self._shapes:
            size = int(np.prod(shape, dtype=int))
            parts.append(np.reshape(vector[at : at + size], shape))
            at += size
        values = iter(parts)
        return unflatten(self._tree, lambda: next(values))


def _minimize(
    fun: Callable[..., Any],
    memory: int,
    max_steps: int,
    tolerance: float,
    max_tries: int,
    /,
    x0: Any,
    *args: Any,
) -> Minimum:
    require_trace("lbfgs")
    start = _Vector(x0)
    number = start.dtype.type
    slope = value_and_grad(lambda v: fun(start.structure(v), *args))
    value, gradient = slope(start.value)
    size = start.value.shape[0]
    none = np.zeros((memory, size), start.dtype)
    state = {
        "x": start.value, "value": value, "gradient": gradient, "steps_before": none,
        "changes": none, "weights": np.zeros(memory, start.dtype), "scale": number(1),
        "steps": np.int64(0), "evaluations": np.int64(1), "failed": np.bool_(False),
    }  # fmt: skip

    def goes_on(s: Any) -> Any:
        large = np.max(np.abs(s["gradient"])) > number(tolerance)
        return large & (s["steps"] < max_steps) & ~s["failed"]

    def step(s: Any) -> Any:
        direction = _direction(s, memory)
        along = s["gradient"] @ direction
        falls = along < 0
        direction = np.where(falls, direction, -s["gradient"])
        along = np.where(falls, along, -(s["gradient"] @ s["gradient"]))
        first = 1 / np.sum(np.abs(s["gradient"]))
        begin = np.where(s["steps"] == 0, np.minimum(first, number(1)), number(1))
        found = _search(slope, s, direction, along, begin, max_tries, number)
        return _after(s, direction, found, memory, number)

    end = while_loop(goes_on, step, state)
    converged = np.max(np.abs(end["gradient"])) <= number(tolerance)
    return Minimum(
        start.structure(end["x"]), end["value"], start.structure(end["gradient"]),
        end["steps"], end["evaluations"], converged,
    )  # fmt: skip


def _direction(s: Any, memory: int) -> Any:
    """Minus the inverse of the second derivative, as far as it is known, times the gradient:
    Nocedal and Wright, algorithm 7.4. What isn't known yet has a weight of 0.
    """
    q, parts = s["gradient"], []
    for k in reversed(range(memory)):
        part = s["weights"][k] * (s["steps_before"][k] @ q)
        q = q - part * s["changes"][k]
        parts.append(part)
    r = s["scale"] * q
    for k in range(memory):
        back = s["weights"][k] * (s["changes"][k] @ r)
        r = r + s["steps_before"][k] * (parts[memory - 1 - k] - back)
    return -r


def _search(
    slope: Callable[..., Any], s: Any, direction: Any, along: Any, begin: Any, tries: int,
    number: Any,
) -> Any:  # fmt: skip
    """A length along a direction that meets the strong Wolfe conditions.

    They are met somewhere between `low`, from where the function falls, and `high`, which is 0
    as long as none is known. Lengths between are by a cubic polynomial.
    """
    zero = number(0)
    state = {
        "length": begin, "low": zero, "low_value": s["value"], "low_along": along,
        "high": zero, "high_value": zero, "high_along": zero, "value": s["value"],
        "gradient": s["gradient"], "low_gradient": s["gradient"], "tries": np.int64(0),
        "found": np.bool_(False),
    }  # fmt: skip

    def goes_on(t: Any) -> Any:
        return ~t["found"] & (t["tries"] < tries)

    def try_one(t: Any) -> Any:
        length = t["length"]
        value, gradient = slope(s["x"] + length * direction)
        now = gradient @ direction
        most = s["value"] + number(_DECREASE) * length * along
        is_high = ~(value <= most) | ((value >= t["low_value"]) & (t["low"] > 0))
        is_high = is_high | ~np.isfinite(now)
        found = ~is_high & (np.abs(now) <= -number(_CURVATURE) * along)
        is_high = is_high | (now >= 0)
        low, high = np.where(is_high, t["low"], length), np.where(is_high, length, t["high"])
        new = {
            "low": low, "high": high,
            "low_value": np.where(is_high, t["low_value"], value),
            "low_along": np.where(is_high, t["low_along"], now),
            "high_value": np.where(is_high, value, t["high_value"]),
            "high_along": np.where(is_high, now, t["high_along"]),
            "low_gradient": np.where(is_high, t["low_gradient"], gradient),
        }  # fmt: skip
        further = np.where(high > 0, _between(new, number), 2 * length)
        new |= {
            "length": np.where(found, length, further), "value": value,
            "gradient": gradient, "tries": t["tries"] + 1, "found": found,
        }  # fmt: skip
        return {name: new[name] for name in t}

    return while_loop(goes_on, try_one, state)


def _between(t: Any, number: Any) -> Any:
    """Where a cubic polynomial of these values and slopes is least (Nocedal and Wright, 3.59),
    not too near to the ends; the middle where that is none.
    """
    low, high = t["low"], t["high"]
    width = high - low
    safe = np.where(width > 0, width, number(1))
    one = t["low_along"] + t["high_along"] - 3 * (t["high_value"] - t["low_value"]) / safe
    square = one * one - t["low_along"] * t["high_along"]
    two = np.sqrt(np.where(square > 0, square, number(0)))
    below = t["high_along"] - t["low_along"] + 2 * two
    divisor = np.where(below == 0, number(1), below)
    there = high - width * (t["high_along"] + two - one) / divisor
    middle = low + number(0.5) * width
    inside = np.isfinite(there) & (square > 0) & (below != 0)
    there = np.where(inside, there, middle)
    return np.clip(there, low + number(0.1) * width, low + number(0.9) * width)


def _after(s: Any, direction: Any, t: Any, memory: int, number: Any) -> Any:
    """The state after a step of the length that was found, or of the best one that wasn't."""
    moves = t["found"] | (t["low"] > 0)
    length = np.where(t["found"], t["length"], t["low"])
    value = np.where(t["found"], t["value"], t["low_value"])
    gradient = np.where(t["found"], t["gradient"], t["low_gradient"])
    step, change = length * direction, gradient - s["gradient"]
    product, square = step @ change, change @ change
    small = number(np.finfo(s["x"].dtype.name).eps) * square
    keeps = moves & (product > small)
    weight = 1 / np.where(keeps, product, number(1))

    def with_last(rows: Any, last: Any) -> Any:
        return np.where(keeps, np.concatenate([rows[1:], last]), rows)

    new = {
        "x": np.where(moves, s["x"] + step, s["x"]),
        "value": np.where(moves, value, s["value"]),
        "gradient": np.where(moves, gradient, s["gradient"]),
        "steps_before": with_last(s["steps_before"], step[None]),
        "changes": with_last(s["changes"], change[None]),
        "weights": with_last(s["weights"], weight[None]),
        "scale": np.where(keeps, product / np.where(keeps, square, number(1)), s["scale"]),
        "steps": s["steps"] + moves,
        "evaluations": s["evaluations"] + t["tries"],
        "failed": ~moves,
    }
    return {name: new[name] for name in s}


__all__ = ["Minimum", "lbfgs"]
