"""TLS of single registries: their authorities and the certificates we show them.

They come from ``--client-cert`` and from the directories that Docker and Podman use: ``certs.d/HOST[:PORT]/`` with
``*.crt`` (authorities), ``*.cert`` and ``*.key`` (pairs of the same name). Source: containers-certs.d(5).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from moby import http
from moby.errors import ConfigError

_SYSTEM = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What one server needs; a ``key`` of None is in the certificate's file."""

    authorities: tuple[Path, ...] = ()
    certificate: Path | None = None
    key: Path | None = None


def parse(text: str) -> tuple[str, Server]:
    """``HOST[:PORT]=CERT[,KEY]`` of ``--client-cert``. Raises ``ConfigError``."""
    host, _, files = text.partition("=")
    certificate, comma, key = files.partition(",")
    if not host or not certificate or (comma and not key):
        fix = "write it like registry.example:5000=cert.pem,key.pem"
        raise ConfigError(f"{text!r} is not a client certificate", where="--client-cert", fix=fix)
    return host, Server(certificate=Path(certificate), key=Path(key) if key else None)


def directories(environment: Mapping[str, str]) -> Iterator[Path]:
    """Where ``certs.d`` may be, the user's own first."""
    home = Path(environment.get("HOME") or Path.home())
    base = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    yield from (base / "containers" / "certs.d", base / "docker" / "certs.d", home / ".docker" / "certs.d")
    yield from _SYSTEM


def found(places: Iterable[Path]) -> dict[str, Server]:
    """The servers that ``certs.d`` directories tell of; the first directory that has one decides."""
    servers: dict[str, Server] = {}
    for place in places:
        for directory in _inside(place):
            if (server := _server(_inside(directory))) and directory.name not in servers:
                servers[directory.name] = server
    return servers


def contexts(servers: Mapping[str, Server], authorities: Iterable[Path]) -> dict[str, ssl.SSLContext]:
    """TLS settings by server; ``authorities`` are trusted by all. Raises ``ConfigError`` for a bad file."""
    common = tuple(authorities)
    return {
        name: http.tls(
            (*common, *server.authorities),
            identity=(server.certificate, server.key) if server.certificate else None,
        )
        for name, server in servers.items()
    }


def _server(files: list[Path]) -> Server | None:
    pairs = [(each, key) for each in files if each.suffix == ".cert" and (key := each.with_suffix(".key")) in files]
    authorities = tuple(each for each in files if each.suffix == ".crt")
    if not pairs and not authorities:
        return None
    shown = dict(zip(("certificate", "key"), pairs[0], strict=True)) if pairs else {}
    return Server(authorities=authorities, **shown)


def _inside(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:  # absent, no directory, or not ours to read
        return []
