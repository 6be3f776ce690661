from __future__ import annotations

import io
import tarfile
import tracemalloc
from dataclasses import replace
from typing import BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moby.errors import IntegrityError
from moby.formats import tar, tar_layout
from moby.formats.entry import Entry, Kind, directory, file, symlink
from tests.support.tree import unpack

NAMES = st.lists(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
        lambda part: part not in (".", "..")
    ),
    min_size=1,
    max_size=4,
).map("/".join)
IDS = st.one_of(st.integers(0, 70000), st.sampled_from([0o7777777, 0o7777777 + 1, 0xFFFFFFFF]))
TIMES = st.one_of(st.integers(0, 2**31), st.sampled_from([-1, 2**40]))
XATTRS = st.dictionaries(st.sampled_from(["user.a", "security.capability"]), st.binary(max_size=20), max_size=2)


@st.composite
def entry(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from(list(Kind)))
    data = draw(st.binary(max_size=1500)) if kind is Kind.FILE else b""
    device = kind in (Kind.CHAR, Kind.BLOCK)
    return Entry(
        path=draw(NAMES),
        kind=kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(IDS),
        gid=draw(IDS),
        mtime_s=draw(TIMES),
        size=len(data),
        data=data,
        target=draw(NAMES) if kind in (Kind.HARDLINK, Kind.SYMLINK) else "",
        major=draw(st.integers(0, 4095)) if device else 0,
        minor=draw(st.integers(0, 1048575)) if device else 0,
        xattrs=tuple(sorted(draw(XATTRS).items())),
    )


def written(entries: list[Entry]) -> bytes:
    out = io.BytesIO()
    assert tar.write(entries, out) == len(out.getvalue())
    return out.getvalue()


def given_back(data: bytes) -> list[Entry]:
    return list(tar.read(io.BytesIO(data)))


