"""A set of digests that numbers its members, in some 25 bytes each: for finding files that came before."""

from __future__ import annotations

from array import array

_BYTES = 16  # of a cryptographic digest: enough that equal ones are equal files


class Digests:
    """Numbers digests in the order they come, from 0. An open hash table over arrays, without an object per member."""

    def __init__(self) -> None:
        self._all = bytearray()
        self._slots = array("I", [0]) * 1024

    def __len__(self) -> int:
        return len(self._all) // _BYTES

    def number(self, digest: bytes) -> int:
        """The digest's number: ``len(self)`` as it was before, when the digest is new."""
        digest = digest[:_BYTES]
        slots, known = self._slots, self._all
        mask = len(slots) - 1
        slot = int.from_bytes(digest[:8], "little") & mask
        while number := slots[slot]:
            if known[number * _BYTES - _BYTES : number * _BYTES] == digest:
                return number - 1
            slot = (slot + 1) & mask
        known += digest
        slots[slot] = count = len(known) // _BYTES
        if count * 2 > mask:
            self._grow()
        return count - 1

    def _grow(self) -> None:
        mask = len(self._slots) * 2 - 1
        slots = array("I", [0]) * (mask + 1)
        for start in range(0, len(self._all), _BYTES):
            slot = int.from_bytes(self._all[start : start + 8], "little") & mask
            while slots[slot]:
                slot = (slot + 1) & mask
            slots[slot] = start // _BYTES + 1
        self._slots = slots
