"""The compiler has nothing to say of the guest's programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.guest import programs

PACKAGES = Path(__file__).parents[3] / "pkg"


def compiled_programs() -> list[tuple[str, str, list[str]]]:
    """Recipe, output and sources of every program that a shipped recipe compiles, but svc: other tests run it."""
    found = []
    for path in sorted(PACKAGES.glob("*/build.yml")):
        recipe: Any = yaml.safe_load(path.read_text())
        found += [(path.parent.name, each["output"], each["sources"]) for each in recipe.get("compile", ())]
    return [each for each in found if each[1] != "usr/bin/svc"]


@pytest.mark.parametrize(("recipe", "output", "sources"), compiled_programs())
def test_compiles_without_a_warning(recipe: str, output: str, sources: list[str], tmp_path: Path) -> None:
    programs.compile_sources(tmp_path / Path(output).name, sources, PACKAGES / recipe)
