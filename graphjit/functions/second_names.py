"""NumPy's and TensorFlow's second names for the same functions."""

from .index import gather, tensor_scatter_nd_update
from .math import (
    abs,
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    bitwise_not,
    clip_by_value,
    divide,
    floordiv,
    floormod,
    is_finite,
    is_inf,
    is_nan,
    pow,
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
arcsin, arccos, arctan, arctan2 = asin, acos, atan, atan2
arcsinh, arccosh, arctanh = asinh, acosh, atanh
true_divide, floor_divide, mod, remainder = divide, floordiv, floormod, floormod
truediv, power, absolute, clip = divide, pow, abs, clip_by_value
concatenate, take, isnan, isinf, isfinite = concat, gather, is_nan, is_inf, is_finite
permute_dims, bitwise_invert = transpose, bitwise_not
tensor_scatter_update = tensor_scatter_nd_update

__all__ = [
    "absolute", "all", "any", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2",
    "arctanh", "bitwise_invert", "clip", "concatenate", "floor_divide", "isfinite", "isinf",
    "isnan", "logsumexp", "max", "mean", "min", "mod", "permute_dims", "power", "prod",
    "remainder", "std", "sum", "take", "tensor_scatter_update", "true_divide", "truediv", "var",
]  # fmt: skip
