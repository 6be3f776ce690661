"""Where a reference's registry answers: the registry itself and the mirrors put before it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from moby.errors import ConfigError
from moby.oci.reference import Reference

# Docker Hub's name in references is not the name of its API.
_API_HOSTS = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}
_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
_EVERY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One server's view of one repository. ``base`` is scheme, host and port; ``registry`` whose credentials apply.

    ``writing`` asks for the right to push; ``sources`` are repositories of the same server to mount blobs from.
    """

    base: str
    repository: str
    registry: str
    writing: bool = False
    sources: tuple[str, ...] = ()

    @property
    def scopes(self) -> tuple[str, ...]:
        """What a token must allow (distribution project, "Token Scope Documentation")."""
        actions = "pull,push" if self.writing else "pull"
        return (
            f"repository:{self.repository}:{actions}",
            *(f"repository:{each}:pull" for each in self.sources if each != self.repository),
        )

    def url(self, kind: str, name: str) -> str:
        """Where a manifest, a blob or what refers to a digest is (OCI distribution specification, "Pull")."""
        return f"{self.base}/v2/{self.repository}/{kind}/{name}"

    def to_write(self, *sources: str) -> Endpoint:
        """The same place with the right to push, and to mount blobs of ``sources``."""
        return replace(self, writing=True, sources=sources)


def parse_mirrors(texts: Iterable[str]) -> Mapping[str, str]:
    """``[REGISTRY=]URL`` texts as a mapping; later ones win, ``*`` is for registries without their own.

    Raises ``ConfigError`` for a URL that is not http or https.
    """
    mirrors: dict[str, str] = {}
    for text in texts:
        name, equals, url = text.partition("=")
        if not equals or "://" in name:
            name, url = _EVERY, text
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            fix = "write it like docker.io=https://mirror.example"
            raise ConfigError(f"{text!r} is not a mirror", where="--mirror", fix=fix)
        name = name.rstrip("/")
        mirrors.update(dict.fromkeys(_HUB if name == "docker.io" else (name,), url.rstrip("/")))
    return mirrors


def mirror(reference: Reference, mirrors: Mapping[str, str]) -> Endpoint | None:
    """The mirror for a reference; a path in its URL goes before the repository's name."""
    url = mirrors.get(reference.registry) or mirrors.get(_EVERY)
    if url is None:
        return None
    parts = urlsplit(url)
    repository = f"{parts.path.strip('/')}/{reference.repository}".lstrip("/")
    return Endpoint(base=f"{parts.scheme}://{parts.netloc}", repository=repository, registry=parts.netloc)


def origin(reference: Reference, *, scheme: str = "https") -> Endpoint:
    """The registry that the reference names."""
    host = _API_HOSTS.get(reference.registry, reference.registry)
    return Endpoint(base=f"{scheme}://{host}", repository=reference.repository, registry=reference.registry)


def is_loopback(registry: str) -> bool:
    """Whether the registry runs on this machine, where plain http is as good as https."""
    host = urlsplit(f"//{registry}").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
