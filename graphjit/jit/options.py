"""The options of `gj.function`, checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.frozen import dataclass
from graphjit.core.types import TensorSpec

from .output_memory import donated_parameters

if TYPE_CHECKING:
    from graphjit.passes import Pass


@dataclass(frozen=True)
class FunctionOptions:
    """How a function is traced, compiled and run. `gj.function` says what each option does."""

    # A TensorSpec, or a container of them, for each argument.
    input_signature: tuple[Any, ...] | None = None
    # "eager" or "error".
    fallback: str = "eager"
    # "tensor", "numpy" or None.
    outputs: str | None = None
    # The user's passes, run before the default ones.
    passes: tuple[Pass, ...] = ()
    fast_math: bool = False
    # Names or positions of parameters.
    donate: tuple[str | int, ...] = ()
    # "tf32", "float16", "bfloat16" or None.
    tensor_cores: str | None = None


OPTION_NAMES = tuple(field.name for field in fields(FunctionOptions))
DEFAULT_OPTIONS = FunctionOptions()


def check_options(
    function: Callable[..., Any],
    input_signature: Sequence[Any] | None = None,
    fallback: str = "eager",
    outputs: str | None = None,
    passes: Sequence[Pass] = (),
    fast_math: bool = False,
    donate: str | int | Sequence[str | int] = (),
    tensor_cores: str | None = None,
) -> FunctionOptions:
    """The options as they were given for a function. Raises InvalidArgumentError."""
    if fallback not in ("eager", "error"):
        raise InvalidArgumentError(f"fallback is 'eager' or 'error', not {fallback!r}")
    if outputs not in (None, "tensor", "numpy"):
        raise InvalidArgumentError(f"outputs is 'tensor' or 'numpy', not {outputs!r}")
    if not isinstance(fast_math, bool):
        raise InvalidArgumentError(f"fast_math is True or False, not {fast_math!r}")
    if not isinstance(passes, (tuple, list)) or not all(hasattr(p, "run") for p in passes):
        raise InvalidArgumentError(f"passes is a list of graphjit.passes.Pass, not {passes!r}")
    if not callable(function):
        raise InvalidArgumentError(f"a function to trace is callable, not {function!r}")
    signature = None if input_signature is None else _check_signature(input_signature)
    donated = donated_parameters(function, donate) if donate != () else ()
    if tensor_cores is not None:
        from graphjit.codegen.ptx.tensor_cores import check_tensor_cores

        tensor_cores = check_tensor_cores(tensor_cores)
    return FunctionOptions(
        signature, fallback, outputs, tuple(passes), fast_math, donated, tensor_cores
    )


def _check_signature(signature: Any) -> tuple[Any, ...]:
    if not isinstance(signature, (tuple, list)):
        raise InvalidArgumentError(
            at_user_line(f"input_signature is a list of specs, not {signature!r}")
        )
    return tuple(map(_check_spec, signature))


def _check_spec(spec: Any) -> Any:
    """A part of an input signature: a TensorSpec, or a container of them."""
    if isinstance(spec, (tuple, list)):
        return tuple(map(_check_spec, spec))
    if isinstance(spec, dict):
        return {key: _check_spec(part) for key, part in spec.items()}
    if not isinstance(spec, TensorSpec):
        raise InvalidArgumentError(
            at_user_line(f"an input_signature holds gj.TensorSpec, not {spec!r}")
        )
    return spec


__all__ = ["DEFAULT_OPTIONS", "OPTION_NAMES", "FunctionOptions", "check_options"]
