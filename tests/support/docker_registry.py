"""Debian's ``docker-registry`` on a loopback port, and ``skopeo`` to talk to it: the outside parties of the pull."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from moby import proc

_READY_S = 20


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """PEM files of a self-signed certificate for this machine's loopback names."""

    certificate: Path
    key: Path


def make_certificate(directory: Path) -> Certificate:
    """A certificate for ``localhost`` and ``127.0.0.1`` that lasts a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    made = Certificate(certificate=directory / "ca.crt", key=directory / "key.pem")
    made.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


# What htpasswd -B makes of the name alice and the password secret.
HTPASSWD = "alice:$2b$04$UpPMogxnYpMigps76lT7ded77Mu5utuNjJlL.zrJ81DHqynsVymFS\n"


def htpasswd(directory: Path) -> dict[str, object]:
    """The server's setting that lets in alice with the password secret only."""
    path = directory / "htpasswd"
    path.write_text(HTPASSWD)
    return {"htpasswd": {"realm": "basic-realm", "path": str(path)}}


@contextlib.contextmanager
def docker_registry(
    directory: Path,
    *,
    tls: Certificate | None = None,
    auth: dict[str, object] | None = None,
    clients: Path | None = None,
) -> Iterator[str]:
    """Run the server with its data in ``directory``; gives ``127.0.0.1:PORT``.

    ``auth`` is the server's setting of that name; ``clients`` the authority that clients must show a certificate of.
    Fails with the package's name when the server is not installed.
    """
    program = proc.find("docker-registry", fix="scripts/test installs the Debian package docker-registry")
    host = f"127.0.0.1:{_free_port()}"
    http: dict[str, object] = {"addr": host}
    if tls is not None:
        http["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
        if clients is not None:
            http["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key), "clientcas": [str(clients)]}
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": True}},
        "http": http,
        **({"auth": auth} if auth else {}),
    }
    file, output = directory / "config.yml", directory / "log"
    file.write_text(json.dumps(config))
    with output.open("wb") as log, proc.start([program, "serve", file], stdout=log, stderr=log) as server:
        try:
            _wait(host, output)
            yield host
        finally:
            server.terminate()
            server.wait(10)


def skopeo(*words: str | Path) -> str:
    """Run skopeo and give what it printed."""
    program = proc.find("skopeo", fix="scripts/test installs the Debian package skopeo")
    return proc.run([program, "--insecure-policy", *words], timeout_s=60).decode()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _wait(host: str, output: Path) -> None:
    name, _, port = host.partition(":")
    end = time.monotonic() + _READY_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((name, int(port)), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"docker-registry did not start: {output.read_text()[-2000:]}")
