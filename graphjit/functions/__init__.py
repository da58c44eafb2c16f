"""The public functions: plain Python over primitives, eager and traced alike."""

# What these functions give are tensors: whoever imports one of them has the class.
from graphjit.tensors import tensor as _tensor  # noqa: F401
