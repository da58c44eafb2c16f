"""What the commands print: in colour on a terminal, plain text elsewhere."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

import click


def on_terminal() -> bool:
    """Whether colours are shown and long constants abbreviated."""
    return (
        sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


_GRAPH_STYLES = (
    (r"#.*$|^---.*$", "dim"),
    (r"\b(?:bool|b?[fciu]\d+)(?:\[[\d, ]*\])?", "green"),
    (r"%\d+|\bb\d+\b", "cyan"),
    (
        r"\b(?:graph|return|update|kernel|loops|for|in|step|store|param|const|arena)\b",
        "magenta",
    ),
    (r'"[^"]*"', "yellow"),
)


def show(text: str, language: str = "graph") -> None:
    """Text on stdout, coloured on a terminal."""
    if not on_terminal():
        click.echo(text)
        return
    from rich.console import Console
    from rich.syntax import Syntax
    from rich.text import Text

    console = Console(soft_wrap=True)
    if language != "graph":
        plain = Syntax(text, language, theme="ansi_dark", background_color="default")
        console.print(plain.highlight(text), end="")
        return
    shown = Text(text)
    for pattern, style in reversed(_GRAPH_STYLES):
        shown.highlight_regex(re.compile(pattern, re.MULTILINE), style)
    console.print(shown)


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> None:
    """Columns; those named in `right` are numbers and end at one edge."""
    numbers = [name in right.split() for name in head]
    if on_terminal():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False)
        for name, number in zip(head, numbers, strict=True):
            table.add_column(name, justify="right" if number else "left", overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        Console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, numbers, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def counted(number: float, unit: str) -> str:
    """A number of units: 12.3 kB."""
    for prefix in ("", "k", "M", "G", "T"):
        if number < 1000 or prefix == "T":
            break
        number /= 1000
    return f"{number:.3g} {prefix}{unit}".rstrip()


def duration(ns: float) -> str:
    """A time in µs or ms."""
    return f"{ns / 1e3:.3g} µs" if ns < 1e6 else f"{ns / 1e6:.4g} ms"


def plural(count: int, noun: str) -> str:
    """How many there are: 1 step, 2 steps."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
