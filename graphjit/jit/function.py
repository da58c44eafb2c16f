"""`gj.function`: the decorated function, and the fast path of its calls.

A call that machine code doesn't take goes to `Function.__call__`. That reads the argument list
into a `CallKey`, finds a specialization in the `SpecializationTable`, and runs it. The
`Specializer` makes one where there is none.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.capture.sources import Readings

# Passes, compiler and native entry are for calls that find nothing on disk, and for later ones.
# What each first call needs is imported here, for that takes longer than such a call.
from graphjit.core import float_errors
from graphjit.core.config import config
from graphjit.core.devices import exporter, runnable_device
from graphjit.core.errors import (
    InvalidArgumentError,
    NeedsPython,
    PathNotTaken,
    TracingError,
    at_user_line,
)
from graphjit.core.lazy import lazy_module, load_attribute
from graphjit.core.static_lookup import Decorated
from graphjit.core.tree import flatten
from graphjit.core.types import TensorSpec
from graphjit.tensors.apply import current_trace
from graphjit.tensors.recording import recorders

from .call_key import ArgumentReader
from .compiled_call import CompiledCall
from .definition import FunctionDefinition
from .eager import run_eagerly
from .effects import EffectsDoNotFit
from .entry_table import EntryTable, is_native_due
from .options import DEFAULT_OPTIONS, OPTION_NAMES, FunctionOptions, check_options
from .specialization import CaptureReplacedError, Specialization
from .specialization_table import SpecializationTable
from .specializer import Specializer
from .vectorcall import Enterable, enterable

if TYPE_CHECKING:
    from graphjit.codegen.runtime.entry_writer import Table
    from graphjit.ir.graph import Graph
    from graphjit.passes import Pass

    from . import explain as explanations
    from . import native_entry, pickling
    from . import outputs as out_arguments
    from .recompile import Miss
else:
    explanations = lazy_module("graphjit.jit.explain")
    native_entry = lazy_module("graphjit.jit.native_entry")
    out_arguments = lazy_module("graphjit.jit.outputs")
    pickling = lazy_module("graphjit.jit.pickling")


class _DefaultAttribute:
    """An attribute of a function's definition, unless the user gave the function one of that
    name.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, function: Any, owner: Any = None) -> Any:
        return self if function is None else getattr(function._definition, self.name)


