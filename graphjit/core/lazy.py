"""Modules that are imported when something of them is first used."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from .fork_safety import importing


class _LazyModule(ModuleType):
    """Stands for a module; a name of it that was looked up once is an attribute of its own."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what inspection asks of every module imports nothing
            raise AttributeError(name)
        with importing():
            module = importlib.import_module(self.__name__)
        return getattr(module, name)


def lazy_module(name: str) -> Any:
    """The module of that full name, imported when an attribute of it is first read.

    Forks of other threads wait while it is imported. Beside it belongs the plain import under
    `if TYPE_CHECKING`, by which type checkers and the import contracts see the dependency.
    """
    return _LazyModule(name)


def load_attribute(home: str) -> Any:
    """What is named as "module:attribute", imported now. Forks of other threads wait."""
    name, _, attribute = home.partition(":")
    with importing():
        return getattr(importlib.import_module(name), attribute)


def name_from_records(name: str) -> Any:
    """For type checkers: the `__getattr__` of a module whose names are made from records."""
    raise AttributeError(name)


__all__ = ["lazy_module", "load_attribute", "name_from_records"]
