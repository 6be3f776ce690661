"""Blobs that were found right are not hashed again, until they change."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import pytest

from moby import unchanged
from moby.errors import IntegrityError
from moby.oci import blob
from moby.oci.digest import Digest, VerifiedReader
from moby.oci.manifest import OCI_LAYER
from moby.oci.store import Store


@pytest.fixture
def remembering(tmp_path: Path) -> Store:
    """A store that does not hash again what it found right."""
    return Store(tmp_path / "store", verified=tmp_path / "verified")


LARGE = bytes(range(256)) * 8192


def _hashed(store: Store, digest: Digest) -> bool:
    with store.open_blob(digest) as stream:
        assert stream.read() == LARGE
        return isinstance(stream, io.BufferedReader) and isinstance(stream.raw, VerifiedReader)


def test_a_blob_is_not_hashed_again(remembering: Store) -> None:
    descriptor = remembering.put_blob(LARGE, OCI_LAYER)
    assert not _hashed(remembering, descriptor.digest)


def test_a_blob_of_another_s_store_is_hashed_once(remembering: Store) -> None:
    descriptor = Store(remembering.root).put_blob(LARGE, OCI_LAYER)
    time.sleep(2 * unchanged.TICK_NS / 1e9)
    assert [_hashed(remembering, descriptor.digest) for _ in range(3)] == [True, False, False]


def test_a_blob_that_just_changed_is_hashed_again(remembering: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unchanged, "TICK_NS", 3600 * 10**9)
    descriptor = remembering.put_blob(LARGE, OCI_LAYER)
    blob.path(remembering.root, descriptor.digest).touch()
    assert [_hashed(remembering, descriptor.digest) for _ in range(2)] == [True, True]


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_blob_that_others_may_write_to_is_always_hashed(remembering: Store, mode: int) -> None:
    descriptor = remembering.put_blob(LARGE, OCI_LAYER)
    blob.path(remembering.root, descriptor.digest).chmod(mode)
    time.sleep(2 * unchanged.TICK_NS / 1e9)
    assert [_hashed(remembering, descriptor.digest) for _ in range(3)] == [True, True, True]


def test_a_blob_of_another_user_is_always_hashed(remembering: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = remembering.put_blob(LARGE, OCI_LAYER)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    time.sleep(2 * unchanged.TICK_NS / 1e9)
    assert [_hashed(remembering, descriptor.digest) for _ in range(3)] == [True, True, True]


@pytest.mark.parametrize("how", ["written", "replaced", "times restored"])
def test_a_blob_that_was_found_right_and_altered_is_noticed(remembering: Store, how: str) -> None:
    descriptor = remembering.put_blob(LARGE, OCI_LAYER)
    path = blob.path(remembering.root, descriptor.digest)
    status, altered = path.stat(), b"\1" + LARGE[1:]
    time.sleep(2 * unchanged.TICK_NS / 1e9)
    if how == "replaced":
        path.with_name("other").write_bytes(altered)
        path.with_name("other").replace(path)
    else:
        path.write_bytes(altered)
    if how != "written":
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    for _ in range(2):
        with remembering.open_blob(descriptor.digest) as stream, pytest.raises(IntegrityError, match="delete this"):
            stream.read()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"state": 5}', b'{"state": [0, 0, 0, 0, 0]}'])
def test_a_damaged_note_does_no_harm(remembering: Store, tmp_path: Path, damage: bytes) -> None:
    descriptor = remembering.put_blob(LARGE, OCI_LAYER)
    (note,) = (tmp_path / "verified").iterdir()
    note.write_bytes(damage)
    assert _hashed(remembering, descriptor.digest)
