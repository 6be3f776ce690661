"""The documents say what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import tested

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for folder in (".", "docs", "docs/adr", "pkg", "kernel")
    for path in (ROOT / folder).glob("**/*.md" if folder in ("pkg", "kernel") else "*.md")
)
_LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#]+)")


def test_the_list_of_tested_features_is_current() -> None:
    assert (ROOT / "docs/tested.md").read_text() == tested.page(), "run python -m tests.support.tested > docs/tested.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in _LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not missing


def test_readme_shows_what_the_demo_builds() -> None:
    readme = (ROOT / "README.md").read_text()
    block = re.search(r"```yaml\n(.*?)```", readme, re.DOTALL)
    assert block is not None
    import yaml

    shown, shipped = yaml.safe_load(block[1]), yaml.safe_load((ROOT / "examples/web.yml").read_text())
    assert shown["files"] == shipped["files"]
    assert shown["services"] == shipped["services"]
    assert shown["init"] == shipped["init"]
