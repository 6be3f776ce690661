"""Inodes of an EROFS image: compact where that loses nothing, else extended."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from moby.errors import IntegrityError
from moby.formats.entry import Entry, Kind
from moby.formats.erofs_layout import (
    BLOCK_BYTES,
    COMPACT,
    EXTENDED,
    SLOT_BYTES,
    TYPES,
    Layout,
    encode_xattrs,
    xattr_count,
)

_MAX_32 = 0xFFFFFFFF
_FACTS = struct.Struct("<HIIQ")


@dataclass(frozen=True, slots=True)
class Owner:
    """What is written of an entry besides its data: mode with type, owners, time, encoded attributes."""

    mode: int
    uid: int
    gid: int
    mtime_s: int
    xattrs: bytes

    @classmethod
    def of(cls, entry: Entry) -> Owner:
        """An entry's. ``IntegrityError`` when the format cannot hold it."""
        if not 0 <= entry.uid <= _MAX_32 or not 0 <= entry.gid <= _MAX_32:
            raise IntegrityError(f"owner {entry.uid}:{entry.gid} is out of range", where=entry.path)
        xattrs = encode_xattrs(entry.xattrs, entry.path) if entry.xattrs else b""
        return cls(entry.mode & 0o7777 | entry.kind.value, entry.uid, entry.gid, max(entry.mtime_s, 0), xattrs)

    @classmethod
    def decode(cls, facts: bytes) -> Owner:
        """What ``encode`` gave."""
        mode, uid, gid, mtime_s = _FACTS.unpack_from(facts)
        return cls(mode, uid, gid, mtime_s, facts[_FACTS.size :])

    def encode(self) -> bytes:
        """As a catalog's facts."""
        return _FACTS.pack(self.mode, self.uid, self.gid, self.mtime_s) + self.xattrs

    def extended(self, size: int, links: int, time_s: int) -> bool:
        """Whether it takes an extended inode: a compact one has the image's time, and small numbers."""
        return self.mtime_s != time_s or max(self.uid, self.gid, links) > 0xFFFF or size > _MAX_32

    def head_bytes(self, *, extended: bool) -> int:
        """What inode and attributes take; a tail may follow them."""
        return (EXTENDED.size if extended else COMPACT.size) + len(self.xattrs)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an inode goes, and what follows from its size: ``inline`` says that the tail follows it."""

    owner: Owner
    size: int
    extended: bool
    inline: bool

    @classmethod
    def plan(cls, owner: Owner, size: int, *, links: int, time_s: int) -> Place:
        """For ``size`` bytes of data. A tail is inline when inode and tail fit into one block."""
        extended = owner.extended(size, links, time_s)
        tail = size % BLOCK_BYTES
        head = owner.head_bytes(extended=extended)
        return cls(owner, size, extended, 0 < tail <= BLOCK_BYTES - head)

    @property
    def head_bytes(self) -> int:
        """What comes before a tail that is inline."""
        return self.owner.head_bytes(extended=self.extended)

    @property
    def slot_bytes(self) -> int:
        """What must lie in a row."""
        return self.head_bytes + (self.size % BLOCK_BYTES if self.inline else 0)

    @property
    def tail_offset(self) -> int:
        """How much is in whole blocks."""
        return self.size - self.size % BLOCK_BYTES

    @property
    def blocks(self) -> int:
        """Data blocks elsewhere."""
        return self.size // BLOCK_BYTES if self.inline else -(-self.size // BLOCK_BYTES)

    def encode(self, *, links: int, start: int, number: int, tail: bytes = b"") -> bytes:
        """The inode with what follows it. ``start`` is the first data block, or a device's number."""
        owner, layout = self.owner, Layout.INLINE if self.inline else Layout.PLAIN
        count = xattr_count(len(owner.xattrs))
        ids = number & _MAX_32, owner.uid, owner.gid
        if self.extended:
            fields = (owner.mode, self.size, start, *ids, owner.mtime_s, 0, links)
            inode = EXTENDED.pack(layout << 1 | 1, count, *fields)
        else:
            inode = COMPACT.pack(layout << 1, count, owner.mode, links, self.size, start, *ids)
        return b"%b%b%b" % (inode, owner.xattrs, tail if self.inline else b"")


def type_of(kind: Kind) -> int:
    """A directory entry's type."""
    return TYPES[kind]


assert COMPACT.size == SLOT_BYTES
assert EXTENDED.size == 2 * SLOT_BYTES
