"""A Docker or Podman engine of this machine, asked over its socket for an image as ``docker save`` would write it.

Source: Docker Engine API 1.40, "ImageInspect" and "ImageGet", which Podman serves too.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from moby import http, log
from moby.errors import RegistryError
from moby.oci import archive, local
from moby.oci.image import Image
from moby.oci.manifest import Platform
from moby.oci.pull import Pull
from moby.oci.reference import Reference
from moby.oci.store import Store

if TYPE_CHECKING:
    import httpx
    from _typeshed import WriteableBuffer

# What the store calls an image of the engine: this and its name.
PREFIX = "docker-engine:"
_RUNNING = "is the engine running? DOCKER_HOST says where it listens"
_MAX_ANSWER_BYTES = 4 << 20
# An engine may pack the whole image before its first byte comes.
_SAVE_S = 600


class _Inspected(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    id: str = Field(alias="Id")
    os: str = Field("", alias="Os")
    architecture: str = Field("", alias="Architecture")
    variant: str = Field("", alias="Variant")

    @property
    def platform(self) -> Platform:
        return Platform(os=self.os, architecture=self.architecture, variant=self.variant or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The engine at ``address``, a URL as ``DOCKER_HOST`` has it; nothing is opened before it is asked."""

    address: str
    environment: Mapping[str, str]

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Engine:
        """The engine that the user's settings mean, else the one whose socket is there."""
        return cls(address=address(environment), environment=environment)

    def image(self, reference: Reference, platform: Platform, store: Store) -> Image:
        """The engine's image of this name for ``platform``, copied into ``store`` when it changed.

        Raises ``RegistryError`` when the engine does not answer or has no such image, ``IntegrityError`` when what it
        gives is not what it said.
        """
        if reference.digest is not None:
            raise RegistryError("not asked for a digest: it keeps no manifests of registries", where=self.address)
        with self._client() as client:
            found = self._inspect(client, reference)
            if not platform.accepts(found.platform):
                raise RegistryError(f"it has the image for {found.platform} only", where=self.address)
            name, notes = f"{PREFIX}{reference}", {local.SOURCE: found.id}
            kept = local.kept(store, name, reference, platform, found.id)
            if kept is not None:
                return kept
            with log.step(f"Copying {reference} from {self.address}"):
                contents = self._save(client, reference, store)
                images = local.docker_images(contents, store)
                place = local.Layout(images=images, where=self.address, store=store)
                pull = Pull(
                    place=place,
                    reference=reference,
                    platform=platform,
                    store=store,
                    locator="",
                    name=name,
                    notes=notes,
                )
                return pull.run()

    def _inspect(self, client: httpx.Client, reference: Reference) -> _Inspected:
        with self._asked(client, f"/images/{quote(str(reference), safe='/:')}/json") as response:
            data = b"".join(_bounded(response))
        try:
            return _Inspected.model_validate_json(data)
        except ValidationError as error:
            raise RegistryError("its answer is not that of a Docker engine", where=self.address) from error

    def _save(self, client: httpx.Client, reference: Reference, store: Store) -> archive.Contents:
        with self._asked(client, f"/images/{quote(str(reference), safe='/:')}/get") as response:
            stream = io.BufferedReader(_Body(response), 1 << 20)
            return archive.read(store, cast(BinaryIO, stream), where=f"{self.address} ({reference})")

    @contextlib.contextmanager
    def _asked(self, client: httpx.Client, path: str) -> Iterator[httpx.Response]:
        import httpx

        try:
            with client.stream("GET", path) as response:
                if response.status_code != 200:
                    raise RegistryError(_said(response), where=self.address)
                yield response
        except httpx.TransportError as error:
            raise RegistryError(f"cannot be reached: {error}", where=self.address, fix=_RUNNING) from error

    def _client(self) -> httpx.Client:
        import httpx

        parts = urlsplit(self.address)
        timeout = httpx.Timeout(_SAVE_S, connect=10)
        if parts.scheme == "unix":
            if not Path(parts.path).exists():
                raise RegistryError("cannot be reached: no such socket", where=self.address, fix=_RUNNING)
            # The host is of no matter; Docker's own client writes this one.
            return httpx.Client(
                transport=httpx.HTTPTransport(uds=parts.path), base_url="http://localhost", timeout=timeout
            )
        if parts.scheme not in ("tcp", "http", "https") or not parts.netloc:
            raise RegistryError("not an address of an engine that can be spoken to", where=self.address)
        secure = parts.scheme == "https" or bool(self.environment.get("DOCKER_TLS_VERIFY"))
        base = f"{'https' if secure else 'http'}://{parts.netloc}"
        return httpx.Client(verify=self._tls() if secure else True, base_url=base, timeout=timeout, trust_env=False)

    def _tls(self) -> ssl.SSLContext:
        """The certificates of ``DOCKER_CERT_PATH``, as Docker's client uses them."""
        directory = Path(self.environment.get("DOCKER_CERT_PATH") or _home(self.environment) / ".docker")
        authority, certificate, key = (directory / name for name in ("ca.pem", "cert.pem", "key.pem"))
        return http.tls(
            [authority] if authority.exists() else [], identity=(certificate, key) if certificate.exists() else None
        )


def address(environment: Mapping[str, str], exists: Callable[[Path], bool] = Path.exists) -> str:
    """Where the engine listens: ``DOCKER_HOST``, ``CONTAINER_HOST``, Docker's context, the first socket there is."""
    for name in ("DOCKER_HOST", "CONTAINER_HOST"):
        if environment.get(name):
            return environment[name]
    if chosen := _context(environment):
        return chosen
    sockets = list(_sockets(environment))
    return f"unix://{next(filter(exists, sockets), sockets[0])}"


def _sockets(environment: Mapping[str, str]) -> Iterator[Path]:
    yield Path("/var/run/docker.sock")
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        yield from (Path(runtime) / "docker.sock", Path(runtime) / "podman" / "podman.sock")
    yield from (_home(environment) / ".docker/run/docker.sock", Path("/run/podman/podman.sock"))


def _context(environment: Mapping[str, str]) -> str | None:
    """The host of Docker's current context, a file whose folder is named after the hash of the context's name."""
    directory = Path(environment.get("DOCKER_CONFIG") or _home(environment) / ".docker")
    try:
        name = (
            environment.get("DOCKER_CONTEXT") or json.loads((directory / "config.json").read_bytes())["currentContext"]
        )
        folder = hashlib.sha256(name.encode()).hexdigest()
        meta = json.loads((directory / "contexts/meta" / folder / "meta.json").read_bytes())
        return str(meta["Endpoints"]["docker"]["Host"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None  # no context, or "default", which has no file


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or Path.home())


def _said(response: httpx.Response) -> str:
    """The engine's words about a failure."""
    data = b"".join(_bounded(response))
    try:
        text = str(json.loads(data)["message"])
    except (ValueError, LookupError, TypeError):
        text = ""
    return "".join(each for each in text if each.isprintable())[:300] or f"status {response.status_code}"


def _bounded(response: httpx.Response) -> Iterator[bytes]:
    left = _MAX_ANSWER_BYTES
    for chunk in response.iter_bytes():
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return


class _Body(io.RawIOBase):
    """A response's body as a file."""

    def __init__(self, response: httpx.Response) -> None:
        self._chunks = response.iter_raw()
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = memoryview(chunk)
        count = min(len(view), len(self._left))
        view[:count], self._left = self._left[:count], self._left[count:]
        return count
