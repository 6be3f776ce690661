from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby.errors import ConfigError, IntegrityError
from moby.oci.digest import Digest
from moby.oci.manifest import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    decode,
)

BLOB = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": str(Digest.of(b"")), "size": 0}
AMD64 = Platform(os="linux", architecture="amd64")


def manifest(**changes: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "config": BLOB, "layers": [BLOB], **changes}).encode()


def index(*manifests: object, **changes: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": manifests, **changes}).encode()


def entry(platform: dict[str, str] | None, mark: bytes = b"", **changes: object) -> dict[str, object]:
    fields: dict[str, object] = {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(mark)), "size": 2, **changes}
    return fields if platform is None else {**fields, "platform": platform}


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_decodes_manifests_of_both_families(media_type: str) -> None:
    for document in (decode(manifest(), media_type), decode(manifest(mediaType=media_type), "")):
        assert isinstance(document, Manifest)
        assert document.layers[0].digest == Digest.of(b"")


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_INDEX])
def test_decodes_indexes_of_both_families(media_type: str) -> None:
    for document in (decode(index(), media_type), decode(index(mediaType=media_type), "application/json")):
        assert isinstance(document, Index)


def test_the_type_may_be_left_out() -> None:
    assert isinstance(decode(manifest(), "application/json; charset=utf-8"), Manifest)
    assert isinstance(decode(index(), ""), Index)


def test_null_lists_are_empty_lists() -> None:
    document = decode(manifest(layers=None, annotations=None), "")
    assert isinstance(document, Manifest)
    assert document.layers == ()


@pytest.mark.parametrize(
    ("data", "media_type", "why"),
    [
        (b"", "", "not JSON"),
        (b"[]", "", "not a JSON object"),
        (b"[" * 100_000, "", "not JSON"),
        (b"\xff\xfe", "", "not JSON"),
        (b"{}", "", "unknown manifest type"),
        (b"{}", OCI_MANIFEST, "config"),
        (manifest(manifests=[]), OCI_MANIFEST, "an index and an image at once"),
        (index(layers=[]), OCI_INDEX, "an index and an image at once"),
        (manifest(mediaType=OCI_INDEX), OCI_MANIFEST, "but was announced as"),
        (manifest(mediaType="application/x-evil"), "", "unknown manifest type 'application/x-evil'"),
        (json.dumps({"schemaVersion": 1, "fsLayers": []}).encode(), "", "old schema 1"),
        (manifest(layers=[{**BLOB, "digest": "sha256:zz"}]), "", "is not a digest"),
        (manifest(layers=[{**BLOB, "size": -1}]), "", "layers.0.size"),
        (manifest(layers=[{**BLOB, "size": 1 << 70}]), "", "layers.0.size"),
        (manifest(layers=[{**BLOB, "size": "5"}]), "", "layers.0.size"),
        (manifest(layers=[BLOB] * 600), "", "layers"),
        (b" " * ((4 << 20) + 1), "", "bytes; 4194304 are allowed"),
    ],
)
def test_refuses_hostile_documents(data: bytes, media_type: str, why: str) -> None:
    with pytest.raises(IntegrityError, match=r"^here|here: ") as caught:
        decode(data, media_type, where="here")
    assert why in str(caught.value)
    assert len(str(caught.value)) < 500


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(
    st.sampled_from(["manifests", "layers", "config", "mediaType", "digest", "size", "platform"]), x)))  # fmt: skip
def test_any_json_gives_a_document_or_an_integrity_error(value: object) -> None:
    for media_type in ("", OCI_MANIFEST, OCI_INDEX):
        try:
            decode(json.dumps(value).encode(), media_type)
        except IntegrityError:
            continue


def test_attestations_are_never_candidates() -> None:
    document = decode(
        index(
            entry({"os": "unknown", "architecture": "unknown"}, b"1"),
            entry({"os": "linux", "architecture": "amd64"}, b"2",
                  annotations={"vnd.docker.reference.type": "attestation-manifest"}),
            entry({"os": "linux", "architecture": "amd64"}, b"3"),
        ),
        "",
    )  # fmt: skip
    assert isinstance(document, Index)
    assert [each.digest for each in document.candidates(AMD64)] == [Digest.of(b"3")]
    assert document.platforms == ("linux/amd64",)


def test_candidates_are_exact_variant_first_and_unnamed_last() -> None:
    document = decode(
        index(
            entry(None, b"0"),
            entry({"os": "linux", "architecture": "arm", "variant": "v6"}, b"6"),
            entry({"os": "linux", "architecture": "arm"}, b"?"),
            entry({"os": "linux", "architecture": "arm", "variant": "v7"}, b"7"),
            entry({"os": "windows", "architecture": "arm", "variant": "v7"}, b"w"),
        ),
        "",
    )
    assert isinstance(document, Index)
    wanted = [each.digest for each in document.candidates(Platform.parse("linux/arm/v7"))]
    assert wanted == [Digest.of(b"7"), Digest.of(b"?"), Digest.of(b"0")]
    first = next(document.candidates(Platform.parse("arm")))
    assert first.digest == Digest.of(b"?")


def test_the_configuration_tells_absent_from_empty() -> None:
    config = ImageConfig.decode(
        b'{"architecture":"amd64","os":"linux","config":{"Cmd":[],"Entrypoint":null,"Env":["A=b"]}}'
    )
    assert (config.cmd, config.entrypoint, config.env, config.labels) == ((), None, ("A=b",), None)
    assert config.platform == AMD64


@pytest.mark.parametrize("data", [b"{}", b'{"config":null,"rootfs":{"diff_ids":null}}'])
def test_an_empty_configuration_is_one(data: bytes) -> None:
    assert ImageConfig.decode(data) == ImageConfig()


@pytest.mark.parametrize("data", [b"", b"[]", b'{"config":{"Cmd":"sh"}}', b'{"config":{"Labels":{"a":1}}}'])
def test_refuses_a_broken_configuration(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        ImageConfig.decode(data, where="config")


def test_a_configuration_survives_its_text() -> None:
    config = ImageConfig(
        architecture="arm64",
        os="linux",
        variant="v8",
        entrypoint=("/bin/a",),
        cmd=(),
        labels={"b": "2", "a": "1"},
        diff_ids=(Digest.of(b"x"),),
    )
    assert ImageConfig.decode(config.encode()) == config
    assert config.encode() == config.encode()


def test_descriptors_are_written_with_the_names_of_the_specification() -> None:
    descriptor = Descriptor(media_type="t", digest=Digest.of(b""), size=0, platform=AMD64)
    assert json.loads(descriptor.encode()) == {
        "mediaType": "t",
        "digest": str(Digest.of(b"")),
        "size": 0,
        "platform": {"os": "linux", "architecture": "amd64"},
    }


@pytest.mark.parametrize(
    ("text", "meaning"),
    [("x86_64", "linux/amd64"), ("arm64", "linux/arm64"), ("linux/aarch64/v8", "linux/arm64/v8")],
)
def test_platforms_are_spelled_in_several_ways(text: str, meaning: str) -> None:
    assert str(Platform.parse(text)) == meaning


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d"])
def test_refuses_what_is_not_a_platform(text: str) -> None:
    with pytest.raises(ConfigError):
        Platform.parse(text)
