"""Make the gallery's pictures: run each page's Python, which saves them. A page that hasn't
changed since its picture was made isn't run again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import page_code
from sphinx.application import Sphinx
from sphinx.util import logging

import graphjit

logger = logging.getLogger(__name__)


def make_pictures(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "_static" / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    for page in sorted((Path(app.srcdir) / "gallery").glob("*.md")):
        source = page_code.source_of(page)
        if not source.strip():
            continue
        digest = hashlib.sha256(f"{graphjit.__version__}\n{source}".encode()).hexdigest()
        stamp = folder / f"{page.stem}.sha256"
        if stamp.exists() and stamp.read_text() == digest:
            continue
        logger.info("running %s", page.name)
        page_code.run(page, folder)
        stamp.write_text(digest)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", make_pictures)
    return {"parallel_read_safe": True}
