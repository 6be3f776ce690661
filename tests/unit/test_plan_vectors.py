"""config.json, runtime.json and metadata are byte for byte those of the original tool."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from moby.config.load import parse
from moby.plan import Plan, plan
from tests.support.images import VECTORS
from tests.support.plans import planned, vector_shelf

NAMES = sorted(path.name for path in VECTORS.iterdir() if path.is_dir())


def vector_plan(name: str, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.chdir(VECTORS / name)  # its sources are relative
    return plan(parse(Path(f"{name}.yml").read_bytes()), vector_shelf(), architecture="amd64")


@pytest.mark.parametrize("name", NAMES)
def test_specs_equal_the_originals(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {}
    for container in vector_plan(name, monkeypatch).containers:
        base = container.directory.replace("/", "__")
        made[f"{base}__config.json"] = container.config_json
        made[f"{base}__runtime.json"] = container.runtime_json
    assert made == {path.name: path.read_bytes() for path in (VECTORS / name).glob("containers__*.json")}


@pytest.mark.parametrize("name", NAMES)
def test_files_equal_the_originals(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = {}
    for line in (VECTORS / name / "listing.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["pax"]["LINUXKIT.source"] == "linuxkit.files":
            listing[entry["pax"]["LINUXKIT.location"]] = entry  # the entry itself follows its parents
    files = vector_plan(name, monkeypatch).files
    assert [f"files[{file.index}]" for file in files] == list(listing)
    for file in files:
        entry = listing[f"files[{file.index}]"]
        data = file.data if isinstance(file.data, bytes) else file.data.read_bytes()
        assert (f"{file.mode:04o}", file.uid, file.gid) == (entry["mode"], entry["uid"], entry["gid"])
        assert file.target == entry.get("link", "")
        assert "sha256" not in entry or hashlib.sha256(data).hexdigest() == entry["sha256"]


@pytest.mark.parametrize(
    ("entry", "file", "size", "digest"),
    [
        ("", "config_json", 1797, "05ce706e70fd7d58f6b7a0ffb2a99a240071c700c9e1188c9f2363b6a9a0f23b"),
        ("", "runtime_json", 929, "aa2fb02d4b18a1fd8bb9bd924214a11e0f7f6172133ef3ba4e407bda2c7f6677"),
        (", readonly: true", "config_json", 1867, "f8eaed48416f0e2cefc7691b565952261d1b221f566e74edbab7867c4f2341be"),
        (", readonly: true", "runtime_json", 460, "514fcbdf03c75f1d2256961c2a688ad8a1f793f7a5d7308d2e5b50c5fd61f16a"),
        (
            ', capabilities: [all], net: new, binds: ["/a:/b"]',
            "config_json",
            7711,
            "2ec4714ce02aaeedaec1a1c4572f99576f90fda31f58ff6005247a8e42aa29a1",
        ),
    ],
)
def test_golden_specs(entry: str, file: str, size: int, digest: str) -> None:
    (container,) = planned(f"services: [{{name: s, image: X{entry}}}]".replace("X", "x")).containers
    data = getattr(container, file)
    assert (len(data), hashlib.sha256(data).hexdigest()) == (size, digest)


@pytest.mark.parametrize(
    ("kind", "size", "digest"),
    [
        ("yaml", 153, "986a46dcc0231926a77a919c29580cdc544c2b7d8d4bfe2c012fa2f915609e40"),
        ("json", 311, "4dc666306df38e561824005ab456c90de486e1b23047ae6339206786a5af5f9b"),
    ],
)
def test_golden_metadata(kind: str, size: int, digest: str) -> None:
    (file,) = planned(f"files: [{{path: y, metadata: {kind}}}]").files
    assert isinstance(file.data, bytes)
    assert (len(file.data), hashlib.sha256(file.data).hexdigest()) == (size, digest)
