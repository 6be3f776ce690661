"""Damage in a store is found, told and mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from moby.errors import IntegrityError
from moby.oci import blob
from moby.oci.digest import Digest
from moby.oci.manifest import OCI_INDEX, Platform
from moby.oci.reference import Reference
from moby.oci.store import Store
from moby.oci.verify import verify
from tests.support.images import image, index

A, B = "docker.io/library/a:1", "docker.io/library/b:1"
MADE = image([{"a": "1"}, {"b": "2"}])
LAYER = MADE.layer_descriptors[0].digest


@pytest.fixture
def full(store: Store) -> Store:
    MADE.save(store, A)
    image([{"c": "3"}]).save(store, B)
    return store


def damage(store: Store, digest: Digest, data: bytes = b"x") -> Path:
    path = blob.path(store.root, digest)
    path.write_bytes(data)
    return path


def test_a_sound_store_has_no_damage(full: Store) -> None:
    report = verify(full)
    assert (report.images, report.blobs, report.damages) == (2, 9, ())
    assert report.size_bytes == sum(size for _, size in full.blobs())
    assert verify(full, [A]).blobs == 5


def test_an_empty_store_is_sound(store: Store) -> None:
    assert verify(store).damages == ()


def test_an_altered_blob_is_named(full: Store) -> None:
    size = MADE.layer_descriptors[0].size
    damage(full, LAYER, b"x" * size)
    (found,) = verify(full).damages
    assert found.digest == LAYER
    assert f"expected {LAYER}" in found.what
    assert verify(full, [B]).damages == ()


def test_a_missing_blob_is_told_with_its_image(full: Store) -> None:
    damage(full, LAYER).unlink()
    (found,) = verify(full).damages
    assert found.name == A
    assert str(LAYER) in found.what


def test_a_damaged_manifest_is_told_twice_and_stops_nothing(full: Store) -> None:
    damage(full, MADE.descriptor.digest, b"x" * MADE.descriptor.size)
    whats = [each.what for each in verify(full).damages]
    assert len(whats) == 2
    assert all(str(MADE.descriptor.digest) in each for each in whats)


def test_repair_deletes_what_is_damaged_so_that_it_is_fetched_again(full: Store) -> None:
    damage(full, LAYER, b"x" * MADE.layer_descriptors[0].size)
    assert full.find(Reference.parse(A), Platform.parse("amd64")) is not None  # the size is right
    verify(full, repair=True)
    assert full.find(Reference.parse(A), Platform.parse("amd64")) is None
    MADE.save(full, A)
    assert verify(full).damages == ()


def test_platforms_that_were_not_pulled_are_no_damage(store: Store) -> None:
    MADE.save(store, A)
    data, _ = index([MADE, image([{"arm": "1"}], architecture="arm64")])
    store.tag(A, store.put_blob(data, OCI_INDEX))
    assert verify(store).damages == ()


def test_a_damaged_index_is_an_error(full: Store) -> None:
    (full.root / "index.json").write_text("{")
    with pytest.raises(IntegrityError, match="store is damaged"):
        verify(full)
