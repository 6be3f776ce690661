"""Blobs from a registry into the store: checked, resumed after a cut, several at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from moby import log
from moby.errors import IntegrityError, RegistryError
from moby.http import redact
from moby.oci import blob, body, pool
from moby.oci.endpoint import Endpoint
from moby.oci.manifest import Descriptor
from moby.oci.session import Session
from moby.oci.store import Store

_ATTEMPTS = 8
_PARALLEL = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloads:
    """Blobs of one repository on their way into ``store``."""

    session: Session
    endpoint: Endpoint
    store: Store

    def fetch(self, blobs: Sequence[Descriptor]) -> None:
        """Store those ``blobs`` that are missing, each once, at most six at a time.

        The first failure ends all. Raises ``RegistryError``, ``IntegrityError`` or ``PlatformError``.
        """
        missing = tuple({each.digest: each for each in blobs if not self.store.has(each)}.values())
        pool.each(missing, self._one, parallel=_PARALLEL)

    def _one(self, descriptor: Descriptor, stop: threading.Event) -> None:
        """Store one blob, from the registry or else from the other places its descriptor names."""
        sources: list[tuple[str, Endpoint | None]] = [
            (self.endpoint.url("blobs", str(descriptor.digest)), self.endpoint)
        ]
        # Foreign layers: anybody's servers, so https only and without credentials.
        sources += [(url, None) for url in descriptor.urls or () if url.startswith("https://")]
        for url, endpoint in sources[:-1]:
            try:
                self._from(url, endpoint, descriptor, stop)
            except RegistryError as error:
                log.debug(str(error))
            else:
                return
        self._from(*sources[-1], descriptor, stop)

    def _from(self, url: str, endpoint: Endpoint | None, descriptor: Descriptor, stop: threading.Event) -> None:
        title = f"{descriptor.digest.hex[:12]}"
        with self.store.writer(descriptor) as writer, log.bar(title, descriptor.size) as bar:
            try:
                for attempt in range(_ATTEMPTS):
                    if self._append(url, endpoint, writer, bar.advance, stop):
                        break
                    log.debug(f"{redact(url)}: cut after {writer.count} of {descriptor.size} bytes")
                    self.session.wait(attempt)
                else:
                    what = f"the connection broke {_ATTEMPTS} times, after {writer.count} of {descriptor.size} bytes"
                    raise RegistryError(what, where=redact(url), fix="check your network and try again")
                writer.commit()
            except IntegrityError as error:
                raise IntegrityError(error.what, where=redact(url), fix=error.fix) from error

    def _append(
        self,
        url: str,
        endpoint: Endpoint | None,
        writer: blob.Writer,
        advance: Callable[[int], None],
        stop: threading.Event,
    ) -> bool:
        """Read from where ``writer`` is to the end, or from the start when the server knows no ranges.

        False when the connection broke before the end.
        """
        if stop.is_set():
            raise pool.Stopped
        start = writer.count
        headers = {"Range": f"bytes={start}-"} if start else {}
        with self.session.get(url, endpoint=endpoint, headers=headers) as response:
            if start and not _continues(response, start):
                advance(-start)
                writer.restart()

            def arrived(count: int) -> None:
                if stop.is_set():
                    raise pool.Stopped
                advance(count)

            return body.copy(response, writer, arrived)


def _continues(response: httpx.Response, start: int) -> bool:
    """Whether a response is the rest that was asked for (RFC 9110 section 14.4)."""
    return response.status_code == 206 and response.headers.get("content-range", "").startswith(f"bytes {start}-")
