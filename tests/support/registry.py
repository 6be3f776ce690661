"""A registry in this process, for what Debian's cannot be made to do: cut, lie, stall, redirect, refuse, ask to wait,
resume an upload, tell of referrers.

with FakeRegistry() as registry:
    registry.put("x", "1", image([{"a": "b"}]))
    registry.rules.append(once(lambda request: "/blobs/" in request.path, Answer(status=500)))
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

from moby.oci.digest import Digest
from moby.oci.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor, Index
from tests.support.images import MadeImage, index
from tests.support.uploads import Uploads


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client asked. ``query`` holds the last value of each parameter."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Message
    body: bytes = b""

    @property
    def authorization(self) -> str:
        return self.headers.get("Authorization", "")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What goes back. ``length`` is announced instead of the real one; after ``cut`` bytes the connection ends.

    ``stall_s`` are seconds of silence before it does.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: int | None = None
    cut: int | None = None
    stall_s: float = 0


# Looks at a request and answers in the registry's place, or gives None.
Rule = Callable[[Request], Answer | None]


def times(count: int, which: Callable[[Request], bool], answer: Answer) -> Rule:
    """``answer`` for the first ``count`` requests that ``which`` chooses."""
    left = [count]
    lock = threading.Lock()

    def rule(request: Request) -> Answer | None:
        with lock:
            if not which(request) or left[0] == 0:
                return None
            left[0] -= 1
        return answer

    return rule


def once(which: Callable[[Request], bool], answer: Answer) -> Rule:
    return times(1, which, answer)


def always(which: Callable[[Request], bool], answer: Answer) -> Rule:
    return lambda request: answer if which(request) else None


def blobs(request: Request) -> bool:
    return "/blobs/" in request.path


def manifests(request: Request) -> bool:
    return "/manifests/" in request.path


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""


class FakeRegistry:
    """Serves ``blobs`` and ``manifests`` (by repository and by tag or digest) until the block ends.

    ``rules`` are asked first, in order. With a ``token`` every request needs it, and anybody gets it from ``/token``;
    changing it makes the old one invalid. ``requests`` is what was asked so far. ``cuts`` are numbers of bytes: a large
    body is read so far only, kept, and the connection ends.
    """

    def __init__(
        self,
        *,
        token: bool = False,
        ranges: bool = True,
        referrers: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.rules: list[Rule] = []
        self.requests: list[Request] = []
        self.token = "first-token" if token else ""
        self.uploads = Uploads(blobs=self.blobs)
        self.cuts: list[int] = []
        self._ranges = ranges
        self._referrers = referrers
        self._server = _Server(("127.0.0.1", 0), self._handler())
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "https" if tls else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def host(self) -> str:
        """``127.0.0.1:PORT``, as references spell it."""
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        return f"{self._scheme}://{self.host}"

    def put(self, repository: str, tag: str, made: MadeImage | Sequence[MadeImage]) -> Digest:
        """Publish an image, or an index of several; gives the digest that the tag means."""
        images = (made,) if isinstance(made, MadeImage) else tuple(made)
        for each in images:
            self.blobs.update({str(digest): data for digest, data in each.blobs.items()})
            self.uploads.repositories |= {(repository, str(digest)) for digest in each.blobs}
            self.put_manifest(repository, tag, OCI_MANIFEST, each.manifest)
        if isinstance(made, MadeImage):
            return made.descriptor.digest
        return self.put_manifest(repository, tag, OCI_INDEX, index(images)[0])

    def put_manifest(self, repository: str, tag: str, media_type: str, data: bytes) -> Digest:
        digest = Digest.of(data)
        for name in (tag, str(digest)):
            self.manifests[repository, name] = (media_type, data)
        return digest

    def asked(self, part: str) -> list[Request]:
        """The requests whose path has ``part``."""
        return [request for request in self.requests if part in request.path]

    def answer(self, request: Request) -> Answer:
        """What the registry says to a request that no rule took."""
        if request.path == "/token":
            body = b'{"token": "%s", "expires_in": 300}' % self.token.encode()
            return Answer(headers={"Content-Type": "application/json"}, body=body)
        if self.token and request.authorization != f"Bearer {self.token}":
            offer = f'Bearer realm="{self.url}/token",service="fake",scope="repository:x:pull"'
            return Answer(status=401, headers={"WWW-Authenticate": offer})
        if "/blobs/uploads/" in request.path:
            return self._upload(request)
        if "/referrers/" in request.path:
            return self._refer(request.path)
        repository, _, rest = request.path.removeprefix("/v2/").rpartition("/manifests/")
        if request.method == "PUT":
            stored = self.put_manifest(repository, rest, request.headers["Content-Type"], request.body)
            return Answer(status=201, headers={"Docker-Content-Digest": str(stored)})
        if (repository, rest) in self.manifests:
            media_type, data = self.manifests[repository, rest]
            return Answer(
                headers={"Content-Type": media_type, "Docker-Content-Digest": str(Digest.of(data))}, body=data
            )
        repository, _, digest = request.path.removeprefix("/v2/").rpartition("/blobs/")
        data = self.blobs.get(digest, b"")
        # Whoever pushes asks for one repository; that blobs may be read from all keeps the tests of pulls short.
        if not data or (request.method == "HEAD" and (repository, digest) not in self.uploads.repositories):
            return Answer(status=404, body=b'{"errors": [{"code": "NAME_UNKNOWN", "message": "no such thing"}]}')
        return self._part(data, request.headers.get("Range", ""))

    def _upload(self, request: Request) -> Answer:
        repository, _, name = request.path.removeprefix("/v2/").rpartition("/blobs/uploads/")
        uploads, query = self.uploads, request.query
        if request.method == "POST":
            status, headers = uploads.begin(repository, query)
        elif request.method == "PATCH":
            status, headers = uploads.append(repository, name, request.body, request.headers.get("Content-Range", ""))
        elif request.method == "PUT":
            status, headers = uploads.finish(repository, name, request.body, query["digest"])
        else:
            status, headers = uploads.status(repository, name)
        return Answer(status=status, headers=headers)

    def _refer(self, path: str) -> Answer:
        if not self._referrers:
            return Answer(status=404, body=b"404 page not found")
        repository, _, digest = path.removeprefix("/v2/").rpartition("/referrers/")
        documents = {
            data: kind
            for (name, _), (kind, data) in self.manifests.items()
            if name == repository and json.loads(data).get("subject", {}).get("digest") == digest
        }
        entries = [
            Descriptor(
                media_type=kind,
                digest=Digest.of(data),
                size=len(data),
                artifact_type=json.loads(data).get("artifactType"),
            )
            for data, kind in documents.items()
        ]
        return Answer(headers={"Content-Type": OCI_INDEX}, body=Index(manifests=tuple(entries)).encode())

    def _part(self, data: bytes, wanted: str) -> Answer:
        if not wanted or not self._ranges:
            return Answer(body=data)
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        shown = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return Answer(status=206, headers={"Content-Range": shown}, body=data[start:])

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
                body = self._body(parts.path)
                request = Request(
                    method=self.command, path=parts.path, query=query, headers=self.headers, body=body or b""
                )
                registry.requests.append(request)
                if body is None:
                    self.close_connection = True
                    return
                answers = (rule(request) for rule in registry.rules)
                self._send(next((each for each in answers if each is not None), None) or registry.answer(request))

            do_HEAD = do_POST = do_PATCH = do_PUT = do_GET

            def _body(self, path: str) -> bytes | None:
                """What was sent; None when it was cut, as the test wants it, or by a client that went away."""
                length = int(self.headers.get("Content-Length", 0))
                is_cut = bool(registry.cuts) and length > registry.cuts[0]
                part = self.rfile.read(registry.cuts.pop(0) if is_cut else length)
                if len(part) == length:
                    return part
                session = registry.uploads.sessions.get(path.rpartition("/")[2])
                if session is not None:
                    session += part
                return None

            def _send(self, answer: Answer) -> None:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body[: answer.cut])
                time.sleep(answer.stall_s)
                self.close_connection = answer.cut is not None or answer.length is not None

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        return Handler

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
