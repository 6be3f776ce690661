"""The contents in an EROFS image that later files may share: which are equal, and where they lie."""

from __future__ import annotations

from array import array
from collections.abc import Callable

from moby.formats.erofs_inode import Place
from moby.formats.erofs_layout import BLOCK_BYTES
from moby.formats.erofs_space import Space
from moby.formats.fingerprints import Fingerprints

_CHUNK_BYTES = 1 << 20
_MASK_32 = 0xFFFFFFFF


class Contents:
    """Numbers contents in the order they come, from 0; equal contents have one number.

    What has the size and the checksum of something before is compared with it byte by byte: hashing all contents would
    cost more, and a checksum alone proves nothing. Kept per number, in some 40 bytes: how large it is, where its whole
    blocks begin, and where its tail is.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._known = Fingerprints()
        self._sizes = array("Q")
        self._starts = array("I")
        self._tails = array("Q")  # positions beside inodes; 0 for a tail that follows the whole blocks, and for none

    def number(self, size: int, check: int, tail: bytes, read: Callable[[int, int], bytes]) -> int:
        """The number of ``size`` bytes with the CRC-32 ``check``; when it is new, ``keep`` has to follow.

        ``read`` gives so many of them from an offset on, but for ``tail``, which is what follows their whole blocks.
        """
        fingerprint = (size & _MASK_32) << 32 | check
        alike, slot = self._known.find(fingerprint)
        for number in alike:
            if self._sizes[number] == size and self._same(number, tail, read):
                return number
        self._known.add(fingerprint, slot)
        self._sizes.append(size)
        return len(self._sizes) - 1

    def find(self, number: int, place: Place) -> tuple[Place, int] | None:
        """A place that shares kept blocks, and the first of these, when they hold as much as ``place`` wants there."""
        if number == len(self._starts):
            return None
        if not self._tails[number]:
            place = Place(place.owner, place.size, place.extended, inline=False)
        elif not place.inline:
            return None
        return place, self._starts[number]

    def keep(self, number: int, start: int, tail: int) -> None:
        """Say where contents were written: their first block, and the position of a tail that is beside an inode."""
        if number == len(self._starts):
            self._starts.append(start)
            self._tails.append(tail)
        else:
            self._starts[number], self._tails[number] = start, tail

    def _same(self, number: int, tail: bytes, read: Callable[[int, int], bytes]) -> bool:
        whole = self._sizes[number] - len(tail)
        start = self._starts[number] * BLOCK_BYTES
        for offset in range(0, whole, _CHUNK_BYTES):
            count = min(_CHUNK_BYTES, whole - offset)
            if read(offset, count) != self._space.read(start + offset, count):
                return False
        return not tail or self._space.read(self._tails[number] or start + whole, len(tail)) == tail