def member(info: tarfile.TarInfo, data: bytes = b"", *, style: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=style) as archive:
        archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def named(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in fields.items():
        setattr(info, key, value)
    return info


@given(st.lists(entry(), max_size=5))
def test_what_is_written_is_read_back(entries: list[Entry]) -> None:
    assert given_back(written(entries)) == entries


@given(st.lists(entry(), max_size=5))
def test_the_standard_library_reads_what_is_written(entries: list[Entry]) -> None:
    with tarfile.open(fileobj=io.BytesIO(written(entries))) as archive:
        members = archive.getmembers()
        for made, info in zip(entries, members, strict=True):
            assert (info.name, info.mode, info.uid, info.gid) == (made.path, made.mode, made.uid, made.gid)
            assert int(info.mtime) == made.mtime_s
            assert info.linkname == made.target
            if made.kind is Kind.FILE:
                stream = archive.extractfile(info)
                assert stream is not None
                assert stream.read() == made.data


@given(st.lists(entry(), max_size=4), st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_what_the_standard_library_writes_is_read(entries: list[Entry], style: int) -> None:
    flags = {kind: flag for flag, kind in tar_layout.KINDS.items() if flag.isdigit() and flag != b"7"}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=style) as archive:
        for made in entries:
            info = named(made.path, flags[made.kind], mode=made.mode, uid=made.uid, gid=made.gid)
            info.size, info.mtime, info.linkname = made.size, made.mtime_s, made.target
            info.devmajor, info.devminor = made.major, made.minor
            archive.addfile(info, io.BytesIO(cast(bytes, made.data)))
    bare = [(e.path, e.kind, e.mode, e.uid, e.gid, e.mtime_s, e.data, e.target, e.major, e.minor) for e in entries]
    back = given_back(out.getvalue())
    assert [(e.path, e.kind, e.mode, e.uid, e.gid, e.mtime_s, e.data, e.target, e.major, e.minor) for e in back] == bare


@settings(max_examples=300)
@given(st.binary(max_size=1200), st.integers(0, 511), st.binary(min_size=1, max_size=12))
def test_any_bytes_give_entries_or_an_integrity_error(body: bytes, at: int, noise: bytes) -> None:
    good = written([file("a", b"x"), directory("b"), symlink("c", "d")])
    damaged = good[:at] + noise + good[at + len(noise) :]
    for data in (body, damaged, good[:at] + body):
        try:
            unpacked = given_back(data)
        except IntegrityError:
            continue
        assert all(".." not in each.path.split("/") and "\0" not in each.path for each in unpacked)


def test_a_plain_archive_has_no_pax_headers_and_ends_with_two_zero_blocks() -> None:
    data = written([file("a" * 100, b"x" * 512), directory("d")])
    assert len(data) == 512 * 3 + 1024
    assert data.endswith(bytes(1024))
    assert written([]) == bytes(1024)


def test_names_that_are_not_utf8_survive() -> None:
    entries = [file("caf\udce9", b"x"), symlink("l" * 150 + "\udcff", "\udcfe" * 120)]
    data = written(entries)
    assert given_back(data) == entries
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == [each.path for each in entries]


@pytest.mark.parametrize(
    ("name", "path"),
    [("./a/", "a"), ("/a//b/./c", "a/b/c"), ("a/.", "a"), (".hidden", ".hidden"), ("a/..b", "a/..b")],
)
def test_names_are_cleaned(name: str, path: str) -> None:
    assert [each.path for each in given_back(member(named(name, tarfile.DIRTYPE)))] == [path]


def test_the_root_itself_is_left_out() -> None:
    assert given_back(member(named("./", tarfile.DIRTYPE))) == []


def test_a_name_with_a_newline_is_kept() -> None:
    assert given_back(member(named("a\nb"), b""))[0].path == "a\nb"


def test_a_slash_at_the_end_makes_an_old_style_directory() -> None:
    data = bytearray(member(named("dir/", tarfile.AREGTYPE), style=tarfile.USTAR_FORMAT))
    assert given_back(bytes(data))[0].kind is Kind.DIRECTORY


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (named("../a"), "leaves the tree"),
        (named("a/../../b"), "leaves the tree"),
        (named("l", tarfile.LNKTYPE, linkname="../../etc/passwd"), "leaves the tree"),
        (named("n", pax_headers={"path": "a\0b"}), "NUL"),
        (named("n", tarfile.SYMTYPE, linkname="t", pax_headers={"linkpath": "a\0b"}), "NUL"),
        (named("n" * 5000), "longer than 4096"),
        (named("."), "names the root"),
        (named("s", tarfile.GNUTYPE_SPARSE), "sparse"),
        (named("s", pax_headers={"GNU.sparse.major": "1"}), "sparse"),
        (named("v", b"V"), "unknown entry type b'V'"),
        (named("n", pax_headers={"comment": "c" * (1 << 20)}), "extended header"),
        (named("n", pax_headers={"size": "-1"}), "out of range"),
        (named("n", pax_headers={"size": "9" * 17}), "out of range"),
        (named("n", pax_headers={"uid": "4294967296"}), "out of range"),
        (named("n", pax_headers={"uid": "zero"}), "not a number"),
        (named("n", pax_headers={"mtime": "9" * 30}), "out of range"),
    ],
)
def test_hostile_entries_are_refused_by_name(info: tarfile.TarInfo, message: str) -> None:
    with pytest.raises(IntegrityError, match=message) as caught:
        list(tar.read(io.BytesIO(member(info)), where="layer sha256:1"))
    assert caught.value.where.startswith("layer sha256:1")


def test_a_huge_size_does_not_take_memory() -> None:
    data = bytearray(written([file("a", b"")]))
    data[124:136] = b"\x80" + (1 << 39).to_bytes(11, "big")
    total = sum(data[:148]) + 256 + sum(data[156:512])
    data[148:156] = b"%06o\0 " % total
    entries = tar.read(io.BytesIO(bytes(data)))
    tracemalloc.start()
    with pytest.raises(IntegrityError, match="truncated"):
        cast(BinaryIO, next(entries).data).read(1 << 10) and list(entries)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("cut", [100, 511, 513, 700, 1200])
def test_a_truncated_archive_is_refused(cut: int) -> None:
    data = written([file("a", b"x" * 600), file("b", b"y")])[:cut]
    with pytest.raises(IntegrityError, match="truncated"):
        given_back(data)


def test_a_wrong_checksum_is_refused() -> None:
    data = bytearray(written([file("a", b"")]))
    data[0] = ord("b")
    with pytest.raises(IntegrityError, match="checksum"):
        given_back(bytes(data))


def test_signed_and_seven_digit_checksums_are_accepted() -> None:
    data = bytearray(written([file("\udce9", b"")])[1024:])
    signed = sum(b - 256 if b > 127 else b for b in data[:148] + data[156:512]) + 256
    for field in (b"%06o\0 " % signed, b"%07o\0" % (signed + 256)):
        data[148:156] = field
        assert given_back(bytes(data))[0].path == "\udce9"


def test_a_broken_pax_record_is_refused() -> None:
    data = member(named("n", pax_headers={"comment": "abc"})).replace(b"15 comment=abc", b"99 comment=abc")
    with pytest.raises(IntegrityError, match="broken pax record at byte 0"):
        given_back(data)


