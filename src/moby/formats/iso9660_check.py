"""What holds of an image that ``iso9660`` wrote, and of any good one."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from moby.formats.iso9660_read import Descriptor, Found, Image, Record
from moby.formats.iso9660_records import PARENT, SECTOR, SELF, sectors


def validate(stream: BinaryIO, *, where: str = "") -> None:
    """Raise ``IntegrityError`` unless what follows holds.

    - every file has Rock Ridge attributes;
    - the volume lies within the stream, and every file and directory within the volume;
    - directories name themselves and their parents, their records are in order, all different;
    - both path tables list just these directories, by level, parent and identifier;
    - data of different files does not overlap;
    - boot images lie within the volume.
    """
    image = Image(stream, where=where)
    for descriptor in image.descriptors:
        if descriptor.sectors * SECTOR > image.size:
            raise image.fail(f"a volume of {descriptor.sectors} sectors in {image.size} bytes")
        directories = _check_tree(image, descriptor)
        _check_tables(image, descriptor, directories)
    for extent in image.boot:
        if extent.sector >= image.primary.sectors:
            raise image.fail(f"a boot image at sector {extent.sector}, outside of the volume")


def _check_tree(image: Image, descriptor: Descriptor) -> dict[str, Record]:
    """Check all files; the directories by path."""
    directories: dict[str, Record] = {}
    spans: dict[tuple[int, int], str] = {}
    for found in image.walk(descriptor):
        _check_place(image, descriptor, found)
        if found.record.directory:
            _check_directory(image, found, directories)
            directories[found.path] = found.record
        for start, length in found.record.sections:
            if length:
                spans[(start, length)] = found.path
    end, before = 0, ""
    for (start, length), path in sorted(spans.items()):
        if start < end:
            raise image.fail(f"its data overlaps that of {before!r}", path)
        end, before = start + length, path
    return directories


def _check_place(image: Image, descriptor: Descriptor, found: Found) -> None:
    for start, length in found.record.sections:
        if start + sectors(length) * SECTOR > descriptor.sectors * SECTOR:
            raise image.fail("its data is outside of the volume", found.path)
    if found.path and not descriptor.joliet and found.attributes is None:
        raise image.fail("it has no Rock Ridge attributes", found.path)


def _check_directory(image: Image, found: Found, directories: dict[str, Record]) -> None:
    records = image.records(found.record)
    parent = directories.get(found.path.rpartition("/")[0], found.record)
    for identifier, meant in ((SELF, found.record), (PARENT, parent)):
        record = next(records, None)
        if record is None or record.identifier != identifier or record.sections != meant.sections:
            raise image.fail("a directory does not begin with itself and its parent", found.path)
    last = b""
    for record in records:
        if record.identifier <= last:
            raise image.fail(f"{record.identifier!r} does not come after {last!r}", found.path)
        last = record.identifier


def _check_tables(image: Image, descriptor: Descriptor, directories: dict[str, Record]) -> None:
    size = descriptor.table_size
    little = list(_rows(image.fetch(descriptor.table_little, 0, size), "<"))
    big = list(_rows(image.fetch(descriptor.table_big, 0, size), ">"))
    if little != big:
        raise image.fail("the two path tables differ")
    if sorted(sector for _, sector, _ in little) != sorted(record.sector for record in directories.values()):
        raise image.fail("the path table does not list the directories")
    # Numbers that do not fit are all the same (see ``path_table``): no order can be seen among those.
    order = [(parent, identifier if parent < 0xFFFF else b"") for identifier, _, parent in little]
    if order != sorted(order) or any(parent > number for number, (parent, _) in enumerate(order, 1)):
        raise image.fail("the path table is not in order")


def _rows(data: bytes, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Identifier, sector and parent's number of each row of a path table."""
    at = 0
    while at + 8 <= len(data):
        length, _, sector, parent = struct.unpack_from(f"{order}BBIH", data, at)
        yield data[at + 8 : at + 8 + length], sector, parent
        at += 8 + length + length % 2
