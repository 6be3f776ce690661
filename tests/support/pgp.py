"""An OpenPGP key made by code: enough for gpgv to check a detached signature (RFC 4880; EdDSA as GnuPG does it)."""

from __future__ import annotations

import base64
import hashlib
import struct
import textwrap

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_CREATED = 1_700_000_000
_EDDSA, _SHA512 = 22, 10
_CURVE = bytes((9, 0x2B, 6, 1, 4, 1, 0xDA, 0x47, 15, 1))
_BINARY, _CERTIFICATION = 0x00, 0x13


class Key:
    """A signing key. ``keyring`` is its public part as a ``.gpg`` file has it."""

    def __init__(self, name: str = "Tests <tests@example.org>", seed: bytes = bytes(32)) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._public = struct.pack(">BIB", 4, _CREATED, _EDDSA) + _CURVE + _number(b"\x40" + raw)
        body = b"\x99" + struct.pack(">H", len(self._public)) + self._public
        self._fingerprint = hashlib.sha1(body).digest()
        user = name.encode()
        certified = body + b"\xb4" + struct.pack(">I", len(user)) + user
        own = self._signature(_CERTIFICATION, certified)
        self.keyring = _packet(6, self._public) + _packet(13, user) + _packet(2, own)

    def sign(self, data: bytes) -> bytes:
        """A detached, armored signature of ``data``."""
        packet = _packet(2, self._signature(_BINARY, data))
        lines = textwrap.wrap(base64.b64encode(packet).decode(), 64)
        check = base64.b64encode(_crc24(packet).to_bytes(3, "big")).decode()
        return "\n".join(
            ["-----BEGIN PGP SIGNATURE-----", "", *lines, f"={check}", "-----END PGP SIGNATURE-----", ""]
        ).encode()

    def _signature(self, kind: int, data: bytes) -> bytes:
        """The body of a version 4 signature packet."""
        hashed = bytes((5, 2)) + struct.pack(">I", _CREATED) + bytes((22, 33, 4)) + self._fingerprint
        if kind == _CERTIFICATION:
            hashed += bytes((2, 27, 3))  # may certify and sign
        head = bytes((4, kind, _EDDSA, _SHA512)) + struct.pack(">H", len(hashed)) + hashed
        digest = hashlib.sha512(data + head + b"\x04\xff" + struct.pack(">I", len(head))).digest()
        raw = self._key.sign(digest)
        unhashed = bytes((9, 16)) + self._fingerprint[-8:]
        return (
            head
            + struct.pack(">H", len(unhashed))
            + unhashed
            + digest[:2]
            + _number(raw[:32].lstrip(b"\0"))
            + _number(raw[32:].lstrip(b"\0"))
        )


def _number(data: bytes) -> bytes:
    """A multiprecision integer."""
    return struct.pack(">H", int.from_bytes(data, "big").bit_length()) + data


def _packet(tag: int, body: bytes) -> bytes:
    """A packet with an old-style header and two length octets."""
    return bytes((0x80 | tag << 2 | 1,)) + struct.pack(">H", len(body)) + body


def _crc24(data: bytes) -> int:
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return crc & 0xFFFFFF
