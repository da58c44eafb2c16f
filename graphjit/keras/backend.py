"""The names of tf.keras.backend that are tensor operations, over graphjit's own functions.

Left out are the names that concern models, sessions, learning phases and strings.
"""

from .convolutions import *
from .elementwise import *
from .folds import *
from .layers import *
from .products import *
from .random import *
from .reductions import *
from .settings import *
from .shapes import *
from .tensors import *
