"""The emulator where `graphjit.cuda` expects a GPU: what it launches is executed."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from ptx.launch import Memory, launch, parse
from ptx.memory import Buffer

from graphjit.codegen.ptx.emit import ALIGNMENT

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
