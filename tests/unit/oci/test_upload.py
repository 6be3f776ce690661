"""Blobs on their way up: skipped, mounted, cut and resumed, too large for one request."""

from __future__ import annotations

import random

import httpx
import pytest

from moby.errors import RegistryError
from moby.oci import upload
from moby.oci.digest import Digest
from moby.oci.endpoint import Endpoint
from moby.oci.manifest import OCI_LAYER, Descriptor
from moby.oci.session import Session
from moby.oci.store import Store
from moby.oci.upload import Uploads
from tests.support.registry import Answer, FakeRegistry, Request, always, once, times

DATA = random.Random(1).randbytes(400_000)


def uploads(client: httpx.Client, fake: FakeRegistry, store: Store, **sources: str) -> Uploads:
    endpoint = Endpoint(base=fake.url, repository="x", registry=fake.host).to_write()
    session = Session(client, sleep=lambda seconds: None)
    return Uploads(
        session=session,
        endpoint=endpoint,
        store=store,
        sources={Digest.of(DATA): [each] for each in sources.values()},
    )


@pytest.fixture
def descriptor(store: Store) -> Descriptor:
    return store.put_blob(DATA, OCI_LAYER)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "CHUNK_BYTES", 150_000)


def told(fake: FakeRegistry) -> list[str]:
    """What was asked, without names."""
    return [each.method + (" mount" if "mount" in each.query else "") for each in fake.requests]


def is_put(request: Request) -> bool:
    return request.method == "PUT"


def test_a_blob_goes_in_one_request(
    client: httpx.Client, fake: FakeRegistry, store: Store, descriptor: Descriptor
) -> None:
    uploads(client, fake, store).send([descriptor, descriptor])
    assert fake.blobs == {str(descriptor.digest): DATA}
    assert told(fake) == ["HEAD", "POST", "PUT"]


def test_an_empty_blob_goes_too(client: httpx.Client, fake: FakeRegistry, store: Store) -> None:
    empty = store.put_blob(b"", OCI_LAYER)
    uploads(client, fake, store).send([empty])
    assert fake.blobs == {str(empty.digest): b""}


def test_what_is_there_is_not_sent(
    client: httpx.Client, fake: FakeRegistry, store: Store, descriptor: Descriptor
) -> None:
    fake.blobs[str(descriptor.digest)] = DATA
    fake.uploads.repositories.add(("x", str(descriptor.digest)))
    uploads(client, fake, store).send([descriptor])
    assert told(fake) == ["HEAD"]


def test_a_blob_of_another_repository_is_mounted(
    client: httpx.Client, fake: FakeRegistry, store: Store, descriptor: Descriptor
) -> None:
    fake.uploads.repositories.add(("org/y", str(descriptor.digest)))
    uploads(client, fake, store, source="org/y").send([descriptor])
    assert told(fake) == ["HEAD", "POST mount"]


def test_a_mount_that_is_refused_becomes_an_upload(
    client: httpx.Client, fake: FakeRegistry, store: Store, descriptor: Descriptor
) -> None:
    uploads(client, fake, store, source="org/y").send([descriptor])
    assert told(fake) == ["HEAD", "POST mount", "PUT"]
    fake.blobs.clear()
    fake.requests.clear()
    fake.rules.append(always(lambda request: "mount" in request.query, Answer(status=403)))
    uploads(client, fake, store, source="org/y").send([descriptor])
    assert told(fake) == ["HEAD", "POST mount", "POST", "PUT"]


@pytest.mark.shows("A cut upload goes on where it stopped", by="fake")
@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("cut", [1, 100_000, 399_999])
def test_an_upload_goes_on_where_it_was_cut(
    client: httpx.Client, fake: FakeRegistry, store: Store, descriptor: Descriptor, cut: int
) -> None:
    fake.cuts.append(cut)
    uploads(client, fake, store).send([descriptor])
    assert fake.blobs == {str(descriptor.digest): DATA}
    sent = [len(each.body) for each in fake.requests if each.method == "PATCH"]
    # Of one byte the registry's answer cannot be told from that of an empty upload.
    assert sum(sent) == 400_000 - (cut if cut > 1 else 0)
    assert max(sent) <= 150_000


@pytest.mark.usefixtures("small_chunks")
def test_chunks_are_cut_and_resumed_as_well(
    client: httpx.Client, fake: FakeRegistry, store: Store, descriptor: Descriptor
) -> None:
    fake.cuts += [10_000, 20_000, 30_000, 40_000, 50_000, 60_000, 70_000, 80_000]
    uploads(client, fake, store).send([descriptor])
    assert fake.blobs == {str(descriptor.digest): DATA}
    assert fake.cuts == []


