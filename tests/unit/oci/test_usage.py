"""What can go from a store, and what must not."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from moby.errors import ConfigError, IntegrityError
from moby.oci import blob, usage
from moby.oci.manifest import OCI_LAYER, Platform
from moby.oci.reference import Reference
from moby.oci.store import Store
from moby.oci.verify import verify
from tests.support.images import MadeImage, image

AMD64 = Platform.parse("amd64")
A, B, C = (f"docker.io/library/{name}:1" for name in "abc")
BIG = 100_000


def made(*fills: str) -> MadeImage:
    return image([{fill: fill * BIG} for fill in fills], {"Labels": {"x": fills[-1]}}, compression="none")


def save(store: Store, **images: MadeImage) -> None:
    """Images called a, b, c; a was used longest ago."""
    for number, (name, each) in enumerate(images.items()):
        saved = each.save(store, f"docker.io/library/{name}:1")
        assert saved
        for descriptor in store.descriptors(f"docker.io/library/{name}:1"):
            path = blob.path(store.root, descriptor.digest)
            os.utime(path, (1_000_000 + number, 1_000_000 + number))


def there(store: Store, name: str) -> bool:
    return store.find(Reference.parse(name), AMD64) is not None


def blobs(store: Store) -> int:
    return len(list(store.blobs()))


def test_rm_keeps_the_blobs_of_other_images(store: Store) -> None:
    save(store, a=made("s", "a"), b=made("s", "b"))
    freed = usage.remove(store, [A])
    assert freed.names == (A,)
    assert freed.blobs == 4  # index, manifest, configuration and its own layer
    assert BIG < freed.size_bytes < 2 * BIG
    assert store.names() == (B,)
    assert there(store, B)
    assert verify(store).damages == ()
    assert usage.sweep(store).blobs == 0
    usage.remove(store, [B])
    assert blobs(store) == 0


def test_rm_keeps_an_image_that_has_another_name(store: Store) -> None:
    save(store, a=made("a"))
    store.tag(B, store.descriptors(A)[0].changed(annotations=None))
    assert usage.remove(store, [A]).blobs == 0
    assert there(store, B)


def test_rm_keeps_what_another_tool_left_without_a_name(store: Store) -> None:
    save(store, a=made("a"))
    index = json.loads((store.root / "index.json").read_text())
    index["manifests"].append({**index["manifests"][0], "annotations": {"other": "tool"}})
    (store.root / "index.json").write_text(json.dumps(index))
    assert usage.remove(store, [A]).blobs == 0
    assert len(usage.held(store)) == 1
    assert usage.sweep(store).blobs == 0


def test_the_original_s_cache_is_used_as_it_is(store: Store) -> None:
    """It names each architecture's manifest beside the index, and keeps unfinished blobs in folders of ``ingest``."""
    save(store, a=made("a"))
    (index,) = store.descriptors(A)
    child = made("a").descriptor.changed(platform=None)
    store.tag("docker.io/library/a:1-amd64", child)
    other = store.root / "ingest" / "0123" / "data"
    other.parent.mkdir()
    other.write_text("half")
    assert usage.remove(store, [A]).blobs == 1
    assert not store.has(index)
    assert there(store, "docker.io/library/a:1-amd64")
    assert usage.sweep(store).blobs == 0
    assert other.exists()


def test_rm_of_an_unknown_name_changes_nothing(store: Store) -> None:
    save(store, a=made("a"))
    with pytest.raises(ConfigError, match="no image of this name"):
        usage.remove(store, [A, B])
    assert there(store, A)


def test_signatures_go_with_their_image(store: Store) -> None:
    save(store, a=made("a"), b=made("b"))
    digest = store.descriptors(A)[0].digest
    for name in (f"docker.io/library/a:sha256-{digest.hex}.sig", f"docker.io/library/b:sha256-{digest.hex}.sig"):
        image([{name: "signature"}]).save(store, name)
    assert len(usage.remove(store, [A]).names) == 2
    assert store.names() == (B, f"docker.io/library/b:sha256-{digest.hex}.sig")


def test_gc_deletes_what_nothing_leads_to(store: Store) -> None:
    save(store, a=made("a"))
    before = blobs(store)
    store.put_blob(b"x" * BIG, OCI_LAYER)
    (store.root / "ingest" / "moby-left").write_bytes(b"half")
    assert usage.sweep(store, dry_run=True) == usage.Freed(blobs=1, size_bytes=BIG)
    assert usage.sweep(store) == usage.Freed(blobs=1, size_bytes=BIG)
    assert blobs(store) == before
    assert list((store.root / "ingest").iterdir()) == []


