from __future__ import annotations

import contextlib
import io
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moby import proc
from moby.errors import ConfigError, IntegrityError
from moby.formats import iso9660, iso9660_check, iso9660_names, iso9660_read, iso9660_records
from moby.formats.entry import Entry, Kind, directory, file, symlink
from moby.formats.iso9660 import Options
from tests.support.tree import unpack

PARTS = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda part: part not in (".", "..")
)
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
NASTY = [
    directory("d", mode=0o1777, mtime_s=1_500_000_000),
    file("d/hello.txt", b"hi\n" * 1000, mtime_s=1_600_000_000),
    file("d/HELLO.TXT", b"other"),
    file("d/" + "x" * 253, b"long"),
    file("d/" + "x" * 252 + "y", b"as long"),
    file("empty", b""),
    file("ü€😀 $(a)", b"u"),
    Entry(path="suid", kind=Kind.FILE, mode=0o4755, uid=1000, gid=65534, size=1, data=b"s"),
    file("/".join(f"level{number}" for number in range(20)) + "/deep", b"deep"),
    symlink("relative", "../x/./y/"),
    symlink("absolute", "/usr/bin/" + "n" * 255),
    symlink("root", "/"),
    symlink("long", "/".join(f"part{number:04}" for number in range(100))),
    *(file(f"many/file number {number}.txt", b"%d" % number) for number in range(200)),
]
DEVICES = [
    Entry(path="dev/console", kind=Kind.CHAR, mode=0o600, major=5, minor=1),
    Entry(path="dev/nvme", kind=Kind.BLOCK, mode=0o660, gid=6, major=259, minor=70_000),
    Entry(path="dev/fifo", kind=Kind.FIFO, mode=0o622),
]


@st.composite
def entry(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from([each for each in Kind if each is not Kind.HARDLINK]))
    data = draw(st.binary(max_size=5000)) if kind is Kind.FILE else b""
    device = kind in (Kind.CHAR, Kind.BLOCK)
    return Entry(
        path=draw(PATHS.filter(lambda path: len(os.fsencode(path)) < 254)),
        kind=kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(st.integers(0, 0xFFFFFFFF)),
        gid=draw(st.integers(0, 0xFFFFFFFF)),
        mtime_s=draw(st.integers(-2_208_988_800, 5_869_583_999)),
        size=len(data),
        data=data,
        target=draw(PATHS) if kind is Kind.SYMLINK else "",
        major=draw(st.integers(1, 4095)) if device else 0,
        minor=draw(st.integers(0, 1048575)) if device else 0,
    )


def link(path: str, target: str) -> Entry:
    return Entry(path=path, kind=Kind.HARDLINK, target=target)


def written(entries: list[Entry], **options: Any) -> bytes:
    out = io.BytesIO()
    made = iso9660.write(entries, out, Options(**{"volume": "TEST", **options}))
    assert made.size == len(out.getvalue())
    iso9660_check.validate(out)
    return out.getvalue()


def read(data: bytes) -> list[Entry]:
    return list(iso9660_read.read(io.BytesIO(data)))


def saved(folder: Path, entries: list[Entry], **options: Any) -> Path:
    path = folder / "image.iso"
    path.write_bytes(written(entries, **options))
    return path


def parents(entries: list[Entry]) -> list[Entry]:
    """``entries`` with the directories that the writer makes where they are missing."""
    made: dict[str, Entry] = {}
    for each in entries:
        parts = each.path.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            made.setdefault("/".join(parts[:count]), directory("/".join(parts[:count])))
        made[each.path] = each
    return list(made.values())


def consistent(entries: list[Entry]) -> bool:
    """Whether no file stands where another entry needs a directory."""
    whole = {each.path: each for each in parents(entries)}
    return all("/" not in path or whole[path.rpartition("/")[0]].kind is Kind.DIRECTORY for path in whole) and len(
        {each.path for each in entries}
    ) == len(entries)


@settings(max_examples=60, deadline=None)
@given(st.lists(entry(), max_size=8).filter(consistent))
def test_what_is_written_is_read_back(entries: list[Entry]) -> None:
    assert unpack(read(written(entries))) == unpack(sorted(parents(entries), key=lambda each: each.path))


@pytest.mark.shows("ISO 9660 images extract in xorriso as they were written", by="peer")
def test_xorriso_extracts_what_is_written(tmp_path: Path) -> None:
    image = saved(tmp_path, NASTY)
    out = tmp_path / "out"
    proc.run(["xorriso", "-osirrox", "on", "-indev", str(image), "-extract", "/", str(out)])
    for each in NASTY:
        status = (out / each.path).lstat()
        assert stat.S_IFMT(status.st_mode) == each.kind.value
        if each.kind is Kind.SYMLINK:
            assert os.fspath((out / each.path).readlink()) == os.fspath(Path(each.target))
            continue
        assert stat.S_IMODE(status.st_mode) == each.mode
        if each.kind is Kind.FILE:
            assert (out / each.path).read_bytes() == each.data
            assert int(status.st_mtime) == each.mtime_s
    assert sum(len(names) + len(below) for _, names, below in os.walk(out)) == len(parents(NASTY))


