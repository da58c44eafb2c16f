"""einsum: sums of products named by labels, as a sequence of matrix products.

The equation is read into labels an axis; an ellipsis becomes labels of its own, `.0` for the
last axis it stands for, `.1` for the one before. Then diagonals are taken, lonely labels
summed, and operands contracted two at a time.
"""

from __future__ import annotations

import math as pymath
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import shape_text
from graphjit.ops import contract
from graphjit.tensors.apply import TensorBase, apply, as_tensor, same_dtype

from .math import multiply
from .reduce import reduce_sum
from .shape import diag, diag_part, moveaxis, reshape, transpose

Labels = list[str]
# The search for the best order tries n! (n-1)! / 2^(n-1) of them: 2,700 for 6 operands.
OPTIMAL_OPERANDS = 6
MAX_PATH_LABELS = 52  # numpy.einsum_path has letters for no more
_TERM = re.compile(r"[A-Za-z]*(\.\.\.)?[A-Za-z]*\Z")


def einsum(equation: str, *operands: Any, optimize: str = "optimal") -> Any:
    """The sum of products that an equation names: `"ij,jk->ik"` is the matrix product.

    A repeated label of one operand takes its diagonal, one that the output lacks is summed,
    `...` stands for axes that broadcast. Without `->` the output has the labels that occur
    once, in alphabetical order. optimize: "optimal" or "greedy" (more than six operands: this).
    """
    if not isinstance(equation, str):
        raise InvalidArgumentError(
            at_user_line(f"the equation must be a string, not {equation!r} [Op:Einsum]")
        )
    tensors = same_dtype(*operands) if operands else []
    inputs, output = _parse(equation, tensors)
    _check_extents(equation, tensors, inputs)
    for number, (x, labels) in enumerate(zip(tensors, inputs, strict=True)):
        tensors[number], inputs[number] = _take_diagonals(x, labels)
    tensors = list(tensors)
    if len(tensors) > 2:
        path = _path(tensors, inputs, output, optimize)
    else:
        path = [tuple(range(len(tensors)))]
    for step in path:
        chosen = sorted(step, reverse=True)
        pending = [(tensors.pop(i), inputs.pop(i)) for i in chosen][::-1]
        x, labels = pending[0]
        for place, (y, other) in enumerate(pending[1:], 2):
            rest = [label for _, later in pending[place:] for label in later]
            kept = {*output, *rest, *(label for labels_ in inputs for label in labels_)}
            x, labels = _contract(x, labels, y, other, kept)
        tensors.append(x)
        inputs.append(labels)
    return _as_output(tensors[0], inputs[0], output)


