"""`@graphjit.function`: specialisations, dispatch and fallback. Joins all other parts."""

from __future__ import annotations

import functools
import threading
import time
import types
import warnings
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .config import config
from .dispatch import TensorBase, as_tensor, current_trace
from .errors import (
    GraphJitError,
    InvalidArgumentError,
    LeakedTracerError,
    TracingError,
    at_user_line,
)
from .hidden import Getter, find_captures
from .ir import Graph
from .program import Program, print_step, step_cost
from .tensor import Tensor, TensorSpec, _wrap
from .trace import StaticValueNeeded, SymbolicTensor, Trace
from .tree import LEAF, Tree, flatten, unflatten
from .types import TensorType, as_dtype
from .variable import Variable

Array = np.ndarray[Any, np.dtype[Any]]


class FallbackWarning(UserWarning):
    """A decorated function runs eagerly, and why."""


class _Identity:
    """A key that is equal to itself for as long as the object lives."""

    __slots__ = ("_number", "_ref")

    def __init__(self, value: Any) -> None:
        self._number = id(value)
        try:
            self._ref: Callable[[], Any] = weakref.ref(value)
        except TypeError:
            self._ref = lambda: value

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Identity) or other._number != self._number:
            return False
        return self._ref() is not None and self._ref() is other._ref()


# What a leaf is to the traced function.
ARRAY, TENSOR, SCALAR, STATIC = "array", "tensor", "scalar", "static"
_BY_VALUE = (str, bytes, bool, type(None), type, np.dtype, types.FunctionType)


@dataclass(frozen=True, slots=True)
class LeafKind:
    """How a leaf is passed: kind, and its type (or the key of a static value)."""

    kind: str
    key: Any


@dataclass
class Specialization:
    """A traced and compiled form of a function for one signature, or the reason for none.

    graph: as traced. captures: ndarrays that the Python code reads, each with a way to look
    it up again. reason: why calls run eagerly instead.
    """

    kinds: tuple[LeafKind, ...]
    reason: str = ""
    graph: Graph | None = None
    program: Program | None = None
    executable: Any = None
    captures: list[Array] = field(default_factory=list)
    getters: list[Getter | None] = field(default_factory=list)
    variables: list[Variable] = field(default_factory=list)
    order: list[tuple[str, int]] = field(default_factory=list)
    updated: list[Variable] = field(default_factory=list)
    tree: Tree = LEAF
    results: list[tuple[str, Any]] = field(default_factory=list)
    times_ns: dict[str, int] = field(default_factory=dict)


