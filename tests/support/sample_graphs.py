"""A small graph with an awkward name, for tests of what is written of a graph."""

from __future__ import annotations

import numpy as np

from graphjit.core.errors import SourceLine
from graphjit.core.types import TensorType, float32
from graphjit.ir.graph import Graph, GraphBuilder
from graphjit.ops import PRIMITIVES, source

VECTOR = TensorType((3,), float32)
AWKWARD_NAME = 'a "b" <c> & \\N d\ne\x01{}|'


def sample(name: str = "x") -> Graph:
    """x * x and a variable's update, of which one value is returned twice."""
    b = GraphBuilder(name)
    x = b.add(source.param, type=VECTOR, name=name, role="argument")
    v = b.add(source.param, type=VECTOR, name="v", role="variable")
    square = b.add(PRIMITIVES["mul"], (x, x), SourceLine("folder/model.py", 12, "step"))
    total = b.add(PRIMITIVES["add"], (v, square))
    one = b.const(np.array(1, np.float32))
    last = b.add(PRIMITIVES["sub"], (x, b.add(PRIMITIVES["add"], (total, one))))
    return b.finish([last, square, last], [(v, total)])
