"""The emulator where `graphjit.cuda` expects a GPU: what it launches is executed."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from ptx.launch import Memory, launch, parse
from ptx.memory import FIRST_GLOBAL, REGION_BITS, WRITTEN, Buffer

from graphjit.codegen.ptx.emit import ALIGNMENT
from graphjit.cuda.library_products import Matrix, Multiplication

Array = np.ndarray[Any, Any]


class Emulated:
    """Copies and launches in the emulator; counts them."""

    arch = "sm_90"
    stream_number = 7
    dlpack_device = (2, 0)

    def __init__(self) -> None:
        self.memory = Memory()
        self.at: weakref.WeakValueDictionary[int, Buffer] = weakref.WeakValueDictionary()
        self.modules: dict[str, Any] = {}
        self.uploads = self.downloads = self.launches = 0
        self.waits = 0
        self.blas = False
        self.multiplied: list[Multiplication] = []

    def use(self) -> None:
        pass

    def allocate(self, size: int) -> Buffer:
        return self._known(self.memory.empty((size,), np.uint8))

    def _known(self, buffer: Buffer) -> Buffer:
        assert buffer.address % ALIGNMENT == 0
        self.at[buffer.address] = buffer
        return buffer

    def address(self, memory: Buffer) -> int:
        return memory.address

    def upload(self, array: Array) -> Buffer:
        assert array.flags.c_contiguous
        self.uploads += 1
        octets = np.frombuffer(array.tobytes(), np.uint8)
        return self._known(self.memory.array(octets))

    def download(self, address: int, array: Array) -> None:
        self.downloads += 1
        octets = self.at[address].numpy()[: array.nbytes]
        array[...] = octets.view(array.dtype).reshape(array.shape)

    def launch(
        self, text: str, entry: str, blocks: int, threads: int, arguments: list[int]
    ) -> None:
        self.launches += 1
        if text not in self.modules:
            self.modules[text] = parse(text)
        launch(self.modules[text], entry, blocks, threads, arguments, memory=self.memory)

    @property
    def has_blas(self) -> bool:
        return self.blas

    def multiply(self, asked: Multiplication) -> None:
        """What BLAS says it does, element by element."""
        assert self.blas
        self.multiplied.append(asked)
        dtype = asked.dtype.dtype
        shapes = (asked.m, asked.k), (asked.k, asked.n)
        a, b = (
            self._read(matrix, shape[:: -1 if turned else 1], asked.batch, dtype)
            for matrix, shape, turned in zip(
                (asked.a, asked.b), shapes, (asked.a_turned, asked.b_turned), strict=True
            )
        )
        a = a.transpose(0, 2, 1) if asked.a_turned else a
        b = b.transpose(0, 2, 1) if asked.b_turned else b
        self._write(asked.c, np.matmul(a, b), dtype)

    def _places(self, matrix: Matrix, shape: Any, batch: int) -> tuple[Buffer, Array, int]:
        """The buffer of a matrix, and which of its bytes its elements start at, by columns."""
        assert matrix.columns_apart >= max(1, shape[0])
        buffer = self.memory.buffers[(matrix.address >> REGION_BITS) - FIRST_GLOBAL]
        start = matrix.address & ((1 << REGION_BITS) - 1)
        which, row, column = np.indices((batch, *shape))
        elements = row + column * matrix.columns_apart + which * matrix.batch_apart
        return buffer, elements, start

    def _read(self, matrix: Matrix, shape: Any, batch: int, dtype: Any) -> Array:
        buffer, elements, start = self._places(matrix, shape, batch)
        octets = buffer.numpy().reshape(-1).view(np.uint8)[start:]
        return octets[: len(octets) // dtype.itemsize * dtype.itemsize].view(dtype)[elements]

    def _write(self, matrix: Matrix, result: Array, dtype: Any) -> None:
        buffer, elements, start = self._places(matrix, result.shape[1:], len(result))
        octets = elements[..., None] * dtype.itemsize + np.arange(dtype.itemsize) + start
        assert octets.max() < buffer.size and len(np.unique(octets)) == octets.size
        store, place = self.memory.store, buffer.place + buffer.shift
        store.octets[place + octets] = result[..., None].view(np.uint8)
        store.state[place + octets] = WRITTEN

    def wait(self) -> None:
        self.waits += 1

    def lent(self, x: Any) -> Any:
        """What a `Lender` has."""
        if not isinstance(x, Lender):
            return None
        return x, x.buffer.address, x.array.shape, x.array.dtype


class Lender:
    """Another library's array on the GPU."""

    def __init__(self, gpu: Emulated, array: Array) -> None:
        self.array, self.buffer = array, gpu.upload(array)
