"""graphjit: trace NumPy- and TensorFlow-style Python into a graph, optimise it, compile it.

Public names are imported from where they are defined when they are first used: see `_HOMES`
and `graphjit/functions/__init__.py`.
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
    from graphjit.functions import conv, linalg, losses, signal, special
    from graphjit.functions.control import *
    from graphjit.functions.create import *
    from graphjit.functions.elementwise import *
    from graphjit.functions.index import *
    from graphjit.functions.linalg import dot, einsum, matmul, matvec, norm, tensordot
    from graphjit.functions.loops import *
    from graphjit.functions.math import *
    from graphjit.functions.nn import gelu, layer_norm, log_softmax, relu, silu, softmax
    from graphjit.functions.reduce import *
    from graphjit.functions.second_names import *
    from graphjit.functions.shape import *
    from graphjit.functions.sorting import *
    from graphjit.functions.tensor_array import *
    from graphjit.ir.graph import Graph
    from graphjit.jit.fallback import FallbackWarning
    from graphjit.jit.function import Function, function
    from graphjit.jit.recompile import RecompileWarning
    from graphjit.tensors.tensor import Tensor, from_dlpack
    from graphjit.tensors.variable import IndexedSlices, Variable
    from graphjit.transforms.checkpoint import checkpoint, checkpoint_policies
    from graphjit.transforms.custom_rules import custom_gradient, custom_jvp, custom_vjp
    from graphjit.transforms.directional import hvp, jvp, linearize, vjp
    from graphjit.transforms.gradients import grad, stop_gradient, value_and_grad
    from graphjit.transforms.jacobians import hessian, jacfwd, jacobian, jacrev
    from graphjit.transforms.tape import GradientTape, UnconnectedGradients
    from graphjit.transforms.vmap import vectorized_map, vmap

    from . import debug, errors, keras, memory, nn, optimizers, random, testing

__version__ = "0.1.0"

newaxis = None
eager = config.eager
half, double = float16, float64

# Where public names are defined that aren't functions: `functions` has an index of those.
_HOMES = {
    "ir.graph": "Graph",
    "jit.fallback": "FallbackWarning",
    "jit.function": "Function function",
    "jit.recompile": "RecompileWarning",
    "tensors.tensor": "Tensor from_dlpack",
    "tensors.variable": "IndexedSlices Variable",
    "transforms.checkpoint": "checkpoint checkpoint_policies",
    "transforms.custom_rules": "custom_gradient custom_jvp custom_vjp",
    "transforms.directional": "hvp jvp linearize vjp",
    "transforms.gradients": "grad stop_gradient value_and_grad",
    "transforms.jacobians": "hessian jacfwd jacobian jacrev",
    "transforms.tape": "GradientTape UnconnectedGradients",
    "transforms.vmap": "vectorized_map vmap",
}
_HOME_OF = {_name: _home for _home, _names in _HOMES.items() for _name in _names.split()}
# Modules that are attributes without being imported by name.
_MODULES = {
    name: f"graphjit.{name}"
    for name in (
        "capture", "cli", "codegen", "core", "cuda", "debug", "errors", "export", "functions",
        "ir", "jit", "keras", "memory", "nn", "numpy_protocol", "ops", "optimizers", "passes",
        "random", "tensors", "testing", "tracing", "transforms",
    )
} | {
    name: f"graphjit.functions.{name}"
    for name in ("conv", "linalg", "losses", "signal", "special")
} | {"ptx": "graphjit.export.ptx"}  # fmt: skip

_STARRED = [
    "DType", "FallbackWarning", "Function", "Graph", "IndexedSlices", "RecompileWarning",
    "Tensor", "TensorShape",
    "TensorSpec", "Variable", "as_dtype", "bfloat16", "bool", "complex64", "complex128",
    "config", "eager", "einsum", "errors", "float16", "float32", "float64", "from_dlpack",
    "function", "gelu", "int8", "int16", "int32", "int64", "keras", "layer_norm", "linalg",
    "log_softmax", "matmul", "memory", "matvec", "newaxis", "nn", "norm", "relu", "silu",
    "softmax", "tensordot", "uint8", "uint16", "uint32", "uint64",
    "checkpoint", "checkpoint_policies",
    "grad", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jvp", "stop_gradient",
    "value_and_grad", "vectorized_map", "vjp", "vmap",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """A public name or a sub-module, when it is first used; from then on it is an attribute."""
    if name in _MODULES:
        with _importing():
            value: Any = _import_module(_MODULES[name])
    elif name in _HOME_OF:
        with _importing():
            value = getattr(_import_module(f"graphjit.{_HOME_OF[name]}"), name)
    elif name == "__all__":
        value = _STARRED + _import_module("graphjit.functions").starred_names()
    elif name.startswith("_"):
        raise AttributeError(f"module 'graphjit' has no attribute {name!r}")
    else:
        try:
            with _importing():
                value = _import_module("graphjit.functions").find(name)
        except LookupError:
            raise AttributeError(f"module 'graphjit' has no attribute {name!r}") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    functions = _import_module("graphjit.functions").public_names()
    return sorted({*globals(), *_HOME_OF, *_MODULES, *functions})
