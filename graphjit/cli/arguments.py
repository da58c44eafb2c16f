"""What the commands take: a function by file or module, its arguments as text, options."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import click
import numpy as np

from graphjit.codegen.ptx.arch import ARCHITECTURES
from graphjit.codegen.ptx.arch import DEFAULT as DEFAULT_ARCH
from graphjit.codegen.ptx.tensor_cores import MMA_VARIANTS
from graphjit.core.errors import InvalidArgumentError
from graphjit.core.types import TensorSpec, TensorType, as_dtype
from graphjit.export.traced import line_of
from graphjit.tensors.tensor import Tensor

USER_ERROR = 2
TRACEBACK = "graphjit.traceback"
_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


class Failure(click.ClickException):
    """A message for stderr and an exit code: of the user's error, if no other is given."""

    exit_code = USER_ERROR


@contextmanager
def loaded(target: str) -> Iterator[Any]:
    """The function that `model.py:step` or `package.model:step` names.

    Its folder (for a module: the current one) leads sys.path in the block.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise Failure(
            f"{target!r} names no function: write model.py:step or package.model:step"
        )
    is_file = place.endswith(".py") or os.sep in place or Path(place).is_file()
    path = Path(place).resolve()
    if is_file and not path.is_file():
        raise Failure(f"no file {place}")
    if is_file and path.stem in sys.modules:
        raise Failure(f"{path.name} has the name of a module in use; give the file another")
    folder = str(path.parent) if is_file else os.getcwd()
    sys.path.insert(0, folder)
    try:
        module = _import_file(path) if is_file else _import_module(place)
        yield _find(module, name)
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
        if is_file:
            sys.modules.pop(path.stem, None)


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise Failure(f"{path.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _import_failure(path.name, error, str(path)) from error
    return module


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name + ".").startswith(error.name + "."):
            raise Failure(
                f"no module {error.name!r}; write model.py:step for a file"
            ) from error
        raise _import_failure(name, error) from error
    except (Exception, SystemExit) as error:
        raise _import_failure(name, error) from error


def _import_failure(name: str, error: BaseException, file: str = "") -> Failure:
    where = line_of(error, file) if file else ""
    return Failure(f"importing {name} raised {type(error).__name__}: {error}{where}")


def _find(module: ModuleType, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if isinstance(found, type):
            raise Failure(
                f"{name} is a method of a class; name a function, or an object's method"
            )
        if not hasattr(found, part):
            names = [n for n in dir(found) if not n.startswith("_")]
            known = [n for n in names if callable(getattr(found, n, None))]
            near = difflib.get_close_matches(part, known, n=3)
            advice = f"did you mean {' or '.join(near)}?" if near else _listed(known)
            owner = getattr(found, "__name__", type(found).__name__)
            raise Failure(f"{owner} has no {part!r}: {advice}")
        found = getattr(found, part)
    if not callable(found):
        raise Failure(f"{name} is no function but a {type(found).__name__}")
    return found


def _listed(names: Sequence[str], limit: int = 8) -> str:
    if not names:
        return "it has no functions"
    return "it has " + ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument as written: a tensor's type, an array from a file, or a Python value."""

    text: str
    tensor: bool = False
    type: TensorType | None = None
    value: Any = None
    spec: TensorSpec | None = None

    def make(self, random: np.random.Generator | None = None) -> Any:
        """The argument: random or, without a generator, all zero; a spec where extents are
        left open.
        """
        array = self.value
        if self.spec is not None:
            if random is not None or self.tensor:
                raise Failure(f"{self.text!r}: no extent can be left open here")
            return self.spec
        if self.type is not None:
            try:
                array = _random_array(self.type, random) if random else _zeros(self.type)
            except ValueError as error:
                raise Failure(f"{self.text!r}: {error}") from error
        return Tensor(array) if self.tensor and isinstance(array, np.ndarray) else array


_ARRAY = re.compile(r"(\w+)\s*\[([\w,\s]*)\]")


def parse_argument(text: str, tensor: bool = False) -> Argument:
    """The argument that a text means: `f32[3,4]`, `t:f32[3]`, `x.npy`, `0.5`."""
    marked = text.startswith("t:")
    body = text.removeprefix("t:").strip()
    if match := _ARRAY.fullmatch(body):
        try:
            extents = [n.strip() for n in match[2].split(",")] if match[2].strip() else []
            dtype, tensor = as_dtype(match[1]), tensor or marked
            if "None" in extents:
                shape = [None if n == "None" else int(n) for n in extents]
                return Argument(text, tensor, spec=TensorSpec(shape, dtype))
            return Argument(text, tensor, TensorType(tuple(map(int, extents)), dtype))
        except InvalidArgumentError:
            raise Failure(
                f"no dtype {match[1]!r} in {text!r}; write f32, float32, i64 ..."
            ) from None
        except ValueError:
            advice = "write f32[2,3], f32[None,3] or f32[]"
            raise Failure(f"{text!r} has no such shape; {advice}") from None
    if body.endswith(".npy"):
        return Argument(text, tensor or marked, value=_read(body))
    try:
        if marked:
            raise ValueError
        return Argument(text, value=ast.literal_eval(body))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise Failure(
            f"{text!r} is no argument: write a type (f32[2,3], i32[]; t:f32[3] is a gj.Tensor),"
            " a file (x.npy) or a Python literal (3, 0.5, True, 'text')"
        ) from None


def _read(path: str) -> Any:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise Failure(f"{path} can't be read as an array: {error}") from error
    return array


def _zeros(type: TensorType) -> Any:
    return np.zeros(type.shape, type.dtype.dtype)


def _random_array(type: TensorType, random: np.random.Generator) -> Any:
    """Normally distributed floats; integers from 0 to 9, fit for most uses as an index."""
    dtype = type.dtype
    if dtype.is_complex:
        real, imaginary = random.standard_normal((2, *type.shape))
        return np.asarray(real + 1j * imaginary).astype(dtype.dtype)
    if dtype.is_floating:
        return np.asarray(random.standard_normal(type.shape)).astype(dtype.dtype)
    return np.asarray(
        random.integers(0, 2 if dtype.is_bool else 10, type.shape, np.int8)
    ).astype(dtype.dtype)


def _verbose(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[TRACEBACK] = True


traceback_option = click.option(
    "-v", "--traceback", is_flag=True, expose_value=False, callback=_verbose, is_eager=True,
    help="With an error, show Python's traceback too.",
)  # fmt: skip


def function_options(command: _Decorated) -> _Decorated:
    """What every command takes that is about one function."""
    for option in (
        traceback_option,
        click.option("--tensor", is_flag=True, help="Pass gj.Tensor in place of ndarrays."),
        click.option(
            "--arg", "--input", "arguments", multiple=True, metavar="ARG",
            help="An argument, in order: a type (f32[64,8], float32[64,8], i32[]; f32[None,8] "
            "leaves an extent open), a type with t: before it for a gj.Tensor, a file (x.npy, "
            "t:x.npy) or a Python literal (3, 0.5, True).",
        ),
        click.argument("target", metavar="FILE_OR_MODULE:FUNCTION"),
    ):  # fmt: skip
        command = option(command)
    return command


arch_option = click.option(
    "--arch", default=DEFAULT_ARCH, show_default=True, type=click.Choice(ARCHITECTURES),
    help="The architecture to write PTX for.",
)  # fmt: skip


tensor_cores_option = click.option(
    "--tensor-cores", type=click.Choice(tuple(MMA_VARIANTS)),
    help="Let a GPU's tensor cores multiply matrices of float32, rounded to this type.",
)  # fmt: skip
