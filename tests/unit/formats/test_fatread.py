from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moby import proc
from moby.errors import IntegrityError
from moby.formats import fat, fatread
from moby.formats.content import Content
from moby.formats.entry import Kind
from moby.formats.fat import Volume

FILES: dict[str, Content | None] = {
    "a/b/c.txt": Content.of(b"c" * 1500),
    "a long name": Content.of(b"n" * 700),
    "empty": Content.of(b""),
    "zeros": Content.of(bytes(600)),
}


def made(kind: fat.Kind = fat.Kind.FAT12) -> tuple[bytearray, fat.Layout]:
    """A small file system of clusters of 512 bytes (1024 in FAT16)."""
    asked = Volume(label="MOBY", number=1, time_s=1 << 30, kind=kind, at_least_bytes=1 << 19, align_bytes=512)
    layout = fat.layout(FILES, asked)
    out = io.BytesIO()
    layout.write(out)
    return bytearray(out.getvalue()), layout


def all_read(data: bytes) -> None:
    """Read it all as a stranger's image would be."""
    for entry in fatread.FileSystem(io.BytesIO(data)).entries():
        if not isinstance(entry.data, bytes):
            while entry.data.read(1 << 16):
                pass


def entry_at(data: bytearray, short: bytes) -> int:
    return data.index(short)


def link(data: bytearray, layout: fat.Layout, cluster: int, value: int, *, copies: int = 2) -> None:
    """Change an entry of a FAT12 allocation table."""
    for number in range(copies):
        at = layout.geometry.fat_offset(number) + cluster * 12 // 8
        (old,) = struct.unpack_from("<H", data, at)
        new = old & 0x000F | value << 4 if cluster % 2 else old & 0xF000 | value
        struct.pack_into("<H", data, at, new)


def cluster_of(layout: fat.Layout, path: str) -> int:
    return (layout.offset(path) - layout.geometry.data_offset) // layout.geometry.cluster_bytes + 2


@pytest.mark.parametrize("kind", fat.Kind)
def test_entries_are_given_with_directories_first(kind: fat.Kind) -> None:
    data, _ = made(kind)
    found = [
        (entry.path, entry.kind, entry.data if isinstance(entry.data, bytes) else entry.data.read())
        for entry in fatread.FileSystem(io.BytesIO(data)).entries()
    ]
    assert found == [
        ("a long name", Kind.FILE, b"n" * 700),
        ("empty", Kind.FILE, b""),
        ("zeros", Kind.FILE, bytes(600)),
        ("a", Kind.DIRECTORY, b""),
        ("a/b", Kind.DIRECTORY, b""),
        ("a/b/c.txt", Kind.FILE, b"c" * 1500),
    ]


def test_what_mtools_wrote_is_read(tmp_path: Path) -> None:
    """Fragmented, and with its way to say that a short name is lower case."""
    data, _ = made(fat.Kind.FAT16)
    image = tmp_path / "fat.img"
    image.write_bytes(data)
    for name, content in (("new file.txt", b"1" * 5000), ("empty", b"2" * 3000), ("zeros", b"3" * 9000)):
        (tmp_path / name).write_bytes(content)
        proc.run(["mcopy", "-o", "-i", image, tmp_path / name, "::"])
    with image.open("rb") as disk:
        fatread.validate(disk)
        found = {
            entry.path: entry.data if isinstance(entry.data, bytes) else entry.data.read()
            for entry in fatread.FileSystem(disk).entries()
        }
    assert found["new file.txt"] == b"1" * 5000
    assert found["empty"] == b"2" * 3000
    assert found["zeros"] == b"3" * 9000
    assert found["a/b/c.txt"] == b"c" * 1500


Change = Callable[[bytearray, fat.Layout], None]


def cross_link(data: bytearray, layout: fat.Layout) -> None:
    link(data, layout, cluster_of(layout, "zeros"), cluster_of(layout, "a long name"))


def loop(data: bytearray, layout: fat.Layout) -> None:
    first = cluster_of(layout, "a/b/c.txt")
    link(data, layout, first + 2, first)