class Function:
    """A Python function that is traced and compiled once for each signature.

    Calling it gives what the Python function gives. trace_count: how often it was traced.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        input_signature: Sequence[TensorSpec] | None = None,
        fallback: str = "eager",
        outputs: str | None = None,
    ) -> None:
        if fallback not in ("eager", "error"):
            raise InvalidArgumentError(f"fallback is 'eager' or 'error', not {fallback!r}")
        if outputs not in (None, "tensor", "numpy"):
            raise InvalidArgumentError(f"outputs is 'tensor' or 'numpy', not {outputs!r}")
        if not callable(function):
            raise InvalidArgumentError(f"a function to trace is callable, not {function!r}")
        functools.update_wrapper(self, function)
        self.python_function = function
        self.input_signature = None if input_signature is None else tuple(input_signature)
        self.fallback = fallback
        self.outputs = outputs
        self.trace_count = 0
        self._lock = threading.RLock()
        self._known: dict[Any, list[Specialization]] = {}
        self._integers: dict[Any, Any] = {}  # where -> first value, or None once it changed
        self._pinned: set[Any] = set()  # where Python needs a scalar's value
        self._warned = False

    @property
    def specializations(self) -> list[Specialization]:
        """All forms made so far."""
        return [item for forms in self._known.values() for item in forms]

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self) -> tuple[Any, ...]:
        return _by_name, (self.python_function.__module__, self.python_function.__qualname__)

    def __repr__(self) -> str:
        return f"<graphjit.function {self.python_function.__qualname__}>"

    # -- calling ----------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current_trace.get() is not None:
            return self.python_function(*args, **kwargs)
        if self.input_signature is not None:
            args = self._conform(args, kwargs)
            kwargs = {}
        if not kwargs and not config.functions_run_eagerly:
            key: Any = []
            for x in args:
                if type(x) is np.ndarray:
                    key.append(x.shape)
                    key.append(x.dtype)
                elif type(x) is Tensor:
                    key.append(x.type)
                else:
                    break
            else:
                forms = self._known.get(tuple(key))
                if forms is not None and len(forms) == 1 and not forms[0].getters:
                    return self._run(forms[0], args, args, {})
                return self._call(tuple(key), args, args, {})
        leaves: list[Any] = []
        tree = flatten((args, kwargs), leaves)
        if config.functions_run_eagerly:
            return self._eager(args, kwargs, leaves)
        kinds = tuple(self._kind(x, (tree, i)) for i, x in enumerate(leaves))
        return self._call((tree, kinds), leaves, args, kwargs)

    def _call(self, key: Any, leaves: Sequence[Any], args: Any, kwargs: Any) -> Any:
        return self._run(self._find(key, leaves, args, kwargs), leaves, args, kwargs)

    def _find(self, key: Any, leaves: Sequence[Any], args: Any, kwargs: Any) -> Specialization:
        forms = self._known.get(key)
        if forms is not None:
            for form in forms:
                if self._captures_fit(form):
                    return form
        with self._lock:
            forms = self._known.setdefault(key, [])
            for form in forms:  # another thread may have been first
                if self._captures_fit(form):
                    return form
            form = self._specialize(args, kwargs)
            # a scalar may have been pinned on the way, which changes the key
            flat: list[Any] = []
            tree = flatten((args, kwargs), flat)
            now = tuple(self._kind(x, (tree, i)) for i, x in enumerate(flat))
            if isinstance(key, tuple) and len(key) == 2 and key[0] == tree:
                self._known.setdefault((tree, now), []).append(form)
            else:
                forms.append(form)
            return form

    def _captures_fit(self, form: Specialization) -> bool:
        for number, getter in enumerate(form.getters):
            if getter is None:
                continue
            found, old = getter(), form.captures[number]
            if found is old:
                continue
            if type(found) is not np.ndarray or (found.shape, found.dtype) != (
                old.shape,
                old.dtype,
            ):
                return False
            form.captures[number] = found
        return True

    def _kind(self, x: Any, where: Any) -> LeafKind:
        """How a leaf is passed, and what of it a specialisation depends on."""
        kind = type(x)
        if kind is np.ndarray or isinstance(x, np.generic):
            if x.dtype.kind in "biufcV":
                return LeafKind(ARRAY, (x.shape, x.dtype))
            return LeafKind(STATIC, _Identity(x))
        if isinstance(x, TensorBase) and not isinstance(x, Variable):
            if isinstance(x, SymbolicTensor):
                raise LeakedTracerError(
                    at_user_line(f"a symbolic tensor ({x.type}) is used outside its trace")
                )
            return LeafKind(TENSOR, x.type)
        if isinstance(x, Variable):
            return LeafKind(STATIC, _Identity(x.cell))
        if kind in (float, complex, int) and where not in self._pinned:
            if kind is int and not self._varies(x, where):
                return LeafKind(STATIC, (int, x))
            return LeafKind(SCALAR, kind)
        if kind in (float, complex, int) or isinstance(x, _BY_VALUE):
            return LeafKind(STATIC, (kind, repr(x) if kind in (float, complex) else x))
        return LeafKind(STATIC, _Identity(x))

    def _varies(self, x: int, where: Any) -> bool:
        """Whether an int has had another value before: then it becomes a run-time scalar."""
        if not -(2**63) <= x < 2**63:
            return False
        first = self._integers.setdefault(where, x)
        if first is not None and first != x:
            self._integers[where] = None
        return self._integers[where] is None

    def _conform(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments as the input signature has them."""
        assert self.input_signature is not None
        if kwargs or len(args) != len(self.input_signature):
            raise InvalidArgumentError(
                at_user_line(
                    f"{self.__name__} takes {len(self.input_signature)} positional arguments by "
                    f"its input_signature, not {len(args)} and {len(kwargs)} by name"
                )
            )
        result = []
        for number, (x, spec) in enumerate(zip(args, self.input_signature, strict=True)):
            if not isinstance(x, np.ndarray):
                x = as_tensor(x, spec.dtype)
            shape = tuple(x.shape)
            if not spec.accepts(TensorType(shape, as_dtype(x.dtype))):
                raise InvalidArgumentError(
                    at_user_line(
                        f"Python inputs incompatible with input_signature: argument {number} is "
                        f"{as_dtype(x.dtype).name} of shape {list(shape)}, the signature says {spec}"
                    )
                )
            result.append(x)
        return tuple(result)

    def _wants_numpy(self, leaves: Sequence[Any]) -> bool:
        """Whether results are ndarrays: all array arguments are, and there is one."""
        if self.outputs is not None:
            return self.outputs == "numpy"
        arrays = [isinstance(x, (np.ndarray, np.generic)) for x in leaves]
        return any(arrays) and not any(isinstance(x, TensorBase) for x in leaves)

    # -- eager ---------------------------------------------------------------------------------

    def _eager(self, args: Any, kwargs: Any, leaves: Sequence[Any]) -> Any:
        """What the Python function gives, with arrays of the type that compiled code gives."""
        value = self.python_function(*args, **kwargs)
        numpy = self._wants_numpy(leaves)
        found: list[Any] = []
        tree = flatten(value, found)
        converted = iter([_converted(x, numpy) for x in found])
        return unflatten(tree, lambda: next(converted))

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            name = self.python_function.__qualname__
            warnings.warn(
                f"{name} runs eagerly, without being compiled: {reason}",
                FallbackWarning,
                stacklevel=5,
            )

    # -- tracing ---------------------------------------------------------------------------------

    def _specialize(self, args: Any, kwargs: Any) -> Specialization:
        """Trace and compile for these arguments, or find that they have to run eagerly."""
        while True:
            leaves: list[Any] = []
            tree = flatten((args, kwargs), leaves)
            kinds = tuple(self._kind(x, (tree, i)) for i, x in enumerate(leaves))
            try:
                form = self._trace(tree, leaves, kinds)
                self._compile(form)
                return form
            except StaticValueNeeded as need:
                scalars = [i for i, k in enumerate(kinds) if k.kind == SCALAR]
                many = len(self.specializations) >= config.static_values
                if scalars and not many:
                    self._pinned.update((tree, i) for i in scalars)
                    continue
                return self._fallen(kinds, need)
            except LeakedTracerError:
                raise
            except TracingError as error:
                return self._fallen(kinds, error)
            except GraphJitError as error:
                if self._must_raise(leaves):
                    raise
                return self._rescued(kinds, error, args, kwargs)
            except Exception as error:
                if self.fallback == "error":
                    raise
                return self._rescued(kinds, error, args, kwargs)

    def _must_raise(self, leaves: Sequence[Any]) -> bool:
        """Whether eager mode would refuse what tracing refused: tensors have one set of rules."""
        return self.fallback == "error" or any(isinstance(x, TensorBase) for x in leaves)

    def _fallen(self, kinds: tuple[LeafKind, ...], error: TracingError) -> Specialization:
        if self.fallback == "error":
            raise error
        self._warn(str(error))
        return Specialization(kinds, reason=str(error))

    def _rescued(
        self, kinds: tuple[LeafKind, ...], error: Exception, args: Any, kwargs: Any
    ) -> Specialization:
        """An error while tracing NumPy code: if NumPy has none, the function runs eagerly."""
        try:
            with config.eager():
                self.python_function(*args, **kwargs)
        except Exception as again:
            if isinstance(error, GraphJitError) and isinstance(again, type(error).__mro__[-4:]):
                raise error from None
            raise again from None
        reason = f"tracing raised {type(error).__name__}: {error}"
        self._warn(reason)
        return Specialization(kinds, reason=reason)

    def _trace(
        self, tree: Tree, leaves: Sequence[Any], kinds: tuple[LeafKind, ...]
    ) -> Specialization:
        form = Specialization(kinds)
        started = time.perf_counter_ns()
        self.trace_count += 1
        trace = Trace(self.python_function.__name__)
        with trace.active():
            symbols = iter(
                [self._symbol(trace, form, i, x, k) for i, (x, k) in enumerate(zip(leaves, kinds, strict=True))]
            )
            args, kwargs = unflatten(tree, lambda: next(symbols))
            value = self.python_function(*args, **kwargs)
            found: list[Any] = []
            form.tree = flatten(value, found)
            outputs: list[TensorBase] = []
            for x in found:
                if isinstance(x, Variable):
                    x = x.as_tensor()
                if isinstance(x, (TensorBase, np.ndarray, np.generic)):
                    weak = getattr(x, "origin", "") == "weak"
                    form.results.append(("python" if weak else "array", None))
                    outputs.append(x if weak else as_tensor(x))  # type: ignore[arg-type]
                else:
                    form.results.append(("static", x))
            nodes = [trace.node_of(x) for x in outputs]
            form.graph = trace.builder.finish(nodes, trace.updates())
        form.captures = trace.captures
        statics = [x for x, k in zip(leaves, kinds, strict=True) if k.kind == STATIC]
        form.getters = find_captures(self.python_function, statics, trace.captures)
        if all(g is None for g in form.getters):
            form.getters = []
        form.variables = trace.variables
        self._order(form, trace)
        form.times_ns["trace"] = time.perf_counter_ns() - started
        return form

    def _symbol(
        self, trace: Trace, form: Specialization, number: int, x: Any, kind: LeafKind
    ) -> Any:
        """What the traced function is given for a leaf."""
        if kind.kind == STATIC:
            return x
        if kind.kind == SCALAR:
            dtype = {int: "int64", float: "float64", complex: "complex128"}[kind.key]
            type, origin = TensorType((), as_dtype(dtype)), "weak"
        elif kind.kind == TENSOR:
            type, origin = kind.key, "tensor"
        else:
            type, origin = TensorType(x.shape, as_dtype(x.dtype)), "numpy"
        form.order.append(("leaf", number))
        return trace.parameter(type, self._parameter_name(number), origin, "argument")

    def _parameter_name(self, number: int) -> str:
        code = getattr(self.python_function, "__code__", None)
        names = code.co_varnames[: code.co_argcount] if code is not None else ()
        return names[number] if number < len(names) else f"arg{number}"

    def _order(self, form: Specialization, trace: Trace) -> None:
        """Where each parameter of the graph comes from at a call."""
        assert form.graph is not None
        counts = {"capture": 0, "variable": 0}
        for node in form.graph.params:
            role = form.graph.nodes[node].attr("role")
            if role in counts:
                form.order.append((role, counts[role]))
                counts[role] += 1
        # arguments were noted as they were made; put all in the order of the graph
        given = iter([o for o in form.order if o[0] == "leaf"])
        others = {r: iter([o for o in form.order if o[0] == r]) for r in counts}
        order = []
        for node in form.graph.params:
            role = form.graph.nodes[node].attr("role")
            order.append(next(others[role]) if role in others else next(given))
        form.order = order
        params = {node: place for node, place in zip(form.graph.params, order, strict=True)}
        form.updated = [form.variables[params[p][1]] for p, _ in form.graph.updates]

    def _compile(self, form: Specialization) -> None:
        from .codegen.cpu import Executable

        assert form.graph is not None
        form.program = build_program(form.graph, form.times_ns)
        started = time.perf_counter_ns()
        form.executable = Executable(form.program)
        form.times_ns["compile"] = time.perf_counter_ns() - started

    # -- running -----------------------------------------------------------------------------------

    def _run(self, form: Specialization, leaves: Sequence[Any], args: Any, kwargs: Any) -> Any:
        if form.reason:
            return self._eager(args, kwargs, leaves)
        if not form.variables:
            return self._results(form, form.executable(self._inputs(form, leaves))[0], leaves)
        held = sorted({id(v.cell): v.cell for v in form.variables}.values(), key=lambda c: c.number)
        for cell in held:
            cell.lock.acquire()
        try:
            outputs, updates = form.executable(self._inputs(form, leaves))
            for variable, array in zip(form.updated, updates, strict=True):
                variable.cell.array = array
        finally:
            for cell in held:
                cell.lock.release()
        return self._results(form, outputs, leaves)

    def _inputs(self, form: Specialization, leaves: Sequence[Any]) -> list[Array]:
        arrays = []
        for role, number in form.order:
            if role == "leaf":
                x = leaves[number]
                if type(x) is not np.ndarray:
                    x = x._array if isinstance(x, Tensor) else _boxed(x)
            elif role == "capture":
                x = form.captures[number]
            else:
                x = form.variables[number].cell.array
            flags = x.flags
            if not (flags.c_contiguous and flags.aligned and x.dtype.isnative):
                x = np.array(x, dtype=x.dtype.newbyteorder("="), order="C")
            arrays.append(x)
        return arrays

    def _results(
        self, form: Specialization, outputs: Sequence[Array], leaves: Sequence[Any]
    ) -> Any:
        numpy = self._wants_numpy(leaves)
        if form.tree is LEAF and form.results[0][0] == "array":
            array = outputs[0]
            return (array if array.shape else array[()]) if numpy else _wrap(array)
        arrays = iter(outputs)
        found = []
        for kind, value in form.results:
            if kind == "static":
                found.append(value)
            elif kind == "python":
                found.append(next(arrays).item())
            else:
                array = next(arrays)
                found.append((array if array.shape else array[()]) if numpy else _wrap(array))
        items = iter(found)
        return unflatten(form.tree, lambda: next(items))

    # -- looking --------------------------------------------------------------------------------------

    def specialization(self, *args: Any, **kwargs: Any) -> Specialization:
        """The form that a call with these arguments uses, made if there is none yet."""
        if self.input_signature is not None:
            args, kwargs = self._conform(args, kwargs), {}
        leaves: list[Any] = []
        tree = flatten((args, kwargs), leaves)
        kinds = tuple(self._kind(x, (tree, i)) for i, x in enumerate(leaves))
        simple = not kwargs and all(type(x) in (np.ndarray, Tensor) for x in args)
        key: Any = (tree, kinds)
        if simple:
            parts = [(x.shape, x.dtype) if type(x) is np.ndarray else (x.type,) for x in args]
            key = tuple(item for part in parts for item in part)
        return self._find(key, leaves, args, kwargs)

    def get_graph(self, *args: Any, **kwargs: Any) -> Graph:
        """The graph as traced for these arguments. TracingError if they can't be traced."""
        form = self.specialization(*args, **kwargs)
        if form.graph is None:
            raise TracingError(form.reason)
        return form.graph

    def explain(self, *args: Any, **kwargs: Any) -> str:
        """What a call with these arguments runs: kernels, what was not fused and why, times."""
        return explain(self.specialization(*args, **kwargs))


