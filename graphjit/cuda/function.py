"""A Python function that runs on a GPU: traced as others are, its kernels launched one after
another. Arguments on the host are copied there; results stay there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphjit.codegen.ptx.checks import INITIAL, STATUS_WORDS
from graphjit.codegen.ptx.target import Assembly, compile_ptx
from graphjit.codegen.runtime.compiled import sizes_of, where_symbols
from graphjit.core import float_errors
from graphjit.core.config import config
from graphjit.core.errors import InvalidArgumentError, UnsupportedError, at_user_line
from graphjit.core.extents import evaluate
from graphjit.core.tree import flatten, unflatten
from graphjit.core.types import Array, as_dtype, check_size
from graphjit.ir.program import Kernel
from graphjit.jit.function import Function
from graphjit.jit.plain_array_calls import as_input
from graphjit.jit.specialization import Specialization
from graphjit.passes import PTX, Pass, optimized, program_of
from graphjit.tensors.apply import TensorBase, current_trace
from graphjit.tensors.tensor import Tensor

from . import driver
from .array import DeviceArray
from .driver import Gpu
from .library_products import LibraryProduct, library_product, library_products


def array(x: Any) -> DeviceArray:
    """A copy of an array, a Tensor or a number in the memory of the GPU. Raises DeviceError."""
    gpu = driver.gpu()
    gpu.use()
    return _uploaded(gpu, as_input(x))


def _uploaded(gpu: Gpu, host: Array) -> DeviceArray:
    memory = gpu.upload(host)
    return DeviceArray(gpu, memory, gpu.address(memory), host.shape, as_dtype(host.dtype))


@dataclass(eq=False)
class CudaSpecialization(Specialization):
    """A specialization whose kernels are PTX. assembly: these. products: of the steps that
    cuBLAS can do. constants, copies: what calls don't bring: of each variable the host's array
    and its copy.
    """

    assembly: Assembly | None = None
    products: dict[int, LibraryProduct] = field(default_factory=dict)
    constants: dict[int, DeviceArray] = field(default_factory=dict)
    copies: dict[int, tuple[Array, DeviceArray]] = field(default_factory=dict)

    def compile(self, passes: Sequence[Pass], fast_math: bool = False) -> None:
        """Write the PTX for the GPU at hand. UnsupportedError for what no GPU runs."""
        assert self.graph is not None
        graph = optimized(self.graph, passes)
        gpu = driver.gpu()
        alone = frozenset[int]()
        if config.cublas and gpu.has_blas:
            alone = library_products(graph, self.tensor_cores)
        program = program_of(graph, PTX, library_products=alone)
        self.assembly = compile_ptx(program, gpu.arch, self.tensor_cores)
        for number, step in enumerate(self.assembly.program.steps):
            if isinstance(step, Kernel):
                product = library_product(step, self.tensor_cores)
                if product is not None:
                    self.products[number] = product

    def launch(self, gpu: Gpu, leaves: Sequence[Any]) -> Any:
        """The results for these leaves of the arguments; variables are written back."""
        with self.locked_variables():
            outputs, updates = self._on_gpu(gpu, leaves)
            hosts = [given.numpy() for given in updates]  # all of them, or none is assigned
            for variable, given, host in zip(self.updated, updates, hosts, strict=True):
                variable.cell.array = host
                self.copies[id(variable.cell)] = (host, given)
        arrays = iter(outputs)
        found = [
            value
            if kind == "static"
            else copy(value)
            if kind == "copy"
            else _result(next(arrays), kind)
            for kind, value in self.results
        ]
        items = iter(found)
        return unflatten(self.result_tree, lambda: next(items))

    def _inputs(self, gpu: Gpu, leaves: Sequence[Any]) -> list[DeviceArray]:
        """What the program reads, on the GPU: arguments, captured arrays, variables."""
        found = []
        captures = self.captures if self.sources else ()
        for role, number in self.parameter_order:
            if role == "variable":
                cell = self.variables[number].cell
                known = self.copies.get(id(cell))
                if known is None or known[0] is not cell.array:  # assignments replace it
                    known = cell.array, _uploaded(gpu, as_input(cell.array))
                    self.copies[id(cell)] = known
                found.append(known[1])
                continue
            x = leaves[number] if role == "leaf" else captures[number]
            found.append(x if isinstance(x, DeviceArray) else _uploaded(gpu, as_input(x)))
        return found

    def _on_gpu(
        self, gpu: Gpu, leaves: Sequence[Any]
    ) -> tuple[list[DeviceArray], list[DeviceArray]]:
        assert self.assembly is not None
        program = self.assembly.program
        inputs = self._inputs(gpu, leaves)
        places = where_symbols(program.buffers, program.inputs)
        sizes = sizes_of(places, [x.shape for x in inputs])
        held = dict(zip(program.inputs, inputs, strict=True))
        arena = gpu.allocate(evaluate(program.arena_bytes, sizes))
        addresses: dict[int, int] = {}
        for number, buffer in enumerate(program.buffers):
            if buffer.role == "temporary":
                addresses[number] = gpu.address(arena) + evaluate(buffer.offset_bytes, sizes)
                continue
            if buffer.role == "constant" and number not in self.constants:
                value: Any = np.ascontiguousarray(buffer.value)
                self.constants[number] = _uploaded(gpu, value)
            if number not in held:
                constant = self.constants.get(number)
                held[number] = constant or _empty(gpu, buffer.type, sizes)
            addresses[number] = held[number].address
        self._launch(gpu, addresses, sizes)
        if any(x.borrowed for x in inputs):  # whose owner may free or change it from here on
            gpu.wait()
        return [held[n] for n in program.outputs], [held[n] for n in program.updates]

    def _launch(self, gpu: Gpu, addresses: dict[int, int], sizes: dict[str, int]) -> None:
        """Launch all kernels; if a check fails, once more for its numbers, and raise it."""
        assert self.assembly is not None
        status: Any = None
        words = np.full(STATUS_WORDS, INITIAL, np.uint64)
        if any(call.status for call in self.assembly.calls):
            words[1:] = 0
            status = gpu.upload(words)
        by_blas = config.cublas and gpu.has_blas
        for _ in range(2):
            for call in self.assembly.calls:
                product = self.products.get(call.step) if by_blas else None
                asked = product and product.at(addresses, sizes)
                if asked:
                    gpu.multiply(asked)
                    continue
                arguments = [addresses[number] for number in call.buffers]
                if call.status:
                    arguments.append(gpu.address(status))
                arguments += [sizes[name] for name in self.assembly.program.symbols]
                blocks = call.launch.grid(sizes)
                gpu.launch(
                    self.assembly.text, call.entry, blocks, call.launch.threads, arguments
                )
            if status is None:
                return
            failed = int(words[0]) != INITIAL
            gpu.download(gpu.address(status), words)
            if int(words[0]) == INITIAL:
                return
            if failed:
                raise self.assembly.failure(words.tolist())


def _empty(gpu: Gpu, type: Any, sizes: dict[str, int]) -> DeviceArray:
    shape = tuple([evaluate(n, sizes) for n in type.shape])
    check_size(shape, type.dtype, "Identity")
    memory = gpu.allocate(int(np.prod(shape, dtype=np.int64)) * type.dtype.size)
    return DeviceArray(gpu, memory, gpu.address(memory), shape, type.dtype)


def _result(found: DeviceArray, kind: str) -> Any:
    return found.item() if kind == "python" else found


class CudaFunction(Function):
    """A function for a GPU. Its results are DeviceArrays; with outputs="numpy" ndarrays, with
    outputs="tensor" Tensors. Arguments may be DeviceArrays, arrays of other libraries on the
    same GPU (by DLPack or `__cuda_array_interface__`), and all that other functions take, which
    is copied there. What can't be traced or has no kernel is an error: nothing falls back.
    """

    specialization_class = CudaSpecialization

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the Python function gives for these arguments, computed on the GPU."""
        if current_trace.get() is not None:
            return self.python_function(*args, **kwargs)
        if config.functions_run_eagerly:
            args, kwargs = _each((args, kwargs), _on_host)
            return super().__call__(*args, **kwargs)
        if float_errors.are_reported():
            self._specializer.refuse_or_warn(float_errors.REASON)
        gpu = driver.gpu()
        gpu.use()
        given: dict[int, tuple[Any, DeviceArray]] = {}

        def standing_in(x: Any) -> Any:
            """An array without memory of its own, of the same shape and dtype."""
            found = _on_device(gpu, x)
            if found is None:
                return x
            element = np.zeros((), found.dtype.dtype)
            shape = np.broadcast_to(element, found.shape)
            given[id(shape)] = shape, found
            return shape

        args, kwargs = _each((args, kwargs), standing_in)
        if self._conform is not None:
            args, kwargs = self._conform(args, kwargs), {}
        call = self._reader.read(args, kwargs)
        specialization = self._specializer.find_or_make(call)
        assert isinstance(specialization, CudaSpecialization)
        leaves = [given[id(x)][1] if id(x) in given else x for x in call.leaves]
        results = specialization.launch(gpu, leaves)
        return results if self.outputs is None else _each(results, self._to_host)

    def _to_host(self, x: Any) -> Any:
        if not isinstance(x, DeviceArray):
            return x
        return x.numpy() if self.outputs == "numpy" else Tensor(x.numpy())

    def into(self, out: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Refused: results stay on the GPU."""
        raise UnsupportedError(at_user_line(f"{self.name} runs on a GPU, and takes no out="))


def _each(tree: Any, change: Callable[[Any], Any]) -> Any:
    """A structure with its leaves changed."""
    leaves: list[Any] = []
    shape = flatten(tree, leaves)
    changed = map(change, leaves)
    return unflatten(shape, lambda: next(changed))


def _on_host(x: Any) -> Any:
    return x.numpy() if isinstance(x, DeviceArray) else x


def _on_device(gpu: Gpu, x: Any) -> DeviceArray | None:
    """An argument that lies on the GPU, as a DeviceArray."""
    if isinstance(x, DeviceArray):
        if x.gpu is not gpu:
            raise InvalidArgumentError(at_user_line("an array of another GPU"))
        return x
    if isinstance(x, (np.ndarray, np.generic, TensorBase, int, float, complex, str)):
        return None
    lent = gpu.lent(x)
    if lent is None:
        return None
    owner, address, shape, dtype = lent
    return DeviceArray(gpu, owner, address, shape, as_dtype(dtype), borrowed=True)


__all__ = ["CudaFunction", "array"]
