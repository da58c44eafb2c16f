"""What is called in place of functions that report: print, warnings, logging, writing a text.

Each call reports when all its values are there, with the line of the user's code that did.
"""

from __future__ import annotations

import functools
import io
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from graphjit.core.errors import of_user
from graphjit.numpy_protocol import detached
from graphjit.numpy_protocol.deferred_texts import DeferredText, is_deferred
from graphjit.tensors.apply import current_trace

from .branch_hooks import BranchHooks
from .callables import package_of
from .effects import EffectKind
from .instrument import has_hooks
from .sources import AttributeSource, CallSource, Check, ConstSource, Source, lasting_source
from .values import MAX_DEPTH, PLAIN, is_plain

# Handlers and filters of these modules report, and change nothing that other code reads.
_LOGGING: Final = ("logging", "logging.handlers", "_pytest.logging")
# Methods of loggers, and the levels of `logging`, which is imported by those who use it.
_LEVELS: Final = {
    "debug": 10, "info": 20, "warning": 30, "warn": 30, "error": 40, "critical": 50,
    "fatal": 50,
}  # fmt: skip


# Packages whose files do nothing but show what is written.
_FILES: Final = ("_io", "io", "_pytest", "ipykernel", "idlelib", "tempfile")


class ReportCalls(BranchHooks):
    """`_call_` with a builtin's name is called in its place."""

    # -- print, and what is written to files

    def _call_print(self, *args: Any, **kwargs: Any) -> None:
        file = kwargs.pop("file", None)
        if not kwargs.keys() <= {"sep", "end", "flush"} or not all(
            map(is_plain, kwargs.values())
        ):
            raise self.refusal("prints in a way that isn't followed")
        self._require_no_region()
        shown = tuple(map(self._as_printed, args))
        if file is None:
            where = AttributeSource(lasting_source(sys, "sys"), "stdout")
            self.guard(Check.TYPE, where, type(sys.stdout))
            self.overlay.call(print, shown, kwargs)
            if package_of(type(sys.stdout)) not in _FILES:  # it may change what is read now
                self.opaque = True
        else:
            ends = tuple(kwargs.get(name) for name in ("sep", "end"))
            parts = (*ends, *shown)
            known = not is_deferred(shown)
            self._write(
                file, printed_text(*parts) if known else DeferredText(printed_text, parts)
            )
            if kwargs.get("flush"):
                self._flush(file)

    def _as_printed(self, value: Any, depth: int = 0) -> Any:
        """A value as it is now, for what is printed at the end of a call."""
        kind = type(value)
        if kind in PLAIN or isinstance(value, np.dtype):
            return value
        if self._traced(value):
            return detached(value)
        if kind in (list, tuple, dict) and depth < MAX_DEPTH:
            if is_deferred(shown := self.shadow(value)):
                return self.text_of(shown)
            if kind is dict:
                items = self.shadow(value).items()
                return {k: self._as_printed(x, depth + 1) for k, x in items}
            return kind(self._as_printed(x, depth + 1) for x in self.shadow(value))
        if isinstance(value, type) and type(value) is type:
            return repr(value)
        raise self.refusal(f"prints a {kind.__name__}, whose text isn't followed")

    def writer(self, file: Any, name: str) -> Any:
        """What is called in place of a file's `write` or `flush`; None for others."""
        if not isinstance(file, io.TextIOBase) or self.source_of(file) is None:
            return None
        if name == "write":
            return functools.partial(self._write, file)
        if name == "flush":
            return functools.partial(self._flush, file)
        return None

    def _write(self, file: Any, text: Any) -> Any:
        source = self.source_of(file)
        if not isinstance(file, io.TextIOBase) or source is None:
            raise self.refusal("prints to an object that isn't a file from outside")
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._require_no_region()
        self._alive.append(file)
        self.overlay.method(file, "write", (text,), source, file)
        return DeferredText(len, (text,)) if type(text) is DeferredText else len(text)

    def _flush(self, file: Any) -> None:
        self._require_no_region()
        self._alive.append(file)
        self.overlay.method(file, "flush", (), self.source_of(file), file)

    # -- warnings

    def _call_warn(
        self,
        message: Any,
        category: Any = None,
        stacklevel: int = 1,
        source: Any = None,
        **others: Any,
    ) -> None:
        if not isinstance(message, str) or source is not None or others:
            raise self.refusal("gives a warning in a way that isn't followed")
        category = UserWarning if category is None else category
        if not (isinstance(category, type) and issubclass(category, Warning)):
            raise self.refusal("gives a warning of a class that isn't one of warnings")
        if type(stacklevel) is not int or stacklevel < 1:
            raise self.refusal("gives a warning in a way that isn't followed")
        trace = current_trace.get()
        if trace is None or trace.is_handled():
            raise self.refusal("gives a warning in a `try` or `with`")
        self._require_no_region()
        frame = self._frame_above(stacklevel)
        report = functools.partial(_warn, category, _Place(frame))
        where = AttributeSource(lasting_source(warnings, "warnings"), "showwarning")
        self.guard(Check.SAME, where, warnings.showwarning)
        self.overlay.call(report, (message,), {}, EffectKind.WARN)
        if package_of(warnings.showwarning) != "warnings":  # it may change what is read now
            self.opaque = True

    def _frame_above(self, level: int) -> types.FrameType:
        """The frame of the user's code so many levels up; refused where it isn't traced."""
        frame: types.FrameType | None = sys._getframe(2)
        while frame is not None:
            if of_user(frame):
                level -= 1
                if not level:
                    break
            elif frame.f_globals.get("__name__", "") == "graphjit.jit.trace_attempt":
                frame = None
                break
            frame = frame.f_back
        if frame is None or not has_hooks(frame.f_code):
            raise self.refusal("reports for the caller of the function, which calls don't know")
        return frame

    # -- logging

    def logger_call(self, method: types.MethodType) -> Callable[..., Any] | None:
        """What is called in place of a logger's method; None for others."""
        logger, name = method.__self__, method.__func__.__name__
        if not isinstance(logger, _logging().Logger):
            return None
        if getattr(_logging().Logger, name, None) is not method.__func__:
            return None
        if name in _LEVELS:
            return functools.partial(self._log, logger, _LEVELS[name])
        if name == "log":
            return functools.partial(self._log, logger)
        if name == "isEnabledFor":
            return functools.partial(self._is_enabled, logger)
        return None

    def logging_call(self, name: str) -> Callable[..., Any] | None:
        """What is called in place of a function of `logging`; None for others."""
        if name in _LEVELS:
            return functools.partial(self._log, _logging().root, _LEVELS[name])
        if name == "log":
            return functools.partial(self._log, _logging().root)
        return self._get_logger if name == "getLogger" else None

    def _get_logger(self, name: Any = None) -> Any:
        if name is not None and type(name) is not str:
            raise self.refusal("asks for a logger in a way that isn't followed")
        function = _logging().getLogger
        found = function(name)
        where = CallSource(ConstSource(function, "logging.getLogger"), (name,), {})
        self.guard(Check.SAME, where, found)
        self._register(found, where)
        return found

    def _is_enabled(self, logger: Any, level: Any) -> bool:
        if type(level) is not int:
            raise self.refusal("asks for a level that isn't a plain number")
        where: Source = self.source_of(logger) or lasting_source(logger, "logger")
        found = logger.isEnabledFor(level)
        self.guard(Check.SAME, _EnabledSource(where, level), found)
        return bool(found)

    def _log(self, logger: Any, level: Any, message: Any, *args: Any, **kwargs: Any) -> None:
        stacklevel = kwargs.pop("stacklevel", 1)
        plain = type(level) is int and type(stacklevel) is int and stacklevel > 0
        loggers = (_logging().Logger, _logging().RootLogger)
        if kwargs or not plain or type(logger) not in loggers:
            raise self.refusal("logs in a way that isn't followed")
        if not isinstance(message, str):
            raise self.refusal("logs what isn't a text")
        self._require_no_region()
        frame = self._frame_above(stacklevel)
        shown = tuple(map(self._as_printed, args))
        self.overlay.call(
            functools.partial(_log, logger, level, _Place(frame)), (message, *shown), {}
        )
        if not _reports_only(logger):
            self.opaque = True


