"""Images in files: layouts, archives, what docker save and skopeo write."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from moby.errors import IntegrityError, MobyError, RegistryError
from moby.oci import blob, layers
from moby.oci.manifest import REF_NAME, Platform
from moby.oci.reference import Reference, Transport
from moby.oci.resolve import ImageSource
from moby.oci.store import Store
from tests.support.docker_registry import skopeo
from tests.support.engine import saved
from tests.support.images import image
from tests.support.pulling import state

AMD64, ARM64 = Platform.parse("amd64"), Platform.parse("arm64")


def paths(text: str, store: Store, platform: Platform = AMD64) -> list[str]:
    found = ImageSource(store, None).resolve(Reference.parse(text), platform)
    return [entry.path for entry in layers.entries(store, found)]


@pytest.fixture
def other(tmp_path: Path) -> Store:
    """A layout that is not ours, with an image of two architectures and one more."""
    theirs = Store(tmp_path / "layout")
    for architecture in ("amd64", "arm64"):
        image([{architecture: "1"}], architecture=architecture).save(theirs, "docker.io/library/two:1")
    image([{"one": "1"}]).save(theirs, "docker.io/library/one:1")
    return theirs


def pack(directory: Path, to: Path, *, mode: str = "w") -> Path:
    with tarfile.open(to, mode) as archive:  # type: ignore[call-overload]  # any of the modes for writing
        for path in sorted(directory.rglob("*")):
            archive.add(path, path.relative_to(directory), recursive=False)
    return to


# Spelling.


@pytest.mark.parametrize(
    ("text", "path", "name"),
    [
        ("oci:./a", "./a", None),
        ("oci:../a/b:1", "../a/b", "1"),
        ("oci-archive:/a b/c.tar:docker.io/library/x:1", "/a b/c.tar", "docker.io/library/x:1"),
        ("docker-archive:./x.tar.gz", "./x.tar.gz", None),
    ],
)
def test_files_are_named_by_their_path(text: str, path: str, name: str | None) -> None:
    found = Reference.parse(text)
    assert (found.repository, found.tag, found.registry) == (path, name, "")
    assert found.expanded == text


def test_a_digest_may_follow() -> None:
    digest = image([{"a": "1"}]).descriptor.digest
    found = Reference.parse(f"oci:./a:1@{digest}")
    assert (found.transport, found.tag, found.digest) == (Transport.OCI, "1", digest)


@pytest.mark.parametrize("text", ["oci:1", "oci:5000/a", "docker-archive:latest", "oci:a", "oci-archive:5000/x/y"])
def test_what_could_be_a_tag_or_a_port_is_no_file(text: str) -> None:
    assert Reference.parse(text).transport is None


@pytest.mark.parametrize("text", ["oci:./", "oci:.", "oci://", "tar:./x", "oci:./a@sha256:0", "oci:./a\n"])
def test_odd_files_are_refused_or_not_found(text: str, store: Store) -> None:
    with pytest.raises(MobyError):
        paths(text, store)


# Layouts.


def test_a_layout_gives_the_image_for_the_platform(other: Store, store: Store) -> None:
    assert paths(f"oci:{other.root}:docker.io/library/two:1", store) == ["amd64"]
    assert paths(f"oci:{other.root}:two:1", store, ARM64) == ["arm64"]
    digest = other.descriptors("docker.io/library/one:1")[0].digest
    assert paths(f"oci:{other.root}@{digest}", store) == ["one"]


def test_only_the_wanted_platform_is_copied_and_only_once(other: Store, store: Store) -> None:
    name = f"oci:{other.root}:two:1"
    paths(name, store)
    before = state(store)
    assert len([each for each in before if each.startswith("blobs/")]) == 4  # index, manifest, configuration, layer
    files = {path: path.stat().st_ino for path in store.root.rglob("*") if path.is_file()}
    paths(name, store)
    assert {path: path.stat().st_ino for path in store.root.rglob("*") if path.is_file()} == files


def test_a_changed_layout_is_seen(other: Store, store: Store) -> None:
    name = f"oci:{other.root}:one:1"
    assert paths(name, store) == ["one"]
    image([{"new": "1"}]).save(other, "docker.io/library/one:1")
    assert paths(name, store) == ["new"]


def test_a_relative_path_is_known_by_its_whole_one(other: Store, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(other.root.parent)
    found = ImageSource(store, None).resolve(Reference.parse("oci:./layout:one:1"), AMD64)
    assert str(found.reference) == "oci:./layout:one:1"
    assert store.names() == (f"oci:{other.root}:one:1",)


def test_several_images_need_a_name_and_one_does_not(other: Store, store: Store) -> None:
    with pytest.raises(RegistryError, match=r"holds several images .name one of docker.io/library/"):
        paths(f"oci:{other.root}", store)
    other.untag(["docker.io/library/two:1"])
    assert paths(f"oci:{other.root}", store) == ["one"]


def test_one_entry_for_each_platform_is_one_image(tmp_path: Path, store: Store) -> None:
    theirs = Store(tmp_path / "layout")
    made = [image([{each: "1"}], architecture=each) for each in ("amd64", "arm64")]
    for each in made:
        each.save(theirs, "docker.io/library/x:1")
    entries = [{**each.descriptor.wire(), "annotations": {REF_NAME: "1"}} for each in made]
    (theirs.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    assert paths(f"oci:{theirs.root}:1", store, ARM64) == ["arm64"]
    assert paths(f"oci:{theirs.root}", store) == ["amd64"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("oci:{root}:three:1", "it holds no 'three:1'.*it holds docker.io/library/"),
        ("oci:{root}/none", "not an OCI image layout: No such file"),
        ("oci-archive:{root}/none.tar", "cannot read it: No such file"),
        ("docker-archive:{root}", "cannot read it: Is a directory"),
    ],
)
def test_what_is_not_there_is_named(other: Store, store: Store, text: str, message: str) -> None:
    with pytest.raises(MobyError, match=message) as caught:
        paths(text.format(root=other.root), store)
    assert str(other.root) in str(caught.value)


def test_a_damaged_layout_leaves_nothing_behind(other: Store, store: Store) -> None:
    (layer,) = image([{"one": "1"}]).layer_descriptors
    damaged = blob.path(other.root, layer.digest)
    data = damaged.read_bytes()
    damaged.write_bytes(data[:-1] + b"x")
    with pytest.raises(IntegrityError, match="does not match its digest"):
        paths(f"oci:{other.root}:one:1", store)
    damaged.unlink()
    with pytest.raises(RegistryError, match="the layout lacks a blob"):
        paths(f"oci:{other.root}:one:1", store)
    assert store.names() == ()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"manifests": 5}', '{"manifests": [{"digest": "../../x"}]}'])
def test_a_broken_index_is_refused(tmp_path: Path, store: Store, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(MobyError):
        paths(f"oci:{tmp_path}", store)


# Archives.


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_an_archive_of_a_layout(other: Store, store: Store, tmp_path: Path, mode: str) -> None:
    file = pack(other.root, tmp_path / "a.tar", mode=mode)
    assert paths(f"oci-archive:{file}:two:1", store, ARM64) == ["arm64"]
    assert paths(f"oci-archive:{file}:one:1", store) == ["one"]


def test_an_archive_is_read_again_only_when_it_changed(other: Store, store: Store, tmp_path: Path) -> None:
    file = pack(other.root, tmp_path / "a.tar")
    name = f"oci-archive:{file}:one:1"
    paths(name, store)
    times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    file.write_bytes(b"x" * file.stat().st_size)
    os.utime(file, ns=times)
    assert paths(name, store) == ["one"]
    os.utime(file)
    with pytest.raises(IntegrityError, match=str(file)):
        paths(name, store)


def test_what_docker_saved(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "saved.tar"
    file.write_bytes(saved([{"a": "1"}, {"b": "2"}, {"a": "1"}], ["a:1", "b:2"]).archive)
    assert sorted(paths(f"docker-archive:{file}", store)) == ["a", "b"]
    assert sorted(paths(f"docker-archive:{file}:docker.io/library/b:2", store)) == ["a", "b"]
    with pytest.raises(RegistryError, match="holds no 'c:1'"):
        paths(f"docker-archive:{file}:c:1", store)


def test_a_docker_archive_with_a_layout_beside_and_packed_layers(store: Store, tmp_path: Path) -> None:
    """As Docker 25 and later write it: files under blobs/, named in manifest.json too."""
    made = image([{"a": "1"}])
    theirs = Store(tmp_path / "layout")
    made.save(theirs, "docker.io/library/a:1")
    config, layer = (json.loads(made.manifest)[key] for key in ("config", "layers"))
    listed = {
        "Config": "blobs/" + config["digest"].replace(":", "/"),
        "RepoTags": ["a:1"],
        "Layers": ["blobs/" + each["digest"].replace(":", "/") for each in layer],
    }
    (theirs.root / "manifest.json").write_text(json.dumps([listed]))
    file = pack(theirs.root, tmp_path / "a.tar")
    assert paths(f"docker-archive:{file}:a:1", store) == ["a"]
    found = ImageSource(store, None).resolve(Reference.parse(f"docker-archive:{file}:a:1"), AMD64)
    assert found.layers == made.layer_descriptors


def members(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name.replace("__", "/").replace("_json", ".json"))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a tar archive|an archive of no images"),
        (b"x" * 2000, "checksum"),
        (members(a=b"1"), "an archive of no images"),
        (members(manifest_json=b"{}"), "not what docker save writes"),
        (members(manifest_json=b'[{"Config": "x"}]'), "names 'x', but does not hold it"),
        (members(manifest_json=b'[{"Config": "../../etc/passwd"}]'), "but does not hold it"),
        (members(manifest_json=b'[{"Config": "c.json", "Layers": ["l"]}]', c_json=b"{}", l=b"1"), "1 layers, but"),
        (members(blobs__sha256__12=b"1"), "is not a digest"),
        (members(**{"blobs__sha256__" + "0" * 64: b"1"}), "does not match its digest"),
        (gzip.compress(members(a=b"1"), mtime=0)[:-9], "a.tar"),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",
)
def test_hostile_and_broken_archives(store: Store, tmp_path: Path, data: bytes, message: str) -> None:
    file = tmp_path / "a.tar"
    file.write_bytes(data)
    with pytest.raises(IntegrityError, match=message) as caught:
        paths(f"oci-archive:{file}", store)
    assert str(file) in str(caught.value)
    assert store.names() == ()


def test_huge_json_is_refused_before_it_is_read(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    with tarfile.open(file, "w") as archive:
        info = tarfile.TarInfo("index.json")
        info.size = 100 << 20
        archive.addfile(info, _Zeros())  # type: ignore[arg-type]  # only read
    with pytest.raises(IntegrityError, match=r"index\.json: JSON of 104857600 bytes is too large"):
        paths(f"oci-archive:{file}", store)


class _Zeros:
    def read(self, size: int) -> bytes:
        return bytes(size)


# Others' tools.


@pytest.mark.shows("Archives and layouts of skopeo are used as they are", by="peer")
def test_skopeo_s_archives(other: Store, store: Store, tmp_path: Path) -> None:
    source = f"oci:{other.root}:docker.io/library/one:1"
    skopeo("copy", "-q", source, f"oci-archive:{tmp_path}/o.tar:x")
    skopeo("copy", "-q", source, f"docker-archive:{tmp_path}/d.tar:docker.io/library/y:1")
    assert paths(f"oci-archive:{tmp_path}/o.tar:x", store) == ["one"]
    assert paths(f"docker-archive:{tmp_path}/d.tar:y:1", store) == ["one"]
    skopeo("copy", "-q", "--all", f"oci:{other.root}:docker.io/library/two:1", f"oci:{tmp_path}/dir:z")
    assert paths(f"oci:{tmp_path}/dir:z", store, ARM64) == ["arm64"]


def test_an_image_that_its_layout_names_only_below_an_index(other: Store, store: Store) -> None:
    made = image([{"arm64": "1"}], architecture="arm64")
    assert paths(f"oci:{other.root}@{made.descriptor.digest}", store, ARM64) == ["arm64"]
