"""PE32+ images, as UEFI runs them: headers and sections are read, nothing is loaded.

Sources: the "PE Format" of Microsoft (COFF file header, optional header, section table, attribute certificate table).
An image that comes from outside is hostile: all places are checked against its size.
"""

from __future__ import annotations

import enum
import io
import struct
from dataclasses import dataclass
from typing import BinaryIO

from moby.errors import IntegrityError

SECTION_ENTRY = struct.Struct("<8sIIIIIIHHI")
CERTIFICATES = 4  # index of the attribute certificate table among the data directories
READ, CODE, INITIALIZED = 0x40000000, 0x20, 0x40  # section characteristics
_PE32_PLUS = 0x20B
_COFF_BYTES = 24  # with the signature before it
_DIRECTORIES_AT = 112  # in the optional header
_MAX_HEADERS = 1 << 20
_MAX_SECTIONS = 96  # the loaders' own limit


class Machine(enum.IntEnum):
    """Whose code it is."""

    AMD64 = 0x8664
    ARM64 = 0xAA64
    RISCV64 = 0x5064


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section: ``size`` bytes of the file at ``offset``, ``virtual_size`` bytes of memory at ``address``."""

    name: str
    virtual_size: int
    address: int
    size: int
    offset: int
    flags: int

    @property
    def data_size(self) -> int:
        """How many bytes of the file are its content, without the padding."""
        return min(self.size, self.virtual_size)

    def pack(self) -> bytes:
        """Its row of the section table."""
        place = (self.virtual_size, self.address, self.size, self.offset)
        return SECTION_ENTRY.pack(self.name.encode(), *place, 0, 0, 0, 0, self.flags)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image's headers. ``*_at`` are offsets in the file; ``certificates`` is where that table is, and its size."""

    machine: int
    sections: tuple[Section, ...]
    section_alignment: int
    file_alignment: int
    headers_size: int
    coff_at: int
    optional_at: int
    checksum_at: int
    directory_at: int
    table_at: int
    certificates: tuple[int, int]
    file_size: int

    def section(self, name: str) -> Section | None:
        """The first section of that name."""
        return next((section for section in self.sections if section.name == name), None)

    @property
    def body_end(self) -> int:
        """Where the last section ends in the file."""
        return max((section.offset + section.size for section in self.sections), default=self.headers_size)


def read(stream: BinaryIO, *, where: str = "") -> Image:
    """The headers of the image in a seekable stream. Raises ``IntegrityError`` when they are not those of a PE32+."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    head = stream.read(min(size, _MAX_HEADERS))
    try:
        return _parse(head, size)
    except struct.error as error:
        raise IntegrityError("the headers are truncated", where=where) from error
    except IntegrityError as error:
        raise IntegrityError(error.what, where=where, fix=error.fix) from error


def content(stream: BinaryIO, section: Section, *, limit: int) -> bytes:
    """The content of a section. Raises ``IntegrityError`` when it is longer than ``limit`` or missing."""
    if section.data_size > limit:
        raise IntegrityError(f"section {section.name} has {section.data_size} bytes, more than {limit}")
    stream.seek(section.offset)
    data = stream.read(section.data_size)
    if len(data) != section.data_size:
        raise IntegrityError(f"section {section.name} is truncated")
    return data


def _parse(head: bytes, size: int) -> Image:
    if head[:2] != b"MZ":
        raise IntegrityError("not an EFI program: it does not begin with MZ")
    (coff,) = struct.unpack_from("<I", head, 0x3C)
    if coff + _COFF_BYTES > len(head) or head[coff : coff + 4] != b"PE\0\0":
        raise IntegrityError("not an EFI program: there is no PE header")
    machine, count, _, _, _, optional_size, _ = struct.unpack_from("<HHIIIHH", head, coff + 4)
    optional = coff + _COFF_BYTES
    if struct.unpack_from("<H", head, optional)[0] != _PE32_PLUS or optional_size < _DIRECTORIES_AT:
        raise IntegrityError("not a PE32+ image")
    if count > _MAX_SECTIONS:
        raise IntegrityError(f"{count} sections, {_MAX_SECTIONS} are allowed")
    section_alignment, file_alignment = struct.unpack_from("<II", head, optional + 32)
    (headers_size,) = struct.unpack_from("<I", head, optional + 60)
    (directories,) = struct.unpack_from("<I", head, optional + 108)
    directory = optional + _DIRECTORIES_AT + 8 * CERTIFICATES
    if directories <= CERTIFICATES or directory + 8 > optional + optional_size:
        raise IntegrityError("the image has no place for a signature")
    table = optional + optional_size
    sections = tuple(_section(head, table + SECTION_ENTRY.size * number, size) for number in range(count))
    image = Image(
        machine=machine,
        sections=sections,
        section_alignment=section_alignment,
        file_alignment=file_alignment,
        headers_size=headers_size,
        coff_at=coff,
        optional_at=optional,
        checksum_at=optional + 64,
        directory_at=directory,
        table_at=table,
        certificates=struct.unpack_from("<II", head, directory),
        file_size=size,
    )
    _check(image, table + SECTION_ENTRY.size * count)
    return image


def _section(head: bytes, at: int, size: int) -> Section:
    name, virtual_size, address, raw_size, offset, _, _, _, _, flags = SECTION_ENTRY.unpack_from(head, at)
    if offset + raw_size > size:
        raise IntegrityError(f"section {name!r} is outside of the file")
    return Section(
        name=name.rstrip(b"\0").decode("latin-1"),
        virtual_size=virtual_size,
        address=address,
        size=raw_size,
        offset=offset if raw_size else 0,
        flags=flags,
    )


def _check(image: Image, table_end: int) -> None:
    for alignment in (image.section_alignment, image.file_alignment):
        if alignment == 0 or alignment & (alignment - 1):
            raise IntegrityError(f"an alignment of {alignment} bytes is no power of two")
    if not table_end <= image.headers_size <= image.file_size:
        raise IntegrityError(f"headers of {image.headers_size} bytes, their tables end at {table_end}")
    offset, size = image.certificates
    if size and (offset < image.headers_size or offset + size > image.file_size):
        raise IntegrityError("the certificate table is outside of the file")