def _logging() -> Any:
    """The module `logging`, which the caller has imported."""
    return sys.modules["logging"]


class _Place:
    """A line of the user's code that reports."""

    __slots__ = ("file", "function", "line", "names")

    def __init__(self, frame: types.FrameType) -> None:
        self.file, self.line = frame.f_code.co_filename, frame.f_lineno
        self.function, self.names = frame.f_code.co_name, frame.f_globals


class _EnabledSource(Source):
    """Whether a logger takes messages of a level."""

    __slots__ = ("level", "logger")

    def __init__(self, logger: Source, level: int) -> None:
        self.logger, self.level = logger, level
        self.text = f"{logger.text}.isEnabledFor({level})"
        self.key = (logger.key, "enabled", level)

    def found(self, look: Callable[[Source], Any]) -> Any:
        """Whether it does."""
        return look(self.logger).isEnabledFor(self.level)


def _reports_only(logger: Any) -> bool:
    """Whether what a logger calls is Python's own code, which changes nothing else."""
    found: Any = logger
    while found is not None:
        for part in (*found.handlers, *found.filters):
            kinds = [part, *getattr(part, "filters", ()), getattr(part, "formatter", None)]
            if any(k is not None and type(k).__module__ not in _LOGGING for k in kinds):
                return False
        found = found.parent if found.propagate else None
    return True


def printed_text(sep: Any, end: Any, *values: Any) -> str:
    """What print() writes."""
    buffer = io.StringIO()
    print(*values, sep=sep, end=end, file=buffer)
    return buffer.getvalue()


def _warn(category: type[Warning], place: _Place, message: str) -> None:
    """Warn as `warnings.warn` does on a line of the user's code."""
    names = place.names
    registry = names.setdefault("__warningregistry__", {})
    module = names.get("__name__") or "<string>"
    warnings.warn_explicit(message, category, place.file, place.line, module, registry)


def _log(logger: Any, level: int, place: _Place, message: str, *args: Any) -> None:
    """Log as a method of the logger does on a line of the user's code."""
    if logger is _logging().root and not logger.handlers:
        _logging().basicConfig()
    if logger.isEnabledFor(level):
        record = logger.makeRecord(
            logger.name, level, place.file, place.line, message, args, None, place.function
        )
        logger.handle(record)


__all__ = ["ReportCalls", "printed_text"]
