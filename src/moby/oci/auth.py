"""Answers to a registry's ``401``: which header to send with the next request.

Sources: RFC 9110 section 11 (challenges); the distribution project's token authentication specification and its OAuth2
variant, which identity tokens need. A token is asked for once per repository and set of rights, kept until the registry
refuses it, and never sent to another server.
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

_CLIENT = "moby"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """What to ask a token server: GET with a header, or POST when there is a ``form``."""

    url: str
    authorization: str | None = None
    form: Mapping[str, str] | None = field(default=None, repr=False)


# Sends the request and returns the answer's body.
Fetch = Callable[[TokenRequest], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One way to authenticate that a server offers; ``scheme`` and the parameters' names are lower case."""

    scheme: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Who we are to a registry: a name and password, an ``identity_token`` that buys tokens, or a ``token`` itself."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The header value of RFC 7617."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class Keychain(Protocol):
    """Knows credentials."""

    def credential(self, registry: str, repository: str) -> Credential | None:
        """The credential for a registry as references name it, or None to stay anonymous."""
        ...


class Anonymous:
    """Knows none."""

    def credential(self, registry: str, repository: str) -> Credential | None:
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
        credential = self._keychain.credential(endpoint.registry, endpoint.repository)
        if "bearer" in offers:
            if credential is not None and credential.token:
                return f"Bearer {credential.token}"
            request = token_request(endpoint, offers["bearer"].parameters, credential)
            return "Bearer " + _token(request.url, fetch(request))
        if "basic" in offers and credential is not None and credential.username:
            return credential.basic
        return None


def token_request(endpoint: Endpoint, parameters: Mapping[str, str], credential: Credential | None) -> TokenRequest:
    """How to get a token from the server that a challenge names. Raises ``RegistryError`` for an unsafe address."""
    realm = urlsplit(parameters.get("realm", ""))
    # Tokens are secrets: plain http is for servers of this machine and for registries that are plain themselves.
    plain = realm.scheme == "http" and (endpoint.base.startswith("http:") or is_loopback(realm.netloc))
    if not realm.netloc or not (realm.scheme == "https" or plain):
        what = f"asks for a token from {redact(realm.geturl())[:200]!r}, which is not an https address"
        raise RegistryError(what, where=endpoint.base)
    service = {"service": parameters["service"]} if "service" in parameters else {}
    if credential is not None and credential.identity_token:
        form = {"grant_type": "refresh_token", **service, "client_id": _CLIENT, "scope": " ".join(endpoint.scopes)}
        return TokenRequest(url=realm.geturl(), form={**form, "refresh_token": credential.identity_token})
    named = credential if credential is not None and credential.username else None
    query = [(key, value) for key, value in parse_qsl(realm.query) if key != "scope"]
    query += [*service.items(), *(("scope", each) for each in endpoint.scopes)]
    if named is not None:
        query.append(("account", named.username))
    url = urlunsplit((realm.scheme, realm.netloc, realm.path, urlencode(query), ""))
    return TokenRequest(url=url, authorization=named.basic if named else None)


def _token(url: str, body: bytes) -> str:
    try:
        reply = json.loads(body)
        token = reply.get("token") or reply["access_token"]
    except (ValueError, KeyError, AttributeError) as error:
        raise RegistryError("the token server's answer holds no token", where=redact(url)) from error
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise RegistryError("the token server's answer holds no usable token", where=redact(url))
    return token
