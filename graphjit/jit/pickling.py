"""Pickling of decorated functions.

A function that an import finds under its name is pickled by that name, as Python's own
functions are. All others (lambdas, nested functions, those of `__main__` and of notebooks) are
pickled by value: cloudpickle takes code, closure, and what they name. Compiled specializations
aren't pickled.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def reduce_function(function: Any) -> tuple[Any, ...]:
    """What `__reduce__` returns for a decorated function. To be called by it directly."""
    pickler = sys._getframe(2).f_globals.get("__name__", "")
    module = getattr(function, "__module__", None) or ""
    name = function._definition.qualified_name
    if _look_up(module, name) is function and _is_pickled_by_name(module, pickler):
        return by_name, (module, name)
    if _is_cloudpickle(pickler):  # it takes code as it is, and keeps what its objects share
        return _make_blank, (type(function),), _state(function)
    return _by_value, (_cloudpickle().dumps(function),)


def by_name(module: str, name: str) -> Any:
    """The function that stands under a name in a module."""
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return getattr(found, "__func__", found)  # of a class method


def _look_up(module: str, name: str) -> Any:
    """What stands under a name in a module that is imported, or None."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return getattr(found, "__func__", found)  # of a static or class method


def _is_pickled_by_name(module: str, pickler: str) -> bool:
    """Whether other processes find what a module holds. multiprocessing lets its workers
    have the `__main__` of a script; no other library does.
    """
    if module in ("__main__", "__mp_main__"):
        in_script = hasattr(sys.modules[module], "__file__")
        return in_script and pickler == "multiprocessing.reduction"
    cloudpickle = sys.modules.get("cloudpickle")
    if cloudpickle is None or not _is_cloudpickle(pickler):
        return True
    by_value = cloudpickle.list_registry_pickle_by_value()
    parts = module.split(".")
    return not any(".".join(parts[: k + 1]) in by_value for k in range(len(parts)))


def _is_cloudpickle(pickler: str) -> bool:
    """Whether a module is cloudpickle's, or that of a copy inside another library."""
    return pickler.rpartition(".")[2].startswith("cloudpickle")


def _state(function: Any) -> dict[str, Any]:
    """The Python function, the options, and the attributes that were set from outside."""
    given = {k: v for k, v in vars(function).items() if k != "__wrapped__"}
    return {
        "function": function.python_function,
        "options": function._definition.options,
        "attributes": given,
    }


def _make_blank(kind: Any) -> Any:
    """A decorated function without state: functions that refer to each other are made first."""
    return kind.__new__(kind)


def _by_value(data: bytes) -> Any:
    return _cloudpickle().loads(data)


def _cloudpickle() -> Any:
    import cloudpickle

    return cloudpickle


__all__ = ["by_name", "reduce_function"]
