from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import re
import shutil
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moby import proc
from moby.errors import IntegrityError
from moby.formats import squashfs
from moby.formats.compress import Codec
from moby.formats.entry import Entry, Kind, directory, file, symlink
from moby.formats.squashfs_layout import DIRECTORY_EXTENDED, HEAD, INDEX, RUN, Superblock
from moby.formats.squashfs_tables import Cursor, Image
from tests.support.filetrees import (
    Noise,
    check_extracted,
    check_read,
    link,
    many,
    mixed,
    noise,
    streams,
    tree,
    unpacked,
)

TIME_S = 1_492_533_000
BLOCK_BYTES = 4096


def made(entries: list[Entry], **options: object) -> bytes:
    out = io.BytesIO()
    statistics = squashfs.write(entries, out, time_s=TIME_S, **options)  # type: ignore[arg-type]
    assert statistics.size_bytes == len(out.getvalue()) == out.tell()
    assert statistics.size_bytes % 4096 == 0
    return out.getvalue()


def read(data: bytes) -> Iterator[Entry]:
    return squashfs.read(io.BytesIO(data))


@settings(deadline=None, max_examples=60)
@given(streams(), st.sampled_from(Codec), st.sampled_from((4096, 32768)))
def test_what_is_written_is_read_back(entries: list[Entry], codec: Codec, block_bytes: int) -> None:
    data = made(entries, codec=codec, block_bytes=block_bytes, threads=1)
    assert tree(read(data)) == tree(entries, time_s=TIME_S)


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams(), st.sampled_from(Codec))
def test_unsquashfs_finds_what_was_written(tmp_path: Path, entries: list[Entry], codec: Codec) -> None:
    (tmp_path / "image").write_bytes(made(entries, codec=codec, block_bytes=BLOCK_BYTES, threads=1))
    (tmp_path / "pseudo").unlink(missing_ok=True)
    # With attributes, which are not looked at here, 4.6.1 crashes on a long one before a binary one, in any image.
    proc.run(["unsquashfs", "-no-xattrs", "-pf", str(tmp_path / "pseudo"), str(tmp_path / "image")])
    expected = []
    for path, thing in tree(entries, time_s=TIME_S).items():
        first = min(thing.names, key=lambda name: name.encode("utf-8", "surrogateescape").split(b"/"))
        if path != first:
            expected.append((path, "L", first))
            continue
        content = f" {thing.content}" if thing.kind is not Kind.FIFO else " f"
        facts = f"{thing.mtime_s} {thing.mode:o} {_signed(thing.uid)} {_signed(thing.gid)}"
        rest = content.replace(":", " ") if thing.kind is not Kind.DIRECTORY else ""
        expected.append((path, _LETTERS[thing.kind], facts + rest))
    assert _pseudo((tmp_path / "pseudo").read_bytes()) == sorted(expected)


def test_owners_of_what_was_replaced_are_not_in_the_image(tmp_path: Path) -> None:
    entries = [replace(file("a", b"x"), uid=owner, gid=owner + 100) for owner in range(9)]
    data = made(entries)
    (tmp_path / "image").write_bytes(data)
    assert proc.run(["unsquashfs", "-lln", str(tmp_path / "image")]).count(b" 8/108 ") == 1
    assert Superblock.decode(data).ids == 3  # the root's and the two of the last


_LETTERS = {
    Kind.DIRECTORY: "D",
    Kind.FILE: "R",
    Kind.SYMLINK: "S",
    Kind.CHAR: "C",
    Kind.BLOCK: "B",
    Kind.FIFO: "I",
}


def _signed(owner: int) -> int:
    """An owner as unsquashfs prints it."""
    return owner - (1 << 32) if owner >> 31 else owner


def _pseudo(data: bytes) -> list[tuple[str, str, str]]:
    """The lines of unsquashfs's pseudo file, without those of the root and of attributes, files with their digest."""
    head, _, body = data.partition(b"#\n# START OF DATA - DO NOT MODIFY\n#\n")
    found = []
    for line in head.decode("utf-8", "surrogateescape").splitlines():
        name, letter, rest = re.fullmatch(r"((?:\\.|[^ \\])+) (.) (.*)", line).groups()  # type: ignore[union-attr]
        if letter == "R":
            *facts, size, start = rest.split(" ")[:6]
            rest = f"{' '.join(facts)} {hashlib.sha256(body[int(start) : int(start) + int(size)]).hexdigest()}"
        if name != "/" and letter != "x":
            found.append((re.sub(r"\\(.)", r"\1", name), letter, re.sub(r"\\(.)", r"\1", rest)))
    return sorted(found)


