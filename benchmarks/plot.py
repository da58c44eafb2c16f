"""Draws what a run of compare.py found: each call's time over the least the machine needs.

    python benchmarks/plot.py FILE.json PICTURE.svg

One panel a size, one line a workload, one mark a library; the roofline is the line at 1. The
ending of the picture's name chooses SVG, PNG or PDF. Needs matplotlib.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from report import SUBJECT, Run
from workloads import SIZES

MARKS = {
    SUBJECT: ("o", "#c1121f"),
    "numpy": ("s", "#4d77cf"),
    "numexpr": ("P", "#8d99ae"),
    "numba": ("^", "#2a9d8f"),
    "numba-1": ("v", "#80c9bf"),
    "jax": ("D", "#7b2cbf"),
    "torch": ("<", "#f4a261"),
    "torch.compile": (">", "#e76f00"),
    "tensorflow": ("X", "#b08900"),
}


def draw(run: Run, path: Path) -> None:
    """Write the picture."""
    import matplotlib

    matplotlib.use("Agg")
    # text stays text in an SVG, and two drawings of one run are the same file
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "graphjit"})
    import matplotlib.pyplot as plt

    sizes = [s for s in SIZES if any(r.size == s for r in run.results)]
    names = [r.workload for r in run.results]
    names = sorted(set(names), key=names.index)
    figure, panels = plt.subplots(
        1,
        len(sizes),
        figsize=(2 + 4 * len(sizes), 1.6 + 0.36 * len(names)),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    shown: dict[str, Any] = {}
    for panel, size in zip(panels[0], sizes, strict=True):
        for r in run.results:
            if r.size != size:
                continue
            row = names.index(r.workload)
            over = {n: r.median_ns(n) / r.floor_ns(run.roofline) for n in r.times_ns}
            if over:
                panel.plot([1, max(over.values())], [row, row], color="0.9", zorder=0)
            for name, value in over.items():
                mark, colour = MARKS[name]
                big = name == SUBJECT
                shown[name] = panel.scatter(
                    value,
                    row,
                    s=70 if big else 32,
                    marker=mark,
                    color=colour,
                    alpha=1 if big else 0.8,
                    zorder=3 if big else 2,
                    linewidths=0,
                )
        panel.axvline(1, color="black", linewidth=1.5)
        panel.set_xscale("log")
        panel.set_title(size)
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.tick_params(axis="y", length=0)
        panel.grid(axis="x", color="0.92")
        panel.set_axisbelow(True)
    panels[0][0].set_yticks(range(len(names)), names)
    panels[0][0].invert_yaxis()
    figure.supxlabel(
        "time of a call over the least the machine needs (black line: the roofline)"
    )
    order = [n for n in MARKS if n in shown]
    figure.legend(
        [shown[n] for n in order],
        order,
        loc="outside upper center",
        ncols=3 * len(sizes),
        frameon=False,
        columnspacing=1,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"Date": None} if path.suffix == ".svg" else None
    figure.savefig(path, metadata=metadata, dpi=150)
    plt.close(figure)


def main() -> None:
    draw(Run.read(Path(sys.argv[1])), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
