"""x[mask] of traced masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from decorated_checks import check_decorated, vectors

import graphjit as gj

SIZES = (3, 4, 5, 6, 2)


def increased(x: Any) -> Any:
    y = x.copy()
    y[y > 0] += 2
    y[x < 0] *= -1
    return y


def assigned(x: Any) -> Any:
    out = np.zeros(x.shape[0])
    out[x > 0] = x[x > 0]
    return out


def computed(x: Any) -> Any:
    mask, out = x > 0, np.full(x.shape[0], -1.0)
    out[mask] = np.sqrt(x[mask]) * 2 + 1 / x[mask]
    return out


def narrowed(x: Any) -> Any:
    y = x.astype(int)
    y[x > 0] = y[x > 0] * 0.7
    return y


def read_before_written(x: Any) -> Any:
    y = x.copy()
    chosen = y[y > 0]
    y[0] = 100
    return chosen.sum(), y


def of_matrices(x: Any) -> Any:
    products = np.outer(x, x)
    return products[products > 1].sum()


def changed_under_two_names(x: Any) -> Any:
    chosen = x[x > 0]
    others, held = chosen, [chosen]
    chosen += 1
    double = chosen * 2
    chosen *= double
    return others.sum(), held[0].sum(), double.sum()


def changed_in_a_helper(x: Any) -> Any:
    def increase(part: Any) -> None:
        part -= 3

    y, mask = x.copy(), x > 0
    chosen = y[mask]
    increase(chosen)
    y[mask] = chosen
    chosen *= 2
    return y, chosen.sum()


def asked_for_its_class(x: Any) -> Any:
    chosen = x[x > 0]
    known = isinstance(chosen, np.ndarray), type(chosen) is np.ndarray
    return chosen.sum() + sum(known) + hasattr(chosen, "_values")


def in_a_branch(x: Any) -> Any:
    return gj.cond(x.sum() > 0, lambda: x[x > 0].sum(), lambda: x.sum())


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[x > 0].sum(),
        lambda x: np.sum(x[x > 0]),
        lambda x: x[x > 0].mean(),
        lambda x: np.mean(x[x > 100]),
        lambda x: x[x > 0].prod(dtype=np.float32),
        lambda x: (x[x > 0] > 1).any(),
        lambda x: np.all(x[x > 0] < 1),
        lambda x: 0.5 * x[x > 0].sum() + (2 * x[x > 0] - x[x > 0] ** 2).sum(),
        lambda x: (x.max() * x[x > 0]).sum(),
        lambda x: ((-x[x > 0]).sum(), abs(x[x < 0]).sum(), x[~(x > 0)].sum()),
        lambda x: np.exp(x[(x > 0) & (x < 2)]).sum(),
        lambda x: x.astype(np.float32)[x > 0].mean(),
        lambda x: x.astype(np.float16)[x > 0].mean(),
        lambda x: x.astype(np.int8)[x > 0].sum(),
        lambda x: (x > 1)[x > 0].sum(),
        lambda x: (x[x > 0].dtype == np.float64, x[x > 0].ndim),
        lambda x: x[x > 0].sum() / x[x > 0].size,
        lambda x: x[x > 0].sum() / len(x[x > 0]),
        lambda x: x + 1 if x[x > 0].size else x * 2,
        increased, assigned, computed, narrowed, read_before_written, of_matrices,
        changed_under_two_names, changed_in_a_helper, asked_for_its_class,
    ],
)  # fmt: skip
def test_what_needs_no_shape_is_compiled(function: Callable[..., Any]) -> None:
    check_decorated(function, *vectors(*SIZES), traces=4, tolerance=1e-6)


def test_the_number_of_chosen_elements_is_a_number() -> None:
    check_decorated(lambda x: x.sum() / (len(x[x > 0]) + 1), *vectors(*SIZES), tolerance=1e-15)
    check_decorated(lambda x: x[x > 0].shape[0], *vectors(3, 4))


def test_selections_in_branches() -> None:
    check_decorated(in_a_branch, *vectors(*SIZES))


def test_numbers_from_outside_meet_selections() -> None:
    check_decorated(
        lambda x, factor: (factor * x[x > factor]).sum(),
        *((*v, number) for v in vectors(4, 5) for number in (0.5, 1.0, 0.0)),
        traces=3,
    )


def changed_mask(x: Any) -> Any:
    mask, out = x > 0, np.zeros(x.shape[0])
    chosen = x[mask]
    mask[0] = ~mask[0]
    out[mask] = chosen[: 1 if mask.sum() else 0]
    return out


def wrong_kind(x: Any) -> Any:
    y = x.astype(int)
    y[y > 0] += 0.5
    return y


def other_mask(x: Any) -> Any:
    out = np.zeros(x.shape[0])
    out[x > 0] = x[x > 1]
    return out


def stored_under_another(x: Any) -> Any:
    out, mask = np.zeros(x.shape[0]), x > 0
    chosen = x[mask]
    mask = x >= 0
    out[mask] = chosen
    return out


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[x > 0],
        lambda x: [x[x > 0]],
        lambda x: (x[x > 0].sum(), x[x > 0])[1],
        lambda x: x[x > 0][0],
        lambda x: x[x > 0] + x[:1],
        lambda x: x[x > 0] @ x[x > 0],
        lambda x: x[x > 0].max(),
        lambda x: x[x > 0].sum(axis=0),
        lambda x: np.sort(x[x > 0]),
        lambda x: np.asarray(x[x > 0]),
        lambda x: x[x > 0] + np.ones(3),
        changed_mask, other_mask, stored_under_another,
    ],
)  # fmt: skip
def test_what_needs_the_shape_is_put_together(function: Callable[..., Any]) -> None:
    f = both_ways(function)
    assert not any(s.reason for s in f.specializations)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: sum(x[x > 0]),
        lambda x: x[x > 0].tolist(),
        lambda x: len(str(x[x > 0])),
        wrong_kind,
    ],
)
def test_what_needs_all_elements_is_left_to_numpy(function: Callable[..., Any]) -> None:
    f = both_ways(function)
    assert all(s.reason for s in f.specializations)


def both_ways(function: Callable[..., Any]) -> Any:
    """Call a function decorated and undecorated; gives the decorated one."""
    f = gj.function(function)
    for x, *_ in vectors(3, 5):
        for _ in range(2):
            try:
                expected = function(x)
            except Exception as error:
                with pytest.raises(type(error)):
                    f(x)
                continue
            found = f(x)
            assert type(found) is type(expected)
            np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-12)
    return f


def test_selections_do_not_leak() -> None:
    kept = []

    def keeps(x: Any) -> Any:
        kept.append(x[x > 0])
        return x

    f = gj.function(keeps)
    x = np.arange(-1.0, 3.0)
    for _ in range(2):
        f(x)
    assert [k.tolist() for k in kept] == [[1.0, 2.0]] * 2


def shifted(x: Any) -> Any:
    chosen = x[x > 0]
    part = chosen[1:]
    part += 100
    return chosen


def doubled(x: Any) -> Any:
    chosen = x[x > 0]
    first = chosen[:2]
    chosen *= 2
    return first.sum(), chosen.sum()


def by_places(x: Any) -> Any:
    chosen = x[x > -9]
    chosen[0] = 7
    chosen[1:] = 3
    return chosen


def as_array(x: Any) -> Any:
    chosen = x[x > -9][:3]
    other = np.asarray(chosen)
    other[0] = 5
    return chosen


def in_another_shape(x: Any) -> Any:
    chosen = x[x > -9]
    column = chosen.reshape(-1, 1)
    flat = chosen.ravel()
    column += 1
    flat *= 2
    return chosen


@pytest.mark.parametrize("function", [shifted, doubled, by_places, as_array, in_another_shape])
@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_views_of_what_was_chosen(function: Callable[..., Any]) -> None:
    both_ways(function)
