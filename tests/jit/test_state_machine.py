"""Calls in an order that hypothesis chooses; for minutes, with GRAPHJIT_LONG_TESTS=1."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from long_run import DTYPES, LAYOUTS, SHAPES, Calls, array

import graphjit as gj

LONG = bool(os.environ.get("GRAPHJIT_LONG_TESTS"))
arrays = st.builds(
    array,
    st.sampled_from(SHAPES),
    st.sampled_from(DTYPES),
    st.sampled_from(LAYOUTS),
    st.integers(0, 3),
)
names = st.sampled_from(sorted(Calls.bodies))
numbers = st.sampled_from([0.0, 1.5, -2.0, 1e3])


class Machine(RuleBasedStateMachine):
    """One of each rule at a time, in any order."""

    @initialize(after=st.sampled_from([0, 32, None]))
    def start(self, after: int | None) -> None:
        self.before = gj.config.native_after
        gj.config.native_after = after
        self.calls = Calls()

    def teardown(self) -> None:
        if hasattr(self, "before"):
            gj.config.native_after = self.before

    @rule(x=arrays, a=numbers, tensor=st.booleans())
    def chain(self, x: Any, a: float, tensor: bool) -> None:
        self.calls.call("chain", x, a, tensor=tensor)

    @rule(x=arrays, name=st.sampled_from(["parts", "softmax", "sorted"]))
    def alone(self, x: Any, name: str) -> None:
        self.calls.call(name, x)

    @rule(x=arrays, n=st.integers(-3, 3))
    def shifted(self, x: Any, n: int) -> None:
        self.calls.call("shifted", x, n)

    @rule(x=arrays, i=st.lists(st.integers(-6, 6), min_size=1, max_size=3))
    def picked(self, x: Any, i: list[int]) -> None:
        self.calls.call("picked", x, np.array(i))

    @rule(x=arrays, a=numbers, overlap=st.booleans())
    def into(self, x: Any, a: float, overlap: bool) -> None:
        self.calls.call_into(x, a, overlap)

    @rule(x=st.sampled_from([(), (4,), (3, 4), (3, 1)]), new=st.booleans())
    def captured(self, x: Any, new: bool) -> None:
        self.calls.call_captured(array(x, "float64", "plain", 1), new)

    @rule(number=st.integers(-5, 5), index=st.integers(-9, 9))
    def step(self, number: int, index: int) -> None:
        self.calls.step_variable(float(number), index)

    @rule(x=arrays, a=numbers)
    def threads(self, x: Any, a: float) -> None:
        self.calls.call_in_threads("chain", x, a)

    @rule(name=names)
    def send(self, name: str) -> None:
        self.calls.send(name)

    @rule()
    def send_variable(self) -> None:
        self.calls.send_variable()

    @rule(name=names)
    def forget(self, name: str) -> None:
        self.calls.forget(name)

    @rule()
    def collect(self) -> None:
        self.calls.collect()


TestCalls = pytest.mark.filterwarnings(
    "ignore::graphjit.FallbackWarning", "ignore::graphjit.RecompileWarning"
)(Machine.TestCase)
TestCalls.settings = settings(
    max_examples=300 if LONG else 8, stateful_step_count=100 if LONG else 20, deadline=None
)
