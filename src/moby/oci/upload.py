"""Blobs from the store to a registry: skipped when there, mounted from another repository, resumed after a cut.

Source: OCI distribution specification 1.1, "Push". A blob goes in one request, which every registry takes; after a cut,
or where one request is too large, the rest follows in chunks from where the registry says it is.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial

import httpx

from moby import log
from moby.errors import RegistryError
from moby.http import redact
from moby.oci import pool
from moby.oci.digest import Digest
from moby.oci.endpoint import Endpoint
from moby.oci.manifest import Descriptor
from moby.oci.refusal import refusal
from moby.oci.session import Call, Session, onward
from moby.oci.store import Store

CHUNK_BYTES = 16 << 20
_PIECE_BYTES = 256 << 10
_ATTEMPTS = 6
_TYPE = {"Content-Type": "application/octet-stream"}
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploads:
    """Blobs of ``store`` on their way to the repository of ``endpoint``, which must be one to write to.

    ``sources`` are repositories of the same server that may have a blob already.
    """

    session: Session
    endpoint: Endpoint
    store: Store
    sources: Mapping[Digest, Sequence[str]] = field(default_factory=dict)

    def send(self, blobs: Sequence[Descriptor]) -> None:
        """Let the repository have all ``blobs``, each once, at most four at a time.

        The first failure ends all. Raises ``RegistryError``, or ``IntegrityError`` for a blob the store lacks.
        """
        pool.each(tuple({each.digest: each for each in blobs}.values()), self._one)

    def _one(self, blob: Descriptor, stop: threading.Event) -> None:
        if self._is_there(blob):
            log.debug(f"{blob.digest} is there")
            return
        answer = None
        for source in self.sources.get(blob.digest, ())[:1]:
            answer = self._mount(blob, source)
            if answer is not None and answer.status_code == 201:
                log.debug(f"{blob.digest} is mounted from {source}")
                return
        with log.bar(blob.digest.hex[:12], blob.size) as bar:
            _Upload(uploads=self, blob=blob, stop=stop, bar=bar).run(answer)

    def _is_there(self, blob: Descriptor) -> bool:
        url = self.endpoint.url("blobs", str(blob.digest))
        with self.session.open(Call(method="HEAD", url=url, endpoint=self.endpoint)) as response:
            if response.status_code not in (200, 404):
                raise refusal(response, url)
            return response.status_code == 200

    def _mount(self, blob: Descriptor, source: str) -> httpx.Response | None:
        """The answer to "take it from there": 201 is yes, 202 mostly; None when we may not ask."""
        query = httpx.QueryParams({"mount": str(blob.digest), "from": source})
        url = f"{self.endpoint.url('blobs', 'uploads/')}?{query}"
        endpoint = self.endpoint.to_write(source)
        try:
            with self.session.open(Call(method="POST", url=url, endpoint=endpoint)) as response:
                return response
        except RegistryError as error:  # a token server may refuse the second repository
            log.debug(str(error))
            return None


@dataclass(slots=True, kw_only=True)
class _Upload:
    """One blob on its way: ``offset`` bytes of it are at the registry, the rest goes to ``location``.

    ``chunk_bytes`` of 0 means all at once; ``shown`` is what the progress bar was told.
    """

    uploads: Uploads
    blob: Descriptor
    stop: threading.Event
    bar: log.Bar
    location: httpx.URL = field(default_factory=lambda: httpx.URL(""))
    offset: int = 0
    chunk_bytes: int = 0
    shown: int = 0

    def run(self, begun: httpx.Response | None) -> None:
        """Upload it. ``begun`` is an answer that may have opened an upload already."""
        if begun is not None and begun.status_code == 202:
            self._go_on(begun)
        else:
            self._begin()
        failures = reached = 0
        while failures < _ATTEMPTS:
            try:
                if self._finish() if self.chunk_bytes else self._whole():
                    return
            except httpx.TransportError as error:
                log.debug(f"{self.blob.digest}: cut: {error}")
                self.uploads.session.wait(failures)
            self._recover()
            failures = 0 if self.offset > reached else failures + 1
            reached = max(reached, self.offset)
        what = f"the upload broke {_ATTEMPTS} times, after {self.offset} of {self.blob.size} bytes"
        raise RegistryError(what, where=redact(str(self.location)), fix="check your network and try again")

    def _begin(self) -> None:
        """Open an upload at its first byte."""
        url = self.uploads.endpoint.url("blobs", "uploads/")
        with self._send("POST", url, {"Content-Length": "0"}, repeatable=True) as response:
            if response.status_code != 202:
                raise refusal(response, url)
            self._seek(0)
            self._go_on(response)
            least = response.headers.get("oci-chunk-min-length", "")
        if self.chunk_bytes and least.isdigit():
            self.chunk_bytes = max(self.chunk_bytes, int(least[:12]))

    def _whole(self) -> bool:
        """Send everything in the request that also finishes. False when it has to be tried differently."""
        headers = {**_TYPE, "Content-Length": str(self.blob.size)}
        with self._send("PUT", self._final(), headers, start=0, end=self.blob.size) as response:
            if response.status_code == 201:
                return True
            if response.status_code == 413:
                self.chunk_bytes = CHUNK_BYTES
                return False
            return self._passing(response)

    def _finish(self) -> bool:
        """Send the rest in chunks, then finish. False when the registry is elsewhere than we thought."""
        while self.offset < self.blob.size:
            end = min(self.offset + self.chunk_bytes, self.blob.size)
            span = {"Content-Range": f"{self.offset}-{end - 1}", "Content-Length": str(end - self.offset)}
            with self._send("PATCH", str(self.location), {**_TYPE, **span}, start=self.offset, end=end) as response:
                if response.status_code == 416:
                    return False
                if response.status_code != 202:
                    return self._passing(response)
                self.offset = end
                self._go_on(response)
        with self._send("PUT", self._final(), {"Content-Length": "0"}) as response:
            return response.status_code == 201 or self._passing(response)

    def _recover(self) -> None:
        """Find out where the registry is; begin again when it forgot the upload. Chunks from now on."""
        self.chunk_bytes = self.chunk_bytes or CHUNK_BYTES
        with self._send("GET", str(self.location), {}, repeatable=True) as response:
            said = _RANGE.fullmatch(response.headers.get("range", ""))
            # 0-0 is one byte or none: nothing worth going on with.
            there = int(said[1]) + 1 if response.status_code == 204 and said else 0
            if 1 < there <= self.blob.size:
                self._seek(there)
                self._go_on(response)
                return
        self._begin()

    def _passing(self, response: httpx.Response) -> bool:
        """False for a fault that may pass or an upload that is gone; raises for what will not get better."""
        if response.status_code in (404, 408, 500, 502, 503, 504):
            self.uploads.session.wait(0)
            return False
        raise refusal(response, str(self.location))

    def _go_on(self, response: httpx.Response) -> None:
        """Take over where to go next; the last answer's address holds the upload's state."""
        location = response.headers.get("location", "")
        self.location = onward(response.request.url, location) if location else self.location

    def _final(self) -> str:
        return str(self.location.copy_merge_params({"digest": str(self.blob.digest)}))

    def _seek(self, offset: int) -> None:
        self.offset = offset
        self._show(offset)

    def _show(self, position: int) -> None:
        self.bar.advance(position - self.shown)
        self.shown = position

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        start: int = 0,
        end: int = 0,
        repeatable: bool = False,
    ) -> AbstractContextManager[httpx.Response]:
        call = Call(
            method=method,
            url=url,
            endpoint=self.uploads.endpoint,
            headers=headers,
            content=partial(self._pieces, start, end) if end else None,
            repeatable=repeatable,
        )
        return self.uploads.session.open(call)

    def _pieces(self, start: int, end: int) -> Iterator[bytes]:
        # The registry compares the digest, so it is not computed here once more.
        with self.uploads.store.open_blob(self.blob.digest, check=False) as stream:
            stream.seek(start)
            while start < end:
                if self.stop.is_set():
                    raise pool.Stopped
                piece = stream.read(min(_PIECE_BYTES, end - start))
                if not piece:
                    raise RegistryError(
                        "the store's copy is cut short", where=str(self.blob.digest), fix="pull it again"
                    )
                start += len(piece)
                self._show(start)
                yield piece
