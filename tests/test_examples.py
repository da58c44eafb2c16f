"""The examples run, learn, and go on after a stop to the bit as if there had been none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

ROOT = Path(__file__).parents[1]
IN_LONG_RUNS = pytest.mark.skipif(
    not os.environ.get("GRAPHJIT_LONG_TESTS"), reason="a minute; GRAPHJIT_LONG_TESTS=1 runs it"
)


def run(folder: Path, name: str, *args: str) -> str:
    """What an example prints."""
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), "--folder", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, *args], env=environment, text=True, capture_output=True, check=False
    )
    assert not done.returncode, done.stderr
    return done.stdout


def score(printed: str) -> float:
    return float(re.findall(r"held back (-?[\d.]+)", printed)[-1])


def contents(file: Path) -> dict[str, tuple[bytes, str]]:
    with np.load(file) as arrays:
        return {name: (x.tobytes(), x.dtype.str) for name, x in arrays.items()}


# Of each: its arguments, what its file is called, epochs, what the score is to be between.
TRAINED = {
    "layers": (("train_digits", "--model", "mlp"), "digits_mlp", 6, (0.9, 1.0)),
    "convolutions": (("train_digits", "--model", "cnn"), "digits_cnn", 4, (0.9, 1.0)),
    "autoencoder": (("autoencoder",), "autoencoder", 4, (20.0, 32.0)),
    "gru": (("characters", "--model", "gru"), "characters_gru", 2, (1.0, 4.5)),
}
LONG = {
    "lstm": (("characters", "--model", "lstm"), "characters_lstm", 2, (1.0, 4.5)),
    "transformer": (("characters", "--model", "transformer"), "characters_transformer", 2,
                    (1.0, 4.0)),
}  # fmt: skip
CASES = [
    *(pytest.param(*case, id=name) for name, case in TRAINED.items()),
    *(pytest.param(*case, id=name, marks=IN_LONG_RUNS) for name, case in LONG.items()),
]


@pytest.mark.parametrize(("command", "file", "epochs", "within"), CASES)
def test_training_goes_on_after_a_stop(
    command: tuple[str, ...],
    file: str,
    epochs: int,
    within: tuple[float, float],
    tmp_path: Path,
) -> None:
    whole = run(tmp_path / "whole", *command, "--epochs", str(epochs))
    assert within[0] <= score(whole) <= within[1]
    run(tmp_path / "parts", *command, "--epochs", str(epochs // 2))
    resumed = run(tmp_path / "parts", *command, "--epochs", str(epochs), "--resume")
    assert f"going on after epoch {epochs // 2}" in resumed
    name = f"{file}.npz"
    assert contents(tmp_path / "whole" / name) == contents(tmp_path / "parts" / name)
    assert whole.splitlines()[-1] == resumed.splitlines()[-1]


@pytest.mark.parametrize("name", ["trajectory"])
def test_the_others_check_themselves(name: str, tmp_path: Path) -> None:
    assert "drag" in run(tmp_path, name)
