"""Disks, their partitions and file systems as parts."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
from collections.abc import Iterator
from typing import BinaryIO

from moby.errors import IntegrityError
from moby.evidence.part import Fact, Look, Part
from moby.formats import erofs_layout, erofs_read, gpt, iso9660_read, mbr, squashfs_read, squashfs_tables, verity
from moby.formats.entry import Entry
from moby.formats.fatread import FileSystem
from moby.formats.virtualdisk import identify, open_disk
from moby.formats.window import window

SECTOR_BYTES = 512
HEAD_BYTES = 4096
_ISO_AT, _ISO = 16 * 2048, b"\1CD001"
_GPT = b"EFI PART"
_SQUASHFS, _VERITY = b"hsqs", b"verity\0\0"
_EXT_AT, _EXT = 1024 + 56, b"\x53\xef"
_BLOCK_BYTES = 4096
_TYPES = {gpt.EFI_SYSTEM: "EFI system", gpt.LINUX: "Linux data"}


def disk(stream: BinaryIO, name: str, look: Look) -> Part | None:
    """The disk, ISO image or file system in ``stream``, if it is one."""
    if kind := identify(stream):
        inner = open_disk(stream)
        return Part(name=name, kind=kind, stream=stream, parts=(look(inner, "disk"),))
    stream.seek(_ISO_AT)
    if stream.read(len(_ISO)) == _ISO:
        return _iso(stream, name)
    return file_system(stream, name) or _partitioned(stream, name, look)


def _partitioned(stream: BinaryIO, name: str, look: Look) -> Part | None:
    stream.seek(0)
    first = stream.read(SECTOR_BYTES)
    if stream.read(len(_GPT)) == _GPT:
        return _gpt(stream, name, look)
    try:
        table = mbr.read(first)
    except IntegrityError:
        return None
    facts: dict[str, Fact] = {"disk id": f"{table.disk_id:08x}", "boot code": _digest(table.boot_code)}
    parts = [
        _partition(
            stream,
            (number, each.first_sector, each.sectors),
            {"type": f"{each.type:#04x}", "active": each.active},
            look,
        )
        for number, each in enumerate(table.partitions, 1)
    ]
    return Part(name=name, kind="MBR disk", stream=stream, facts=facts, parts=tuple(parts)) if parts else None


def _gpt(stream: BinaryIO, name: str, look: Look) -> Part:
    table = gpt.read(stream)
    facts: dict[str, Fact] = {"disk id": str(table.disk_id), "boot code": _digest(table.boot_code)}
    parts = []
    for number, each in enumerate(table.partitions, 1):
        own: dict[str, Fact] = {"type": _TYPES.get(each.type, str(each.type)), "id": str(each.id), "label": each.name}
        place = (number, each.first_sector, each.last_sector - each.first_sector + 1)
        parts.append(_partition(stream, place, own, look))
    return Part(name=name, kind="GPT disk", stream=stream, facts=facts, parts=tuple(parts))


def _partition(stream: BinaryIO, place: tuple[int, int, int], facts: dict[str, Fact], look: Look) -> Part:
    """A partition with what is in it; ``place`` is its number, first sector and number of sectors."""
    number, first, sectors = place
    inner = look(window(stream, first * SECTOR_BYTES, sectors * SECTOR_BYTES), f"partition {number}")
    all_facts: dict[str, Fact] = {**facts, "first sector": first, "sectors": sectors, **inner.facts}
    return Part(
        name=inner.name,
        kind=inner.kind,
        stream=inner.stream,
        facts=all_facts,
        parts=inner.parts,
        entries=inner.entries,
    )


def _digest(code: bytes) -> str:
    return f"sha256:{hashlib.sha256(code).hexdigest()}" if code else "none"


def _iso(stream: BinaryIO, name: str) -> Part:
    image = iso9660_read.Image(stream, where=name)
    facts: dict[str, Fact] = {"label": image.primary.name}
    facts |= {"boots": tuple(each.platform.name for each in image.boot)} if image.boot else {}
    stream.seek(0)
    try:
        table = mbr.read(stream.read(SECTOR_BYTES))
    except IntegrityError:
        table = mbr.Table(partitions=(), disk_id=0)
    if table.partitions:
        facts |= {"disk id": f"{table.disk_id:08x}", "boot code": _digest(table.boot_code)}
        facts["partitions"] = _iso_partitions(stream, table)
    entries = functools.partial(iso9660_read.read, stream, where=name)
    return Part(name=name, kind="ISO 9660", stream=stream, facts=facts, entries=entries)


def _iso_partitions(stream: BinaryIO, table: mbr.Table) -> tuple[str, ...]:
    """What a stick with the image is divided into: by its GPT where it has one."""
    if any(each.type == mbr.PROTECTIVE for each in table.partitions):
        with contextlib.suppress(IntegrityError):  # then the other one is shown
            found = gpt.read(stream).partitions
            return tuple(f"{_TYPES.get(each.type, str(each.type))} at {each.first_sector}" for each in found)
    return tuple(f"{each.type:#04x} at {each.first_sector}" for each in table.partitions)


def file_system(stream: BinaryIO, name: str) -> Part | None:
    """The file system at the start of ``stream``, if there is one that is known."""
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    if head.startswith(_SQUASHFS):
        return _squashfs(stream, name)
    if head[1024:1028] == erofs_layout.MAGIC.to_bytes(4, "little"):
        return _erofs(stream, name)
    if head.startswith(_VERITY):
        return _hash_tree(stream, name)
    if head[_EXT_AT : _EXT_AT + 2] == _EXT:
        return Part(name=name, kind="ext file system", stream=stream)
    return _fat(stream, name) if head[:1] in (b"\xeb", b"\xe9") else None


def _fat(stream: BinaryIO, name: str) -> Part | None:
    try:
        system = FileSystem(stream)
    except IntegrityError:
        return None
    facts: dict[str, Fact] = {"label": system.label, "volume id": f"{system.number:08x}"}
    return Part(name=name, kind=system.geometry.kind.name, stream=stream, facts=facts, entries=system.entries)


def _squashfs(stream: BinaryIO, name: str) -> Part:
    stream.seek(0)
    image = squashfs_tables.Image(stream, name)

    def entries() -> Iterator[Entry]:
        stream.seek(0)
        return squashfs_read.read(stream, where=name)

    behind = _after(stream, image.superblock.size_bytes)
    return Part(name=name, kind="squashfs", stream=stream, parts=behind, entries=entries)


def _erofs(stream: BinaryIO, name: str) -> Part:
    stream.seek(erofs_layout.SUPERBLOCK_OFFSET)
    superblock = erofs_layout.Superblock.decode(stream.read(erofs_layout.SUPERBLOCK_BYTES), where=name)

    def entries() -> Iterator[Entry]:
        stream.seek(0)
        return erofs_read.read(stream, where=name)

    facts: dict[str, Fact] = {"id": str(superblock.uuid)}
    behind = _after(stream, superblock.blocks * superblock.block_bytes)
    return Part(name=name, kind="EROFS", stream=stream, facts=facts, parts=behind, entries=entries)


def _after(stream: BinaryIO, size_bytes: int) -> tuple[Part, ...]:
    """The hash tree that follows a file system of this size."""
    at = size_bytes + -size_bytes % _BLOCK_BYTES
    end = stream.seek(0, io.SEEK_END)
    if at >= end:
        return ()
    stream.seek(at)
    if stream.read(len(_VERITY)) != _VERITY:
        return ()
    return (_hash_tree(window(stream, at, end - at), "verity"),)


def _hash_tree(stream: BinaryIO, name: str) -> Part:
    """A tree of dm-verity; its top block is the first one, and the root hash is that block's."""
    stream.seek(0)
    superblock = verity.Superblock.decode(stream.read(verity.BLOCK_BYTES), where=name)
    facts: dict[str, Fact] = {"id": str(superblock.uuid), "salt": superblock.salt.hex()}
    facts |= {"algorithm": superblock.algorithm, "data blocks": superblock.data_blocks}
    if superblock.levels:
        top = stream.read(verity.BLOCK_BYTES)
        facts["root hash"] = hashlib.new(superblock.algorithm, superblock.salt + top).hexdigest()
    return Part(name=name, kind="dm-verity tree", stream=stream, facts=facts)
