"""Trees equal to the original's, unpacked: each folder of tests/golden/vectors is one build of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from moby.config.load import parse
from moby.formats.entry import Entry
from moby.oci.resolve import ImageSource
from moby.oci.store import Store
from moby.plan import plan
from moby.rootfs.build import entries
from tests.support.images import VECTORS, vector_images
from tests.support.tree import listed, unpack

NAMES = sorted(path.name for path in VECTORS.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return vector_images(tmp_path_factory.mktemp("store"))


def built(name: str, store: Store) -> Iterator[Entry]:
    text = (VECTORS / name / f"{name}.yml").read_bytes()
    decided = plan(parse(text), ImageSource(store, None), architecture="amd64")
    return entries(decided, store)


@pytest.mark.parametrize("name", NAMES)
def test_the_tree_is_the_originals(name: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(VECTORS / name)
    assert unpack(built(name, store)) == listed(VECTORS / name / "listing.jsonl")


@pytest.mark.parametrize("name", NAMES)
def test_bundles_are_the_originals_byte_for_byte(name: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(VECTORS / name)
    made = {entry.path: entry.data for entry in built(name, store)}
    golden = {path.name.replace("__", "/"): path.read_bytes() for path in (VECTORS / name).glob("containers__*")}
    assert golden
    assert {path: made[path] for path in golden} == golden
