"""The Python of the documentation runs, and what its pages show is what graphjit prints."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from graphjit.cli.main import main

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
sys.path.append(str(DOCS / "_ext"))

import page_code  # noqa: E402

PAGES = sorted(
    page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md") if page_code.blocks(page)
)


@pytest.mark.parametrize("page", PAGES)
def test_python_of_a_page_runs(page: str, tmp_path: Path) -> None:
    if page.startswith("gallery/"):
        pytest.importorskip("matplotlib")
    page_code.run(DOCS / page, tmp_path)


def test_every_page_is_looked_at() -> None:
    """Fences that are indented, or of another spelling, would not be run."""
    for page in DOCS.rglob("*.md"):
        text = page.read_text()
        assert text.count("```python") == len(page_code.blocks(page)), page
        assert "```py\n" not in text and "```{code" not in text, page


def test_code_on_a_page_is_not_cut() -> None:
    """The site shows 92 columns of a block; what is longer has to be scrolled to."""
    for page in DOCS.rglob("*.md"):
        for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.S | re.M):
            for line in block.splitlines():
                assert len(line) <= 92, f"{page.relative_to(DOCS)}: {line}"


def shown_dumps() -> list[tuple[str, str, str]]:
    """The dumps of how-it-works.md: argument, stage, and what the page shows."""
    command = r"\$ graphjit dump model.py:standardize --arg '([^']+)' --stage ([\w-]+)"
    page = (DOCS / "how-it-works.md").read_text()
    return re.findall(rf"```console\n{command}\n```\n\n```text\n(.*?)\n```", page, re.S)


# What depends on the processor; the page says so.
MACHINE_STAGES = {"loops", "llvm", "asm"}
DUMPS = [dump for dump in shown_dumps() if dump[1] not in MACHINE_STAGES]


@pytest.mark.parametrize(("argument", "stage", "shown"), DUMPS)
def test_dumps_are_what_graphjit_prints(
    argument: str, stage: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts that the page leaves out are lines with … alone."""
    (source,) = page_code.blocks(DOCS / "how-it-works.md")
    (tmp_path / "model.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    arguments = ["dump", "model.py:standardize", "--arg", argument, "--stage", stage]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    rest = result.output
    for part in shown.split("…\n"):
        assert part in rest, f"{part}\nis not in\n{rest}"
        rest = rest[rest.index(part) + len(part) :]


def test_all_dumps_are_found() -> None:
    page = (DOCS / "how-it-works.md").read_text()
    assert page.count("$ graphjit dump") == len(shown_dumps()) == len(DUMPS) + 3
    assert {stage for _, stage, _ in DUMPS} >= {"trace", "cse", "fuse", "plan-memory"}


def test_files_that_pages_name_are_there() -> None:
    trial = {"codegen/trial", "graphjit/export/trial.py", "passes/drop_identity.py"}
    trial |= {"tests/golden/drop-identity"}  # what the pages on adding things made up
    for page in (*DOCS.rglob("*.md"), *ROOT.glob("*.md")):
        if page.name == "CHANGELOG.md":
            continue
        folders = "graphjit|passes|codegen|tests|benchmarks|examples|docs"
        for path in re.findall(rf"`((?:{folders})/[\w/.-]*)`", page.read_text()):
            if not any(path.startswith(made) for made in trial):
                assert (ROOT / path).exists(), f"{page.relative_to(ROOT)}: {path}"
