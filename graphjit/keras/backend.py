"""The names of tf.keras.backend that are tensor operations, over graphjit's own functions.

Left out are the names that concern models, sessions, learning phases and strings.
"""

from __future__ import annotations

import builtins
import math as pymath
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import as_dtype, bool_, normalize_axis, shape_text
from graphjit.functions import conv, create, index, linalg, math, nn
from graphjit.functions import reduce as _reduce
from graphjit.functions import shape as _shape
from graphjit.tensors.apply import TensorBase, as_tensor, same_dtype, wrap
from graphjit.tensors.variable import Variable

from .random import (  # noqa: F401
    dropout,
    random_bernoulli,
    random_binomial,
    random_normal,
    random_normal_variable,
    random_uniform,
    random_uniform_variable,
    truncated_normal,
)

CHANNELS = ("channels_first", "channels_last")

# Keras keeps these three for the whole process, and so does this module.
_settings: dict[str, Any] = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
}


def floatx() -> str:
    """The name of the default float dtype."""
    name: str = _settings["floatx"]
    return name


def set_floatx(value: str) -> None:
    """Make a float dtype the default of this module's functions."""
    if value not in ("float16", "bfloat16", "float32", "float64"):
        raise InvalidArgumentError(
            at_user_line(
                f"Unknown `floatx` value: {value}. Expected one of float16, bfloat16, float32, "
                "float64"
            )
        )
    _settings["floatx"] = value


def epsilon() -> float:
    """The fuzz factor of losses."""
    value: float = _settings["epsilon"]
    return value


def set_epsilon(value: float) -> None:
    """Set the fuzz factor of losses."""
    _settings["epsilon"] = float(value)


def image_data_format() -> str:
    """The default place of channels: "channels_last" or "channels_first"."""
    name: str = _settings["image_data_format"]
    return name


def set_image_data_format(data_format: str) -> None:
    """Set the default place of channels."""
    _settings["image_data_format"] = _channels(data_format)


def _channels(data_format: str | None) -> str:
    chosen = image_data_format() if data_format is None else data_format
    if chosen not in CHANNELS:
        raise InvalidArgumentError(
            at_user_line(f"Unknown data_format: {chosen!r}. Expected one of {CHANNELS}")
        )
    return chosen


def backend() -> str:
    """The name of this backend."""
    return "graphjit"


def _bad(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(at_user_line(message))


def is_tensor(x: Any) -> bool:
    """Whether x is a tensor or a variable."""
    return isinstance(x, TensorBase)


def is_sparse(tensor: Any) -> bool:
    """Whether the tensor is sparse: never."""
    return False


def to_dense(tensor: Any) -> Any:
    """The tensor itself: none is sparse."""
    return as_tensor(tensor)


def dtype(x: Any) -> str:
    """The name of the element type."""
    return (x if isinstance(x, TensorBase) else as_tensor(x)).dtype.name


def int_shape(x: Any) -> tuple[int, ...]:
    """The extents, as ints."""
    return tuple((x if isinstance(x, TensorBase) else as_tensor(x)).type.shape)


def ndim(x: Any) -> int:
    """The number of axes."""
    return len(int_shape(x))


def shape(x: Any) -> Any:
    """The extents as a 1-d int32 tensor."""
    return _shape.shape(x)


def count_params(x: Any) -> int:
    """The number of elements."""
    return pymath.prod(int_shape(x))


def variable(value: Any, dtype: Any = None, name: str | None = None) -> Variable:
    """A variable of this value, of the default float dtype unless told."""
    return Variable(value, dtype=as_dtype(dtype or floatx()), name=name)


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str | None = None) -> Any:
    """A constant of this value, of the default float dtype unless told."""
    return create.constant(value, dtype or floatx(), shape)


def get_value(x: Any) -> Any:
    """The value of a variable or tensor as an ndarray."""
    return x.numpy() if isinstance(x, TensorBase) else x  # type: ignore[attr-defined]


eval = get_value


