"""The Castagnoli CRC, which the standard library lacks. A loop over bytes: for headers and small tables only."""

from __future__ import annotations

_POLYNOMIAL = 0x82F63B78  # RFC 3720, appendix B.4, lowest bit first


def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The CRC-32C of ``data`` (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
