"""The slow path of a call: find a specialization, or trace and compile one."""

from __future__ import annotations

import time
import warnings
from collections import Counter, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphjit.capture.sources import Readings
from graphjit.core.config import config
from graphjit.core.errors import (
    GraphJitError,
    InternalError,
    LeakedTracerError,
    RecompileError,
    SourceLine,
    TracingError,
    at_user_line,
    user_line,
)
from graphjit.core.lazy import lazy_module
from graphjit.core.tree import SCALAR
from graphjit.tensors.apply import TensorBase
from graphjit.tracing.symbolic_tensor import StaticValueNeeded

from .eager import run_eagerly
from .entry_table import count_retrace
from .fallback import Fallbacks, describe_origin
from .specialization import Specialization
from .specialize_sizes import specialize_sizes
from .trace_attempt import TraceAttempt, holds_symbols, is_interrupt

# After so many specializations a function that reads yet another value runs eagerly.
MAX_SPECIALIZATIONS = 64
# After so many paths of calls with the same types the others run eagerly.
MAX_PATHS = 16
# After how many paths branches whose ways meet are joined.
MAX_PATHS_APART = 4
# Lists that loops make longer get at most so many times the room that they have at first.
MAX_ROOM_SCALE = 8**4
# After so many calls with the same types that raised, as their trace did, others aren't traced
# before they have run.
MAX_RAISED = 3

# After so many traces of calls with the same types that took so many seconds, whose code died
# with an object, others run eagerly.
MAX_SLOW, MAX_SECONDS = 2, 10.0
# After so many calls that stored where nothing was, as for so many new objects, others don't do
# it once.
MAX_SETTLED = 2

if TYPE_CHECKING:
    from . import recompile
    from .call_key import ArgumentReader, CallKey
    from .definition import FunctionDefinition
    from .entry_table import EntryTable
    from .specialization_table import SpecializationTable
else:
    recompile = lazy_module("graphjit.jit.recompile")

_MAX_MISSES = 1000


