"""Unified kernel images: systemd's EFI stub with kernel, initrd and command line as further sections.

Sources: UAPI Group Specification 5, "Unified Kernel Image"; systemd-stub(7). Rules kept here:

- New sections go behind the stub's last one, in memory and in the file; ``.linux`` is the last of all.
- The section table may grow only as far as the stub's headers have room.
- The stub's own ``.sbat`` stays. A signature of the stub goes, as does its checksum, which UEFI does not look at.
- Everything in the image is the caller's or the stub's: no times, no ids.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import BinaryIO

from moby.errors import ConfigError, IntegrityError
from moby.formats import pe
from moby.formats.content import Content

# What the stub looks for, in the order in which it stands in the file here.
SECTIONS = (
    ".osrel",
    ".cmdline",
    ".uname",
    ".splash",
    ".dtb",
    ".pcrpkey",
    ".pcrsig",
    ".profile",
    ".ucode",
    ".initrd",
    ".linux",
)
MAGIC_SECTION = ".sdmagic"  # systemd's programs say here what they are, and their version
_LIMIT = 1 << 32
_FLAGS = pe.READ | pe.INITIALIZED
_STUB_LIMIT = 16 << 20
_TEXT_LIMIT = 1 << 16


def write(stub: bytes, sections: Mapping[str, Content], out: BinaryIO, *, where: str = "") -> int:
    """Write an image front to back and return its size in bytes. Contents are streamed, empty ones left out.

    Raises ``ConfigError`` for a section that the stub does not know, or that it has, for images of 4 GiB and more, and
    for a stub without room for them; ``IntegrityError`` when the stub is none.
    """
    image = pe.read(io.BytesIO(stub), where=where)
    sections = {name: content for name, content in sections.items() if content.size}
    _check(image, sections, where)
    placed = _place(image, sections)
    head = _headers(stub, image, placed)
    out.write(head)
    out.write(stub[len(head) : image.body_end])
    at = image.body_end
    for section in placed:
        out.write(bytes(section.offset - at))
        sections[section.name].copy(out, where=section.name)
        at = section.offset + section.virtual_size
    end = max((section.offset + section.size for section in placed), default=at)
    out.write(bytes(end - at))
    return end


def text(stream: BinaryIO, name: str) -> str:
    """What a section of text (``.cmdline``, ``.osrel``, ``.uname``) of an image says; nothing when it is not there.

    Raises ``IntegrityError`` when the image is damaged.
    """
    section = pe.read(stream).section(name)
    if section is None:
        return ""
    return pe.content(stream, section, limit=_TEXT_LIMIT).rstrip(b"\0").decode("utf-8", "replace")


def stub_version(stream: BinaryIO) -> str:
    """The version that the image's stub says it has, such as ``257.13-1``; empty when it is not systemd's."""
    words = text(stream, MAGIC_SECTION).split()
    return words[3] if words[:3] == ["####", "LoaderInfo:", "systemd-stub"] and len(words) > 3 else ""


def _check(image: pe.Image, sections: Mapping[str, Content], where: str) -> None:
    for name in sections:
        if name not in SECTIONS:
            raise ConfigError(f"a unified kernel image has no section {name!r}", fix="one of " + ", ".join(SECTIONS))
        if image.section(name) is not None:
            raise ConfigError(f"the stub has a section {name} itself", where=where)
    if ".linux" not in sections:
        raise ConfigError("a unified kernel image needs a kernel", where=where)
    end = image.table_at + pe.SECTION_ENTRY.size * (len(image.sections) + len(sections))
    if end > min(section.offset for section in image.sections if section.size) or end > image.headers_size:
        raise ConfigError(f"the stub's headers have no room for {len(sections)} more sections", where=where)
    if image.body_end > _STUB_LIMIT:
        raise IntegrityError(f"a stub of {image.body_end} bytes is not believable", where=where)


def _place(image: pe.Image, sections: Mapping[str, Content]) -> list[pe.Section]:
    """The new sections with their places."""
    placed = []
    address = max(section.address + max(section.virtual_size, section.size) for section in image.sections)
    offset = image.body_end
    for name in sorted(sections, key=SECTIONS.index):
        size = sections[name].size
        address, offset = _up(address, image.section_alignment), _up(offset, image.file_alignment)
        flags = _FLAGS | pe.CODE if name == ".linux" else _FLAGS
        raw_size = _up(size, image.file_alignment)
        placed.append(
            pe.Section(name=name, virtual_size=size, address=address, size=raw_size, offset=offset, flags=flags)
        )
        address, offset = address + size, offset + raw_size
    if max(_up(address, image.section_alignment), offset) >= _LIMIT:
        raise ConfigError(f"kernel and initrd make an EFI program of {offset} bytes", fix="4 GiB is the limit")
    return placed


def _headers(stub: bytes, image: pe.Image, placed: list[pe.Section]) -> bytes:
    """The stub's headers, which know the new sections."""
    head = bytearray(stub[: image.headers_size])
    last = placed[-1]
    (initialized,) = struct.unpack_from("<I", head, image.optional_at + 8)
    initialized += sum(section.size for section in placed)
    struct.pack_into("<H", head, image.coff_at + 6, len(image.sections) + len(placed))
    struct.pack_into("<II", head, image.coff_at + 12, 0, 0)  # the symbol table, which lies behind the sections
    struct.pack_into("<I", head, image.optional_at + 8, min(initialized, _LIMIT - 1))
    end = _up(last.address + last.virtual_size, image.section_alignment)
    struct.pack_into("<I", head, image.optional_at + 56, end)
    struct.pack_into("<I", head, image.checksum_at, 0)
    struct.pack_into("<II", head, image.directory_at, 0, 0)
    table = b"".join(section.pack() for section in (*image.sections, *placed))
    head[image.table_at : image.table_at + len(table)] = table
    return bytes(head)


def _up(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment
