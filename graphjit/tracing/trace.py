"""Tracing: symbolic tensors that record what Python does with them.

A `Trace` collects nodes. Its symbolic tensors carry an origin: "numpy" (ndarray arguments and
results of `np.*`: NumPy's dtype rules), "tensor" (TensorFlow's strict rules) or "weak" (a
Python scalar that is an argument). Inside a trace variables are read and written
symbolically; their last values are the graph's updates.
"""

from __future__ import annotations

import gc
import operator
import sys
import types
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphjit import numpy_protocol
from graphjit.core.config import config
from graphjit.core.dims import Dim, Sizes, evaluate
from graphjit.core.errors import (
    GraphJitError,
    IndexOutOfRangeError,
    LeakedTracerError,
    SourceLine,
    TracingError,
    at_user_line,
    of_user,
    on_refusal,
    user_line,
)
from graphjit.core.types import (
    DType,
    TensorShape,
    TensorType,
    TupleType,
    as_dtype,
    check_size,
    int64,
)
from graphjit.ir.graph import Graph, GraphBuilder
from graphjit.ops import pointwise, source
from graphjit.ops.primitive import Gather, Library, Primitive, Scatter, View
from graphjit.tensors.apply import TensorBase, as_tensor, current_trace
from graphjit.tensors.operators import Items, Operators
from graphjit.tensors.variable import Variable

from .handlers import handled_by_user
from .op_memo import OpMemo
from .regions import Region, Regions, compacted, traced_region

# Parts of complex numbers, which NumPy has in their memory.
_PARTS = (pointwise.real, pointwise.imag)
# Operators whose results on Python's integers may pass 64 bits.
_GROWING = {"add", "sub", "mul", "pow", "lshift", "neg", "abs"}


# What may raise only when compiled code runs: an index out of range, a singular matrix.
_MAY_FAIL = (Gather, Scatter, Library)


class StaticValueNeeded(TracingError):
    """Python needs the value of a traced Python scalar; `params` are those it depends on."""

    def __init__(self, message: str, params: frozenset[int]) -> None:
        super().__init__(message)
        self.params = params


class Storage:
    """What traced ndarrays stand on: an array of the trace's own and the views of it.

    shared: others than the handles see it, so nothing may be written. scalar: it is that of an
    argument without axes, which may be a NumPy scalar or an array. base: of a view that can't
    be written, the storage that it lies in. handles: the array and its views, where it has any;
    those that no code can reach any more don't count.
    """

    __slots__ = ("_handles", "base", "scalar", "shared")

    def __init__(self, shared: bool, base: Storage | None = None) -> None:
        self.shared = shared
        self.scalar = False
        self.base = base
        self._handles: list[weakref.ref[SymbolicTensor]] = []

    def add(self, base: SymbolicTensor, view: SymbolicTensor) -> None:
        """Note that a view of `base` has come up."""
        known = self.handles()
        new = [h for h in (base, view) if all(h is not other for other in known)]
        self._handles = [weakref.ref(h) for h in (*known, *new)]

    def owner(self) -> Storage:
        """The storage of the array that this is a view of."""
        return self if self.base is None else self.base.owner()

    def handles(self) -> list[SymbolicTensor]:
        """The array and its views that live, in the order in which they came up."""
        return [h for h in (ref() for ref in self._handles) if h is not None]


def _settable(name: str, known: Any = None) -> Any:
    """An attribute that ndarrays let be set, in place, and symbolic tensors don't."""

    def read(self: SymbolicTensor) -> Any:
        return self.__getattr__(name) if known is None else known.fget(self)

    def write(self: SymbolicTensor, value: Any) -> None:
        raise TracingError(at_user_line(f"x.{name} = ... of a traced array can't be traced"))

    return property(read, write)


class Base(NamedTuple):
    """An array of which results are made: a leaf of the arguments, a captured array or an
    output (role "leaf" | "capture" | "output"), by its number.
    """

    role: str
    number: int


# By role: arrays by their numbers.
Arrays = Mapping[str, Any]
Memo = dict[int, Any]


class Call:
    """A call of NumPy whose result lies in the memory of other arrays, or may do so, and that
    is made again of those of each call.

    function: NumPy's own, or an operator. args, kwargs: with Base and Item where arrays stand.
    bases: the arrays among these, and among those of the calls before. known: whether all but
    the first argument are the same at each call. line: the user's.
    """

    __slots__ = ("args", "bases", "function", "known", "kwargs", "line")

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.bases = frozenset(_bases_of((*args, *kwargs.values())))
        self.known = bool(args) and not any(map(_varies, (*args[1:], *kwargs.values())))
        self.line = user_line()

    def result(self, arrays: Arrays, sizes: Mapping[str, int], memo: Memo) -> Any:
        """What it gives for these arrays, once for all that ask."""
        found = memo.get(id(self))
        if found is None:
            args, kwargs = self.args, self.kwargs
            if self.known:
                args = (_again(args[0], arrays, sizes, memo), *args[1:])
            else:
                args = _again(args, arrays, sizes, memo)
                kwargs = {k: _again(v, arrays, sizes, memo) for k, v in kwargs.items()}
            try:
                found = self.function(*args, **kwargs)
            except IndexError as error:
                message = at_user_line(str(error), source=self.line)
                raise IndexOutOfRangeError(message) from error
            memo[id(self)] = found
        return found


class Item(NamedTuple):
    """A call's result, or the one that this path of indices leads to."""

    call: Call
    path: tuple[int, ...]


