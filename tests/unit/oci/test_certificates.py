"""TLS of single registries: certs.d, --client-cert, --plain-http."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from moby.context import Context
from moby.errors import ConfigError, RegistryError
from moby.oci import certificates
from moby.oci.certificates import Server
from moby.oci.manifest import Platform
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.store import Store
from tests.support.docker_registry import Certificate, make_certificate
from tests.support.images import image
from tests.support.registry import FakeRegistry

AMD64 = Platform.parse("amd64")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def server_side(pair: Certificate, *, ask: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    if ask:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pair.certificate)
    return context


def pull(context: Context, host: str, store: Store) -> None:
    with Registry.connect(context) as registry:
        registry.pull(Reference.parse(f"{host}/x:1"), AMD64, store)


def test_the_authority_of_certs_d_is_for_its_registry_alone(pair: Certificate, tmp_path: Path, store: Store) -> None:
    context = Context.from_environment({"HOME": str(tmp_path)})
    tls = server_side(pair, ask=False)
    with FakeRegistry(tls=tls) as fake, FakeRegistry(tls=server_side(pair, ask=False)) as other:
        directory = tmp_path / ".config/containers/certs.d" / fake.host
        directory.mkdir(parents=True)
        (directory / "ca.crt").write_bytes(pair.certificate.read_bytes())
        for each in (fake, other):
            each.put("x", "1", image([{"a": "1"}]))
        pull(context, fake.host, store)
        with pytest.raises(RegistryError, match="--cert-file"):
            pull(context, other.host, store)


def test_a_client_certificate_is_shown(pair: Certificate, tmp_path: Path, store: Store) -> None:
    with FakeRegistry(tls=server_side(pair, ask=True)) as fake:
        fake.put("x", "1", image([{"a": "1"}]))
        bare = Context.from_environment({"HOME": str(tmp_path)}, certificates=[pair.certificate])
        with pytest.raises(RegistryError, match="--client-cert"):
            pull(bare, fake.host, store)
        shown = Context.from_environment(
            {"HOME": str(tmp_path)},
            certificates=[pair.certificate],
            client_certificates=[f"{fake.host}={pair.certificate},{pair.key}"],
        )
        pull(shown, fake.host, store)


def test_reads_the_directories_of_docker_and_podman(tmp_path: Path) -> None:
    def touch(*names: str) -> None:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    touch(
        "one/a:5000/ca.crt", "one/a:5000/client.cert", "one/a:5000/client.key", "one/b/other.cert", "two/a:5000/z.crt"
    )
    touch("two/c/x.crt", "two/c/y.crt", "two/file")
    one, two = tmp_path / "one", tmp_path / "two"
    assert certificates.found([one, two, tmp_path / "none"]) == {
        "a:5000": Server(
            authorities=(one / "a:5000/ca.crt",),
            certificate=one / "a:5000/client.cert",
            key=one / "a:5000/client.key",
        ),
        "c": Server(authorities=(two / "c/x.crt", two / "c/y.crt")),
    }


def test_client_certificates_are_spelled_with_or_without_a_key() -> None:
    assert certificates.parse("a:1=x.pem") == ("a:1", Server(certificate=Path("x.pem")))
    assert certificates.parse("a=x,y") == ("a", Server(certificate=Path("x"), key=Path("y")))
    for text in ("", "a", "a=", "=x", "a=x,"):
        with pytest.raises(ConfigError, match="is not a client certificate"):
            certificates.parse(text)


def test_a_bad_client_certificate_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("nonsense")
    for path in (bad, tmp_path / "none.pem"):
        with pytest.raises(ConfigError, match="cannot use client certificate"):
            certificates.contexts({"a": Server(certificate=path)}, ())


def test_plain_http_is_for_the_registries_named() -> None:
    context = Context.from_environment({"MOBY_PLAIN_HTTP": "one:5000, two"}, plain_http=["three"])
    registry = Registry.connect(context)
    hosts = ("one:5000", "two", "three", "four")
    bases = [registry.origin(Reference.parse(f"{host}/org/x")).endpoint.base for host in hosts]
    assert bases == ["http://one:5000", "http://two", "http://three", "https://four"]
