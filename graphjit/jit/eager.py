"""Running a decorated function eagerly, with results as compiled code would give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.core.tree import mapped
from graphjit.tensors.apply import TensorBase, as_tensor
from graphjit.tensors.tensor import Tensor
from graphjit.tensors.variable import Variable

if TYPE_CHECKING:
    from .definition import FunctionDefinition


def run_eagerly(
    definition: FunctionDefinition, args: Any, kwargs: Any, leaves: Sequence[Any]
) -> Any:
    """What the Python function gives, with arrays of the type that compiled code gives.

    leaves: those of the arguments.
    """
    value = definition.python_function(*args, **kwargs)
    return convert_results(definition.wants_numpy(leaves), value)


def convert_results(numpy: bool | None, value: Any, *leaves: Any) -> Any:
    """What a function gave eagerly, with arrays of the type that compiled code gives.

    numpy: whether arrays are ndarrays, None for what the Python code makes. The leaves of the
    arguments, which machine code passes, don't matter.
    """
    return mapped(value, lambda x: _convert_result(x, numpy))


def _convert_result(x: Any, numpy: bool | None) -> Any:
    if not is_converted(x, numpy):
        return x
    if isinstance(x, Variable):
        x = x.as_tensor()
    if numpy and isinstance(x, Tensor):
        array = np.array(x._array)
        return array if array.shape else array[()]
    return x if isinstance(x, TensorBase) else as_tensor(x)


def is_converted(x: Any, numpy: bool | None) -> bool:
    """Whether a result is given as another type of array than the Python code's, or as a
    variable's value.

    numpy: whether results are ndarrays, None for what the Python code makes.
    """
    if isinstance(x, Variable):
        return True
    if numpy is None:
        return False
    if isinstance(x, TensorBase):
        origin = getattr(x, "origin", "tensor")
        return origin != "weak" and numpy == (origin == "tensor")
    is_array = isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "biufcV"
    return is_array and not numpy


__all__ = ["convert_results", "is_converted", "run_eagerly"]