@pytest.mark.parametrize("codec", Codec)
def test_unsquashfs_extracts_the_same_files(tmp_path: Path, codec: Codec) -> None:
    with (tmp_path / "image").open("w+b") as out:
        squashfs.write(mixed(), out, codec=codec, time_s=TIME_S)
    proc.run(["unsquashfs", "-no-xattrs", "-q", "-n", "-d", str(tmp_path / "tree"), str(tmp_path / "image")])
    check_extracted(mixed(), tmp_path / "tree")
    for path, thing in tree(mixed()).items():
        assert thing.kind is not Kind.FILE or (tmp_path / "tree" / path).stat().st_nlink == len(thing.names)


@pytest.mark.parametrize(
    "options",
    [
        ["-comp", "zstd"],
        ["-comp", "gzip", "-no-fragments"],
        ["-comp", "xz", "-b", "16K", "-always-use-fragments"],
        ["-noI", "-noD", "-noF", "-noX", "-no-exports"],
    ],
    ids=" ".join,
)
def test_images_of_mksquashfs_are_read(tmp_path: Path, options: list[str]) -> None:
    expected = unpacked(mixed(), tmp_path / "source")
    proc.run(["mksquashfs", str(tmp_path / "source"), str(tmp_path / "image"), "-no-progress", "-quiet", *options])
    with (tmp_path / "image").open("rb") as image:
        check_read(squashfs.read(image), expected)


@pytest.mark.parametrize("codec", Codec)
def test_threads_do_not_change_a_byte(codec: Codec) -> None:
    assert made(mixed(), codec=codec, threads=1) == made(mixed(), codec=codec, threads=5)


def test_images_are_the_same_everywhere() -> None:
    """On every CPU and architecture: the codecs are pinned. A change of the format changes these on purpose."""
    digests = {codec.value: hashlib.sha256(made(mixed(), codec=codec)).hexdigest() for codec in Codec}
    assert digests == {
        "none": "47df51508600e346c69fb8b642a42ab1eb4c8f9689ab0c96b9200535ed4990a9",
        "gzip": "44f782f8ae26f6933f46b3a7d5e45b41cb8d71950870f8c1e3f7c7f23a344e92",
        "zstd": "8254bc30e9b4d58329d5c41e2a4798a88d3a0a54c58bfc51ffdc9caa8f7168b0",
    }


def test_equal_files_are_stored_once() -> None:
    data = noise(500_000)
    stream = Entry(path="c", kind=Kind.FILE, size=len(data), data=io.BytesIO(data))
    out = io.BytesIO()
    statistics = squashfs.write([file("a", data), file("b", data), stream, file("d", b"d")], out)
    assert (statistics.duplicates, statistics.duplicate_bytes) == (2, 1_000_000)
    assert statistics.size_bytes < 510_000
    assert len(made([file("a", data), replace(stream, data=io.BytesIO(data))])) < 510_000
    assert {path: each.content for path, each in tree(read(out.getvalue())).items()} == {
        "a": (found := hashlib.sha256(data).hexdigest()),
        "b": found,
        "c": found,
        "d": hashlib.sha256(b"d").hexdigest(),
    }


def test_holes_take_no_room() -> None:
    data = made([Entry(path="disk", kind=Kind.FILE, size=100 << 20, data=cast(BinaryIO, _Zeros()))])
    assert len(data) == 4096
    entries = read(data)
    entry = next(entries)
    assert entry.size == 100 << 20
    assert cast(BinaryIO, entry.data).read(1 << 20) == bytes(1 << 20)
    assert not list(entries)


class _Zeros:
    def read(self, size: int) -> bytes:
        return bytes(size)