class _OfPythonFunction:
    """An attribute that is the Python function's own."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self if owner is None else getattr(owner.python_function, self._name)

    def __set__(self, owner: Any, value: Any) -> None:
        setattr(owner.python_function, self._name, value)


class Function(Enterable, Decorated):  # type: ignore[misc]
    """A Python function that is traced and compiled once for each signature.

    Calling it gives what the Python function gives. A call of what is specialised already is
    entered by machine code (`native_entry.py`), where the interpreter and NumPy are of a known
    layout. `__call__` is for all else, and for all calls where they aren't.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_by_key",
        "_conform",
        "_definition",
        "_entries",
        "_reader",
        "_specializations",
        "_specializer",
        "_table",
        "tape_pulls",
    )
    # Whether machine code can enter these objects.
    _native = False
    # What a trace makes, if no plain Specialization.
    specialization_class: type[Specialization] | None = None
    # The names of the Python function, alone and with those of what it stands in.
    name: Any = _DefaultAttribute("name")
    qualified_name: Any = _DefaultAttribute("qualified_name")
    __defaults__: Any = _OfPythonFunction("__defaults__")
    __kwdefaults__: Any = _OfPythonFunction("__kwdefaults__")
    __code__: Any = _OfPythonFunction("__code__")
    __globals__: Any = _OfPythonFunction("__globals__")
    __closure__: Any = _OfPythonFunction("__closure__")
    # The native entries of the specializations, which machine code reads.
    _table: Table | None
    _definition: FunctionDefinition
    # Where machine code enters this function.
    _entered_at: int

    # The options.
    input_signature: tuple[Any, ...] | None
    fallback: str
    outputs: str | None
    passes: tuple[Pass, ...]
    fast_math: bool
    donate: tuple[str | int, ...]
    tensor_cores: str | None

    def __init__(
        self, function: Callable[..., Any], options: FunctionOptions = DEFAULT_OPTIONS
    ) -> None:
        functools.update_wrapper(self, function)
        definition = FunctionDefinition(function, options, self.specialization_class)
        self._table = None
        self._definition = definition
        self._reader = ArgumentReader()
        self._entries = EntryTable(self, definition)
        self._specializations = SpecializationTable(self._entries)
        self._specializer = Specializer(
            definition, self._reader, self._specializations, self._entries
        )
        # For the fast path of `__call__`, which need not ask the table and the options.
        self._by_key = self._specializations.by_key
        self._conform = None if options.input_signature is None else definition.conform
        # What tapes of eager mode made of it, by how it was called.
        self.tape_pulls: dict[Any, Any] = {}

    # -- calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the Python function gives for these arguments; out: see `into`."""
        if "out" in kwargs and self._definition.takes_out:
            return self.into(kwargs.pop("out"), *args, **kwargs)
        if current_trace.get() is not None:
            return self.python_function(*args, **kwargs)
        tapes = recorders.get()
        if tapes:
            return tapes[-1].call(self, args, kwargs)
        entries = self._entries
        if self._native and not entries.address and is_native_due():
            entries.address = native_entry.install_entry_point(Function)
        if self._conform is not None:
            args, kwargs = self._conform(args, kwargs), {}
        if config.functions_run_eagerly or float_errors.are_reported():
            return self._run_eagerly(args, kwargs)
        key = None
        if not kwargs:
            key = self._reader.short_key(args)
            if key is not None:
                specializations = self._by_key.get(key)
                late = entries.late and entries.address
                if specializations and specializations[0].direct is not None and not late:
                    return specializations[0].direct(args)
                read = Readings()
                found = self._specializations.find(key, read)
                if found is not None and not entries.is_late(found):
                    return self._run(found, args, args, kwargs, read)
        try:
            call = self._reader.read_with(key, args, kwargs)
        except RecursionError:
            self._specializer.refuse_or_warn(
                "an argument holds itself, or is nested too deeply"
            )
            return self.python_function(*args, **kwargs)
        read = Readings()
        specialization = self._specializer.find_or_make(call, read)
        return self._run(specialization, call.leaves, args, kwargs, read)

    def into(self, out: Any, /, *args: Any, **kwargs: Any) -> Any:
        """What a call gives, written into `out`: an array, or arrays in the structure of the
        results, None for those that need no array.
        """
        if type(out) is np.ndarray and not kwargs and self._conform is None:
            found = self._by_key.get(self._reader.short_key(args))
            write = found[0].direct_into if found else None
            if write is not None and _compiles_here():
                result = write(out, args)
                if result is not None:
                    return result
        if current_trace.get() is not None:
            raise TracingError(at_user_line("`out` of a function that is called in a trace"))
        arrays = out_arguments.OutArrays(out)
        if self._conform is not None:
            args, kwargs = self._conform(args, kwargs), {}
        if config.functions_run_eagerly or float_errors.are_reported():
            return arrays.fill(self(*args, **kwargs))
        call = self._reader.read(args, kwargs)
        read = Readings()
        specialization = self._specializer.find_or_make(call, read)
        if (
            specialization.reason
            or specialization.may_be_left
            or specialization.effects is not None
        ):
            return arrays.fill(self._run(specialization, call.leaves, args, kwargs, read))
        try:
            return out_arguments.write_results(
                specialization, call.leaves, (args, kwargs), arrays, read
            )
        except (CaptureReplacedError, NeedsPython):
            pass  # nothing was done yet
        return arrays.fill(self._call_python(args, kwargs))

    def _run(
        self,
        specialization: Specialization,
        leaves: Sequence[Any],
        args: Any,
        kwargs: Any,
        read: Readings,
    ) -> Any:
        if specialization.reason:
            return self._specializer.run_eagerly(specialization, leaves, args, kwargs)
        # what Python runs next is no part of the handlers: its errors have no context
        left = False
        try:
            return CompiledCall(specialization, leaves, read).run(given=(args, kwargs))
        except CaptureReplacedError:  # while the function was traced; nothing was done yet
            pass
        except (EffectsDoNotFit, NeedsPython):
            if specialization.has_rooms:
                self._specializer.give_room(specialization)
        except PathNotTaken:
            left = True
        if left:
            return self._run_other_path(specialization, args, kwargs)
        return self._call_python(args, kwargs)

    def _run_other_path(self, specialization: Specialization, args: Any, kwargs: Any) -> Any:
        """The results of a call that goes another way than the specialization that was run."""
        tried = [specialization]
        call = self._reader.read(args, kwargs)
        while True:
            tried.append(self._specializer.find_or_make_path(call, tried))
            if tried[-1].reason:
                return self._specializer.run_eagerly(tried[-1], call.leaves, args, kwargs)
            try:
                return CompiledCall(tried[-1], call.leaves).run(given=(args, kwargs))
            except PathNotTaken:
                continue
            except (CaptureReplacedError, EffectsDoNotFit, NeedsPython):
                break
        return self._call_python(args, kwargs)

    def _run_eagerly(self, args: Any, kwargs: Any) -> Any:
        if not config.functions_run_eagerly:
            self._specializer.refuse_or_warn(float_errors.REASON)
        return self._call_python(args, kwargs)

    def _call_python(self, args: Any, kwargs: Any) -> Any:
        leaves: list[Any] = []
        flatten((args, kwargs), leaves)
        return run_eagerly(self._definition, args, kwargs, leaves)

    # -- what was made of it

    @property
    def options(self) -> FunctionOptions:
        """How the function is traced, compiled and run."""
        return self._definition.options

    @property
    def python_function(self) -> Callable[..., Any]:
        """The function that was decorated."""
        return self._definition.python_function

    @python_function.setter
    def python_function(self, function: Callable[..., Any]) -> None:
        self._definition.python_function = function

    @property
    def trace_count(self) -> int:
        """How often the function was traced."""
        return self._specializer.trace_count

    @property
    def specializations(self) -> list[Specialization]:
        """All specializations made so far, but for those of objects that died."""
        return self._specializations.all()

    def specialization(self, *args: Any, **kwargs: Any) -> Specialization:
        """The specialization that a call with these arguments uses, made if need be."""
        if self._conform is not None:
            args, kwargs = self._conform(args, kwargs), {}
        call = self._reader.read(args, kwargs)
        tried = [self._specializer.find_or_make(call)]
        while not CompiledCall(tried[-1], call.leaves).takes_path():
            tried.append(self._specializer.find_or_make_path(call, tried))
        return tried[-1]

    def leaves_of(self, args: Any, kwargs: Any) -> list[Any]:
        """The leaves of an argument list, as a specialization takes them."""
        if self._conform is not None:
            args, kwargs = self._conform(args, kwargs), {}
        return self._reader.read(args, kwargs).leaves

    def get_graph(self, *args: Any, **kwargs: Any) -> Graph:
        """The graph as traced for these arguments. TracingError if they can't be traced."""
        specialization = self.specialization(*args, **kwargs)
        if specialization.graph is None:
            raise TracingError(specialization.reason)
        return specialization.graph

    def ptx(self, *args: Any, arch: str = "sm_90", tensor_cores: str | None = None) -> str:
        """CUDA PTX of what a call with these arguments computes, for an architecture; a
        gj.TensorSpec may stand for an array.

        tensor_cores: as the function's own (see `graphjit.function`), in place of it. Raises
        InvalidArgumentError for architectures before sm_80.
        """
        text: str = exporter("ptx")(self, args, arch, tensor_cores).text
        return text

    def explain(self, *args: Any, **kwargs: Any) -> str:
        """What a call with these arguments runs: kernels, what was not fused and why, times."""
        specialization = self.specialization(*args, **kwargs)
        return explanations.explain_specialization(specialization)

    def explain_misses(self) -> tuple[Miss, ...]:
        """Why the function was compiled again, each time, the latest last (at most 1000)."""
        return tuple(self._specializer.misses)

    # -- as Python's own functions

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self) -> tuple[Any, ...]:
        return pickling.reduce_function(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        Function.__init__(self, state["function"], state["options"])
        self.__dict__.update(state["attributes"])

    def __copy__(self) -> Function:
        return self

    def __deepcopy__(self, memo: Any) -> Function:
        return self

    def __repr__(self) -> str:
        return f"<graphjit.function {self.qualified_name}>"


def _make_option(name: str) -> property:
    """The attribute of a function that is one of its options."""

    def read(function: Function) -> Any:
        return getattr(function._definition.options, name)

    def write(function: Function, value: Any) -> None:
        definition = function._definition
        options = definition.options = replace(definition.options, **{name: value})
        function._conform = None if options.input_signature is None else definition.conform

    return property(read, write)


for _name in OPTION_NAMES:
    setattr(Function, _name, _make_option(_name))
Function._native = enterable(Function)


def _compiles_here() -> bool:
    """Whether a call runs what is compiled: no trace is on, and nothing asks for eager mode."""
    eager = config.functions_run_eagerly or float_errors.are_reported()
    return current_trace.get() is None and not eager


def function(
    func: Callable[..., Any] | None = None,
    *,
    input_signature: Sequence[TensorSpec] | None = None,
    fallback: str = "eager",
    outputs: str | None = None,
    passes: Sequence[Pass] = (),
    fast_math: bool = False,
    donate: str | int | Sequence[str | int] = (),
    device: str | None = None,
    tensor_cores: str | None = None,
) -> Any:
    """Make a Python function on arrays a compiled one. A decorator, with or without options.

    input_signature: a TensorSpec for each argument. fallback: what to do where the function
    can't be traced: "eager" runs it as plain Python, with one warning; "error" raises
    TracingError. outputs: "tensor" or "numpy"; by default ndarrays if all array arguments
    are ndarrays, tensors if one is a tensor, and without array arguments what the Python code
    makes. passes: graph passes of your own (graphjit.passes.Pass), run
    before the default ones. fast_math: math functions may err by 4 units in the last place
    instead of 2 and need not be right where arguments or results are infinite, NaN or
    subnormal; products and sums may be fused, and divisions become products. donate: names or
    positions of parameters; results may take the memory of ndarrays that are passed there,
    which must not be used afterwards. device: "cpu" (the same as None) or "cuda", which needs
    `graphjit[cuda]` and a GPU at the first call; see graphjit.cuda.CudaFunction.
    tensor_cores: "tf32", "float16" or "bfloat16" lets those of a GPU multiply matrices of
    float32, and of float16 and bfloat16, which are multiplied as float32. Operands are rounded
    to that type (11, 11 or 8 significant bits), which changes nothing in arrays of it; what
    float16 can't hold becomes infinite. Sums are float32, in no specified order.
    """
    kind: type[Function] = Function
    if device not in (None, "cpu"):
        found = runnable_device(device)
        given = {"fast_math": fast_math, "donate": donate != ()}
        if any(given[option] for option in found.refused):
            refused = " or ".join(found.refused)
            raise InvalidArgumentError(at_user_line(f'device="{device}" has no {refused}'))
        assert found.function is not None
        kind, fallback = load_attribute(found.function), "error"

    def decorate(python_function: Callable[..., Any]) -> Function:
        options = check_options(
            python_function,
            input_signature,
            fallback,
            outputs,
            passes,
            fast_math,
            donate,
            tensor_cores,
        )
        return kind(python_function, options)

    return decorate if func is None else decorate(func)


__all__ = ["Function", "function"]
