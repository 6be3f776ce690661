"""Image references: ``[HOST/]PATH[:TAG][@DIGEST]``, or ``TRANSPORT:FILE[:NAME][@DIGEST]`` for images in files.

Short names expand by the number of their ``/``-separated parts, and no tag is added, because the expanded text is the
name in the store and in what a build writes. Grammar: OCI distribution specification, "Pulling manifests" (name, tag);
containers-transports(5) for files, whose path begins with ``/``, ``./`` or ``../`` here: anything else after ``oci:``
could be a tag or a port.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from moby.errors import ConfigError, IntegrityError
from moby.oci.digest import Digest

_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:.]+\])"
    r"(?::[0-9]{1,5})?",
    re.ASCII,
)
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_FILE = re.compile(
    r"(oci|oci-archive|docker-archive):(\.{0,2}/[^:@\0\n]*)(?::([^\0\n]+?))?(?:@(sha(?:256|512):[0-9a-f]+))?", re.ASCII
)
_MAX_NAME = 255
_MAX_TEXT = 1024
_EXAMPLE = "write it like alpine:3.20, org/name:tag, or host:5000/org/name@sha256:…"


class Transport(enum.StrEnum):
    """How a file holds images."""

    OCI = "oci"
    OCI_ARCHIVE = "oci-archive"
    DOCKER_ARCHIVE = "docker-archive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An image's name, expanded. ``str()`` gives ``expanded``.

    With a ``transport`` the image is in a file: ``repository`` is its path, ``tag`` the name inside it, and there is no
    ``registry``.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None
    transport: Transport | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The reference that ``text`` spells. Raises ``ConfigError`` that says which part is wrong."""
        if len(text) > _MAX_TEXT:
            raise _fault(text, f"it is longer than {_MAX_TEXT} characters")
        if file := _FILE.fullmatch(text):
            return cls(
                registry="",
                repository=file[2],
                tag=file[3],
                digest=_digest(text, file[4] or "", file[4] or ""),
                transport=Transport(file[1]),
            )
        host, _, rest = _expand(text).partition("/")
        name, at, digest = rest.partition("@")
        path, colon, tag = name.partition(":")
        if not _HOST.fullmatch(host):
            raise _fault(text, f"{host!r} is not a registry host")
        if not _PATH.fullmatch(path) or len(host) + 1 + len(path) > _MAX_NAME:
            raise _fault(text, _path_fault(path))
        if colon and not _TAG.fullmatch(tag):
            raise _fault(text, f"{tag!r} is not a tag")
        return cls(registry=host, repository=path, tag=tag if colon else None, digest=_digest(text, digest, at))

    @property
    def expanded(self) -> str:
        """The whole name: the text under which the store and a build's output know it."""
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        place = (
            f"{self.registry}/{self.repository}" if self.transport is None else f"{self.transport}:{self.repository}"
        )
        return f"{place}{tag}{digest}"

    @property
    def locator(self) -> str:
        """What to ask for: the digest when there is one, else the tag, else ``latest`` of a registry."""
        return str(self.digest) if self.digest is not None else self.tag or ("" if self.transport else "latest")

    @property
    def names(self) -> tuple[str, ...]:
        """The names to look for in a store, best first: no tag and ``latest`` are the same image."""
        if self.digest is None and self.tag in (None, "latest") and self.transport is None:
            bare = f"{self.registry}/{self.repository}"
            other = bare if self.tag else f"{bare}:latest"
            return (self.expanded, other)
        return (self.expanded,)

    def __str__(self) -> str:
        return self.expanded


def _expand(text: str) -> str:
    parts = text.split("/")
    if len(parts) == 1:
        return f"docker.io/library/{text}"
    if len(parts) == 2 and not ("." in parts[0] or ":" in parts[0] or parts[0] == "localhost"):
        return f"docker.io/{text}"
    return text


def _fault(text: str, why: str) -> ConfigError:
    return ConfigError(f"{text[:300]!r} is not an image reference: {why}", fix=_EXAMPLE)


def _path_fault(path: str) -> str:
    if "" in path.split("/"):
        return "a part of the name is empty"
    if path != path.lower():
        return f"{path[:255]!r} has upper-case letters"
    if _PATH.fullmatch(path):
        return f"host and name are longer than {_MAX_NAME} characters"
    return f"{path[:255]!r} may hold lower-case letters, digits and single separators (. _ __ -) only"


def _digest(text: str, digest: str, present: str) -> Digest | None:
    if not present:
        return None
    try:
        return Digest.parse(digest)
    except IntegrityError as error:
        raise _fault(text, error.what) from error
