"""Symbolic tensors: what a traced function computes on, in place of arrays and numbers.

Each records what is done with it. Its origin says whose rules it follows: "numpy" (ndarray
arguments, and results of NumPy), "tensor" (TensorFlow's strict rules), or "weak" (a Python
scalar that is an argument).
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit import numpy_protocol
from graphjit.capture.instrument import has_hooks
from graphjit.core.dims import Dim
from graphjit.core.errors import SourceLine, TracingError, asked_by_user, at_user_line, of_user
from graphjit.core.types import TensorType
from graphjit.numpy_protocol.deferred_texts import DeferredText
from graphjit.ops.view import transpose
from graphjit.tensors.apply import TensorBase
from graphjit.tensors.operators import Items, Operators
from graphjit.tensors.variable import Variable

from .storage import InPlaceOperators, Storage
from .symbolic_attributes import (
    get_class,
    get_dtype,
    get_ndim,
    get_shape,
    require_attribute,
    unassignable,
)

if TYPE_CHECKING:
    from types import FrameType
    from typing import Protocol

    from graphjit.ir.graph import GraphBuilder

    from .op_memo import OpMemo
    from .regions import Regions
    from .result_views import BaseArray, CallResult

    class Recorder(Protocol):
        """What a symbolic tensor asks of the trace that it belongs to: see `trace.Trace`."""

        builder: GraphBuilder
        closed: bool
        op_memo: OpMemo
        regions: Regions
        branches: Any

        def with_numpy_rules(
            self, action: Callable[[], Any], operands: Sequence[Any] = ()
        ) -> Any:
            """Run an action whose results are of NumPy origin."""

        def record_memoized(
            self,
            key: tuple[Any, ...] | None,
            operands: Sequence[Any],
            action: Callable[[], Any],
            weak: Sequence[Any] = (),
        ) -> Any:
            """Run the rules of an operator, and remember what it became."""

        def node_of(self, x: TensorBase, line: SourceLine | None = None) -> int:
            """The node of an input."""

        def weak_params_of(self, node: int) -> frozenset[int]:
            """The Python-scalar parameters that a node depends on."""

        def bounds_after(self, name: str, operands: Sequence[Any]) -> tuple[int, int] | None:
            """Between which numbers arithmetic of Python's integers stays."""

        def note_bounds(self, x: SymbolicTensor, low: int, high: int) -> None:
            """Note between which numbers a Python integer is."""


# Operators whose results on Python's integers may pass 64 bits.
_UNBOUNDED = {"add", "sub", "mul", "pow", "lshift", "neg", "abs"}
# Those whose results are in 64 bits if the operands are.
_WITHIN = {"floordiv", "mod", "and", "or", "xor", "rshift", "invert"}
# Those of which compiled code sees whether they do.
_CHECKED = {"add", "sub", "mul", "neg", "abs", "lshift", "pow"}


class StaticValueNeeded(TracingError):
    """Python needs the value of a traced Python scalar; `params` are those it depends on."""

    def __init__(self, message: str, params: frozenset[int]) -> None:
        super().__init__(message)
        self.params = params


_CHOICES = "use gj.cond for a choice between two computations, gj.where for a choice by element"
# Attributes that an item of an array has only once it has been recorded.
SET_BY_RECORDING = {
    "_index_source", "_assign_target", "line", "provenance", "node", "storage", "swapped",
}  # fmt: skip