def test_xorriso_sees_owners_and_devices(tmp_path: Path) -> None:
    image = saved(tmp_path, [*DEVICES, replace(file("a", b"one"), uid=7, gid=8)])
    listing = proc.run(["xorriso", "-indev", str(image), "-find", "/", "-exec", "lsdl"]).decode()
    rows = {row.split("'")[1]: row.split() for row in listing.splitlines()}
    assert rows["/dev/console"][:5] == ["crw-------", "1", "0", "0", "5,1"]
    assert rows["/dev/fifo"][0] == "prw--w--w-"
    assert rows["/dev/nvme"][:4] == ["brw-rw----", "1", "0", "6"]
    assert rows["/a"][:5] == ["-rw-r--r--", "1", "7", "8", "3"]


def test_xorriso_extracts_hard_links_as_one_file(tmp_path: Path) -> None:
    image = saved(tmp_path, [file("a", b"one"), link("b", "a"), link("d/c", "b"), file("other", b"one")])
    out = tmp_path / "out"
    proc.run(["xorriso", "-hardlinks", "on", "-osirrox", "on", "-indev", str(image), "-extract", "/", str(out)])
    assert len({(out / name).stat().st_ino for name in ("a", "b", "d/c")}) == 1
    assert (out / "other").stat().st_nlink == 1


@pytest.mark.shows("isoinfo reads Rock Ridge and Joliet names of ISO images", by="peer")
def test_isoinfo_reads_rock_ridge_joliet_and_the_descriptor(tmp_path: Path) -> None:
    image = str(saved(tmp_path, [file("Readme.long-extension", b"x"), directory("Some Directory")], volume="LinuxKit"))
    assert "Volume id: LinuxKit" in proc.run(["isoinfo", "-d", "-i", image]).decode()
    for option, names in (
        ("-R", ["/Readme.long-extension", "/Some Directory"]),
        ("-J", ["/Readme.long-extension", "/Some Directory"]),
        ("-s", ["/README.LONG_EXTENSION;1", "/SOME_DIRECTORY"]),
    ):
        assert sorted(proc.run(["isoinfo", "-f", option, "-i", image]).decode().splitlines()) == names


def test_same_entries_give_same_bytes() -> None:
    assert written(NASTY) == written(NASTY)
    assert written(NASTY, identity=iso9660_records.identity(b"12345678")) != written(NASTY)


def test_the_identity_is_a_time_that_tools_take_for_a_uuid(tmp_path: Path) -> None:
    identity = iso9660_records.identity(bytes(range(200, 232)))
    assert len(identity) == 16 and 1 <= int(identity[4:6]) <= 12 and 1 <= int(identity[6:8]) <= 28
    with saved(tmp_path, [], identity=identity).open("rb") as stream:
        assert iso9660_read.Image(stream).primary.identity == identity


def test_hard_links_share_their_data() -> None:
    data = b"\xa5" * 100_000
    one, three = written([file("a", data)]), written([file("a", data), link("b", "a"), link("d/c", "a")])
    assert len(three) - len(one) < 10_000
    assert [(each.kind.name, each.target) for each in read(three) if each.path != "d"] == [
        ("FILE", ""),
        ("HARDLINK", "a"),
        ("HARDLINK", "a"),
    ]


def test_later_entries_win_and_directories_keep_what_they_hold() -> None:
    entries = [
        file("a", b"1"),
        link("b", "a"),
        file("a", b"2"),
        directory("d"),
        file("d/x", b"3"),
        directory("d", mode=0o700),
    ]
    found = {each.path: each for each in read(written(entries))}
    assert (found["a"].data, found["b"].data, found["d/x"].data) == (b"2", b"1", b"3")
    assert found["d"].mode == 0o700
    assert found["b"].links == 1


def test_a_large_body_is_streamed_both_ways() -> None:
    body = b"0123456789" * 200_000
    source = Entry(path="big", kind=Kind.FILE, size=len(body), data=io.BytesIO(body))
    first, second = iso9660_read.read(io.BytesIO(written([source, file("next", b"n")])))
    stream = cast(BinaryIO, first.data)
    assert stream.read(20) == body[:20] and stream.read() == body[20:]
    assert second.data == b"n"


class Zeros(io.RawIOBase):
    """A body of zeros that takes no time."""

    _chunk = bytes(1 << 20)

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        return self._chunk[:size]


class Holes(io.FileIO):
    """A file in which zeros become holes."""

    def write(self, data: Any) -> int:
        if data is Zeros._chunk:
            self.seek(len(data), io.SEEK_CUR)
            return len(data)
        return super().write(data)


