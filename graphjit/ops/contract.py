"""Matrix product."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import Array, TensorType, broadcast_shapes, check_size, shape_text

from .primitive import Contract, define
from .type_rules import require_kind, require_same_dtype


def _matmul_type(a: TensorType, b: TensorType) -> TensorType:
    dtype = require_same_dtype((a, b), "MatMul")
    require_kind(dtype, "iufc", "MatMul")
    if a.ndim < 2 or b.ndim < 2:
        raise InvalidArgumentError(
            at_user_line(
                f"In[0] and In[1] must be matrices, not {shape_text(a.shape)} and "
                f"{shape_text(b.shape)} [Op:MatMul]"
            )
        )
    if a.shape[-1] != b.shape[-2]:
        raise InvalidArgumentError(
            at_user_line(
                f"Matrix size-incompatible: In[0]: {shape_text(a.shape)}, "
                f"In[1]: {shape_text(b.shape)} [Op:MatMul]"
            )
        )
    batch = broadcast_shapes((a.shape[:-2], b.shape[:-2]), "BatchMatMulV2")
    shape = (*batch, a.shape[-2], b.shape[-1])
    check_size(shape, dtype, "MatMul")
    return TensorType(shape, dtype)


def _matmul_numpy(a: Array, b: Array) -> Any:
    if a.dtype.kind == "V" or a.dtype == np.float16:
        return np.matmul(a.astype(np.float32), b.astype(np.float32)).astype(a.dtype)
    return np.matmul(a, b)


# a [..., m, k] times b [..., k, n] gives [..., m, n]; the leading axes broadcast.
matmul = define("matmul", Contract(), _matmul_type, _matmul_numpy, tensorflow="MatMul")
