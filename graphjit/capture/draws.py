"""Random numbers of NumPy's and Python's generators: each call draws them anew, in order.

The trace draws from copies, so that nothing outside has advanced when it ends. What it gets are
parameters of the graph. A call draws when all guards hold, before it computes, from the very
generators, whose stream is therefore the undecorated function's.
"""

from __future__ import annotations

import copy
import functools
import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from graphjit.core.dims import Dim
from graphjit.numpy_protocol.promotion import is_symbol

from .effects import EffectKind
from .generators import Draw, is_generator, kind_of, values_of
from .report_calls import ReportCalls
from .sources import ConstSource, Source
from .values import is_plain

_DISTRIBUTIONS: Final = frozenset({
    "beta", "binomial", "chisquare", "choice", "dirichlet", "exponential", "f", "gamma",
    "geometric", "gumbel", "hypergeometric", "laplace", "logistic", "lognormal", "logseries",
    "multinomial", "multivariate_hypergeometric", "multivariate_normal", "negative_binomial",
    "noncentral_chisquare", "noncentral_f", "normal", "pareto", "permutation", "poisson",
    "power", "random", "rayleigh", "standard_cauchy", "standard_exponential", "standard_gamma",
    "standard_normal", "standard_t", "triangular", "uniform", "vonmises", "wald", "weibull",
    "zipf",
})  # fmt: skip
_OF_GENERATOR: Final = _DISTRIBUTIONS | {"integers", "permuted", "shuffle"}
_OF_RANDOM_STATE: Final = _DISTRIBUTIONS | {
    "rand", "randint", "randn", "random_integers", "random_sample", "sample", "ranf", "seed",
    "shuffle", "tomaxint",
}  # fmt: skip
_OF_RANDOM: Final = frozenset({
    "betavariate", "choice", "choices", "expovariate", "gammavariate", "gauss", "getrandbits",
    "lognormvariate", "normalvariate", "paretovariate", "randint", "random", "randrange",
    "sample", "seed", "triangular", "uniform", "vonmisesvariate", "weibullvariate",
})  # fmt: skip
# Of these, what chooses among objects.
_OF_OBJECTS: Final = frozenset({"choice", "choices", "sample"})
# By module: what makes generators, of the system's entropy where no seed is given.
_MAKERS: Final = {
    "numpy.random._generator": ("default_rng",),
    "numpy.random.mtrand": ("RandomState", "seed"),
    "numpy.random._pcg64": ("PCG64", "PCG64DXSM"),
    "numpy.random._mt19937": ("MT19937",),
    "numpy.random._philox": ("Philox",),
    "numpy.random._sfc64": ("SFC64",),
    "numpy.random.bit_generator": ("SeedSequence",),
    "numpy.random": ("default_rng", "RandomState", "seed"),
    "random": ("Random",),
}  # fmt: skip
_MAX_LIST: Final = 1000  # numbers in a list that a generator of Python's gives


