"""What the tests of native entry share: values, comparison, whether a call runs Python."""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphjit as gj
from graphjit import codegen, passes
from graphjit.core import object_layout

X = np.arange(4, dtype=np.float32)
NATIVE = object_layout.fits() and os.environ.get("GRAPHJIT_NATIVE_AFTER") != "never"
# where the package's code is
FOLDERS = tuple(
    str(Path(folder)) + os.sep
    for folder in (Path(gj.__file__).parent, codegen.__path__[0], passes.__path__[0])
)
native_only = pytest.mark.skipif(not NATIVE, reason="calls go through Python here")


def goes_through_python(call: Callable[[], Any]) -> bool:
    """Whether a call runs any of graphjit's Python code."""
    seen: list[str] = []

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            seen.append(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return any(name.startswith(FOLDERS) for name in seen)


def same(a: Any, b: Any) -> None:
    """Equal in type, structure and value."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        a, b = list(a.values()), list(b.values())
    if dataclasses.is_dataclass(a):
        a, b = vars(a), vars(b)
        same(a, b)
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            same(left, right)
    elif isinstance(a, gj.Tensor):
        assert a.type == b.type
        same(a.numpy(), b.numpy())
    else:
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None)
        np.testing.assert_array_equal(a, b)


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclasses.dataclass
class Model:
    w: Any
    b: Any


def t(value: Any) -> Any:
    return gj.constant(value)


SWAPPED = X.astype(X.dtype.newbyteorder())


def plus(x: Any) -> Any:
    return x + 1


class Layer:
    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.w = X + 1

    @gj.function
    def scaled(self, x: Any) -> Any:
        return x * self.scale

    @gj.function
    def weighted(self, x: Any) -> Any:
        return x * self.w

    @staticmethod
    @gj.function
    def doubled(x: Any) -> Any:
        return x * 2

    @classmethod
    @gj.function
    def named(cls, x: Any) -> Any:
        return x + len(cls.__name__)


TENSOR = gj.constant(X)


def together(work: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
