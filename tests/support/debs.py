"""Debian packages and a Debian mirror made by code: what apt and our own reader both take for real.

made = deb("hello", files={"usr/bin/hello": b"…"}, depends="libc6")
with mirror([made]) as served: served.url
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import lzma
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import zstandard

from moby.components.lock import Lock, Package
from tests.support.images import Content, tar
from tests.support.pgp import Key

# What signs the indexes of every mirror made here.
KEY = Key()
_PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, 6, mtime=0),
    "xz": lzma.compress,
    "zst": lambda data: zstandard.compress(data, 3),
    "": bytes,
}


def ar(members: Sequence[tuple[str, bytes]]) -> bytes:
    """An ``ar`` archive as dpkg-deb writes it."""
    out = b"!<arch>\n"
    for name, data in members:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}".encode() + b"`\n" + data
        out += b"\n" * (len(data) % 2)
    return out


@dataclass(frozen=True, kw_only=True)
class Deb:
    """One package: its bytes and what an index says of it."""

    name: str
    version: str
    architecture: str
    control: str
    data: bytes
    archive: str = "debian"

    @property
    def path(self) -> str:
        return f"pool/main/{self.name[0]}/{self.name}/{self.name}_{self.version}_{self.architecture}.deb"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def row(self) -> Package:
        """The lock row that pins it."""
        return Package(
            package=self.name,
            version=self.version,
            architecture=self.architecture,
            suite="trixie-security" if self.archive == "debian-security" else "trixie",
            archive=self.archive,
            size_bytes=len(self.data),
            sha256=self.sha256,
            path=self.path,
        )

    @property
    def stanza(self) -> str:
        return f"{self.control}Filename: {self.path}\nSize: {len(self.data)}\nSHA256: {self.sha256}\n"


def deb(
    name: str,
    *,
    files: Mapping[str, Content] | None = None,
    version: str = "1.0",
    architecture: str = "amd64",
    depends: str = "",
    compression: str = "xz",
    data_tar: bytes | None = None,
    archive: str = "debian",
) -> Deb:
    """A package with these files; ``data_tar`` replaces its (uncompressed) data archive."""
    control = f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: Nobody <n@example.org>\n"
    control += f"Depends: {depends}\n" if depends else ""
    control += f"Description: {name} for tests\n folded line\n"
    suffix = f".{compression}" if compression else ""
    packed = _PACKERS[compression](tar(dict(files or {})) if data_tar is None else data_tar)
    members = [
        ("debian-binary", b"2.0\n"),
        ("control.tar.xz", lzma.compress(tar({"./control": control}))),
        (f"data.tar{suffix}", packed),
    ]
    return Deb(
        name=name, version=version, architecture=architecture, control=control, data=ar(members), archive=archive
    )


def lock(*debs: Deb, request: str = "") -> Lock:
    """A lock of exactly these packages."""
    return Lock(request=request, packages=tuple(sorted(each.row for each in debs)), resolved="20260101T000000Z")


@dataclass
class Served:
    """A mirror on loopback. ``files`` may be changed while it runs; ``asked`` holds the paths of all requests."""

    url: str
    files: dict[str, bytes]
    asked: list[str] = field(default_factory=list)
    # Paths whose answers break off after so many bytes, once.
    broken: dict[str, int] = field(default_factory=dict)

    def forget(self, package: Deb) -> None:
        """Let the mirror have no such version any more."""
        del self.files[f"/{package.archive}/{package.path}"]

    def publish(self, debs: Sequence[Deb], *, suite: str = "trixie") -> None:
        """Replace what the mirror has."""
        self.files.clear()
        self.files.update(_tree(debs, suite))


@contextlib.contextmanager
def mirror(debs: Sequence[Deb] = (), *, suite: str = "trixie") -> Iterator[Served]:
    """Serve ``debs`` as ``URL/debian`` and ``URL/debian-security``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _answer(self, served)

        def log_message(self, format: str, *arguments: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served = Served(f"http://127.0.0.1:{server.server_address[1]}", _tree(debs, suite))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(handler: BaseHTTPRequestHandler, served: Served) -> None:
    path = unquote(handler.path)
    served.asked.append(path)
    data = served.files.get(path)
    if data is None:
        handler.send_response(404)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    start = 0
    wanted = handler.headers.get("Range", "")
    if wanted.startswith("bytes="):
        start = int(wanted[6:].partition("-")[0])
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
    handler.send_header("Content-Length", str(len(data) - start))
    handler.end_headers()
    end = served.broken.pop(path, len(data))
    handler.wfile.write(data[start:end])
    if end < len(data):
        handler.close_connection = True


def _tree(debs: Sequence[Deb], suite: str) -> dict[str, bytes]:
    """Both archives with their indexes: everything that apt asks for."""
    files = {f"/{each.archive}/{each.path}": each.data for each in debs}
    suites = {"debian": (suite, f"{suite}-updates"), "debian-security": (f"{suite}-security",)}
    architectures = sorted({each.architecture for each in debs} - {"all"} | {"amd64", "arm64"})
    for archive, names in suites.items():
        for name in names:
            own = [each for each in debs if each.archive == archive] if not name.endswith("-updates") else []
            files |= {f"/{archive}/dists/{name}/{path}": data for path, data in _suite(own, name, architectures)}
    return files


def _suite(debs: Sequence[Deb], suite: str, architectures: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    sums = []
    for architecture in architectures:
        own = [each for each in debs if each.architecture in (architecture, "all")]
        data = "\n".join(each.stanza for each in own).encode()
        path = f"main/binary-{architecture}/Packages"
        sums.append(f" {hashlib.sha256(data).hexdigest()} {len(data)} {path}")
        yield path, data
    head = [f"Suite: {suite}", f"Codename: {suite}", f"Architectures: {' '.join(architectures)}", "Components: main"]
    release = "\n".join([*head, "Date: Thu, 01 Jan 2026 00:00:00 UTC", "SHA256:", *sums, ""]).encode()
    yield "Release", release
    yield "Release.gpg", KEY.sign(release)


def raw_tar(name: str, data: bytes = b"x", *, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    """A tar with one member whose name is taken as it is, however hostile."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, target, len(data)
        archive.addfile(info, io.BytesIO(data))
    return out.getvalue()
