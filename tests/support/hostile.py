"""Layers that want to take a host's memory, made as streams and flattened in a process of its own.

python -m tests.support.hostile STORE      prints {"said": …, "peak_kibibytes": …, "seconds": …} as JSON
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import zstandard
from zlib_ng import zlib_ng

from moby.errors import IntegrityError
from moby.formats import tar
from moby.oci import layers
from moby.oci.image import Image
from moby.oci.manifest import OCI_LAYER_GZIP, OCI_LAYER_ZSTD, ImageConfig, Platform
from moby.oci.reference import Reference
from moby.oci.store import Store
from tests.support.memory import peak_kibibytes

NAME = "localhost/hostile:1"
_BLOCK = 1 << 20
_ZEROS = bytes(_BLOCK)


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, **fields: object) -> bytes:
    """One header block, and extension headers where a field asks for them."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    for key, value in fields.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.PAX_FORMAT)


def _repeated(block: bytes, count: int) -> Iterator[bytes]:
    """``block`` so many times, in large pieces."""
    many = max(1, _BLOCK // len(block))
    for _ in range(count // many):
        yield block * many
    yield block * (count % many)


def _bomb() -> Iterator[bytes]:
    """A file of 6 GiB that is all zeros."""
    yield header("bomb", 6 << 30)
    yield from _repeated(_ZEROS, 6 << 10)
    yield tar.END


def _numbered(count: int, kind: bytes = tarfile.REGTYPE, *, prefix: str = "f", target: str = "") -> Iterator[bytes]:
    """So many entries, each with a name of its own."""
    template = bytearray(header(f"{prefix}0000000", kind=kind, linkname=target))
    start = len(template) - 512 + len(prefix.encode())
    for first in range(0, count, 4096):
        piece = bytearray()
        for number in range(first, min(first + 4096, count)):
            template[start : start + 7] = b"%07d" % number
            template[-364:-356] = b" " * 8
            template[-364:-356] = b"%06o\0 " % sum(template[-512:])
            piece += template
        yield bytes(piece)


def _files() -> Iterator[bytes]:
    """Nearly as many files as are allowed."""
    yield from _numbered(450_000)
    yield tar.END


def _entries() -> Iterator[bytes]:
    """A million files."""
    yield from _numbered(1_000_000)
    yield tar.END


def _folders() -> Iterator[bytes]:
    yield from _numbered(500_000, tarfile.DIRTYPE)
    yield tar.END


def _symbolic() -> Iterator[bytes]:
    yield from _numbered(500_000, tarfile.SYMTYPE, target="t")
    yield tar.END


def _linked() -> Iterator[bytes]:
    """Hard links, all to one file."""
    yield header("t")
    yield from _numbered(490_000, tarfile.LNKTYPE, target="t")
    yield tar.END


def _moved() -> Iterator[bytes]:
    """Files by way of a symbolic link, so that each has another path than its archive says."""
    yield header("d/", kind=tarfile.DIRTYPE)
    yield header("l", kind=tarfile.SYMTYPE, linkname="d")
    yield from _numbered(490_000, prefix="l/")
    yield tar.END


def _wide() -> Iterator[bytes]:
    """Names of characters that take four bytes each."""
    for number in range(490_000):
        yield header(f"{chr(0x1F600)}{number:07d}")
    yield tar.END


def _same_entry() -> Iterator[bytes]:
    """One entry, a million and one times."""
    yield from _repeated(header("f"), 1_000_001)
    yield tar.END


def _headers() -> Iterator[bytes]:
    """Extended headers without end, with another attribute in each."""
    for number in range(2_000):
        content = f"{number:06d}".encode() + b"v" * 500_000
        record = b" SCHILY.xattr.user.%s=%s\n" % (content[:6], content[6:])
        record = b"%d" % (len(record) + 6) + record
        yield header("x", len(record), kind=tarfile.XHDTYPE)
        yield record + bytes(-len(record) % 512)


def _deep() -> Iterator[bytes]:
    """Two directories two thousand levels down, in turn, again and again."""
    path = "/".join("d" * 2000)
    pair = header(f"{path}/a/x") + header(f"{path}/b/x")
    yield from _repeated(pair, 300_000)
    yield tar.END


def _directories() -> Iterator[bytes]:
    """Each entry in two thousand directories of its own."""
    for number in range(2_000):
        path = "/".join([f"{number}", *("d" * 1_500)])
        yield header(f"{path}/x")
    yield tar.END


CASES: Mapping[str, Callable[[], Iterator[bytes]]] = {
    "bomb": _bomb,
    "deep": _deep,
    "directories": _directories,
    "entries": _entries,
    "files": _files,
    "folders": _folders,
    "headers": _headers,
    "linked": _linked,
    "moved": _moved,
    "same-entry": _same_entry,
    "symbolic": _symbolic,
    "wide": _wide,
}


class _Stream(io.RawIOBase):
    """What an iterator gives, as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def read(self, size: int = -1, /) -> bytes:
        return next((piece for piece in self._pieces if piece), b"")


def _gzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib_ng.compressobj(6, zlib_ng.DEFLATED, 31)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def _zstd(pieces: Iterator[bytes]) -> Iterator[bytes]:
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def save(store: Store, case: str, packing: str) -> Image:
    """The case as the only layer of an image in ``store``."""
    pack, media_type = (_gzip, OCI_LAYER_GZIP) if packing == "gzip" else (_zstd, OCI_LAYER_ZSTD)
    layer = store.ingest(_Stream(pack(CASES[case]())), media_type=media_type)  # type: ignore[arg-type]  # read is all
    config = ImageConfig(architecture="amd64", os="linux", diff_ids=(layer.digest,)).encode()
    return store.put_image(NAME, config, [layer], Platform.parse("amd64"))


def flatten(store: Store, image: Image) -> str:
    """Read the whole image; gives what it was refused for, ``""`` when it was not."""
    try:
        for entry in layers.entries(store, image):
            while not isinstance(entry.data, bytes) and entry.data.read(_BLOCK):
                pass
    except IntegrityError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    shelf = Store(Path(sys.argv[1]))
    found = shelf.find(Reference.parse(NAME), Platform.parse("amd64"))
    assert found is not None, "save it first"
    begin = time.process_time()
    said = flatten(shelf, found)
    seconds = time.process_time() - begin
    print(json.dumps({"said": said, "peak_kibibytes": peak_kibibytes(), "seconds": seconds}))
