"""Answers to a registry's ``401``: which header to send with the next request.

Sources: RFC 9110 section 11 (challenges), the distribution project's token authentication specification. A token is
asked for once per repository, kept until the registry refuses it, and never sent to another server.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from moby.errors import RegistryError
from moby.http import redact
from moby.oci.endpoint import Endpoint, is_loopback

_ELEMENT = re.compile(r"""([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))|([A-Za-z0-9_-]+)""")
_MAX_HEADER = 8192

# Gets a URL with an Authorization header (or none) and returns the body.
Fetch = Callable[[str, str | None], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One way to authenticate that a server offers; ``scheme`` and the parameters' names are lower case."""

    scheme: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Who we are to a registry."""

    username: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The header value of RFC 7617."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class Keychain(Protocol):
    """Knows credentials."""

    def credential(self, registry: str) -> Credential | None:
        """The credential for a registry as references name it, or None to stay anonymous."""
        ...


class Anonymous:
    """Knows none."""

    def credential(self, registry: str) -> Credential | None:
        """None."""


def challenges(headers: Iterable[str]) -> list[Challenge]:
    """What ``WWW-Authenticate`` headers offer; several may share one header."""
    found: list[Challenge] = []
    for header in headers:
        parameters: dict[str, str] = {}
        for name, quoted, plain, word in _ELEMENT.findall(header[:_MAX_HEADER]):
            if word:
                parameters = {}
                found.append(Challenge(scheme=word.lower(), parameters=parameters))
            else:
                parameters[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) or plain
    return found


class Authorizer:
    """Remembers, for each repository, the header that its registry accepted. Threads may share it."""

    def __init__(self, keychain: Keychain) -> None:
        self._keychain = keychain
        self._headers: dict[Endpoint, str] = {}
        self._lock = threading.Lock()

    def header(self, endpoint: Endpoint) -> str | None:
        """The value of ``Authorization`` to send, if any."""
        return self._headers.get(endpoint)

    def renew(self, endpoint: Endpoint, refused: str | None, offers: Iterable[Challenge], fetch: Fetch) -> bool:
        """Get a header in place of the ``refused`` one. False when there is no way to get a better one.

        Raises ``RegistryError`` when the token server does not answer as it should.
        """
        with self._lock:
            if self._headers.get(endpoint) != refused:
                return True  # another thread was faster
            header = self._header(endpoint, {each.scheme: each for each in offers}, fetch)
            if header is None or header == refused:
                return False
            self._headers[endpoint] = header
            return True

    def _header(self, endpoint: Endpoint, offers: Mapping[str, Challenge], fetch: Fetch) -> str | None:
        credential = self._keychain.credential(endpoint.registry)
        if "bearer" in offers:
            url = _token_url(endpoint, offers["bearer"].parameters, credential)
            return "Bearer " + _token(url, fetch(url, credential.basic if credential else None))
        if "basic" in offers and credential is not None:
            return credential.basic
        return None


def _token_url(endpoint: Endpoint, parameters: Mapping[str, str], credential: Credential | None) -> str:
    realm = urlsplit(parameters.get("realm", ""))
    # Tokens are secrets: plain http is for servers of this machine and for registries that are plain themselves.
    plain = realm.scheme == "http" and (endpoint.base.startswith("http:") or is_loopback(realm.netloc))
    if not realm.netloc or not (realm.scheme == "https" or plain):
        what = f"asks for a token from {redact(realm.geturl())[:200]!r}, which is not an https address"
        raise RegistryError(what, where=endpoint.base)
    query = dict(parse_qsl(realm.query))
    if "service" in parameters:
        query["service"] = parameters["service"]
    query["scope"] = f"repository:{endpoint.repository}:pull"
    if credential is not None:
        query["account"] = credential.username
    return urlunsplit((realm.scheme, realm.netloc, realm.path, urlencode(query), ""))


def _token(url: str, body: bytes) -> str:
    try:
        reply = json.loads(body)
        token = reply.get("token") or reply["access_token"]
    except (ValueError, KeyError, AttributeError) as error:
        raise RegistryError("the token server's answer holds no token", where=redact(url)) from error
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise RegistryError("the token server's answer holds no usable token", where=redact(url))
    return token
