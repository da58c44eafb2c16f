"""Graph, its builder and rewriter, and `verify`, which refuses every kind of broken graph."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from strategies import graphs

from graphjit.core.errors import InternalError, InvalidArgumentError, SourceLine
from graphjit.core.types import TensorType, TupleType, float32, float64
from graphjit.ir.graph import Graph, GraphBuilder, Node, Rewriter, reachable, verify
from graphjit.ops import PRIMITIVES, source

VECTOR = TensorType((3,), float32)
NEG, ADD, SUM, QR, ITEM = (PRIMITIVES[name] for name in ("neg", "add", "sum", "qr", "item"))


def param(name: str, type: TensorType = VECTOR, role: str = "argument") -> Node:
    attrs = (("name", name), ("role", role), ("type", type))
    return Node(source.param, (), attrs, type)


def node(op: Any, *inputs: int, type: Any = VECTOR, **attrs: Any) -> Node:
    return Node(op, inputs, tuple(sorted(attrs.items())), type)


def graph(*nodes: Node, outputs: Any = (0,), updates: Any = ()) -> Graph:
    return Graph("f", nodes, outputs, updates)


GOOD = graph(
    param("x"),
    param("v", role="variable"),
    node(ADD, 0, 1),
    node(NEG, 2),
    node(NEG, 0),
    outputs=(3, 3),
    updates=((1, 2),),
)
MATRIX = TensorType((2, 2), float64)
PAIR = TupleType((MATRIX, MATRIX))
X, V = param("x"), param("v", role="variable")


def test_good_graphs_pass() -> None:
    verify(GOOD)
    verify(graph(param("x", MATRIX), node(QR, 0, type=PAIR, complete=False), outputs=()))
    verify(Graph("empty", (), ()))


@given(graphs())
def test_random_graphs_pass(graph: Graph) -> None:
    verify(graph)


# The problem as `verify` names it, and a graph with it.
BROKEN = {
    "reads a later node": ("%1 reads", graph(X, node(NEG, 2), node(NEG, 0))),
    "reads itself": ("%1 reads", graph(X, node(NEG, 1))),
    "reads before the first": ("%1 reads", graph(X, node(NEG, -1))),
    "wrong shape": (
        "%1 says f32[4], its rule says f32[3]",
        graph(X, node(NEG, 0, type=TensorType((4,), float32))),
    ),
    "wrong dtype": (
        "%1 says f64[3], its rule says f32[3]",
        graph(X, node(NEG, 0, type=TensorType((3,), float64))),
    ),
    "tensor said, tuple made": (
        "%1 says f64[2, 2], its rule says",
        graph(param("x", MATRIX), node(QR, 0, type=MATRIX, complete=False)),
    ),
    "constant of another type": (
        "%0 says f32[3], its rule says f32[2]",
        graph(
            Node(source.const, (), (("value", source.Literal(np.ones(2, np.float32))),), VECTOR)
        ),
    ),
    "output unknown": ("output %5 does not exist", graph(X, outputs=(5,))),
    "output negative": ("output %-1 does not exist", graph(X, outputs=(-1,))),
    "output a tuple": (
        "output %1 is a tuple",
        graph(param("x", MATRIX), node(QR, 0, type=PAIR, complete=False), outputs=(1,)),
    ),
    "new value unknown": ("output %7 does not exist", graph(V, updates=((0, 7),))),
    "updated twice": (
        "a variable is updated twice",
        graph(V, node(NEG, 0), updates=((0, 1), (0, 0))),
    ),
    "update of no parameter": (
        "update of %1, which is no parameter",
        graph(V, node(NEG, 0), updates=((1, 0),)),
    ),
    "update of another type": (
        "update of %0 with another type",
        graph(V, node(SUM, 0, type=TensorType((), float32), axes=(0,)), updates=((0, 1),)),
    ),
}
# Broken graphs at which a rule stumbles, each in its own way.
STUMBLES = {
    "shapes don't meet": graph(X, param("y", TensorType((4,), float32)), node(ADD, 0, 1)),
    "dtypes don't meet": graph(X, param("y", TensorType((3,), float64)), node(ADD, 0, 1)),
    "an input too few": graph(X, node(ADD, 0)),
    "an input too many": graph(X, node(NEG, 0, 0)),
    "an attribute unknown": graph(X, node(NEG, 0, axis=1)),
    "an attribute missing": graph(X, node(SUM, 0, type=TensorType((), float32))),
    "a tuple read as a tensor": graph(
        param("x", MATRIX),
        node(QR, 0, type=PAIR, complete=False),
        node(NEG, 1, type=MATRIX),
    ),
    "an item of a tensor": graph(X, node(ITEM, 0, index=0)),
    "an item past the end": graph(
        param("x", MATRIX),
        node(QR, 0, type=PAIR, complete=False),
        node(ITEM, 1, type=MATRIX, index=2),
    ),
    "an axis out of range": graph(X, node(SUM, 0, axes=(4,))),
    "an update of an unknown parameter": graph(V, updates=((7, 0),)),
    "an update of an argument": graph(X, node(NEG, 0), updates=((0, 1),)),
}


def check_refused(broken: Graph, problem: str) -> None:
    with pytest.raises(InternalError) as caught:
        verify(broken)
    message = str(caught.value)
    assert message.startswith(problem)
    assert str(broken) in message


@pytest.mark.parametrize("what", BROKEN)
def test_verify_refuses(what: str) -> None:
    problem, broken = BROKEN[what]
    check_refused(broken, problem)


@pytest.mark.parametrize("what", STUMBLES)
def test_verify_refuses_with_the_graph_text(what: str) -> None:
    check_refused(STUMBLES[what], "")


def test_params_roots_users() -> None:
    assert GOOD.params == (0, 1)
    assert GOOD.roots == (3, 3, 2)
    assert GOOD.users() == [[2, 4], [2], [3], [], []]
    assert graph(X, node(ADD, 0, 0)).users() == [[1], []]
    assert len(GOOD) == 5


def test_equality_ignores_source_lines_only() -> None:
    line = SourceLine("model.py", 3)
    with_line = Graph("f", (X, Node(NEG, (0,), (), VECTOR, line)), (1,))
    assert with_line == graph(X, node(NEG, 0), outputs=(1,))
    assert hash(with_line) == hash(graph(X, node(NEG, 0), outputs=(1,)))
    good = graph(X, node(NEG, 0))
    for other in (
        graph(X, node(NEG, 0), outputs=(1,)),
        graph(X, node(PRIMITIVES["abs"], 0)),
        graph(V, node(NEG, 0)),
        graph(X, node(NEG, 0), updates=((0, 1),)),
        Graph("g", good.nodes, good.outputs),
    ):
        assert other != good


def test_constants_are_equal_by_their_bits() -> None:
    def const(*values: float, dtype: Any = np.float32) -> source.Literal:
        return source.Literal(np.array(values, dtype))

    assert const(np.nan) == const(np.nan)
    assert const(0.0) != const(-0.0)
    assert const(1.0) != const(1.0, dtype=np.float64)
    assert const(0.0) != const(0, dtype=np.int32)
    assert const(*range(99)) == const(*range(99))
    assert const(*range(99)) != const(*range(98), -1)
    assert source.Literal(np.zeros((2, 3))) != source.Literal(np.zeros((3, 2)))


def test_builder_infers_types_and_refuses_bad_ones() -> None:
    b = GraphBuilder("f")
    x = b.add(source.param, type=TensorType((3, 1), float32), name="x", role="argument")
    y = b.add(ADD, (x, b.const(np.ones(4, np.float32))))
    assert b.type_of(y) == TensorType((3, 4), float32)
    with pytest.raises(
        InvalidArgumentError, match=re.escape("Incompatible shapes: [3,4] vs. [5]")
    ):
        b.add(ADD, (y, b.const(np.ones(5, np.float32))))


def test_builder_sorts_attributes() -> None:
    b = GraphBuilder("f")
    x = b.const(np.ones(4, np.float32))
    y = b.add(PRIMITIVES["slice"], (x,), steps=(1,), starts=(0,), sizes=(2,))
    assert [name for name, _ in b.nodes[y].attrs] == ["sizes", "starts", "steps"]


@given(graphs())
def test_copying_every_node_gives_the_graph_itself(graph: Graph) -> None:
    rewriter = Rewriter(graph)
    for index in range(len(graph)):
        rewriter.map[index] = rewriter.copy(index)
    assert rewriter.result() is graph


@given(graphs())
def test_copying_the_reachable_nodes_gives_a_valid_graph(graph: Graph) -> None:
    rewriter, live = Rewriter(graph), reachable(graph)
    for index in range(len(graph)):
        if live[index] or graph.nodes[index].primitive is source.param:
            rewriter.map[index] = rewriter.copy(index)
    after = rewriter.result()
    verify(after)
    assert len(after.outputs) == len(graph.outputs)
    assert len(after.params) == len(graph.params)
    assert [after.nodes[i].type for i in after.roots] == [
        graph.nodes[i].type for i in graph.roots
    ]
    assert all(
        live or after.nodes[index].primitive is source.param
        for index, live in enumerate(reachable(after))
    )
    assert (after is graph) == (len(after) == len(graph))


def test_rewriter_moves_inputs_outputs_and_updates() -> None:
    rewriter = Rewriter(GOOD)
    for index in range(len(GOOD)):
        if index == 2:  # in place of v + x: x + (−x), so that all later numbers move
            negative = rewriter.add(NEG, (rewriter.map[0],))
            rewriter.map[2] = rewriter.add(ADD, (rewriter.map[0], negative))
        else:
            rewriter.map[index] = rewriter.copy(index)
    after = rewriter.result()
    verify(after)
    assert after is not GOOD
    assert [n.inputs for n in after.nodes] == [(), (), (0,), (0, 2), (3,), (0,)]
    assert after.outputs == (4, 4)
    assert after.updates == ((1, 3),)


def test_rewriter_keeps_source_lines() -> None:
    line = SourceLine("model.py", 3)
    old = Graph("f", (X, node(NEG, 0), Node(NEG, (1,), (), VECTOR, line)), (2,))
    rewriter = Rewriter(old)
    rewriter.map[0] = rewriter.map[1] = rewriter.copy(0)
    rewriter.map[2] = rewriter.copy(2)
    after = rewriter.result()
    assert after.nodes[-1].inputs == (0,)
    assert after.nodes[-1].source is line


def test_a_graph_with_other_outputs_is_another_graph() -> None:
    rewriter = Rewriter(GOOD)
    for index in range(len(GOOD)):
        rewriter.map[index] = rewriter.copy(index)
    rewriter.map[3] = rewriter.map[4]
    after = rewriter.result()
    assert after is not GOOD
    assert after.outputs == (4, 4)


def test_reachable() -> None:
    assert reachable(GOOD) == [True, True, True, True, False]
    only_update = graph(X, V, node(NEG, 0), outputs=(), updates=((1, 2),))
    # A variable that is only written is not read.
    assert reachable(only_update) == [True, False, True]
    assert reachable(graph(X, V, outputs=())) == [False, False]


@given(graphs())
def test_reachable_is_what_networkx_calls_ancestors(graph: Graph) -> None:
    import networkx as nx

    drawn = graph.to_networkx()
    expected = set(graph.roots)
    for root in set(graph.roots):
        expected |= nx.ancestors(drawn, root)
    assert {index for index, live in enumerate(reachable(graph)) if live} == expected