def _bad(equation: str, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(at_user_line(f"{why}: equation {equation!r} [Op:Einsum]"))


def _parse(equation: str, tensors: Sequence[TensorBase]) -> tuple[list[Labels], Labels]:
    """The labels of each operand's axes and of the output's."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if arrow and "," in right:
        raise _bad(equation, "Expected one output")
    for term in [*terms, right]:
        if not _TERM.match(term):
            raise _bad(equation, f"{term!r} is no list of letters with one ellipsis at most")
    if len(terms) != len(tensors):
        raise _bad(equation, f"Expected {len(terms)} operands but got {len(tensors)}")
    inputs = []
    hidden = 0  # axes that the longest ellipsis stands for
    for number, (term, x) in enumerate(zip(terms, tensors, strict=True)):
        count = x.ndim - len(term.replace("...", ""))
        if count < 0 or (count and "..." not in term):
            raise _bad(
                equation,
                f"operand {number} of shape {shape_text(x.type.shape)} doesn't have the axes "
                f"{term!r}",
            )
        hidden = max(hidden, count)
        inputs.append(_labels(term, count))
    if arrow:
        if hidden and "..." not in right:
            raise _bad(equation, "the output must have the ellipsis that an operand has")
        output = _labels(right, hidden)
    else:
        seen = left.replace("...", "").replace(",", "")
        output = _labels("...", hidden)
        output += sorted(label for label in set(seen) if seen.count(label) == 1)
    for label in output:
        if not any(label in labels for labels in inputs):
            raise _bad(equation, f"the output's label {label!r} is in no operand")
    return inputs, output


def _labels(term: str, count: int) -> Labels:
    before, dots, after = term.partition("...")
    return [*before, *(f".{k}" for k in reversed(range(count if dots else 0))), *after]


def _check_extents(
    equation: str, tensors: Sequence[TensorBase], inputs: Sequence[Labels]
) -> None:
    """Axes of one label must have one extent; only those of an ellipsis broadcast."""
    extents: dict[str, int] = {}
    for x, labels in zip(tensors, inputs, strict=True):
        for label, extent in zip(labels, x.type.shape, strict=True):
            known = extents.setdefault(label, extent)
            if known == extent:
                continue
            if not label.startswith(".") or 1 not in (known, extent):
                what = "an axis of the ellipsis" if label.startswith(".") else repr(label)
                raise _bad(equation, f"Expected extent {known} but got {extent} for {what}")
            extents[label] = known if extent == 1 else extent


def _take_diagonals(x: TensorBase, labels: Labels) -> tuple[Any, Labels]:
    labels = list(labels)
    while True:
        repeated = next((label for label in labels if labels.count(label) > 1), None)
        if repeated is None:
            return x, labels
        first = labels.index(repeated)
        second = labels.index(repeated, first + 1)
        x = diag_part(x, 0, first, second)
        labels = [n for k, n in enumerate(labels) if k not in (first, second)] + [repeated]


def _path(
    tensors: Sequence[TensorBase], inputs: Sequence[Labels], output: Labels, optimize: str
) -> list[tuple[int, ...]]:
    """The order of contractions: which operands leave the list, their product going last."""
    numbers = {label: k for k, label in enumerate(dict.fromkeys(n for i in inputs for n in i))}
    if len(numbers) > MAX_PATH_LABELS:
        return [(0, 1), *((0, k) for k in range(len(tensors) - 2, 0, -1))]
    arguments: list[Any] = []
    for x, labels in zip(tensors, inputs, strict=True):
        # only shapes matter: one element, seen as an array of that shape
        arguments.append(np.broadcast_to(np.float32(0), x.type.shape))
        arguments.append([numbers[label] for label in labels])
    kind = optimize if len(tensors) <= OPTIMAL_OPERANDS else "greedy"
    wanted = [numbers[label] for label in dict.fromkeys(output)]
    path, _ = np.einsum_path(*arguments, wanted, optimize=kind)
    return [tuple(step) for step in path[1:]]


def _sum_lonely(x: TensorBase, labels: Labels, kept: set[str]) -> tuple[Any, Labels]:
    """The sum over axes whose labels nobody else has."""
    axes = [k for k, label in enumerate(labels) if label not in kept]
    if not axes:
        return x, labels
    return reduce_sum(x, axes), [label for label in labels if label in kept]


def _contract(
    x: TensorBase,
    x_labels: Labels,
    y: TensorBase,
    y_labels: Labels,
    kept: set[str],
) -> tuple[Any, Labels]:
    """The product of two operands, summed over the labels that aren't kept."""
    x, x_labels = _sum_lonely(x, x_labels, kept | set(y_labels))
    y, y_labels = _sum_lonely(y, y_labels, kept | set(x_labels))
    shared = [label for label in x_labels if label in y_labels]
    batch = [label for label in shared if label in kept]
    meeting = [label for label in shared if label not in kept]
    rows = [label for label in x_labels if label not in y_labels]
    columns = [label for label in y_labels if label not in x_labels]
    result = batch + rows + columns
    x_shape = dict(zip(x_labels, x.type.shape, strict=True))
    y_shape = dict(zip(y_labels, y.type.shape, strict=True))
    x = transpose(x, [x_labels.index(label) for label in batch + rows + meeting])
    if not meeting:
        y = transpose(y, [y_labels.index(label) for label in batch + columns])
        x = reshape(x, [x_shape[n] for n in batch + rows] + [1] * len(columns))
        y = reshape(
            y, [y_shape[n] for n in batch] + [1] * len(rows) + [y_shape[n] for n in columns]
        )
        return multiply(x, y), result
    y = transpose(y, [y_labels.index(label) for label in batch + meeting + columns])
    # The extent of an ellipsis's axis is the operand's own: what is 1 here broadcasts later.
    m = pymath.prod(x_shape[label] for label in rows)
    k = pymath.prod(x_shape[label] for label in meeting)
    n = pymath.prod(y_shape[label] for label in columns)
    left = reshape(x, [x_shape[label] for label in batch] + [m, k])
    right = reshape(y, [y_shape[label] for label in batch] + [k, n])
    product = apply(contract.matmul, left, right)
    batch_shape = product.type.shape[: len(batch)]
    shape = [*batch_shape, *(x_shape[r] for r in rows), *(y_shape[c] for c in columns)]
    return reshape(product, shape), result


def _as_output(x: Any, labels: Labels, output: Labels) -> Any:
    """The last tensor with its axes in the output's order; a repeated label is a diagonal."""
    x, labels = _sum_lonely(x, labels, set(output))
    names: Labels = []  # the output's labels, those that repeat with a mark
    for label in output:
        name = label
        while name in names:
            name += "'"
        if name != label:
            axis = labels.index(label)
            x = diag(moveaxis(x, axis, -1))
            labels = [*labels[:axis], *labels[axis + 1 :], label, name]
        names.append(name)
    return transpose(as_tensor(x), [labels.index(name) for name in names])
