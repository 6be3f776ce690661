"""A token server for Debian's registry: JSON Web Tokens signed with RS256, as the distribution project specifies.

It knows alice (password secret, or the identity token ``refresh-me``), who may do anything, and lets everybody pull.
"""

from __future__ import annotations

import base64
import datetime
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

_ISSUER = "moby-auth"
_SERVICE = "moby-test"
_BASIC = "Basic " + base64.b64encode(b"alice:secret").decode()
IDENTITY = "refresh-me"


@dataclass(kw_only=True)
class TokenServer:
    """``auth`` is the registry's setting; ``asked`` the method and the parameters of every request."""

    auth: dict[str, object]
    asked: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)


@contextmanager
def token_server(directory: Path) -> Iterator[TokenServer]:
    """Serve on a loopback port until the block ends."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    certificate = _certificate(key)
    bundle = directory / "token.pem"
    bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    asked: list[tuple[str, dict[str, list[str]]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            asked.append(("GET", query))
            self._answer(query.get("scope", []), self.headers.get("Authorization"), _BASIC)

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            asked.append(("POST", form))
            scopes = form.get("scope", [""])[0].split()
            self._answer(scopes, form.get("refresh_token", [""])[0], IDENTITY)

        def _answer(self, scopes: list[str], shown: str | None, wanted: str) -> None:
            if shown not in (None, wanted):
                self.send_response(401)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            token = _token(key, certificate, scopes, known=shown is not None)
            body = json.dumps({"access_token": token, "expires_in": 300}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    realm = f"http://127.0.0.1:{server.server_port}/token"
    setting = {"realm": realm, "service": _SERVICE, "issuer": _ISSUER, "rootcertbundle": str(bundle)}
    try:
        yield TokenServer(auth={"token": setting}, asked=asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _ISSUER)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(hours=1))
    return builder.not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())


def _token(key: rsa.RSAPrivateKey, certificate: x509.Certificate, scopes: list[str], *, known: bool) -> str:
    now = int(datetime.datetime.now(datetime.UTC).timestamp())
    chain = [base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()]
    header = {"typ": "JWT", "alg": "RS256", "x5c": chain}
    claims = {
        "iss": _ISSUER,
        "sub": "alice" if known else "",
        "aud": _SERVICE,
        "exp": now + 300,
        "nbf": now - 10,
        "iat": now,
        "jti": str(now),
        "access": [_access(scope, known=known) for scope in scopes],
    }
    signed = f"{_base64(json.dumps(header).encode())}.{_base64(json.dumps(claims).encode())}"
    return f"{signed}.{_base64(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _access(scope: str, *, known: bool) -> dict[str, object]:
    kind, name, actions = scope.split(":")
    return {"type": kind, "name": name, "actions": [each for each in actions.split(",") if known or each == "pull"]}


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
