"""Differences from NumPy that are on purpose, each with its reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sweep_arguments import Array
from sweep_calls import Case, Raised, copies, filled, outcome


# What differs on purpose: (reason, which). A case that differs and is none of these is a fault.
@dataclass(frozen=True)
class Purpose:
    """Why some results differ, and which: functions by name, and a test of the case."""

    reason: str
    names: frozenset[str]
    test: Callable[[Case, Any, Any], bool] = lambda case, actual, expected: True


def purpose_of(case: Case, found: str, actual: Any, expected: Any) -> str:
    """The reason for a difference that is on purpose; empty where it is a fault."""
    for purpose in ON_PURPOSE:
        if (not purpose.names or case.name in purpose.names) and purpose.test(
            case, actual, expected
        ):
            return purpose.reason
    return ""


def _has_complex_extremes(case: Case, actual: Any, expected: Any) -> bool:
    """Whether complex numbers that aren't finite, or nearly, were computed with."""
    arrays = [np.asarray(x) for x in (*case.leaves, actual, expected) if not _is_tree(x)]
    arrays += [
        np.asarray(y) for x in (actual, expected) if _is_tree(x) for y in x if y is not None
    ]
    numeric = [a for a in arrays if a.dtype.kind in "fciu"]
    return any(a.dtype.kind == "c" for a in numeric) and any(
        bool((~np.isfinite(a)).any()) or bool((np.abs(a) > 1e18).any())
        or bool((np.abs(a[a != 0]) < 1e-18).any()) or bool((a == 0).any())
        for a in numeric
    )  # fmt: skip


def _is_tree(value: Any) -> bool:
    return isinstance(value, (list, tuple, Raised))


def _zeros_only(case: Case, actual: Any, expected: Any) -> bool:
    """Whether results are equal but for the signs of zeros."""
    if isinstance(actual, (list, tuple)) and isinstance(expected, (list, tuple)):
        return all(_zeros_only(case, a, e) for a, e in zip(actual, expected, strict=True))
    if _is_tree(actual) or _is_tree(expected):
        return False
    return bool(np.array_equal(actual, expected, equal_nan=True))


def _both_raise(case: Case, actual: Any, expected: Any) -> bool:
    return isinstance(actual, Raised) and isinstance(expected, Raised)


def _other_fault(case: Case, actual: Any, expected: Any) -> bool:
    """Whether NumPy raises the error that was raised for a part of what is wrong: without one
    of the options, or with arrays of another dtype, or of another shape.
    """
    if not _both_raise(case, actual, expected):
        return False
    changes: tuple[Callable[[Array], Array], ...] = (
        lambda x: x.real.astype("f8"), lambda x: x.real.astype("i8"), np.ones_like,
        lambda x: np.resize(x, (3, 3)), lambda x: np.resize(x, 3),
        lambda x: np.resize(x.real.astype("f8"), (3, 3)),
    )  # fmt: skip
    less: list[Any] = []
    for options in (
        *({k: v for k, v in case.options.items() if k != name} for name in case.options),
        *(case.options | {name: 0} for name in case.options),
    ):
        less.append(
            lambda given, options=options: case.function(
                *filled(case.arguments, given), **filled(options, given)
            )
        )
    for change in changes:
        less.append(
            lambda given, change=change: case.call(
                [change(x) if isinstance(x, np.ndarray) else x for x in given]
            )
        )
    found = (outcome(call, copies(case.leaves)) for call in less)
    return any(isinstance(x, Raised) and x.kinds[0] in actual.kinds for x in found)


def _differs_in_unsigned(case: Case, actual: Any, expected: Any) -> bool:
    if _is_tree(actual) or _is_tree(expected) or np.asarray(expected).dtype != np.uint32:
        return False
    return any(
        x.dtype.kind in "fc" and bool((~(np.abs(x) < 2**32)).any())
        for x in case.leaves
        if isinstance(x, np.ndarray)
    )


def _transforms(case: Case, actual: Any, expected: Any) -> bool:
    return "fft" in case.rules and case.fill in ("nan", "infinite", "special")


ON_PURPOSE = (
    Purpose(
        "products, powers and functions of complex numbers at infinities, NaN, zeros and "
        "beyond the square root of the range follow C99; NumPy's depend on the processor",
        frozenset(),
        lambda case, a, e: not case.exact and not _both_raise(case, a, e)
        and not isinstance(a, Raised) and not isinstance(e, Raised)
        and type(a) is type(e) and _has_complex_extremes(case, a, e),
    ),
    Purpose(
        "of two zeros minimum and maximum take -0.0 for the smaller; NumPy's choice depends on "
        "the processor and the place in the array",
        frozenset(),
        lambda case, a, e: bool(
            {"minimum", "maximum", "fmin", "fmax", "min", "max", "cummin", "cummax"}
            & set(case.rules)
        ) and _zeros_only(case, a, e),
    ),
    Purpose(
        "where two things are wrong with a call, the error may be the other one's",
        frozenset(),
        _other_fault,
    ),
    Purpose(
        "what NaN and numbers out of range become as uint32 depends in NumPy on the processor "
        "and on the place in the array",
        frozenset(),
        lambda case, a, e: "cast" in case.rules and _differs_in_unsigned(case, a, e),
    ),
    Purpose(
        "comparisons of complex NumPy scalars with NaN in them are those of arrays",
        frozenset({"operator <", "operator <=", "operator >", "operator >="}),
        lambda case, a, e: isinstance(e, np.bool_) and case.fill in ("nan", "special"),
    ),
    Purpose(
        "sums and products are made in another order than NumPy's, those of narrow floats in "
        "float32: where partial ones overflow, infinity or NaN may come of it",
        frozenset(),
        lambda case, a, e: case.length > 1 and case.fill == "special"
        and not _is_tree(a) and not _is_tree(e) and type(a) is type(e),
    ),
    Purpose(
        "decompositions of matrices with infinities or NaN raise LinAlgError where NumPy's "
        "routine for singular values alone gives NaN",
        frozenset({"np.linalg.svdvals", "np.linalg.matrix_rank", "np.linalg.cond",
                   "np.linalg.norm", "np.linalg.matrix_norm", "np.linalg.svd"}),
        lambda case, a, e: isinstance(a, Raised) and case.fill in ("nan", "infinite",
        "special"),
    ),
    Purpose(
        "SciPy's gammaln of subnormal numbers is infinite; here it isn't",
        frozenset({"special.gammaln"}),
        lambda case, a, e: case.fill == "special",
    ),
    Purpose(
        "bfloat16 numbers are sorted with NaN last, as all floats; ml_dtypes leaves them in "
        "disorder",
        frozenset({"bfloat16 sort", "bfloat16 median"}),
        lambda case, a, e: case.fill in ("nan", "special"),
    ),
    Purpose(
        "bfloat16 numbers that an integer type doesn't have become what float32 ones do; with "
        "ml_dtypes 0.7 they become 0",
        frozenset({"bfloat16 astype"}),
        lambda case, a, e: case.fill != "plain" and np.asarray(e).dtype.kind in "iu",
    ),
    Purpose(
        "transforms of infinities and NaN give NaN in other places",
        frozenset(),
        _transforms,
    ),
)  # fmt: skip
