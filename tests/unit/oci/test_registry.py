from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest
from tests.support.images import MadeImage, image
from tests.support.registry import Answer, FakeRegistry, Request, always, blobs, manifests, once, times

from moby import http
from moby.errors import ConfigError, IntegrityError, MobyError, RegistryError
from moby.oci import auth, layers
from moby.oci.digest import Digest
from moby.oci.endpoint import parse_mirrors
from moby.oci.manifest import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Platform
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.store import Store

AMD64, ARM64 = Platform.parse("amd64"), Platform.parse("arm64")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with http.client() as made:
        yield made


class Puller:
    """Pulls, and remembers how long it would have slept."""

    def __init__(self, client: httpx.Client, **options: object) -> None:
        self.slept: list[float] = []
        self.registry = Registry(lambda: client, sleep=self.slept.append, **options)  # type: ignore[arg-type]

    def pull(self, text: str, store: Store, platform: Platform = AMD64) -> list[str]:
        found = self.registry.pull(Reference.parse(text), platform, store)
        return [entry.path for entry in layers.entries(store, found)]


@pytest.fixture
def puller(client: httpx.Client) -> Puller:
    return Puller(client)


def big(fill: str = "x") -> MadeImage:
    """An image whose only layer is large enough to be cut."""
    return image([{"big": fill * 300_000}], compression="none")


def state(store: Store) -> dict[str, bytes]:
    """Every file but the lock, by name."""
    return {
        str(path.relative_to(store.root)): path.read_bytes()
        for path in store.root.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


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
    entries = [each.descriptor.model_copy(update={"platform": None}).wire() for each in made]
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


# Lies. Nothing of them reaches the store.


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        (always(manifests, Answer(body=b"{}", headers={"Docker-Content-Digest": str(Digest.of(b"x"))})),
         IntegrityError, "does not match its digest: expected sha256:2d71"),
        (always(manifests, Answer(body=b"{}", headers={"Docker-Content-Digest": "sha256:x"})),
         RegistryError, "broken digest"),
        (always(manifests, Answer(body=b"<html>")), IntegrityError, "not JSON"),
        (always(manifests, Answer(body=b"{}", headers={"Content-Type": OCI_MANIFEST})), IntegrityError, "config"),
        (always(manifests, Answer(body=b" " * ((4 << 20) + 1))), RegistryError, "larger than 4194304 bytes"),
        (always(manifests, Answer(length=100 << 20, body=b" ", cut=1)), RegistryError, "larger than 4194304 bytes"),
        (always(blobs, Answer(body=b"x")), IntegrityError, r"expected sha256:\w+ \(\d+ bytes\), got sha256:\w+ \(1 b"),
        (always(blobs, Answer(body=b"x" * 100_000)), IntegrityError, "does not match"),
        (always(blobs, Answer(status=204)), IntegrityError, r"\(0 bytes\)"),
        (always(blobs, Answer(status=404, body=b"gone")), RegistryError, "not found .status 404"),
    ],
)  # fmt: skip
def test_a_lie_ends_the_pull_and_leaves_the_store_as_it_was(
    fake: FakeRegistry, puller: Puller, store: Store, rule: object, error: type[MobyError], message: str
) -> None:
    name = f"{fake.host}/x:1"
    fake.put("x", "1", image([{"old": "1"}]))
    puller.pull(name, store)
    before = state(store)
    fake.put("x", "1", image([{"new": "1"}, {"new": "2"}]))
    fake.rules.append(rule)  # type: ignore[arg-type]
    with pytest.raises(error, match=message) as caught:
        puller.pull(name, store)
    assert str(caught.value).startswith(f"pulling {name}: http://{fake.host}/v2/x/")
    assert state(store) == before
    fake.rules.clear()
    assert puller.pull(name, store) == ["new"]


