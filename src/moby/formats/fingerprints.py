"""A table of 64-bit fingerprints that numbers its members, in some 16 bytes each: to find what may be the same.

A fingerprint may be a plain checksum: it proves nothing, and whoever asks compares the members that ``find`` gives. So
nobody gains by contents made to collide: at most ``_MOST`` members of one fingerprint are found, and the places of
others in the table depend on a number that is drawn for each table. What is found does not.
"""

from __future__ import annotations

import secrets
from array import array

_MOST = 4
_MASK_64 = (1 << 64) - 1
_HIGH = 32  # from here on the bits of a product are well mixed


class Fingerprints:
    """Numbers fingerprints in the order they come, from 0. An open hash table over arrays, without objects."""

    def __init__(self) -> None:
        self._all = array("Q")
        self._slots = array("I", [0]) * 1024
        self._factor = secrets.randbits(64) | 1
        self._end = 0  # the free slot at which the last search ended

    def __len__(self) -> int:
        return len(self._all)

    def find(self, fingerprint: int) -> tuple[int, ...]:
        """The first members with this fingerprint, in order; most often none."""
        slots, known = self._slots, self._all
        mask = len(slots) - 1
        slot = ((fingerprint * self._factor & _MASK_64) >> _HIGH) & mask
        found: tuple[int, ...] = ()
        while number := slots[slot]:
            if known[number - 1] == fingerprint:
                found = (*found, number - 1)
            slot = (slot + 1) & mask
        self._end = slot if len(found) < _MOST else -1
        return found

    def add(self, fingerprint: int) -> None:
        """One more member, with the fingerprint that was looked for last."""
        known, slots = self._all, self._slots
        known.append(fingerprint)
        count = len(known)
        if self._end >= 0:
            slots[self._end] = count
        if count * 2 >= len(slots):
            self._grow()

    def _grow(self) -> None:
        placed = sorted(filter(None, self._slots))
        self._slots = slots = array("I", [0]) * (len(self._slots) * 2)
        mask = len(slots) - 1
        for number in placed:
            slot = ((self._all[number - 1] * self._factor & _MASK_64) >> _HIGH) & mask
            while slots[slot]:
                slot = (slot + 1) & mask
            slots[slot] = number
