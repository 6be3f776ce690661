from __future__ import annotations

import errno
import io
import json
import os
import resource
import threading
import time
from pathlib import Path

import pytest

from moby import unchanged
from moby.errors import ConfigError, IntegrityError, PlatformError
from moby.oci import blob
from moby.oci.digest import Digest
from moby.oci.layout import Layout
from moby.oci.manifest import DOCKER_INDEX, OCI_LAYER, Descriptor, Platform
from moby.oci.reference import Reference
from moby.oci.store import Store
from tests.support.images import MadeImage, image, index, vector_images

AMD64 = Platform.parse("amd64")
ARM64 = Platform.parse("arm64")
NAME = "docker.io/library/a:1"
A1 = Reference.parse("a:1")


def put(store: Store, made: MadeImage) -> Descriptor:
    """Blobs only, no name: as a pull does before it names the image."""
    for data in made.blobs.values():
        store.put_blob(data, OCI_LAYER)
    store.put_blob(made.manifest, made.descriptor.media_type)
    return made.descriptor


def files(store: Store) -> set[str]:
    return {str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file()}


def test_an_absent_store_is_empty_and_stays_absent(store: Store) -> None:
    assert store.names() == ()
    assert store.find(A1, AMD64) is None
    assert not store.root.exists()


def test_finds_what_was_put(store: Store) -> None:
    saved = image([{"etc/hostname": "a"}], {"Cmd": ["/bin/sh"], "Labels": {"x": "y"}}).save(store, NAME)
    assert store.find(A1, AMD64) == saved
    assert saved.config.cmd == ("/bin/sh",)
    assert store.names() == (NAME,)


