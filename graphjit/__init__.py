"""graphjit: trace NumPy- and TensorFlow-style Python into a graph, optimise it, compile it.

Public names are imported from where they are defined when they are first used: see `_HOMES`.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from pathlib import Path as _Path
from typing import TYPE_CHECKING, Any

from numpy import __version__ as _numpy_version

if tuple(map(int, _numpy_version.split(".")[:2])) < (
    2,
    3,
):  # an installer may have been overruled
    raise ImportError(f"graphjit needs NumPy 2.3 or later, and this is {_numpy_version}")
if not (_Path(__file__).parent / "passes").exists():
    # a checkout, where the folders of the package stand side by side
    __path__.append(str(_Path(__file__).resolve().parent.parent))

from graphjit.core.config import config
from graphjit.core.fork_safety import importing as _importing
from graphjit.core.types import (
    DType,
    TensorShape,
    TensorSpec,
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
from graphjit.core.types import bool_ as bool

if TYPE_CHECKING:
    from graphjit.functions import conv, linalg, losses, nn, signal, special
    from graphjit.functions.control import *
    from graphjit.functions.create import *
    from graphjit.functions.index import *
    from graphjit.functions.linalg import dot, einsum, matmul, matvec, norm, tensordot
    from graphjit.functions.math import *
    from graphjit.functions.nn import gelu, layer_norm, log_softmax, relu, silu, softmax
    from graphjit.functions.reduce import *
    from graphjit.functions.second_names import *
    from graphjit.functions.shape import *
    from graphjit.ir.graph import Graph
    from graphjit.jit.fallback import FallbackWarning
    from graphjit.jit.function import Function, function
    from graphjit.jit.recompile import RecompileWarning
    from graphjit.tensors.tensor import Tensor, from_dlpack
    from graphjit.tensors.variable import IndexedSlices, Variable

    from . import errors, keras, memory

__version__ = "0.1.0"

newaxis = None
eager = config.eager
half, double = float16, float64

# Where the public names are defined.
_HOMES = {
    "functions.create": """
        arange asarray constant convert_to_tensor empty empty_like eye fill full full_like
        linspace ones ones_like range tril triu zeros zeros_like
    """,
    "functions.control": "cond fori_loop",
    "functions.index": """
        argsort boolean_mask gather gather_nd one_hot scatter_nd searchsorted sequence_mask
        sort take_along_axis tensor_scatter_nd_add tensor_scatter_nd_max tensor_scatter_nd_min
        tensor_scatter_nd_sub tensor_scatter_nd_update top_k unique unsorted_segment_max
        unsorted_segment_sum
    """,
    "functions.math": """
        abs acos acosh add angle asin asinh atan atan2 atanh bitcast bitwise_and bitwise_not
        bitwise_or bitwise_xor cast cbrt ceil clip_by_value complex conj copysign cos cosh
        divide divide_no_nan equal erf erfc exp exp2 expm1 floor floordiv floormod gamma
        greater greater_equal hypot imag invert is_finite is_inf is_nan left_shift lerp less
        less_equal lgamma log log10 log1p log2 logaddexp logical_and logical_not logical_or
        logical_xor maximum minimum multiply negative nextafter not_equal polar polyval
        population_count pow real reciprocal right_shift rint round rsqrt saturate_cast
        sigmoid sign signbit sin sinh softplus sqrt square squared_difference subtract tan
        tanh trunc truncatemod where xdivy xlog1py xlogy
    """,
    "functions.reduce": """
        argmax argmin count_nonzero cummax cummin cumprod cumsum reduce_all reduce_any
        reduce_euclidean_norm reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod
        reduce_std reduce_sum reduce_variance
    """,
    "functions.shape": """
        broadcast_static_shape broadcast_to concat diag diag_part expand_dims flip identity
        meshgrid moveaxis pad rank repeat reshape reverse roll rot90 shape size slice split
        squeeze stack swapaxes tile transpose unstack
    """,
    "functions.second_names": """
        absolute all any arccos arccosh arcsin arcsinh arctan arctan2 arctanh bitwise_invert
        clip concatenate floor_divide isfinite isinf isnan logsumexp max mean min mod
        permute_dims power prod remainder std sum take tensor_scatter_update true_divide
        truediv var
    """,
    "functions.linalg": "dot einsum matmul matvec norm tensordot",
    "functions.nn": "gelu layer_norm log_softmax relu silu softmax",
    "ir.graph": "Graph",
    "jit.fallback": "FallbackWarning",
    "jit.function": "Function function",
    "jit.recompile": "RecompileWarning",
    "tensors.tensor": "Tensor from_dlpack",
    "tensors.variable": "IndexedSlices Variable",
}
_HOME_OF = {_name: _home for _home, _names in _HOMES.items() for _name in _names.split()}
# Modules that are attributes without being imported by name.
_MODULES = {
    name: f"graphjit.{name}"
    for name in (
        "cli", "codegen", "core", "cuda", "errors", "functions", "ir", "jit", "keras", "memory",
        "numpy_protocol", "ops", "passes", "tensors", "tracing",
    )
} | {
    name: f"graphjit.functions.{name}"
    for name in ("conv", "linalg", "losses", "nn", "signal", "special")
} | {"ptx": "graphjit.cli.ptx"}  # fmt: skip

__all__ = [
    "DType", "FallbackWarning", "Function", "Graph", "IndexedSlices", "RecompileWarning",
    "Tensor", "TensorShape",
    "TensorSpec", "Variable", "as_dtype", "bfloat16", "bool", "complex64", "complex128",
    "config", "eager", "einsum", "errors", "float16", "float32", "float64", "from_dlpack",
    "function", "gelu", "int8", "int16", "int32", "int64", "keras", "layer_norm", "linalg",
    "log_softmax", "matmul", "memory", "matvec", "newaxis", "nn", "norm", "relu", "silu",
    "softmax", "tensordot", "uint8", "uint16", "uint32", "uint64",
]  # fmt: skip
for _name in ("control", "create", "index", "math", "reduce", "shape"):
    __all__ += _HOMES[f"functions.{_name}"].split()


def __getattr__(name: str) -> Any:
    """A public name or a sub-module, when it is first used; from then on it is an attribute."""
    if name in _MODULES:
        with _importing():
            value: Any = _import_module(_MODULES[name])
    elif name in _HOME_OF:
        with _importing():
            value = getattr(_import_module(f"graphjit.{_HOME_OF[name]}"), name)
    else:
        raise AttributeError(f"module 'graphjit' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF, *_MODULES})
