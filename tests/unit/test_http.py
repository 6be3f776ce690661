"""The client's TLS: the system's authorities count, and are read when a connection needs them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from moby import http
from tests.support.docker_registry import make_certificate
from tests.support.images import image
from tests.support.registry import FakeRegistry


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server whose certificate is among the system's authorities, here the one of SSL_CERT_FILE."""
    pair = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pair.certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with FakeRegistry(tls=context) as fake:
        fake.put("x", "1", image([{"a": "1"}]))
        yield f"https://{fake.host}/v2/x/manifests/1"


def test_the_systems_authorities_are_trusted(url: str) -> None:
    with http.client() as client:
        assert client.get(url).status_code == 200


def test_a_server_of_no_authority_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with http.client() as client, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        client.get(url)


@pytest.mark.usefixtures("url")
def test_authorities_are_read_by_the_first_connection() -> None:
    context = http.tls()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.cert_store_stats()["x509"] == 0
    context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
    assert context.cert_store_stats()["x509"] > 0
