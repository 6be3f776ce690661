from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from moby import http
from moby.oci.store import Store
from tests.support.pulling import Puller
from tests.support.registry import FakeRegistry


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture(scope="session")
def client() -> Iterator[httpx.Client]:
    with http.client() as made:
        yield made


@pytest.fixture
def puller(client: httpx.Client) -> Puller:
    return Puller(client)
