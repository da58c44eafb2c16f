"""What a primitive op is: one record that holds everything known about the op.

Everything after `ops/` knows the *kinds* below, not the names. `b` in the rules is a builder:
the code generator's in compiled code (codegen/builder.py documents its methods). `s` is a
space of kernel dims that index rules compute in (passes/space.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphjit.core.frozen import dataclass
from graphjit.core.types import DType, TensorType, TupleType

# A node's attributes, in the order of their names.
Attrs = tuple[tuple[str, Any], ...]
TypeRule = Callable[..., TensorType | TupleType]


@dataclass(frozen=True)
class Source:
    """A parameter or a constant: a buffer that exists before the kernels run."""


@dataclass(frozen=True)
class Pointwise:
    """One output element from the input elements at the same (broadcast) index.

    scalar: (b, *elements, **attrs) -> element; elements are positional, attrs keyword-only.
    zero_of_zeros: whether elements that are all 0, of either sign, give 0 of either sign.
    """

    scalar: Callable[..., Any]
    zero_of_zeros: bool = False

    @property
    def operands(self) -> int:
        """How many elements the scalar rule takes."""
        return int(self.scalar.__code__.co_argcount) - 1


@dataclass(frozen=True)
class Coordinate:
    """An element that is its own index along `axis`."""


@dataclass(frozen=True)
class View:
    """An output element is an input element at another index: no code of its own.

    index: (s, output index, input type, output type, **attrs) -> input index.
    """

    index: Callable[..., Any]


@dataclass(frozen=True)
class Reduce:
    """Elements along `axes` combined into one.

    identity: dtype -> the (number, dtype) of each accumulator before the first element.
    element: (b, x, coordinate) -> the accumulators that one element alone stands for.
    combine: (b, accumulators, accumulators) -> accumulators; associative, and exact in any
        order but for rounding.
    finish: (b, accumulators, dtype) -> the result.
    of_two: the pointwise primitive that gives the result for two elements, where there is one.
    skips_zeros: whether an accumulator, combined with 0 of either sign, stays what it was.
    """

    identity: Callable[[DType], tuple[tuple[Any, DType], ...]]
    element: Callable[..., tuple[Any, ...]]
    combine: Callable[..., tuple[Any, ...]]
    finish: Callable[..., Any]
    needs_coordinate: bool = False
    of_two: Primitive | None = None
    skips_zeros: bool = False


@dataclass(frozen=True)
class Scan:
    """Elements combined along `axis`, each partial result kept, in order.

    identity: dtype -> the (number, dtype) of the accumulator before the first element.
    combine: (b, accumulator, x) -> accumulator. finish: (b, accumulator, dtype) -> element.
    """

    identity: Callable[[DType], tuple[Any, DType]]
    combine: Callable[..., Any]
    finish: Callable[..., Any]


@dataclass(frozen=True)
class Contract:
    """Matrix product over the last two axes, batched over the others."""


@dataclass(frozen=True)
class Assemble:
    """An output made of boxes, each filled from one input, later ones over earlier ones.

    boxes: (input types, **attrs) -> for each input the starts and steps of its box.
    """

    boxes: Callable[..., tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]]


@dataclass(frozen=True)
class Gather:
    """Elements of the first input chosen along `axes` by the other inputs."""


@dataclass(frozen=True)
class Scatter:
    """The first input with the second's elements combined in where the others say, in order.

    combine: (b, old element, update, mode=...) -> element.
    """

    combine: Callable[..., Any]


@dataclass(frozen=True)
class Library:
    """A routine of NumPy or SciPy, called between kernels by its `numpy` rule, which gives
    arrays that share no memory with those that it takes.

    quiet: it never warns of what its arithmetic met, whatever np.errstate is.
    """

    quiet: bool = False


@dataclass(frozen=True)
class RegionTypes:
    """The types of a region's parameters and results, as a type rule sees it."""

    params: tuple[TensorType, ...]
    results: tuple[TensorType, ...]


@dataclass(frozen=True)
class Control:
    """An op that runs graphs, its regions. Its type rule is given their types, as `regions`.

    run: (regions, arrays, **attrs) -> the results, where a region is a function of arrays
        that gives new ones.
    """

    run: Callable[..., Any]


