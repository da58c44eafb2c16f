"""Pointwise primitives: each output element from input elements at the same index.

One record an op, in the modules below: type rule, NumPy rule, scalar rule, users' names.
Broadcasting is NumPy's. This module has them all.
"""

from .arithmetic import *
from .conversion import *
from .elementary import *
from .failures import *
from .logic import *
