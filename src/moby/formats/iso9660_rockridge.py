"""Rock Ridge 1.12: POSIX names, owners, modes, times, links and devices in the system use area of directory records.

Rules kept here, from the Rock Ridge Interchange Protocol and the System Use Sharing Protocol (IEEE P1282, P1281), and
from Linux, whose ``fs/isofs/rock.c`` reads what is written:

- A record has room for 255 bytes. What does not fit goes to a continuation area, which ``CE`` points to and which must
  not cross the end of a sector; a continuation area may end with a ``CE`` of its own.
- Linux cuts names of 254 bytes and more, so those are refused.
- Deep directories stay where they are: the eight levels of ECMA-119 are no limit for any reader of Rock Ridge, and
  moving directories would show ``rr_moved`` to those that know none of it.
- A device number stands in the low half alone where both parts fit eight bits, as programs that know a 32-bit ``dev_t``
  expect; else high and low are major and minor, as Linux reads them.
- There is no way to say extended attributes: they are left out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from moby.errors import IntegrityError
from moby.formats.entry import Kind
from moby.formats.iso9660_records import SECTOR, both32, short_time, unboth32, unshort_time

NAME_BYTES = 253
TARGET_BYTES = 4095  # PATH_MAX without its NUL
CE_BYTES = 28
_FIELD_BYTES = 255
_CONTINUE = 1  # flag of NM, SL and a component of SL
_CURRENT, _PARENT, _ROOT = 2, 4, 8  # flags of NM and of a component of SL
_MODIFIED = 2  # flag of TF
_IDENTIFIER = b"IEEE_P1282"
_DESCRIPTION = b"THE IEEE P1282 PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS"
_SOURCE = b"PLEASE CONTACT THE IEEE STANDARDS DEPARTMENT, PISCATAWAY, NJ, USA FOR THE P1282 SPECIFICATION"
_MAX_CHAIN = 32  # Linux: RR_MAX_CE_ENTRIES

Fetch = Callable[[int, int, int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What Rock Ridge says about a file beyond its name. ``serial`` is the same for all names of one file."""

    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_s: int
    links: int = 1
    serial: int = 0
    target: str = ""
    major: int = 0
    minor: int = 0


def fields(attributes: Attributes, name: bytes = b"") -> list[bytes]:
    """The system use fields of a record; ``.`` and ``..`` have no name."""
    mode = attributes.kind.value | attributes.mode
    numbers = (mode, attributes.links, attributes.uid, attributes.gid, attributes.serial)
    made = [_field(b"PX", b"".join(both32(number) for number in numbers))]
    made.append(_field(b"TF", bytes((_MODIFIED,)) + short_time(attributes.mtime_s)))
    made += _name(name)
    if attributes.kind is Kind.SYMLINK:
        made += _link(attributes.target.encode("utf-8", "surrogateescape"))
    elif attributes.kind in (Kind.CHAR, Kind.BLOCK):
        made.append(_device(attributes.major, attributes.minor))
    return made


def indicators() -> list[bytes]:
    """The fields that only the root's ``.`` has: that System Use Sharing is used, and by Rock Ridge."""
    lengths = bytes((len(_IDENTIFIER), len(_DESCRIPTION), len(_SOURCE), 1))
    return [_field(b"SP", b"\xbe\xef\0"), _field(b"ER", lengths + _IDENTIFIER + _DESCRIPTION + _SOURCE)]


def split(made: list[bytes], room: int) -> list[bytes]:
    """Parts that hold ``made`` in order: the first within ``room`` bytes, the others within a sector.

    All but the last leave room for the ``CE`` that ``continued`` adds.
    """
    parts = [bytearray()]
    left = sum(len(each) for each in made)
    for field in made:
        limit = room if len(parts) == 1 else SECTOR
        used = len(parts[-1])
        if used + left > limit and used + len(field) + CE_BYTES > limit:
            parts.append(bytearray())
        parts[-1] += field
        left -= len(field)
    return [bytes(part) for part in parts]


def continued(part: bytes, sector: int, offset: int, size: int) -> bytes:
    """``part`` with a ``CE`` that says where the next one is."""
    return part + _field(b"CE", both32(sector) + both32(offset) + both32(size))


def _field(signature: bytes, data: bytes) -> bytes:
    return signature + bytes((len(data) + 4, 1)) + data


def _name(name: bytes) -> Iterator[bytes]:
    room = _FIELD_BYTES - 5
    for at in range(0, len(name), room):
        more = _CONTINUE if at + room < len(name) else 0
        yield _field(b"NM", bytes((more,)) + name[at : at + room])


def _device(major: int, minor: int) -> bytes:
    if 0 < major < 256 and minor < 256:
        return _field(b"PN", both32(0) + both32(major << 8 | minor))
    return _field(b"PN", both32(major) + both32(minor))


