"""A table of 64-bit fingerprints that numbers its members, in some 16 bytes each: to find what may be the same.

A fingerprint may be a plain checksum: it proves nothing, and whoever asks compares the members that ``find`` gives. So
nobody gains by contents made to collide: at most ``_MOST`` members of one fingerprint are found, and no search is
longer than ``_FAR``, so that some members may not be found at all; which ones depends on nothing but the fingerprints.
"""

from __future__ import annotations

from array import array

_MOST = 4
_FAR = 256  # six times the longest search among 500,000 good checksums: the table is half full at most


class Fingerprints:
    """Numbers fingerprints in the order they come, from 0. An open hash table over arrays, without objects.

    The low 32 bits of a fingerprint should be well mixed.
    """

    def __init__(self) -> None:
        self._all = array("Q")
        self._slots = array("I", [0]) * 1024

    def __len__(self) -> int:
        return len(self._all)

    def find(self, fingerprint: int) -> tuple[tuple[int, ...], int]:
        """The first members with this fingerprint, in order, most often none; and what ``add`` has to know."""
        slots, known = self._slots, self._all
        mask = len(slots) - 1
        slot = fingerprint & mask
        found: tuple[int, ...] = ()
        steps = 0
        while number := slots[slot]:
            if known[number - 1] == fingerprint:
                found = (*found, number - 1)
            steps += 1
            slot = (slot + 1) & mask
            if steps == _FAR:
                break
        return found, slot if len(found) < _MOST and steps < _FAR else -1

    def add(self, fingerprint: int, slot: int) -> None:
        """One more member. ``slot`` is what ``find`` gave for it, with no other member added since."""
        known, slots = self._all, self._slots
        known.append(fingerprint)
        count = len(known)
        if slot >= 0:
            slots[slot] = count
        if count * 2 >= len(slots):
            self._grow()

    def _grow(self) -> None:
        placed = sorted(filter(None, self._slots))
        self._slots = array("I", [0]) * (len(self._slots) * 2)
        for number in placed:
            _, slot = self.find(self._all[number - 1])
            if slot >= 0:
                self._slots[slot] = number
