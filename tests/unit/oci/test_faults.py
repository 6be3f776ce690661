"""Registries that lie, cut, stall and fail."""

from __future__ import annotations

import json
import time
from email.utils import formatdate

import httpx
import pytest

from moby.errors import IntegrityError, MobyError, RegistryError
from moby.oci.digest import Digest
from moby.oci.manifest import OCI_INDEX, OCI_MANIFEST
from moby.oci.store import Store
from tests.support.images import image
from tests.support.pulling import AMD64, Puller, big, state
from tests.support.registry import Answer, FakeRegistry, Request, Rule, always, blobs, manifests, once, times

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
    fake: FakeRegistry, puller: Puller, store: Store, rule: Rule, error: type[MobyError], message: str
) -> None:
    name = f"{fake.host}/x:1"
    fake.put("x", "1", image([{"old": "1"}]))
    puller.pull(name, store)
    before = state(store)
    fake.put("x", "1", image([{"new": "1"}, {"new": "2"}]))
    fake.rules.append(rule)
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
