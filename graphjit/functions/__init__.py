"""The public functions: plain Python over primitives, eager and traced alike.

`import graphjit as gj` finds them by name. A module lists its names in `__all__`; those that
are found in the package's own namespace are these, or the ones that its `TOP_LEVEL` lists.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# What these functions give are tensors: whoever imports one of them has the class.
from graphjit.tensors import tensor as _tensor  # noqa: F401

# The modules whose functions are found as gj.name. A name is looked for in this order: the last
# five aren't loaded with the class of tensors, as the others are.
MODULES = (
    "elementwise", "math", "reduce", "shape", "create", "index", "sorting", "linalg", "control",
    "loops", "tensor_array", "second_names", "nn",
)  # fmt: skip
# Those whose functions are part of `from graphjit import *`, under their first names.
STARRED = (
    "control", "create", "elementwise", "index", "loops", "math", "reduce", "shape", "sorting",
    "tensor_array",
)  # fmt: skip


def names_of(module: str) -> list[str]:
    """The names that one of MODULES gives to the package's namespace."""
    found = import_module(f"{__name__}.{module}")
    return list(getattr(found, "TOP_LEVEL", found.__all__))


def find(name: str) -> Any:
    """The public function of that name; LookupError if there is none."""
    for module in MODULES:
        if name in names_of(module):
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise LookupError(name)


def public_names() -> list[str]:
    """The names of all functions that the package's namespace has."""
    return [name for module in MODULES for name in names_of(module)]


def starred_names() -> list[str]:
    """The names of the functions that `from graphjit import *` brings."""
    found: list[str] = []
    for module in STARRED:
        names = import_module(f"{__name__}.{module}")
        found += getattr(names, "FIRST_NAMES", names.__all__)
    return found
