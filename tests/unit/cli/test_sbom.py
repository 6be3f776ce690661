"""Options of ``moby build`` about the SBOM in the image."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from moby.cli.main import main
from moby.formats.spdx import FIXED_CREATED
from moby.oci.store import Store
from tests.support.images import image


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MOBY_CACHE", str(tmp_path / "store"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    image([{"bin/a": "a"}]).save(Store(tmp_path / "store"), "docker.io/library/a")
    Path("a.yml").write_text("init: [a]\n")


def documents(*options: str) -> dict[str, Any]:
    """The SPDX documents in the root, by their paths."""
    assert main(["build", "-q", "-f", "tar", *options, "a.yml"]) == 0
    with tarfile.open("a.tar") as archive:
        names = [name for name in archive.getnames() if name.endswith(".json")]
        return {name: json.load(archive.extractfile(name) or pytest.fail(name)) for name in names}


def test_the_sbom_is_there_unless_it_is_not_wanted() -> None:
    assert list(documents()) == ["sbom.spdx.json"]
    assert documents("--no-sbom") == {}


def test_it_is_where_it_is_wanted_and_says_so() -> None:
    assert list(documents("--sbom-output", "usr/share/sbom.json")) == ["usr/share/sbom.json"]
    assert list(documents("-sbom-output", "/etc/other.json")) == ["etc/other.json"]


def test_its_time_is_fixed_or_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    (document,) = documents().values()
    assert document["creationInfo"]["created"] == FIXED_CREATED
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    (document,) = documents("--sbom-current-time").values()
    assert document["creationInfo"]["created"] == "2023-11-14T22:13:20Z"