def test_files_over_4_gib_have_several_sections(tmp_path: Path) -> None:
    size = (5 << 30) + 123
    path = tmp_path / "big.iso"
    with Holes(path, "w+") as out:
        entries = [Entry(path="big", kind=Kind.FILE, size=size, data=cast(BinaryIO, Zeros())), file("after", b"end")]
        iso9660.write(entries, cast(BinaryIO, out), Options(volume="BIG"))
        iso9660_check.validate(cast(BinaryIO, out))
        sizes = {each.path: each.size for each in iso9660_read.read(cast(BinaryIO, out))}
    assert sizes == {"big": size, "after": 3}
    listing = proc.run(["xorriso", "-indev", str(path), "-find", "/", "-type", "f", "-exec", "report_lba"]).decode()
    sections = [row.split(",") for row in listing.splitlines() if row.endswith("'/big'")]
    assert [int(row[4 - 1]) for row in sections] == [size, size]
    assert path.stat().st_blocks < 4096


def test_a_short_or_wrong_body_is_refused() -> None:
    for data in (b"12", io.BytesIO(b"12")):
        with pytest.raises(IntegrityError, match="3 bytes announced, 2 given"):
            written([Entry(path="a", kind=Kind.FILE, size=3, data=data)])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (file("n" * 254, b""), "a name of 254 bytes"),
        (symlink("a", ""), "target of 0 bytes"),
        (symlink("a", "t" * 4096), "target of 4096 bytes"),
        (file("a/../b", b""), "not the path"),
        (file("a\0b", b""), "not the path"),
        (link("a", "b"), "which is no file"),
        (directory("a", mode=0o755, origin="x"), ""),
        (Entry(path="a", kind=Kind.DIRECTORY, uid=1 << 32), "does not fit 32 bits"),
        (file("f/below", b""), "is no directory"),
    ],
)
def test_what_an_image_cannot_hold_is_refused(bad: Entry, message: str) -> None:
    if not message:
        written([bad])
        return
    with pytest.raises(IntegrityError, match=message):
        written([file("f", b""), bad])


@pytest.mark.parametrize("volume", ["", "n" * 33, "ü", "a\nb"])
def test_a_bad_volume_name_is_refused(volume: str) -> None:
    with pytest.raises(ConfigError, match="name of a volume"):
        written([], volume=volume)


@given(st.lists(st.tuples(PARTS, st.booleans()), max_size=40, unique_by=lambda each: each[0]))
def test_identifiers_differ_and_fit(names: list[tuple[str, bool]]) -> None:
    for shape, limit in ((iso9660_names.primary, 33), (iso9660_names.joliet, 206)):
        found = iso9660_names.assign(names, shape)
        assert len(set(found.values())) == len(names)
        assert all(0 < len(identifier) <= limit for identifier in found.values())


def test_ten_thousand_names_of_one_beginning_stay_apart() -> None:
    names = [("x" * 60 + f"{number}.conf", False) for number in range(10_000)]
    assert len(set(iso9660_names.assign(names, iso9660_names.primary).values())) == len(names)


IMAGE = written([file("d/a", b"x" * 3000), link("b", "d/a"), symlink("long", "t/" * 600), *DEVICES])


@settings(max_examples=200, deadline=None)
@given(st.integers(32_768, len(IMAGE)), st.binary(min_size=1, max_size=12))
def test_damage_gives_entries_or_an_integrity_error(at: int, noise: bytes) -> None:
    stream = io.BytesIO(IMAGE[:at] + noise + IMAGE[at + len(noise) :])
    with contextlib.suppress(IntegrityError):
        iso9660_check.validate(stream)
    with contextlib.suppress(IntegrityError):
        list(iso9660_read.read(stream))


def test_other_files_are_no_images() -> None:
    for data in (b"", bytes(1 << 17), IMAGE[:40_000]):
        with pytest.raises(IntegrityError):
            read(data)


def test_a_record_that_its_directory_cuts_off_is_refused() -> None:
    data = bytearray(written([file("a", b"")], joliet=False))
    size = 16 * 2048 + 156 + 10
    data[size : size + 8] = iso9660_records.both32(34 * 2 + 100)
    with pytest.raises(IntegrityError, match="a directory record of"):
        read(bytes(data))


def test_a_directory_inside_itself_is_refused() -> None:
    data = bytearray(written([directory("d/e")], joliet=False))
    image = iso9660_read.Image(io.BytesIO(data))
    places = {found.path: found.record.sector for found in image.walk(image.primary)}
    inner = data.index(iso9660_records.both32(places["d/e"]), places["d"] * 2048)
    data[inner : inner + 8] = iso9660_records.both32(places["d"])
    with pytest.raises(IntegrityError, match="inside itself"):
        read(bytes(data))
