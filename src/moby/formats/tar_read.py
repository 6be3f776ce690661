"""Reading tar archives; see ``tar``."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, cast

from zlib_ng.zlib_ng import adler32

from moby.formats.entry import DIRECTORY, FILE, HARDLINK, SYMLINK, Entry, Kind
from moby.formats.stream import SMALL_BYTES, Body, Source
from moby.formats.tar_layout import BLOCK_BYTES, KINDS, LINKS, XATTR

# Mode, uid, gid, size and mtime, without the byte that ends each, and the checksum.
_FIELDS = struct.Struct("100x7sx7sx7sx11sx11sx8s")
_MAX_ID = 0xFFFFFFFF
# Linux has no larger device numbers: 12 bits and 20 bits (MINORBITS of the kernel, with mknod's encoding).
_MAX_MAJOR, _MAX_MINOR = 0xFFF, 0xFFFFF
_MAX_TIME_S = 1 << 62
_ZERO = bytes(BLOCK_BYTES)
_UNCLEAN_START = frozenset(("", "/", "."))
# Extension headers: pax for the next entry, pax for all that follow, GNU long name, GNU long link.
_EXTENSIONS = frozenset((b"x", b"g", b"L", b"K"))
_PAX_KEYS = frozenset(("path", "linkpath", "size", "uid", "gid", "mtime", LINKS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one archive may ask for: entries, bytes of one entry's names and attributes, bytes of one file.

    ``header_bytes`` holds for all the extension headers before one entry together.
    """

    entries: int = 1_000_000
    header_bytes: int = 1 << 20
    path_bytes: int = 4096
    file_bytes: int = 1 << 40


def read(stream: BinaryIO, *, limits: Limits | None = None, where: str = "", origin: str = "") -> Iterator[Entry]:
    """The entries of an uncompressed tar, in archive order, with cleaned paths and ``origin``.

    ``./a/`` becomes ``a``, a leading ``/`` is dropped, and the entry of the root itself (``./``) is left out.
    The rest of ``stream`` after the end marker is read and thrown away, so that checks made at its end are made.
    Raises ``IntegrityError``, with ``where`` (the archive) and the entry's name, for anything hostile or broken.
    """
    return _Reader(stream, limits or Limits(), where, origin).entries()


def clean(path: str) -> str:
    """``path`` without empty and ``.`` parts; ``""`` for the root. ``ValueError`` when it has ``..`` or a NUL."""
    if "\0" in path:
        raise ValueError("name holds a NUL")
    if _is_clean(path):
        return path
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError("name leaves the tree with '..'")
    return "/".join(parts)


def _is_clean(path: str) -> bool:
    """Whether ``path`` certainly is as ``clean`` makes it."""
    return path[:1] not in _UNCLEAN_START and path[-1] != "/" and not ("//" in path or "/." in path or "\0" in path)