def lost_cluster(data: bytearray, layout: fat.Layout) -> None:
    link(data, layout, layout.geometry.clusters, 0xFFF)


def outside(data: bytearray, layout: fat.Layout) -> None:
    link(data, layout, cluster_of(layout, "zeros"), 0xFF0)


def short_chain(data: bytearray, layout: fat.Layout) -> None:
    link(data, layout, cluster_of(layout, "zeros"), 0xFFF)


def one_copy(data: bytearray, layout: fat.Layout) -> None:
    link(data, layout, cluster_of(layout, "zeros"), 0xFFF, copies=1)


def same_name(data: bytearray, layout: fat.Layout) -> None:
    at = entry_at(data, b"EMPTY      ")
    data[at - 32 : at] = bytes([0xE5]) + bytes(31)  # without its long name
    data[at : at + 11] = b"ZEROS      "


def no_dots(data: bytearray, layout: fat.Layout) -> None:
    data[entry_at(data, b".          ")] = ord("X")


def directory_without_chain(data: bytearray, layout: fat.Layout) -> None:
    at = entry_at(data, b"A          ")
    data[at + 26 : at + 28] = b"\0\0"


def directory_in_itself(data: bytearray, layout: fat.Layout) -> None:
    at = entry_at(data, b"B          ")
    folder = entry_at(data, b"A          ")
    data[at + 26 : at + 28] = data[folder + 26 : folder + 28]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cross_link, "belongs to two files"),
        (loop, r"a/b/c.txt: cluster \d+ belongs to two"),
        (lost_cluster, r"\d+ clusters are taken, \d+ belong"),
        (outside, r"zeros: a chain leads to cluster 4080"),
        (short_chain, "1 clusters are there for 600 bytes"),
        (one_copy, "the two allocation tables differ"),
        (same_name, "the name is there twice"),
        (no_dots, r"does not start with \. and \.\."),
        (directory_without_chain, "leads to cluster 0"),
        (directory_in_itself, "belongs to two"),
    ],
)
def test_broken_ones_are_seen(change: Change, message: str) -> None:
    data, layout = made()
    fatread.validate(io.BytesIO(data))
    change(data, layout)
    with pytest.raises(IntegrityError, match=message):
        fatread.validate(io.BytesIO(data))


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (510, b"\0\0", "does not end in 55 AA"),
        (11, b"\0\x10", "of a kind that can be read"),
        (13, b"\x03", "of a kind that can be read"),
        (16, b"\x01", "of a kind that can be read"),
        (22, b"\x01\0", "too small"),
        (19, b"\x05\0", "cannot be as its boot sector says"),
    ],
)
def test_a_boot_sector_that_makes_no_sense_is_refused(at: int, value: bytes, message: str) -> None:
    data, _ = made()
    data[at : at + len(value)] = value
    with pytest.raises(IntegrityError, match=message):
        fatread.FileSystem(io.BytesIO(data))


def test_fat32_says_what_is_free_and_has_a_second_boot_sector() -> None:
    for at, message in ((512 + 488, "FSInfo"), (512, "FSInfo"), (6 * 512 + 100, "differs from its backup")):
        data, _ = made(fat.Kind.FAT32)
        fatread.validate(io.BytesIO(data))
        data[at] ^= 1
        with pytest.raises(IntegrityError, match=message):
            fatread.validate(io.BytesIO(data))


def test_a_truncated_one_is_refused() -> None:
    data, layout = made()
    for end in (100, 512, layout.geometry.root_offset, layout.offset("a/b/c.txt") + 10):
        with pytest.raises(IntegrityError):
            all_read(bytes(data[:end]))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 25000), st.binary(min_size=1, max_size=12)), min_size=1, max_size=6))
def test_any_change_is_read_or_refused(changes: list[tuple[int, bytes]]) -> None:
    data, _ = made()
    for at, value in changes:
        data[at : at + len(value)] = value
    for act in (all_read, lambda raw: fatread.validate(io.BytesIO(raw))):
        try:
            act(bytes(data))
        except IntegrityError as error:
            assert str(error)
