"""How a test enters specializations: by machine code from the first call on, or by Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from native_calls import NATIVE

import graphjit as gj


@pytest.fixture(params=["native", "python"])
def way(request: Any, monkeypatch: Any) -> Iterator[str]:
    """Both ways into a function."""
    if request.param == "native" and not NATIVE:
        pytest.skip("calls go through Python here")
    after = 0 if request.param == "native" else None
    monkeypatch.setattr(gj.config, "native_after", after)
    yield request.param


@pytest.fixture
def natively(monkeypatch: Any) -> None:
    """Machine code from the first call on."""
    monkeypatch.setattr(gj.config, "native_after", 0)
