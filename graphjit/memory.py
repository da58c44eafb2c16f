"""The memory of large results, under its public name: how much there is, and giving it back."""

from graphjit.core.memory_pool import stats, trim

__all__ = ["stats", "trim"]