@pytest.mark.usefixtures("small_chunks")
def test_what_is_too_large_for_one_request_goes_in_chunks(
    client: httpx.Client, fake: FakeRegistry, store: Store, descriptor: Descriptor
) -> None:
    fake.uploads.largest = 200_000
    uploads(client, fake, store).send([descriptor])
    assert fake.blobs == {str(descriptor.digest): DATA}
    assert told(fake) == ["HEAD", "POST", "PUT", "GET", "POST", "PATCH", "PATCH", "PATCH", "PUT"]


@pytest.mark.usefixtures("small_chunks")
def test_chunks_are_as_large_as_the_registry_wants(
    client: httpx.Client, fake: FakeRegistry, store: Store, descriptor: Descriptor
) -> None:
    fake.uploads.largest, fake.uploads.least_chunk = 390_000, 300_000
    fake.rules.append(once(lambda request: request.method == "GET", Answer(status=404)))
    uploads(client, fake, store).send([descriptor])
    assert [len(each.body) for each in fake.requests if each.method == "PATCH"] == [300_000, 100_000]


@pytest.mark.usefixtures("small_chunks")
def test_a_chunk_that_does_not_fit_is_asked_about(
    client: httpx.Client, fake: FakeRegistry, store: Store, descriptor: Descriptor
) -> None:
    fake.uploads.largest = 200_000
    fake.rules.append(once(lambda request: request.method == "PATCH", Answer(status=416)))
    uploads(client, fake, store).send([descriptor])
    assert fake.blobs == {str(descriptor.digest): DATA}


@pytest.mark.parametrize("status", [404, 500, 503])
def test_an_upload_that_the_registry_lost_begins_again(
    client: httpx.Client, fake: FakeRegistry, store: Store, descriptor: Descriptor, status: int
) -> None:
    fake.rules.append(times(2, is_put, Answer(status=status)))
    fake.rules.append(
        always(lambda request: "/uploads/" in request.path and request.method == "GET", Answer(status=404))
    )
    uploads(client, fake, store).send([descriptor])
    assert fake.blobs == {str(descriptor.digest): DATA}


def test_a_registry_that_asks_to_wait_is_waited_for(
    client: httpx.Client, fake: FakeRegistry, store: Store, descriptor: Descriptor
) -> None:
    fake.rules.append(times(2, is_put, Answer(status=429, headers={"Retry-After": "1"})))
    uploads(client, fake, store).send([descriptor])
    assert told(fake) == ["HEAD", "POST", "PUT", "PUT", "PUT"]


def test_gives_up_when_nothing_gets_through(
    client: httpx.Client, fake: FakeRegistry, store: Store, descriptor: Descriptor
) -> None:
    fake.cuts += [0] * 20
    with pytest.raises(RegistryError, match="the upload broke 6 times, after 0 of 400000 bytes"):
        uploads(client, fake, store).send([descriptor])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(status=401), "lets us not write there"),
        (Answer(status=202, headers={"Location": "http://host:port/"}), "redirects to"),
        (Answer(status=202, headers={"Location": "file:///x"}), "redirects to"),
        (Answer(status=507), "the registry failed .status 507"),
    ],
)
def test_what_will_not_get_better_is_told(
    client: httpx.Client, fake: FakeRegistry, store: Store, descriptor: Descriptor, answer: Answer, message: str
) -> None:
    fake.rules.append(always(lambda request: request.method == "POST", answer))
    with pytest.raises(RegistryError, match=message):
        uploads(client, fake, store).send([descriptor])


def test_a_damaged_blob_is_noticed_by_the_registry(
    client: httpx.Client, fake: FakeRegistry, store: Store, descriptor: Descriptor
) -> None:
    said = b'{"errors": [{"code": "DIGEST_INVALID", "message": "provided digest did not match"}]}'
    fake.rules.append(always(is_put, Answer(status=400, body=said)))
    with pytest.raises(RegistryError, match=r"got other bytes than announced .* \(moby cache verify"):
        uploads(client, fake, store).send([descriptor])


def test_credentials_do_not_follow_an_upload_to_another_server(
    client: httpx.Client, store: Store, descriptor: Descriptor
) -> None:
    with FakeRegistry(token=True) as fake, FakeRegistry() as elsewhere:
        elsewhere.uploads.sessions["session0"] = bytearray()
        begun = Answer(status=202, headers={"Location": f"{elsewhere.url}/v2/x/blobs/uploads/session0"})
        fake.rules.append(lambda request: begun if request.method == "POST" and request.authorization else None)
        uploads(client, fake, store).send([descriptor])
        assert elsewhere.blobs == {str(descriptor.digest): DATA}
        assert [each.authorization for each in elsewhere.requests] == [""]