class _Reader:
    """One archive being read. ``_pax`` holds records for the next entry, ``_global`` those for all that follow."""

    def __init__(self, stream: BinaryIO, limits: Limits, where: str, origin: str) -> None:
        self._source = Source(stream, where)
        self._origin = origin
        self._limits = limits
        self._global: dict[str, bytes] = {}
        self._pax: dict[str, bytes] = {}
        self._extended = 0

    def entries(self) -> Iterator[Entry]:
        source, count = self._source, 0
        while block := source.take_or_end(BLOCK_BYTES):
            if block == _ZERO:
                break
            flag = block[156:157]
            if flag in _EXTENSIONS:
                self._extend(flag, block)
                continue
            entry = self._entry(block, flag)
            if self._extended:
                self._pax, self._extended = dict(self._global), 0
            count += 1
            if count > self._limits.entries:
                raise source.fail(f"the archive has more than {self._limits.entries} entries")
            if entry.size > SMALL_BYTES:
                yield from self._large(entry)
            elif entry.path:
                yield entry
        source.entry = ""
        source.drain()

    def _large(self, entry: Entry) -> Iterator[Entry]:
        """Give an entry whose body is a stream; what the consumer leaves of it is skipped."""
        body = Body(self._source, entry.size)
        yield replace(entry, data=cast(BinaryIO, body))
        self._source.skip(body.left + -entry.size % BLOCK_BYTES)
        body.close()

    def _entry(self, block: bytes, flag: bytes) -> Entry:
        """The entry of a header, its body read when it is small; pax records win over the header's own fields."""
        source, pax = self._source, self._pax
        name = pax.get("path", b"") if pax else b""
        if not name:
            name, _, _ = block[:100].partition(b"\0")
            # GNU keeps times in the prefix.
            if block[345] and block[257:263] == b"ustar\0":
                name = _text(block[345:500]) + b"/" + name
        source.entry = path = name.decode("utf-8", "surrogateescape")
        kind = KINDS.get(flag)
        if kind is None:
            raise source.fail("sparse files are refused" if flag == b"S" else f"unknown entry type {flag!r}")
        # Before POSIX a directory was an ordinary entry whose name ends in a slash.
        if kind is FILE and name[-1:] == b"/":
            kind = DIRECTORY
        mode, uid, gid, size, mtime_s = self._numbers(block)
        xattrs: tuple[tuple[str, bytes], ...] = ()
        if pax:
            size, mtime_s = self._decimal("size", size), self._decimal("mtime", mtime_s)
            uid, gid = self._decimal("uid", uid), self._decimal("gid", gid)
            xattrs = tuple((key[len(XATTR) :], pax[key]) for key in sorted(pax) if key.startswith(XATTR))
        if kind is not FILE:
            size = 0
        if len(path) > self._limits.path_bytes or not _is_clean(path):
            path = self._clean(path, root=kind is DIRECTORY)
        if not (0 <= uid <= _MAX_ID and 0 <= gid <= _MAX_ID and 0 <= size <= self._limits.file_bytes):
            raise source.fail(f"size or owner out of range: {size} bytes, owner {uid}:{gid}")
        if not -_MAX_TIME_S < mtime_s < _MAX_TIME_S:
            raise source.fail("time out of range")
        device = kind is Kind.CHAR or kind is Kind.BLOCK
        # By position: names would be put into a dictionary, once for every entry.
        return Entry(
            path,
            kind,
            mode & 0o7777,
            uid,
            gid,
            mtime_s,
            size,
            self._target(kind, block) if kind is SYMLINK or kind is HARDLINK else "",
            self._device(block[329:337], "major", _MAX_MAJOR) if device else 0,
            self._device(block[337:345], "minor", _MAX_MINOR) if device else 0,
            xattrs,
            self._links() if kind is FILE and LINKS in pax else 1,
            source.take_padded(size, -size % BLOCK_BYTES) if 0 < size <= SMALL_BYTES else b"",
            self._origin,
        )

    def _links(self) -> int:
        links = self._decimal(LINKS, 1)
        if not 0 < links <= self._limits.entries:
            raise self._source.fail(f"a file with {links} names")
        return links

    def _numbers(self, block: bytes) -> tuple[int, int, int, int, int]:
        """Mode, uid, gid, size and mtime, after the header's checksum was compared.

        That is its bytes added up, the checksum's own eight counted as spaces. Adler-32 begins with such a sum, but
        modulo 65521: where that, or the way it is written, is another than usual, it is added up here.
        """
        mode, uid, gid, size, mtime, stored = _FIELDS.unpack_from(block)
        if stored != b"%06o\0 " % ((adler32(block) & 0xFFFF) - 1 - sum(stored) + 8 * 0x20):
            self._check_sum(block[:148], stored, block[156:])
        try:
            return int(mode, 8), int(uid, 8), int(gid, 8), int(size, 8), int(mtime, 8)
        except ValueError:
            number = self._number
        mode, uid, gid = number(block[100:108], "mode"), number(block[108:116], "uid"), number(block[116:124], "gid")
        return mode, uid, gid, number(block[124:136], "size"), number(block[136:148], "mtime")

    def _check_sum(self, head: bytes, stored: bytes, rest: bytes) -> None:
        """A header's checksum that is not written, or does not look, as it usually does."""
        checksum = self._number(stored, "checksum")
        # Some old writers added signed bytes.
        signed = sum(byte - 256 if byte > 127 else byte for byte in head + rest) + 8 * 0x20
        if checksum not in (sum(head) + sum(rest) + 8 * 0x20, signed):
            raise self._source.fail("a header's checksum is wrong: not a tar archive, or a damaged one")

    def _target(self, kind: Kind, block: bytes) -> str:
        raw = self._pax.get("linkpath") or _text(block[157:257])
        target = raw.decode("utf-8", "surrogateescape")
        if kind is HARDLINK:
            return self._clean(target, root=False)
        if not target or "\0" in target or len(raw) > self._limits.path_bytes:
            raise self._source.fail("a symbolic link's target is empty, too long or holds a NUL")
        return target

    def _clean(self, path: str, *, root: bool) -> str:
        """``path`` cleaned; the empty path of the tree's root only where ``root`` allows it."""
        if len(path) > self._limits.path_bytes:
            raise self._source.fail(f"a name of {len(path)} characters is longer than {self._limits.path_bytes}")
        try:
            cleaned = clean(path)
        except ValueError as error:
            raise self._source.fail(str(error)) from error
        if not cleaned and not root:
            raise self._source.fail("an entry has no name, or names the root of the tree")
        return cleaned

    def _number(self, field: bytes, what: str) -> int:
        """A header number: octal text, or base 256 when the first bit is set (GNU)."""
        try:
            return int(field[:-1], 8)
        except ValueError:
            pass
        if field[0] & 0x80:
            value = int.from_bytes(field, "big", signed=False) & ((1 << (8 * len(field) - 1)) - 1)
            return value - (1 << (8 * len(field) - 1)) if field[0] & 0x40 else value
        text = field.partition(b"\0")[0].strip(b" ")
        try:
            return int(text or b"0", 8)
        except ValueError:
            raise self._source.fail(f"{what} is not an octal number: {field!r}") from None

    def _device(self, field: bytes, what: str, limit: int) -> int:
        number = self._number(field, what)
        if not 0 <= number <= limit:
            raise self._source.fail(f"{what} number {number} of a device is out of range")
        return number

    def _decimal(self, key: str, default: int) -> int:
        """The whole part of a pax number, rounded down."""
        raw = self._pax.get(key)
        if not raw:
            return default
        whole, _, fraction = raw.partition(b".")
        try:
            value = int(whole)
        except ValueError:
            raise self._source.fail(f"pax record {key} is not a number: {raw[:40]!r}") from None
        if not -_MAX_TIME_S < value < _MAX_TIME_S:
            raise self._source.fail(f"pax record {key} is out of range")
        return value - 1 if whole.startswith(b"-") and fraction.strip(b"0") else value

    def _extend(self, flag: bytes, block: bytes) -> None:
        """Take one extension header's content."""
        _, _, _, size, _ = self._numbers(block)
        self._extended += BLOCK_BYTES + size
        if not 0 <= size <= self._limits.header_bytes or self._extended > self._limits.header_bytes + BLOCK_BYTES:
            what = f"an extended header of {size} bytes, {self._extended} with those before it, is larger than"
            raise self._source.fail(f"{what} {self._limits.header_bytes}")
        content = self._source.take(size + -size % BLOCK_BYTES)[:size]
        if flag == b"L" or flag == b"K":
            self._pax["path" if flag == b"L" else "linkpath"] = _text(content)
            return
        records = dict(self._records(content))
        if flag == b"g":
            self._global.update((key, value) for key, value in records.items() if key in _PAX_KEYS)
            records = self._global
        self._pax.update(records)

    def _records(self, content: bytes) -> Iterator[tuple[str, bytes]]:
        """The records of a pax header: length, space, key, ``=``, value, newline."""
        position = 0
        while position < len(content):
            space = content.find(b" ", position, position + 8)
            digits = content[position:space] if space > 0 else b""
            end = position + int(digits) if digits.isdigit() else 0
            key, equals, value = content[space + 1 : end - 1].partition(b"=")
            if not equals or end > len(content) or content[end - 1 : end] != b"\n":
                raise self._source.fail(f"broken pax record at byte {position}")
            name = key.decode("utf-8", "surrogateescape")
            if name.startswith("GNU.sparse."):
                raise self._source.fail("sparse files are refused")
            if name in _PAX_KEYS or name.startswith(XATTR):
                yield name, value
            position = end


def _text(field: bytes) -> bytes:
    """A header's text: up to its first NUL."""
    return field.partition(b"\0")[0]
