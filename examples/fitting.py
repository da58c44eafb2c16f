"""What the examples that train share: epochs with a progress bar, a state that is saved after
each and taken up again to the bit, and the curves as a picture.

A state is a dict of arrays, numbers, and dicts, lists and tuples of them; what it is saved as
can be read by `np.load` alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

Array = np.ndarray[Any, np.dtype[Any]]


def arguments(
    description: str, epochs: int | None = None, **choices: tuple[str, ...]
) -> argparse.Namespace:
    """The command line: where results go, how long to train where that is done in epochs, and
    one of each of the choices.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("build"), help="for results")
    if epochs is not None:
        parser.add_argument("--epochs", type=int, default=epochs)
        parser.add_argument("--resume", action="store_true", help="go on with what was saved")
    for name, values in choices.items():
        parser.add_argument(f"--{name}", choices=values, default=values[0])
    options = parser.parse_args()
    if epochs is not None and options.epochs < 1:
        parser.error(f"--epochs is at least 1, not {options.epochs}")
    return options


def batches(count: int, size: int, seed: int) -> Iterator[Array]:
    """The numbers 0 to count - 1 in random order, `size` at a time, without what is left."""
    order = np.random.default_rng(seed).permutation(count)
    yield from order[: count // size * size].reshape(-1, size)


def _named(state: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The arrays of a state with the paths to them."""
    if isinstance(state, dict):
        parts: Any = state.items()
    elif isinstance(state, (list, tuple)):
        parts = enumerate(state)
    else:
        yield name, state
        return
    for key, part in parts:
        yield from _named(part, f"{name}/{key}" if name else str(key))


def _filled(state: Any, arrays: dict[str, Array], name: str = "") -> Any:
    """A state with the same structure that has these arrays."""
    if isinstance(state, dict):
        return {
            k: _filled(v, arrays, f"{name}/{k}" if name else str(k)) for k, v in state.items()
        }
    if isinstance(state, (list, tuple)):
        parts = [_filled(v, arrays, f"{name}/{k}") for k, v in enumerate(state)]
        plain = type(state) in (list, tuple)
        return type(state)(parts) if plain else type(state)(*parts)
    return arrays[name][()]


def save(file: Path, state: Any) -> None:
    """Write a state, whole or not at all."""
    unfinished = file.with_suffix(".part")
    with unfinished.open("wb") as stream:
        np.savez(stream, **{name: np.asarray(x) for name, x in _named(state)})
    unfinished.replace(file)


def load(file: Path, state: Any) -> Any:
    """The state that was saved, in the structure of this one."""
    with np.load(file) as arrays:
        return _filled(state, dict(arrays))


def fit(
    name: str,
    options: argparse.Namespace,
    state: Any,
    epoch: Callable[[Any, int], tuple[Any, float]],
    score: Callable[[Any], float],
) -> Any:
    """Train for `options.epochs` epochs in all, and give the state that is reached.

    epoch: gives the state after the epoch of a number, and its mean loss. score: what the model
    is worth on data that were held back. After each epoch all is saved.
    """
    options.folder.mkdir(parents=True, exist_ok=True)
    file = options.folder / f"{name}.npz"
    losses, scores = np.zeros(0), np.zeros(0)
    if options.resume and file.exists():
        whole = load(file, {"state": state, "losses": losses, "scores": scores})
        state, losses, scores = whole["state"], whole["losses"], whole["scores"]
        print(f"{name}: going on after epoch {len(losses)}")
    for number in track(range(len(losses), options.epochs), name):
        state, loss = epoch(state, number)
        losses, scores = np.append(losses, loss), np.append(scores, score(state))
        save(file, {"state": state, "losses": losses, "scores": scores})
    print(f"{name}: loss {losses[-1]:.4f}, held back {scores[-1]:.4f}")
    draw(options.folder / f"{name}.png", {"loss": losses, "held back": scores})
    return state


def draw(file: Path, curves: dict[str, Array], across: str = "epoch") -> None:
    """Curves as a picture, where matplotlib is installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print(f"no {file.name}: matplotlib isn't installed")
        return
    figure = Figure(figsize=(4 * len(curves), 3), layout="constrained")
    for place, (title, curve) in zip(
        figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True
    ):
        place.plot(curve)
        place.set(title=title, xlabel=across)
    figure.savefig(file)
