"""A throw with drag that has to hit a target: the gradient of a differential equation.

    python examples/trajectory.py [--folder build]

The flight is 400 steps of Runge and Kutta's method in `gj.scan`. First the velocity of the
throw is found that is at the target after two seconds, by `gj.optimizers.lbfgs`; then the drag
of a ball from its noisy track, and how sure that is, from the second derivative.
The checks: SciPy's solver lands where the found throw is to land, and the drag is the one that
the track was made with.
"""

from __future__ import annotations

from typing import Any

import fitting
import numpy as np
from scipy.integrate import solve_ivp

import graphjit as gj

GRAVITY, SECONDS, STEPS = 9.81, 2.0, 400
TARGET = np.array([20.0, 3.0])
DRAG = 0.02


def slope(state: Any, drag: Any) -> Any:
    """The derivative of place and velocity [4] by the time."""
    velocity = state[2:]
    speed = np.sqrt((velocity * velocity).sum() + 1e-12)
    force = -drag * speed * velocity - np.array([0.0, GRAVITY])
    return np.concatenate([velocity, force])


def flight(velocity: Any, drag: Any) -> Any:
    """Places and velocities after each step [STEPS, 4] of a throw from (0, 0)."""
    dt = SECONDS / STEPS

    def step(state: Any, _: Any) -> Any:
        a = slope(state, drag)
        b = slope(state + dt / 2 * a, drag)
        c = slope(state + dt / 2 * b, drag)
        d = slope(state + dt * c, drag)
        state = state + dt / 6 * (a + 2 * b + 2 * c + d)
        return state, state

    start = np.concatenate([np.zeros(2), velocity])
    _, states = gj.scan(step, start, length=STEPS)
    return states


def missed(velocity: Any) -> Any:
    """How far a throw is from the target, squared, and a little for its speed."""
    end = flight(velocity, DRAG)[-1]
    return ((end[:2] - TARGET) ** 2).sum() + 1e-6 * (velocity * velocity).sum()


def unlike(log_drag: Any, track: Any, velocity: Any) -> Any:
    """Half the squared differences to a track, in units of its noise."""
    states = flight(velocity, np.exp(log_drag))
    return 0.5 * (((states[::20, :2] - track) / 0.05) ** 2).sum()


def main() -> None:
    options = fitting.arguments(__doc__ or "")
    options.folder.mkdir(parents=True, exist_ok=True)
    found = gj.optimizers.lbfgs(missed, np.array([10.0, 10.0]))
    velocity = np.asarray(found.x)
    solved = solve_ivp(
        lambda t, state: slope(state, DRAG),
        (0, SECONDS),
        [0, 0, *velocity],
        rtol=1e-10,
        atol=1e-10,
    )
    end = solved.y[:2, -1]
    print(f"throw {velocity} after {found.steps} steps: SciPy's solver ends at {end}")
    assert np.abs(end - TARGET).max() < 1e-3

    rng = np.random.default_rng(0)
    states = gj.function(flight)(velocity, DRAG)
    track = states[::20, :2] + 0.05 * rng.normal(size=(STEPS // 20, 2))
    fitted = gj.optimizers.lbfgs(unlike, np.log(0.1), track, velocity)
    curvature = gj.function(gj.hessian(unlike))(fitted.x, track, velocity)
    drag, deviation = np.exp(fitted.x), curvature**-0.5
    print(f"drag {drag:.5f} within {100 * deviation:.1f} %; the track was made with {DRAG}")
    assert abs(np.log(drag / DRAG)) < 4 * deviation
    height = {"height": states[:, 1], "speed": np.hypot(states[:, 2], states[:, 3])}
    fitting.draw(options.folder / "trajectory.png", height, across="step")


if __name__ == "__main__":
    main()