@pytest.mark.long
def test_files_and_images_may_be_larger_than_4_gib(tmp_path: Path) -> None:
    size = (5 << 30) + 5
    entries = [
        Entry(path="disk", kind=Kind.FILE, size=size, data=cast(BinaryIO, Noise(size))),
        file("after", noise(300_000)),
    ]
    with (tmp_path / "image").open("w+b") as image:
        squashfs.write(entries, image, codec=Codec.NONE, block_bytes=1 << 20)
        image.seek(0)
        assert tree(squashfs.read(image))["after"].content == hashlib.sha256(noise(300_000)).hexdigest()
    listing = proc.run(["unsquashfs", "-cat", str(tmp_path / "image"), "after"])
    assert listing == noise(300_000)
    assert str(size).encode() in proc.run(["unsquashfs", "-lln", str(tmp_path / "image")])
    shutil.rmtree(tmp_path)


def test_a_directory_index_leads_to_the_right_headers() -> None:
    image = Image(io.BytesIO(made(many(3000), codec=Codec.NONE)), "")
    table = image.superblock.directory_table
    root = Cursor(image, image.superblock.inode_table, image.superblock.root)
    block, _, _, offset, _ = (HEAD.unpack(root.take(HEAD.size)), *_basic(root))[1:]
    listing = Cursor(image, table, block << 16 | offset)
    _, start, _ = RUN.unpack(listing.take(RUN.size))
    (at,) = {int.from_bytes(listing.take(8)[:2], "little")}
    inode = Cursor(image, image.superblock.inode_table, start << 16 | at)
    assert HEAD.unpack(inode.take(HEAD.size))[0] == 8
    _, size, block, _, count, offset, _ = DIRECTORY_EXTENDED.unpack(inode.take(DIRECTORY_EXTENDED.size))
    assert count == (size - 3) // 8192
    for _ in range(count):
        at, start, length = INDEX.unpack(inode.take(INDEX.size))
        name = inode.take(length + 1)
        header = Cursor(image, table, start << 16 | (at + offset) % 8192)
        header.take(RUN.size + 8)
        assert header.take(length + 1) == name
        assert name.startswith(b"file-")


def _basic(cursor: Cursor) -> tuple[int, int, int, int, int]:
    data = cursor.take(16)
    block, links, size, offset, parent = (
        int.from_bytes(data[start:end], "little") for start, end in ((0, 4), (4, 8), (8, 10), (10, 12), (12, 16))
    )
    return block, links, size, offset, parent


def test_the_root_may_be_named() -> None:
    data = made([file("a", b""), replace(directory("", mode=0o700), uid=5, mtime_s=9)])
    image = Image(io.BytesIO(data), "")
    kind, mode, uid, _, mtime_s, number = HEAD.unpack(
        Cursor(image, image.superblock.inode_table, image.superblock.root).take(HEAD.size)
    )
    assert (kind, mode, image.owner(uid), mtime_s, number) == (1, 0o700, 5, 9, 1)


def test_an_image_may_stand_anywhere_in_its_file() -> None:
    out = io.BytesIO(b"before" + bytes(20))
    out.seek(26)
    squashfs.write(mixed(), out, time_s=TIME_S)
    assert out.getvalue() == b"before" + bytes(20) + made(mixed())
    out.seek(26)
    assert len(list(squashfs.read(out))) == len(tree(mixed()))


def test_a_hard_link_is_to_what_stood_there_when_it_came() -> None:
    entries = [file("a", b"1"), link("b", "a"), file("a", b"2"), link("c", "a"), link("d", "b"), file("b", b"3")]
    found = tree(read(made(entries)))
    assert {path: sorted(each.names) for path, each in found.items()} == {
        "a": ["a", "c"],
        "b": ["b"],
        "c": ["a", "c"],
        "d": ["d"],
    }
    assert found["d"].content == hashlib.sha256(b"1").hexdigest()


