"""The half of what a first call needs whose code is on disk that `import graphjit` loads.

It is what reads the cache and runs what is found, and the ops. To decorate a function loads the
other half, the tracer with NumPy's rules (`jit.py`). No pass, no code generator, and none of
the libraries that take long to load.
"""

from . import kept, ops

__all__ = ["kept", "ops"]