class ResultView(NamedTuple):
    """A result in the memory of other arrays, or one that is such an array: how NumPy makes
    it.
    """

    made: Base | Item

    @property
    def itself(self) -> bool:
        """Whether it is that very object."""
        return isinstance(self.made, Base)

    @property
    def bases(self) -> frozenset[Base]:
        """The arrays of which it is made."""
        return frozenset(_bases_of(self.made))

    @property
    def calls(self) -> Iterator[Call]:
        """The calls that make it."""
        return _calls_of(self.made)

    def of(self, arrays: Arrays, sizes: Mapping[str, int], memo: Memo) -> Any:
        """The result for these arrays; sizes: those of the symbols, memo: what the results of
        this call have in common.
        """
        return _again(self.made, arrays, sizes, memo)


def all_of(made: Base | Item) -> Item:
    """A view of all of an array."""
    return Item(Call(operator.getitem, (made, Ellipsis), {}), ())


def _frozen(view: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    view.flags.writeable = False
    return view


def _again(value: Any, arrays: Arrays, sizes: Mapping[str, int], memo: Memo) -> Any:
    if isinstance(value, Base):
        return arrays[value.role][value.number]
    if isinstance(value, Item):
        found = value.call.result(arrays, sizes, memo)
        for index in value.path:
            found = found[index]
        return found
    if isinstance(value, Dim):
        return evaluate(value, sizes)
    return _mapped(value, lambda part: _again(part, arrays, sizes, memo))


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """An argument of NumPy's with its parts changed, or as it is."""
    if isinstance(value, list):
        return [change(part) for part in value]
    if isinstance(value, tuple):
        return tuple([change(part) for part in value])
    if isinstance(value, slice):
        return slice(change(value.start), change(value.stop), change(value.step))
    return value


def _parts(value: Any) -> Sequence[Any]:
    if isinstance(value, slice):
        return value.start, value.stop, value.step
    return value if isinstance(value, (list, tuple)) else ()


def _varies(value: Any) -> bool:
    return isinstance(value, (Base, Item, Dim)) or any(map(_varies, _parts(value)))


def _bases_of(value: Any) -> Iterator[Base]:
    if isinstance(value, Base):
        yield value
    elif isinstance(value, Item):
        yield from value.call.bases
    else:
        for part in _parts(value):
            yield from _bases_of(part)


def _calls_of(value: Any) -> Iterator[Call]:
    if isinstance(value, Item):
        yield value.call
        yield from _calls_of((*value.call.args, *value.call.kwargs.values()))
    elif not isinstance(value, Base):
        for part in _parts(value):
            yield from _calls_of(part)


def _made(value: Any) -> Any:
    """A value as a `Call` keeps it. LookupError where an array is in it that isn't had of
    arguments and captured arrays by NumPy's views, or that may change.
    """
    if isinstance(value, SymbolicTensor):
        if value.made is None or value.origin == "tensor":
            raise LookupError
        return value.made
    if isinstance(value, (TensorBase, np.ndarray)):
        raise LookupError
    return _mapped(value, _made)


def _shape(x: SymbolicTensor) -> tuple[int, ...]:
    """The extents, in a tuple where an ndarray would have one."""
    if x.origin == "weak" and of_user(sys._getframe(2)):  # past the property
        raise x._needs_value("the type of a Python number")
    return x.type.shape if x.origin == "numpy" else TensorShape(x.type.shape)


def _ndim(x: SymbolicTensor) -> int:
    if x.origin == "weak" and of_user(sys._getframe(1)):
        raise x._needs_value("the type of a Python number")
    return len(x.type.shape)


def _dtype(x: SymbolicTensor) -> Any:
    """The element type; NumPy's own for code that isn't graphjit's, of what is an ndarray."""
    if x.origin == "weak" and of_user(sys._getframe(2)):  # past the property
        raise x._needs_value("the type of a Python number")
    if x.origin == "numpy" and of_user(sys._getframe(2)):
        return x.type.dtype.dtype.newbyteorder() if x.swapped else x.type.dtype.dtype
    return x.type.dtype


_PYTHON_TYPES = {"b": bool, "i": int, "f": float, "c": complex}


def _class(x: SymbolicTensor) -> type:
    """What isinstance takes a traced value for, in code that isn't graphjit's: an ndarray or
    NumPy scalar where it stands for one, a Python number where it stands for that.
    """
    frame: Any = sys._getframe(1)
    while frame.f_globals.get("__name__") == "abc" and frame.f_back is not None:
        frame = frame.f_back
    if x.origin == "tensor" or x.recorder.closed or not of_user(frame):
        return type(x)
    if x.origin == "weak":
        return _PYTHON_TYPES[x.type.dtype.kind]
    if x.storage.scalar and not x.type.shape:
        raise x._needs_value("the type of what is a NumPy scalar or an array")
    array = bool(x.type.shape) or x.is_zero_dim_array()
    return np.ndarray if array else x.type.dtype.dtype.type


_CHOICES = "use gj.cond for a choice between two computations, gj.where for a choice by element"
# What an item of an array has when it has been recorded.
_RECORDED = {"_part", "_target", "line", "made", "node", "storage", "swapped"}


class SymbolicTensor(Operators):
    """A tensor whose type is known and whose value isn't: what a traced function computes on.

    Of NumPy origin it behaves as an ndarray: ufuncs, NumPy functions, methods, and `x[i] = v`
    on arrays that nothing else views.
    """

    __slots__ = (
        "__weakref__", "_item", "_part", "_target", "_type", "line", "made", "node", "origin",
        "recorder", "storage", "swapped",
    )  # fmt: skip

    def __new__(cls, trace: Trace, node: int, type: TensorType, origin: str) -> SymbolicTensor:
        """One with elements, unless it is a NumPy scalar or a Python number."""
        if type.shape or origin == "tensor":
            return object.__new__(SymbolicArray)
        scalar = cls is SymbolicTensor and origin == "numpy"
        return object.__new__(trace.scalar if scalar else cls)

    def __init__(self, trace: Trace, node: int, type: TensorType, origin: str) -> None:
        # Of what comes of walking an array, until it is recorded: the array and the number.
        self._item: tuple[SymbolicTensor, int] | None = None
        self.recorder = trace
        self.node = node
        self._type = type
        self.origin = origin
        self.storage = Storage(shared=False)
        self.line: SourceLine | None = trace.builder.nodes[node].source
        self._target: tuple[Variable, Any] | None = None
        # Of a view by an index: the array and the index.
        self._part: tuple[SymbolicTensor, Any] | None = None
        self.swapped = False  # whether its bytes are in the other order than this machine's
        # Of an argument or captured array, and of what NumPy may make of these in their memory:
        # how.
        self.made: Base | Item | None = None

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
        raise self._needs_value("`if`, `while`, `and`, `or` or bool()", _CHOICES)

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
        if spec or self.origin == "weak" or self._shown_to(sys._getframe(1)):
            raise self._needs_value(f"formatting by {spec!r}")
        return repr(self)

    def __reduce__(self) -> Any:
        raise self._needs_value("pickling")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        trace = self.recorder
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
        if name in _GROWING and all(map(_is_python_int, operands)) and not _are_bools(operands):
            bounds = trace.bounds_after(name, operands)
            if bounds is None:
                raise self._needs_value("arithmetic of Python's integers, which have no end,")
            result = trace.record_memoized(
                key, operands, lambda: numpy_protocol.call_operator(ufunc, operands, trace),
                operands,
            )  # fmt: skip
            trace.bound(result, *bounds)
            return result
        if self.origin == "weak" and any(isinstance(x, (list, tuple)) for x in operands):
            raise self._needs_value("arithmetic of a number and a list")
        return trace.record_memoized(
            key,
            operands,
            lambda: numpy_protocol.call_operator(ufunc, operands, trace),
            operands,
        )

    def _record_item(self) -> None:
        """Record an item of an array that has come up while Python walked it."""
        assert self._item is not None
        array, number = self._item
        if self.recorder.closed:
            self.__init__(self.recorder, array.node, self._type, self.origin)  # type: ignore[misc]
            return
        item = _item(array, number)
        self.__init__(self.recorder, item.node, self._type, self.origin)  # type: ignore[misc]
        self.storage, self.swapped, self.made = item.storage, item.swapped, item.made
        self._part = item._part
        if self._part is not None:
            self.storage.add(array, self)

    def __getattr__(self, name: str) -> Any:
        if name in _RECORDED:
            self._record_item()
            return getattr(self, name)
        if name == "assign" and self._target is not None:
            variable, key = self._target
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

    def _stand_on(self, base: SymbolicTensor, key: Any = None, frozen: bool = False) -> None:
        """Be a view of an array: base[key] if there is a key; read-only if frozen."""
        if base._is_scalar():  # which NumPy makes an array of
            return
        base.storage.add(base, self)
        self.storage = Storage(shared=True, base=base.storage) if frozen else base.storage
        if not self.storage.scalar:
            _set_class(self, SymbolicArray)
        if key is not None:
            self._part = (base, key)

    def as_view(self) -> SymbolicTensor:
        """A tensor of the same elements whose node is a view of the array's that this is a view
        of by an index: after it was written into it needn't be.
        """
        if self._part is None:
            return self
        array, key = self._part
        whole = array.as_view()
        made: SymbolicTensor = self.recorder.with_numpy_rules(
            lambda: numpy_protocol.part(whole, key)
        )
        return made

    def _root(self) -> SymbolicTensor:
        return self if self._part is None else self._part[0]._root()

    def _require_own(self, what: str) -> None:
        root = self._root()
        if self.recorder.regions.is_outside(root.node):
            raise TracingError(
                at_user_line(
                    f"{what} in a branch or loop writes into an array from outside of it, "
                    "which can't be traced",
                    "give the array to the function, write into a copy and return that",
                )
            )
        if self.storage.shared or any(h._root() is not root for h in self.storage.handles()):
            raise TracingError(
                at_user_line(
                    f"{what} writes into an argument, a captured array or an array that has "
                    "other views than by index, which can't be traced",
                    "write into a copy: x = x.copy()",
                )
            )

    def _write(self, new: TensorBase) -> None:
        """Make an array's elements those of `new`, and so those of its views."""
        rules = self.recorder.with_numpy_rules
        self.node = self.recorder.node_of(new)
        written, value = [self], self
        while value._part is not None:
            array, key = value._part
            whole = rules(lambda a=array, k=key, v=value: numpy_protocol.setitem(a, k, v))
            array.node = whole.node
            written.append(array)
            value = array
        for view in self.storage.handles():
            if view._part is not None and all(view is not h for h in written):
                array, key = view._part
                part = rules(lambda a=array, k=key: numpy_protocol.part(a, k))
                view.node = self.recorder.node_of(part)

    def be_array(self) -> None:
        """Be an ndarray without axes, and no NumPy scalar."""
        self.storage.shared = True
        _set_class(self, SymbolicArray)

    def _is_scalar(self) -> bool:
        """Whether this is a NumPy scalar, which nothing can write into, and no 0-d array."""
        known = self.storage.shared or self._part is not None or self.storage.handles()
        return not self._type.shape and not known

    def is_zero_dim_array(self) -> bool:
        """Whether this is an ndarray without axes for sure, and no NumPy scalar."""
        plain = self.origin == "numpy" and not self._type.shape and not self.storage.scalar
        return plain and not self._is_scalar()

    def _in_place(self, name: str, other: Any) -> Any:
        result = self._binary(name, self, other)
        if self.origin != "numpy" or result is NotImplemented or self._is_scalar():
            return result
        self._require_own("an operator such as +=")
        trace = self.recorder
        self._write(trace.with_numpy_rules(lambda: numpy_protocol.same_kind(result, self)))
        return self

    def __iadd__(self, other: Any) -> Any:
        return self._in_place("add", other)

    def __isub__(self, other: Any) -> Any:
        return self._in_place("sub", other)

    def __imul__(self, other: Any) -> Any:
        return self._in_place("mul", other)

    def __itruediv__(self, other: Any) -> Any:
        return self._in_place("truediv", other)

    def __ifloordiv__(self, other: Any) -> Any:
        return self._in_place("floordiv", other)

    def __imod__(self, other: Any) -> Any:
        return self._in_place("mod", other)

    def __ipow__(self, other: Any) -> Any:
        return self._in_place("pow", other)

    def __iand__(self, other: Any) -> Any:
        return self._in_place("and", other)

    def __ior__(self, other: Any) -> Any:
        return self._in_place("or", other)

    def __ixor__(self, other: Any) -> Any:
        return self._in_place("xor", other)

    def __ilshift__(self, other: Any) -> Any:
        return self._in_place("lshift", other)

    def __irshift__(self, other: Any) -> Any:
        return self._in_place("rshift", other)

    def __imatmul__(self, other: Any) -> Any:
        return self._in_place("matmul", other)

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

    real = _settable("real")
    imag = _settable("imag")
    flat = _settable("flat")
    strides = _settable("strides")
    shape = _settable("shape", property(_shape))
    dtype = _settable("dtype", property(_dtype))
    ndim = property(_ndim)
    if not TYPE_CHECKING:
        __class__ = property(_class)

    @property
    def T(self) -> Any:
        """The axes reversed."""
        return self._turned("T", Operators.T)

    @property
    def mT(self) -> Any:
        """The last two axes exchanged."""
        return self._turned("mT", Operators.mT)

    def _turned(self, name: str, strict: Any) -> Any:
        if self.origin == "tensor":
            return strict.fget(self)
        return self.recorder.with_numpy_rules(lambda: numpy_protocol.attribute(self, name))

    def __repr__(self) -> str:
        if self._shown_to(sys._getframe(1)):
            raise self._needs_value("the text of an array, as of print(),")
        return f"<gj.SymbolicTensor %{self.node}: {self._type}, {self.origin} rules>"

    def __str__(self) -> str:
        if self.origin == "weak" or self._shown_to(sys._getframe(1)):
            raise self._needs_value("str()")
        return repr(self)

    def _shown_to(self, frame: types.FrameType) -> bool:
        """Whether a frame that asks for the text runs the user's code while that is traced.
        Errors of graphjit's own show a traced value, and all do after the trace.
        """
        return not self.recorder.closed and of_user(frame)

    def __hash__(self) -> int:
        if self.origin != "tensor" and not self._type.shape:  # a number, which has one
            raise self._needs_value("hash()")
        return Operators.__hash__(self)


def _item(x: SymbolicTensor, key: Any) -> Any:
    return x.recorder.with_numpy_rules(lambda: numpy_protocol.getitem(x, key))


class _ByType(type):
    """Classes that `isinstance` compares with the type alone. NumPy asks it of a ufunc's
    operands; what `__class__` says is for the user's code.
    """

    def __instancecheck__(cls, value: Any) -> bool:
        return issubclass(type(value), cls)


class SymbolicArray(Items, SymbolicTensor, metaclass=_ByType):
    """A symbolic tensor that has elements, or may have; NumPy scalars and numbers haven't."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if self.origin == "tensor" else _item(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        if self.origin == "tensor":
            super().__setitem__(key, value)
        self._require_own("x[...] = v")
        if isinstance(value, SymbolicTensor) and value._part is not None:
            array, part = value._part
            if array is self and part is key:  # x[key] += v has written already
                return
        trace = self.recorder
        self._write(trace.with_numpy_rules(lambda: numpy_protocol.setitem(self, key, value)))

    def __iter__(self) -> Iterator[Any]:
        if self.origin != "numpy" or not self._type.shape:
            return super().__iter__()
        return self._items()

    def _items(self) -> Iterator[SymbolicTensor]:
        """The items, recorded when something is done with them: NumPy asks for all that an
        array has, to see what they are.
        """
        kind = self._type
        known = self.recorder.op_memo.same(TensorType(kind.shape[1:], kind.dtype))
        for number in range(kind.shape[0]):
            item = object.__new__(SymbolicArray if known.shape else self.recorder.scalar)
            item.recorder, item.origin, item._type = self.recorder, "numpy", known
            # of one axis: the element as it is now, for it is no view
            item._item = (self if known.shape else numpy_protocol.detached(self), number)
            yield item

    def __delitem__(self, key: Any) -> None:
        if self.origin == "tensor":
            raise TypeError("'Tensor' object doesn't support item deletion")
        raise ValueError("cannot delete array elements")


class _NoAttribute(AttributeError, TypeError):
    """What hasattr takes for an attribute that isn't there, and iter for what it can't do."""


class SymbolicScalar(SymbolicTensor, metaclass=_ByType):
    """What stands for a NumPy scalar, of which x[()] and x[None] can be had."""

    __slots__ = ()

    __getitem__ = _item
    if not TYPE_CHECKING:
        __iter__ = None  # what has items and no __iter__ would be iterated over by these


class ScalarByName(SymbolicTensor, metaclass=_ByType):
    """The same for code that asks for `__iter__` by its name, which isn't there. To
    isinstance(x, Iterable) it seems to be.
    """

    __slots__ = ()

    __getitem__ = _item
    if not TYPE_CHECKING:

        @property
        def __iter__(self) -> Any:
            raise _NoAttribute("a traced NumPy scalar has no attribute '__iter__'")


_CLASSES = frozenset({SymbolicTensor, SymbolicArray, SymbolicScalar, ScalarByName})
_set_class: Callable[[Any, type], None] = object.__dict__["__class__"].__set__


def is_strict(value: Any) -> bool:
    """Whether a value brings TensorFlow's dtype rules with it."""
    if isinstance(value, SymbolicTensor):
        return value.origin == "tensor"
    return isinstance(value, TensorBase)


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
    """Whether what is traced among Python's ints is bools alone, which don't grow."""
    return all(x.type.dtype.is_bool for x in operands if isinstance(x, SymbolicTensor))


def _checksum(array: np.ndarray[Any, Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


class Trace:
    """One run of a Python function on symbolic tensors.

    captures: the ndarrays met on the way, each a parameter read at every call. variables: the
    variables read or written.
    """

    def __init__(self, name: str) -> None:
        self.builder = GraphBuilder(name)
        self.origin = "tensor"
        self.scalar: type[SymbolicTensor] = SymbolicScalar  # of what stands for one
        self.closed = False
        self.failed: GraphJitError | None = None  # the first refusal, caught or not
        self.captures: list[np.ndarray[Any, Any]] = []
        self.variables: list[Variable] = []
        self._captured: dict[int, SymbolicTensor] = {}
        self._contents: list[int] = []  # of captures, as a checksum
        self._constants: dict[int, tuple[TensorBase, int]] = {}
        self._reads: dict[int, int] = {}  # cell -> its parameter
        self._values: dict[int, TensorBase] = {}  # cell -> its value now
        self._written: list[int] = []
        self._weak: set[int] = set()
        self._checked: list[SymbolicTensor] = []
        self._outermost = 0  # the id of the frame that traces
        self._ravels: set[int] = set()  # nodes that np.ravel made
        self._bases: dict[int, SymbolicTensor] = {}  # leaves and captured arrays, by parameter
        self.sizes = Sizes()
        self.op_memo = OpMemo(self.builder, _CLASSES)
        self.regions = Regions(self.builder.nodes)
        self._bounds: dict[int, tuple[int, int]] = {}  # of integers that stay within some

    @contextmanager
    def active(self) -> Iterator[Trace]:
        """Make this the trace of the context."""
        self._outermost = id(sys._getframe(2))  # past the context manager's
        token = current_trace.set(self)
        watch = on_refusal.set(self._note_refusal)
        self.sizes.recording, self.sizes.traced = True, self.size
        try:
            with config.python_decides():
                yield self
            for array, contents in zip(self.captures, self._contents, strict=True):
                if _checksum(array) != contents:
                    raise TracingError("an array is written to after it was used in the trace")
        finally:
            current_trace.reset(token)
            on_refusal.reset(watch)
            self.closed = self.op_memo.closed = True
            self.sizes.recording, self.sizes.traced = False, None

    @contextmanager
    def released(self) -> Iterator[None]:
        """Have no symbolic tensor or error after the `with` block: they have the trace, and
        would live, with the arrays of the call, until a garbage collection.
        """
        try:
            yield
        finally:
            self.failed = None
            for symbols in (self._captured, self._values, self._bases, self._checked):
                symbols.clear()

    def _note_refusal(self, error: GraphJitError) -> None:
        self.failed = self.failed or error

    def with_numpy_rules(self, action: Callable[[], Any], operands: Sequence[Any] = ()) -> Any:
        """Run an action whose results are of NumPy origin (weak if all operands are)."""
        previous = self.origin
        self.origin = "weak" if operands and all(map(is_weak, operands)) else "numpy"
        try:
            return action()
        finally:
            self.origin = previous

    def record_memoized(
        self,
        key: tuple[Any, ...] | None,
        operands: Sequence[Any],
        action: Callable[[], Any],
        weak: Sequence[Any] = (),
    ) -> Any:
        """What an operator or ufunc gives by NumPy's rules, noted for the next one."""
        first = len(self.builder.nodes)
        result = self.with_numpy_rules(action, weak)
        if (
            key is not None
            and type(result) in _CLASSES
            and result.origin == "numpy"
            and result.node == len(self.builder.nodes) - 1
        ):
            result._type = self.op_memo.record_memoized(key, operands, first)
        return result

    def parameter(
        self, type: TensorType, name: str, origin: str, role: str, leaf: int = -1
    ) -> SymbolicTensor:
        """A new parameter of the graph. leaf: its number, if it is a leaf of the arguments."""
        node = self.builder.add(source.param, (), None, type=type, name=name, role=role)
        if origin == "weak":
            self._weak.add(node)
        symbol = SymbolicTensor(self, node, self.op_memo.same(type), origin)
        symbol.storage.shared = True
        if leaf >= 0:
            symbol.made = Base("leaf", leaf)
            self._bases[node] = symbol
        symbol.storage.scalar = not type.shape
        return symbol

    def apart(self, x: SymbolicTensor) -> SymbolicTensor:
        """An ndarray as an operand of a function of gj's: a tensor, in memory of its own."""
        if self.origin != "tensor" or x.origin != "numpy" or not x.storage.shared:
            return x
        return SymbolicTensor(self, x.node, x.type, "tensor")

    def view_of_parameter(
        self, x: SymbolicTensor, lasting: Callable[[Any], bool]
    ) -> ResultView | None:
        """How a result is had of an argument or a captured array, where the Python code has
        that itself, or NumPy has the result in its memory; None for other results. lasting:
        whether a captured array lies in memory that was there before the trace.
        """
        found = x.made if x.origin == "numpy" or isinstance(x.made, Base) else None
        for made in (found, self._made_by_nodes(x)):
            if made is not None and all(map(lasting, self._captured_among(made))):
                return ResultView(made)
        return None

    def _captured_among(self, made: Base | Item) -> list[np.ndarray[Any, Any]]:
        return [self.captures[n] for role, n in _bases_of(made) if role == "capture"]

    def _made_by_nodes(self, x: SymbolicTensor) -> Base | Item | None:
        """How NumPy makes a view of an argument or captured array, where its call can't be made
        again as it was.
        """
        end = self.way_up(x.node)[-1]
        base = self._bases.get(end)
        if base is None or x.origin != "numpy" or (base.storage.scalar and not x.type.shape):
            return None
        if all(x.storage.owner() is not known.storage for known in self._bases.values()):
            return None
        assert isinstance(base.made, Base)
        return self.made_of(base.made, end, x.node, x.storage.base is not None)

    def captured(self, x: SymbolicTensor) -> np.ndarray[Any, Any] | None:
        """The captured array of which this is a view, or that it is; None for others."""
        made = self._made_by_nodes(x) if x.made is None else x.made
        found = [] if made is None else self._captured_among(made)
        return found[0] if found else None

    def note_views(
        self,
        results: Any,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
    ) -> None:
        """Note that these results are what a function of NumPy's gives for these arguments, in
        their memory or not, whatever is done: for arguments of the trace alone.
        """
        todo: list[tuple[SymbolicTensor, tuple[int, ...]]]
        if isinstance(results, SymbolicTensor):
            todo = [(results, ())]
        elif type(results) in (list, tuple):
            todo = [(x, (i,)) for i, x in enumerate(results) if isinstance(x, SymbolicTensor)]
        else:
            return
        new = [(x, path) for x, path in todo if x.made is None]
        try:
            call = Call(function, _made(tuple(args)), {k: _made(v) for k, v in kwargs.items()})
        except LookupError:
            return
        for x, path in new if call.bases else ():
            x.made = Item(call, path)

    def way_up(self, node: int) -> list[int]:
        """A node, the one that it is a view of, and so on."""
        way = [node]
        while (above := self._above(way[-1])) is not None:
            way.append(above)
        return way

    def _above(self, number: int) -> int | None:
        node = self.builder.nodes[number]
        views = isinstance(node.primitive.kind, View) or node.primitive in _PARTS
        return node.inputs[0] if views and len(node.inputs) == 1 else None

    def made_of(self, base: Base, top: int, node: int, frozen: bool = False) -> Item:
        """How NumPy makes an array that is a view, by `way_up`, of the node of a base. frozen:
        it is read-only.
        """
        made: Base | Item = base
        way = self.way_up(node)
        for number in reversed(way[: way.index(top)]):
            step = self.builder.nodes[number]
            ravels = number in self._ravels
            function = np.ravel if ravels else step.primitive.numpy
            made = Item(Call(function, (made,), {} if ravels else dict(step.attrs)), ())
        view = made if isinstance(made, Item) else all_of(made)
        return Item(Call(_frozen, (view,), {}), ()) if frozen else view

    def raveled(self, x: SymbolicTensor) -> SymbolicTensor:
        """An array that np.ravel made, which copies what isn't contiguous; reshape needn't."""
        self._ravels.add(x.node)
        return x

    def size(self, dim: Dim, dtype: DType = int64) -> SymbolicTensor:
        """A symbolic extent as a Python number that is known at run time."""
        node = self.builder.add(source.extent, (), user_line(), value=dim, dtype=dtype)
        return SymbolicTensor(self, node, self.builder.type_of(node), "weak")

    def capture(self, array: np.ndarray[Any, Any]) -> SymbolicTensor:
        """The parameter for an ndarray that the function's Python code holds."""
        found = self._captured.get(id(array))
        if found is None:
            self.captures.append(array)
            self._contents.append(_checksum(array))
            type = TensorType(array.shape, as_dtype(array.dtype))
            name = f"capture{len(self.captures) - 1}"
            found = self.parameter(type, name, "numpy", "capture")
            found.swapped = not array.dtype.isnative
            found.storage.scalar = False
            found.be_array()
            found.made = Base("capture", len(self.captures) - 1)
            self._captured[id(array)] = self._bases[found.node] = found
        return found

    def read(self, variable: Variable) -> TensorBase:
        """A variable's value at this point of the trace."""
        cell = id(variable.cell)
        if cell not in self._values:
            self.variables.append(variable)
            name = variable.name.removesuffix(":0")
            symbol = self.parameter(variable.type, name, "tensor", "variable")
            self._reads[cell] = symbol.node
            self._values[cell] = symbol
        return self._values[cell]

    def assign(self, variable: Variable, value: TensorBase) -> None:
        """A variable's value from this point of the trace on."""
        if self.regions.starts:
            raise TracingError(
                at_user_line(
                    "a variable is assigned in a branch or loop, which can't be traced",
                    "return the value, and assign it after that",
                )
            )
        self.read(variable)
        cell = id(variable.cell)
        if cell not in self._written:
            self._written.append(cell)
        if isinstance(value, SymbolicTensor):  # its handle may be written to later
            value = SymbolicTensor(self, value.node, value.type, "tensor")
        self._values[cell] = value

    def slice_of(self, variable: Variable, key: Any, part: Any) -> Any:
        """A slice of a variable, with `assign`."""
        if isinstance(part, SymbolicTensor):
            symbol = SymbolicTensor(self, part.node, part.type, part.origin)
            symbol._target = (variable, key)
            return symbol
        return part

    def weak_params_of(self, node: int) -> frozenset[int]:
        """The Python-scalar parameters that a node depends on."""
        found, todo, seen = set(), [node], set()
        while todo:
            index = todo.pop()
            if index in seen:
                continue
            seen.add(index)
            if index in self._weak:
                found.add(index)
            todo += self.builder.nodes[index].inputs
        return frozenset(found)

    def _require_no_handler(self, op: str) -> None:
        """TracingError where the user's code would handle what is only found when compiled code
        runs.
        """
        if handled_by_user(self._outermost):
            raise TracingError(
                at_user_line(
                    f"what {op} may raise when the compiled function runs is handled in it, by "
                    "a `try` around it"
                )
            )

    def checked(self, x: SymbolicTensor) -> SymbolicTensor:
        """A value whose computation may fail as Python's does, used or not."""
        self._require_no_handler("arithmetic")
        self._checked.append(x)
        return x

    def require_checks(self, nodes: Sequence[int]) -> None:
        """See to it that all checks of Python's numbers are made by a graph of these outputs:
        those on no way to one need the numbers now.
        """
        if not self._checked:
            return
        todo, seen = [*nodes, *(node for _, node in self.updates())], set[int]()
        while todo:
            index = todo.pop()
            node = self.builder.nodes[index]
            empty = isinstance(node.type, TensorType) and 0 in node.type.shape
            if index not in seen and not empty:  # nothing is computed of empty arrays
                seen.add(index)
                todo += node.inputs
        for x in self._checked:
            if x.node not in seen:
                raise x._needs_value("an operation that may fail and whose result isn't used")

    def node_of(self, x: TensorBase, line: SourceLine | None = None) -> int:
        """The node of an input: a constant for a tensor that has a value, from the user's line
        if no line is given.
        """
        if isinstance(x, SymbolicTensor):
            if x.recorder is not self or self.closed:
                raise leaked(x)
            return x.node
        known = self._constants.get(id(x))
        if known is None:
            array = x._array  # type: ignore[attr-defined]
            known = (x, self.builder.const(array, line or user_line()))
            self._constants[id(x)] = known
        return known[1]

    def record(
        self, primitive: Primitive, inputs: Sequence[TensorBase], attrs: dict[str, Any]
    ) -> Any:
        """Append a node; its result, or results, as symbolic tensors."""
        for x in inputs:
            if isinstance(x, SymbolicTensor) and (x.recorder is not self or x.recorder.closed):
                raise leaked(x)
        if isinstance(primitive.kind, _MAY_FAIL):
            self._require_no_handler(primitive.tensorflow)
        line = user_line()
        nodes = [self.node_of(x, line) for x in inputs]
        node = self.builder.add(primitive, nodes, line, **attrs)
        type = self.builder.nodes[node].type
        if isinstance(type, TupleType):
            items = [
                self.builder.add(source.item, (node,), line, index=i)
                for i in range(len(type.items))
            ]
            return tuple(
                self.symbol(item, t) for item, t in zip(items, type.items, strict=True)
            )
        check_size(type.shape, type.dtype, primitive.tensorflow)
        symbol = self.symbol(node, type)
        if isinstance(primitive.kind, View) and isinstance(inputs[0], SymbolicTensor):
            symbol._stand_on(inputs[0])
        return symbol

    def bound(self, x: SymbolicTensor, low: int, high: int) -> None:
        """Note between which numbers a Python integer is, whatever the call."""
        self._bounds[x.node] = low, high

    def bounds_after(self, name: str, operands: Sequence[Any]) -> tuple[int, int] | None:
        """Between which numbers arithmetic of Python's integers stays, where that is known and
        fits in 64 bits.
        """
        known = []
        for x in operands:
            if isinstance(x, SymbolicTensor) and x.node in self._bounds:
                known.append(self._bounds[x.node])
            elif isinstance(x, int):
                known.append((int(x), int(x)))
            else:
                return None
        a, b = known[0], known[-1]
        match name:
            case "add":
                low, high = a[0] + b[0], a[1] + b[1]
            case "sub":
                low, high = a[0] - b[1], a[1] - b[0]
            case "mul":
                ends = [p * q for p in a for q in b]
                low, high = min(ends), max(ends)
            case "neg":
                low, high = -a[1], -a[0]
            case _:
                return None
        return (low, high) if low >= -(2**63) and high < 2**63 else None

    def placeholder(self, type: TensorType, origin: str) -> SymbolicTensor:
        """A value of the region whose function runs."""
        node = self.builder.add(source.placeholder, (), user_line(), type=type)
        symbol = SymbolicTensor(self, node, type, origin)
        symbol.storage.shared = origin == "numpy"  # as an argument, which may not be written
        return symbol

    def region(
        self, types: Sequence[tuple[TensorType, str]], function: Callable[..., Any]
    ) -> Region:
        """Run the function of a region on new symbolic tensors of these types and origins."""
        return traced_region(self, types, function)

    def control(
        self,
        primitive: Primitive,
        regions: Sequence[tuple[Region, Sequence[Any]]],
        inputs: Sequence[TensorBase],
        origins: Sequence[str],
        **attrs: Any,
    ) -> list[SymbolicTensor]:
        """Append a node of control flow; its results. regions: each with its outputs. inputs:
        those that aren't found in the regions. origins: of the results.
        """
        line = user_line()
        outputs = [[self.node_of(x, line) for x in found] for _, found in regions]
        for (region, _), nodes in zip(regions, outputs, strict=True):
            # of its own nodes those of regions inside it
            self._require_no_leak(nodes, region.start + 1)
        outside = [
            self.regions.needed(region, nodes)[1]
            for (region, _), nodes in zip(regions, outputs, strict=True)
        ]
        operands = list(dict.fromkeys(number for found in outside for number in found))
        graphs = tuple(
            self.regions.graph(region, nodes, operands, f"{primitive.name}_{k}")
            for k, ((region, _), nodes) in enumerate(zip(regions, outputs, strict=True))
        )
        given = [self.node_of(x, line) for x in inputs]
        node = self.builder.add(primitive, (*given, *operands), line, graphs, **attrs)
        type = self.builder.nodes[node].type
        assert isinstance(type, TupleType)
        results = []
        for k, (item, origin) in enumerate(zip(type.items, origins, strict=True)):
            number = self.builder.add(source.item, (node,), line, index=k)
            results.append(SymbolicTensor(self, number, item, origin))
        return results

    def _require_no_leak(self, nodes: Sequence[int], start: int = 0) -> None:
        """LeakedTracerError where nodes need one of a branch or loop that has ended."""
        node = self.regions.leaked_node(nodes, start)
        if node is not None:
            made = self.builder.nodes[node].source
            where = f", made {made.describe()}," if made is not None else ""
            raise LeakedTracerError(
                at_user_line(
                    f"a value of a branch or loop{where} is used outside of it",
                    "return it from the function of the branch or loop",
                )
            )

    def symbol(self, node: int, type: TensorType) -> SymbolicTensor:
        """A symbolic tensor of a node, of the origin that results have now."""
        return SymbolicTensor(self, node, type, self.origin)

    def weak(self, x: SymbolicTensor) -> SymbolicTensor:
        """A number or bool that NumPy gives as Python's."""
        return SymbolicTensor(self, x.node, x.type, "weak")

    def updates(self) -> list[tuple[int, int]]:
        """Pairs (a variable's parameter, the node of its last value)."""
        return [(self._reads[cell], self.node_of(self._values[cell])) for cell in self._written]

    def finish(self, outputs: Sequence[Any]) -> Graph:
        """The graph of these outputs and of all variables written."""
        return self.graph_of([self.node_of(as_tensor(x)) for x in outputs])

    def graph_of(self, nodes: Sequence[int]) -> Graph:
        """The graph of these output nodes and of all variables written."""
        updates = self.updates()
        graph = self.builder.finish(nodes, updates)
        if not self.regions.closed:
            return graph
        self._require_no_leak([*nodes, *(node for _, node in updates)])
        return compacted(graph)


# What is not looked into for traced values: it has none, or lives on its own.
_WHOLE = (
    str, bytes, bool, int, float, complex, type(None), type, range, np.dtype, np.generic,
    types.ModuleType, types.CodeType, types.BuiltinFunctionType,
)  # fmt: skip


def holds_traced(value: Any, depth: int = 4, most: int = 5000) -> bool:
    """Whether a value is traced, a tensor or an extent, or an object that holds one that is: in
    its attributes, items, closure, or whatever else Python's garbage collector sees of it.
    """
    todo, seen = [(value, 0)], {id(value)}
    while todo:
        value, level = todo.pop()
        if isinstance(value, (SymbolicTensor, Dim)):
            return True
        if level == depth or isinstance(value, _WHOLE) or _is_ours(value):
            continue
        if isinstance(value, types.FunctionType):
            items = [value.__closure__, value.__defaults__, value.__kwdefaults__]
        elif isinstance(value, np.ndarray):
            items = value.ravel().tolist() if value.dtype == object else []
        else:
            items = gc.get_referents(value)
        for item in items[:1000] if len(seen) < most else ():
            if id(item) not in seen:
                seen.add(id(item))
                todo.append((item, level + 1))
    return False


def _is_ours(value: Any) -> bool:
    """Whether a class of graphjit's made it, such as a compiled function."""
    return type(value).__module__.split(".")[0] == "graphjit"


def leaked(x: SymbolicTensor) -> LeakedTracerError:
    """The error for a symbolic tensor outside its trace: where it was made and is used."""
    born = f", made {x.line.describe()}," if x.line else ""
    return LeakedTracerError(
        at_user_line(
            f"a symbolic tensor ({x.type}) of the trace of {x.recorder.builder.name!r}{born} "
            "is used outside that trace",
            "return values from the function instead of storing them",
        )
    )
