"""Texts of traced values: printed, stored, returned as undecorated code has them."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj

X = np.linspace(0.5, 3, 6)
LOG: list[Any] = []


def appended(x: Any) -> Any:
    LOG.append(f"{x.sum():.2f}")
    LOG.append(float(x[0]))
    return x


def printed(x: Any) -> Any:
    print(x, x.sum(), f"{x.mean():.3f}", [x[0], float(x[1])], {"a": x})
    return x * 2


def written_later(x: Any) -> Any:
    y = x * 2
    text = f"{y}"
    y[0] = 100
    return text, y


def in_a_dict(x: Any) -> Any:
    found = {"k": f"{x[0]:.1f}"}
    found[f"{1}"] = x[0]
    return found


def caught(x: Any) -> Any:
    try:
        if x.sum() > 12:
            raise ValueError(f"bad {x[0]:.2f}")
    except ValueError as error:
        return str(error)
    return "fine"


def joined(x: Any) -> Any:
    text = ""
    for v in x:
        text += f"{v:.2f},"
    return text


COMPILED: dict[str, Callable[[Any], Any]] = {
    "f-string": lambda x: f"{x.sum():.2f} and {x[0]} {len(x)}",
    "percent": lambda x: "%.3f|%s" % (x.mean(), x),  # noqa: UP031
    "percent of one": lambda x: "x=%s" % x,  # noqa: UP031
    "percent with conversions": lambda x: "%d %r" % (x[0], float(x[1])),  # noqa: UP031
    "format": lambda x: "{:.3f} {a}".format(x.mean(), a=x[:2]),  # noqa: UP032
    "join": lambda x: ", ".join([f"{v:.1f}" for v in x]).upper(),
    "str and repr": lambda x: str(float(x[0])) + repr(x[1]) + str(x),
    "conversions": lambda x: (f"{x[0]!r:>20}", f"{x[0]!s}", f"{x[0]!a}", f"{[x[1]]}"),
    "of a list": lambda x: str([x[0], (x[1], 2)]),
    "width that is known": lambda x: (f"{x}".ljust(80), f"{x[0]:.{len(x)}f}"),
    "numbers of Python": lambda x: (
        f"{np.sum(x > 1)} {int(x[0])} {bool(x[0] > 1)} {float(x[0])}"
    ),
    "repeated": lambda x: "a" + f"{x[0]}" * 2 + "b",
    "enumerate": lambda x: [f"{i}: {v}" for i, v in enumerate(x)],
    "nested": lambda x: {"m": f"{x.max():>10.2f}|", "v": x.max()},
    "appended": appended,
    "printed": printed,
    "written later": written_later,
    "in a dict": in_a_dict,
    "joined": joined,
}
EAGER: dict[str, Callable[[Any], Any]] = {
    "length": lambda x: len(f"{x[0]:.1f}"),
    "comparison": lambda x: x if f"{x[0]:.1f}" == "0.5" else x * 2,
    "key": lambda x: {f"{x[0]}": 1},
    "element": lambda x: np.array([f"{x[0]}"]),
    "parsed": lambda x: float(f"{x[0]}"),
    "parts": lambda x: f"{x.mean():.3f}".split("."),
    "character": lambda x: f"{x.mean():.3f}"[0],
    "inside": lambda x: "5" in f"{x[0]}",
    "truth": lambda x: 1 if f"{x[0]}" else 2,
    "sorted": lambda x: sorted([f"{x[0]}", f"{x[1]}"]),
    "encoded": lambda x: f"{x[0]}".encode(),
    "found": lambda x: f"{x[0]}".find("."),
    "caught": caught,
}


def seen(function: Callable[[Any], Any], x: Any) -> tuple[str, str, str]:
    LOG.clear()
    with contextlib.redirect_stdout(io.StringIO()) as out:
        result = function(x)
    return repr(result), out.getvalue(), repr(LOG)


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_is_the_text_of_undecorated_code(name: str, dtype: type) -> None:
    function = COMPILED[name]
    f = gj.function(function, fallback="error")
    for k in range(3):
        x = (X + k).astype(dtype)
        assert seen(f, x.copy()) == seen(function, x.copy())


@pytest.mark.parametrize("name", EAGER)
def test_what_looks_into_a_text_runs_eagerly(name: str) -> None:
    function = EAGER[name]
    f = gj.function(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gj.FallbackWarning)
        for k in range(4):
            assert seen(f, X + k) == seen(function, X + k)
    if name != "caught":
        with pytest.raises(gj.errors.TracingError, match="needs the value"):
            gj.function(function, fallback="error")(X)


def test_texts_of_integers_and_masks() -> None:
    def show(x: Any) -> Any:
        return f"{x}{x.sum()}{x[0]:4d}", f"{x > 2}", str((x > 2).any())

    f = gj.function(show, fallback="error")
    for x in (np.arange(4), np.arange(5, dtype=np.int8), np.zeros(3, np.uint16)):
        assert f(x) == show(x)


def test_a_number_that_varies_is_shown_as_it_is() -> None:
    f = gj.function(lambda x, n: (f"{n}", x * n), fallback="error")
    for n in (1, 2, 2.5, 1e300, -0.0):
        assert f(X, n)[0] == f"{n}"