class Specializer:
    """Makes the specializations of one function."""

    def __init__(
        self,
        definition: FunctionDefinition,
        reader: ArgumentReader,
        table: SpecializationTable,
        entries: EntryTable,
    ) -> None:
        self._definition = definition
        self._reader = reader
        self._table = table
        self._entries = entries
        self._fallbacks = Fallbacks(definition, table)
        # Why the function was compiled again, the latest last.
        self.misses: deque[recompile.Miss] = deque(maxlen=_MAX_MISSES)
        # How long the last trace took [s]; by types: how many traces there were, and the last
        # ones' times.
        self._last_took = 0.0
        self._spent: dict[Any, tuple[int, tuple[float, ...]]] = {}
        # How many specializations, and calls that stored where nothing was.
        self._made = self._settled = 0
        # How often the function was traced.
        self.trace_count = 0
        # How often calls raised what their trace did, by key.
        self._raised: Counter[Any] = Counter()

    def find_or_make(self, call: CallKey, read: Readings | None = None) -> Specialization:
        """The specialization that serves a call, made if there is none. read: what is looked
        up for the call.
        """
        read = Readings() if read is None else read
        found = self._table.find(call.key, read) or self._table.find_any_size(call, read)
        if found is not None:
            self._enter_late(found, call)
            return found
        with self._table.locked():
            call = self._reader.refresh(call)
            is_retrace = self._table.remove_due(call.key)
            read.clear()
            found = (  # another thread may have been first
                self._table.find(call.key, read)
                or self._table.find_any_size(call, read)
                or self._fallbacks.find(call)
            )
            if found is not None:
                self._enter_late(found, call)
                return found
            if not is_retrace:
                self._note_miss(call)
            pinned = set(self._reader.pinned)
            try:
                return self._make(call, is_retrace)
            except BaseException:
                self._reader.restore_pinned(pinned)
                raise

    def find_or_make_path(
        self, call: CallKey, tried: Sequence[Specialization]
    ) -> Specialization:
        """A specialization for a call that takes none of the paths of those that were tried."""
        with self._table.locked():
            call = self._reader.refresh(call)
            self._table.remove_due(call.key)
            for found in self._table.paths(call):
                if all(found is not other for other in tried):
                    return found
            if len(tried) >= MAX_PATHS:
                many = TracingError(
                    at_user_line(f"{self._definition.name} has taken {MAX_PATHS} paths")
                )
                specialization = self._fallbacks.fall_back(call, many)
                specialization.follows_paths = True
                self._entries.add(specialization, call)
                self._table.insert(call, specialization)
                return specialization
            if len(tried) >= MAX_PATHS_APART:
                self._definition.joins_paths = {False: True, True: True}
            self._note_path(tried[-1])
            made = self._make(call, is_retrace=False, follows_paths=True)
            if all(made.branches != other.branches for other in tried) or not made.branches:
                return made
            # NumPy decides another way than compiled code, whose sums are rounded otherwise
            self._entries.remove([made])
            self._table.remove(made)
            return Specialization(
                call.kinds, reason="a value at the edge of a branch", may_settle=True
            )

    def give_room(self, specialization: Specialization) -> None:
        """Have a function traced anew with more room for lists, of which one may have been too
        long.
        """
        with self._table.locked():
            if self._definition.room_scale < MAX_ROOM_SCALE:
                self._definition.room_scale *= 8
                self._entries.remove([specialization])
                self._table.remove(specialization)

    def _note_path(self, specialization: Specialization) -> None:
        """Keep why a call is compiled for though there is a specialization for its types."""
        definition, line = self._definition, user_line()
        taken = ", ".join(
            f"{b.source.line if b.source else '?'}: {b.outcome}"
            for b in specialization.branches
        )
        miss = recompile.Miss(
            "the branches by line", taken, "another path", line, self._table.count()
        )
        if config.recompiling_forbidden:
            raise RecompileError(
                f"{definition.qualified_name} would be compiled again. {miss}\n"
                "  outside `forbid_recompile` it would be"
            )
        self.misses.append(miss)

    def _enter_late(self, specialization: Specialization, call: CallKey) -> None:
        if self._entries.is_late(specialization):
            with self._table.lock:
                self._entries.add(specialization, call)

    def _make(
        self, call: CallKey, is_retrace: bool, follows_paths: bool = False
    ) -> Specialization:
        if self._made:
            count_retrace(self._last_took)
        self._made += 1
        count, spent = self._spent.get(call.type_key, (0, ()))
        died = count - self._table.count()
        if died >= MAX_SLOW and sum(spent) > MAX_SECONDS:
            slow = TracingError(
                at_user_line(
                    f"{self._definition.name} is traced again and again, which took "
                    f"{sum(spent):.0f} s"
                )
            )
            specialization = self._fallbacks.fall_back(call, slow)
            self._count_fallback(specialization, call)
            self._table.insert(call, specialization)
            return specialization
        started = time.perf_counter()
        try:
            return self._make_anew(call, is_retrace, follows_paths)
        finally:
            self._last_took = time.perf_counter() - started
            last = (*spent, self._last_took)[-MAX_SLOW:]
            self._spent[call.type_key] = count + 1, last

    def _make_anew(
        self, call: CallKey, is_retrace: bool, follows_paths: bool
    ) -> Specialization:
        self._definition.varying_numbers |= self._table.varying_numbers()
        if self._table.count() >= MAX_SPECIALIZATIONS and self._table.fails_by_guards(call):
            many = TracingError(
                at_user_line(
                    f"{self._definition.name} reads what has had {MAX_SPECIALIZATIONS} values"
                )
            )
            specialization = self._fallbacks.fall_back(call, many)
            self._table.insert(call, specialization)
            return specialization
        sized = specialize_sizes(self._definition, call, self._table.size_history(call))
        if sized is not None:
            self.trace_count += 1
            self._entries.add(sized, call)
            self._table.insert_any_size(call, sized)
            self._count_fallback(sized, call)
            return sized
        # what a compiled call has done before isn't done once
        may_settle = not is_retrace and not self._table.has_compiled(call)
        may_settle = may_settle and self._settled < MAX_SETTLED
        call, specialization = self._specialize(call, may_settle)
        self._settled += specialization.may_settle
        if is_retrace or follows_paths:
            specialization.may_settle = False
        specialization.follows_paths = follows_paths and bool(specialization.reason)
        history = self._table.size_histories.get(call.rank_key)
        if history is not None and not specialization.reason:
            history.rule_out()
        self._entries.add(specialization, call)
        self._count_fallback(specialization, call)
        self._table.insert(call, specialization)
        return specialization

    def _specialize(self, call: CallKey, may_settle: bool) -> tuple[CallKey, Specialization]:
        """Trace and compile for a call, or find that it has to run eagerly.

        Gives the call as it is read then: a scalar may have been pinned on the way.
        may_settle: see `TraceAttempt`.
        """
        options = self._definition.options
        while True:
            attempt = TraceAttempt(self._definition, call, may_settle)
            try:
                self.trace_count += 1
                specialization = attempt.run()
                specialization.compile(options.passes, options.fast_math)
                return call, specialization
            except StaticValueNeeded as need:
                if attempt.require_static_numbers():
                    continue
                has_scalars = any(kind.kind == SCALAR for kind in call.kinds)
                if has_scalars and self._table.count() < config.static_values:
                    call = self._reader.pin(call)
                    continue
                return call, self._fallbacks.fall_back(call, need)
            except LeakedTracerError:
                raise
            except TracingError as error:
                return call, self._fallbacks.fall_back(call, error)
            # ImportError: LLVM is missing or old
            except (InternalError, ImportError):
                raise
            except BaseException as error:
                if is_interrupt(error):
                    raise
                must_raise = options.fallback == "error"
                if not (must_raise and attempt.had_effects):
                    if must_raise or _is_refusal(call, error, attempt.had_effects):
                        raise
                    return call, self._fallbacks.fall_back_after_error(call, error)
                reason = f"tracing raised {type(error).__name__}, an eager call nothing"
                reason += describe_origin(error)
            # What the trace changed was put back. The call raises too, having done what it
            # does, and that error isn't to have the trace's as its context.
            run_eagerly(self._definition, call.args, call.kwargs, call.leaves)
            raise TracingError(reason)

    def _count_fallback(self, specialization: Specialization, call: CallKey) -> None:
        shared = self._fallbacks.count(specialization, call)
        if shared is not None:
            self._entries.add(shared, call)

    def _note_miss(self, call: CallKey) -> None:
        """Keep why no specialization serves a call, if there are some. Warn of it, or refuse to
        make another.
        """
        definition = self._definition
        names = definition.name_leaves(call.tree)
        miss = self._table.explain(call, names, user_line())
        if miss is None:
            return
        if config.recompiling_forbidden:
            raise RecompileError(
                f"{definition.qualified_name} would be compiled again. {miss}\n"
                "  outside `forbid_recompile` it would be"
            )
        self.misses.append(miss)
        if config.recompile_warning and len(self.misses) == config.recompile_warning:
            line = miss.source or SourceLine("<unknown>", 0)
            text = (
                f"{definition.qualified_name} is compiled for the "
                f"{miss.specializations + 1}th time, for {miss}\n"
                "  explain_misses() tells of the times before"
            )
            warnings.warn_explicit(text, recompile.RecompileWarning, line.file, line.line)

    # -- eager specializations

    def refuse_or_warn(self, reason: str) -> None:
        """Warn that calls run eagerly, once; TracingError with fallback="error"."""
        if self._definition.options.fallback == "error":
            raise TracingError(at_user_line(f"{self._definition.qualified_name}: {reason}"))
        self._fallbacks.warn(reason)

    def run_eagerly(
        self, specialization: Specialization, leaves: Any, args: Any, kwargs: Any
    ) -> Any:
        """The results of a call whose specialization runs eagerly."""
        if specialization.trace_error is not None:
            return self._run_after_trace_error(specialization, args, kwargs)
        if specialization.raises:
            value = run_eagerly(self._definition, args, kwargs, leaves)
            specialization.retrace_due = True  # this call goes another way, or another did
            return value
        specialization.retrace_due = specialization.may_settle
        if not specialization.may_settle:
            self._fallbacks.warn(specialization.reason)
        return run_eagerly(self._definition, args, kwargs, leaves)

    def _run_after_trace_error(
        self, specialization: Specialization, args: Any, kwargs: Any
    ) -> Any:
        """Run eagerly what raised an error while it was traced.

        If it raises here too, the arguments were bad, and the specialization is forgotten: a
        call like it may go another way. After some such calls they are no longer traced first.
        If it doesn't raise, it goes on running eagerly.
        """
        error = specialization.trace_error
        call = self._reader.read(args, kwargs)
        try:
            value = run_eagerly(self._definition, args, kwargs, call.leaves)
        except BaseException as raised:
            specialization.trace_error = None
            if not _tells_more(error, raised):
                if len(self._raised) > _MAX_MISSES:
                    self._raised.clear()
                self._raised[call.key] += 1
                specialization.raises = self._raised[call.key] >= MAX_RAISED
                if not specialization.raises:
                    self._table.remove(specialization)
                del error  # whose traceback has this frame
                raise
            self._table.remove(specialization)
        else:
            error = None
        if error is not None:
            try:
                raise error
            finally:
                del error
        specialization.trace_error = None
        with self._table.lock:
            self._entries.add(specialization, call)
            self._count_fallback(specialization, call)
        self._fallbacks.warn(specialization.reason)
        return value


def _is_refusal(call: CallKey, error: BaseException, had_effects: bool) -> bool:
    """Whether eager mode would refuse what tracing refused: tensors have one set of rules.

    had_effects: whether the trace had changed something, which was put back.
    """
    has_tensors = any(isinstance(x, TensorBase) for x in call.leaves)
    return has_tensors and not had_effects and isinstance(error, GraphJitError)


def _tells_more(error: BaseException | None, raised: BaseException) -> bool:
    """Whether the error of a trace is graphjit's own for what an eager call raised."""
    natural = [c for c in type(raised).__mro__ if c.__module__ == "builtins"][:-3]
    own = isinstance(error, GraphJitError) and not isinstance(raised, GraphJitError)
    return own and isinstance(error, tuple(natural)) and not holds_symbols(error)


__all__ = ["Specializer"]