@dataclass(frozen=True)
class Choice(Control):
    """One of the regions is run. The first operand is a bool, which chooses the first of two
    where it is true, or the number of the region.
    """


@dataclass(frozen=True)
class Assumption(Control):
    """Its one region is run, or the call ends: the first operand is a bool, and `holds` says
    which one it has to be. It is run though nothing may need its results.
    """


@dataclass(frozen=True)
class CountedLoop(Control):
    """Its one region is run `count` times. The region's first parameter is the index, those of
    what is `carried` follow. `run` takes the types of the results that it stacks, too, as
    `stacked`.
    """


@dataclass(frozen=True)
class ConditionalLoop(Control):
    """Its second region is run as long as the first one gives true. The first parameters of
    both are what is `carried`.
    """


@dataclass(frozen=True)
class OwnGradient(Control):
    """Its first operands, `outputs` of them, are its results. Its region says what cotangents
    the `arguments` that follow have, by those of the results and by the operands after these.
    """


@dataclass(frozen=True)
class Item:
    """One of the several results of a node."""


Kind = (
    Source | Pointwise | Coordinate | View | Reduce | Scan | Contract | Assemble | Gather
    | Scatter | Library | Control | Item
)  # fmt: skip


@dataclass(frozen=True)
class Names:
    """Under which names users find an op where their function is the op and no more.

    public: of the package, the function's own name first. ufuncs: NumPy's ufuncs. scipy:
    scipy.special's ufuncs. doc: what the public function says of itself.
    """

    public: tuple[str, ...] = ()
    ufuncs: tuple[str, ...] = ()
    scipy: tuple[str, ...] = ()
    doc: str = ""


def named(public: str = "", doc: str = "", *, ufuncs: str = "", scipy: str = "") -> Names:
    """Names, several of them with spaces between."""
    return Names(tuple(public.split()), tuple(ufuncs.split()), tuple(scipy.split()), doc)


NAMELESS = Names()


@dataclass(frozen=True, eq=False)
class Primitive:
    """An op: its kind with the rules for code, its type rule and its NumPy rule.

    type: (input types, **attrs) -> the result's type; raises InvalidArgumentError.
    numpy: (*arrays, **attrs) -> the value, for eager mode and constant folding.
    tensorflow: the op's name in TensorFlow's messages.
    exact: compiled and NumPy's results are equal to the bit, so NumPy may fold it.
    commutative: the two inputs may be swapped without changing a bit.
    cost: rough cycles for one element, for the fusion planner.
    names: the users' names, from which the public functions and NumPy's tables are made.
    slopes: of a pointwise op its partial derivatives: (d, result, *operands, **attrs) -> for
        each operand a slope, where `d` makes nodes (transforms/slopes.py says of what kinds a
        slope is); NotImplemented in place of one that isn't known. None for an op whose
        results have no derivative, such as a comparison.
    """

    name: str
    kind: Kind
    type: TypeRule
    numpy: Callable[..., Any]
    tensorflow: str = ""
    exact: bool = False
    commutative: bool = False
    cost: int = 1
    names: Names = NAMELESS
    slopes: Callable[..., Any] | None = None

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return primitive_named, (self.name,)


PRIMITIVES: dict[str, Primitive] = {}


def define(
    name: str,
    kind: Kind,
    type: TypeRule,
    numpy: Callable[..., Any],
    *,
    tensorflow: str = "",
    exact: bool = False,
    commutative: bool = False,
    cost: int = 1,
    names: Names = NAMELESS,
    slopes: Callable[..., Any] | None = None,
) -> Primitive:
    """Add a primitive to the table."""
    if name in PRIMITIVES:
        raise ValueError(f"primitive {name} is defined twice")
    shown = tensorflow or name.title().replace("_", "")
    record = Primitive(name, kind, type, numpy, shown, exact, commutative, cost, names, slopes)
    PRIMITIVES[name] = record
    return record


def primitive_named(name: str) -> Primitive:
    """The primitive of this name; KeyError if there is none."""
    return PRIMITIVES[name]
