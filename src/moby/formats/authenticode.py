"""Authenticode signatures of EFI programs, which Secure Boot checks: made and verified.

Sources: "Windows Authenticode Portable Executable Signature Format" (the hash, SpcIndirectDataContent); UEFI
specification 32.2 (what firmware accepts). Rules kept here:

- The hash is over the headers without checksum and the certificate table's place, the sections in the order of the
  file, and what is behind them up to the certificate table. It is computed over a stream.
- No time stamp: the same key, certificate and program give the same bytes.
- Signatures that are there already are kept, and the new one put behind.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from moby.errors import IntegrityError
from moby.formats import authenticode_pkcs7 as pkcs7
from moby.formats import der, pe
from moby.formats.authenticode_keys import Signer
from moby.formats.stream import SMALL_BYTES

__all__ = ["Signer", "digest", "sign", "signers", "verify"]

_TABLE_LIMIT = 1 << 20
_ALIGNMENT = 8
_ENTRY = struct.Struct("<IHH")  # WIN_CERTIFICATE: length, revision, type
_REVISION, _PKCS7 = 0x0200, 0x0002
_SPC_INDIRECT_DATA = der.oid("1.3.6.1.4.1.311.2.1.4")
_SPC_PE_IMAGE_DATA = der.oid("1.3.6.1.4.1.311.2.1.15")
# SpcPeImageData: no flags, and in place of a file an empty text, as signers for Linux write it.
_NO_FLAGS = der.encode(0x03, b"\0")
_NO_FILE = der.explicit(0, der.explicit(2, der.encode(0x80)))


def digest(stream: BinaryIO, *, where: str = "") -> bytes:
    """The Authenticode SHA-256 of the program in a seekable stream. Raises ``IntegrityError`` when it is none."""
    return _digest(stream, pe.read(stream, where=where))


def sign(stream: BinaryIO, signer: Signer, *, where: str = "") -> int:
    """Sign the program in ``stream`` (readable, writable, seekable) in place, and return its new size in bytes.

    Raises ``IntegrityError`` when it is no EFI program.
    """
    image = pe.read(stream, where=where)
    table = _table(stream, image)
    if not table:
        stream.seek(0, io.SEEK_END)
        stream.write(bytes(-image.file_size % _ALIGNMENT))
        image = pe.read(stream, where=where)
    start = image.certificates[0] if table else image.file_size
    indirect = der.sequence(
        der.sequence(_SPC_PE_IMAGE_DATA, der.sequence(_NO_FLAGS, _NO_FILE)),
        der.sequence(pkcs7.SHA256, der.octets(_digest(stream, image))),
    )
    signature = pkcs7.sign(_SPC_INDIRECT_DATA, indirect, signer)
    entry = _ENTRY.pack(_ENTRY.size + len(signature), _REVISION, _PKCS7) + signature
    entry += bytes(-len(entry) % _ALIGNMENT)
    stream.seek(start + len(table))
    stream.write(entry)
    stream.truncate()
    stream.seek(image.directory_at)
    stream.write(struct.pack("<II", start, len(table) + len(entry)))
    return start + len(table) + len(entry)


def signers(stream: BinaryIO, *, where: str = "") -> tuple[x509.Certificate, ...]:
    """The certificates that signed the program, in order; none when it is unsigned.

    Raises ``IntegrityError`` when it is no EFI program, was changed after it was signed, or has a damaged signature.
    """
    image = pe.read(stream, where=where)
    found = []
    for signature in _signatures(_table(stream, image)):
        content, certificate = pkcs7.verify(signature, _SPC_INDIRECT_DATA)
        algorithm, expected = content.child(1, 0), content.child(1, 1)
        if algorithm.raw != pkcs7.SHA256:
            raise IntegrityError("the signature is not over SHA-256", where=where)
        actual = _digest(stream, image)
        if actual != expected.content:
            what = f"signed as sha256:{expected.content.hex()}, it is sha256:{actual.hex()} now"
            raise IntegrityError(f"the program was changed after it was signed: {what}", where=where)
        found.append(certificate)
    return tuple(found)


def verify(stream: BinaryIO, trusted: Sequence[x509.Certificate], *, where: str = "") -> x509.Certificate:
    """The first signer that is one of ``trusted`` or was issued by one, as firmware decides with its ``db``.

    Dates are not looked at, as firmware does not. Raises ``IntegrityError`` when there is none, and as ``signers``.
    """
    found = signers(stream, where=where)
    for certificate in found:
        if any(certificate == each or _issued(certificate, each) for each in trusted):
            return certificate
    names = ", ".join(each.subject.rfc4514_string() for each in found)
    raise IntegrityError(f"signed by {names}, who is not trusted" if found else "not signed", where=where)


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _digest(stream: BinaryIO, image: pe.Image) -> bytes:
    state = hashlib.sha256()
    for start, end in _ranges(image):
        stream.seek(start)
        while start < end:
            chunk = stream.read(min(SMALL_BYTES, end - start))
            if not chunk:
                raise IntegrityError("the program is truncated")
            state.update(chunk)
            start += len(chunk)
    return state.digest()


def _ranges(image: pe.Image) -> Iterator[tuple[int, int]]:
    """The parts of the file that are hashed, as start and end."""
    yield 0, image.checksum_at
    yield image.checksum_at + 4, image.directory_at
    yield image.directory_at + 8, image.headers_size
    hashed = image.headers_size
    for section in sorted(image.sections, key=lambda section: section.offset):
        if section.size:
            yield section.offset, section.offset + section.size
            hashed += section.size
    yield hashed, image.certificates[0] if image.certificates[1] else image.file_size


def _table(stream: BinaryIO, image: pe.Image) -> bytes:
    """The certificate table, which must be the end of the file."""
    offset, size = image.certificates
    if not size:
        return b""
    if size > _TABLE_LIMIT or offset + size != image.file_size or offset % _ALIGNMENT:
        raise IntegrityError(f"a certificate table of {size} bytes at {offset} of {image.file_size}")
    stream.seek(offset)
    return stream.read(size)


def _signatures(table: bytes) -> Iterator[bytes]:
    at = 0
    while at + _ENTRY.size <= len(table):
        size, revision, kind = _ENTRY.unpack_from(table, at)
        if size < _ENTRY.size or at + size > len(table):
            raise IntegrityError(f"a signature of {size} bytes where {len(table) - at} are left")
        if (revision, kind) == (_REVISION, _PKCS7):
            yield table[at + _ENTRY.size : at + size]
        at += size + -size % _ALIGNMENT
