"""GPU architectures by name, each with the first version of PTX that has it.

For an unknown name LLVM only warns and then writes PTX 3.2, so names are checked here. LLVM 22
accepts all of these, and ptxas 13.0 assembles them.
"""

from __future__ import annotations

from difflib import get_close_matches

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.frozen import dataclass

DEFAULT = "sm_90"
# Source: PTX ISA 9.0, "Release notes": the version in which each target came.
_VERSIONS = {
    "sm_75": "6.3", "sm_80": "7.0", "sm_86": "7.1", "sm_87": "7.4", "sm_88": "9.0",
    "sm_89": "7.8", "sm_90": "7.8", "sm_90a": "8.0", "sm_100": "8.6", "sm_100a": "8.6",
    "sm_100f": "8.8", "sm_103": "8.8", "sm_103a": "8.8", "sm_103f": "8.8", "sm_110": "9.0",
    "sm_110a": "9.0", "sm_110f": "9.0", "sm_120": "8.7", "sm_120a": "8.7", "sm_120f": "8.8",
    "sm_121": "8.8", "sm_121a": "8.8", "sm_121f": "8.8",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arch:
    """An architecture and its version of PTX."""

    name: str
    version: str

    @property
    def feature(self) -> str:
        """LLVM's name of the version: `+ptx78`."""
        return "+ptx" + self.version.replace(".", "")


ARCHITECTURES = tuple(_VERSIONS)


def arch_named(name: str) -> Arch:
    """The architecture of this name. Raises InvalidArgumentError if it is unknown."""
    version = _VERSIONS.get(name) if isinstance(name, str) else None
    if version is None:
        near = get_close_matches(str(name), ARCHITECTURES, n=1)
        known = f"did you mean {near[0]}? " if near else ""
        raise InvalidArgumentError(
            at_user_line(
                f"no architecture {name!r} to write PTX for",
                f"{known}known are {', '.join(ARCHITECTURES)}",
            )
        )
    return Arch(name, version)


def arch_of_capability(major: int, minor: int) -> str:
    """The architecture to compile for, for a GPU of this compute capability.

    It is the latest that is no later: PTX for a plain name runs on all later GPUs (CUDA C++
    Programming Guide, "PTX compatibility"). Raises InvalidArgumentError if the GPU is older
    than all.
    """
    plain = [name for name in ARCHITECTURES if name[-1].isdigit()]
    fit = [name for name in plain if int(name[3:]) <= 10 * major + minor]
    if not fit:
        raise InvalidArgumentError(
            at_user_line(
                f"a GPU of compute capability {major}.{minor} is older than {plain[0]}"
            )
        )
    return max(fit, key=lambda name: int(name[3:]))


__all__ = ["ARCHITECTURES", "Arch", "arch_named", "arch_of_capability"]