def _link(target: bytes) -> Iterator[bytes]:
    """``SL`` fields: one component for each part of the path, cut where a field is full."""
    room = _FIELD_BYTES - 5
    held = bytearray()
    for component in _components(target):
        if len(held) + len(component) > room:
            yield _field(b"SL", bytes((_CONTINUE,)) + held)
            held.clear()
        held += component
    yield _field(b"SL", b"\0" + held)


def _components(target: bytes) -> Iterator[bytes]:
    parts = target.split(b"/")
    if target.startswith(b"/"):
        yield bytes((_ROOT, 0))
        parts = parts[1:] if len(target) > 1 else []
    for part in parts:
        if part in (b".", b".."):
            yield bytes((_CURRENT if part == b"." else _PARENT, 0))
            continue
        room = _FIELD_BYTES - 7
        for at in range(0, max(len(part), 1), room):
            more = _CONTINUE if at + room < len(part) else 0
            yield bytes((more, len(part[at : at + room]))) + part[at : at + room]


@dataclass(slots=True)
class _Parsed:
    """What the fields of one record have said so far."""

    numbers: tuple[int, ...] = ()
    mtime_s: int = 0
    name: bytes = b""
    target: bytes = b""
    joined: bool = True  # whether the next component of the target goes on without a slash
    device: tuple[int, int] = (0, 0)

    def take(self, signature: bytes, data: bytes) -> None:
        """One field. Raises ``IntegrityError`` when it is too short."""
        try:
            if signature == b"PX":
                self.numbers = tuple(unboth32(data, at) for at in range(0, len(data) - 7, 8))
            elif signature == b"TF" and data[0] & _MODIFIED and not data[0] & 0x80:
                self.mtime_s = unshort_time(data[1 + 7 * (data[0] & 1) :][:7])
            elif signature == b"NM":
                self.name += data[1:]
            elif signature == b"SL":
                self._link(data)
            elif signature == b"PN":
                self.device = unboth32(data, 0), unboth32(data, 8)
        except (struct.error, IndexError) as error:
            raise IntegrityError(f"a {signature.decode('ascii', 'replace')} field of {len(data)} bytes") from error

    def _link(self, data: bytes) -> None:
        at = 1
        while at < len(data):
            flags, size = data[at], data[at + 1]
            text = {_CURRENT: b".", _PARENT: b"..", _ROOT: b"/"}.get(flags & ~_CONTINUE, data[at + 2 : at + 2 + size])
            self.target += text if self.joined else b"/" + text
            self.joined = bool(flags & (_CONTINUE | _ROOT))
            at += 2 + size


def parse(area: bytes, fetch: Fetch) -> tuple[bytes, Attributes] | None:
    """Name and attributes of a record's system use ``area``; None when it has no ``PX``.

    ``fetch`` gives the bytes of a continuation area, by sector, offset and size. Raises ``IntegrityError`` when the
    fields are damaged.
    """
    found = _Parsed()
    rest: tuple[int, int, int] | None = None
    for _ in range(_MAX_CHAIN + 1):
        rest = None
        for signature, data in _split(area):
            if signature == b"CE":
                if len(data) < 24:
                    raise IntegrityError(f"a CE field of {len(data)} bytes")
                rest = unboth32(data, 0), unboth32(data, 8), unboth32(data, 16)
            else:
                found.take(signature, data)
        if rest is None:
            break
        if rest[1] + rest[2] > SECTOR:
            raise IntegrityError("a continuation area crosses the end of its sector")
        area = fetch(*rest)
    if rest is not None:
        raise IntegrityError(f"more than {_MAX_CHAIN} continuation areas in a row")
    return (found.name, _attributes(found)) if len(found.numbers) >= 4 else None


def _split(area: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 4 <= len(area) and area[at]:
        size = area[at + 2]
        if size < 4 or at + size > len(area):
            raise IntegrityError(f"a system use field of {size} bytes where {len(area) - at} are left")
        yield area[at : at + 2], area[at + 4 : at + size]
        at += size


def _attributes(found: _Parsed) -> Attributes:
    mode, links, uid, gid, *serial = found.numbers
    kinds = {kind.value: kind for kind in Kind if kind is not Kind.HARDLINK}
    kind = kinds.get(mode & 0o170000)
    if kind is None:
        raise IntegrityError(f"unknown file type {mode:o}")
    major, minor = found.device
    if not major and minor > 0xFF:
        major, minor = minor >> 8, minor & 0xFF
    return Attributes(
        kind=kind,
        mode=mode & 0o7777,
        uid=uid,
        gid=gid,
        mtime_s=found.mtime_s,
        links=links,
        serial=serial[0] if serial else 0,
        target=found.target.decode("utf-8", "surrogateescape"),
        major=major,
        minor=minor,
    )
