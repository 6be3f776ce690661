from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moby import proc
from moby.errors import IntegrityError
from moby.formats import cpio
from moby.formats.entry import Entry, Kind, directory, file, symlink
from tests.support.tree import unpack

PARTS = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30).filter(
    lambda part: part not in (".", "..")
)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join).filter(lambda name: name != "TRAILER!!!")


@st.composite
def entry(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from([each for each in Kind if each is not Kind.HARDLINK]))
    data = draw(st.binary(max_size=50)) if kind is Kind.FILE else b""
    device = kind in (Kind.CHAR, Kind.BLOCK)
    return Entry(
        path=draw(NAMES),
        kind=kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(st.integers(0, 0xFFFFFFFF)),
        gid=draw(st.integers(0, 0xFFFFFFFF)),
        mtime_s=draw(st.integers(0, 0xFFFFFFFF)),
        size=len(data),
        data=data,
        target=draw(NAMES) if kind is Kind.SYMLINK else "",
        major=draw(st.integers(0, 4095)) if device else 0,
        minor=draw(st.integers(0, 1048575)) if device else 0,
    )


def link(path: str, target: str) -> Entry:
    return Entry(path=path, kind=Kind.HARDLINK, target=target)


def linked(path: str, data: bytes, links: int) -> Entry:
    return replace(file(path, data, mode=0o755, mtime_s=5), links=links)


def written(entries: list[Entry]) -> bytes:
    out = io.BytesIO()
    assert cpio.write(entries, out) == len(out.getvalue())
    assert len(out.getvalue()) % 4 == 0
    return out.getvalue()


def read(data: bytes) -> list[Entry]:
    return list(cpio.read(io.BytesIO(data)))


def extracted(data: bytes, folder: Path) -> Path:
    """``folder`` with what GNU cpio makes of the archive."""
    folder.mkdir()
    proc.run(["cpio", "-idmu", "--quiet", "--no-absolute-filenames", "-D", str(folder)], stdin=data)
    return folder


@given(st.lists(entry(), max_size=5, unique_by=lambda each: each.path))
def test_what_is_written_is_read_back(entries: list[Entry]) -> None:
    assert read(written(entries)) == entries


@settings(max_examples=20, deadline=None)
@given(st.lists(entry(), max_size=5, unique_by=lambda each: each.path))
def test_gnu_cpio_lists_what_is_written(entries: list[Entry]) -> None:
    names = proc.run(["cpio", "-t0", "--quiet"], stdin=written(entries))
    assert names == b"".join(os.fsencode(each.path) + b"\0" for each in entries)


@pytest.mark.shows("GNU cpio extracts our initrd archives", by="peer")
def test_gnu_cpio_extracts_hard_links_as_one_file(tmp_path: Path) -> None:
    folder = extracted(
        written([directory("bin"), linked("bin/a", b"data" * 500, 3), link("bin/b", "bin/a"), link("c", "bin/b")]),
        tmp_path / "out",
    )
    assert (folder / "c").read_bytes() == b"data" * 500
    assert len({(folder / name).stat().st_ino for name in ("bin/a", "bin/b", "c")}) == 1


def test_a_replaced_hard_link_leaves_the_other_names_alone() -> None:
    entries = [linked("busybox", b"all", 3), link("ls", "busybox"), link("cat", "busybox"), file("ls", b"mine")]
    tree = unpack(cpio.read(io.BytesIO(written(entries))))
    assert tree["cat"] == tree["busybox"] != tree["ls"]


def test_gnu_cpio_archives_are_read_with_their_hard_links(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"shared")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to("a")
    data = proc.run(["cpio", "-o", "-H", "newc", "--quiet"], stdin=b"a\nb\nc\n", cwd=tmp_path)
    kinds = {each.path: each.kind for each in read(data)}
    assert sorted(kind.name for kind in kinds.values()) == ["FILE", "HARDLINK", "SYMLINK"]
    tree = unpack(cpio.read(io.BytesIO(data)))
    assert tree["a"] == tree["b"]


def test_linux_is_told_of_a_second_name_with_the_first() -> None:
    """init/initramfs.c: names of one inode, all with a link count above one, the data with the first."""
    data = written([linked("a", b"data", 2), link("b", "a")])
    first, second = data.index(b"070701"), data.index(b"070701", 6)
    inode, count, size = slice(6, 14), slice(38, 46), slice(54, 62)
    headers = data[first : first + 110], data[second : second + 110]
    assert [int(each[count], 16) for each in headers] == [2, 2]
    assert headers[0][inode] == headers[1][inode]
    assert [int(each[size], 16) for each in headers] == [4, 0]
    assert headers[0][14:38] == headers[1][14:38]


def test_a_replaced_name_is_unlinked_first() -> None:
    data = written([linked("a", b"1", 2), link("b", "a"), file("b", b"2")])
    assert [(each.path, each.kind) for each in read(data)][2:] == [("b", Kind.SYMLINK), ("b", Kind.FILE)]


def test_a_hard_link_whose_file_did_not_say_so_becomes_a_relative_symlink() -> None:
    entries = read(written([directory("usr"), file("bin", b"x"), link("usr/l", "bin"), link("m", "bin")]))
    assert [each.target for each in entries[2:]] == ["../bin", "bin"]


