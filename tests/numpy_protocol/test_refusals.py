"""What traced code raises where NumPy refuses: handlers take it for what NumPy raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj

pytestmark = pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
KINDS = (
    ValueError, IndexError, LookupError, TypeError, ArithmeticError, ZeroDivisionError,
    np.linalg.LinAlgError, RuntimeError, np.exceptions.AxisError,
)  # fmt: skip
X, M, AT = np.arange(3.0), np.arange(9.0).reshape(3, 3), np.array([9])


def _written(x: Any, key: Any, value: Any) -> Any:
    y = x.copy()
    y[key] = value
    return y


REFUSED: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (lambda x: x[5], (X,)),
    (lambda x: x[-5], (X,)),
    (lambda x, i: x[i], (X, AT)),
    (lambda x, i: x[i], (X, 9)),
    (lambda x: x[0, 0], (X,)),
    (lambda x: x[1.5], (X,)),
    (lambda x: x["a"], (X,)),
    (lambda x: x[np.array([True, False])], (X,)),
    (lambda x, i: np.take(x, i), (X, AT)),
    (lambda x, i: np.take_along_axis(x, i, 0), (X, AT)),
    (lambda x: np.delete(x, 7), (X,)),
    (lambda x: _written(x, 7, 1.0), (X,)),
    (lambda x, i: _written(x, i, 1.0), (X, AT)),
    (lambda x: _written(x, slice(0, 2), np.ones(3)), (X,)),
    (lambda x: x + np.ones(4), (X,)),
    (lambda m: m @ np.ones(4), (M,)),
    (lambda m: np.einsum("ijk", m), (M,)),
    (lambda x: np.broadcast_to(x, (4,)), (X,)),
    (lambda x: np.concatenate([x, x], axis=3), (X,)),
    (lambda x, m: np.stack([x, m]), (X, M)),
    (lambda x: np.sum(x, axis=5), (X,)),
    (lambda x: np.sum(x, axis="a"), (X,)),
    (lambda m: np.sum(m, axis=(0, 0)), (M,)),
    (lambda m: m.transpose(0, 0), (M,)),
    (lambda x: np.split(x, 3, axis=5), (X,)),
    (lambda x: np.array_split(x, 2, axis=5), (X,)),
    (lambda x: np.split(x, 2), (X,)),
    (lambda x: np.trapezoid(x, axis=5), (X,)),
    (lambda x: np.fft.fft(x, axis=5), (X,)),
    (lambda m: np.linalg.norm(m, axis=5), (M,)),
    (lambda m: np.linalg.norm(m, axis=0.5), (M,)),
    (lambda x: x.reshape(2, 2), (X,)),
    (lambda x: x.reshape(-1, -1), (X,)),
    (lambda x: x.astype("nope"), (X,)),
    (lambda x: x.astype("int32", casting="safe"), (X,)),
    (lambda x: x & x, (X,)),
    (lambda x: -(x > 0), (X,)),
    (lambda m: np.linalg.inv(m), (np.zeros((3, 3)),)),
    (lambda m: np.linalg.solve(m, np.ones(4)), (M + np.eye(3),)),
    (lambda m: np.linalg.cholesky(m), (-np.eye(3),)),
    (lambda m: np.linalg.det(m), (np.ones((2, 3)),)),
    (lambda k, x: x * (k // 0), (3, X)),
    (lambda k, x: x * (k / 0), (3.0, X)),
    (lambda k, x: x * (1 % k), (0, X)),
    (lambda n: n // 0, (np.arange(3),)),
    (lambda x: x.max(), (np.ones(0),)),
    (lambda x: np.average(x, weights=np.zeros(3)), (X,)),
    (lambda x: np.sum(x, nope=1), (X,)),
]


@pytest.mark.parametrize(("body", "args"), REFUSED)
def test_handlers_take_an_error_for_what_numpy_raises(
    body: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    def kinds(call: Callable[..., Any]) -> list[type]:
        with np.errstate(all="ignore"):
            try:
                call(*args)
            except Exception as error:
                return [kind for kind in KINDS if isinstance(error, kind)]
        return []

    expected, fast = kinds(body), gj.function(body)
    assert kinds(fast) == kinds(fast) == expected
    try:
        gj.function(body, fallback="error")(*args)
    except gj.errors.TracingError:
        return  # it says so, and no handler of what NumPy raises has it
    except Exception as error:
        assert [kind for kind in KINDS if isinstance(error, kind)] == expected


@pytest.mark.parametrize(("kind", "caught"), [(ValueError, False), (IndexError, True)])
def test_a_handler_in_the_function(kind: type[Exception], caught: bool) -> None:
    def body(x: Any) -> Any:
        try:
            return x[5]
        except kind:
            return x * 2

    fast = gj.function(body, fallback="error")
    if caught:
        np.testing.assert_array_equal(fast(X), X * 2)
    else:
        with pytest.raises(IndexError):
            fast(X)
