"""NVIDIA's assembler: on PATH, else from the wheel that the extra `dev` brings."""

from __future__ import annotations

import re

import pytest

from graphjit.codegen.ptx.usage import assembled, find_ptxas
from graphjit.core.errors import UnsupportedError

_TOO_NEW = re.compile(r"is not defined for option|Unsupported \.version")


def assemble(text: str, cpu: str) -> str:
    """Assemble a text; what ptxas reports. Skips the test where there is no ptxas, and where
    it is too old for an architecture.
    """
    if find_ptxas() is None:
        pytest.skip("no ptxas: not on PATH, not installed, GRAPHJIT_PTXAS not set")
    try:
        return assembled(text, cpu)
    except UnsupportedError as error:
        if _TOO_NEW.search(str(error)):
            pytest.skip(f"ptxas is too old: {error}")
        raise AssertionError(str(error)) from None
