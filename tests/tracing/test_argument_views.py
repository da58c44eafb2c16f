"""Results in the memory of arguments: the objects that NumPy gives, by all that shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj

VIEWS: dict[str, Callable[[Any], Any]] = {
    name: eval(f"lambda x: {name}", {"np": np})
    for name in (
        "x", "x.real", "x.imag", "np.real(x)", "np.imag(x)", "x.T", "x.mT", "x.conj()",
        "x[...]",
        "x[()]", "x[1:]", "x[None]", "x[0]", "x[0, ...]", "x[::-1]", "x[-1:]", "x[:0]",
        "x[[0, 0]]", "np.diagonal(x)", "x.diagonal(1)", "np.diag(x)", "np.linalg.diagonal(x)",
        "np.broadcast_to(x, (2, *x.shape))", "np.broadcast_to(x, x.shape)",
        "np.broadcast_arrays(x, x)", "np.broadcast_arrays(x, x[None])",
        "np.squeeze(x)", "x.squeeze()", "np.split(x, 1)", "np.split(x, 1)[0]",
        "np.array_split(x, 2)", "np.hsplit(x, 1)", "np.vsplit(x, 1)", "np.rot90(x)",
        "np.rot90(x, 0)", "np.rot90(x, 2)", "np.atleast_1d(x)", "np.atleast_2d(x)",
        "np.atleast_3d(x)", "np.atleast_1d(x, x)", "np.asarray(x)", "np.asanyarray(x)",
        "np.ascontiguousarray(x)", "np.asarray(x, x.dtype)", "np.ravel(x)", "x.ravel('F')",
        "x.reshape(-1)", "x.reshape(x.shape)", "np.reshape(x, -1, order='F')", "x.flatten()",
        "np.moveaxis(x, 0, -1)", "np.rollaxis(x, 0)", "np.swapaxes(x, 0, 0)",
        "x.swapaxes(0, -1)", "np.transpose(x)", "x.transpose()", "np.matrix_transpose(x)",
        "np.flip(x)", "np.flip(x, ())", "np.flipud(x)", "np.fliplr(x)", "np.expand_dims(x, 0)",
        "np.expand_dims(x, ())", "x.view()", "x.view(x.dtype)", "x.view('i8')",
        "np.real_if_close(x)", "np.unstack(x)", "np.diff(x, 0)", "np.linalg.matrix_power(x, 1)",
        "np.einsum('...->...', x)", "np.einsum('ij->ji', x)", "np.einsum('ii->i', x)",
        "x.copy()", "np.copy(x)", "x.astype(x.dtype)", "x.astype('f4')", "np.array(x)", "+x",
        "(+x).copy()", "(x + 1).copy()", "x.T[1:].T", "x[1:][::-1].reshape(-1)",
        "np.ravel(x)[1:]", "x.ravel().T.reshape(1, -1)", "np.diagonal(x)[1:]", "x.real.T",
        "x.imag.T", "x.to_device('cpu')", "np.squeeze(x)[()]", "np.permute_dims(x)",
        "x.squeeze().copy()", "np.ix_(x)", "np.meshgrid(x, x)",
        "np.meshgrid(x, copy=False)", "np.lib.stride_tricks.sliding_window_view(x, 1, 0)",
        "np.astype(x, x.dtype)", "np.astype(x, x.dtype, copy=False)",
        "x.astype(x.dtype, copy=False)", "x.view('u1')", "x.flat", "np.trim_zeros(x)",
        "np.nan_to_num(x, copy=False)", "np.array(x, copy=None)", "np.array(x, copy=False)",
        "x.__array__()", "np.require(x)", "np.asfortranarray(x)", "np.round(x)",
        "np.delete(x, [])", "np.resize(x, x.shape)", "np.tile(x, 1)", "np.roll(x, 0)",
        "np.concatenate([x])", "np.block(x)", "np.sort(x)", "np.fft.fftshift(x)",
        "np.linalg.matrix_transpose(x)", "np.positive(x)", "np.conj(x)", "x.clip()",
        "np.apply_along_axis(lambda v: v, 0, x)", "np.vander(x)", "np.unwrap(x)",
        "np.insert(x, [], 0)", "np.append(x, [])", "np.where(True, x, x)", "np.repeat(x, 1)",
    )
}  # fmt: skip


def _arguments() -> dict[str, Any]:
    a = np.arange(1.0, 10.0).reshape(3, 3)
    frozen = a.copy()
    frozen.flags.writeable = False
    return {
        "matrix": a, "fortran": np.asfortranarray(a), "strided": np.tile(a, (2, 2))[::2, ::2],
        "frozen": frozen, "reversed": a[::-1], "turned": a.T, "vector": np.arange(4.0),
        "every other": np.arange(8.0)[::2], "one": np.ones(1), "one by one": np.ones((1, 1)),
        "complex": a * (1 + 2j), "complex strided": (a * 1j)[:, ::2], "integers": a.astype(int),
        "big-endian": a.astype(">f8"), "big-endian vector": np.arange(3).astype(">i8"),
        "big-endian complex": (a * 2j).astype(">c16"),
        "0-d": np.array(2.0), "scalar": np.float64(2.0), "0-d complex": np.array(2j),
        "complex scalar": np.complex128(2j), "0-d big-endian": np.array(2.0, ">f8"),
        "0-d integer": np.array(3), "integer scalar": np.int64(3), "empty": np.zeros((0, 3)),
        "no columns": np.zeros((3, 0)), "cube": np.arange(24.0).reshape(2, 3, 4),
        "with ones": np.arange(3.0).reshape(1, 3, 1), "bools": a > 4, "float32": a.astype("f4"),
        "broadcast": np.broadcast_to(np.arange(3.0), (3, 3)),
    }  # fmt: skip


ARGUMENTS = _arguments()


def shown(result: Any, x: Any) -> Any:
    """All that shows of a result: its type, whose memory it lies in, which object it is."""
    if isinstance(result, (list, tuple)):
        return type(result), [shown(part, x) for part in result]
    if not isinstance(result, (np.ndarray, np.generic)):
        return type(result)
    facts: list[Any] = [type(result), result is x, result.dtype, result.shape, result.tolist()]
    if isinstance(result, np.ndarray):
        shared = np.shares_memory(result, x)
        facts += [shared, result.flags.writeable]
        if shared:
            facts += [result.strides, _whose(result, x)]
            facts.append(result.__array_interface__["data"][0] - np.asarray(x).ctypes.data)
    return facts


def _whose(result: Any, x: Any) -> str:
    if result.base is x:
        return "the argument's"
    return "its base's" if result.base is getattr(x, "base", None) else "another's"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", VIEWS)
def test_results_are_the_objects_that_numpy_gives(name: str) -> None:
    fn = VIEWS[name]
    compiled = gj.function(fn)
    for kind, x in ARGUMENTS.items():
        try:
            plain = shown(fn(x), x)
        except Exception:
            continue
        for _ in range(2):
            assert shown(compiled(x), x) == plain, f"{name} of {kind}"
