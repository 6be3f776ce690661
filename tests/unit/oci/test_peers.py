"""Our store and our pull against programs that are not ours: Debian's docker-registry and skopeo."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from moby import http
from moby.errors import RegistryError
from moby.oci import layers
from moby.oci.digest import Digest
from moby.oci.image import Image
from moby.oci.manifest import Platform
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.store import Store
from tests.support.docker_registry import Certificate, docker_registry, make_certificate, skopeo
from tests.support.images import image, vector_images

AMD64, ARM64 = Platform.parse("amd64"), Platform.parse("arm64")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def pull(reference: str, store: Store, platform: Platform = AMD64, *certificates: Path) -> Image:
    with http.client(certificates=certificates) as client:
        return Registry(lambda: client).pull(Reference.parse(reference), platform, store)


def push(store: Store, name: str, host: str, to: str, *more: str) -> None:
    skopeo("copy", "-q", *more, "--dest-tls-verify=false", f"oci:{store.root}:{name}", f"docker://{host}/{to}")


@pytest.mark.shows("Images that skopeo pushed to docker-registry are pulled with the same digests", by="peer")
def test_what_skopeo_pushed_is_pulled_with_the_same_digests(plain: str, store: Store, tmp_path: Path) -> None:
    source = Store(tmp_path / "source")
    name = "localhost/made:1"
    made = [
        image([{"a": each}, {"b": "2"}], {"Cmd": [each]}, architecture=each).save(source, name)
        for each in ("amd64", "arm64")
    ]
    push(source, name, plain, "org/multi:1", "--all")
    (root,) = source.descriptors(name)
    for expected, platform in zip(made, (AMD64, ARM64), strict=True):
        found = pull(f"{plain}/org/multi:1", store, platform)
        assert (found.digest, found.layers, found.config) == (expected.digest, expected.layers, expected.config)
    assert [each.digest for each in store.descriptors(f"{plain}/org/multi:1")] == [root.digest]
    pinned = pull(f"{plain}/org/multi@{root.digest}", Store(tmp_path / "other"), ARM64)
    assert pinned.digest == made[1].digest


def test_the_images_of_the_vectors_survive_the_way(plain: str, store: Store, tmp_path: Path) -> None:
    source = vector_images(tmp_path / "source")
    for name in source.names()[:2]:
        to = "vectors/" + name.rpartition("/")[2]
        push(source, name, plain, to)
        found = pull(f"{plain}/{to}", store)
        before = source.find(Reference.parse(name), AMD64)
        assert before is not None
        assert [entry.path for entry in layers.entries(store, found)] == [
            entry.path for entry in layers.entries(source, before)
        ]


def test_docker_s_own_manifest_types_are_pulled(plain: str, store: Store, tmp_path: Path) -> None:
    source = Store(tmp_path / "source")
    image([{"a": "1"}]).save(source, "localhost/made:1")
    push(source, "localhost/made:1", plain, "docker:1", "--format=v2s2")
    found = pull(f"{plain}/docker:1", store)
    assert found.layers[0].media_type == "application/vnd.docker.image.rootfs.diff.tar.gzip"
    assert [entry.path for entry in layers.entries(store, found)] == ["a"]
    assert store.find(found.reference, AMD64) == found


def test_zstd_layers_are_pulled(plain: str, store: Store, tmp_path: Path) -> None:
    source = Store(tmp_path / "source")
    image([{"a": "1"}]).save(source, "localhost/made:1")
    push(source, "localhost/made:1", plain, "zstd:1", "--dest-compress-format=zstd", "--dest-compress")
    assert [entry.path for entry in layers.entries(store, pull(f"{plain}/zstd:1", store))] == ["a"]


@pytest.mark.shows("skopeo reads the image store", by="peer")
def test_skopeo_reads_what_we_stored(plain: str, store: Store, tmp_path: Path) -> None:
    source = Store(tmp_path / "source")
    saved = image([{"a": "1"}]).save(source, "localhost/made:1")
    push(source, "localhost/made:1", plain, "back:1")
    pull(f"{plain}/back:1", store)
    raw = skopeo("inspect", "--raw", f"oci:{store.root}:{plain}/back:1")
    assert Digest.of(raw.encode()) == saved.digest
    skopeo("copy", "-q", f"oci:{store.root}:{plain}/back:1", f"dir:{tmp_path}/dir")
    assert Digest.of((tmp_path / "dir" / "manifest.json").read_bytes()) == saved.digest


@pytest.mark.shows("Layouts that skopeo wrote are used as they are", by="peer")
def test_we_read_what_skopeo_stored(tmp_path: Path) -> None:
    source = Store(tmp_path / "source")
    saved = image([{"a": "1"}], {"Cmd": ["/a"]}).save(source, "localhost/made:1")
    skopeo("copy", "-q", f"oci:{source.root}:localhost/made:1", f"oci:{tmp_path}/theirs:docker.io/library/x:1")
    found = Store(tmp_path / "theirs").find(Reference.parse("x:1"), AMD64)
    assert found is not None
    assert (found.digest, found.config) == (saved.digest, saved.config)


def test_an_unknown_image_is_not_found(plain: str, store: Store) -> None:
    with pytest.raises(RegistryError, match=r"not found .status 404, MANIFEST_UNKNOWN: manifest unknown"):
        pull(f"{plain}/nobody/has:this", store)


@pytest.mark.shows("A registry with a private certificate authority", by="peer")
def test_https_on_this_machine_needs_its_certificate_authority(
    certificate: Certificate, store: Store, tmp_path: Path
) -> None:
    source = Store(tmp_path / "source")
    saved = image([{"a": "1"}]).save(source, "localhost/made:1")
    (tmp_path / "registry").mkdir()
    with docker_registry(tmp_path / "registry", tls=certificate) as host:
        push(source, "localhost/made:1", host, "x:1")
        with pytest.raises(RegistryError, match="give its certificate authority with --cert-file PEM"):
            pull(f"{host}/x:1", store)
        assert pull(f"{host}/x:1", store, AMD64, certificate.certificate).digest == saved.digest


class Cutting(httpx.BaseTransport):
    """Breaks the first answer that is longer than 1000 bytes after 1000 bytes, and keeps the ranges asked for."""

    def __init__(self) -> None:
        self._inner = httpx.HTTPTransport()
        self._cut = False
        self.ranges: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        if "range" in request.headers:
            self.ranges.append(request.headers["range"])
        if not self._cut and int(response.headers.get("content-length", 0)) > 1000 and "/blobs/" in request.url.path:
            self._cut = True
            return httpx.Response(200, headers=response.headers, stream=_Broken(response))
        return response

    def close(self) -> None:
        self._inner.close()


class _Broken(httpx.SyncByteStream):
    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        yield next(self._response.iter_raw(1000))
        raise httpx.ReadError("cut")

    def close(self) -> None:
        self._response.close()


@pytest.mark.shows("A cut download goes on where it stopped", by="peer")
def test_the_real_server_resumes_a_cut_download(plain: str, store: Store, tmp_path: Path) -> None:
    source = Store(tmp_path / "source")
    saved = image([{"a": random.Random(1).randbytes(5000)}]).save(source, "localhost/made:1")
    push(source, "localhost/made:1", plain, "range:1")
    cutting = Cutting()
    with http.client(transport=cutting) as client:
        registry = Registry(lambda: client, sleep=lambda seconds: None)
        found = registry.pull(Reference.parse(f"{plain}/range:1"), AMD64, store)
    assert found.layers == saved.layers
    assert cutting.ranges == ["bytes=1000-"]
