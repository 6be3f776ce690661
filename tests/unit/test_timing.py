"""``moby build --timings``: where the time of a build went, by part and stage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from moby import timing
from moby.oci.store import Store
from tests.support.images import image

YAML = "init: ['i:1']\nservices: [{name: web, image: 'c:1'}]\nfiles: [{path: a, contents: 'x'}]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = Store(tmp_path / "store")
    for name in ("i", "c"):
        image([{"etc/x": "1" * 5000}]).save(store, f"docker.io/library/{name}:1")
    (tmp_path / "a.yml").write_text(YAML)
    return tmp_path


def build(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(folder), "PATH": os.environ["PATH"], "MOBY_CACHE": str(folder / "store")}
    words = [sys.executable, "-m", "moby", "-q", "build", "--arch", "amd64", *more, "a.yml"]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=True)


def rows(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    told = json.loads(build(folder, "--timings", "--json").stdout)
    return {(row["part"], row["stage"]): row for row in told["timings"]}


def test_each_part_and_stage_is_timed(folder: Path) -> None:
    found = rows(folder)
    assert {("", "read YAML"), ("", "plan"), ("", "look"), ("", "sbom"), ("", "join")} <= found.keys()
    for part in ("init[0]", "services[0]", "bundles", "files"):
        assert {(part, "read"), (part, "pack")} <= found.keys()
    assert all(row["seconds"] >= 0 and row["cpu_seconds"] >= 0 for row in found.values())
    assert found["", "join"]["size_bytes"] == (folder / "a-initrd.img").stat().st_size


def test_what_is_kept_is_only_checked(folder: Path) -> None:
    rows(folder)
    (folder / "a.yml").write_text(YAML.replace("'x'", "'y'"))
    found = rows(folder)
    assert {("init[0]", "check"), ("services[0]", "check")} <= found.keys()
    assert not {("init[0]", "read"), ("services[0]", "pack")} & found.keys()


def test_the_table_is_for_people_and_beside_the_result(folder: Path) -> None:
    done = build(folder, "--timings")
    assert done.stdout == "a-initrd.img\n"
    assert done.stderr.splitlines()[0].split() == ["part", "stage", "wall", "s", "CPU", "s", "MB"]
    assert any(line.split()[:2] == ["services[0]", "read"] for line in done.stderr.splitlines())


def test_without_being_asked_nothing_is_kept() -> None:
    with timing.stage("plan"):
        pass
    with timing.collecting() as kept:
        pass
    assert kept == []
