"""Traced values where they must not be: outside their trace, or in what outlives it."""

from __future__ import annotations

import gc
import types
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import LeakedTracerError, at_user_line
from graphjit.numpy_protocol.deferred_texts import DeferredText
from graphjit.numpy_protocol.masked_arrays import Selection

from .symbolic_tensor import SymbolicTensor

# Types whose objects hold no traced values, or none that matter.
_OPAQUE = (
    str, bytes, bool, int, float, complex, type(None), type, range, np.dtype, np.generic,
    types.ModuleType, types.CodeType, types.BuiltinFunctionType,
)  # fmt: skip
# Rooms whose objects stand for traced values and for what a run does with them.
_STAND_INS = ("capture", "numpy_protocol", "tracing")


def holds_traced(value: Any, depth: int = 4, most: int = 5000) -> bool:
    """Whether a value is a symbolic tensor or extent or another stand-in of a trace, or an
    object that holds one.

    Looked at are attributes, items, closures, and what else the garbage collector sees.
    """
    todo, seen = [(value, 0)], {id(value)}
    while todo:
        value, level = todo.pop()
        if isinstance(value, (SymbolicTensor, Dim, Selection, DeferredText)):
            return True
        if isinstance(value, _OPAQUE):
            continue
        package, _, rest = str(type(value).__module__).partition(".")
        if package == "graphjit" and (
            rest.partition(".")[0] in _STAND_INS or getattr(value, "trace", None) is not None
        ):
            return True
        if level == depth or package == "graphjit":
            continue
        if isinstance(value, types.FunctionType):
            items = [value.__closure__, value.__defaults__, value.__kwdefaults__]
        elif isinstance(value, np.ndarray):
            items = value.ravel().tolist() if value.dtype == object else []
        else:
            items = gc.get_referents(value)
        for item in items[:1000] if len(seen) < most else ():
            if id(item) not in seen:
                seen.add(id(item))
                todo.append((item, level + 1))
    return False


def leak_error(x: SymbolicTensor) -> LeakedTracerError:
    """The error for a symbolic tensor that is used outside its trace."""
    born = f", made {x.line.describe()}," if x.line else ""
    return LeakedTracerError(
        at_user_line(
            f"a symbolic tensor ({x.type}) of the trace of {x.recorder.builder.name!r}{born} "
            "is used outside that trace",
            "return values from the function instead of storing them",
        )
    )


__all__ = ["holds_traced", "leak_error"]
