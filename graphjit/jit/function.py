"""`@graphjit.function`: specializations, dispatch and fallback. Joins all other parts."""

from __future__ import annotations

import functools
import inspect
import itertools
import opcode
import operator
import time
import types
import warnings
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

# Passes, compiler and native entry are for calls that find nothing on disk, and for later ones.
# What each first call needs is imported here, for that takes longer than such a call.
from graphjit.core.config import config
from graphjit.core.devices import exporter, runnable_device
from graphjit.core.dims import Dim, Undecided
from graphjit.core.errors import (
    GraphJitError,
    IndexOutOfRangeError,
    InternalError,
    InvalidArgumentError,
    LeakedTracerError,
    RecompileError,
    SourceLine,
    TracingError,
    at_user_line,
    raising_line,
    user_line,
)
from graphjit.core.fork_safety import new_lock
from graphjit.core.lazy import lazy_module, load_attribute
from graphjit.core.static_lookup import own_attributes
from graphjit.core.tree import (
    ARRAY,
    FOREIGN,
    SCALAR,
    STATIC,
    TENSOR,
    Identity,
    LeafKind,
    Tree,
    by_value,
    containers,
    flatten,
    leaf_names,
    mapped,
    unflatten,
)
from graphjit.core.types import DType, TensorSpec, TensorType, as_dtype
from graphjit.tensors.apply import TensorBase, as_tensor, current_trace
from graphjit.tensors.tensor import Tensor
from graphjit.tensors.variable import Variable
from graphjit.tracing import captures, foreign, side_effects, symbolic_sizes
from graphjit.tracing.trace import (
    ScalarByName,
    StaticValueNeeded,
    SymbolicTensor,
    Trace,
    holds_traced,
    leaked,
)

from .outputs import donated_leaves, donated_parameters, into, takes_out
from .recompile import MAX_COMPARED, Miss, why
from .returned import Returned, is_converted
from .specialization import Replaced, Specialization, explain
from .vectorcall import Enterable, enterable

if TYPE_CHECKING:
    from graphjit.codegen.runtime.tables import Table
    from graphjit.ir.graph import Graph
    from graphjit.passes import Pass
    from graphjit.tracing.captures import Source
    from graphjit.tracing.side_effects import SideEffects
    from graphjit.tracing.symbolic_sizes import Assumptions

    from . import native_entry, pickling
else:
    native_entry = lazy_module("graphjit.jit.native_entry")
    pickling = lazy_module("graphjit.jit.pickling")

Array = np.ndarray[Any, np.dtype[Any]]


__all__ = ["FallbackWarning", "Function", "RecompileWarning", "function"]


# Names by which Python code asks for types, and of the types that symbolic tensors stand for.
_TYPE_TESTS = {"isinstance", "type", "issubclass", "isscalar"}
_TYPES = {
    "ndarray", "generic", "number", "floating", "integer", "inexact", "Number", "Real",
    "Integral", "int", "float", "complex", "Tensor", "isscalar", "issubdtype",
}  # fmt: skip


# So many calls of one kind fall back before none of them is traced any more: a trace takes a
# thousand times as long as a short call.
MAX_FALLBACKS = 3


class RecompileWarning(UserWarning):
    """A decorated function is compiled again and again, and why."""


class FallbackWarning(UserWarning):
    """A decorated function runs eagerly, and why."""


_BY_VALUE = (
    str, bytes, bool, type(None), np.dtype, range, frozenset, Enum, TensorSpec, DType,
)  # fmt: skip
# How many keys are kept with objects that nothing tells the end of, and executables of
# specializations that ended with theirs, for what comes next is often alike.
_MAX_KEPT_ALIVE, _MAX_SPARE = 64, 4
# How many keys are kept of values alone, and as many for each object: those of arguments that
# are new at each call would pile up. A specialization has three.
MAX_KEYS = 3 * 512
# How many places are known where integers vary, and where Python needs a scalar's value.
MAX_PLACES = 4096


class _Owner(weakref.ref[Any]):
    """An object that specializations were made for, by the keys under which a function keeps
    them.
    """

    __slots__ = ("keys", "number")
    number: int
    keys: OrderedDict[tuple[str, Any], None]  # the oldest first


class _StateChanged(TracingError):
    """A trace changed what outlives the call, which was put back. An eager call changes it too,
    and then it may be settled: what was missing is made once, a cache is filled.
    """


class _Impure(TracingError):
    """A trace changed what outlives the call, and calls of the same types will."""


# What ends a call whatever `fallback` says, and what tells of the trace and not of the call.
_ENDS = (KeyboardInterrupt, GeneratorExit)
_RAISE = opcode.opmap["RAISE_VARARGS"]
_OURS = (TracingError, InternalError, ImportError)
_calls = itertools.count()  # of compiled functions, through Python


def _compiles_here() -> bool:
    """Whether a call runs what is compiled: no trace is on, and nothing asks for eager mode."""
    return current_trace.get() is None and not config.functions_run_eagerly


def _native_is_due() -> bool:
    """Whether it is worth it to make the machine code that enters functions."""
    return config.native_after is not None and next(_calls) >= config.native_after


