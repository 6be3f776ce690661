"""The write side of the registry in this process: upload sessions, mounts and manifests."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field

from moby.oci.digest import Digest


@dataclass(kw_only=True)
class Uploads:
    """Upload sessions over ``blobs``. ``repositories`` says which repository has which blob, for mounts.

    ``largest`` is what one request may carry; ``least_chunk`` is announced as the specification says.
    """

    blobs: MutableMapping[str, bytes]
    repositories: set[tuple[str, str]] = field(default_factory=set)
    largest: int = 1 << 40
    least_chunk: int = 0
    sessions: dict[str, bytearray] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def begin(self, repository: str, query: Mapping[str, str]) -> tuple[int, dict[str, str]]:
        """POST: open a session, or take a blob from another repository."""
        digest = query.get("mount", "")
        if (query.get("from"), digest) in self.repositories:
            self.repositories.add((repository, digest))
            return 201, {"Location": f"/v2/{repository}/blobs/{digest}"}
        name = f"session{next(self.numbers)}"
        self.sessions[name] = bytearray()
        headers = self._state(repository, name)
        if self.least_chunk:
            headers["OCI-Chunk-Min-Length"] = str(self.least_chunk)
        return 202, headers

    def status(self, repository: str, name: str) -> tuple[int, dict[str, str]]:
        """GET: how far a session is."""
        return (204, self._state(repository, name)) if name in self.sessions else (404, {})

    def append(self, repository: str, name: str, body: bytes, span: str) -> tuple[int, dict[str, str]]:
        """PATCH: more of a blob; a chunk that does not follow is refused."""
        if name not in self.sessions:
            return 404, {}
        session = self.sessions[name]
        if span and int(span.partition("-")[0]) != len(session):
            return 416, self._state(repository, name)
        if len(body) > self.largest:
            return 413, {}
        session += body
        return 202, self._state(repository, name)

    def finish(self, repository: str, name: str, body: bytes, digest: str) -> tuple[int, dict[str, str]]:
        """PUT: the last of a blob, and its digest."""
        if name not in self.sessions:
            return 404, {}
        if len(body) > self.largest:
            return 413, {}
        data = bytes(self.sessions[name]) + body
        if str(Digest.of(data)) != digest:
            return 400, {}
        del self.sessions[name]
        self.blobs[digest] = data
        self.repositories.add((repository, digest))
        return 201, {"Location": f"/v2/{repository}/blobs/{digest}"}

    def _state(self, repository: str, name: str) -> dict[str, str]:
        last = max(0, len(self.sessions[name]) - 1)
        return {"Location": f"/v2/{repository}/blobs/uploads/{name}?state={last}", "Range": f"0-{last}"}