def set_value(x: Any, value: Any) -> None:
    """Set the value of a variable, cast to its dtype."""
    x.assign(np.asarray(value, dtype=x.dtype.dtype))


def batch_get_value(tensors: Sequence[Any]) -> list[Any]:
    """The values of several variables."""
    return [get_value(x) for x in tensors]


def batch_set_value(tuples: Sequence[tuple[Any, Any]]) -> None:
    """Set the values of several variables."""
    for x, value in tuples:
        set_value(x, value)


def update(x: Any, new_x: Any) -> Any:
    """Assign a new value to a variable."""
    return x.assign(new_x)


def update_add(x: Any, increment: Any) -> Any:
    """Add to a variable."""
    return x.assign_add(increment)


def update_sub(x: Any, decrement: Any) -> Any:
    """Subtract from a variable."""
    return x.assign_sub(decrement)


def moving_average_update(x: Any, value: Any, momentum: Any) -> Any:
    """Move a variable towards a value: x momentum + value (1 - momentum)."""
    step = math.subtract(x, math.cast(value, x.dtype))
    return x.assign_sub(math.multiply(step, math.subtract(1.0, as_tensor(momentum, x.dtype))))


def cast(x: Any, dtype: Any) -> Any:
    """X converted to a dtype."""
    return math.cast(x, dtype)


def cast_to_floatx(x: Any) -> Any:
    """X converted to the default float dtype: tensors to a tensor, all else to an ndarray."""
    if isinstance(x, TensorBase):
        return math.cast(x, floatx())
    return np.asarray(x, dtype=as_dtype(floatx()).dtype)


def zeros(shape: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Zeros."""
    return create.zeros(shape, dtype or floatx())


def ones(shape: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Ones."""
    return create.ones(shape, dtype or floatx())


def eye(size: Any, dtype: Any = None, name: str | None = None) -> Any:
    """The identity matrix, square or of a pair of extents."""
    rows, columns = size if isinstance(size, (tuple, list)) else (size, size)
    return create.eye(rows, columns, dtype=dtype or floatx())


def zeros_like(x: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Zeros of the shape of x."""
    return create.zeros_like(x, dtype)


def ones_like(x: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Ones of the shape of x."""
    return create.ones_like(x, dtype)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = "int32") -> Any:
    """start, start + step, … before stop; a negative start alone gives nothing."""
    if stop is None and start < 0:
        start = 0
    return math.cast(create.range(start, stop, step), dtype)


identity = _shape.identity


def stop_gradient(variables: Any) -> Any:
    """The value itself, or each of a list."""
    if isinstance(variables, (list, tuple)):
        return [as_tensor(x) for x in variables]
    return as_tensor(variables)


abs = math.abs
cos = math.cos
equal = math.equal
exp = math.exp
greater = math.greater
greater_equal = math.greater_equal
less = math.less
less_equal = math.less_equal
log = math.log
maximum = math.maximum
minimum = math.minimum
not_equal = math.not_equal
pow = math.pow
round = math.round
sigmoid = math.sigmoid
sign = math.sign
sin = math.sin
softplus = math.softplus
softsign = nn.softsign
square = math.square
tanh = math.tanh


def sqrt(x: Any) -> Any:
    """Square root, 0 of negative numbers."""
    return math.sqrt(math.maximum(x, 0.0))


def clip(x: Any, min_value: Any = None, max_value: Any = None) -> Any:
    """X limited to a range, open where a bound is None; the lower bound wins."""
    numbers = (int, float)
    if isinstance(min_value, numbers) and isinstance(max_value, numbers):
        max_value = builtins.max(min_value, max_value)
    x = as_tensor(x)
    if min_value is not None:
        x = math.maximum(x, as_tensor(min_value, x.dtype))
    return x if max_value is None else math.minimum(x, as_tensor(max_value, x.dtype))


def relu(x: Any, alpha: Any = 0.0, max_value: Any = None, threshold: Any = 0.0) -> Any:
    """X over the threshold, limited to [0, max_value] if given; alpha (x - threshold) below."""
    x = as_tensor(x)
    above = math.greater(x, threshold)
    if isinstance(alpha, (int, float)) and alpha == 0:
        below: Any = math.zeros_like_scalar(x)
    else:
        below = math.multiply(math.subtract(x, threshold), alpha)
    over = x if max_value is None else math.clip_by_value(x, 0.0, max_value)
    result = math.where(above, over, below)
    return math.where(math.is_nan(x), x, result) if x.dtype.is_floating else result


def elu(x: Any, alpha: Any = 1.0) -> Any:
    """X where it is positive, alpha (exp(x) - 1) elsewhere."""
    return nn.elu(x, alpha)


def hard_sigmoid(x: Any) -> Any:
    """0.2 x + 0.5, limited to [0, 1]."""
    return math.clip_by_value(math.add(math.multiply(x, 0.2), 0.5), 0.0, 1.0)


def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) / sum(exp(x)) along an axis."""
    return nn.softmax(x, axis)


def l2_normalize(x: Any, axis: Any = None) -> Any:
    """X divided by its Euclidean norm along axes."""
    return linalg.l2_normalize(x, axis)


def switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    """One value or the other; each may be a function of no arguments.

    A scalar condition chooses between wholes; one with fewer axes than the values chooses
    along their leading axes.
    """
    chosen = as_tensor(condition)
    if not chosen.dtype.is_bool:
        chosen = math.cast(chosen, bool_)
    if chosen.ndim == 0 and chosen.recorder is None:
        taken = then_expression if builtins.bool(chosen) else else_expression
        return taken() if callable(taken) else as_tensor(taken)
    then, other = same_dtype(
        *(v() if callable(v) else v for v in (then_expression, else_expression))
    )
    if chosen.ndim > then.ndim:
        raise _bad(
            "Rank of `condition` should be less than or equal to rank of `then_expression` and "
            f"`else_expression`. ndim(condition)={chosen.ndim}, "
            f"ndim(then_expression)={then.ndim}"
        )
    column = (*chosen.type.shape, *(1 for _ in range(then.ndim - chosen.ndim)))
    return math.where(_shape.reshape(chosen, column), then, other)


def _inexact(x: Any) -> Any:
    x = as_tensor(x)
    return math.cast(x, floatx()) if x.dtype.is_bool else x


def max(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Largest element."""
    return _reduce.reduce_max(x, axis, keepdims)


