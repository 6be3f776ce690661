"""What a root on a disk is known by: a hash of two pieces of it, which ``pkg/stage1`` computes too.

The pieces hold the superblocks of squashfs and EROFS and the volume descriptor of ISO 9660. FNV-1a (64 bits) tells
disks apart; that nobody changed them is for verity to say.
"""

from __future__ import annotations

from typing import BinaryIO

_PIECES = ((0, 2048), (32768, 2048))
_OFFSET, _PRIME, _MASK = 0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF


def recognise(disk: BinaryIO) -> str:
    """16 hexadecimal digits for a seekable ``disk``, whose position is lost."""
    value = _OFFSET
    for offset, size in _PIECES:
        disk.seek(offset)
        for byte in disk.read(size).ljust(size, b"\0"):
            value = (value ^ byte) * _PRIME & _MASK
    return f"{value:016x}"
