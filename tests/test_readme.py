"""The Python of README.md runs, and its commands name files that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_python_blocks_run(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(blocks) >= 2
    # from a file, so that errors can quote the line
    path = tmp_path / "readme.py"
    path.write_text("\n".join(blocks))
    exec(compile(path.read_text(), str(path), "exec"), {"__name__": "readme"})


def test_commands_name_files_that_exist():
    commands = re.findall(r"```console\n(.*?)```", README, re.S)
    assert commands
    for path in re.findall(r"\b(?:examples|benchmarks)/\w+\.py", README):
        assert (ROOT / path).exists(), path