def test_is_an_image_layout_with_the_lock_and_nothing_half_written(store: Store) -> None:
    image([{"a": "b"}]).save(store, NAME)
    blobs = {name for name in files(store) if name.startswith("blobs/sha256/")}
    assert files(store) - blobs == {"oci-layout", "index.json", ".lock"}
    assert json.loads((store.root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    for name in blobs:
        assert Digest.of((store.root / name).read_bytes()).hex == Path(name).name


def test_a_second_architecture_joins_the_first(store: Store) -> None:
    one = image([{"a": "amd"}]).save(store, NAME)
    two = image([{"a": "arm"}], architecture="arm64").save(store, NAME)
    assert store.find(A1, AMD64) == one
    assert store.find(A1, ARM64) == two
    three = image([{"a": "new"}]).save(store, NAME)
    assert store.find(A1, AMD64) == three != one
    assert store.find(A1, ARM64) == two


def test_parallel_architectures_are_never_lost(store: Store) -> None:
    names = [f"arch{number}" for number in range(12)]
    threads = [
        threading.Thread(target=lambda name=name: image([{"a": name}], architecture=name).save(Store(store.root), NAME))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(store.find(A1, Platform.parse(name)) for name in names)


def test_a_second_architecture_joins_a_single_manifest(store: Store) -> None:
    store.tag(NAME, put(store, image([{"a": "amd"}])).changed(platform=None))
    image([{"a": "arm"}], architecture="arm64").save(store, NAME)
    assert store.find(A1, AMD64)
    assert store.find(A1, ARM64)


def test_the_same_image_gives_the_same_files(tmp_path: Path) -> None:
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    for store, architectures in ((one, ("amd64", "arm64")), (two, ("arm64", "amd64"))):
        for each in architectures:
            image([{"a": each}], architecture=each).save(store, NAME)
    assert (one.root / "index.json").read_bytes() == (two.root / "index.json").read_bytes()


def test_an_index_whose_platform_was_not_pulled_counts_as_absent(store: Store) -> None:
    amd, arm = image([{"a": "amd"}]), image([{"a": "arm"}], architecture="arm64")
    data, descriptor = index([amd, arm])
    put(store, amd)
    store.ingest(io.BytesIO(data), descriptor)
    store.tag(NAME, descriptor)
    assert store.find(A1, AMD64)
    assert store.find(A1, ARM64) is None
    put(store, arm)
    assert store.find(A1, ARM64)


def test_an_image_without_one_of_its_blobs_counts_as_absent(store: Store) -> None:
    saved = image([{"a": "b"}, {"c": "d"}]).save(store, NAME)
    blob.path(store.root, saved.layers[1].digest).unlink()
    assert store.find(A1, AMD64) is None


def test_a_truncated_blob_counts_as_absent(store: Store) -> None:
    saved = image([{"a": "b"}]).save(store, NAME)
    path = blob.path(store.root, saved.layers[0].digest)
    path.write_bytes(path.read_bytes()[:-1])
    assert store.find(A1, AMD64) is None


def test_indexes_may_nest_but_not_for_ever(store: Store) -> None:
    descriptor = put(store, image([{"a": "b"}]))
    for depth in range(6):
        document = {"schemaVersion": 2, "manifests": [{**descriptor.wire(), "platform": AMD64.wire()}]}
        descriptor = store.put_blob(json.dumps(document).encode(), DOCKER_INDEX)
        store.tag(NAME, descriptor)
        assert (store.find(A1, AMD64) is not None) == (depth < 3)


def test_an_index_entry_without_platform_is_judged_by_its_configuration(store: Store) -> None:
    made = image([{"a": "b"}], architecture="arm64")
    put(store, made)
    document = {"schemaVersion": 2, "manifests": [made.descriptor.changed(platform=None).wire()]}
    store.tag(NAME, store.put_blob(json.dumps(document).encode(), DOCKER_INDEX))
    assert store.find(A1, AMD64) is None
    assert store.find(A1, ARM64)


def test_an_index_knows_better_than_a_configuration(store: Store) -> None:
    made = image([{"a": "b"}], architecture="amd64")
    put(store, made)
    entry = {**made.descriptor.wire(), "platform": ARM64.wire()}
    store.tag(NAME, store.put_blob(json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(), DOCKER_INDEX))
    found = store.find(A1, ARM64)
    assert found is not None
    assert found.platform == ARM64
    assert store.find(A1, AMD64) is None


def test_a_single_manifest_is_found_whatever_its_architecture(store: Store) -> None:
    descriptor = put(store, image([{"a": "b"}], architecture="riscv64"))
    store.tag(NAME, descriptor.changed(platform=None))
    found = store.find(A1, AMD64)
    assert found is not None
    assert found.platform == Platform.parse("riscv64")


def test_no_tag_finds_latest_and_the_other_way_round(store: Store) -> None:
    image([{"a": "b"}]).save(store, "docker.io/library/x:latest")
    image([{"a": "b"}]).save(store, "docker.io/library/y")
    assert store.find(Reference.parse("x"), AMD64)
    assert store.find(Reference.parse("y:latest"), AMD64)
    assert store.find(Reference.parse("x:1"), AMD64) is None


def test_a_digest_finds_indexes_children_and_refuses_another_name_s_content(store: Store) -> None:
    saved = image([{"a": "b"}]).save(store, NAME)
    other = image([{"a": "c"}]).save(store, "docker.io/library/b:1")
    (root,) = store.descriptors(NAME)
    for digest in (saved.digest, root.digest):
        found = store.find(Reference.parse(f"a@{digest}"), AMD64)
        assert found is not None
        assert found.digest == saved.digest
    both = store.find(Reference.parse(f"a:1@{other.digest}"), AMD64)
    assert both is not None
    assert both.digest == other.digest
    assert store.find(Reference.parse(f"a@{Digest.of(b'nothing')}"), AMD64) is None


def test_a_directory_written_by_the_original_tool_opens_as_is(store: Store) -> None:
    """It keeps an index and ``NAME-ARCH`` manifests, its own ingest directory and fields we do not know."""
    amd, arm = image([{"a": "amd"}]), image([{"a": "arm"}], architecture="arm64")
    data, descriptor = index([amd, arm])
    for made in (amd, arm):
        put(store, made)
    store.ingest(io.BytesIO(data), descriptor)
    ref = "org.opencontainers.image.ref.name"
    entries = [
        {**descriptor.wire(), "annotations": {ref: NAME}},
        {**amd.descriptor.wire(), "annotations": {ref: f"{NAME}-amd64", "x": "y"}, "unknown": 1},
        {**arm.descriptor.wire(), "annotations": {ref: f"{NAME}-arm64"}},
        {**arm.descriptor.wire()},
    ]
    (store.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries, "more": [1]}))
    (store.root / "ingest" / "0af1").mkdir()
    assert store.names() == (NAME, f"{NAME}-amd64", f"{NAME}-arm64")
    assert store.find(A1, ARM64)
    image([{"a": "b"}]).save(store, "docker.io/library/new:1")
    written = json.loads((store.root / "index.json").read_text())
    assert written["more"] == [1]
    assert written["manifests"][:4] == entries


def test_the_last_tag_wins_and_untag_forgets(store: Store) -> None:
    first, second = put(store, image([{"a": "1"}])), put(store, image([{"a": "2"}]))
    store.tag(NAME, first)
    store.tag(NAME, second)
    assert [each.digest for each in store.descriptors(NAME)] == [second.digest]
    store.untag([NAME])
    store.untag([NAME])
    assert store.names() == ()


def test_a_blob_that_lies_is_refused_and_leaves_nothing(store: Store) -> None:
    image([{"a": "b"}]).save(store, NAME)
    before = files(store)
    lies = {
        b"hell": r"expected sha256:\w+ \(5 bytes\), got sha256:\w+ \(4 bytes\)",
        b"jello": r"expected sha256:\w+ \(5 bytes\), got sha256:\w+ \(5 bytes\)",
        b"hello, world": r"\(5 bytes\), got 12 bytes",
    }
    expected = Descriptor(media_type=OCI_LAYER, digest=Digest.of(b"hello"), size=5)
    for data, message in lies.items():
        with pytest.raises(IntegrityError, match=message):
            store.ingest(io.BytesIO(data), expected)
    assert files(store) == before
    assert store.ingest(io.BytesIO(b"hello"), expected) == expected


def test_sha512_blobs_are_kept_apart(store: Store) -> None:
    digest = Digest.of(b"x", "sha512")
    store.ingest(io.BytesIO(b"x"), Descriptor(media_type=OCI_LAYER, digest=digest, size=1))
    assert (store.root / "blobs" / "sha512" / digest.hex).read_bytes() == b"x"


def test_an_altered_blob_is_noticed_when_it_is_read(store: Store) -> None:
    descriptor = store.put_blob(b"hello", OCI_LAYER)
    blob.path(store.root, descriptor.digest).write_bytes(b"jello")
    with store.open_blob(descriptor.digest) as stream, pytest.raises(IntegrityError, match="delete this file"):
        stream.read()


def test_a_missing_blob_says_so(store: Store) -> None:
    with pytest.raises(IntegrityError, match="blob is missing from the store"):
        store.open_blob(Digest.of(b"nothing"))


class _Broken(io.BytesIO):
    """Gives some data, then the error of a broken source."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() == 0:
            self.seek(1)
            return b"x"
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_full_disk_is_a_platform_error_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="No space left on device"), blob.writing(tmp_path):
        raise OSError(errno.ENOSPC, "")


def test_a_disk_that_takes_no_more_leaves_the_store_as_it_was(store: Store) -> None:
    saved = image([{"a": "b"}]).save(store, NAME)
    before = files(store)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(PlatformError, match="cannot write to the image store: File too large"):
            store.put_blob(bytes(1 << 20), OCI_LAYER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(store) == before
    assert store.find(A1, AMD64) == saved


def test_an_interrupted_ingest_leaves_nothing(store: Store) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        store.ingest(_Broken())
    assert files(store) == {"oci-layout"}


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(store: Store) -> None:
    store.put_blob(b"", OCI_LAYER)
    ingest = store.root / "ingest"
    (ingest / "moby-killed").write_bytes(b"half")
    (ingest / "moby-new").write_bytes(b"just made")
    (ingest / "other-tool").write_bytes(b"not ours")
    with store.writer(media_type=OCI_LAYER) as writer:
        writer.write(b"alive")
        for path in ingest.iterdir():
            if path.name != "moby-new":
                os.utime(path, (1, 1))
        image([{"a": "b"}]).save(store, NAME)
        assert {"moby-killed", "moby-new", "other-tool"} & {path.name for path in ingest.iterdir()} == {
            "moby-new", "other-tool"}  # fmt: skip
        assert store.has(writer.commit())


def test_a_store_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlatformError, match="cannot write to the image store"):
        Store(tmp_path / "file" / "store").put_blob(b"", OCI_LAYER)


@pytest.mark.parametrize("text", ["{", "[]", '{"manifests": {}}', '{"manifests": [{"annotations": {"R": "a"}}]}'])
def test_a_damaged_index_says_so_and_is_not_replaced(store: Store, text: str) -> None:
    image([{"a": "b"}]).save(store, NAME)
    path = store.root / "index.json"
    path.write_text(text.replace("R", "org.opencontainers.image.ref.name"))
    before = path.read_bytes()
    with pytest.raises(IntegrityError, match="the image store is damaged"):
        store.names()
    assert path.read_bytes() == before


def test_refuses_a_layout_of_another_version(store: Store) -> None:
    store.root.mkdir()
    (store.root / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')
    with pytest.raises(ConfigError, match="image layout of unknown version"):
        store.put_blob(b"", OCI_LAYER)


def test_the_vector_images_have_the_contents_that_were_recorded(tmp_path: Path) -> None:
    store = vector_images(tmp_path / "store")
    assert len(store.names()) == 8
    found = store.find(Reference.parse("127.0.0.1:5000/labelled:1"), AMD64)
    assert found is not None
    assert (found.config.working_dir, found.config.user) == ("/work", "1000:1000")
    assert found.config.labels is not None
    assert "org.mobyproject.config" in found.config.labels


def test_names_are_read_once_until_the_index_changes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = image([{"a": "b"}]), image([{"a": "c"}])
    first.save(store, NAME)
    load, reads = Layout._load, 0

    def counted(self: Layout) -> dict[str, object]:
        nonlocal reads
        reads += 1
        return load(self)

    monkeypatch.setattr(Layout, "_load", counted)
    time.sleep(2 * unchanged.TICK_NS / 1e9)  # before that, a change might leave no trace
    assert [store.names() for _ in range(3)] == [(NAME,)] * 3
    assert reads == 1
    second.save(Store(store.root), "docker.io/library/b:1")
    assert store.names() == (NAME, "docker.io/library/b:1")
    store.untag([NAME])
    assert store.names() == ("docker.io/library/b:1",)
    (store.root / "index.json").unlink()
    assert store.names() == ()


def test_index_that_was_just_written_is_read_each_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    image([{"a": "b"}]).save(store, NAME)
    path = store.root / "index.json"
    monkeypatch.setattr(unchanged, "TICK_NS", 3_600_000_000_000)
    assert store.names() == (NAME,)
    path.write_text(path.read_text().replace(NAME, NAME.replace("a:1", "b:1")))
    assert store.names() == (NAME.replace("a:1", "b:1"),)