class Function(Enterable):  # type: ignore[misc]
    """A Python function that is traced and compiled once for each signature.

    Calling it gives what the Python function gives. trace_count: how often it was traced.

    A call of what is specialised already is entered by machine code (`native_entry.py`), where
    the interpreter and NumPy are of a known layout. `__call__` is for all else, and for all
    calls where they aren't.
    """

    __slots__ = ("__dict__", "__weakref__", "_table")
    _native = False  # whether machine code can enter these objects
    specialization_class: type[Specialization] | None = (
        None  # what a trace makes, if no plain Specialization
    )
    _table: Table | None
    _entered_at: int

    def __init__(
        self,
        function: Callable[..., Any],
        input_signature: Sequence[TensorSpec] | None = None,
        fallback: str = "eager",
        outputs: str | None = None,
        passes: Sequence[Pass] = (),
        fast_math: bool = False,
        donate: str | int | Sequence[str | int] = (),
        tensor_cores: str | None = None,
    ) -> None:
        if fallback not in ("eager", "error"):
            raise InvalidArgumentError(f"fallback is 'eager' or 'error', not {fallback!r}")
        if outputs not in (None, "tensor", "numpy"):
            raise InvalidArgumentError(f"outputs is 'tensor' or 'numpy', not {outputs!r}")
        if not isinstance(fast_math, bool):
            raise InvalidArgumentError(f"fast_math is True or False, not {fast_math!r}")
        if not isinstance(passes, (tuple, list)) or not all(hasattr(p, "run") for p in passes):
            raise InvalidArgumentError(
                f"passes is a list of graphjit.passes.Pass, not {passes!r}"
            )
        if not callable(function):
            raise InvalidArgumentError(f"a function to trace is callable, not {function!r}")
        functools.update_wrapper(self, function)
        self.python_function = function
        inner = function.func if isinstance(function, functools.partial) else function
        shown = inner if hasattr(inner, "__name__") else type(inner)
        self.name: str = shown.__name__
        # ufuncs have one from NumPy 2.2 on only
        self.qualified_name: str = getattr(shown, "__qualname__", self.name)
        self.input_signature: tuple[Any, ...] | None = None
        if input_signature is not None:
            if not isinstance(input_signature, (tuple, list)):
                raise InvalidArgumentError(
                    at_user_line(f"input_signature is a list of specs, not {input_signature!r}")
                )
            self.input_signature = tuple(map(_checked_spec, input_signature))
        self.fallback = fallback
        self.outputs = outputs
        self.passes = tuple(passes)
        self.fast_math = fast_math
        self.donate = donated_parameters(function, donate) if donate != () else ()
        self.tensor_cores: str | None = None
        if tensor_cores is not None:
            from graphjit.codegen.ptx.tensor_cores import checked

            self.tensor_cores = checked(tensor_cores)
        self.trace_count = 0
        self._lock = new_lock()
        self._known: dict[Any, list[Specialization]] = {}
        self._integers: dict[Any, Any] = {}  # where -> first value, or None once it changed
        self._pinned: set[Any] = set()  # where Python needs a scalar's value
        self._seen: dict[Any, Any] = {}  # by what calls of different sizes have in common
        self._sized: dict[Any, list[Specialization]] = {}
        # by `_fallback_key`: how many calls fell back, or the specialization of all that will
        self._fallbacks: dict[Any, int | Specialization] = {}
        self._owners: dict[int, _Owner] = {}
        self._kept_alive: OrderedDict[tuple[str, Any], None] = OrderedDict()
        self._unowned: OrderedDict[tuple[str, Any], None] = OrderedDict()  # keys of values
        self._died: deque[int] = deque()  # owners whose specializations are to be forgotten
        self._spare: deque[Any] = deque(maxlen=_MAX_SPARE)
        self._misses: deque[Miss] = deque(maxlen=1000)
        self._named: tuple[str, ...] | None = None
        self._warned = False
        self._table = None
        self._entry = 0  # where machine code enters functions, once there is some
        self._undone = False  # whether the trace that failed last had changed anything
        self._wrote = False  # whether it was in a container among its arguments
        self._late: set[Specialization] = set()  # what it could run, but for that
        self._own: frozenset[str] = frozenset()  # the attributes made here
        self._own = frozenset(vars(self))

    @property
    def specializations(self) -> list[Specialization]:
        """All specializations made so far, but for those of objects that died."""
        self._forget()
        with self._locked():
            known = (*self._known.values(), *self._sized.values())
            return [item for specializations in known for item in specializations]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock; afterwards what ended meanwhile is forgotten."""
        try:
            with self._lock:
                yield
        finally:
            self._forget()

    def _tie(self, table: str, key: Any, parts: Sequence[Any]) -> None:
        """Let what is kept under a key end with the objects and classes among these parts of
        it, and what no object ends when there are too many such keys.
        """
        entry, owned = (table, key), False
        for part in parts:
            identity = _identity(part)
            if identity is None:
                continue
            of_class = not isinstance(part, LeafKind) or identity is not part.key
            owned |= not of_class
            value, number = identity.value, hash(identity)
            owner = self._owners.get(number)
            if owner is None or owner() is not value:
                try:
                    owner = _Owner(value, _end_of(self))
                except TypeError:  # it lives for as long as its key
                    self._kept_alive[entry] = None
                    self._kept_alive.move_to_end(entry)
                    if len(self._kept_alive) > _MAX_KEPT_ALIVE:
                        self._drop(*self._kept_alive.popitem(last=False)[0])
                    continue
                owner.number, owner.keys = number, OrderedDict()
                former, self._owners[number] = self._owners.get(number), owner
                if former is not None:  # of an object that was where this one is
                    for old in former.keys:
                        self._drop(*old)
            self._add_key(owner.keys, entry)
        if not owned:
            self._add_key(self._unowned, entry)

    def _add_key(
        self, keys: OrderedDict[tuple[str, Any], None], entry: tuple[str, Any]
    ) -> None:
        """Note a key as the latest, and drop the oldest where there are too many."""
        keys.setdefault(entry)  # the first of all equal ones, which the table has, too
        keys.move_to_end(entry)
        if len(keys) > MAX_KEYS:
            self._drop(*keys.popitem(last=False)[0])

    def _forget(self) -> None:
        """Drop what was made for objects that died. Called at any moment, wherever Python frees
        something: where the lock is held, it is left to whoever holds it.
        """
        while self._died and not self._lock._is_owned() and self._lock.acquire(blocking=False):
            try:
                owner = self._owners.get(self._died.popleft())
                if owner is not None and owner() is None:
                    del self._owners[owner.number]
                    for entry in owner.keys:
                        self._drop(*entry)
            except IndexError:  # another thread was first
                return
            finally:
                self._lock.release()

    def _drop(self, table: str, key: Any) -> None:
        """Drop what is kept under a key."""
        found = getattr(self, table).pop(key, ())
        if isinstance(found, Specialization):
            found = [found]
        specializations = found if isinstance(found, list) else ()
        self._untie((table, key))
        entries = [
            specialization.entry
            for specialization in specializations
            if specialization.entry is not None
        ]
        for specialization in specializations:
            self._late.discard(specialization)
            if specialization.executable is not None and specialization.executable.small:
                self._spare.append(specialization.executable)
        if entries and self._table is not None:
            left = [e for e in self._table.entries if all(e is not other for other in entries)]
            self._table = native_entry.make_table(left)

    def _untie(self, entry: tuple[str, Any]) -> None:
        """Forget a key whose entry was dropped."""
        self._unowned.pop(entry, None)
        self._kept_alive.pop(entry, None)
        _, key = entry
        for part in key[1] if key and isinstance(key[0], Tree) else ():
            identity = _identity(part)
            owner = None if identity is None else self._owners.get(hash(identity))
            if owner is not None and entry in owner.keys:
                del owner.keys[entry]
                if not owner.keys:
                    del self._owners[owner.number]

    def _count(self) -> int:
        """How many specializations there are."""
        return sum(map(len, self._known.values())) + sum(map(len, self._sized.values()))

    def _latest(self) -> list[Specialization]:
        """The specializations that were made last, of those for known and for any sizes."""
        tables = (self._known, self._sized)
        latest = [itertools.islice(reversed(t.values()), MAX_COMPARED) for t in tables]
        return [item for found in latest for made in reversed([*found]) for item in made]

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self) -> tuple[Any, ...]:
        return pickling.reduced(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        Function.__init__(self, state["function"], **state["options"])
        self.__dict__.update(state["attributes"])

    def __copy__(self) -> Function:
        return self  # as Python's own functions

    def __deepcopy__(self, memo: Any) -> Function:
        return self

    def __repr__(self) -> str:
        return f"<graphjit.function {self.qualified_name}>"

    @functools.cached_property
    def _takes_out(self) -> bool:
        return takes_out(self.python_function)

    def into(self, out: Any, /, *args: Any, **kwargs: Any) -> Any:
        """What a call gives, written into `out`: an array, or arrays in the structure of the
        results, None for those that need no array.
        """
        if type(out) is np.ndarray and not kwargs and self.input_signature is None:
            specializations = self._known.get(self._plain_key(args))
            if (
                specializations
                and specializations[0].direct_into is not None
                and _compiles_here()
            ):
                result = specializations[0].direct_into(out, args)
                if result is not None:
                    return result
        return into(self, out, args, kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the Python function gives for these arguments; out: see `into`."""
        if "out" in kwargs and self._takes_out:
            return self.into(kwargs.pop("out"), *args, **kwargs)
        if current_trace.get() is not None:
            return self.python_function(*args, **kwargs)
        if self._native and not self._entry and _native_is_due():
            self._entry = native_entry.entry_point(Function)
        if self.input_signature is not None:
            args = self._conform(args, kwargs)
            kwargs = {}
        if not kwargs and not config.functions_run_eagerly:
            key = self._plain_key(args)
            if key is not None:
                specializations = self._known.get(key)
                late = self._late and self._entry
                if specializations and specializations[0].direct is not None and not late:
                    return specializations[0].direct(args)
                return self._call(key, args, args, {})
        leaves: list[Any] = []
        tree = flatten((args, kwargs), leaves)
        if config.functions_run_eagerly:
            return self._eager(args, kwargs, leaves)
        kinds = tuple(self._kind(x, (tree, i)) for i, x in enumerate(leaves))
        return self._call((tree, kinds), leaves, args, kwargs)

    def _plain_key(self, args: Sequence[Any]) -> tuple[Any, ...] | None:
        """The key of arguments that are arrays, tensors and floats alone; None for others."""
        key: list[Any] = []
        for x in args:
            if type(x) is np.ndarray:
                key.append(x.shape)
                key.append(x.dtype)
            elif type(x) is Tensor:
                key.append(x.type)
            elif type(x) is float and not self._pinned:
                key.append(float)
            else:
                return None
        return tuple(key)

    def _call(self, key: Any, leaves: Sequence[Any], args: Any, kwargs: Any) -> Any:
        return self._run(self._find(key, leaves, args, kwargs), leaves, args, kwargs)

    def _find(self, key: Any, leaves: Sequence[Any], args: Any, kwargs: Any) -> Specialization:
        specializations = self._known.get(key)
        if specializations is not None:
            for specialization in specializations:
                if specialization.captures_fit() and not specialization.due:
                    if self._entry and specialization in self._late:
                        with self._lock:
                            self._enter_natively(specialization, args, kwargs)
                    return specialization
        found = self._of_any_size(args, kwargs)
        if found is not None:
            return found
        with self._locked():
            key = self._lasting_key(key, args, kwargs)
            known, second = self._known.get(key, []), False
            for specialization in list(known):  # another thread may have been first
                if specialization.due:
                    known.remove(specialization)
                    second = True
                elif specialization.captures_fit():
                    return specialization
            found = self._of_any_size(args, kwargs) or self._always_eager(args, kwargs)
            if found is not None:
                return found
            if not second:
                self._note_miss(args, kwargs)
            pinned = set(self._pinned)
            try:
                sized = self._specialize_sizes(args, kwargs)
                if sized is not None:
                    self._count_fallback(sized, args, kwargs)
                    return sized
                specialization = self._specialize(args, kwargs)
            except BaseException:
                self._pinned = pinned
                raise
            if second:
                specialization.chance = False
            if not specialization.reason:
                self._rule_out_sizes(args, kwargs)
            self._enter_natively(specialization, args, kwargs)
            self._count_fallback(specialization, args, kwargs)
            # a scalar may have been pinned on the way, which changes the key
            key = self._lasting_key(key, args, kwargs)
            self._known.setdefault(key, []).append(specialization)
            self._tie("_known", key, key[1] if key and isinstance(key[0], Tree) else ())
            return specialization

    def _leaves(self, args: Any, kwargs: Any) -> tuple[Tree, list[Any], tuple[LeafKind, ...]]:
        leaves: list[Any] = []
        tree = flatten((args, kwargs), leaves)
        return tree, leaves, tuple(self._kind(x, (tree, i)) for i, x in enumerate(leaves))

    def _of_any_size(self, args: Any, kwargs: Any) -> Specialization | None:
        """A specialization of symbolic extents that these arguments fit."""
        if not self._sized:
            return None
        tree, _, kinds = self._leaves(args, kwargs)
        for specialization in self._sized.get(symbolic_sizes.loose_key(tree, kinds), ()):
            if specialization.fit.fits(kinds) and specialization.captures_fit():
                if self._entry and specialization in self._late:
                    with self._lock:
                        self._enter_natively(specialization, args, kwargs)
                return specialization
        return None

    def _fallback_key(self, args: Any, kwargs: Any) -> Any:
        """What calls have in common whose arrays, objects and scalars are of the same types."""
        tree, leaves, kinds = self._leaves(args, kwargs)
        return tree, tuple(
            kind if by_value(kind) else _class_key(type(x))
            for kind, x in zip(kinds, leaves, strict=True)
        )

    def _always_eager(self, args: Any, kwargs: Any) -> Specialization | None:
        """The specialization of calls of which none could be traced, however often that was
        tried.
        """
        if not self._fallbacks or self.input_signature is not None:
            return None
        found = self._fallbacks.get(self._fallback_key(args, kwargs))
        if not isinstance(found, Specialization):
            return None
        if found in self._late:
            self._enter_natively(found, args, kwargs)
        return found

    def _count_fallback(self, specialization: Specialization, args: Any, kwargs: Any) -> None:
        """Take note of how a trace ended: after some that failed, calls of the same types, such
        as those with arrays of other sizes or new objects, are traced no more.
        """
        if specialization.trace_error is not None:
            return
        key = self._fallback_key(args, kwargs)
        known = self._fallbacks.get(key, 0)
        if isinstance(known, int) and known >= 0:
            known = known + 1 if specialization.reason else -1
            self._fallbacks[key] = known = MAX_FALLBACKS if specialization.impure else known
            self._tie("_fallbacks", key, key[1])
            if known == MAX_FALLBACKS:
                made = Specialization(specialization.kinds, reason=specialization.reason)
                made.any_value = True
                self._fallbacks[key] = made
                self._enter_natively(made, args, kwargs)

    def _specialize_sizes(self, args: Any, kwargs: Any) -> Specialization | None:
        """A specialization with symbolic extents, where they have been seen to vary and can be
        so.
        """
        tree, leaves, kinds = self._leaves(args, kwargs)
        key = symbolic_sizes.loose_key(tree, kinds)
        seen = self._seen.setdefault(key, symbolic_sizes.Seen())
        self._tie("_seen", key, kinds)
        if seen.failed:
            return None
        seen.note(symbolic_sizes.extents(kinds))
        free = self._free_places(kinds)
        if not seen.varying(free):
            return None
        if captures.loads_global(self.python_function, "type"):
            seen.failed = "it may ask for an extent's type, which isn't int"
            return None
        assumed = symbolic_sizes.Assumptions(seen, free)
        while assumed.group:
            try:
                specialization = self._trace(tree, leaves, kinds, assumed)
            except (InternalError, LeakedTracerError):
                raise
            except (
                BaseException
            ) as error:  # known extents will tell what is wrong, if anything is
                if _ends(error):
                    raise
                seen.trace_error = f"{type(error).__name__}: {error}"
                return None
            sizes = specialization.sizes
            if assumed.refined(sizes, seen):
                continue
            assert specialization.graph is not None
            if not symbolic_sizes.fit_64_bits(sizes, specialization.graph):
                return None
            try:
                specialization.compile(self.passes, self.fast_math)
            except (Undecided, InvalidArgumentError, IndexOutOfRangeError) as open_question:
                seen.failed = f"it depends on the sizes: {open_question}"
                return None
            specialization.fit = symbolic_sizes.Fit(
                tuple(specialization.shapes), tuple(sizes.guards)
            )
            if not specialization.fit.fits(
                kinds
            ):  # an empty array, where the code wants elements
                return None
            self.trace_count += 1
            self._enter_natively(specialization, args, kwargs)
            self._sized.setdefault(key, []).append(specialization)
            self._tie("_sized", key, kinds)
            return specialization
        return None

    def _rule_out_sizes(self, args: Any, kwargs: Any) -> None:
        """Try symbolic extents no more for arguments that were traced without them alone."""
        tree, _, kinds = self._leaves(args, kwargs)
        seen = self._seen.get(symbolic_sizes.loose_key(tree, kinds))
        if seen is not None and seen.trace_error:
            seen.failed = seen.trace_error

    def _free_places(self, kinds: Sequence[LeafKind]) -> frozenset[Any]:
        """The extents that the input signature leaves open."""
        if self.input_signature is None:
            return frozenset()
        specs: list[Any] = []
        flatten(self.input_signature, specs)
        first = len(kinds) - len(specs)  # `self` of a method
        return frozenset(
            (first + leaf, axis)
            for leaf, spec in enumerate(specs)
            for axis, n in enumerate(spec.shape)
            if n is None
        )

    def _note_miss(self, args: Any, kwargs: Any) -> None:
        """Keep why no specialization fits, if there are some; warn of it, or refuse to make
        another.
        """
        self._forget()
        specializations = self._latest()
        if not specializations:
            return
        tree, _, kinds = self._leaves(args, kwargs)
        names, count = self._parameter_names(tree), self._count()
        miss = why(kinds, tree, names, specializations, count, user_line())
        if config.recompiling_forbidden:
            raise RecompileError(
                f"{self.qualified_name} would be compiled again. {miss}\n"
                "  outside `forbid_recompile` it would be"
            )
        self._misses.append(miss)
        if config.recompile_warning and len(self._misses) == config.recompile_warning:
            line = miss.source or SourceLine("<unknown>", 0)
            text = (
                f"{self.qualified_name} is compiled for the {count + 1}th time, "
                f"for {miss}\n  explain_misses() tells of the times before"
            )
            warnings.warn_explicit(text, RecompileWarning, line.file, line.line)

    def explain_misses(self) -> tuple[Miss, ...]:
        """Why the function was compiled again, each time, the latest last (at most 1000)."""
        return tuple(self._misses)

    def _enter_natively(self, specialization: Specialization, args: Any, kwargs: Any) -> None:
        """Let machine code enter a specialization at the next call, where it can and there is
        any; it is the specialization's turn again when there is.
        """
        eager = bool(specialization.reason) and specialization.trace_error is None
        if not self._native or config.native_after is None or specialization.chance:
            return
        if specialization.executable is None and not eager:
            return
        if not self._entry:
            self._late.add(specialization)
            return
        self._late.discard(specialization)
        tree, leaves, kinds = self._leaves(args, kwargs)
        if eager:
            numpy = self._wants_numpy(leaves)
            finish = functools.partial(_finished, numpy)
            entry = specialization.entry = native_entry.eager_entry(
                self.python_function,
                finish,
                tree,
                kinds,
                leaves,
                numpy,
                specialization.any_value,
            )
        else:
            entry = specialization.entry = native_entry.specialization_entry(
                specialization, leaves
            )
        if entry is not None:
            known = () if self._table is None else self._table.entries
            self._table = native_entry.make_table(
                (entry, *known[: native_entry.MAX_ENTRIES - 1])
            )
            self._entered_at = self._entry

    def _lasting_key(self, key: Any, args: Any, kwargs: Any) -> Any:
        """The key under which a specialization for these arguments is kept: a short one says
        nothing of the value of a float, and so won't do where Python code needs that.
        """
        short = not (key and isinstance(key[0], Tree))
        if short and not (self._pinned and any(part is float for part in key)):
            return key
        flat: list[Any] = []
        tree = flatten((args, kwargs), flat)
        return tree, tuple(self._kind(x, (tree, i)) for i, x in enumerate(flat))

    def _kind(self, x: Any, where: Any) -> LeafKind:
        """How a leaf is passed, and what of it a specialization depends on."""
        kind = type(x)
        if kind is np.ndarray or kind is np.memmap or isinstance(x, np.generic):
            if x.dtype.kind in "biufcV":
                return LeafKind(ARRAY, (x.shape, x.dtype))
            if isinstance(x, np.generic):
                return LeafKind(STATIC, (x.dtype, x.tobytes()))
        if isinstance(x, TensorBase) and not isinstance(x, Variable):
            if isinstance(x, SymbolicTensor):
                raise leaked(x)
            return LeafKind(TENSOR, x.type)
        if isinstance(x, Variable):
            return LeafKind(STATIC, Identity(x.cell))
        if kind in (float, complex, int) and where not in self._pinned:
            if kind is int and not self._varies(x, where):
                return LeafKind(STATIC, (int, x))
            return LeafKind(SCALAR, kind)
        if kind in (float, complex, int) or isinstance(x, _BY_VALUE):
            return LeafKind(STATIC, (kind, repr(x) if kind in (float, complex) else x))
        if kind is slice:
            return LeafKind(STATIC, (kind, x.start, x.stop, x.step))
        if foreign.foreign(x):  # all of them run eagerly
            return LeafKind(STATIC, (_class_key(kind), FOREIGN))
        return LeafKind(STATIC, Identity(x))

    def _varies(self, x: int, where: Any) -> bool:
        """Whether an int has had another value before: then it becomes a run-time scalar."""
        if not -(2**63) <= x < 2**63:
            return False
        first = self._integers.setdefault(where, x)
        if len(self._integers) > MAX_PLACES:
            self._integers.pop(next(iter(self._integers)), None)
        if first is not None and first != x:
            self._integers[where] = None
        return self._integers[where] is None

    def _conform(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments as the input signature has them; `self` of a method isn't in it."""
        specs = self.input_signature
        assert specs is not None
        if kwargs:
            try:
                args = inspect.signature(self.python_function).bind(*args, **kwargs).args
            except TypeError as error:
                raise InvalidArgumentError(at_user_line(f"{self.name}: {error}")) from None
        own = args[:1] if self._is_method and len(args) == len(specs) + 1 else ()
        given = args[len(own) :]
        if len(given) != len(specs):
            raise InvalidArgumentError(
                at_user_line(
                    f"{self.name} takes {len(specs)} arguments by its input_signature, not "
                    f"{len(given)}"
                )
            )
        parts = zip(given, specs, strict=True)
        return (
            *own,
            *(_conform(x, spec, f"argument {k}") for k, (x, spec) in enumerate(parts)),
        )

    @property
    def _is_method(self) -> bool:
        """Whether the function stands in a class, where calls bring `self`."""
        names = self.qualified_name.split(".")
        return len(names) > 1 and names[-2] != "<locals>"

    def _wants_numpy(self, leaves: Sequence[Any]) -> bool | None:
        """Whether results are ndarrays: all array arguments are; None without such, where
        results are what the Python code makes.
        """
        if self.outputs is not None:
            return self.outputs == "numpy"
        arrays = [isinstance(x, (np.ndarray, np.generic)) or foreign.foreign(x) for x in leaves]
        if any(isinstance(x, TensorBase) for x in leaves):
            return False
        return True if any(arrays) else None

    def _eager(self, args: Any, kwargs: Any, leaves: Sequence[Any]) -> Any:
        """What the Python function gives, with arrays of the type that compiled code gives."""
        value = self.python_function(*args, **kwargs)
        return _finished(self._wants_numpy(leaves), value, *leaves)

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            text = f"{self.qualified_name} runs eagerly, without being compiled: {reason}"
            line = user_line() or SourceLine("<unknown>", 0)
            warnings.warn_explicit(text, FallbackWarning, line.file, line.line)

    def _specialize(self, args: Any, kwargs: Any) -> Specialization:
        """Trace and compile for these arguments, or find that they have to run eagerly."""
        while True:
            tree, leaves, kinds = self._leaves(args, kwargs)
            try:
                self.trace_count += 1
                specialization = self._trace(tree, leaves, kinds)
                specialization.compile(self.passes, self.fast_math)
                return specialization
            except StaticValueNeeded as need:
                scalars = [i for i, k in enumerate(kinds) if k.kind == SCALAR]
                many = self._count() >= config.static_values
                if scalars and not many:
                    if len(self._pinned) > MAX_PLACES:
                        self._pinned.clear()
                    self._pinned.update((tree, i) for i in scalars)
                    continue
                return self._fallen(kinds, need)
            except LeakedTracerError:
                raise
            except TracingError as error:
                return self._fallen(kinds, error)
            except (InternalError, ImportError):  # the latter where LLVM is missing or old
                raise
            except BaseException as error:
                if _ends(error):
                    raise
                # tensors have one set of rules: eager mode would refuse what tracing refused
                strict = any(isinstance(x, TensorBase) for x in leaves)
                strict = strict and not self._undone
                line = raising_line(error)
                where = "" if line is None else "\n  " + line.describe()
                if self.fallback == "error" and self._undone:
                    reason = f"tracing raised {type(error).__name__}, an eager call nothing"
                elif self.fallback == "error" or (strict and isinstance(error, GraphJitError)):
                    raise
                else:
                    reason = f"tracing raised {type(error).__name__}: {error}{where}"
                    return Specialization(kinds, reason=reason, trace_error=error)
            self._eager(args, kwargs, leaves)  # raises too, having done what it does
            raise TracingError(reason + where)

    def _fallen(self, kinds: tuple[LeafKind, ...], error: TracingError) -> Specialization:
        chance, impure = isinstance(error, _StateChanged), isinstance(error, _Impure)
        if self.fallback == "error":
            try:
                raise TracingError(*error.args) if chance or impure else error
            finally:
                del error  # whose traceback has this frame
        if not chance:
            self._warn(str(error))
        return Specialization(kinds, reason=str(error), chance=chance, impure=impure)

    def _run_after_trace_error(
        self, specialization: Specialization, leaves: Sequence[Any], args: Any, kwargs: Any
    ) -> Any:
        """Run eagerly what raised an error while it was traced. If it raises here too, the
        arguments were bad and the specialization is forgotten; if not, it goes on running
        eagerly.
        """
        error = specialization.trace_error
        try:
            value = self._eager(args, kwargs, leaves)
        except BaseException as again:
            specialization.trace_error = None
            with self._locked():
                for key, specializations in list(self._known.items()):
                    if specialization in specializations:
                        specializations.remove(specialization)
                        if not specializations:
                            del self._known[key]
            if not _tells_more(error, again):
                del error  # whose traceback has this frame
                raise
        else:
            error = None
        if error is not None:
            try:
                raise error
            finally:
                del error
        specialization.trace_error = None
        with self._lock:
            self._enter_natively(specialization, args, kwargs)
            self._count_fallback(specialization, args, kwargs)
        self._warn(specialization.reason)
        return value

    def _trace(
        self,
        tree: Tree,
        leaves: Sequence[Any],
        kinds: tuple[LeafKind, ...],
        assumed: Assumptions | None = None,
    ) -> Specialization:
        """The specialization of these arguments, traced; with some extents symbolic if told
        which.
        """
        started = time.perf_counter_ns()
        statics = [x for x, k in zip(leaves, kinds, strict=True) if k.kind == STATIC]
        self._refuse(statics)
        self._wrote = False
        before = side_effects.SideEffects(self.python_function, statics)
        if before.reason:
            raise TracingError(at_user_line(f"{self.name} {before.reason}"))
        asking = before.code_that(lambda code: captures.asks_type(code, _TYPES))
        if asking:
            raise TracingError(
                at_user_line(f"{asking} asks for the type of a value, which tracing changes")
            )
        try:
            specialization = self._traced(before, tree, leaves, kinds, statics, assumed)
        except BaseException as error:
            # what the caller gets leaves what it did until then, as undecorated
            again = self._wrote or (not isinstance(error, _OURS) and _holds_symbols(error))
            final = (_ends(error) or self.fallback == "error") and not again
            final = final and assumed is None and not isinstance(error, _OURS)
            if final and before.left():
                self._undone = False
            else:
                self._undone = before.restore() or again
            raise
        specialization.times_ns["trace"] = time.perf_counter_ns() - started
        return specialization

    def _traced(
        self,
        before: SideEffects,
        tree: Tree,
        leaves: Sequence[Any],
        kinds: tuple[LeafKind, ...],
        statics: Sequence[Any],
        assumed: Assumptions | None,
    ) -> Specialization:
        trace = Trace(self.name)
        if before.names("__iter__"):
            trace.scalar = ScalarByName
        made = self.specialization_class or Specialization
        numpy = self._wants_numpy(leaves)
        specialization = made(kinds, tree, numpy=bool(numpy), tensor_cores=self.tensor_cores)
        if assumed is not None:
            specialization.sizes, specialization.shapes = (
                trace.sizes,
                assumed.shapes(kinds, trace.sizes),
            )
            specialization.kinds = kinds = tuple(
                kind if shape is None else symbolic_sizes.with_shape(kind, shape)
                for kind, shape in zip(kinds, specialization.shapes, strict=True)
            )
        with trace.released(), trace.active():
            names = specialization.names = self._parameter_names(tree)
            specialization.donated = donated_leaves(
                self.python_function, self.donate, tree, leaves
            )
            symbols = iter(
                [
                    self._symbol(trace, specialization, i, x, k, name)
                    for i, (x, k, name) in enumerate(zip(leaves, kinds, names, strict=True))
                ]
            )
            args, kwargs = unflatten(tree, lambda: next(symbols))
            given: list[Any] = []
            flatten((args, kwargs), given)
            function = self.python_function
            if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
                raise TracingError(at_user_line(f"{self.name} runs piecemeal: not traced"))

            def same() -> bool:
                """Whether the containers among the arguments hold what they held."""
                after: list[Any] = []
                kept = flatten((args, kwargs), after) == tree and len(after) == len(given)
                return kept and all(map(operator.is_, after, given))

            try:
                value = captures.with_captures(function, trace.capture)(*args, **kwargs)
            except BaseException as error:
                self._wrote = not same() or _has_more((args, kwargs))
                if not isinstance(error, Exception):
                    raise
                if trace.failed is None or error is trace.failed:
                    raise
                raise trace.failed from error  # C code may have made another error of it
            if trace.failed is not None:  # and the function caught the error
                raise trace.failed
            if problem := before.problem():
                refusal = _StateChanged if before.made else _Impure
                raise refusal(at_user_line(f"{self.name} {problem}"))
            if _has_more((args, kwargs)):
                raise TracingError(
                    at_user_line(f"{self.name} adds an attribute to an argument's dataclass")
                )
            if not same():
                raise TracingError(
                    at_user_line(f"{self.name} writes into a container that is its argument")
                )
            roots = zip(tree.children, (args, kwargs), strict=True)
            returned = Returned(
                value,
                trace,
                before,
                [
                    item
                    for number, (child, root) in enumerate(roots)
                    for item in containers(child, root, ((False, number),))
                ],
                [
                    (i, x)
                    for i, (x, k) in enumerate(zip(leaves, kinds, strict=True))
                    if k.kind == STATIC
                ],
                numpy,
                specialization.donated,
                plain=self.specialization_class is not None,
            )
            specialization.tree, specialization.numpy = (
                _with_plain_keys(returned.tree),
                returned.numpy,
            )
            nodes = [trace.node_of(x) for x in returned.outputs]
            trace.require_checks(nodes)
            specialization.graph = trace.graph_of(nodes)
        sources = captures.find_captures(
            self.python_function, statics, [*trace.captures, *returned.objects]
        )
        specialization.sources = sources[: len(trace.captures)]
        specialization.results = _looked_up(
            specialization, returned, sources[len(trace.captures) :]
        )
        specialization.capture_types = [(a.shape, a.dtype) for a in trace.captures]
        specialization.held = [
            a if source is None else None
            for a, source in zip(trace.captures, specialization.sources, strict=True)
        ]
        specialization.variables = trace.variables
        specialization.order_parameters()
        return specialization

    def _symbol(
        self,
        trace: Trace,
        specialization: Specialization,
        number: int,
        x: Any,
        kind: LeafKind,
        name: str,
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
            type, origin = TensorType(kind.key[0], as_dtype(x.dtype)), "numpy"
        specialization.order.append(("leaf", number))
        symbol = trace.parameter(type, name, origin, "argument", leaf=number)
        symbol.swapped = isinstance(x, np.ndarray) and not x.dtype.isnative
        return symbol

    def _refuse(self, statics: Sequence[Any]) -> None:
        """TracingError for arguments whose contents or type the function would see as they are
        at the trace: arrays of other kinds, sets, and Python code that asks for types.
        """
        for x in statics:
            if foreign.foreign(x):
                array = isinstance(x, np.ndarray)
                what = f"{type(x).__name__} of {x.dtype}" if array else type(x).__name__
                raise TracingError(
                    at_user_line(f"{self.name} has an argument that can't be traced: {what}")
                )
        found = foreign.reached(self.python_function, statics)
        if found:
            raise TracingError(
                at_user_line(f"{self.name} reads {found}, which can change between calls")
            )
        asked = captures.named_in(self.python_function)
        tests = asked & _TYPE_TESTS
        if self.fallback == "error":  # isinstance is answered while tracing
            tests = (
                tests & {"type"}
                if captures.loads_global(self.python_function, "type")
                else set()
            )
        if tests and asked & _TYPES:
            raise TracingError(
                at_user_line(f"{self.name} asks for the type of a value, which tracing changes")
            )

    def _names(self) -> Sequence[str]:
        """The names of the Python function's parameters."""
        if self._named is None:
            try:
                self._named = tuple(inspect.signature(self.python_function).parameters)
            except (TypeError, ValueError):
                self._named = ()
        return self._named

    def _parameter_names(self, tree: Tree) -> list[str]:
        """A name for each leaf of the arguments: `x`, or `x.0` inside a container."""
        args, kwargs = tree.children
        names = list(self._names())
        names += [f"arg{k}" for k in range(len(names), len(args.children))]
        parts = [*zip(names, args.children, strict=False)]
        parts += [*zip(map(str, kwargs.keys), kwargs.children, strict=True)]
        return [leaf for name, child in parts for leaf in leaf_names(child, name)]

    def _run(
        self, specialization: Specialization, leaves: Sequence[Any], args: Any, kwargs: Any
    ) -> Any:
        if specialization.reason:
            if specialization.trace_error is not None:
                return self._run_after_trace_error(specialization, leaves, args, kwargs)
            specialization.due = specialization.chance
            if not specialization.chance:
                self._warn(specialization.reason)
            return self._eager(args, kwargs, leaves)
        try:
            return specialization.run(leaves, given=(args, kwargs))
        except Replaced:  # nothing was done yet
            return self(*args, **kwargs)

    def specialization(self, *args: Any, **kwargs: Any) -> Specialization:
        """The specialization that a call with these arguments uses, made if need be."""
        if self.input_signature is not None:
            args, kwargs = self._conform(args, kwargs), {}
        tree, leaves, kinds = self._leaves(args, kwargs)
        plain = None if kwargs else self._plain_key(args)  # as a call has it
        return self._find((tree, kinds) if plain is None else plain, leaves, args, kwargs)

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
        return explain(self.specialization(*args, **kwargs))


Function._native = enterable(Function)


def _tells_more(error: BaseException | None, again: BaseException) -> bool:
    """Whether the error of a trace is graphjit's own for what an eager call raised."""
    natural = [c for c in type(again).__mro__ if c.__module__ == "builtins"][:-3]
    own = isinstance(error, GraphJitError) and not isinstance(again, GraphJitError)
    return own and isinstance(error, tuple(natural)) and not _holds_symbols(error)


def _holds_symbols(error: BaseException | None) -> bool:
    """Whether an error of the user's, or one that led to it, holds traced values."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if holds_traced((error.args, vars(error))):
            return True
        error = error.__cause__ or error.__context__
    return False


def _ends(error: BaseException) -> bool:
    """Whether an error is to end the call whatever it did: it came from outside, such as by a
    signal. Where the user's code raises it, an eager call does so, too.
    """
    trace = error.__traceback__
    if not isinstance(error, _ENDS) or trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] != _RAISE


def _class_key(kind: type) -> Any:
    """A class as a part of a key, which doesn't keep it alive where it can end."""
    return Identity(kind) if kind.__flags__ & _HEAP else kind


_HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE


def _identity(part: Any) -> Identity | None:
    """The object or class that a part of a key is for."""
    key = part.key if isinstance(part, LeafKind) else part
    if type(key) is tuple and len(key) == 2 and key[1] is FOREIGN:
        key = key[0]
    return key if isinstance(key, Identity) else None


def _end_of(function: Function) -> Callable[[Any], None]:
    """What is called when an object dies that a function has specializations for."""
    found = weakref.ref(function)

    def end(owner: Any) -> None:
        function = found()
        if function is not None:
            function._died.append(owner.number)
            function._forget()

    return end


def _checked_spec(spec: Any) -> Any:
    """A part of an input signature: a TensorSpec, or a container of them."""
    if isinstance(spec, (tuple, list)):
        return tuple(map(_checked_spec, spec))
    if isinstance(spec, dict):
        return {key: _checked_spec(part) for key, part in spec.items()}
    if not isinstance(spec, TensorSpec):
        raise InvalidArgumentError(
            at_user_line(f"an input_signature holds gj.TensorSpec, not {spec!r}")
        )
    return spec


def _conform(x: Any, spec: Any, where: str) -> Any:
    """An argument as its spec has it; InvalidArgumentError where it isn't."""
    if isinstance(spec, TensorSpec):
        if not isinstance(x, np.ndarray):
            x = as_tensor(x, spec.dtype)
        given = TensorType(tuple(x.shape), as_dtype(x.dtype))
        if spec.accepts(given):
            return x
        found = f"{given.dtype.name} of shape {list(given.shape)}"
    elif isinstance(spec, dict) and isinstance(x, dict) and spec.keys() == x.keys():
        held = {key: _conform(x[key], part, f"{where}[{key!r}]") for key, part in spec.items()}
        return x if type(x) is dict and all(held[key] is x[key] for key in held) else held
    elif isinstance(spec, tuple) and isinstance(x, (tuple, list)) and len(x) == len(spec):
        parts = enumerate(zip(x, spec, strict=True))
        items = tuple(_conform(item, part, f"{where}[{k}]") for k, (item, part) in parts)
        return x if type(x) is tuple and all(map(operator.is_, items, x)) else items
    else:
        found = f"a {type(x).__name__}"
    raise InvalidArgumentError(
        at_user_line(
            f"Python inputs incompatible with input_signature: {where} is {found}, the "
            f"signature says {spec}"
        )
    )


def _with_plain_keys(tree: Tree) -> Tree:
    """A tree in which extents among the keys of dicts, tied as they were hashed, are ints."""
    if tree.kind is None:
        return tree
    children = tuple(map(_with_plain_keys, tree.children))
    return Tree(tree.kind, tuple(map(_plain_key, tree.keys)), children, tree.default)


def _plain_key(key: Any) -> Any:
    if isinstance(key, Dim):
        return int(key)
    return tuple(map(_plain_key, key)) if type(key) is tuple else key


def _looked_up(
    specialization: Specialization, returned: Returned, sources: Sequence[Source | None]
) -> list[tuple[str, Any]]:
    """The results, with ways to look up what was there before the call; where there is none it
    is that very object each time.
    """
    found: list[tuple[str, Any]] = []
    for kind, value in returned.results:
        source = sources[value] if kind == "object" else None
        if source is not None:
            specialization.objects.append(source)
            specialization.object_types.append(type(returned.objects[value]))
            found.append(("object", len(specialization.objects) - 1))
        else:
            known = kind == "object"
            found.append(("static", returned.objects[value]) if known else (kind, value))
    return found


def _finished(numpy: bool | None, value: Any, *leaves: Any) -> Any:
    """What a function gave eagerly for arguments with these leaves, as compiled code would."""
    return mapped(value, lambda x: _converted(x, numpy))


def _has_more(value: Any) -> bool:
    """Whether a dataclass among containers has attributes that are no fields of it: on the copy
    that was given to the trace they are new.
    """
    kind = type(value)
    if kind in (tuple, list) or hasattr(kind, "_fields"):
        return any(map(_has_more, value))
    if isinstance(value, dict):
        return any(map(_has_more, value.values()))
    fields = getattr(kind, "__dataclass_fields__", None)
    if fields is None or kind.__module__.startswith("graphjit."):
        return False
    attributes = own_attributes(value)
    return not attributes.keys() <= fields.keys() or any(map(_has_more, attributes.values()))


def _converted(x: Any, numpy: bool | None) -> Any:
    """An eager result as the array type that compiled code would give."""
    if not is_converted(x, numpy):
        return x
    if isinstance(x, Variable):
        x = x.as_tensor()
    if numpy and isinstance(x, Tensor):
        array = np.array(x._array)
        return array if array.shape else array[()]
    return x if isinstance(x, TensorBase) else as_tensor(x)


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
    options = (input_signature, fallback, outputs, passes, fast_math, donate, tensor_cores)
    if func is None:
        return lambda f: kind(f, *options)
    return kind(func, *options)
