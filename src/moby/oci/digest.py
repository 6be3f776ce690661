"""Content digests, and a reader that checks one while it is read.

Source: OCI image specification, "Descriptors", section "Digests"; the registered algorithms are sha256 and sha512.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from moby.errors import IntegrityError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_LENGTHS = {"sha256": 64, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """``algorithm:hex`` of some bytes."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """The digest that ``text`` spells. Raises ``IntegrityError`` for an unknown algorithm or malformed hex."""
        algorithm, _, digits = text.partition(":")
        if algorithm not in _LENGTHS:
            raise IntegrityError(f"{text[:160]!r} is not a digest", fix="write sha256: and 64 hexadecimal digits")
        if len(digits) != _LENGTHS[algorithm] or not _HEX.fullmatch(digits):
            need = f"{algorithm}: is followed by {_LENGTHS[algorithm]} lower-case hexadecimal digits"
            raise IntegrityError(f"{text[:160]!r} is not a digest", fix=need)
        return cls(algorithm=algorithm, hex=digits)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """The digest of ``data``."""
        return cls(algorithm=algorithm, hex=hashlib.new(algorithm, data).hexdigest())

    def check(self, data: bytes, *, where: str = "") -> bytes:
        """``data`` itself when it has this digest, else ``IntegrityError`` that shows both."""
        found = Digest.of(data, self.algorithm)
        if found != self:
            raise mismatch(self, None, found, len(data), where=where)
        return data

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


_ALTERED = "the source or the connection altered it; try again, and tell the image's owner if it stays"


def mismatch(
    expected: Digest, expected_bytes: int | None, got: Digest | None, got_bytes: int, *, where: str = "", fix: str = ""
) -> IntegrityError:
    """The error that shows both sides of a comparison; sizes in bytes, ``got`` is None when only the size is known."""
    wanted = str(expected) if expected_bytes is None else f"{expected} ({expected_bytes} bytes)"
    found = f"{got_bytes} bytes" if got is None else f"{got} ({got_bytes} bytes)"
    what = f"content does not match its digest: expected {wanted}, got {found}"
    return IntegrityError(what, where=where, fix=fix or _ALTERED)


class VerifiedReader(io.RawIOBase):
    """Reads ``stream`` and raises ``IntegrityError`` instead of reporting an end that comes with the wrong content.

    ``size_bytes`` is the expected length; bytes beyond it are refused as soon as they are seen. The caller must read up
    to the end (an empty read) for the check to happen, and ``verified`` is called after it. Closing closes ``stream``.
    """

    def __init__(
        self,
        stream: BinaryIO,
        digest: Digest,
        size_bytes: int,
        *,
        where: str = "",
        fix: str = "",
        verified: Callable[[], None] | None = None,
    ) -> None:
        self._stream = stream
        self._digest = digest
        self._size_bytes = size_bytes
        self._where = where
        self._fix = fix
        self._verified = verified
        self._hash = hashlib.new(digest.algorithm)
        self._count = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer``; 0 at a verified end."""
        view = memoryview(buffer).cast("B")
        data = self._stream.read(len(view))
        self._hash.update(data)
        self._count += len(data)
        if self._count > self._size_bytes:
            raise mismatch(self._digest, self._size_bytes, None, self._count, where=self._where, fix=self._fix)
        if not data and len(view):
            self._finish()
        view[: len(data)] = data
        return len(data)

    def _finish(self) -> None:
        got = Digest(algorithm=self._digest.algorithm, hex=self._hash.hexdigest())
        if self._count != self._size_bytes or got != self._digest:
            raise mismatch(self._digest, self._size_bytes, got, self._count, where=self._where, fix=self._fix)
        if self._verified is not None:
            self._verified()
            self._verified = None

    def close(self) -> None:
        """Close the stream below."""
        self._stream.close()
        super().close()
