"""The segments of an initramfs: cpio archives, each packed or not, one behind the other with zeros between.

Sources: Linux ``Documentation/driver-api/early-userspace/buffer-format.rst``; its ``init/initramfs.c``. A member of a
compressed stream that does not begin with an archive belongs to the segment before it.
"""

from __future__ import annotations

import io
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from zlib_ng import zlib_ng

from moby.errors import IntegrityError
from moby.formats.compress import decompress
from moby.formats.cpio import HEADER_BYTES, TRAILER
from moby.formats.window import window

_CPIO = (b"070701", b"070702")
_GZIP, _ZSTD, _XZ, _BZIP2, _LZ4 = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh", b"\x02\x21\x4c\x18"
_NAMES = {_GZIP: "gzip", _ZSTD: "zstd", _XZ: "xz", _BZIP2: "bzip2", _LZ4: "lz4"}
_CHUNK_BYTES = 1 << 18
_STEP_BYTES = 1 << 20
_XZ_MEMORY_BYTES = 80 << 20
_INFLATE_ERROR = cast(type[Exception], zlib_ng.error)
_MAX_SEGMENTS = 10_000
_MAX_NAME_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """``size`` bytes at ``offset``; ``codec`` is ``none`` for a plain archive."""

    codec: str
    offset: int
    size: int

    def open(self, stream: BinaryIO) -> BinaryIO:
        """The archive or archives, unpacked. Raises ``IntegrityError`` for a codec that cannot be unpacked."""
        if self.codec == "lz4":
            raise IntegrityError("an initrd segment packed with lz4 is not read")
        return decompress(window(stream, self.offset, self.size))


def begins(head: bytes) -> bool:
    """Whether an initramfs may begin like this."""
    return head.startswith((*_CPIO, *_NAMES))


def packs_archive(stream: BinaryIO) -> bool:
    """Whether a packed stream begins with an archive. What follows its first member may be packed in another way.

    Raises ``IntegrityError`` when it is damaged.
    """
    end = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    head = stream.read(6)
    codec = next((name for magic, name in _NAMES.items() if head.startswith(magic)), "")
    size = _zstd_end(stream, 0, end) if codec == "zstd" else end
    return codec not in ("", "lz4") and _starts_archive(stream, Segment(codec=codec, offset=0, size=size))


def segments(stream: BinaryIO) -> Iterator[Segment]:
    """The segments of a seekable stream. Raises ``IntegrityError`` where something else follows, or no end does."""
    end = stream.seek(0, io.SEEK_END)
    at, found = 0, list[Segment]()
    while (at := _padded(stream, at)) < end:
        member = _member(stream, at, end)
        at = member.offset + member.size
        before = found[-1] if found else None
        joins = before is not None and before.codec == member.codec and before.offset + before.size == member.offset
        if before is not None and joins and not _starts_archive(stream, member):
            found[-1] = Segment(codec=before.codec, offset=before.offset, size=before.size + member.size)
            continue
        if len(found) >= _MAX_SEGMENTS:
            raise IntegrityError(f"an initrd of more than {_MAX_SEGMENTS} segments")
        found.append(member)
    yield from found


def _padded(stream: BinaryIO, at: int) -> int:
    """The place of the first byte from ``at`` on that is not zero."""
    stream.seek(at)
    while chunk := stream.read(_CHUNK_BYTES):
        rest = chunk.lstrip(b"\0")
        if rest:
            return at + len(chunk) - len(rest)
        at += len(chunk)
    return at


def _member(stream: BinaryIO, at: int, end: int) -> Segment:
    """What stands at ``at``: a plain archive, or one member or frame of a packed one."""
    stream.seek(at)
    head = stream.read(6)
    if head in _CPIO:
        return Segment(codec="none", offset=at, size=_archive_end(stream, at) - at)
    for magic, name in _NAMES.items():
        if head.startswith(magic):
            return Segment(codec=name, offset=at, size=_ENDS[name](stream, at, end) - at)
    raise IntegrityError(f"neither a cpio archive nor a packed one at byte {at}")


def _starts_archive(stream: BinaryIO, member: Segment) -> bool:
    return member.codec in ("none", "lz4") or member.open(stream).read(6) in _CPIO


def _archive_end(stream: BinaryIO, at: int) -> int:
    """Where the plain archive at ``at`` ends, its trailer included."""
    while True:
        stream.seek(at)
        header = stream.read(HEADER_BYTES)
        try:
            size, name_size = int(header[54:62], 16), int(header[94:102], 16)
        except ValueError:
            raise IntegrityError(f"a cpio header at byte {at} is not hexadecimal") from None
        if len(header) < HEADER_BYTES or header[:6] not in _CPIO or name_size > _MAX_NAME_BYTES:
            raise IntegrityError(f"a cpio archive is broken at byte {at}")
        name = stream.read(name_size)
        at += HEADER_BYTES + name_size
        at += -at % 4
        if name == TRAILER + b"\0":
            return at
        at += size + -size % 4


def _gzip_end(stream: BinaryIO, at: int, end: int) -> int:
    """Where a member ends, found by unpacking it."""
    stream.seek(at)
    state = zlib_ng.decompressobj(31)
    try:
        while not state.eof:
            state.decompress(state.unconsumed_tail or _more(stream, at), _STEP_BYTES)
    except _INFLATE_ERROR as error:
        raise _broken(at, error) from error
    return stream.tell() - len(state.unused_data)


def _xz_end(stream: BinaryIO, at: int, end: int) -> int:
    stream.seek(at)
    state = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)
    try:
        while not state.eof:
            state.decompress(_more(stream, at) if state.needs_input else b"", _STEP_BYTES)
    except lzma.LZMAError as error:
        raise _broken(at, error) from error
    return stream.tell() - len(state.unused_data)


def _more(stream: BinaryIO, at: int) -> bytes:
    data = stream.read(_CHUNK_BYTES)
    if not data:
        raise IntegrityError(f"the packed archive at byte {at} is truncated")
    return data


def _broken(at: int, error: Exception) -> IntegrityError:
    return IntegrityError(f"the packed archive at byte {at} is broken: {error}")


def _zstd_end(stream: BinaryIO, at: int, end: int) -> int:
    """Walks over the blocks of a frame (RFC 8878 section 3.1.1) without unpacking them."""
    stream.seek(at + 4)
    descriptor = (stream.read(1) or b"\0")[0]
    single = descriptor >> 5 & 1
    place = at + 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3] + (single, 2, 4, 8)[descriptor >> 6]
    last = 0
    while not last:
        stream.seek(place)
        block = int.from_bytes(stream.read(3), "little")
        place += 3
        last = block & 1
        place += 1 if block >> 1 & 3 == 1 else block >> 3
        if place > end:
            raise IntegrityError(f"the packed archive at byte {at} is truncated")
    return place + (4 if descriptor & 4 else 0)


def _to_the_end(stream: BinaryIO, at: int, end: int) -> int:
    return end


_ENDS = {"gzip": _gzip_end, "xz": _xz_end, "zstd": _zstd_end, "bzip2": _to_the_end, "lz4": _to_the_end}
