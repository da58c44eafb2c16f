"""The errors that graphjit raises, under their public name. All derive from GraphJitError."""

from graphjit.core import errors as _errors
from graphjit.core.errors import *  # noqa: F403

__all__ = [
    name
    for name, found in vars(_errors).items()
    if isinstance(found, type) and issubclass(found, _errors.GraphJitError)
]
