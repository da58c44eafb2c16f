"""The Python of the documentation runs, and what its pages show is what graphjit prints."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
sys.path.append(str(DOCS / "_ext"))

import snippets  # noqa: E402

PAGES = sorted(
    page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md") if snippets.blocks(page)
)


@pytest.mark.parametrize("page", PAGES)
def test_python_of_a_page_runs(page: str, tmp_path: Path) -> None:
    if page.startswith("gallery/"):
        pytest.importorskip("matplotlib")
    snippets.run(DOCS / page, tmp_path)


def test_every_page_is_looked_at() -> None:
    """Fences that are indented, or of another spelling, would not be run."""
    for page in DOCS.rglob("*.md"):
        text = page.read_text()
        assert text.count("```python") == len(snippets.blocks(page)), page
        assert "```py\n" not in text and "```{code" not in text, page
