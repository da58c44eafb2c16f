"""Functions that run on an NVIDIA GPU: `graphjit.function(device="cuda")`, and their arrays.

NOT YET RUN ON A GPU. What a kernel computes was executed in an emulator, and so were the
launches that this package makes; the calls of the driver, by NVIDIA's cuda-core, never were.

Needs the extra `graphjit[cuda]`. Importing this package needs neither that nor a driver.
"""

from __future__ import annotations

from .array import DeviceArray
from .driver import available, gpu
from .function import CudaFunction, array

__all__ = ["CudaFunction", "DeviceArray", "array", "available", "gpu"]
