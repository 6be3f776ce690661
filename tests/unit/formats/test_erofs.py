from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from moby import proc
from moby.errors import IntegrityError
from moby.formats import erofs
from moby.formats.entry import Entry, Kind, directory, file, symlink
from moby.formats.erofs_layout import COMPACT, EXTENDED, checksum
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
from tests.unit.formats.test_squashfs import Positions

TIME_S = 1_492_533_000
ID = UUID("5b6c9d1e-0000-4000-8000-0123456789ab")


def made(entries: list[Entry]) -> bytes:
    out = io.BytesIO()
    statistics = erofs.write(entries, out, uuid=ID, time_s=TIME_S)
    assert statistics.size_bytes == len(out.getvalue()) == out.tell()
    assert statistics.size_bytes % 4096 == 0
    return out.getvalue()


def read(data: bytes) -> Iterator[Entry]:
    return erofs.read(io.BytesIO(data))


@settings(deadline=None, max_examples=60)
@given(streams())
def test_what_is_written_is_read_back(entries: list[Entry]) -> None:
    assert tree(read(made(entries))) == tree(entries, time_s=TIME_S)


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams())
@example([])
def test_fsck_finds_no_fault(tmp_path: Path, entries: list[Entry]) -> None:
    (tmp_path / "image").write_bytes(made(entries))
    proc.run(["fsck.erofs", str(tmp_path / "image")])


def test_fsck_extracts_the_same_files(tmp_path: Path) -> None:
    with (tmp_path / "image").open("w+b") as out:
        erofs.write(mixed(), out, uuid=ID, time_s=TIME_S)
    proc.run(["fsck.erofs", f"--extract={tmp_path / 'tree'}", str(tmp_path / "image")])
    check_extracted(mixed(), tmp_path / "tree")


def test_dump_shows_what_was_asked_for(tmp_path: Path) -> None:
    entries = [replace(file("a", b"x" * 5000, mode=0o640, mtime_s=9), uid=70000, gid=8), link("b", "a")]
    (tmp_path / "image").write_bytes(made(entries))
    dump = ["dump.erofs", "-s", "--path=/b", str(tmp_path / "image")]
    report = proc.run(dump, env={**os.environ, "TZ": "UTC"}).decode()
    assert str(ID) in report
    words = " ".join(report.split())
    for said in (
        "root nid: 36",
        "Links: 2",
        "Size: 5000",
        "Uid: 70000 Gid: 8",
        "0640/rw-r-----",
        "1970-01-01 00:00:09",
    ):
        assert said in words


@pytest.mark.parametrize("options", [[], ["--chunksize=4096"], ["-x1"]], ids=" ".join)
def test_images_of_mkfs_are_read(tmp_path: Path, options: list[str]) -> None:
    expected = unpacked(mixed(), tmp_path / "source")
    proc.run(["mkfs.erofs", *options, str(tmp_path / "image"), str(tmp_path / "source")])
    with (tmp_path / "image").open("rb") as image:
        check_read(erofs.read(image), expected)


def test_compressed_images_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "text").write_bytes(b"all work and no play\n" * 5000)
    proc.run(["mkfs.erofs", "-zlz4", str(tmp_path / "image"), str(tmp_path / "source")])
    with (tmp_path / "image").open("rb") as image, pytest.raises(IntegrityError, match=r"'text': compressed"):
        list(erofs.read(image))


def test_images_are_the_same_everywhere() -> None:
    """A change of the format changes this on purpose."""
    assert hashlib.sha256(made(mixed())).hexdigest() == (
        "179ed91497432884067b85a907c0f946cc4f23be0fed8c80c6f8c144b652a2df"
    )


def test_equal_files_are_stored_once() -> None:
    data = noise(500_000)
    stream = Entry(path="c", kind=Kind.FILE, size=len(data), data=io.BytesIO(data))
    out = io.BytesIO()
    statistics = erofs.write([file("a", data), file("b", data), stream, file("d", b"d")], out, uuid=ID)
    assert (statistics.duplicates, statistics.duplicate_bytes) == (2, 1_000_000)
    assert statistics.size_bytes < 520_000
    assert len(made([file("a", data), replace(stream, data=io.BytesIO(data))])) < 515_000
    found = {path: each.content for path, each in tree(read(out.getvalue())).items()}
    digest = hashlib.sha256(data).hexdigest()
    assert found == {"a": digest, "b": digest, "c": digest, "d": hashlib.sha256(b"d").hexdigest()}


@pytest.mark.parametrize("size", [4095, 4064, 4065, 4033, 8191])
def test_equal_files_whose_tails_lie_elsewhere_are_right(size: int) -> None:
    """Whether a tail fits beside its inode depends on the inode, which may be of two sizes."""
    data = noise(size)
    one, other = file("a", data, mtime_s=TIME_S), file("b", data, mtime_s=1)
    for entries in ([one, other], [other, one], [one, other, replace(one, path="c"), replace(other, path="d")]):
        assert tree(read(made(entries))) == tree(entries)


