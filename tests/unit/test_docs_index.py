"""The index of the documentation has every page, and the README leads to it."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_every_page_is_listed_once() -> None:
    pages = [str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md") if path.name != "README.md"]
    listed = re.findall(r"^- \[[^]]+\]\(([^)]+)\): \S", (DOCS / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted([*pages, "../CONTRIBUTING.md"])
    assert "(docs/README.md)" in (DOCS.parent / "README.md").read_text()