def test_memory_is_bounded_by_names_not_by_bytes() -> None:
    count = 10_000

    def entries() -> Iterator[Entry]:
        for number in range(count):
            yield file(f"usr/share/some/{number % 100:03}/directory/file-{number:06}", b"%d" % number)
        yield Entry(path="large", kind=Kind.FILE, size=40 << 20, data=cast(BinaryIO, Noise(40 << 20)))

    tracemalloc.start()
    squashfs.write(entries(), cast(BinaryIO, Positions()), threads=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Groups of 1 MiB: one being filled and three on their way, packed and not.
    assert peak < count * 200 + (8 << 20)


class Positions:
    """A stream that forgets what is written to it."""

    def __init__(self) -> None:
        self._position = 0

    def write(self, data: bytes) -> int:
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = 0) -> int:
        self._position = position
        return position


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([file("a", b""), file("a/b", b"")], "no directory"),
        ([file("a", b""), file("a/b/c", b"")], "no directory"),
        ([link("a", "b")], "does not come before"),
        ([link("a", "b"), file("b", b"")], "does not come before"),
        ([directory("a"), link("b", "a")], "to a directory"),
        ([file("a/../b", b"")], "not a clean"),
        ([file("/a", b"")], "not a clean"),
        ([file("a//b", b"")], "not a clean"),
        ([file("a\0b", b"")], "not a clean"),
        ([file("", b"")], "the root is a directory"),
        ([file("n" * 256, b"")], "too long"),
        ([file("n/" * 2048 + "n", b"")], "too long"),
        ([symlink("a", "t" * 4096)], "link target of 4096"),
        ([symlink("a", "")], "link target of 0"),
        ([replace(file("a", b""), uid=1 << 32)], "owner 4294967296"),
        ([Entry(path="a", kind=Kind.CHAR, major=4096)], "device 4096:0"),
        ([replace(file("a", b""), xattrs=(("system.posix_acl_access", b""),))], "cannot hold the attribute"),
        ([replace(file("a", b""), xattrs=(("user.a", bytes(65537)),))], "too large"),
        ([replace(file("a", b"12"), size=3)], "3 bytes announced, 2 given"),
        ([Entry(path="a", kind=Kind.FILE, size=3, data=io.BytesIO(b"12"))], "1 bytes are missing"),
        ([replace(file(f"{number}", b""), uid=number) for number in range(65536)], "65536th"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(entries: list[Entry], message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        made(entries, threads=1)


def test_a_failing_codec_or_source_leaves_no_thread() -> None:
    def entries() -> Iterator[Entry]:
        yield file("a", noise(900_000))
        raise RuntimeError("source")

    with pytest.raises(RuntimeError, match="source"):
        squashfs.write(entries(), io.BytesIO())


@pytest.mark.parametrize("codec", Codec)
@settings(deadline=None, max_examples=60)
@given(at=st.integers(0, 3000), change=st.binary(min_size=1, max_size=8))
def test_damage_gives_entries_or_an_integrity_error(codec: Codec, at: int, change: bytes) -> None:
    data = _small(codec)
    at %= len(data)
    with contextlib.suppress(IntegrityError):
        for entry in read(data[:at] + change + data[at + len(change) :]):
            if entry.kind is Kind.FILE and not isinstance(entry.data, bytes):
                entry.data.read(1 << 20)


@functools.cache
def _small(codec: Codec) -> bytes:
    entries = [
        replace(file("a/b", b"data", mode=0o600), xattrs=(("user.x", b"y"),)),
        link("c", "a/b"),
        symlink("s", "t"),
        file("large", b"0123456789" * 1000),
        Entry(path="n", kind=Kind.CHAR, major=1, minor=3),
    ]
    return made(entries, codec=codec, block_bytes=BLOCK_BYTES, threads=1).rstrip(b"\0")


@pytest.mark.parametrize(
    ("at", "change", "message"),
    [
        (0, b"hsqt", "not a squashfs image"),
        (12, b"\0\0\0\1", "block size of 16777216"),
        (20, b"\x05\0", "compression 5"),
        (28, b"\x03\0", "squashfs 3.0"),
        (32, b"\xff" * 8, "outside of the image"),
        (64, b"\xff" * 8, "not in their order"),
    ],
)
def test_hostile_superblocks_are_refused(at: int, change: bytes, message: str) -> None:
    data = _small(Codec.ZSTD)
    with pytest.raises(IntegrityError, match=message):
        list(read(data[:at] + change + data[at + len(change) :]))


def test_a_position_beyond_any_stream_is_refused() -> None:
    data = _small(Codec.ZSTD)
    # The image says that it has 2^64 - 1 bytes, and that owners are at a place that its last eight bytes name.
    image = data[:40] + b"\xff" * 8 + len(data).to_bytes(8, "little") + data[56:] + b"\xfe" * 8
    with pytest.raises(IntegrityError, match="outside of the image"):
        list(read(image))


def test_truncated_images_are_refused() -> None:
    data = _small(Codec.ZSTD)
    for size in range(0, len(data), 7):
        with pytest.raises(IntegrityError):
            list(read(data[:size]))