def test_a_link_to_a_name_that_is_another_file_now_goes_to_that_file() -> None:
    entries = [linked("a", b"1", 3), link("b", "a"), file("a", b"2"), link("c", "b"), link("d", "a")]
    assert [(each.path, each.kind.name, each.target) for each in read(written(entries))][4:] == [
        ("c", "SYMLINK", "b"),
        ("d", "SYMLINK", "a"),
    ]


def test_archives_may_follow_one_another() -> None:
    one = written([linked("a", b"1", 2), link("b", "a")])
    both = one + bytes(512) + written([linked("c", b"2", 2), link("d", "c")])
    assert unpack(read(both)) == unpack([*read(one), *read(both[len(one) + 512 :])])


def test_a_large_body_is_streamed_both_ways() -> None:
    body = b"0123456789" * 200_000
    source = Entry(path="big", kind=Kind.FILE, size=len(body), data=io.BytesIO(body))
    entries = cpio.read(io.BytesIO(written([source, file("next", b"n")])))
    stream = cast(BinaryIO, next(entries).data)
    assert stream.read(20) == body[:20]
    assert next(entries).data == b"n"


def test_the_unset_and_the_extreme_fit() -> None:
    (entry,) = read(written([directory("a", mtime_s=-5)]))
    assert entry.mtime_s == 0
    assert read(written([])) == []


@pytest.mark.parametrize(
    "entry",
    [
        Entry(path="a", kind=Kind.FILE, size=1 << 32, data=io.BytesIO()),
        Entry(path="a" * 4096, kind=Kind.DIRECTORY),
        Entry(path="a\0b", kind=Kind.DIRECTORY),
        Entry(path="", kind=Kind.DIRECTORY),
        symlink("a", "t" * 4096),
        Entry(path="a", kind=Kind.FILE, size=3, data=b"12"),
        Entry(path="a", kind=Kind.FILE, size=3, data=io.BytesIO(b"12")),
        Entry(path="a", kind=Kind.DIRECTORY, uid=1 << 32),
    ],
)
def test_what_the_format_cannot_hold_is_refused(entry: Entry) -> None:
    with pytest.raises(IntegrityError):
        written([entry])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.replace(b"070701", b"070707"), "not a newc"),
        (lambda data: data[:30] + b"zz" + data[32:], "hexadecimal"),
        (lambda data: data.replace(b"some/name", b"..//../me"), "leaves the tree"),
        (lambda data: data.replace(b"some/name", b"some\0name"), "NUL"),
        (lambda data: data[:94] + b"00000000" + data[102:], "name of 0 bytes"),
        (lambda data: data[:94] + b"ffffffff" + data[102:], "name of 4294967295 bytes"),
        (lambda data: data[:14] + b"0000f1ff" + data[22:], "unknown file type"),
        (lambda data: data[:100], "truncated"),
        (lambda data: data[:124], "truncated"),
    ],
)
def test_hostile_archives_are_refused(change: Callable[[bytes], bytes], message: str) -> None:
    data = written([file("some/name", b"12345")])
    with pytest.raises(IntegrityError, match=message):
        read(change(data))


def test_a_huge_link_target_is_refused() -> None:
    data = written([symlink("a", "b")])
    with pytest.raises(IntegrityError, match="link target of 16777216 bytes"):
        read(data[:54] + b"01000000" + data[62:])


@settings(max_examples=200)
@given(st.integers(0, 200), st.binary(min_size=1, max_size=20))
def test_damage_gives_entries_or_an_integrity_error(at: int, noise: bytes) -> None:
    data = written([linked("a", b"x", 2), link("b", "a"), symlink("c", "d")])
    with contextlib.suppress(IntegrityError):
        read(data[:at] + noise + data[at + len(noise) :])


def test_a_prefix_stands_before_every_name_but_not_in_links() -> None:
    out = io.BytesIO()
    cpio.write([directory("a"), linked("a/b", b"x", 2), link("c", "a/b"), link("a/d", "gone")], out, prefix="r/s/")
    found = read(out.getvalue())
    assert [(each.path, each.target) for each in found] == [
        ("r/s/a", ""),
        ("r/s/a/b", ""),
        ("r/s/c", "r/s/a/b"),
        ("r/s/a/d", "../gone"),
    ]


def test_names_that_an_earlier_archive_may_have_linked_are_freed_for_files_only() -> None:
    out = io.BytesIO()
    entries = [file("a", b"1"), symlink("b", "x"), directory("d"), file("e", b"2")]
    cpio.write(entries, out, prefix="p/", linked={"p/a", "p/b", "p/d", "e"})
    assert [(each.path, each.kind) for each in read(out.getvalue())] == [
        ("p/a", Kind.SYMLINK),
        ("p/a", Kind.FILE),
        ("p/b", Kind.SYMLINK),
        ("p/d", Kind.DIRECTORY),
        ("p/e", Kind.FILE),
    ]


@given(st.binary(max_size=9), NAMES)
def test_a_member_by_itself_is_an_archive(data: bytes, name: str) -> None:
    made = file(name, data)
    head, tail = cpio.member(made)
    assert len(head) % 4 == 0
    assert (len(data) + len(tail)) % 4 == 0
    assert read(head + data + tail) == [made]
