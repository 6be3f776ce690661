"""The C unit tests and the fuzzer, run as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from moby import proc
from tests.unit.guest import programs

_TEXT = (programs.RECIPE / "test/unit.c").read_text()
_CASES = re.findall(r"^CASE\((\w+)\)$", _TEXT, re.MULTILINE)


@pytest.mark.parametrize("case", _CASES)
def test_unit(compiled: Path, tmp_path: Path, case: str) -> None:
    proc.run([compiled / "unit", case], cwd=tmp_path, timeout_s=30)


@pytest.mark.parametrize("seed", range(4))
def test_parsers_survive_mutated_texts(compiled: Path, seed: int) -> None:
    assert proc.run([compiled / "fuzz", str(seed), "50000"], timeout_s=60) == b"50000 texts\n"


def test_every_source_belongs_to_a_program() -> None:
    used = {source for sources in programs.recipe_programs().values() for source in sources}
    assert used == {f"src/{path.name}" for path in (programs.RECIPE / "src").glob("*.c")}


def test_sources_stay_short() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in (programs.RECIPE / "src").iterdir()}
    assert max(lengths.values()) <= 400
