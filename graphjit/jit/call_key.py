"""An argument list, read once: its leaves, and the keys that specializations are found by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

import numpy as np

from graphjit.core.tree import (
    ARRAY,
    FOREIGN,
    NUMBER,
    SCALAR,
    STATIC,
    TENSOR,
    Identity,
    LeafKind,
    Tree,
    by_value,
    exact_key,
    flatten,
)
from graphjit.core.types import SECOND_LONGS, DType, TensorSpec
from graphjit.tensors.apply import TensorBase
from graphjit.tensors.tensor import Tensor
from graphjit.tensors.variable import Variable
from graphjit.tracing import foreign, symbolic_sizes
from graphjit.tracing.leaks import leak_error
from graphjit.tracing.symbolic_tensor import SymbolicTensor

# How many leaves are known whose ints vary, and as many that are pinned.
MAX_PLACES = 4096
# Py_TPFLAGS_HEAPTYPE: of classes that can die.
_HEAP_TYPE = 1 << 9
# Objects that a specialization is made for by their value.
_BY_VALUE = (np.dtype, Enum, TensorSpec, DType)
_EXACT = frozenset({str, bytes, bool, type(None), range, slice, frozenset})


class CallKey:
    """The arguments of one call, and what specializations depend on in them."""

    __slots__ = (
        "_rank_key", "_type_key", "args", "kinds", "kwargs", "leaves", "short", "tree",
        "version",
    )  # fmt: skip

    def __init__(
        self,
        args: Any,
        kwargs: Any,
        tree: Tree,
        leaves: list[Any],
        kinds: tuple[LeafKind, ...],
        short: tuple[Any, ...] | None,
        version: int,
    ) -> None:
        self.args = args
        self.kwargs = kwargs
        # How the leaves make up (args, kwargs).
        self.tree = tree
        self.leaves = leaves
        # How each leaf is passed.
        self.kinds = kinds
        # The key of arguments that are arrays, tensors and floats alone: cheap to make.
        self.short = short
        # The reader's, when this was read.
        self.version = version
        self._rank_key: Any = None
        self._type_key: Any = None

    @property
    def key(self) -> Any:
        """What a specialization of known extents is found by."""
        return (self.tree, self.kinds) if self.short is None else self.short

    @property
    def rank_key(self) -> Any:
        """What a specialization of symbolic extents is found by: dtypes and ranks."""
        if self._rank_key is None:
            self._rank_key = symbolic_sizes.rank_key(self.tree, self.kinds)
        return self._rank_key

    @property
    def type_key(self) -> Any:
        """What calls have in common whose arrays, objects and scalars are of the same types."""
        if self._type_key is None:
            pairs = zip(self.kinds, self.leaves, strict=True)
            types = tuple(kind if by_value(kind) else _class_key(type(x)) for kind, x in pairs)
            self._type_key = self.tree, types
        return self._type_key


class ArgumentReader:
    """Reads the argument lists of one function.

    How a Python number is passed depends on the calls before. An int is a static value until a
    call brings another one, and a run-time scalar from then on. A scalar is pinned, and static,
    once the Python code has asked for its value while it was traced.
    """

    def __init__(self) -> None:
        # Pinned scalars: the tree of the arguments, and the number of the leaf.
        self.pinned: set[tuple[Tree, int]] = set()
        # By the same: the first value of an int, or None once there was another.
        self._integers: dict[tuple[Tree, int], int | None] = {}
        # Grows whenever arguments may have to be read in another way than before.
        self.version = 0

    def short_key(self, args: Sequence[Any]) -> tuple[Any, ...] | None:
        """The key of arguments that are arrays, tensors and floats alone; None for others."""
        key: list[Any] = []
        for x in args:
            if type(x) is np.ndarray and x.dtype.char not in SECOND_LONGS:
                key.append(x.shape)
                key.append(x.dtype)
            elif type(x) is Tensor:
                key.append(x.type)
            elif type(x) is float and not self.pinned:
                key.append(float)
            else:
                return None
        return tuple(key)

    def read(self, args: Any, kwargs: Any) -> CallKey:
        """Read an argument list."""
        return self.read_with(None if kwargs else self.short_key(args), args, kwargs)

    def read_with(self, short: tuple[Any, ...] | None, args: Any, kwargs: Any) -> CallKey:
        """Read an argument list whose short key is known."""
        leaves: list[Any] = []
        tree = flatten((args, kwargs), leaves)
        kinds = tuple([self._classify(x, tree, i) for i, x in enumerate(leaves)])
        return CallKey(args, kwargs, tree, leaves, kinds, short, self.version)

    def refresh(self, call: CallKey) -> CallKey:
        """The call as it is read now."""
        return call if call.version == self.version else self.read(call.args, call.kwargs)

    def pin(self, call: CallKey) -> CallKey:
        """Make all scalars of a call static values; gives the call as it is read then."""
        scalars = [i for i, kind in enumerate(call.kinds) if kind.kind == SCALAR]
        if len(self.pinned) > MAX_PLACES:
            self.pinned.clear()
        self.pinned.update((call.tree, i) for i in scalars)
        self.version += 1
        return self.read(call.args, call.kwargs)

    def restore_pinned(self, pinned: set[tuple[Tree, int]]) -> None:
        """Take back what was pinned since."""
        if self.pinned != pinned:
            self.pinned = pinned
            self.version += 1

    def _classify(self, x: Any, tree: Tree, number: int) -> LeafKind:
        """How a leaf is passed, and what of it a specialization depends on."""
        kind = type(x)
        if kind is np.ndarray or kind is np.memmap:
            if x.dtype.kind in "biufcV" and x.dtype.char not in SECOND_LONGS:
                return LeafKind(ARRAY, (x.shape, x.dtype))
        elif isinstance(x, np.generic):
            if x.dtype.kind in "biufcV":
                return LeafKind(NUMBER, (x.shape, x.dtype))
            return LeafKind(STATIC, (x.dtype, x.tobytes()))
        if isinstance(x, TensorBase) and not isinstance(x, Variable):
            if isinstance(x, SymbolicTensor):
                raise leak_error(x)
            return LeafKind(TENSOR, x.type)
        if isinstance(x, Variable):
            return LeafKind(STATIC, Identity(x.cell))
        number_type = kind in (float, complex, int)
        if number_type and (tree, number) not in self.pinned:
            if kind is int and not self._has_varied(x, (tree, number)):
                return LeafKind(STATIC, (int, x))
            return LeafKind(SCALAR, kind)
        if number_type or kind in _EXACT:
            return LeafKind(STATIC, exact_key(x))
        if isinstance(x, _BY_VALUE):
            return LeafKind(STATIC, (kind, x))
        if foreign.is_foreign(x):  # all of them run eagerly
            return LeafKind(STATIC, (_class_key(kind), FOREIGN))
        return LeafKind(STATIC, Identity(x))

    def _has_varied(self, x: int, where: tuple[Tree, int]) -> bool:
        """Whether an int has had another value before."""
        if not -(2**63) <= x < 2**63:
            return False
        first = self._integers.setdefault(where, x)
        if len(self._integers) > MAX_PLACES:
            self._integers.pop(next(iter(self._integers)), None)
        if first is not None and first != x:
            self._integers[where] = None
            self.version += 1
        return self._integers[where] is None


def _class_key(kind: type) -> Any:
    """A class as a part of a key, which doesn't keep it alive where it can die."""
    return Identity(kind) if kind.__flags__ & _HEAP_TYPE else kind


def identities(key: Any) -> Iterator[tuple[Identity, bool]]:
    """The objects and classes that a key of a `CallKey` is for, and whether each is a class
    that stands for its objects.
    """
    if not key or not isinstance(key[0], Tree):  # a short one, of arrays and floats
        return
    for part in key[1]:
        found = part.key if isinstance(part, LeafKind) else part
        if type(found) is tuple and len(found) == 2 and found[1] is FOREIGN:
            found = found[0]
        if isinstance(found, Identity):
            yield found, not isinstance(part, LeafKind) or found is not part.key


__all__ = ["MAX_PLACES", "ArgumentReader", "CallKey", "identities"]
