"""What Keras sets for the whole process: dtype, fuzz factor, place of channels."""

from __future__ import annotations

from typing import Any

from graphjit.core.errors import InvalidArgumentError, at_user_line

__all__ = [
    "backend", "epsilon", "floatx", "image_data_format", "set_epsilon", "set_floatx",
    "set_image_data_format",
]  # fmt: skip


CHANNELS = ("channels_first", "channels_last")
# Keras keeps these three for the whole process, and so does this module.
_settings: dict[str, Any] = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
}


def floatx() -> str:
    """The name of the default float dtype."""
    name: str = _settings["floatx"]
    return name


def set_floatx(value: str) -> None:
    """Make a float dtype the default of this module's functions."""
    if value not in ("float16", "bfloat16", "float32", "float64"):
        raise InvalidArgumentError(
            at_user_line(
                f"Unknown `floatx` value: {value}. Expected one of float16, bfloat16, float32, "
                "float64"
            )
        )
    _settings["floatx"] = value


def epsilon() -> float:
    """The fuzz factor of losses."""
    value: float = _settings["epsilon"]
    return value


def set_epsilon(value: float) -> None:
    """Set the fuzz factor of losses."""
    _settings["epsilon"] = float(value)


def image_data_format() -> str:
    """The default place of channels: "channels_last" or "channels_first"."""
    name: str = _settings["image_data_format"]
    return name


def set_image_data_format(data_format: str) -> None:
    """Set the default place of channels."""
    _settings["image_data_format"] = channels(data_format)


def channels(data_format: str | None) -> str:
    """The data format that was given, else the default one. InvalidArgumentError of others."""
    chosen = image_data_format() if data_format is None else data_format
    if chosen not in CHANNELS:
        raise InvalidArgumentError(
            at_user_line(f"Unknown data_format: {chosen!r}. Expected one of {CHANNELS}")
        )
    return chosen


def backend() -> str:
    """The name of this backend."""
    return "graphjit"


def invalid(message: str) -> InvalidArgumentError:
    """The error of an argument, at the user's line."""
    return InvalidArgumentError(at_user_line(message))