def test_gc_does_nothing_to_a_store_whose_index_is_damaged(store: Store) -> None:
    save(store, a=made("a"))
    before = blobs(store)
    (store.root / "index.json").write_text('{"manifests": [{"digest": "x"}]}')
    with pytest.raises(IntegrityError, match="store is damaged"):
        usage.sweep(store)
    assert blobs(store) == before


def test_the_least_recently_used_goes_first(store: Store) -> None:
    save(store, a=made("a"), b=made("b"), c=made("c"))
    assert there(store, A)  # used now
    assert usage.shrink(store, 10 * BIG) == usage.Freed()
    freed = usage.shrink(store, 2 * BIG + 10_000, dry_run=True)
    assert freed.names == (B,)
    assert usage.shrink(store, 2 * BIG + 10_000).names == (B,)
    assert store.names() == (A, C)
    assert usage.shrink(store, 1).names == (A, C)
    assert blobs(store) == 0


def test_unused_blobs_go_before_images(store: Store) -> None:
    save(store, a=made("a"))
    store.put_blob(b"x" * BIG, OCI_LAYER)
    assert usage.shrink(store, BIG + 10_000) == usage.Freed(blobs=1, size_bytes=BIG)
    assert there(store, A)


def test_shared_layers_count_once(store: Store) -> None:
    save(store, a=made("s", "a"), b=made("s", "b"))
    assert usage.shrink(store, 4 * BIG).names == ()
    assert usage.shrink(store, 3 * BIG).names == (A,)
    assert there(store, B)


def test_what_a_command_used_stays_beyond_the_limit(store: Store) -> None:
    save(store, a=made("a"), b=made("b"))
    with usage.using(store, {"MOBY_CACHE_LIMIT": "1K"}):
        assert there(store, B)
    assert store.names() == (B,)
    with usage.using(store, {"LINUXKIT_CACHE_LIMIT": "1G"}):
        pass
    assert store.names() == (B,)


def test_a_limit_that_is_no_size_is_refused_before_anything_is_done(store: Store) -> None:
    with (
        pytest.raises(ConfigError, match=r"MOBY_CACHE_LIMIT: 'much' is not a size"),
        usage.using(store, {"MOBY_CACHE_LIMIT": "much"}),
    ):
        raise AssertionError("not reached")
    assert not store.root.exists()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1000", 1000),
        ("2K", 2048),
        ("1.5M", 1572864),
        ("20G", 20 << 30),
        ("1 TiB", 1 << 40),
        ("3gb", 3 << 30),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert usage.parse_size(text, where="x") == size


@pytest.mark.parametrize("text", ["", "G", "-1", "1e9", "1P", "1..5G", "٣G"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a size"):
        usage.parse_size(text, where="x")


# Others at work.


def test_nothing_is_deleted_while_the_store_is_used(store: Store) -> None:
    save(store, a=made("a"))
    with store.in_use():
        with store.in_use(), store.alone(wait=False) as free:
            assert not free
        assert usage.shrink(store, 1) == usage.Freed()
        thread = threading.Thread(target=usage.remove, args=(store, [A]))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        assert there(store, A)
    thread.join(5)
    assert store.names() == ()


def test_a_store_that_cannot_be_written_is_used_without_a_lock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    save(store, a=made("a"))

    def refuse(*arguments: object, **options: object) -> int:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        patch.setattr(os, "utime", refuse)
        with store.in_use():
            pass
    assert there(store, A)


# clean.


def test_clean_deletes_the_store_alone(store: Store) -> None:
    assert usage.clear(store) == usage.Freed()
    save(store, a=made("a"))
    (store.root / "mine").write_text("x")
    freed = usage.clear(store)
    assert freed.names == (A,)
    assert freed.blobs == 4
    assert [path.name for path in store.root.iterdir()] == ["mine"]
    (store.root / "mine").unlink()
    save(store, a=made("a"))
    usage.clear(store)
    assert not store.root.exists()


def test_clean_refuses_what_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs/precious").write_text("x")
    with pytest.raises(ConfigError, match="not an image store"):
        usage.clear(Store(tmp_path))
    assert (tmp_path / "blobs/precious").exists()


def test_what_is_held_is_described(store: Store) -> None:
    save(store, a=made("a"))
    image([{"b": "1"}], architecture="arm64").save(store, A)
    (only,) = usage.held(store)
    assert (only.name, only.platforms) == (A, ("linux/amd64", "linux/arm64"))
    assert only.size_bytes == sum(only.blobs.values()) > BIG
    assert time.time() - only.used_s < 60