def test_a_pinned_digest_that_is_not_met_shows_both_sides(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    wanted = Digest.of(b"something else")
    fake.put("x", "1", image([{"a": "1"}]))
    fake.manifests["x", str(wanted)] = fake.manifests["x", "1"]
    with pytest.raises(IntegrityError, match=rf"expected {wanted}, got sha256:\w+ \(\d+ bytes\)"):
        puller.pull(f"{fake.host}/x@{wanted}", store)


def test_a_child_manifest_must_have_the_announced_size(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    made = image([{"a": "1"}])
    fake.put("x", "1", made)
    entry = {**made.descriptor.wire(), "size": made.descriptor.size + 1}
    fake.put_manifest("x", "1", OCI_INDEX, json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
    with pytest.raises(IntegrityError, match="does not match its digest"):
        puller.pull(f"{fake.host}/x:1", store)


def test_indexes_nested_without_end_are_refused(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    entry = image([{"a": "1"}]).descriptor.wire()
    for _ in range(6):
        data = json.dumps({"schemaVersion": 2, "manifests": [{**entry, "platform": AMD64.wire()}]}).encode()
        digest = fake.put_manifest("x", "1", OCI_INDEX, data)
        entry = {"mediaType": OCI_INDEX, "digest": str(digest), "size": len(data)}
    with pytest.raises(RegistryError, match="not there for linux/amd64"):
        puller.pull(f"{fake.host}/x:1", store)


def test_a_huge_configuration_is_refused_before_it_is_read(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    document = json.loads(image([{"a": "1"}]).manifest)
    document["config"]["size"] = 1 << 40
    fake.put_manifest("x", "1", OCI_MANIFEST, json.dumps(document).encode())
    with pytest.raises(IntegrityError, match="configuration of 1099511627776 bytes"):
        puller.pull(f"{fake.host}/x:1", store)
    assert not fake.asked("/blobs/")


# Faults that pass.


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_passing_faults_are_tried_again_with_growing_waits(
    fake: FakeRegistry, puller: Puller, store: Store, status: int
) -> None:
    fake.put("x", "1", image([{"a": "1"}]))
    fake.rules.append(times(3, manifests, Answer(status=status)))
    assert puller.pull(f"{fake.host}/x:1", store) == ["a"]
    assert puller.slept == [0.5, 1, 2]


def test_waits_as_long_as_it_is_told(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    fake.put("x", "1", image([{"a": "1"}]))
    soon = formatdate(time.time() + 30, usegmt=True)
    fake.rules.append(once(manifests, Answer(status=429, headers={"Retry-After": "7"})))
    fake.rules.append(once(manifests, Answer(status=503, headers={"Retry-After": soon})))
    assert puller.pull(f"{fake.host}/x:1", store) == ["a"]
    assert puller.slept[0] == 7
    assert 20 < puller.slept[1] <= 31


def test_does_not_wait_for_hours(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    fake.rules.append(always(manifests, Answer(status=429, headers={"Retry-After": "86400"})))
    with pytest.raises(RegistryError, match="too many requests"):
        puller.pull(f"{fake.host}/x:1", store)
    assert puller.slept == []


def test_gives_up_on_a_fault_that_stays(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    fake.rules.append(always(manifests, Answer(status=500, body=b'{"errors": [{"code": "UNKNOWN"}]}')))
    with pytest.raises(RegistryError, match=r"the registry failed .status 500, UNKNOWN"):
        puller.pull(f"{fake.host}/x:1", store)
    assert len(fake.asked("/manifests/")) == 5


def test_a_cut_download_goes_on_where_it_stopped(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    made = big()
    fake.put("x", "1", made)
    path = f"/blobs/{made.layer_descriptors[0].digest}"
    cut = Answer(body=made.layers[0], cut=100_000)
    fake.rules.append(once(lambda request: request.path.endswith(path), cut))
    assert puller.pull(f"{fake.host}/x:1", store) == ["big"]
    assert [request.headers["Range"] for request in fake.asked(path)] == [None, "bytes=100000-"]


def test_a_server_without_ranges_starts_again(client: httpx.Client, store: Store) -> None:
    with FakeRegistry(ranges=False) as fake:
        made = big()
        fake.put("x", "1", made)
        path = f"/blobs/{made.layer_descriptors[0].digest}"
        cut = Answer(body=made.layers[0], cut=100_000)
        fake.rules.append(once(lambda request: request.path.endswith(path), cut))
        assert Puller(client).pull(f"{fake.host}/x:1", store) == ["big"]
        assert len(fake.asked(path)) == 2


def test_a_server_that_resumes_elsewhere_is_not_believed(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    made = big()
    data = made.layers[0]
    fake.put("x", "1", made)
    wrong = Answer(status=206, headers={"Content-Range": f"bytes 5-{len(data) - 1}/{len(data)}"}, body=data[5:])
    fake.rules += [
        once(lambda request: "Range" in request.headers, wrong),
        once(lambda request: request.path.endswith(str(Digest.of(data))), Answer(body=data, cut=100_000)),
    ]
    with pytest.raises(IntegrityError, match="does not match its digest"):
        puller.pull(f"{fake.host}/x:1", store)


def test_a_server_that_always_cuts_is_given_up(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    fake.put("x", "1", big())
    fake.rules.append(always(blobs, Answer(body=b"x", length=300_000, cut=1)))
    with pytest.raises(RegistryError, match=r"the connection broke 8 times, after 1 of \d+ bytes"):
        puller.pull(f"{fake.host}/x:1", store)
    assert list((store.root / "ingest").iterdir()) == []


def test_a_stalled_download_goes_on(store: Store, fake: FakeRegistry) -> None:
    made = big()
    fake.put("x", "1", made)
    path = f"/blobs/{made.layer_descriptors[0].digest}"

    def stall(request: Request) -> Answer | None:
        if request.path.endswith(path) and "Range" not in request.headers:
            time.sleep(0.6)
        return None

    fake.rules.append(stall)
    fake.rules.append(once(lambda request: request.path.endswith(path), Answer(body=made.layers[0], cut=100)))
    with httpx.Client(timeout=0.3) as impatient:
        with pytest.raises(RegistryError, match="cannot be reached: timed out"):
            Puller(impatient).pull(f"{fake.host}/x:1", store)
        fake.rules.remove(stall)
        assert Puller(impatient).pull(f"{fake.host}/x:1", store) == ["big"]


# Redirects and credentials.


def test_redirects_to_a_blob_store_carry_no_credentials(client: httpx.Client, store: Store) -> None:
    with FakeRegistry(token=True) as fake, FakeRegistry() as cdn:
        fake.put("x", "1", image([{"a": "1"}]))
        cdn.blobs = fake.blobs

        def redirect(request: Request) -> Answer | None:
            if not blobs(request) or not request.authorization:
                return None
            return Answer(status=307, headers={"Location": f"{cdn.url}{request.path}?X-Amz-Signature=secret"})

        fake.rules.append(redirect)
        assert Puller(client).pull(f"{fake.host}/x:1", store) == ["a"]
        assert len(cdn.requests) == 2
        assert not any(request.authorization for request in cdn.requests)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("/v2/x/manifests/1", "more than 5 redirects"),
        ("", "redirects to ''"),
        ("file:///etc/passwd", "redirects to 'file:///etc/passwd'"),
        ("http://host:port/", "Invalid URL in location header"),
    ],
)
def test_refuses_bad_redirects(fake: FakeRegistry, puller: Puller, store: Store, location: str, message: str) -> None:
    fake.rules.append(always(manifests, Answer(status=302, headers={"Location": location})))
    with pytest.raises(RegistryError, match=message):
        puller.pull(f"{fake.host}/x:1", store)


def test_secrets_in_redirects_stay_out_of_messages(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    location = "ftp://user:hunter2@host/x?X-Amz-Signature=hunter2"
    fake.rules.append(always(manifests, Answer(status=302, headers={"Location": location})))
    with pytest.raises(RegistryError) as caught:
        puller.pull(f"{fake.host}/x:1", store)
    assert "hunter2" not in str(caught.value)


def test_an_anonymous_token_is_fetched_once_and_used(client: httpx.Client, store: Store) -> None:
    with FakeRegistry(token=True) as fake:
        fake.put("x", "1", image([{each: "1"} for each in "abcdef"]))
        assert len(Puller(client).pull(f"{fake.host}/x:1", store)) == 6
        (asked,) = fake.asked("/token")
        assert dict(asked.query) == {"service": "fake", "scope": "repository:x:pull"}
        assert asked.authorization == ""


def test_a_token_that_runs_out_is_renewed(client: httpx.Client, store: Store) -> None:
    with FakeRegistry(token=True) as fake:
        fake.put("x", "1", image([{"a": "1"}]))

        def run_out(request: Request) -> None:
            if blobs(request):
                fake.token = "second-token"

        fake.rules.append(run_out)
        assert Puller(client).pull(f"{fake.host}/x:1", store) == ["a"]
        assert len(fake.asked("/token")) == 2


class Keys:
    def __init__(self, registry: str) -> None:
        self.registry = registry

    def credential(self, registry: str) -> auth.Credential | None:
        return auth.Credential(username="alice", password="secret") if registry == self.registry else None


def test_a_credential_is_sent_to_its_registry_only_when_asked(client: httpx.Client, store: Store) -> None:
    with FakeRegistry() as fake:
        fake.put("x", "1", image([{"a": "1"}]))
        basic = auth.Credential(username="alice", password="secret").basic
        ask = Answer(status=401, headers={"WWW-Authenticate": 'Basic realm="x, y"'})
        fake.rules.append(always(lambda request: request.authorization != basic, ask))
        assert Puller(client, keychain=Keys(fake.host)).pull(f"{fake.host}/x:1", store) == ["a"]
        assert fake.requests[0].authorization == ""
        with pytest.raises(RegistryError, match=r"does not exist, or not for us .status 401"):
            Puller(client, keychain=Keys("other")).pull(f"{fake.host}/x:2", store)


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"{}", "holds no token"), (b"[]", "holds no token"), (b'{"token": 5}', "no usable token"),
     (b'{"token": "a\\r\\nX: y"}', "no usable token"), (b" " * (2 << 20), "larger than")],
)  # fmt: skip
def test_refuses_bad_answers_of_a_token_server(client: httpx.Client, store: Store, body: bytes, message: str) -> None:
    with FakeRegistry(token=True) as fake:
        fake.rules.append(always(lambda request: request.path == "/token", Answer(body=body)))
        with pytest.raises(RegistryError, match=message):
            Puller(client).pull(f"{fake.host}/x:1", store)


def test_the_authorizer_asks_no_plain_token_server_for_a_remote_registry() -> None:
    from moby.oci.endpoint import origin

    keeper = auth.Authorizer(auth.Anonymous())
    endpoint = origin(Reference.parse("ghcr.io/a/b"))
    for realm in ("http://evil.example/token", "file:///x", ""):
        offers = auth.challenges([f'Bearer realm="{realm}"'])
        with pytest.raises(RegistryError, match="not an https address"):
            keeper.renew(endpoint, None, offers, lambda url, header: b"")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"',
         [("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:x:pull,push"})]),
        ('Basic realm="a \\"b\\"", Bearer realm=x',
         [("basic", {"realm": 'a "b"'}), ("bearer", {"realm": "x"})]),
        ("Negotiate", [("negotiate", {})]),
        ("", []),
    ],
)  # fmt: skip
def test_reads_challenges(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(each.scheme, dict(each.parameters)) for each in auth.challenges([header])] == expected


def test_foreign_layers_come_from_their_own_places_over_https_only(
    fake: FakeRegistry, puller: Puller, store: Store
) -> None:
    made = image([{"a": "1"}])
    document = json.loads(made.manifest)
    fake.put("x", "1", made)
    path = f"/v2/x/blobs/{document['layers'][0]['digest']}"
    document["layers"][0]["urls"] = ["http://plain.example/layer", "https://localhost:1/layer"]
    fake.put_manifest("x", "1", OCI_MANIFEST, json.dumps(document).encode())
    fake.rules.append(once(lambda request: request.path == path, Answer(status=404)))
    with pytest.raises(RegistryError, match="https://localhost:1/layer: cannot be reached"):
        puller.pull(f"{fake.host}/x:1", store)


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
