"""The primitive ops: the only place that knows one op from another."""

from . import (
    assemble,
    contract,
    control,
    index,
    library,
    pointwise,
    random,
    reduce,
    source,
    view,
)
from .primitive import PRIMITIVES, Primitive, primitive_named

__all__ = [
    "PRIMITIVES",
    "Primitive",
    "assemble",
    "contract",
    "control",
    "index",
    "library",
    "pointwise",
    "primitive_named",
    "random",
    "reduce",
    "source",
    "view",
]