def build_program(graph: Graph, times_ns: dict[str, int] | None = None) -> Program:
    """A traced graph through the default passes, fusion and the memory plan."""
    from .passes import DEFAULT, fuse, plan_memory, verifying

    started = time.perf_counter_ns()
    optimized = DEFAULT.run(graph, [verifying] if config.verify else [])
    done = time.perf_counter_ns()
    program = plan_memory(fuse(optimized))
    if times_ns is not None:
        times_ns["passes"] = done - started
        times_ns["fuse"] = time.perf_counter_ns() - done
    return program


def explain(form: Specialization) -> str:
    """A specialisation in words: steps with bytes and flops, decisions, times."""
    if form.program is None:
        return f"runs eagerly: {form.reason}"
    program = form.program
    lines = [f"{program.name}: {len(program.steps)} steps, arena {program.arena_bytes} bytes"]
    for number, step in enumerate(program.steps):
        cost = step_cost(step, program.buffers)
        lines.append(f"step {number}: {cost['bytes']:.0f} bytes, {cost['flops']:.0f} flops")
        lines += ["  " + line for line in print_step(step).splitlines()]
    lines += [f"not fused: {item}" for item in dict.fromkeys(program.decisions)]
    times = ", ".join(f"{name} {ns / 1e6:.2f} ms" for name, ns in form.times_ns.items())
    lines.append(f"times: {times}")
    return "\n".join(lines)


def _boxed(x: Any) -> Array:
    if isinstance(x, int):
        return np.array(x, np.int64)
    return np.asarray(x)


def _converted(x: Any, numpy: bool) -> Any:
    """An eager result as the array type that compiled code would give."""
    if isinstance(x, Variable):
        x = x.as_tensor()
    if numpy and isinstance(x, Tensor):
        array = np.array(x._array)
        return array if array.shape else array[()]
    if not numpy and isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "biufcV":
        return as_tensor(x)
    return x


def _by_name(module: str, name: str) -> Any:
    import importlib

    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def function(
    func: Callable[..., Any] | None = None,
    *,
    input_signature: Sequence[TensorSpec] | None = None,
    fallback: str = "eager",
    outputs: str | None = None,
) -> Any:
    """Make a Python function on arrays a compiled one. A decorator, with or without options.

    input_signature: a TensorSpec for each argument. fallback: what to do where the function
    can't be traced: "eager" runs it as plain Python, with one warning; "error" raises
    TracingError. outputs: "tensor" or "numpy"; by default ndarrays if all array arguments
    are ndarrays, else tensors.
    """
    if func is None:
        return lambda f: Function(f, input_signature, fallback, outputs)
    return Function(func, input_signature, fallback, outputs)
