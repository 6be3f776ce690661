"""The records of ISO 9660 (ECMA-119) and Joliet: volume descriptors, directory records, path tables.

Numbers stand in both byte orders, text is filled with spaces, times are UTC. Joliet's descriptor is the primary one
again with other names: UCS-2, big end first (Joliet Specification, "SVD").
"""

from __future__ import annotations

import datetime
import functools
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from moby.errors import IntegrityError

SECTOR = 2048
SYSTEM_AREA = 16  # sectors before the first descriptor
SECTION_BYTES = (1 << 32) - SECTOR  # the longest file section of whole sectors; longer files have several
MAGIC = b"CD001"
RECORD_BYTES = 33  # a directory record without identifier
SELF, PARENT = b"\0", b"\1"
DIRECTORY, MULTI_EXTENT = 0x02, 0x80  # file flags, ECMA-119 9.1.6
_JOLIET_LEVEL_3 = b"%/E"  # escape sequence of UCS-2 level 3
_NO_TIME = b"0" * 16 + b"\0"
_FIRST = datetime.datetime(1900, 1, 1, tzinfo=datetime.UTC)
_LAST = datetime.datetime(2155, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


def both16(value: int) -> bytes:
    """A 16-bit number in both byte orders (ECMA-119 7.2.3)."""
    return struct.pack("<H", value) + struct.pack(">H", value)


def both32(value: int) -> bytes:
    """A 32-bit number in both byte orders (ECMA-119 7.3.3)."""
    return value.to_bytes(4, "little") + value.to_bytes(4, "big")


_FIRST_VOLUME = both16(1)


def unboth32(data: bytes, at: int) -> int:
    """The number that ``both32`` wrote at ``at``. Raises ``IntegrityError`` when the two orders differ."""
    little, big = struct.unpack_from("<I", data, at)[0], struct.unpack_from(">I", data, at + 4)[0]
    if little != big:
        raise IntegrityError(f"the byte orders of a number differ: {little} and {big}")
    return int(little)


def sectors(size: int) -> int:
    """How many sectors ``size`` bytes take."""
    return -(-size // SECTOR)


def padded(data: bytes) -> bytes:
    """``data`` filled up to whole sectors."""
    return data.ljust(sectors(len(data)) * SECTOR, b"\0")


def moment(time_s: int) -> datetime.datetime:
    """Seconds since 1970 as a date that the 7-byte form can say, which goes from 1900 to 2155."""
    low, high = int(_FIRST.timestamp()), int(_LAST.timestamp())
    return _FIRST + datetime.timedelta(seconds=max(low, min(time_s, high)) - low)


@functools.lru_cache(maxsize=1024)
def short_time(time_s: int) -> bytes:
    """The 7-byte time of directory records (ECMA-119 9.1.5); most files of a tree have one of few."""
    when = moment(time_s)
    return bytes((when.year - 1900, when.month, when.day, when.hour, when.minute, when.second, 0))


def unshort_time(data: bytes) -> int:
    """Seconds since 1970 of a 7-byte time; 0 when it is none. The zone is in quarters of an hour."""
    years, month, day, hour, minute, second, zone = struct.unpack("6Bb", data[:7])
    try:
        when = datetime.datetime(1900 + years, month, day, hour, minute, second, tzinfo=datetime.UTC)
    except ValueError:
        return 0
    return round(when.timestamp()) - int(zone) * 900


def long_time(time_s: int) -> bytes:
    """The 17-byte time of volume descriptors (ECMA-119 8.4.26.1)."""
    return moment(time_s).strftime("%Y%m%d%H%M%S00").encode().rjust(16, b"0") + b"\0"


def identity(digest: bytes) -> str:
    """16 digits, a valid time, that name a volume by the ``digest`` of its content.

    Tools report the time of a volume's last modification as its UUID (``blkid``: ``2041-03-09-11-22-33-44``).
    """
    number = int.from_bytes(digest[:8], "big")
    parts = []
    for first, count in ((2000, 100), (1, 12), (1, 28), (0, 24), (0, 60), (0, 60), (0, 100)):
        number, rest = divmod(number, count)
        parts.append(f"{first + rest:02}")
    return "".join(parts)


def directory_record(
    identifier: bytes, sector: int, size: int, *, flags: int, time_s: int, system_use: bytes = b""
) -> bytes:
    """A directory record (ECMA-119 9.1), of even length; all must fit 255 bytes."""
    size_of_identifier = len(identifier)
    gap = (size_of_identifier + 1) % 2
    length = RECORD_BYTES + size_of_identifier + gap + len(system_use)
    end = length % 2
    return b"".join(
        (
            bytes((length + end, 0)),
            both32(sector),
            both32(size),
            short_time(time_s),
            bytes((flags, 0, 0)),
            _FIRST_VOLUME,
            bytes((size_of_identifier,)),
            identifier,
            bytes(gap),
            system_use,
            bytes(end),
        )
    )


def pack(records: Iterable[bytes]) -> bytes:
    """Records one after the other, none across the end of a sector (ECMA-119 6.8.1.1)."""
    made = bytearray()
    for record in records:
        if len(made) % SECTOR + len(record) > SECTOR:
            made += bytes(-len(made) % SECTOR)
        made += record
    return bytes(made)


def path_table(rows: Iterable[tuple[bytes, int, int]], order: str) -> bytes:
    """A path table of rows (identifier, sector, parent's number); ``order`` is ``<`` or ``>`` (ECMA-119 9.4).

    A parent's number has 16 bits. Later directories say 65535: readers of such trees (Linux, GRUB, xorriso) use the
    directory records alone.
    """
    made = bytearray()
    for identifier, sector, parent in rows:
        made += struct.pack(f"{order}BBIH", len(identifier), 0, sector, min(parent, 0xFFFF)) + identifier
        made += bytes(len(identifier) % 2)
    return bytes(made)


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """What a volume descriptor says: sizes and places are sectors, but ``table_size`` and ``root_size`` bytes."""

    name: str
    sectors: int
    table_size: int
    table_little: int
    table_big: int
    root: int
    root_size: int
    time_s: int
    identity: str = ""
    application: str = ""

    def primary(self) -> bytes:
        """The primary volume descriptor (ECMA-119 8.4)."""
        return self._descriptor(1, b"", "ascii")

    def joliet(self) -> bytes:
        """The supplementary descriptor of the Joliet tree (ECMA-119 8.5)."""
        return self._descriptor(2, _JOLIET_LEVEL_3, "utf-16-be")

    def _descriptor(self, kind: int, escape: bytes, codec: str) -> bytes:
        def text(value: str, size: int) -> bytes:
            characters = size // len(" ".encode(codec))
            return value[:characters].ljust(characters).encode(codec).ljust(size, b"\0")

        head = struct.pack("B5sBB", kind, MAGIC, 1, 0) + text("", 32) + text(self.name, 32) + bytes(8)
        sizes = both32(self.sectors) + escape.ljust(32, b"\0") + both16(1) + both16(1) + both16(SECTOR)
        tables = struct.pack("<II", self.table_little, 0) + struct.pack(">II", self.table_big, 0)
        root = directory_record(SELF, self.root, self.root_size, flags=DIRECTORY, time_s=self.time_s)
        names = text("", 128) * 3 + text(self.application, 128) + text("", 37) * 3
        made = long_time(self.time_s)
        changed = self.identity.encode() + b"\0" if self.identity else made
        times = made + changed + _NO_TIME * 2
        return padded(head + sizes + both32(self.table_size) + tables + root + names + times + b"\x01")


def terminator() -> bytes:
    """The descriptor that ends the set (ECMA-119 8.3)."""
    return padded(b"\xff" + MAGIC + b"\x01")
