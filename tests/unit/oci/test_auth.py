"""Redirects, tokens and credentials."""

from __future__ import annotations

import json

import httpx
import pytest

from moby.errors import RegistryError
from moby.oci import auth
from moby.oci.endpoint import origin
from moby.oci.manifest import OCI_MANIFEST
from moby.oci.reference import Reference
from moby.oci.store import Store
from tests.support.images import image
from tests.support.pulling import Puller
from tests.support.registry import Answer, FakeRegistry, Request, always, blobs, manifests, once

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

    def credential(self, registry: str, repository: str) -> auth.Credential | None:
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
    keeper = auth.Authorizer(auth.Anonymous())
    endpoint = origin(Reference.parse("ghcr.io/a/b"))
    for realm in ("http://evil.example/token", "file:///x", ""):
        offers = auth.challenges([f'Bearer realm="{realm}"'])
        with pytest.raises(RegistryError, match="not an https address"):
            keeper.renew(endpoint, None, offers, lambda request: b"")


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
