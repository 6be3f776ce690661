"""Manifests, indexes and configurations that mean harm, from a registry and in a store that somebody else filled."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable

import pytest

from moby.errors import IntegrityError, MobyError, RegistryError
from moby.oci import blob
from moby.oci.digest import Digest
from moby.oci.manifest import OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, decode
from moby.oci.reference import Reference
from moby.oci.store import Store
from tests.support.flat import NAME, collect
from tests.support.images import image
from tests.support.pulling import AMD64, Puller, state
from tests.support.registry import Answer, FakeRegistry, always, manifests

MAX_BYTES = 100 << 20
MAX_S = 60
OTHER = Digest.of(b"other")


def limited(act: Callable[[], object], error: type[MobyError], message: str) -> str:
    """What ``act`` is refused for; it may take neither much memory nor long."""
    tracemalloc.start()
    begin = time.process_time()
    with pytest.raises(error, match=message) as caught:
        act()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MAX_BYTES
    assert time.process_time() - begin < MAX_S
    return str(caught.value)


@pytest.mark.parametrize("announced", [None, 600, 1 << 62])
def test_a_manifest_of_100_megabytes_is_not_read(
    fake: FakeRegistry, puller: Puller, store: Store, announced: int | None
) -> None:
    fake.rules.append(always(manifests, Answer(body=b" " * (100 << 20), length=announced)))
    message = "not JSON" if announced == 600 else "larger than 4194304 bytes"
    limited(lambda: puller.pull(f"{fake.host}/x:1", store), MobyError, message)
    assert not store.root.exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[" * 1_000_000, "not JSON"),
        (b'{"a":' * 100_000, "not JSON"),
        (b'{"schemaVersion": 2, "config": {"digest": "sha256:' + b"0" * 64 + b'", "size": 1e400}}', "config.size"),
        (b'{"schemaVersion": 2, "config": {"digest": "sha256:' + b"0" * 64 + b'", "size": -1}}', "config.size"),
        (b'{"schemaVersion": 2, "config": {"digest": "sha256:' + b"0" * 64 + b'", "size": "1"}}', "config.size"),
        (b'{"schemaVersion": 2, "config": {"digest": "md5:0", "size": 1}}', "config.digest"),
        (b'{"schemaVersion": 2, "config": {"digest": "sha256:../../etc/passwd", "size": 1}}', "config.digest"),
        (b'{"schemaVersion": 2, "config": {"digest": "../x", "size": 1}}', "config.digest"),
        (b'{"schemaVersion": ' + b"9" * 5000 + b', "config": 1}', "not JSON|config"),
        (b'{"mediaType": "text/html"}', "unknown manifest type 'text/html'"),
        (b'{"mediaType": ["a"], "config": 7}', "mediaType"),
        (b'{"mediaType": "application/vnd.oci.empty.v1+json"}', "unknown manifest type"),
        (b'{"schemaVersion": 1, "fsLayers": []}', "schema 1"),
        (b'{"manifests": [], "layers": []}', "an index and an image at once"),
        (b'{"manifests": [{}]}', "manifests.0.digest"),
        (b"\xff\xfe{}", "not JSON"),
        (b'"' + b"x" * 1000 + b'"', "not a JSON object"),
        (b"", "not JSON"),
    ],
)
def test_what_is_no_manifest_is_refused_with_the_place(data: bytes, message: str) -> None:
    said = limited(lambda: decode(data, "", where="manifest sha256:1"), IntegrityError, message)
    assert said.startswith("manifest sha256:1: ")
    assert len(said) < 600


def test_more_layers_than_any_engine_makes_are_refused() -> None:
    layer = Descriptor(media_type=OCI_LAYER_GZIP, digest=OTHER, size=1).wire()
    document = {"schemaVersion": 2, "config": layer, "layers": [layer] * 20_000}
    limited(lambda: decode(json.dumps(document).encode(), OCI_MANIFEST), IntegrityError, "layers: .*at most 512")


def entries(count: int, entry: Descriptor) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry.wire()] * count}).encode()


def below(data: bytes) -> Descriptor:
    return Descriptor(media_type=OCI_INDEX, digest=Digest.of(data), size=len(data), platform=AMD64)


@pytest.mark.parametrize("count", [20, 2_000])
def test_indexes_that_point_at_one_another_many_times_end(
    fake: FakeRegistry, puller: Puller, store: Store, count: int
) -> None:
    """Many ways to a second index, from there as many to a third, and so on."""
    data = entries(0, below(b""))
    for _ in range(4):
        fake.put_manifest("x", "1", OCI_INDEX, data)
        data = entries(count, below(data))
    fake.put_manifest("x", "1", OCI_INDEX, data)
    limited(lambda: puller.pull(f"{fake.host}/x:1", store), IntegrityError, "lead to more than 256 manifests")
    assert len(fake.requests) < 300


def test_an_index_that_says_it_is_its_own_child_is_not_believed(
    fake: FakeRegistry, puller: Puller, store: Store
) -> None:
    loop = Descriptor(media_type=OCI_INDEX, digest=OTHER, size=0, platform=AMD64)
    data = entries(1, loop.changed(size=len(entries(1, loop)) + 2))
    assert json.loads(data)["manifests"][0]["size"] == len(data)
    fake.put_manifest("x", "1", OCI_INDEX, data)
    fake.put_manifest("x", str(OTHER), OCI_INDEX, data)
    fake.manifests["x", str(OTHER)] = (OCI_INDEX, data)
    limited(lambda: puller.pull(f"{fake.host}/x:1", store), IntegrityError, "does not match its digest")


def test_loops_in_a_store_that_somebody_filled_end(store: Store) -> None:
    data = entries(0, below(b""))
    for _ in range(5):
        store.put_blob(data, OCI_INDEX)
        data = entries(10_000, below(data))
    store.tag(NAME, store.put_blob(data, OCI_INDEX))
    begin = time.monotonic()
    assert store.find(Reference.parse(NAME), AMD64) is None
    assert time.monotonic() - begin < MAX_S


def test_a_huge_manifest_in_the_store_is_not_read(store: Store) -> None:
    store.put_blob(b"{}", OCI_CONFIG)
    path = blob.path(store.root, OTHER)
    with path.open("wb") as stream:
        stream.truncate(100 << 20)
    store.tag(NAME, Descriptor(media_type=OCI_MANIFEST, digest=OTHER, size=100 << 20))
    limited(lambda: store.find(Reference.parse(NAME), AMD64), IntegrityError, "larger than 4194304 bytes")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (b"", "not JSON"),
        (b"[]", "not an image index"),
        (b'{"manifests": {}}', "manifests is not a list"),
        (b'{"manifests": [{"annotations": {"org.opencontainers.image.ref.name": "a"}, "digest": 1}]}', "a: "),
    ],
)
def test_a_broken_index_of_the_store_is_said(store: Store, index: bytes, message: str) -> None:
    image([{"a": "1"}]).save(store, NAME)
    (store.root / "index.json").write_bytes(index)
    limited(lambda: store.find(Reference.parse(NAME), AMD64), IntegrityError, f"the image store is damaged: {message}")


@pytest.mark.parametrize("media_type", ["", "application/vnd.docker.plugin.v1+json", "text/plain"])
def test_layers_of_unknown_types_are_refused_by_name(
    fake: FakeRegistry, puller: Puller, store: Store, media_type: str
) -> None:
    made = image([{"a": "1"}])
    document = json.loads(made.manifest)
    document["layers"][0]["mediaType"] = media_type
    fake.put("x", "1", made)
    fake.put_manifest("x", "1", OCI_MANIFEST, json.dumps(document).encode())
    said = limited(lambda: puller.pull(f"{fake.host}/x:1", store), IntegrityError, "layer of unknown type")
    assert str(made.layer_descriptors[0].digest) in said


@pytest.mark.parametrize(
    "config",
    [b"", b"[]", b"{" * 100_000, b'{"config": {"Cmd": "sh"}}', b'{"config": {"Env": [1]}}', b'{"rootfs": 1}'],
)
def test_what_is_no_configuration_is_refused(fake: FakeRegistry, puller: Puller, store: Store, config: bytes) -> None:
    made = image([{"a": "1"}])
    document = json.loads(made.manifest)
    document["config"] |= {"digest": str(Digest.of(config)), "size": len(config)}
    fake.put("x", "1", made)
    fake.blobs[str(Digest.of(config))] = config
    fake.put_manifest("x", "1", OCI_MANIFEST, json.dumps(document).encode())
    fake.rules.append(lambda each: Answer(body=config) if each.path.endswith(Digest.of(config).hex) else None)
    limited(lambda: puller.pull(f"{fake.host}/x:1", store), IntegrityError, str(Digest.of(config)))
    assert store.names() == ()


@pytest.mark.parametrize("change", [-1, 1, 1 << 40])
def test_layers_of_another_size_than_announced_are_refused(
    fake: FakeRegistry, puller: Puller, store: Store, change: int
) -> None:
    made = image([{"a": "1"}])
    document = json.loads(made.manifest)
    document["layers"][0]["size"] += change
    fake.put("x", "1", made)
    fake.put_manifest("x", "1", OCI_MANIFEST, json.dumps(document).encode())
    said = limited(lambda: puller.pull(f"{fake.host}/x:1", store), IntegrityError, "does not match its digest")
    assert str(made.layer_descriptors[0].digest) in said
    assert not blob.path(store.root, made.layer_descriptors[0].digest).exists()
    fake.put("x", "1", made)
    assert puller.pull(f"{fake.host}/x:1", store) == ["a"]


def test_names_from_a_registry_never_become_paths(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    """A digest is the only text that names a file, and it is 64 or 128 hexadecimal digits."""
    made = image([{"a": "1"}])
    document = json.loads(made.manifest)
    for hostile in ("sha256:" + "../" * 21 + "x", "sha256:" + "A" * 64, "sha512:" + "0" * 64, "SHA256:" + "0" * 64):
        document["layers"][0]["digest"] = hostile
        fake.put_manifest("x", "1", OCI_MANIFEST, json.dumps(document).encode())
        limited(lambda: puller.pull(f"{fake.host}/x:1", store), IntegrityError, "layers.0.digest")
    assert not store.root.exists()


def test_a_hostile_pull_leaves_good_images_as_they_are(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    saved = image([{"good": "1"}]).save(store, NAME)
    before = state(store)
    fake.put_manifest("x", "1", OCI_INDEX, entries(300, below(entries(0, below(b"")))))
    with pytest.raises(RegistryError, match="not found"):
        puller.pull(f"{fake.host}/x:1", store)
    assert state(store) == before
    assert [each.path for each in collect(store, saved)] == ["good"]
