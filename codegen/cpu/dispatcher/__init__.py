"""The machine code that enters specializations without Python.

CPython calls a function object through its vectorcall pointer, which leads to `dispatch`
(calls.py). That goes through the object's table of entries (runtime/entry_layout.py) and
compares the arguments with each entry's guards (guards.py). It allocates the results by NumPy's
C API, calls the specialization's segment (launch.py) and returns the results (results.py).
Where no entry fits, and while a trace or eager mode is on, it calls Python.

The code is the same for all specializations, which differ in their tables. So a new
specialization costs no compile time. Reference counts change through CPython's own functions,
which know immortal objects. Nothing unwinds through this code: a call that fails returns null
and has released everything.
"""

from .install import MISS, install

__all__ = ["MISS", "install"]
