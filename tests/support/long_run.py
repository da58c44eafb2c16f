"""A handful of functions called in every way, each result compared with NumPy's.

What calls them decides in which order: hypothesis (`test_state_machine.py`) or chance
(`benchmarks/soak.py`).
"""

from __future__ import annotations

import gc
import pickle
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

import graphjit as gj

SHAPES = [(), (1,), (4,), (0, 3), (2, 3), (5, 1, 2), (40, 30), (300, 500)]
DTYPES = ["float32", "float64", "int32", "complex64"]
LAYOUTS = ["plain", "strided", "reversed", "Fortran", "swapped", "read-only", "misaligned"]


def array(shape: tuple[int, ...], dtype: str, layout: str, seed: int) -> Any:
    """An array of some values that lies in memory in some way."""
    rng = np.random.default_rng(seed)
    wide = (rng.uniform(-3, 3, (*shape[:-1], 2 * shape[-1]) if shape else ())).astype(dtype)
    if layout == "strided" and shape:
        return wide[..., ::2]
    x = np.array(wide[..., : shape[-1]] if shape else wide)
    if layout == "reversed" and shape:
        return x[::-1]
    if layout == "Fortran":
        return np.asfortranarray(x)
    if layout == "swapped":
        return x.astype(x.dtype.newbyteorder())
    if layout == "read-only":
        x.flags.writeable = False
    if layout == "misaligned":
        raw = np.zeros(x.nbytes + 1, np.uint8)
        moved = raw[1:].view(x.dtype).reshape(shape)
        moved[...] = x
        return moved
    return x


def _chain(x: Any, a: float) -> Any:
    return x * a + x - 1


def _parts(x: Any) -> Any:
    return {"sum": x.sum(), "pair": (x + x, [x * 2, None])}


def _softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _shifted(x: Any, n: int) -> Any:
    return x + n


def _picked(x: Any, i: Any) -> Any:
    return x[i] * 2


def _sorted(x: Any) -> Any:
    return np.sort(x, -1) + x


class Calls:
    """The functions, a variable and a captured array, with what NumPy says of them.

    references: objects that live as long as this, whose counts tell of leaks.
    """

    bodies: ClassVar[dict[str, Callable[..., Any]]] = {
        "chain": _chain,
        "parts": _parts,
        "softmax": _softmax,
        "shifted": _shifted,
        "picked": _picked,
        "sorted": _sorted,
    }

    def __init__(self) -> None:
        self.functions = {name: self._made(name) for name in self.bodies}
        self.weights = {"w": np.arange(4.0)}
        self.captured = self._captured()
        self.variable = gj.Variable(np.zeros(6, np.float32))
        self.value = np.zeros(6, np.float32)
        self.step = self._step()
        self.fixed = array((2, 3), "float64", "plain", 0)
        self.tensor = gj.constant(self.fixed)
        # not float64's: NumPy 2.4 loses a reference where it makes an array of that by default
        self.references = [
            self.fixed, self.tensor, gj.Tensor, np.ndarray,
            np.dtype("float32"), *self.bodies.values(),
        ]  # fmt: skip

    def _made(self, name: str) -> Any:
        return gj.function(self.bodies[name])

    def _captured(self) -> Any:
        weights = self.weights
        return gj.function(lambda x: x * weights["w"] + 1)

    def _step(self) -> Any:
        v = self.variable

        def step(x: Any, i: Any) -> Any:
            v.assign_add(x)
            return v[i] * 2.0

        return gj.function(step, fallback="error")

    def call(self, name: str, x: Any, *rest: Any, tensor: bool = False) -> None:
        """Call a function, perhaps with a tensor (`chain` can take one); errors must be those
        of NumPy.
        """
        given = gj.constant(x) if tensor and x.dtype.isnative else x
        try:
            with np.errstate(all="ignore"):
                expected = self.bodies[name](x, *rest)
        except (IndexError, ValueError, TypeError, np.exceptions.AxisError) as error:
            try:
                self.functions[name](given, *rest)
            except (IndexError, ValueError, TypeError, gj.errors.GraphJitError):
                return
            raise AssertionError(f"no {type(error).__name__} of {name}") from error
        if tensor and given is not x:
            try:
                result = self.functions[name](given, *rest)
            except gj.errors.GraphJitError:  # tensors convert nothing by themselves
                return
        else:
            result = self.functions[name](given, *rest)
        same(result, expected)

    def call_into(self, x: Any, a: float, overlap: bool) -> None:
        """Call with `out`, which may be the argument itself."""
        expected = x * a + x - 1
        out = x if overlap and x.flags.writeable else np.zeros_like(x)
        if expected.dtype != out.dtype.newbyteorder("="):
            return
        same(self.functions["chain"](x, a, out=out), expected)

    def call_captured(self, x: Any, new: bool) -> None:
        """Call what reads an array that it isn't given, which may be another one since."""
        if new:
            self.weights["w"] = self.weights["w"] + 1
        same(self.captured(x), x * self.weights["w"] + 1)

    def step_variable(self, number: float, index: int) -> None:
        """A step that may fail: then the variable is as before."""
        x = np.full(6, number, np.float32)
        try:
            result = self.step(gj.constant(x), np.array(index))
        except IndexError:
            assert not -6 <= index < 6
        else:
            self.value = self.value + x
            same(result.numpy(), self.value[index] * np.float32(2))
        same(self.variable.numpy(), self.value)

    def call_in_threads(self, name: str, x: Any, *rest: Any) -> None:
        """The same call in several threads at once."""
        errors: list[BaseException] = []

        def work() -> None:
            try:
                for _ in range(5):
                    self.call(name, x, *rest)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive()
        if errors:
            raise errors[0]

    def send(self, name: str) -> None:
        """Go on with a function that was pickled."""
        self.functions[name] = pickle.loads(pickle.dumps(self.functions[name]))

    def send_variable(self) -> None:
        """Go on with a variable that was pickled, and a new function over it."""
        self.variable = pickle.loads(pickle.dumps(self.variable))
        self.step = self._step()

    def forget(self, name: str) -> None:
        """Drop a function and its specializations, and make it anew."""
        del self.functions[name]
        self.functions[name] = self._made(name)
        self.captured = self._captured()

    def collect(self) -> None:
        """Collect garbage."""
        gc.collect()


def same(result: Any, expected: Any) -> None:
    """Equal in structure, shape, and value up to rounding; dtypes too, but for tensors."""
    if isinstance(expected, dict):
        assert list(result) == list(expected)
        result, expected = list(result.values()), list(expected.values())
    if isinstance(expected, (list, tuple)):
        assert len(result) == len(expected)
        for left, right in zip(result, expected, strict=True):
            same(left, right)
    elif expected is None:
        assert result is None
    elif isinstance(result, gj.Tensor):
        assert tuple(result.shape) == np.shape(expected)
        close(result.numpy(), np.asarray(expected))
    else:
        assert np.shape(result) == np.shape(expected)
        assert result.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
        close(result, np.asarray(expected))


def close(result: Any, expected: Any) -> None:
    """Equal up to the rounding of sums."""
    if expected.dtype.kind in "biu":
        np.testing.assert_array_equal(result, expected)
        return
    exact = np.finfo(np.asarray(result).dtype).eps
    scale = np.abs(expected).max(initial=1.0)
    np.testing.assert_allclose(result, expected, rtol=2000 * exact, atol=2000 * exact * scale)
