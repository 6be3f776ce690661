"""NaCl's secret box, opened and closed: what protects the private keys that cosign writes.

XSalsa20 encrypts, Poly1305 authenticates. Only the latter is in the cryptography library; the cipher is a few lines of
Python here, which is quick enough for the few hundred bytes of a key. It takes no care to run in constant time: a
build host's own key is decrypted once, for its owner.

Sources: D. J. Bernstein, "Salsa20 specification", "Extending the Salsa20 nonce" and "Cryptography in NaCl".
"""

from __future__ import annotations

import struct

from moby.errors import IntegrityError

KEY_BYTES = 32
NONCE_BYTES = 24
_TAG_BYTES = 16
_BLOCK_BYTES = 64
_MASK = 0xFFFFFFFF
_CONSTANT = struct.unpack("<4I", b"expand 32-byte k")
_DIAGONAL = (0, 5, 10, 15)
_INPUT = (6, 7, 8, 9)
# Of each quarter round the words it works on: four columns, then four rows.
_ROUNDS = (
    *((0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11)),
    *((0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14)),
)


def open_box(box: bytes, nonce: bytes, key: bytes) -> bytes:
    """The message in ``box``. Raises ``IntegrityError`` when key or nonce is another, or the box was altered."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.poly1305 import Poly1305

    stream = _stream(len(box) - _TAG_BYTES + KEY_BYTES, nonce, key)
    tag, sealed = box[:_TAG_BYTES], box[_TAG_BYTES:]
    try:
        Poly1305.verify_tag(stream[:KEY_BYTES], sealed, tag)
    except InvalidSignature as error:
        raise IntegrityError("the password is wrong, or the key is damaged") from error
    return _xor(sealed, stream[KEY_BYTES:])


def close_box(message: bytes, nonce: bytes, key: bytes) -> bytes:
    """``message``, encrypted and authenticated. A nonce serves once."""
    from cryptography.hazmat.primitives.poly1305 import Poly1305

    stream = _stream(len(message) + KEY_BYTES, nonce, key)
    sealed = _xor(message, stream[KEY_BYTES:])
    return Poly1305.generate_tag(stream[:KEY_BYTES], sealed) + sealed


def _xor(data: bytes, stream: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(data, stream, strict=True))


def _stream(count: int, nonce: bytes, key: bytes) -> bytes:
    """The first ``count`` bytes of XSalsa20's key stream."""
    if len(nonce) != NONCE_BYTES or len(key) != KEY_BYTES or count < KEY_BYTES:
        raise IntegrityError("not a secret box: a length is wrong")
    mixed = _mixed(_matrix(key, nonce[:16]))
    inner = struct.pack("<8I", *(mixed[at] for at in (*_DIAGONAL, *_INPUT)))
    blocks = range(-(-count // _BLOCK_BYTES))
    return b"".join(_block(_matrix(inner, nonce[16:] + struct.pack("<Q", number))) for number in blocks)[:count]


def _matrix(key: bytes, text: bytes) -> list[int]:
    """The 4 by 4 words that Salsa20 starts from: constants on the diagonal, 16 bytes of input in the middle."""
    one, two, middle, k = _CONSTANT[:2], _CONSTANT[2:], struct.unpack("<4I", text), struct.unpack("<8I", key)
    return [one[0], *k[:4], one[1], *middle, two[0], *k[4:], two[1]]


def _mixed(words: list[int]) -> list[int]:
    """Twenty rounds."""
    x = list(words)
    for _ in range(10):
        for a, b, c, d in _ROUNDS:
            x[b] ^= _rotated(x[a] + x[d], 7)
            x[c] ^= _rotated(x[b] + x[a], 9)
            x[d] ^= _rotated(x[c] + x[b], 13)
            x[a] ^= _rotated(x[d] + x[c], 18)
    return x


def _block(words: list[int]) -> bytes:
    mixed = _mixed(words)
    return struct.pack("<16I", *((one + other) & _MASK for one, other in zip(words, mixed, strict=True)))


def _rotated(word: int, count: int) -> int:
    word &= _MASK
    return (word << count | word >> (32 - count)) & _MASK
