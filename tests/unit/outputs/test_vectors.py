"""Initrds that unpack to what the original's do: the folders of tests/golden/vectors that have one."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from pathlib import Path

import pytest

from moby.config.load import parse
from moby.formats import cpio
from moby.oci.resolve import ImageSource
from moby.outputs import write
from moby.plan import plan
from tests.support.images import VECTORS, vector_images
from tests.support.tree import Node, unpack

LISTED = sorted(path.parent.name for path in VECTORS.glob("*/initrd.jsonl"))
_EMPTY = hashlib.sha256().hexdigest()
_KINDS = {0o04: "dir", 0o10: "file", 0o12: "symlink"}


@pytest.mark.parametrize("name", LISTED)
def test_the_initrd_is_the_originals(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(VECTORS / name)
    store = vector_images(tmp_path / "store")
    decided = plan(parse(Path(f"{name}.yml").read_bytes()), ImageSource(store, None), architecture="amd64")
    (artifact,) = write(decided, store, formats=["kernel+initrd"], name="v", directory=tmp_path)
    data = gzip.decompress(artifact.file("initrd").read_bytes())
    found = unpack(cpio.read(io.BytesIO(data)))
    assert found == listed(VECTORS / name / "initrd.jsonl")


def listed(path: Path) -> dict[str, Node]:
    tree = {}
    for line in path.read_text().splitlines()[1:]:
        entry = json.loads(line)
        name = "/".join(part for part in entry["name"].split("/") if part not in ("", "."))
        mode = int(entry["mode"], 8)
        if name != "TRAILER!!!":
            content = entry.get("link", "") or (entry.get("sha256", _EMPTY) if mode >> 12 == 0o10 else "")
            tree[name] = Node(_KINDS[mode >> 12], mode & 0o7777, entry["uid"], entry["gid"], entry["mtime"], content)
    return tree