class SymbolicTensor(InPlaceOperators, Operators):
    """A tensor whose type is known and whose value isn't.

    One of NumPy origin behaves as an ndarray: ufuncs, NumPy functions, methods, and `x[i] = v`
    on arrays that nothing else views.
    """

    __slots__ = (
        "__weakref__", "_assign_target", "_index_source", "_pending_item", "_type", "line",
        "node", "origin", "provenance", "recorder", "storage", "swapped",
    )  # fmt: skip

    def __new__(
        cls, recorder: Recorder, node: int, type: TensorType, origin: str
    ) -> SymbolicTensor:
        """A SymbolicArray, unless it represents a NumPy scalar or a Python number."""
        if type.shape or origin == "tensor":
            return object.__new__(SymbolicArray)
        scalar = cls is SymbolicTensor and origin == "numpy"
        return object.__new__(SymbolicScalar if scalar else cls)

    def __init__(self, recorder: Recorder, node: int, type: TensorType, origin: str) -> None:
        # Of an item that iteration gave, until it is recorded: the array, and which item.
        self._pending_item: tuple[SymbolicTensor, int] | None = None
        self.recorder = recorder
        self.node = node
        self._type = type
        self.origin = origin
        self.storage = Storage(shared=False, made_at=len(recorder.builder.nodes))
        self.line: SourceLine | None = recorder.builder.nodes[node].source
        # Of a slice of a variable: the variable and the index, for `assign`.
        self._assign_target: tuple[Variable, Any] | None = None
        # Of a view by an index: the array and the index.
        self._index_source: tuple[SymbolicTensor, Any] | None = None
        # Whether its bytes are in the other order than this machine's.
        self.swapped = False
        # How NumPy makes it of arguments and captured arrays, where it may share their memory.
        self.provenance: BaseArray | CallResult | None = None

    @property
    def type(self) -> TensorType:  # type: ignore[override]
        """Shape and dtype."""
        return self._type

    def _needs_value(
        self, what: str, advice: str = "use gj.where for a choice by element"
    ) -> TracingError:
        params = self.recorder.weak_params_of(self.node)
        message = at_user_line(
            f"{what} needs the value of a traced {self._type}, which is known only when the "
            "compiled function runs",
            f"{advice}, or let the function fall back to eager mode",
        )
        return StaticValueNeeded(message, params) if params else TracingError(message)

    def __bool__(self) -> bool:
        return self.decided(self.recorder.branches.outcome(self), sys._getframe(1))

    def decided(self, outcome: bool | None, frame: FrameType) -> bool:
        """The outcome of a branch in a frame; TracingError where it isn't known."""
        if outcome is not None:
            return outcome
        why = self.recorder.branches.loops.refusal(frame)
        loop = f"{why}, so that the loop can't be one node; " if why else ""
        raise self._needs_value("`if`, `while`, `and`, `or` or bool()", loop + _CHOICES)

    def __int__(self) -> int:
        raise self._needs_value("int()")

    def __float__(self) -> float:
        raise self._needs_value("float()")

    def __complex__(self) -> complex:
        raise self._needs_value("complex()")

    def __index__(self) -> int:
        raise self._needs_value("a Python index")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise self._needs_value("conversion to a real ndarray")

    def __format__(self, spec: str) -> str:
        if spec or self.origin == "weak" or self._is_shown_to(sys._getframe(1)):
            return self._deferred_text(format, spec)
        return repr(self)

    def _deferred_text(self, function: Callable[..., Any], *more: Any) -> str:
        """A text of the value, which each call makes."""
        branches = self.recorder.branches
        inside = self.recorder.regions.starts or branches.loops.is_open
        fits = self.origin != "tensor" and not self.is_mixed and not self.is_selection
        fits = fits and not self.recorder.is_handled()  # formatting may raise
        if not branches.enabled or inside or not fits or not _is_followed():
            how = f"formatting by {more[0]!r}" if more else f"{function.__name__}()"
            raise self._needs_value(how)
        branches.has_texts = True
        return DeferredText(function, (self, *more))

    def __reduce__(self) -> Any:
        raise self._needs_value("pickling")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        trace = self.recorder
        for x in inputs:
            if type(x) is not type(self) and getattr(type(x), "precedence", 0) == 1:
                return x.__array_ufunc__(ufunc, method, *inputs, **kwargs)
        if method == "__call__" and not kwargs:
            key = trace.op_memo.key(ufunc, inputs)
            known = None if key is None else trace.op_memo.recall(key, inputs, 1)
            if known is not None:
                return SymbolicTensor(trace, known[0], known[1], "numpy")
            return trace.record_memoized(
                key, inputs, lambda: numpy_protocol.call_ufunc(ufunc, method, inputs, kwargs)
            )
        return self.recorder.with_numpy_rules(
            lambda: numpy_protocol.call_ufunc(ufunc, method, inputs, kwargs)
        )

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self.recorder.with_numpy_rules(
            lambda: numpy_protocol.call_function(func, args, kwargs)
        )

    def _operator(self, name: str, *operands: Any) -> Any:
        trace = self.recorder
        key = trace.op_memo.key(name, operands)
        known = None if key is None else trace.op_memo.recall(key, operands, 1 + len(operands))
        if known is not None:
            return SymbolicTensor(trace, known[0], known[1], "numpy")
        if any(is_strict(x) for x in operands):
            return super()._operator(name, *operands)
        ufunc = numpy_protocol.OPERATORS[name]
        if (
            name in _UNBOUNDED
            and all(map(_is_python_int, operands))
            and not _are_bools(operands)
        ):
            bounds = trace.bounds_after(name, operands)
            if bounds is None and name in _CHECKED and trace.branches.enabled:
                trace.branches.may_need_python = True
                result = trace.with_numpy_rules(
                    lambda: numpy_protocol.checked_integer(ufunc, operands, trace), operands
                )
                trace.note_bounds(result, -(2**63), 2**63 - 1)
                return result
            if bounds is None:
                raise self._needs_value("arithmetic of Python's integers, which have no end,")
            result = trace.record_memoized(
                key, operands, lambda: numpy_protocol.call_operator(ufunc, operands, trace),
                operands,
            )  # fmt: skip
            trace.note_bounds(result, *bounds)
            return result
        if self.origin == "weak" and any(isinstance(x, (list, tuple)) for x in operands):
            raise self._needs_value("arithmetic of a number and a list")
        result = trace.record_memoized(
            key,
            operands,
            lambda: numpy_protocol.call_operator(ufunc, operands, trace),
            operands,
        )
        if name in _WITHIN and all(map(_is_python_int, operands)):
            trace.note_bounds(result, -(2**63), 2**63 - 1)
        return result

    def _record_pending(self) -> None:
        """Record an item that iterating over an array gave."""
        assert self._pending_item is not None
        array, number = self._pending_item
        if self.recorder.closed:
            self.__init__(self.recorder, array.node, self._type, self.origin)  # type: ignore[misc]
            return
        item = _get_item(array, number)
        self.__init__(self.recorder, item.node, self._type, self.origin)  # type: ignore[misc]
        self.storage, self.swapped, self.provenance = (
            item.storage,
            item.swapped,
            item.provenance,
        )
        self._index_source = item._index_source
        if self._index_source is not None:
            self.storage.add(array, self)

    _require_attribute = require_attribute

    def __getattr__(self, name: str) -> Any:
        if name in SET_BY_RECORDING:
            self._record_pending()
            return getattr(self, name)
        if name == "assign" and self._assign_target is not None:
            variable, key = self._assign_target
            return lambda value: variable._assign_slice(key, value)
        if self.origin == "numpy" and self._is_scalar() and name[:2] != "__":
            if not hasattr(self.type.dtype.dtype.type, name):
                raise AttributeError(f"a traced NumPy scalar has no attribute {name!r}")
            if name not in numpy_protocol.ATTRIBUTES:
                raise self._needs_value(f"a NumPy scalar's {name}")
        if self.origin != "tensor" and name in numpy_protocol.ATTRIBUTES:
            trace = self.recorder
            found = trace.with_numpy_rules(lambda: numpy_protocol.attribute(self, name))
            if not callable(found) or isinstance(found, SymbolicTensor):
                return found
            return lambda *args, **kwargs: trace.with_numpy_rules(
                lambda: found(*args, **kwargs)
            )
        if name == "numpy" and self.origin == "tensor":
            raise self._needs_value("numpy()")
        if self.origin == "weak":  # Python's numbers have attributes of their own
            raise self._needs_value(f"a Python number's {name}")
        raise AttributeError(
            f"a traced tensor ({self._type}, {self.origin} rules) has no attribute {name!r}"
        )

    def _become_view_of(
        self, base: SymbolicTensor, key: Any = None, frozen: bool = False
    ) -> None:
        """Become a view of an array.

        key: the index of it, if it is base[key]. frozen: whether it is read-only.
        """
        if base._is_scalar():  # which NumPy makes an array of
            return
        base.storage.add(base, self)
        self.storage = Storage(shared=True, base=base.storage) if frozen else base.storage
        _set_class(self, SymbolicArray)
        if key is None and not frozen:
            node = self.recorder.builder.nodes[self.node]
            if node.primitive is transpose and node.inputs == (base.node,):
                key = numpy_protocol.Permutation(tuple(node.attr("perm")))
        if key is not None:
            self._index_source = (base, key)

    def reindexed(self) -> SymbolicTensor:
        """The same elements, indexed anew from the array that this is a view of.

        The node of the result is a view of the array's node. Once a view was written into, its
        own node no longer is.
        """
        if self._index_source is None:
            return self
        array, key = self._index_source
        whole = array.reindexed()
        made: SymbolicTensor = self.recorder.with_numpy_rules(
            lambda: numpy_protocol.part(whole, key)
        )
        return made

    def _root_array(self) -> SymbolicTensor:
        return self if self._index_source is None else self._index_source[0]._root_array()

    def _require_writable(self, what: str) -> None:
        root = self._root_array()
        trace = self.recorder
        outside = trace.regions.is_array_outside(root)
        if outside and not trace.branches.loops.may_write(trace):
            raise TracingError(
                at_user_line(
                    f"{what} in a branch or loop writes into an array from outside of it, "
                    "which can't be traced",
                    "give the array to the function, write into a copy and return that",
                )
            )
        storage = self.storage
        fixed = storage.shared and not storage.written_back
        if fixed or any(h._root_array() is not root for h in storage.handles()):
            raise TracingError(
                at_user_line(
                    f"{what} writes into an array that other code may see, or that has other "
                    "views than by index, which can't be traced",
                    "write into a copy: x = x.copy()",
                )
            )

    def _write_elements(self, new: TensorBase) -> None:
        """Replace an array's elements by those of `new`, in the array and all its views."""
        rules = self.recorder.with_numpy_rules
        root = self._root_array()
        self.recorder.branches.loops.written.append((root, root.node))
        self.node = self.recorder.node_of(new)
        written, value = [self], self
        while value._index_source is not None:
            array, key = value._index_source
            whole = rules(lambda a=array, k=key, v=value: numpy_protocol.setitem(a, k, v))
            array.node = whole.node
            written.append(array)
            value = array
        self._refresh_views(written)

    def _refresh_views(self, known: Sequence[Any]) -> None:
        """Read the views of an array anew, but for those whose elements are known."""
        rules = self.recorder.with_numpy_rules
        for view in self.storage.handles():
            if view._index_source is not None and all(view is not h for h in known):
                array, key = view._index_source
                part = rules(lambda a=array, k=key: numpy_protocol.part(a, k))
                view.node = self.recorder.node_of(part)

    def rebase(self, node: int) -> None:
        """Have the elements that a node gives, in the array and all its views."""
        if self.node != node:
            self.node = node
            self._refresh_views([self])

    def mark_as_array(self) -> None:
        """Make this an ndarray without axes, not a NumPy scalar."""
        self.storage.shared = True
        _set_class(self, SymbolicArray)

    def _is_scalar(self) -> bool:
        """Whether this is a NumPy scalar, not a 0-d array."""
        known = self.storage.shared or self._index_source is not None or self.storage.handles()
        return not self._type.shape and not known

    def is_zero_dim_array(self) -> bool:
        """Whether this is an ndarray without axes, not a NumPy scalar."""
        return self.origin == "numpy" and not self._type.shape and not self._is_scalar()

    def _in_place(self, name: str, other: Any) -> Any:
        result = self._binary(name, self, other)
        if result is NotImplemented and getattr(type(other), "precedence", 0) > 0:
            result = other._operator(name, self, other)  # which answers for operators
        if result is NotImplemented or self._is_scalar() or self.origin != "numpy":
            return result
        if is_strict(result):  # a tensor's own operator has computed it
            return result
        self._require_writable("an operator such as +=")
        trace = self.recorder
        rules = numpy_protocol.same_kind
        if result.is_selection:
            rules = numpy_protocol.as_whole
        self._write_elements(trace.with_numpy_rules(lambda: rules(result, self)))
        return self

    def __pos__(self) -> Any:
        return self if self.origin == "tensor" else self._operator("pos", self)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __round__(self, digits: int | None = None) -> Any:
        raise self._needs_value("round()")

    def __eq__(self, other: Any) -> Any:
        return self._compare("eq", other)

    def __ne__(self, other: Any) -> Any:
        return self._compare("ne", other)

    def _compare(self, name: str, other: Any) -> Any:
        result = self._binary(name, self, other)
        if result is not NotImplemented:
            return result
        if self.origin == "numpy":  # elementwise in NumPy, whatever the other operand is
            raise TracingError(at_user_line(f"comparison with a {type(other).__name__}"))
        return name == "ne"

    real = unassignable("real")
    imag = unassignable("imag")
    flat = unassignable("flat")
    strides = unassignable("strides")
    shape = unassignable("shape", property(get_shape))
    dtype = unassignable("dtype", property(get_dtype))
    ndim = property(get_ndim)
    if not TYPE_CHECKING:
        __class__ = property(get_class)

    @property
    def T(self) -> Any:
        """The axes reversed."""
        return self._read_transpose("T", Operators.T)

    @property
    def mT(self) -> Any:
        """The last two axes exchanged."""
        return self._read_transpose("mT", Operators.mT)

    def _read_transpose(self, name: str, strict: Any) -> Any:
        if self.origin == "tensor":
            return strict.fget(self)
        return self.recorder.with_numpy_rules(lambda: numpy_protocol.attribute(self, name))

    def __repr__(self) -> str:
        if self._is_shown_to(sys._getframe(1)):
            return self._deferred_text(repr)
        return f"<gj.SymbolicTensor %{self.node}: {self._type}, {self.origin} rules>"

    def __str__(self) -> str:
        number = self.origin == "weak" and not self.recorder.closed
        if number or self._is_shown_to(sys._getframe(1)):
            return self._deferred_text(str)
        return repr(self)

    def _is_shown_to(self, frame: types.FrameType) -> bool:
        """Whether a frame that asks for the text runs the user's code while that is traced.

        Errors of graphjit's own show a traced value, and all do after the trace.
        """
        return not self.recorder.closed and asked_by_user(frame)

    def __hash__(self) -> int:
        if self.origin != "tensor" and not self._type.shape:  # a number, which has one
            raise self._needs_value("hash()")
        return Operators.__hash__(self)


