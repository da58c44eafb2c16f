"""What is known of a decorated function before any call: Python code, names, options."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, SourceLine, at_user_line
from graphjit.core.tree import Tree, leaf_names
from graphjit.core.types import TensorSpec, TensorType, as_dtype
from graphjit.tensors.apply import TensorBase, as_tensor
from graphjit.tracing import foreign

if TYPE_CHECKING:
    from .options import FunctionOptions
    from .specialization import Specialization


class FunctionDefinition:
    """A Python function with its names and options.

    The specializations that a trace makes are of `specialization_class`, a class of a device's
    or the command line's own; None for those of the CPU.
    """

    def __init__(
        self,
        python_function: Callable[..., Any],
        options: FunctionOptions,
        specialization_class: type[Specialization] | None,
    ) -> None:
        partial = isinstance(python_function, functools.partial)
        inner = python_function.func if partial else python_function  # type: ignore[attr-defined]
        named = inner if hasattr(inner, "__name__") else type(inner)
        self.python_function = python_function
        self.name: str = named.__name__
        # ufuncs have one from NumPy 2.2 on only
        self.qualified_name: str = getattr(named, "__qualname__", self.name)
        self.options = options
        self.specialization_class = specialization_class
        # Numbers that the code reads from outside, by the keys of their sources: those that had
        # a second value and became inputs, and those of them that Python needs the values of.
        self.varying_numbers: set[Any] = set()
        self.static_numbers: set[Any] = set()
        # The first values of numbers of objects that are first arguments, by class, path and
        # type; None for those that Python needs the values of.
        self.numbers_of_objects: dict[Any, Any] = {}
        # Lines that make arrays into which traced values are written.
        self.written_lines: frozenset[SourceLine] = frozenset()
        # By whether sizes are symbolic: the tests of loops that are traced as paths, and why.
        self.unstructured: dict[bool, dict[Any, str]] = {False: {}, True: {}}
        # The kinds of the items of lists, by the loops that make them longer and their names;
        # and by how much more room they get than at first.
        self.grows: dict[Any, Any] = {}
        self.room_scale = 1
        # By the same: branches in loops whose ways can't be joined.
        self.unjoined: dict[bool, set[Any]] = {False: set(), True: set()}
        # By the same: whether branches outside of loops are joined, where they can be.
        self.joins_paths: dict[bool, bool] = {False: False, True: False}
        # Branches in loops, with outcomes after which the code only raises.
        self.raising: set[Any] = set()
        self._parameters: tuple[str, ...] | None = None

    @functools.cached_property
    def takes_out(self) -> bool:
        """Whether a call's `out=` is graphjit's: no parameter of the function."""
        try:
            parameters = inspect.signature(self.python_function).parameters
        except (TypeError, ValueError):
            return False
        named = (p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
        return "out" not in parameters and not any(named)

    def name_leaves(self, tree: Tree) -> list[str]:
        """A name for each leaf of the arguments: `x`, or `x.0` inside a container."""
        args, kwargs = tree.children
        names = list(self._parameter_names())
        names += [f"arg{k}" for k in range(len(names), len(args.children))]
        parts = [*zip(names, args.children, strict=False)]
        parts += [*zip(map(str, kwargs.keys), kwargs.children, strict=True)]
        return [leaf for name, child in parts for leaf in leaf_names(child, name)]

    def _parameter_names(self) -> Sequence[str]:
        if self._parameters is None:
            try:
                self._parameters = tuple(inspect.signature(self.python_function).parameters)
            except (TypeError, ValueError):
                self._parameters = ()
        return self._parameters

    def wants_numpy(self, leaves: Sequence[Any]) -> bool | None:
        """Whether results are ndarrays: all array arguments are. None without array arguments,
        where results are what the Python code makes.
        """
        if self.options.outputs is not None:
            return self.options.outputs == "numpy"
        arrays = [
            isinstance(x, (np.ndarray, np.generic)) or foreign.is_foreign(x) for x in leaves
        ]
        if any(isinstance(x, TensorBase) for x in leaves):
            return False
        return True if any(arrays) else None

    def conform(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments as the input signature has them; `self` of a method isn't in it."""
        specs = self.options.input_signature
        assert specs is not None
        if kwargs:
            try:
                args = inspect.signature(self.python_function).bind(*args, **kwargs).args
            except TypeError as error:
                raise InvalidArgumentError(at_user_line(f"{self.name}: {error}")) from None
        own = args[:1] if self._is_method and len(args) == len(specs) + 1 else ()
        given = args[len(own) :]
        if len(given) != len(specs):
            raise InvalidArgumentError(
                at_user_line(
                    f"{self.name} takes {len(specs)} arguments by its input_signature, not "
                    f"{len(given)}"
                )
            )
        parts = zip(given, specs, strict=True)
        return (
            *own,
            *(_conform_part(x, spec, f"argument {k}") for k, (x, spec) in enumerate(parts)),
        )

    @property
    def _is_method(self) -> bool:
        """Whether the function stands in a class, where calls bring `self`."""
        names = self.qualified_name.split(".")
        return len(names) > 1 and names[-2] != "<locals>"


def _conform_part(x: Any, spec: Any, where: str) -> Any:
    """An argument as its spec has it; InvalidArgumentError where it isn't."""
    if isinstance(spec, TensorSpec):
        if not isinstance(x, np.ndarray):
            x = as_tensor(x, spec.dtype)
        given = TensorType(tuple(x.shape), as_dtype(x.dtype))
        if spec.accepts(given):
            return x
        found = f"{given.dtype.name} of shape {list(given.shape)}"
    elif isinstance(spec, dict) and isinstance(x, dict) and spec.keys() == x.keys():
        held = {
            key: _conform_part(x[key], part, f"{where}[{key!r}]") for key, part in spec.items()
        }
        return x if type(x) is dict and all(held[key] is x[key] for key in held) else held
    elif isinstance(spec, tuple) and isinstance(x, (tuple, list)) and len(x) == len(spec):
        parts = enumerate(zip(x, spec, strict=True))
        items = tuple(_conform_part(item, part, f"{where}[{k}]") for k, (item, part) in parts)
        return x if type(x) is tuple and all(map(operator.is_, items, x)) else items
    else:
        found = f"a {type(x).__name__}"
    raise InvalidArgumentError(
        at_user_line(
            f"Python inputs incompatible with input_signature: {where} is {found}, the "
            f"signature says {spec}"
        )
    )


__all__ = ["FunctionDefinition"]
