"""Run the Python of a page: its fenced blocks in order, in one namespace, as a reader would."""

from __future__ import annotations

import os
import re
import warnings
from contextlib import chdir
from pathlib import Path
from typing import Any

import graphjit as gj

BLOCK = re.compile(r"^```python\n(.*?)^```", re.S | re.M)


def blocks(page: Path) -> list[str]:
    """The fenced Python blocks of a page, in order."""
    return BLOCK.findall(page.read_text())


def source_of(page: Path) -> str:
    """The page's Python at the lines where it stands in the page, all else left empty."""
    text = page.read_text()
    kept = [""] * (text.count("\n") + 1)
    for found in BLOCK.finditer(text):
        first = text.count("\n", 0, found.start(1))
        for number, line in enumerate(found[1].splitlines()):
            kept[first + number] = line
    return "\n".join(kept) + "\n"


def run(page: Path, folder: Path) -> dict[str, Any]:
    """Run a page's Python in a folder, where what it writes goes; gives its names."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    script = folder / f"{page.stem.replace('-', '_')}_page.py"
    # From a file, so that errors can quote the line; a page's line n is line n of it.
    script.write_text(source_of(page))
    names: dict[str, Any] = {"__name__": script.stem, "__file__": str(script)}
    threads = gj.config.threads
    try:
        with chdir(folder), warnings.catch_warnings():
            warnings.simplefilter("error")
            exec(compile(script.read_text(), str(script), "exec"), names)
    finally:
        gj.config.threads = threads
    return names