def _is_followed() -> bool:
    """Whether the code that runs has hooks, which see what becomes of a text."""
    frame: types.FrameType | None = sys._getframe(3)
    while frame is not None and not of_user(frame):
        frame = frame.f_back
    return frame is not None and has_hooks(frame.f_code)


def _get_item(x: SymbolicTensor, key: Any) -> Any:
    return x.recorder.with_numpy_rules(lambda: numpy_protocol.getitem(x, key))


class _InstanceByExactType(type):
    """Classes for which `isinstance` ignores `__class__`, which is for the user's code. NumPy
    makes that test on the operands of every ufunc.
    """

    def __instancecheck__(cls, value: Any) -> bool:
        return issubclass(type(value), cls)


class SymbolicArray(Items, SymbolicTensor, metaclass=_InstanceByExactType):
    """A symbolic tensor that has items, or may have some."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if self.origin == "tensor" else _get_item(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        if self.origin == "tensor":
            super().__setitem__(key, value)
        self._require_writable("x[...] = v")
        if isinstance(value, SymbolicTensor) and value._index_source is not None:
            array, part = value._index_source
            if array is self and part is key:  # x[key] += v has written already
                return
        trace = self.recorder
        self._write_elements(
            trace.with_numpy_rules(lambda: numpy_protocol.setitem(self, key, value))
        )

    def __iter__(self) -> Iterator[Any]:
        if self.origin != "numpy" or not self._type.shape:
            return super().__iter__()
        return self._items()

    def _items(self) -> Iterator[SymbolicTensor]:
        """The items of an array. One is recorded when something is done with it: NumPy iterates
        over whole arrays only to see what kind of items they have.
        """
        kind = self._type
        known = self.recorder.op_memo.canonical_type(TensorType(kind.shape[1:], kind.dtype))
        for number in range(kind.shape[0]):
            item = object.__new__(SymbolicArray if known.shape else SymbolicScalar)
            item.recorder, item.origin, item._type = self.recorder, "numpy", known
            # of one axis: the element as it is now, for it is no view
            item._pending_item = (
                self if known.shape else numpy_protocol.detached(self),
                number,
            )
            yield item

    def __delitem__(self, key: Any) -> None:
        if self.origin == "tensor":
            raise TypeError("'Tensor' object doesn't support item deletion")
        raise ValueError("cannot delete array elements")


class SymbolicScalar(SymbolicTensor, metaclass=_InstanceByExactType):
    """A NumPy scalar. It can be indexed by () and None, and has no `__iter__`."""

    __slots__ = ()

    __getitem__ = _get_item
    if not TYPE_CHECKING:
        __iter__ = None  # what has items and no __iter__ would be iterated over by these


SYMBOLIC_CLASSES = frozenset({SymbolicTensor, SymbolicArray, SymbolicScalar})
_set_class: Callable[[Any, type], None] = object.__dict__["__class__"].__set__


def is_strict(value: Any) -> bool:
    """Whether a value brings TensorFlow's dtype rules with it."""
    kind = type(value)
    if issubclass(kind, SymbolicTensor) or (issubclass(kind, TensorBase) and kind.is_selection):
        return bool(value.origin == "tensor")
    return issubclass(kind, TensorBase)


def is_weak(value: Any) -> bool:
    """Whether a value is a Python scalar, traced or not."""
    if isinstance(value, SymbolicTensor):
        return value.origin == "weak"
    known = isinstance(value, (bool, int, float, complex, Dim))
    return known and not isinstance(value, np.generic)


def _is_python_int(value: Any) -> bool:
    """Whether a value is a Python int or bool, traced or not."""
    if isinstance(value, SymbolicTensor):
        return value.origin == "weak" and value.type.dtype.kind in "bi"
    return isinstance(value, (int, Dim)) and not isinstance(value, np.generic)


def _are_bools(operands: Sequence[Any]) -> bool:
    """Whether all traced operands are bools, whose arithmetic stays within 64 bits."""
    return all(x.type.dtype.is_bool for x in operands if isinstance(x, SymbolicTensor))


__all__ = [
    "SET_BY_RECORDING", "SYMBOLIC_CLASSES", "StaticValueNeeded", "Storage",
    "SymbolicArray", "SymbolicScalar", "SymbolicTensor", "is_strict", "is_weak",
]  # fmt: skip
