"""The devices that functions are compiled for, by name; each registers itself once.

What a device brings is named as "module:attribute" and imported when it is first asked for.
"""

from __future__ import annotations

from typing import Any

from .errors import InvalidArgumentError, at_user_line
from .frozen import dataclass
from .lazy import load_attribute


@dataclass(frozen=True)
class Device:
    """What a device brings."""

    name: str
    # The subclass of `jit.function.Function` whose calls run there; None where none can.
    function: str | None = None
    # Writes a function's code without running it: (function, arguments, options) -> text.
    export: str | None = None
    # The options of `graphjit.function` that it doesn't have.
    refused: tuple[str, ...] = ()


_devices: dict[str, Device] = {}


def register_device(device: Device) -> None:
    """Make a device known by its name. InvalidArgumentError if another one has it."""
    if _devices.setdefault(device.name, device) != device:
        raise InvalidArgumentError(f"there is a device {device.name!r} already")


def runnable_device(name: Any) -> Device:
    """The device of that name, on which functions run. InvalidArgumentError if none does."""
    found = _devices.get(name) if isinstance(name, str) else None
    if found is None or found.function is None:
        names = " or ".join(f'"{d.name}"' for d in _devices.values() if d.function)
        raise InvalidArgumentError(at_user_line(f"device is {names}, not {name!r}"))
    return found


def exporter(name: str) -> Any:
    """The function that writes code for the device of that name."""
    home = _devices[name].export
    assert home is not None
    return load_attribute(home)


# In the order in which messages name them. Other packages call `register_device` likewise.
register_device(Device("cpu", function="graphjit.jit.function:Function"))
register_device(
    Device(
        "cuda", function="graphjit.cuda.function:CudaFunction", refused=("fast_math", "donate")
    )
)
register_device(Device("ptx", export="graphjit.export.ptx:export"))

__all__ = ["Device", "exporter", "register_device", "runnable_device"]
