"""NumPy's and TensorFlow's second names for the same functions."""

from .index import gather, tensor_scatter_nd_update
from .math import (
    clip_by_value,
    divide,
    floordiv,
    floormod,
    is_finite,
    is_inf,
    is_nan,
)
from .reduce import (
    reduce_all,
    reduce_any,
    reduce_logsumexp,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_prod,
    reduce_std,
    reduce_sum,
    reduce_variance,
)
from .shape import concat, transpose

sum, prod, mean = reduce_sum, reduce_prod, reduce_mean
max, min = reduce_max, reduce_min
any, all = reduce_any, reduce_all
var, std = reduce_variance, reduce_std
logsumexp = reduce_logsumexp
true_divide, floor_divide, mod, remainder = divide, floordiv, floormod, floormod
truediv, clip = divide, clip_by_value
concatenate, take, isnan, isinf, isfinite = concat, gather, is_nan, is_inf, is_finite
permute_dims = transpose
tensor_scatter_update = tensor_scatter_nd_update

__all__ = [
    "all", "any", "clip", "concatenate", "floor_divide", "isfinite", "isinf", "isnan",
    "logsumexp", "max", "mean", "min", "mod", "permute_dims", "prod", "remainder", "std", "sum",
    "take", "tensor_scatter_update", "true_divide", "truediv", "var",
]  # fmt: skip
