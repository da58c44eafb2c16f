"""What the first call of a compiled function needs when its code is on disk, imported.

`import graphjit` imports this last, so that such a call takes a few milliseconds: the tracer,
NumPy's rules, the cache and what runs compiled programs. No pass, no code generator and none of
the libraries that take long to load.
"""

from . import hidden, jit, kept, specialization, surroundings, trace

__all__ = ["hidden", "jit", "kept", "specialization", "surroundings", "trace"]
