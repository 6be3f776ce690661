from __future__ import annotations

import json
import socket

import httpx
import pytest

from moby import http
from moby.errors import ConfigError, RegistryError
from moby.oci.endpoint import parse_mirrors
from moby.oci.manifest import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from moby.oci.reference import Reference
from moby.oci.store import Store
from tests.support.images import image
from tests.support.pulling import AMD64, ARM64, Puller, state
from tests.support.registry import Answer, FakeRegistry, always, blobs


def test_pulls_an_image_by_tag(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    digest = fake.put("org/x", "1", image([{"a": "1"}, {"b": "2"}], {"Cmd": ["/a"]}))
    found = puller.registry.pull(Reference.parse(f"{fake.host}/org/x:1"), AMD64, store)
    assert found.digest == digest
    assert found.config.cmd == ("/a",)
    assert store.names() == (f"{fake.host}/org/x:1",)
    assert store.find(found.reference, AMD64) == found


def test_asks_for_all_four_types_of_manifest(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    fake.put("x", "1", image([{"a": "1"}]))
    puller.pull(f"{fake.host}/x:1", store)
    accept = fake.asked("/manifests/")[0].headers["Accept"]
    assert all(each in accept for each in (OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST))


def test_no_tag_means_latest_and_keeps_the_name_as_written(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    fake.put("x", "latest", image([{"a": "1"}]))
    assert puller.pull(f"{fake.host}/x", store) == ["a"]
    assert store.names() == (f"{fake.host}/x",)


def test_pulls_the_wanted_platform_s_blobs_and_no_others(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    amd, arm = image([{"a": "amd"}]), image([{"a": "arm"}], architecture="arm64")
    root = fake.put("x", "1", [amd, arm])
    puller.pull(f"{fake.host}/x:1", store, ARM64)
    kept = {name.rpartition("/")[2] for name in state(store) if name.startswith("blobs/")}
    assert kept == {each.hex for each in (*arm.blobs, arm.descriptor.digest, root)}
    assert store.find(Reference.parse(f"{fake.host}/x:1"), AMD64) is None
    puller.pull(f"{fake.host}/x:1", store, AMD64)
    assert store.find(Reference.parse(f"{fake.host}/x:1"), ARM64)


def test_attestations_are_not_taken_for_images(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    amd, other = image([{"a": "1"}]), image([{"statement": "{}"}], architecture="unknown")
    attestation = {**other.descriptor.wire(), "platform": {"os": "unknown", "architecture": "unknown"}}
    fake.put("x", "other", other)
    fake.put("x", "amd", amd)
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [attestation, amd.descriptor.wire()]}
    fake.put_manifest("x", "1", OCI_INDEX, json.dumps(document).encode())
    assert puller.pull(f"{fake.host}/x:1", store) == ["a"]
    with pytest.raises(RegistryError, match=r"not there for linux/arm64 .it is there for linux/amd64."):
        puller.pull(f"{fake.host}/x:1", store, ARM64)


def test_an_index_without_platforms_is_judged_by_configurations(
    fake: FakeRegistry, puller: Puller, store: Store
) -> None:
    made = [image([{each: "1"}], architecture=each) for each in ("amd64", "arm64")]
    fake.put("x", "1", made)
    entries = [each.descriptor.changed(platform=None).wire() for each in made]
    fake.put_manifest("x", "1", OCI_INDEX, json.dumps({"schemaVersion": 2, "manifests": entries}).encode())
    assert puller.pull(f"{fake.host}/x:1", store, ARM64) == ["arm64"]


def test_what_is_in_the_store_is_not_downloaded_again(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    fake.put("x", "1", image([{"a": "1"}, {"b": "1"}]))
    fake.put("x", "2", image([{"a": "1"}, {"b": "2"}]))
    puller.pull(f"{fake.host}/x:1", store)
    fake.requests.clear()
    puller.pull(f"{fake.host}/x:2", store)
    assert len(fake.asked("/blobs/")) == 2
    fake.requests.clear()
    puller.pull(f"{fake.host}/x:2", store)
    assert len(fake.asked("/blobs/")) == 0


def test_the_same_layer_twice_is_downloaded_once(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    fake.put("x", "1", image([{"a": "1"}, {"a": "1"}]))
    assert puller.pull(f"{fake.host}/x:1", store) == ["a"]
    assert len(fake.asked("/blobs/")) == 2


def test_a_digest_pins_what_is_pulled(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    digest = fake.put("x", "1", image([{"a": "1"}]))
    fake.put("x", "1", image([{"b": "2"}]))
    name = f"{fake.host}/x:1@{digest}"
    assert puller.pull(name, store) == ["a"]
    assert store.names() == (name,)


# Mirrors and addresses.


def test_a_mirror_is_asked_first_and_the_registry_after_it(client: httpx.Client, store: Store) -> None:
    with FakeRegistry() as cache, FakeRegistry() as fake:
        cache.put("deep/path/x", "1", image([{"mirrored": "1"}]))
        fake.put("x", "1", image([{"original": "1"}]))
        fake.put("x", "2", image([{"original": "2"}]))
        puller = Puller(client, mirrors=[f"{fake.host}={cache.url}/deep/path/"])
        assert puller.pull(f"{fake.host}/x:1", store) == ["mirrored"]
        assert puller.pull(f"{fake.host}/x:2", store) == ["original"]
        with pytest.raises(RegistryError) as caught:
            puller.pull(f"{fake.host}/x:3", store)
        lines = str(caught.value).splitlines()
        assert lines[0] == f"pulling {fake.host}/x:3: "
        assert lines[1].startswith(f"  {cache.url}/v2/deep/path/x/manifests/3: not found")
        assert lines[2].startswith(f"  {fake.url}/v2/x/manifests/3: not found")


def test_a_lying_mirror_is_passed_over(client: httpx.Client, store: Store) -> None:
    with FakeRegistry() as cache, FakeRegistry() as fake:
        cache.put("x", "1", image([{"a": "1"}]))
        cache.rules.append(always(blobs, Answer(body=b"evil")))
        fake.put("x", "1", image([{"a": "1"}]))
        assert Puller(client, mirrors=[cache.url]).pull(f"{fake.host}/x:1", store) == ["a"]


def test_mirrors_are_spelled_as_the_original_does() -> None:
    found = parse_mirrors(
        ["https://all.example/", "docker.io=http://hub.example/p", "a:5000=https://x", "a:5000=https://y"]
    )
    assert found["*"] == "https://all.example"
    assert {key for key, value in found.items() if value == "http://hub.example/p"} == {
        "docker.io", "index.docker.io", "registry-1.docker.io"}  # fmt: skip
    assert found["a:5000"] == "https://y"


@pytest.mark.parametrize("text", ["", "mirror.example", "a=b", "ftp://x", "a=ftp://x", "https://"])
def test_refuses_what_is_not_a_mirror(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a mirror"):
        parse_mirrors([text])


def seen_urls(reference: str, store: Store) -> list[str]:
    """The URLs that a pull asks for when nobody answers."""
    urls: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        urls.append(str(request.url))
        raise httpx.ConnectError("down")

    with http.client(transport=httpx.MockTransport(answer)) as client, pytest.raises(RegistryError):
        Puller(client).pull(reference, store)
    return urls


def test_docker_hub_answers_under_another_name(store: Store) -> None:
    assert seen_urls("alpine", store) == ["https://registry-1.docker.io/v2/library/alpine/manifests/latest"]


def test_only_this_machine_is_spoken_to_without_tls(store: Store) -> None:
    assert seen_urls("host:5000/x:1", store) == ["https://host:5000/v2/x/manifests/1"]
    for host in ("localhost:5000", "127.0.0.1:5000", "127.8.9.1:5000", "[::1]:5000"):
        assert seen_urls(f"{host}/x:1", store)[-1] == f"http://{host}/v2/x/manifests/1"


def test_a_proxy_of_the_environment_is_not_used_for_this_machine(
    fake: FakeRegistry, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    fake.put("x", "1", image([{"a": "1"}]))
    with http.client() as client:
        assert Puller(client).pull(f"{fake.host}/x:1", store) == ["a"]


def test_a_registry_that_is_down_is_named_with_a_hint(puller: Puller, store: Store) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RegistryError) as caught:
            puller.pull(f"{host}/x:1", store)
    text = str(caught.value)
    assert text.startswith(f"pulling {host}/x:1: http://{host}/v2/x/manifests/1: cannot be reached: ")
    assert text.endswith("(is the registry running?)")
    assert not store.root.exists()


@pytest.mark.parametrize(
    ("fault", "hint"),
    [
        ("[Errno -2] Name or service not known", "check the registry's name and your network"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate", "give its certificate authority with --cert-file"),
        ("", "check your network and try again"),
    ],
)
def test_what_keeps_us_from_a_registry_is_explained(store: Store, fault: str, hint: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(fault)

    with http.client(transport=httpx.MockTransport(answer)) as client, pytest.raises(RegistryError) as caught:
        Puller(client).pull("registry.invalid/x:1", store)
    assert hint in str(caught.value)