class DrawCalls(ReportCalls):
    """What is called in place of methods of random generators.

    draw: gives the parameters for what a `Draw` gives, or None where calls can't draw.
    """

    draw: Callable[[Draw, Sequence[Any]], Any] | None = None

    def _library(self, function: Any) -> Any:
        raise NotImplementedError

    def _handed(self, value: Any) -> Any:
        raise NotImplementedError

    def drawing(self, function: Any) -> Callable[..., Any] | None:
        """What is called in place of a generator's method; None for other functions."""
        owner = getattr(function, "__self__", None)
        name = getattr(function, "__name__", "")
        if owner is None and (getattr(function, "__module__", None) or "") in _MAKERS:
            if name == "seed":
                owner = _global_state()
            elif name in _MAKERS[function.__module__]:
                return functools.partial(self._made_generator, function)
        if not is_generator(owner):
            return None
        source = self.source_of(owner)
        if source is None and _is_global(owner):
            source = ConstSource(owner, "np.random" if name in _OF_RANDOM_STATE else "random")
        if source is None:
            if self._outside(owner):
                raise self.refusal("draws from a generator reached in a way not followed")
            return None
        if id(owner) in self._given:
            raise self.refusal("draws from a generator that is an argument")
        kind = type(owner).__name__
        known = {"Generator": _OF_GENERATOR, "RandomState": _OF_RANDOM_STATE}
        if name not in known.get(kind, _OF_RANDOM) or self.draw is None:
            raise self.refusal(f"calls .{name} of a random generator")
        return functools.partial(self._draw, owner, source, name)

    def _made_generator(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """A generator that the code makes. One without a seed is another one at each call."""
        if not (args or kwargs) or args[:1] == (None,) or None in kwargs.values():
            raise self.refusal(f"calls {function.__name__} without a seed")
        return self._library(function)(*args, **kwargs)

    def _draw(self, owner: Any, source: Source, name: str, *args: Any, **kwargs: Any) -> Any:
        self._require_no_region()
        self._require_no_turn("draws random numbers")
        if any(effect.kind is EffectKind.WARN for effect in self.overlay.effects):
            raise self.refusal("draws random numbers after a warning, which may be an error")
        self.drawn.append(name)
        given = [_known_extents(self._handed(x)) for x in args]
        named = {k: _known_extents(self._handed(x)) for k, x in kwargs.items()}
        if given and is_symbol(given[0]) and name in ("shuffle", "permutation", "choice"):
            return self._pick(owner, source, name, *given, **named)
        if name == "normal" and any(map(is_symbol, (*given, *named.values()))):
            return self._moved(owner, source, given, named)
        if name == "seed" and (len(given) != 1 or type(given[0]) is not int or named):
            raise self.refusal("seeds a random generator in a way that isn't followed")
        objects = type(owner).__name__ == "Random" and name in _OF_OBJECTS
        listed = objects and given and type(given[0]) in (list, tuple)
        if listed and not all(map(is_plain, given[0])):
            raise self.refusal(f"calls .{name} of a random generator with objects")
        if name == "shuffle" or not all(map(_is_fixed, (*given, *named.values()))):
            raise self.refusal(f"calls .{name} of a random generator with what isn't plain")
        return self._drawn(owner, source, _Method(name, tuple(given), named))

    def _drawn(self, owner: Any, source: Source, draw: Callable[[Any], Any]) -> Any:
        """The parameters for what each call draws."""
        length, found = values_of(draw(self._generator_copy(owner)))
        kinds = [kind_of(x) for x in found]
        if None in kinds or length > _MAX_LIST or self.draw is None:
            raise self.refusal("draws from a random generator what can't be an input")
        symbols = self.draw(Draw(source, draw, tuple(kinds), length), found)  # type: ignore[arg-type]
        if symbols is None:
            raise self.refusal("draws random numbers where sizes vary")
        return symbols if length >= 0 else symbols[0] if symbols else None

    def _generator_copy(self, owner: Any) -> Any:
        """The generator that the trace draws from in place of one from outside."""
        shared = getattr(owner, "bit_generator", None) or getattr(
            owner, "_bit_generator", owner
        )
        known = self._generators.get(id(shared))
        if known is None:
            made = copy.deepcopy(owner) if shared is not owner else type(owner)()
            if shared is owner:
                made.setstate(owner.getstate())
            known = self._generators[id(shared)] = made, owner
        if type(known[0]) is not type(owner):
            raise self.refusal("draws from two kinds of generators with one state")
        return known[0]

    def _pick(
        self, owner: Any, source: Source, name: str, x: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Elements of a traced array: what is drawn are their places."""
        whole = not args and not kwargs
        if not x.shape or isinstance(x.shape[0], Dim) or not all(x.shape):
            raise self.refusal(f"calls .{name} of a random generator with such an array")
        extent = int(x.shape[0])
        if name == "choice":
            if "axis" in kwargs or not all(map(_is_fixed, (*args, *kwargs.values()))):
                raise self.refusal("chooses along an axis")
            if type(owner).__name__ == "RandomState" and len(x.shape) > 1:
                raise self.refusal("chooses rows")
            places = self._drawn(owner, source, _Method(name, (extent, *args), kwargs))
            return x[places]
        if not whole:
            raise self.refusal(f"calls .{name} of a random generator along an axis")
        places = self._drawn(owner, source, _Method("permutation", (extent,), {}))
        if name == "permutation":
            return x[places]
        x[...] = x[places]
        return None

    def _moved(self, owner: Any, source: Source, args: Any, named: Any) -> Any:
        """A normal distribution around a traced place.

        NumPy adds the place to a scaled standard one, too: random_normal in
        numpy/random/src/distributions/distributions.c
        """
        values = dict(zip(("loc", "scale", "size"), args, strict=False)) | named
        size, scale = values.pop("size", None), values.pop("scale", 1.0)
        place = values.pop("loc", 0.0)
        numbers = not np.shape(place) and is_symbol(place) and place.dtype.kind == "f"
        if values or not numbers or not (type(scale) in (int, float) and scale > 0):
            raise self.refusal("calls .normal of a random generator in a way not followed")
        place = self._library(float)(place)
        method = _Method("standard_normal", () if size is None else (size,), {})
        return place + scale * self._drawn(owner, source, method)


class _Method:
    """A call of a method with arguments that are the same each time."""

    __slots__ = ("args", "kwargs", "name")

    def __init__(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.name, self.args, self.kwargs = name, args, kwargs

    def __call__(self, generator: Any) -> Any:
        return getattr(generator, self.name)(*self.args, **self.kwargs)


def _global_state() -> Any:
    """The generator behind `np.random.normal` and the like."""
    return getattr(sys.modules["numpy.random"].normal, "__self__", None)


def _is_global(owner: Any) -> bool:
    """Whether a generator is that of a module."""
    python_random = sys.modules.get("random")
    if python_random is not None and owner is getattr(python_random.random, "__self__", None):
        return True
    return "numpy.random" in sys.modules and owner is _global_state()


def _is_fixed(value: Any) -> bool:
    """Whether an argument is the same at each call, all that is in it, too."""
    if type(value) in (list, tuple):
        return all(map(_is_fixed, value))
    return is_plain(value) or isinstance(value, (type, range))


def _known_extents(value: Any) -> Any:
    """A size as plain numbers."""
    if isinstance(value, Dim):
        return operator.index(value)
    if type(value) in (list, tuple):
        return type(value)(map(_known_extents, value))
    return value


__all__ = ["DrawCalls"]
