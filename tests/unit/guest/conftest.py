"""The compiled programs, once for each test process, and machines that run svc."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.guest import programs
from tests.unit.guest.machine import Machine


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("guest")
    programs.build(directory)
    return directory


@pytest.fixture
def machine(compiled: Path, tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path, compiled / "svc") as made:
        yield made
