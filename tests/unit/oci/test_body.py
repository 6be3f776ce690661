"""Large bodies read straight from their connection: whole, cut, stalled, too short and too long, plain and with TLS."""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from moby import http
from moby.errors import IntegrityError
from moby.oci import blob, body
from moby.oci.digest import Digest
from moby.oci.store import Store
from tests.support.docker_registry import make_certificate
from tests.support.images import MadeImage, image
from tests.support.pulling import Puller
from tests.support.registry import Answer, FakeRegistry, Request, Rule, once

_SIZE = 7 << 20


@pytest.fixture(scope="module")
def made() -> MadeImage:
    return image([{"large": random.Random(1).randbytes(_SIZE)}], compression="none")


@pytest.fixture
def fake(made: MadeImage) -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.put("x", "1", made)
        yield registry


def layer(made: MadeImage) -> str:
    return f"/blobs/{made.layer_descriptors[0].digest}"


def first(made: MadeImage, answer: Answer) -> Rule:
    return once(lambda request: request.path.endswith(layer(made)), answer)


def ranges(fake: FakeRegistry, made: MadeImage) -> list[str | None]:
    return [request.headers["Range"] for request in fake.asked(layer(made))]


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> list[type]:
    """The kinds of connection that were read from directly."""
    seen: list[type] = []
    receive = body._receive

    def noted(connection: socket.socket, left: int, writer: blob.Writer, arrived: Callable[[int], None]) -> bool:
        seen.append(type(connection))
        return receive(connection, left, writer, arrived)

    monkeypatch.setattr(body, "_receive", noted)
    return seen


def test_a_large_layer_comes_whole_in_one_request(
    fake: FakeRegistry, puller: Puller, store: Store, made: MadeImage, direct: list[type]
) -> None:
    assert puller.pull(f"{fake.host}/x:1", store) == ["large"]
    assert direct == [socket.socket]
    assert ranges(fake, made) == [None]
    with store.open_blob(made.layer_descriptors[0].digest) as stream:
        assert Digest.of(stream.read()) == made.layer_descriptors[0].digest


@pytest.mark.shows("A large download that is cut goes on by Range where it stopped", by="fault")
@pytest.mark.parametrize("cuts", [(1,), (70_000,), (1 << 20, 3 << 20), (_SIZE - 1,)])
def test_a_cut_goes_on_where_it_was(
    fake: FakeRegistry, puller: Puller, store: Store, made: MadeImage, cuts: tuple[int, ...]
) -> None:
    data = made.layers[0]
    done = 0
    for cut in cuts:
        status = {"status": 206, "headers": {"Content-Range": f"bytes {done}-{len(data) - 1}/{len(data)}"}}
        fake.rules.append(first(made, Answer(body=data[done:], cut=cut, **status if done else {})))  # type: ignore[arg-type]  # two fields
        done += cut
    assert puller.pull(f"{fake.host}/x:1", store) == ["large"]
    sums = [sum(cuts[: number + 1]) for number in range(len(cuts))]
    assert ranges(fake, made) == [None, *(f"bytes={each}-" for each in sums)]


def test_a_stall_in_the_middle_ends_and_goes_on(fake: FakeRegistry, store: Store, made: MadeImage) -> None:
    fake.rules.append(first(made, Answer(body=made.layers[0], cut=5 << 20, stall_s=1)))
    with httpx.Client(timeout=0.3) as impatient:
        assert Puller(impatient).pull(f"{fake.host}/x:1", store) == ["large"]
    assert ranges(fake, made) == [None, f"bytes={5 << 20}-"]


@pytest.mark.parametrize("change", [-1, 1, 1 << 20], ids=["short", "long", "longer"])
def test_a_lie_about_the_length_is_refused(
    fake: FakeRegistry, puller: Puller, store: Store, made: MadeImage, change: int
) -> None:
    data = made.layers[0]
    lie = data[:change] if change < 0 else data + b"x" * change
    fake.rules.append(first(made, Answer(body=lie)))
    with pytest.raises(IntegrityError, match="does not match its digest"):
        puller.pull(f"{fake.host}/x:1", store)
    assert list((store.root / "ingest").iterdir()) == []
    assert puller.pull(f"{fake.host}/x:1", store) == ["large"]


def test_altered_bytes_are_refused(fake: FakeRegistry, puller: Puller, store: Store, made: MadeImage) -> None:
    altered = bytearray(made.layers[0])
    altered[6 << 20] ^= 1
    fake.rules.append(first(made, Answer(body=bytes(altered))))
    with pytest.raises(IntegrityError, match="does not match its digest"):
        puller.pull(f"{fake.host}/x:1", store)
    assert not store.has(made.layer_descriptors[0])


def test_a_pull_that_fails_elsewhere_stops_in_the_middle(
    fake: FakeRegistry, puller: Puller, store: Store, made: MadeImage
) -> None:
    both = image([{"large": made.layers[0]}, {"small": "1"}], compression="none")
    fake.put("y", "1", both)

    def lie(request: Request) -> Answer | None:
        return Answer(body=b"?") if request.path.endswith(str(both.layer_descriptors[1].digest)) else None

    fake.rules += [lie, once(lambda request: "/blobs/" in request.path, Answer(body=b"", length=1, cut=0, stall_s=0.2))]
    with pytest.raises(IntegrityError, match="does not match its digest"):
        puller.pull(f"{fake.host}/y:1", store)
    assert list((store.root / "ingest").iterdir()) == []


def test_tls_is_no_different(store: Store, made: MadeImage, tmp_path: Path, direct: list[type]) -> None:
    certificate = make_certificate(tmp_path)
    settings = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    settings.load_cert_chain(certificate.certificate, certificate.key)
    with FakeRegistry(tls=settings) as fake, http.client(certificates=[certificate.certificate]) as client:
        fake.put("x", "1", made)
        fake.rules.append(first(made, Answer(body=made.layers[0], cut=3 << 20)))
        assert Puller(client).pull(f"{fake.host}/x:1", store) == ["large"]
        assert ranges(fake, made) == [None, f"bytes={3 << 20}-"]
    assert direct == [ssl.SSLSocket]