def min(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Smallest element."""
    return _reduce.reduce_min(x, axis, keepdims)


def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Sum; bools are refused, as TensorFlow does."""
    return _reduce.reduce_sum(x, axis, keepdims)


def prod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Product."""
    return _reduce.reduce_prod(x, axis, keepdims)


def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Mean; bools are cast to the default float dtype."""
    return _reduce.reduce_mean(_inexact(x), axis, keepdims)


def var(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Variance; bools are cast to the default float dtype."""
    return _reduce.reduce_variance(_inexact(x), axis, keepdims)


def std(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Standard deviation; bools are cast to the default float dtype."""
    return _reduce.reduce_std(_inexact(x), axis, keepdims)


def any(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether any element isn't 0."""
    return _reduce.reduce_any(_reduce.as_bool(x), axis, keepdims)


def all(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether no element is 0."""
    return _reduce.reduce_all(_reduce.as_bool(x), axis, keepdims)


def argmax(x: Any, axis: int = -1) -> Any:
    """Index of the first largest element along an axis, int64."""
    return _reduce.argmax(x, axis)


def argmin(x: Any, axis: int = -1) -> Any:
    """Index of the first smallest element along an axis, int64."""
    return _reduce.argmin(x, axis)


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) without overflow."""
    return _reduce.reduce_logsumexp(x, axis, keepdims)


def cumsum(x: Any, axis: int = 0) -> Any:
    """Running sum along an axis."""
    return _reduce.cumsum(x, axis)


def cumprod(x: Any, axis: int = 0) -> Any:
    """Running product along an axis."""
    return _reduce.cumprod(x, axis)


def dot(x: Any, y: Any) -> Any:
    """The products of the last axis of x [..., k] and the last but one of y [:::, k, n]."""
    x, y = same_dtype(x, y)
    if x.ndim < 2 or y.ndim < 2:
        raise _bad(
            f"dot of shapes {shape_text(x.type.shape)} and {shape_text(y.type.shape)}: both "
            "have two axes at least"
        )
    return linalg.dot(x, y)


def batch_dot(x: Any, y: Any, axes: Any = None) -> Any:
    """Dot for each element of the first axis of both; the result has two axes at least.

    axes: the axis of x and the axis of y that meet (one number for both); the last of x and
    the last but one of y (the last if y has two) if None.
    """
    x, y = same_dtype(x, y)
    if x.ndim < 2 or y.ndim < 2:
        raise _bad(
            "Cannot do batch_dot on inputs with rank < 2. Received inputs with shapes "
            f"{tuple(x.type.shape)} and {tuple(y.type.shape)}."
        )
    if x.type.shape[0] != y.type.shape[0]:
        raise _bad(
            "Cannot do batch_dot on inputs with different batch sizes. Received inputs with "
            f"shapes {tuple(x.type.shape)} and {tuple(y.type.shape)}."
        )
    if axes is None:
        axes = (x.ndim - 1, y.ndim - 1 if y.ndim == 2 else y.ndim - 2)
    pair = (axes, axes) if isinstance(axes, int) else tuple(axes)
    if len(pair) != 2 or builtins.any(isinstance(a, (list, tuple)) for a in pair):
        raise _bad(f"Multiple target dimensions are not supported. Provided: {axes}")
    i, j = (normalize_axis(a, t.ndim, "BatchDot") for a, t in zip(pair, (x, y), strict=True))
    if 0 in (i, j):
        raise _bad(
            "Cannot perform batch_dot over axis 0. If your inputs are not batched, add a dummy "
            "batch dimension using K.expand_dims(x, 0)"
        )
    if x.type.shape[i] != y.type.shape[j]:
        raise _bad(
            f"Cannot do batch_dot on inputs with shapes {tuple(x.type.shape)} and "
            f"{tuple(y.type.shape)} with axes={[i, j]}. x.shape[{i}] != y.shape[{j}] "
            f"({x.type.shape[i]} != {y.type.shape[j]})."
        )
    x, y = _shape.moveaxis(x, i, -1), _shape.moveaxis(y, j, 1)
    batch, *rows, k = x.type.shape
    columns = y.type.shape[2:]
    left = _shape.reshape(x, (batch, pymath.prod(rows), k))
    right = _shape.reshape(y, (batch, k, pymath.prod(columns)))
    result = _shape.reshape(linalg.matmul(left, right), (batch, *rows, *columns))
    return result if result.ndim > 1 else _shape.expand_dims(result, 1)


expand_dims = _shape.expand_dims
reshape = _shape.reshape
stack = _shape.stack


def concatenate(tensors: Any, axis: int = -1) -> Any:
    """Tensors joined along an axis."""
    return _shape.concat(tensors, axis)


def transpose(x: Any) -> Any:
    """The axes reversed."""
    return _shape.transpose(x)


def permute_dimensions(x: Any, pattern: Any) -> Any:
    """Axes permuted."""
    return _shape.transpose(x, pattern)


def squeeze(x: Any, axis: int) -> Any:
    """An axis of extent 1 dropped."""
    return _shape.squeeze(x, axis)


def flatten(x: Any) -> Any:
    """All elements in one axis."""
    x = as_tensor(x)
    return _shape.reshape(x, (x.type.size,))


def batch_flatten(x: Any) -> Any:
    """All axes but the first made one."""
    x = as_tensor(x)
    if x.ndim == 0:
        raise _bad("batch_flatten of a scalar")
    return _shape.reshape(x, (x.type.shape[0], pymath.prod(x.type.shape[1:])))


def reverse(x: Any, axes: Any) -> Any:
    """The order of elements along axes turned round."""
    return _shape.reverse(x, axes)


def tile(x: Any, n: Any) -> Any:
    """The tensor repeated n times along each axis."""
    return _shape.tile(x, [n] if isinstance(n, int) else n)


def repeat(x: Any, n: int) -> Any:
    """A matrix [samples, dim] repeated along a new axis: [samples, n, dim]."""
    x = as_tensor(x)
    if x.ndim != 2:
        raise _bad(f"repeat takes a matrix, not the shape {shape_text(x.type.shape)}")
    return _shape.repeat(_shape.expand_dims(x, 1), n, axis=1)


def repeat_elements(x: Any, rep: int, axis: int) -> Any:
    """Each element repeated along an axis."""
    return _shape.repeat(x, rep, axis=axis)


def one_hot(indices: Any, num_classes: int) -> Any:
    """1 where an index equals the place along a new last axis, else 0; float32."""
    return index.one_hot(indices, num_classes)


def gather(reference: Any, indices: Any) -> Any:
    """Rows of a tensor at integer indices."""
    return index.gather(reference, indices)


def _pad_space(x: Any, pairs: Sequence[Any], data_format: str | None) -> Any:
    x = as_tensor(x)
    first = _channels(data_format) == "channels_first"
    if x.ndim != len(pairs) + 2:
        raise _bad(
            f"padding of {len(pairs)} spatial axes of a tensor of shape "
            f"{shape_text(x.type.shape)}"
        )
    none = (0, 0)
    return _shape.pad(x, [none, none, *pairs] if first else [none, *pairs, none])


def temporal_padding(x: Any, padding: Sequence[int] = (1, 1)) -> Any:
    """Zeros before and after the middle axis of [batch, steps, features]."""
    return _pad_space(x, [padding], "channels_last")


def spatial_2d_padding(
    x: Any, padding: Sequence[Any] = ((1, 1), (1, 1)), data_format: str | None = None
) -> Any:
    """Zeros round the two spatial axes of images."""
    return _pad_space(x, list(padding), data_format)


def spatial_3d_padding(
    x: Any, padding: Sequence[Any] = ((1, 1), (1, 1), (1, 1)), data_format: str | None = None
) -> Any:
    """Zeros round the three spatial axes of volumes."""
    return _pad_space(x, list(padding), data_format)


def resize_images(
    x: Any,
    height_factor: int,
    width_factor: int,
    data_format: str,
    interpolation: str = "nearest",
) -> Any:
    """Images with height and width multiplied, by "nearest" or "bilinear" interpolation."""
    x = as_tensor(x)
    first = 2 if _channels(data_format) == "channels_first" else 1
    if interpolation not in ("nearest", "bilinear"):
        raise _bad(f"interpolation should be 'nearest' or 'bilinear', not {interpolation!r}")
    for axis, factor in ((first, height_factor), (first + 1, width_factor)):
        if interpolation == "nearest":
            x = _shape.repeat(x, factor, axis=axis)
        else:
            x = _resize_linear(x, axis, factor)
    return x


def _resize_linear(x: Any, axis: int, factor: int) -> Any:
    """An axis made longer by linear interpolation between the centres of its elements."""
    extent = x.type.shape[axis]
    places = (np.arange(extent * factor) + 0.5) / factor - 0.5
    low = np.floor(places)
    weight = wrap((places - low).astype(x.dtype.dtype))
    ends = [np.clip(i, 0, extent - 1).astype(np.int64) for i in (low, low + 1)]
    before, after = (index.gather(x, wrap(i), axis=axis) for i in ends)
    column = [-1 if k == axis else 1 for k in range(x.ndim)]
    return math.lerp(before, after, _shape.reshape(weight, column))


def resize_volumes(
    x: Any, depth_factor: int, height_factor: int, width_factor: int, data_format: str
) -> Any:
    """Volumes with depth, height and width multiplied by repeating elements."""
    first = 2 if _channels(data_format) == "channels_first" else 1
    for axis, factor in enumerate((depth_factor, height_factor, width_factor), first):
        x = _shape.repeat(x, factor, axis=axis)
    return x


def map_fn(fn: Callable[[Any], Any], elems: Any, name: Any = None, dtype: Any = None) -> Any:
    """The function's values for each element of the first axis, stacked."""
    values = [fn(x) for x in _shape.unstack(elems)]
    stacked = _shape.stack(values)
    return stacked if dtype is None else math.cast(stacked, dtype)


def foldl(
    fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, name: Any = None
) -> Any:
    """fn(... fn(fn(start, first), second) ..., last); without a start the first element is."""
    return _fold(fn, _shape.unstack(elems), initializer)


def foldr(
    fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, name: Any = None
) -> Any:
    """As foldl, from the last element to the first."""
    return _fold(fn, _shape.unstack(elems)[::-1], initializer)


def _fold(fn: Callable[[Any, Any], Any], items: list[Any], start: Any) -> Any:
    if start is None:
        if not items:
            raise _bad("a fold of nothing needs an initializer")
        start, *items = items
    for item in items:
        start = fn(start, item)
    return start


def bias_add(x: Any, bias: Any, data_format: str | None = None) -> Any:
    """A bias added to [batch, space..., channels]: 1-d, or one number a place and channel."""
    x, b = same_dtype(x, bias)
    first = _channels(data_format) == "channels_first"
    if b.ndim not in (1, x.ndim - 1):
        raise _bad(
            f"Unexpected bias dimensions {b.ndim}, expect to be 1 or {x.ndim - 1} dimensions"
        )
    if b.ndim == 1:
        return nn.bias_add(x, b, "NC" if first else None)
    # channels stand last in the bias, whatever the data's format
    return math.add(x, _shape.expand_dims(_shape.moveaxis(b, -1, 0) if first else b, 0))


def batch_normalization(
    x: Any, mean: Any, var: Any, beta: Any, gamma: Any, axis: int = -1, epsilon: float = 1e-3
) -> Any:
    """(x - mean) / sqrt(var + epsilon) gamma + beta; 1-d statistics belong to an axis."""
    x = as_tensor(x)
    k = normalize_axis(axis, x.ndim, "BatchNormalization")
    column = [-1 if place == k else 1 for place in range(x.ndim)]

    def placed(value: Any) -> Any:
        if value is None:
            return None
        tensor = as_tensor(value, x.dtype)
        return _shape.reshape(tensor, column) if tensor.ndim == 1 else tensor

    return nn.batch_normalization(
        x, placed(mean), placed(var), placed(beta), placed(gamma), epsilon
    )


def _probabilities(output: Any) -> Any:
    return math.clip_by_value(output, epsilon(), 1 - epsilon())


def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """-(target log(output) + (1 - target) log(1 - output)), elementwise."""
    target, output = same_dtype(target, output)
    if from_logits:
        return nn.sigmoid_cross_entropy_with_logits(target, output)
    p = _probabilities(output)
    hit = math.multiply(target, math.log(math.add(p, epsilon())))
    other = math.log(math.add(math.subtract(1.0, p), epsilon()))
    return math.negative(math.add(hit, math.multiply(math.subtract(1.0, target), other)))


def categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """-sum(target log(output)) along an axis, of probabilities scaled to sum 1, or logits."""
    target, output = same_dtype(target, output)
    if target.type.shape != output.type.shape:
        raise _bad(
            f"Shapes {tuple(target.type.shape)} and {tuple(output.type.shape)} are incompatible"
        )
    if from_logits:
        return nn.softmax_cross_entropy_with_logits(target, output, axis)
    p = _probabilities(math.divide(output, _reduce.reduce_sum(output, axis, True)))
    return math.negative(_reduce.reduce_sum(math.multiply(target, math.log(p)), axis))


def sparse_categorical_crossentropy(
    target: Any,
    output: Any,
    from_logits: bool = False,
    axis: int = -1,
    ignore_class: int | None = None,
) -> Any:
    """-log(output) at the target's class; 0 where the target is ignore_class.

    target: whole numbers [...]; output: probabilities, or logits, with a class axis more.
    """
    labels, output = math.cast(target, "int64"), as_tensor(output)
    logits = output if from_logits else math.log(_probabilities(output))
    logits = _shape.moveaxis(logits, axis, -1)
    if labels.ndim == logits.ndim and labels.type.shape[-1] == 1:
        labels = _shape.squeeze(labels, -1)
    if ignore_class is None:
        return nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    ignored = math.equal(labels, int(ignore_class))
    labels = math.where(ignored, math.zeros_like_scalar(labels), labels)
    loss = nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return math.where(ignored, math.zeros_like_scalar(loss), loss)


def in_top_k(predictions: Any, targets: Any, k: int) -> Any:
    """Whether each target is among the k largest predictions of its row."""
    return nn.in_top_k(targets, predictions, k)


def _format(data_format: str | None, count: int) -> str:
    space = "DHW"[3 - count :]
    return f"NC{space}" if _channels(data_format) == "channels_first" else f"N{space}C"


def _padding(padding: str) -> str:
    if padding not in ("same", "valid"):
        raise _bad(f"Invalid padding: {padding!r}")
    return padding.upper()


def conv1d(
    x: Any,
    kernel: Any,
    strides: int = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: int = 1,
) -> Any:
    """Sliding products of [batch, steps, c] with a kernel [k, c, o]; or "causal" padding."""
    pads: Any
    if padding == "causal":
        pads = [((int_shape(kernel)[0] - 1) * dilation_rate, 0)]
    else:
        pads = _padding(padding)
    return conv.conv1d(x, kernel, strides, pads, _format(data_format, 1), dilation_rate)


def conv2d(
    x: Any,
    kernel: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = (1, 1),
) -> Any:
    """Sliding products of images with a kernel [kh, kw, c, o]."""
    form = _format(data_format, 2)
    return conv.conv2d(x, kernel, strides, _padding(padding), form, dilation_rate)


def conv3d(
    x: Any,
    kernel: Any,
    strides: Any = (1, 1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = (1, 1, 1),
) -> Any:
    """Sliding products of volumes with a kernel [kd, kh, kw, c, o]."""
    form = _format(data_format, 3)
    return conv.conv3d(x, kernel, strides, _padding(padding), form, dilation_rate)


def conv2d_transpose(
    x: Any,
    kernel: Any,
    output_shape: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = (1, 1),
) -> Any:
    """The transpose of conv2d, with a kernel [kh, kw, o, c]."""
    form = _format(data_format, 2)
    return conv.conv2d_transpose(
        x, kernel, output_shape, strides, _padding(padding), form, dilation_rate
    )


def depthwise_conv2d(
    x: Any,
    depthwise_kernel: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = (1, 1),
) -> Any:
    """Each channel of images with its own kernels [kh, kw, c, m]."""
    form = _format(data_format, 2)
    return conv.depthwise_conv2d(
        x, depthwise_kernel, strides, _padding(padding), form, dilation_rate
    )


def separable_conv2d(
    x: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = (1, 1),
) -> Any:
    """depthwise_conv2d, then channels mixed by a kernel [1, 1, c m, o]."""
    form = _format(data_format, 2)
    return conv.separable_conv2d(
        x, depthwise_kernel, pointwise_kernel, strides, _padding(padding), form, dilation_rate
    )


def _pool(
    x: Any, size: Any, strides: Any, padding: str, data_format: str | None, mode: str
) -> Any:
    if mode not in ("max", "avg"):
        raise _bad(f"Invalid pooling mode: {mode!r}")
    routine = conv.max_pool if mode == "max" else conv.avg_pool
    return routine(x, size, strides, _padding(padding), _format(data_format, len(size)))


def pool2d(
    x: Any,
    pool_size: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    pool_mode: str = "max",
) -> Any:
    """The largest element or the mean ("avg") of each window of images."""
    return _pool(x, pool_size, strides, padding, data_format, pool_mode)


def pool3d(
    x: Any,
    pool_size: Any,
    strides: Any = (1, 1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    pool_mode: str = "max",
) -> Any:
    """The largest element or the mean ("avg") of each window of volumes."""
    return _pool(x, pool_size, strides, padding, data_format, pool_mode)
