"""A Docker engine on a Unix socket: the two requests that images are taken by, answered as the real one does."""

from __future__ import annotations

import io
import json
import socketserver
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote

from moby.oci.digest import Digest
from tests.support.images import Layer, MadeImage, image, tar


@dataclass(frozen=True, kw_only=True)
class Saved:
    """An image as ``docker save`` gives it: uncompressed layers in folders, a layer that comes twice as a link."""

    made: MadeImage
    archive: bytes


def saved(layers: list[Layer], tags: list[str], *, architecture: str = "amd64", config: bytes | None = None) -> Saved:
    made = image(layers, {"Cmd": ["/a"]}, architecture=architecture, compression="none")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        paths: dict[bytes, str] = {}
        names: list[str] = []
        for number, layer in enumerate(map(tar, layers)):
            name = f"{number:064x}/layer.tar"
            names.append(name)
            info = tarfile.TarInfo(name)
            if layer in paths:
                info.type, info.linkname = tarfile.SYMTYPE, f"../{paths[layer]}"
                archive.addfile(info)
            else:
                paths[layer], info.size = name, len(layer)
                archive.addfile(info, io.BytesIO(layer))
            _add(archive, f"{number:064x}/json", b"{}")
            _add(archive, f"{number:064x}/VERSION", b"1.0")
        data = config or made.config
        name = f"{Digest.of(data).hex}.json"
        _add(archive, name, data)
        _add(archive, "manifest.json", json.dumps([{"Config": name, "RepoTags": tags, "Layers": names}]).encode())
        _add(archive, "repositories", b"{}")
    return Saved(made=made, archive=out.getvalue())


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


@dataclass(kw_only=True)
class FakeEngine:
    """``images`` by the whole name; ``asked`` are the paths of the requests."""

    path: Path
    images: dict[str, Saved] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"unix://{self.path}"


@contextmanager
def fake_engine(path: Path) -> Iterator[FakeEngine]:
    """Serve on a socket at ``path`` until the block ends."""
    engine = FakeEngine(path=path)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            engine.asked.append(self.path)
            name, _, what = unquote(self.path).removeprefix("/images/").rpartition("/")
            found = engine.images.get(name)
            if found is None:
                self._answer(404, json.dumps({"message": f"No such image: {name}"}).encode())
            elif what == "json":
                config = json.loads(found.made.config)
                about = {"Os": config["os"], "Architecture": config["architecture"], "Variant": ""}
                self._answer(200, json.dumps({"Id": str(Digest.of(found.made.config)), **about}).encode())
            else:
                self._stream(found.archive)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _stream(self, body: bytes) -> None:
            """The real one does not know the length beforehand."""
            self.send_response(200)
            self.send_header("Content-Type", "application/x-tar")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(body), 5000):
                piece = body[start : start + 5000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")

        def address_string(self) -> str:
            return "socket"

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    server = Server(str(path), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield engine
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
