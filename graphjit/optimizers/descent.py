"""Gradient descent."""

from __future__ import annotations

from typing import Any

from graphjit.core.errors import InvalidArgumentError, at_user_line

from .optimizer import Optimizer


class SGD(Optimizer):
    """Gradient descent, with momentum where it isn't 0; nesterov: with Nesterov's.

    Y. Nesterov, "A method for solving the convex programming problem with convergence rate
    O(1/k^2)", 1983. Raises InvalidArgumentError for a momentum outside of 0 to 1.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Any,
    ) -> None:
        if not 0 <= momentum <= 1:
            raise InvalidArgumentError(
                at_user_line(f"momentum is between 0 and 1, not {momentum!r}")
            )
        settings = {"momentum": momentum, "nesterov": nesterov}
        super().__init__(learning_rate, settings, **options)

    def slots(self) -> dict[str, float]:
        """The velocity."""
        return {"momentum": 0.0} if self.momentum else {}

    def update_step(
        self, gradient: Any, value: Any, state: dict[str, Any], rate: Any, step: Any
    ) -> tuple[Any, dict[str, Any]]:
        """A step against the gradient."""
        if not self.momentum:
            return value - gradient * rate, {}
        velocity = state["momentum"] * self.momentum - gradient * rate
        if self.nesterov:
            return value + (velocity * self.momentum - gradient * rate), {"momentum": velocity}
        return value + velocity, {"momentum": velocity}


__all__ = ["SGD"]
