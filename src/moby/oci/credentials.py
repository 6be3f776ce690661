"""Who we are to a registry, as Docker's and Podman's own files say: no login command of our own.

Files, the first with an answer wins: ``REGISTRY_AUTH_FILE``, ``DOCKER_CONFIG/config.json`` (else ``~/.docker``), and
Podman's ``containers/auth.json`` in ``XDG_RUNTIME_DIR`` and in the configuration directory. In a file: the registry's
own helper (``credHelpers``), the common one (``credsStore``), then ``auths``.

Sources: the manuals docker-login(1), "Credential helpers", and containers-auth.json(5), also for keys with a path.
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from moby import log
from moby.errors import CommandError, ConfigError
from moby.oci.wire import Fields, Malformed, loads, mapping, text, texts

if TYPE_CHECKING:
    from moby.oci.auth import Credential

_HUB = "docker.io"
_HUB_NAMES = frozenset((_HUB, "index.docker.io", "registry-1.docker.io"))
# The name under which Docker's own tools keep what is for Docker Hub.
_HUB_KEY = "https://index.docker.io/v1/"
_HELPER = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_HELPER_S = 30
_MAX_BYTES = 4 << 20
# What a helper calls the user when the secret is an identity token.
_TOKEN_USER = "<token>"
_UNKNOWN = b"credentials not found"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Auth:
    auth: str
    username: str
    password: str
    identitytoken: str
    registrytoken: str

    @classmethod
    def read(cls, value: object, place: str) -> _Auth:
        found = Fields(value, place)
        return cls(**{each.name: found.get(each.name, text, "") for each in fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    auths: Mapping[str, _Auth]
    helpers: Mapping[str, str]
    store: str

    @classmethod
    def read(cls, value: object) -> _File:
        found = Fields(value)
        auths = found.option("auths", mapping) or {}
        return cls(
            auths={key: _Auth.read(each, f"auths.{key}") for key, each in auths.items()},
            helpers=found.option("credHelpers", texts) or {},
            store=found.get("credsStore", text, ""),
        )


class Logins:
    """The logins of this user. ``environment`` says where files are and is what helpers run in.

    Implements ``Keychain``: each registry's question is answered from the files once. Raises ``ConfigError`` for a file
    that cannot be understood; a helper that fails is reported and the registry is spoken to anonymously.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._files: tuple[tuple[Path, _File], ...] | None = None
        self._answers: dict[tuple[str, str], Credential | None] = {}
        self._lock = threading.Lock()

    def credential(self, registry: str, repository: str) -> Credential | None:
        """What the files have for this repository, else for a part of its path, else for its registry."""
        name = _HUB if registry in _HUB_NAMES else registry
        with self._lock:
            if (name, repository) not in self._answers:
                found = (self._from(path, file, name, repository) for path, file in self._loaded())
                self._answers[name, repository] = next(filter(None, found), None)
            return self._answers[name, repository]

    def _loaded(self) -> tuple[tuple[Path, _File], ...]:
        if self._files is None:
            self._files = tuple((path, file) for path in paths(self._environment) if (file := _read(path)))
        return self._files

    def _from(self, path: Path, file: _File, registry: str, repository: str) -> Credential | None:
        helpers = {_plain(key): name for key, name in file.helpers.items()}
        helper = helpers.get(registry) or file.store
        found = self._ask(helper, registry, path) if helper else None
        if found is not None:
            return found
        auths = {_plain(key): auth for key, auth in file.auths.items()}
        for key in _keys(registry, repository):
            if key in auths and (found := _decode(auths[key], f"{path} (auths.{key})")):
                return found
        return None

    def _ask(self, helper: str, registry: str, path: Path) -> Credential | None:
        """What a credential helper has: it reads the server's name from stdin and writes JSON."""
        from moby import proc  # as below: most builds speak to no registry
        from moby.oci.auth import Credential

        if not _HELPER.fullmatch(helper):
            raise ConfigError(f"{helper[:80]!r} is not the name of a credential helper", where=str(path))
        server = _HUB_KEY if registry == _HUB else registry
        program = f"docker-credential-{helper}"
        try:
            said = proc.run([program, "get"], stdin=server.encode(), env=self._environment, timeout_s=_HELPER_S)
            answer = Fields(loads(said))
            username, secret = answer.need("Username", text), answer.need("Secret", text)
        except CommandError as error:
            if _UNKNOWN not in error.output:
                log.info(f"{path}: {error.what}; going on without credentials for {registry}")
            return None
        except Malformed:
            log.info(f"{path}: {program} gave no credentials that can be read; going on without for {registry}")
            return None
        if username == _TOKEN_USER:
            return Credential(identity_token=secret)
        return Credential(username=username, password=secret) if username else None


def paths(environment: Mapping[str, str]) -> Iterator[Path]:
    """Where logins may be kept, best first; most of these files do not exist."""
    home = Path(environment.get("HOME") or Path.home())
    if named := environment.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    yield Path(environment.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"
    yield Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json"


def _read(path: Path) -> _File | None:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        log.info(f"cannot read {path}: {error.strerror}; going on without its logins")
        return None
    try:
        return _File.read(loads(data or b"{}"))
    except Malformed as error:
        raise ConfigError("not a file of registry logins that can be read", where=str(path), fix="mend it") from error


def _plain(key: str) -> str:
    """A key without the scheme and version that Docker once wrote; Docker Hub has one name."""
    name = key.partition("://")[2] or key
    name = name.rstrip("/")
    for version in ("/v1", "/v2"):
        name = name.removesuffix(version)
    host, slash, rest = name.partition("/")
    return (_HUB if host in _HUB_NAMES else host) + slash + rest


def _keys(registry: str, repository: str) -> Iterator[str]:
    """``host/a/b``, ``host/a``, ``host``."""
    name = f"{registry}/{repository}"
    while name != registry:
        yield name
        name = name.rpartition("/")[0]
    yield registry


def _decode(auth: _Auth, where: str) -> Credential | None:
    """The credential of an entry of ``auths``; None for one that only marks a login kept by a helper."""
    from moby.oci.auth import Credential

    username, password = auth.username, auth.password
    if auth.auth:
        try:
            username, _, password = base64.b64decode(auth.auth, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ConfigError("its auth is not base64", where=where, fix="log in again") from error
    if not (username or auth.identitytoken or auth.registrytoken):
        return None
    return Credential(
        username=username,
        password=password.rstrip("\0"),
        identity_token=auth.identitytoken,
        token=auth.registrytoken,
    )