def test_more_entries_than_allowed_are_refused() -> None:
    data = written([directory(str(number)) for number in range(4)])
    with pytest.raises(IntegrityError, match="more than 3 entries"):
        list(tar.read(io.BytesIO(data), limits=tar.Limits(entries=3)))


def test_a_global_header_counts_for_all_that_follow() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", pax_headers={"mtime": "77.5", "comment": "x"}) as archive:
        archive.addfile(named("a"))
        archive.addfile(named("b"))
    assert [each.mtime_s for each in given_back(out.getvalue())] == [77, 77]


def test_a_large_body_is_a_stream_and_its_rest_is_skipped() -> None:
    body = b"0123456789abcdef" * 100_000
    data = written([file("big", body), file("small", b"s"), file("big2", body)])
    entries = tar.read(io.BytesIO(data))
    first = next(entries)
    stream = cast(BinaryIO, first.data)
    assert stream.read(10) == b"0123456789"
    assert next(entries).data == b"s"
    with pytest.raises(ValueError, match="read after"):
        stream.read(1)
    assert cast(BinaryIO, next(entries).data).read() == body


def test_sources_that_give_a_little_at_a_time_are_read() -> None:
    class Dribble(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            super().__init__()
            self._inner = io.BytesIO(data)

        def read(self, size: int | None = -1) -> bytes:
            return self._inner.read(7)

    entries = [file("a", b"x" * 2000), file("big", b"y" * 1_100_000), directory("b")]
    tree = unpack(tar.read(cast(BinaryIO, Dribble(written(entries)))))
    assert tree == unpack(entries)


def test_streamed_bodies_are_written_and_checked() -> None:
    whole = Entry(path="a", kind=Kind.FILE, size=5, data=io.BytesIO(b"hello and more"))
    assert given_back(written([whole]))[0].data == b"hello"
    short = Entry(path="a", kind=Kind.FILE, size=50, data=io.BytesIO(b"hello"))
    with pytest.raises(IntegrityError, match="50 bytes announced, 5 given"):
        written([short])
    with pytest.raises(IntegrityError, match="50 bytes announced, 5 given"):
        written([Entry(path="a", kind=Kind.FILE, size=50, data=b"hello")])


def test_a_name_with_a_nul_is_not_written() -> None:
    with pytest.raises(IntegrityError, match="NUL"):
        written([directory("a\0b")])


def test_the_bytes_are_the_same_each_time() -> None:
    entries = [file("ä" * 80, b"x", mtime_s=-5), symlink("l", "t" * 200)]
    assert written(entries) == written(entries)


def test_a_file_may_say_how_many_names_it_has() -> None:
    twice = replace(file("a", b"x"), links=2)
    plain, counted = io.BytesIO(), io.BytesIO()
    tar.write([twice], plain)
    tar.write([twice], counted, count_links=True)
    assert [each.links for each in tar.read(io.BytesIO(plain.getvalue()))] == [1]
    assert list(tar.read(io.BytesIO(counted.getvalue()), origin="o")) == [replace(twice, origin="o")]
    with tarfile.open(fileobj=io.BytesIO(counted.getvalue())) as archive:
        assert archive.getmember("a").pax_headers == {"SCHILY.nlink": "2"}


@pytest.mark.parametrize("links", ["0", "-1", "9999999999", "x"])
def test_an_impossible_number_of_names_is_refused(links: str) -> None:
    info = tarfile.TarInfo("a")
    info.pax_headers = {"SCHILY.nlink": links}
    with pytest.raises(IntegrityError, match=r"names|not a number"):
        list(tar.read(io.BytesIO(info.tobuf(tarfile.PAX_FORMAT))))


@pytest.mark.parametrize("sizes", [(100, 60), (155, 100), (1, 100), (60, 60, 60)])
def test_long_names_go_into_both_fields_of_ustar(sizes: tuple[int, ...]) -> None:
    name = "/".join("n" * size for size in sizes)
    out = io.BytesIO()
    tar.write([file(name, b"x")], out)
    assert len(out.getvalue()) == 2 * 512 + len(tar.END), "no pax header"
    assert [each.path for each in tar.read(io.BytesIO(out.getvalue()))] == [name]
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        assert archive.getnames() == [name]


@pytest.mark.parametrize("name", ["n" * 101, "n" * 156 + "/n", "d/" + "n" * 101, "ä" * 60 + "/n"])
def test_other_long_names_need_a_pax_header(name: str) -> None:
    out = io.BytesIO()
    tar.write([file(name, b"x")], out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        assert archive.getnames() == [name]
        assert archive.getmembers()[0].pax_headers["path"] == name
