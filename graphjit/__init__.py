"""graphjit: trace NumPy- and TensorFlow-style Python into a graph, optimise it, compile it."""

from __future__ import annotations

from pathlib import Path as _Path
from typing import TYPE_CHECKING, Any

if not (_Path(__file__).parent / "passes").exists():
    # a checkout, where the folders of the package stand side by side
    __path__.append(str(_Path(__file__).resolve().parent.parent))

from . import errors, memory
from .config import config
from .functions import create as _create
from .functions import index as _index
from .functions import linalg, nn
from .functions import math as _math
from .functions import reduce as _reduce
from .functions import shape as _shape
from .functions.create import *  # noqa: F403
from .functions.index import *  # noqa: F403
from .functions.linalg import einsum, matmul, matvec, norm, tensordot
from .functions.math import *  # noqa: F403
from .functions.nn import (
    gelu,
    layer_norm,
    log_softmax,
    relu,
    silu,
    softmax,
)
from .functions.reduce import *  # noqa: F403
from .functions.shape import *  # noqa: F403
from .ir import Graph
from .jit import FallbackWarning, Function, RecompileWarning, function
from .tensor import Tensor, TensorSpec, from_dlpack
from .types import (
    DType,
    TensorShape,
    as_dtype,
    bfloat16,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from .types import bool_ as bool
from .variable import IndexedSlices, Variable

if TYPE_CHECKING:
    from . import keras

__version__ = "0.1.0"

newaxis = None
eager = config.eager  # after the imports, which bind the sub-module of that name
half, double = float16, float64

# NumPy's and TensorFlow's second names for the same functions.
sum, prod, mean = reduce_sum, reduce_prod, reduce_mean  # noqa: F405
max, min = reduce_max, reduce_min  # noqa: F405
any, all = reduce_any, reduce_all  # noqa: F405
var, std = reduce_variance, reduce_std  # noqa: F405
logsumexp = reduce_logsumexp  # noqa: F405
arcsin, arccos, arctan, arctan2 = asin, acos, atan, atan2  # noqa: F405
arcsinh, arccosh, arctanh = asinh, acosh, atanh  # noqa: F405
true_divide, floor_divide, mod, remainder = divide, floordiv, floormod, floormod  # noqa: F405
truediv, power, absolute, clip = divide, pow, abs, clip_by_value  # noqa: F405
concatenate, take, isnan, isinf, isfinite = concat, gather, is_nan, is_inf, is_finite  # noqa: F405
permute_dims, bitwise_invert = transpose, bitwise_not  # noqa: F405
tensor_scatter_update = tensor_scatter_nd_update  # noqa: F405
dot = linalg.dot

__all__ = [
    "DType", "FallbackWarning", "Function", "Graph", "IndexedSlices", "RecompileWarning",
    "Tensor", "TensorShape",
    "TensorSpec", "Variable", "as_dtype", "bfloat16", "bool", "complex64", "complex128",
    "config", "eager", "einsum", "errors", "float16", "float32", "float64", "from_dlpack",
    "function", "gelu", "int8", "int16", "int32", "int64", "keras", "layer_norm", "linalg",
    "log_softmax", "matmul", "memory", "matvec", "newaxis", "nn", "norm", "relu", "silu",
    "softmax",     "tensordot", "uint8", "uint16", "uint32", "uint64",
]  # fmt: skip
for _module in (_create, _index, _math, _reduce, _shape):
    __all__ += _module.__all__


def __getattr__(name: str) -> Any:
    """Sub-modules that are imported when first used."""
    import importlib

    if name == "keras":
        return importlib.import_module("graphjit.keras")
    if name in ("signal", "special", "conv", "losses"):
        return importlib.import_module(f"graphjit.functions.{name}")
    raise AttributeError(f"module 'graphjit' has no attribute {name!r}")
