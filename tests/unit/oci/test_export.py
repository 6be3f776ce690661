"""Images as files, and back: our own way, Docker's, skopeo's."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from moby.errors import ConfigError, IntegrityError
from moby.oci import archive, attestations, blob, imports, local
from moby.oci.export import Wanted, export
from moby.oci.form import Form
from moby.oci.manifest import Platform
from moby.oci.reference import Reference
from moby.oci.store import Store
from moby.oci.verify import verify
from tests.support.docker_registry import skopeo
from tests.support.engine import saved
from tests.support.images import MadeImage, image

AMD64, ARM64 = Platform.parse("amd64"), Platform.parse("arm64")
A, B = "docker.io/library/a:1", "docker.io/library/b:1"


def made(architecture: str = "amd64", text: str = "1", compression: str = "gzip") -> MadeImage:
    layers = [{"etc/a": text}, {architecture: "2"}, {"etc/a": text}]
    return image(layers, {"Cmd": [text]}, architecture=architecture, compression=compression)


def written(
    store: Store, *names: str, platform: Platform | None = AMD64, form: Form = Form.OCI, called: str = ""
) -> bytes:
    out = io.BytesIO()
    export(store, [Wanted(name=each, called=called or each) for each in names], platform, form, out)
    return out.getvalue()


def load(store: Store, data: bytes, name: str = "") -> tuple[str, ...]:
    contents = archive.read(store, io.BytesIO(data), where="a.tar")
    return imports.load(store, local.images_of(contents, store), name=name)


def members(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        return opened.getnames()


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return Store(tmp_path / "other")


def test_what_is_exported_is_imported_the_same(store: Store, other: Store) -> None:
    one = made().save(store, A)
    data = written(store, A)
    assert load(other, data) == (A,)
    assert other.find(Reference.parse(A), AMD64) == one
    assert other.descriptors(A)[0].digest == one.digest
    assert verify(other).damages == ()
    assert written(store, A) == data


def test_all_platforms_keep_their_index(store: Store, other: Store) -> None:
    for each in ("amd64", "arm64"):
        made(each).save(store, A)
    load(other, written(store, A, platform=None))
    assert [each.digest for each in other.descriptors(A)] == [each.digest for each in store.descriptors(A)]
    assert other.find(Reference.parse(A), ARM64) is not None


def test_one_platform_is_one_manifest(store: Store, other: Store) -> None:
    one, two = made().save(store, A), made("arm64").save(store, A)
    load(other, written(store, A, platform=ARM64))
    (only,) = other.descriptors(A)
    assert only.digest == two.digest != one.digest


def test_several_images_share_their_blobs(store: Store, other: Store) -> None:
    made().save(store, A)
    made(text="2").save(store, B)
    data = written(store, A, B)
    assert len(members(data)) == len(set(members(data)))
    assert load(other, data) == (A, B)


def test_an_sbom_goes_with_its_image(store: Store, other: Store) -> None:
    one = made().save(store, A)
    made("arm64").save(store, A)
    attestations.attach(store, one, [b'{"spdxVersion": "SPDX-2.3"}'])
    load(other, written(store, A))
    found = other.find(Reference.parse(A), AMD64)
    assert found == one
    assert len(attestations.find(other, found)) == 1
    assert other.find(Reference.parse(A), ARM64) is None


def test_an_image_may_get_another_name(store: Store, other: Store) -> None:
    made().save(store, A)
    data = written(store, A, called="ghcr.io/me/x:2")
    assert load(other, data) == ("ghcr.io/me/x:2",)
    assert load(other, data, name="y:3") == ("docker.io/library/y:3",)


def test_what_an_import_brings_joins_other_platforms(store: Store, other: Store) -> None:
    two = made("arm64").save(other, A)
    made(text="old").save(other, A)
    one = made(text="new").save(store, A)
    load(other, written(store, A))
    assert other.find(Reference.parse(A), AMD64) == one
    assert other.find(Reference.parse(A), ARM64) == two


def test_an_image_that_is_not_whole_is_not_exported(store: Store) -> None:
    with pytest.raises(IntegrityError, match=r"no complete image|under no name"):
        written(store, A, platform=None)
    one = made().save(store, A)
    with pytest.raises(IntegrityError, match="not for linux/arm64"):
        written(store, A, platform=ARM64)
    blob.path(store.root, one.layers[0].digest).unlink()
    for platform in (None, AMD64):
        with pytest.raises(IntegrityError):
            written(store, A, platform=platform)


def test_a_damaged_blob_is_noticed_while_it_is_written(store: Store) -> None:
    one = made().save(store, A)
    path = blob.path(store.root, one.layers[0].digest)
    path.write_bytes(b"x" * path.stat().st_size)
    for form in (Form.OCI, Form.DOCKER, Form.FILESYSTEM):
        with pytest.raises(IntegrityError):
            written(store, A, form=form)


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_docker_s_form_comes_back_with_the_same_configuration(store: Store, other: Store, compression: str) -> None:
    one = made(compression=compression).save(store, A)
    data = written(store, A, form=Form.DOCKER)
    assert len(members(data)) == len(set(members(data)))
    assert load(other, data) == (A,)
    found = other.find(Reference.parse(A), AMD64)
    assert found is not None
    assert found.config == one.config
    assert (found.layers == one.layers) == (compression != "zstd")


def test_docker_s_form_names_an_image_with_its_tag(store: Store) -> None:
    made().save(store, "docker.io/library/a")
    with tarfile.open(fileobj=io.BytesIO(written(store, "docker.io/library/a", form=Form.DOCKER))) as opened:
        stream = opened.extractfile("manifest.json")
        assert stream is not None
        assert json.load(stream)[0]["RepoTags"] == ["docker.io/library/a:latest"]


def test_the_file_system_alone(store: Store) -> None:
    made().save(store, A)
    made(text="2").save(store, B)
    assert members(written(store, A, form=Form.FILESYSTEM)) == ["amd64", "etc", "etc/a"]
    with pytest.raises(ConfigError, match="that of one image"):
        written(store, A, B, form=Form.FILESYSTEM)


@pytest.mark.parametrize("form", [Form.DOCKER, Form.FILESYSTEM])
def test_some_forms_hold_one_platform(store: Store, form: Form) -> None:
    made().save(store, A)
    with pytest.raises(ConfigError, match="holds an image for one platform"):
        written(store, A, platform=None, form=form)


@pytest.mark.shows("skopeo reads exported images in both forms", by="peer")
def test_skopeo_reads_what_we_export(store: Store, tmp_path: Path) -> None:
    one = made().save(store, A)
    (tmp_path / "o.tar").write_bytes(written(store, A))
    (tmp_path / "d.tar").write_bytes(written(store, A, form=Form.DOCKER))
    raw = skopeo("inspect", "--raw", f"oci-archive:{tmp_path}/o.tar:{A}")
    assert json.loads(raw)["config"]["digest"] == json.loads(made().manifest)["config"]["digest"]
    shown = json.loads(skopeo("inspect", "--config", f"docker-archive:{tmp_path}/d.tar"))
    assert shown["config"]["Cmd"] == list(one.config.cmd or ())


# Others' files.


def test_every_tag_that_docker_saved_is_a_name(store: Store) -> None:
    assert load(store, saved([{"a": "1"}], ["a:1", "ghcr.io/b:2"]).archive) == (A, "ghcr.io/b:2")


def test_an_image_without_a_whole_name_needs_one(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"has no name .name it: moby cache import --name"):
        load(store, saved([{"a": "1"}], []).archive)
    assert load(store, saved([{"a": "1"}], []).archive, name="a:1") == (A,)


def test_a_name_is_for_one_image(store: Store, other: Store) -> None:
    for name in (A, B):
        made().save(store, name)
    with pytest.raises(ConfigError, match="it holds 2 images"):
        load(other, written(store, A, B), name="x:1")


def test_a_directory_is_imported_too(store: Store, other: Store) -> None:
    for each in ("amd64", "arm64"):
        made(each).save(store, A)
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    assert imports.load(other, local.layout_of(store.root, other)) == (A,)
    assert other.find(Reference.parse(A), ARM64) is not None
    assert verify(other).damages == ()
    assert {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()} == before


def test_an_archive_that_lacks_a_blob_names_nothing(store: Store, other: Store) -> None:
    one = made().save(store, A)
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(written(store, A))) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            if one.layers[0].digest.hex not in member.name:
                new.addfile(member, old.extractfile(member))
    with pytest.raises(IntegrityError, match=f"it lacks blobs of {A}"):
        load(other, out.getvalue())
    assert other.names() == ()
