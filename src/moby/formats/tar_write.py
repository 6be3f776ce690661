"""Writing tar archives; see ``tar``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from zlib_ng.zlib_ng import adler32

from moby.errors import IntegrityError
from moby.formats.entry import Entry
from moby.formats.stream import copy
from moby.formats.tar_layout import BLOCK_BYTES, END, KINDS, LINKS, XATTR

_ZERO = bytes(BLOCK_BYTES)
_FLAGS = {kind: flag for flag, kind in reversed(KINDS.items())}


def write(entries: Iterable[Entry], out: BinaryIO, *, count_links: bool = False) -> int:
    """Write an archive and give its size in bytes. Pax headers only where ustar has no room.

    With ``count_links`` a file with several names says how many it has, in a pax header.

    The same entries give the same bytes: no user names, no times but the entries' own, exactly two zero blocks at the
    end. Raises ``IntegrityError`` when a body is shorter than its entry says or a name holds a NUL.
    """
    written = 0
    for entry in entries:
        written += _write_entry(entry, out, count_links=count_links)
    out.write(END)
    return written + len(END)


def _write_entry(entry: Entry, out: BinaryIO, *, count_links: bool) -> int:
    header = _headers(entry, count_links=count_links)
    data, size = entry.data, entry.size
    padding = -size % BLOCK_BYTES
    if isinstance(data, bytes):
        if len(data) != size:
            raise IntegrityError(f"{size} bytes announced, {len(data)} given", where=entry.path)
        out.write(b"".join((header, data, _ZERO[:padding])))
    else:
        out.write(header)
        copy(data, out, size, where=entry.path)
        out.write(_ZERO[:padding])
    return len(header) + size + padding


def _headers(entry: Entry, *, count_links: bool) -> bytes:
    """The ustar header of an entry, with a pax header before it when a field does not fit."""
    path = entry.path.encode("utf-8", "surrogateescape")
    target = entry.target.encode("utf-8", "surrogateescape")
    if b"\0" in path or b"\0" in target:
        raise IntegrityError("name holds a NUL", where=repr(entry.path))
    records: dict[str, bytes] = {}
    prefix = b""
    if len(path) > 100 or not path.isascii():
        prefix, path = _parted(path)
        if not prefix:
            records["path"] = path
    if len(target) > 100 or not target.isascii():
        records["linkpath"] = target
    numbers = {"uid": entry.uid, "gid": entry.gid, "size": entry.size, "mtime": entry.mtime_s}
    for key, value in numbers.items():
        if not 0 <= value <= (0o7777777 if key in ("uid", "gid") else 0o77777777777):
            records[key], numbers[key] = b"%d" % value, 0
    records |= {XATTR + name: value for name, value in entry.xattrs}
    if count_links and entry.links > 1:
        records[LINKS] = b"%d" % entry.links
    device = (entry.major, entry.minor)
    header = _header(path, _FLAGS[entry.kind], entry.mode, numbers, target=target, device=device, prefix=prefix)
    if not records:
        return header
    if any(_is_binary(value) for key, value in records.items() if key.endswith("path")):
        records["hdrcharset"] = b"BINARY"
    content = b"".join(_record(key, records[key]) for key in sorted(records))
    extended = _header(b"PaxHeaders.0", b"x", 0, {"uid": 0, "gid": 0, "size": len(content), "mtime": 0})
    return b"".join((extended, content, _ZERO[: -len(content) % BLOCK_BYTES], header))


def _parted(path: bytes) -> tuple[bytes, bytes]:
    """A long name as the two that ustar has room for; the first is empty where that cannot be."""
    at = path.find(b"/", max(0, len(path) - 101))
    if 0 < at <= 155 and at + 1 < len(path) and path.isascii():
        return path[:at], path[at + 1 :]
    return b"", path


def _header(
    path: bytes,
    flag: bytes,
    mode: int,
    numbers: dict[str, int],
    *,
    target: bytes = b"",
    device: tuple[int, int] = (0, 0),
    prefix: bytes = b"",
) -> bytes:
    """One 512-byte ustar header."""
    head = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        path[:100].ljust(100, b"\0"),
        mode,
        numbers["uid"],
        numbers["gid"],
        numbers["size"],
        numbers["mtime"],
    )
    names = target[:100].ljust(100, b"\0"), bytes(64)
    tail = b"%s%sustar\00000%s%07o\0%07o\0%s" % (flag, *names, *device, prefix)
    # Numbers are ASCII, and names too where there is a prefix: the sum stays below adler32's modulus, at most 62,310.
    checksum = (adler32(tail, adler32(head)) & 0xFFFF) - 1 + 8 * 0x20
    return b"%s%06o\0 %s%s" % (head, checksum, tail, bytes(167 - len(prefix)))


def _record(key: str, value: bytes) -> bytes:
    """One pax record; its length counts itself."""
    body = b" %s=%s\n" % (key.encode("utf-8", "surrogateescape"), value)
    length = len(body) + 1
    while len(body) + len(str(length)) != length:
        length = len(body) + len(str(length))
    return b"%d%s" % (length, body)


def _is_binary(value: bytes) -> bool:
    """Whether a name is not UTF-8."""
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False