def test_small_inodes_are_compact_and_tails_are_inline() -> None:
    entries = [file(f"{number:04}", b"x" * 100, mtime_s=TIME_S) for number in range(1000)]
    inodes = 1000 * (COMPACT.size + 128)  # to the next slot
    names = 1000 * 16
    assert len(made(entries)) < (inodes + names) * 1.05 + 8192
    late = [replace(each, mtime_s=TIME_S + 1) for each in entries]
    assert len(made(late)) < (inodes + 1000 * (EXTENDED.size - COMPACT.size) + names) * 1.05 + 8192


def test_the_root_may_be_named() -> None:
    root = replace(directory("", mode=0o700, mtime_s=9), uid=5, xattrs=(("user.a", b"b"),))
    data = made([file("a", b""), root])
    _, _, mode, _, _, _, uid, _, mtime_s, _, links = EXTENDED.unpack(data[1152 : 1152 + EXTENDED.size])
    assert (mode & 0o7777, uid, mtime_s, links) == (0o700, 5, 9, 2)


def test_an_image_may_stand_anywhere_in_its_file() -> None:
    out = io.BytesIO(b"before" + bytes(20))
    out.seek(26)
    erofs.write(mixed(), out, uuid=ID, time_s=TIME_S)
    assert out.getvalue() == b"before" + bytes(20) + made(mixed())
    out.seek(26)
    assert len(list(erofs.read(out))) == len(tree(mixed()))


def test_access_control_lists_are_kept() -> None:
    acl = (("system.posix_acl_access", b"\2\0\0\0" + bytes(16)), ("system.posix_acl_default", b"\2\0\0\0"))
    (entry,) = read(made([replace(directory("a"), xattrs=acl)]))
    assert entry.xattrs == acl


def test_memory_is_bounded_by_names_not_by_bytes() -> None:
    count = 10_000

    def entries() -> Iterator[Entry]:
        for number in range(count):
            yield file(f"usr/share/some/{number % 100:03}/directory/file-{number:06}", b"%d" % number * 900)
        yield Entry(path="large", kind=Kind.FILE, size=40 << 20, data=cast(BinaryIO, Noise(40 << 20)))

    tracemalloc.start()
    erofs.write(entries(), cast(BinaryIO, Positions()), uuid=ID)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < count * 200 + (6 << 20)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([file("a", b""), file("a/b", b"")], "no directory"),
        ([link("a", "b")], "does not come before"),
        ([symlink("a", "t" * 4096)], "link target of 4096"),
        ([replace(file("a", b""), uid=1 << 32)], "owner 4294967296:0"),
        ([Entry(path="a", kind=Kind.CHAR, minor=1 << 20)], "device 0:1048576"),
        ([replace(file("a", b""), xattrs=(("system.other", b""),))], "cannot hold the attribute"),
        ([replace(file("a", b""), xattrs=(("user.a", bytes(65536)),))], "too large"),
        ([replace(file("a", b""), xattrs=(("user.a", bytes(40000)), ("user.b", bytes(40000))))], "attributes of 80"),
        ([replace(directory(""), xattrs=(("user.a", bytes(4000)),))], "root's attributes"),
        ([replace(file("a", b"12"), size=3)], "3 bytes announced, 2 given"),
        ([Entry(path="a", kind=Kind.FILE, size=3, data=io.BytesIO(b"12"))], "1 bytes are missing"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(entries: list[Entry], message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        made(entries)


@functools.cache
def _small() -> bytes:
    entries = [
        replace(file("a/b", b"data", mode=0o600), xattrs=(("user.x", b"y"),)),
        link("c", "a/b"),
        symlink("s", "t"),
        file("large", b"0123456789" * 1000),
        Entry(path="n", kind=Kind.CHAR, major=1, minor=3),
        *many(300),
    ]
    return made(entries)


@settings(deadline=None, max_examples=60)
@given(at=st.integers(1024, 40_000), change=st.binary(min_size=1, max_size=8))
def test_damage_gives_entries_or_an_integrity_error(at: int, change: bytes) -> None:
    data = bytearray(_small())
    data[at : at + len(change)] = change
    data[1028:1032] = checksum(data[1024:4096])
    with contextlib.suppress(IntegrityError):
        for entry in read(bytes(data)):
            if entry.kind is Kind.FILE and not isinstance(entry.data, bytes):
                entry.data.read(1 << 20)


@pytest.mark.parametrize(
    ("at", "change", "message"),
    [
        (1024, b"\0", "not an EROFS image"),
        (1036, b"\x1f", "blocks of 2"),
        (1104, b"\x80", "features 0x80"),
        (1030, b"\0", "expected checksum"),
        (1200, b"\xff", "expected checksum"),
    ],
)
def test_hostile_superblocks_are_refused(at: int, change: bytes, message: str) -> None:
    data = _small()
    with pytest.raises(IntegrityError, match=message):
        list(read(data[:at] + change + data[at + 1 :]))


def test_truncated_images_are_refused() -> None:
    data = _small()
    for size in range(0, len(data), 1000):
        with pytest.raises(IntegrityError):
            list(read(data[:size]))
