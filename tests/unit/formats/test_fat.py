from __future__ import annotations

import io
import tempfile
import time
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moby.errors import ConfigError, IntegrityError
from moby.formats import fat, fatread
from moby.formats.content import Content
from moby.formats.entry import Kind
from moby.formats.fat import Volume
from moby.formats.fatgeometry import kind_of
from tests.support import fatjudges

MIB = 1 << 20
TIME_S = 1492533000
# What FAT takes; without what mtools shows as another name: unassigned and private characters, and those past 16 bits.
CHARACTERS = st.characters(
    exclude_characters='"*/:<>?\\|\x7f', exclude_categories=["Cs", "Cc", "Cn", "Co", "Zl", "Zp"], max_codepoint=0xFFFF
)
NAMES = st.one_of(
    st.text("ABCabc019_.~ -+[];é", min_size=1, max_size=14),
    st.text(CHARACTERS, min_size=1, max_size=60),
).filter(lambda name: name[0] != " " and name[-1] not in ". ")
FILES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map("/".join),
    st.none() | st.binary(max_size=40) | st.integers(0, 9000).map(lambda size: b"\xa5" * size),
    max_size=12,
)
Tree = Mapping[str, bytes | None]


def volume(
    *,
    label: str = "MOBY",
    kind: fat.Kind | None = None,
    at_least: int = 0,
    at_most: int | None = None,
    align: int = MIB,
) -> Volume:
    return Volume(
        label=label,
        number=0x6D6F6279,
        time_s=TIME_S,
        hidden_sectors=2048,
        kind=kind,
        at_least_bytes=at_least,
        at_most_bytes=at_most,
        align_bytes=align,
    )


def layout(files: Tree, asked: Volume | None = None) -> fat.Layout:
    contents = {path: None if data is None else Content.of(data) for path, data in files.items()}
    return fat.layout(contents, asked or volume())


def image(made: fat.Layout) -> bytes:
    out = io.BytesIO()
    made.write(out)
    assert len(out.getvalue()) == made.size_bytes
    return out.getvalue()


def whole(files: Tree) -> dict[str, bytes | None]:
    """``files`` with all directories on the way."""
    folders = {"/".join(path.split("/")[:depth]): None for path in files for depth in range(1, path.count("/") + 1)}
    return {**folders, **files}


def read(disk: BinaryIO, *, offset: int = 0) -> dict[str, bytes | None]:
    """The file system as our own reader sees it, once it is found sound."""
    fatread.validate(disk, offset=offset)
    found: dict[str, bytes | None] = {}
    for entry in fatread.FileSystem(disk, offset=offset).entries():
        assert entry.path not in found
        assert entry.mtime_s == TIME_S
        found[entry.path] = None
        if entry.kind is Kind.FILE:
            assert not isinstance(entry.data, bytes)
            found[entry.path] = entry.data.read()
    return found


def sound(files: Tree) -> bool:
    """Whether FAT has room for these names: no file in the way of a directory, none twice but for the case."""
    parts = whole(files)
    folded = [path.upper() for path in parts]
    return len(set(folded)) == len(folded) and all(
        files.get("/".join(path.split("/")[:depth])) is None
        for path in files
        for depth in range(1, path.count("/") + 1)
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FILES.filter(sound), st.sampled_from([None, fat.Kind.FAT12, fat.Kind.FAT16]))
def test_what_is_written_is_read_back(files: Tree, kind: fat.Kind | None) -> None:
    made = layout(files, volume(kind=kind, align=512))
    data = image(made)
    assert read(io.BytesIO(data)) == whole(files)
    for path, content in files.items():
        if content:
            assert data[made.offset(path) : made.offset(path) + len(content)] == content


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FILES.filter(sound), st.sampled_from(list(fat.Kind)))
def test_fsck_finds_nothing_wrong_and_mtools_the_same_files(files: Tree, kind: fat.Kind) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fat.img"
        with path.open("wb") as out:
            layout(files, volume(kind=kind)).write(out)
        fatjudges.check(path)
        assert fatjudges.extract(path) == whole(files)


@pytest.mark.parametrize("kind", fat.Kind)
def test_many_alike_names_grow_a_directory(kind: fat.Kind, tmp_path: Path) -> None:
    files = {f"dir/a rather long name {number:05}.conf": b"%d" % number for number in range(2500)}
    path = tmp_path / "fat.img"
    with path.open("wb") as out:
        made = layout(files, volume(kind=kind))
        made.write(out)
    assert made.geometry.kind is kind
    fatjudges.check(path)
    with path.open("rb") as disk:
        assert read(disk) == whole(files)
    shorts = fatjudges.listing(path, "-b", "-s").splitlines()
    assert len(shorts) == 2501


@pytest.mark.parametrize("kind", [fat.Kind.FAT12, fat.Kind.FAT16])
def test_a_fixed_root_directory_is_made_as_large_as_it_must(kind: fat.Kind, tmp_path: Path) -> None:
    path = tmp_path / "fat.img"
    with path.open("wb") as out:
        made = layout({f"FILE{number}": b"" for number in range(3000)}, volume(kind=kind))
        made.write(out)
    assert made.geometry.root_entries == 3008  # the label too, then whole sectors
    fatjudges.check(path)
    assert len(fatjudges.listing(path, "-b").splitlines()) == 3000


def test_case_decides_between_a_short_name_and_both(tmp_path: Path) -> None:
    files: dict[str, bytes | None] = {
        "KERNEL": b"",
        "LDLINUX.SYS": b"",
        "ldlinux.c32": b"",
        "Readme.txt": b"",
        "LONGNA~1.TXT": b"",
        "longname-one.txt": b"",
        "longname-two.txt": b"",
        ".profile": b"",
        "日本.txt": b"",
        "a.b.c": b"",
        "two words": b"",
    }
    path = tmp_path / "fat.img"
    with path.open("wb") as out:
        layout(files).write(out)
    with path.open("rb") as disk:
        shorts = {found.path: found.short for found in fatread.FileSystem(disk).walk()}
    assert shorts == {
        "KERNEL": b"KERNEL     ",
        "LDLINUX.SYS": b"LDLINUX SYS",
        "ldlinux.c32": b"LDLINUX C32",
        "Readme.txt": b"README  TXT",
        "LONGNA~1.TXT": b"LONGNA~1TXT",
        "longname-one.txt": b"LONGNA~2TXT",
        "longname-two.txt": b"LONGNA~3TXT",
        ".profile": b"PROFIL~1   ",
        "日本.txt": b"__~1    TXT",
        "a.b.c": b"AB~1    C  ",
        "two words": b"TWOWOR~1   ",
    }
    assert fatjudges.extract(path) == files


def test_labels_numbers_and_times_are_as_given(tmp_path: Path) -> None:
    path = tmp_path / "fat.img"
    with path.open("wb") as out:
        layout({"a": b""}, volume(kind=fat.Kind.FAT16)).write(out)
    said = fatjudges.listing(path)
    assert "is MOBY" in said
    assert "6D6F-6279" in said
    assert "2017-04-18  16:30" in said
    with path.open("rb") as disk:
        system = fatread.FileSystem(disk)
        assert (system.label, system.number) == ("MOBY", 0x6D6F6279)


@pytest.mark.parametrize(
    ("size_mib", "kind"),
    [(1, 12), (8, 12), (9, 16), (100, 16), (512, 16), (513, 32), (40 << 10, 32), (1 << 20, 32)],
)
def test_the_kind_follows_from_the_size(size_mib: int, kind: int) -> None:
    geometry = layout({}, volume(at_least=size_mib * MIB)).geometry
    assert geometry.kind == kind_of(geometry.clusters) == kind
    assert geometry.sectors == size_mib << 11


def test_the_smallest_fat32_has_as_many_clusters_as_it_must(tmp_path: Path) -> None:
    made = layout({"a": b"a"}, volume(kind=fat.Kind.FAT32, align=512))
    assert made.size_bytes < 33 * MIB
    assert made.geometry.clusters >= 65525
    with pytest.raises(ConfigError, match=r"the FAT32 file system needs 333\d\d KiB, and 32768 KiB are there"):
        layout({"a": b"a"}, volume(kind=fat.Kind.FAT32, at_most=32 * MIB))


@pytest.mark.parametrize("kind", [None, *fat.Kind])
def test_a_full_disk_is_refused_and_one_that_just_fits_is_not(kind: fat.Kind | None, tmp_path: Path) -> None:
    files = {"a": b"a" * 700_000, "b/c": b"c" * 3_300_000}
    least = layout(files, volume(kind=kind, align=512)).size_bytes
    exact = layout(files, volume(kind=kind, at_most=least))
    assert exact.size_bytes == least
    path = tmp_path / "fat.img"
    with path.open("wb") as out:
        exact.write(out)
    fatjudges.check(path)
    with pytest.raises(ConfigError, match=r"file system needs \d+ KiB, and \d+ KiB are there for it"):
        layout(files, volume(kind=kind, at_most=least - 512))


@given(st.lists(st.integers(0, 3 * MIB), max_size=6), st.integers(0, 20 * MIB))
def test_the_size_is_what_the_contents_need(sizes: list[int], at_least: int) -> None:
    files: dict[str, Content | None] = {str(number): Content(size, io.BytesIO) for number, size in enumerate(sizes)}
    made = fat.layout(files, volume(at_least=at_least, align=512))
    assert made.size_bytes >= max(sum(sizes), at_least // 512 * 512)
    assert kind_of(made.geometry.clusters) is made.geometry.kind
    if made.size_bytes - 512 >= at_least:  # it is no larger than it must be
        with pytest.raises(ConfigError, match="file system needs"):
            fat.layout(files, volume(kind=made.geometry.kind, at_most=made.size_bytes - 512 * 65))


def test_a_file_over_4_gib_is_refused() -> None:
    fat.layout({"a/b": Content((1 << 32) - 1, io.BytesIO)}, volume())
    with pytest.raises(ConfigError, match=r"^a/b: a file of 4294967296 bytes cannot be in a FAT file system"):
        fat.layout({"a/b": Content(1 << 32, io.BytesIO)}, volume())


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"dir/a:b": b""}, "dir/a:b: this name cannot be"),
        ({"a.": b""}, "this name cannot be"),
        ({"a ": b""}, "this name cannot be"),
        ({" a": b""}, "this name cannot be"),
        ({"a//b": b""}, "this name cannot be"),
        ({"..": b""}, "this name cannot be"),
        ({"a\nb": b""}, "this name cannot be"),
        ({"\udc80": b""}, "not text"),
        ({"n" * 256: b""}, "longer than the 255"),
        ({"\U0001f600" * 128: b""}, "longer than the 255"),
        ({"EFI/a": b"", "efi/b": b""}, "EFI and efi are one name"),
        ({"ÄB": b"", "äb": b""}, "are one name"),
        ({"a": b"", "a/b": b""}, "in the way of a directory"),
        ({"a/b": b"", "a": b""}, "two files, or a file and a directory"),
    ],
)
def test_names_that_cannot_be_are_refused(files: Tree, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        layout(files)


def test_a_directory_has_a_limit() -> None:
    least = {f"d/A{number}": None for number in range(65534)}
    fat.layout(least, volume())
    with pytest.raises(ConfigError, match=r"^d: 65535 names are too many for a FAT directory"):
        fat.layout({**least, "d/B": None}, volume())
    with pytest.raises(ConfigError, match="65533 names are too many for the root of FAT16"):
        layout({f"A{number}": b"" for number in range(65533)}, volume(kind=fat.Kind.FAT16))


@pytest.mark.parametrize("label", ["TWELVE CHARS", "é", "A*B", "A\n"])
def test_a_label_that_cannot_be_is_refused(label: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the label"):
        layout({}, volume(label=label))


def test_too_large_a_size_is_refused() -> None:
    for kind, size in ((fat.Kind.FAT12, 1 << 28), (fat.Kind.FAT16, 1 << 32), (None, 1 << 42)):
        with pytest.raises(ConfigError, match=r"too much for a FAT\d\d"):
            layout({}, volume(kind=kind, at_least=size))


@pytest.mark.parametrize("kind", fat.Kind)
def test_the_same_contents_give_the_same_bytes(kind: fat.Kind) -> None:
    one = {"b/x": b"1", "a": b"2", "B2.txt": b"3", "b3 long.txt": b"4", "b3 long too.txt": b"5"}
    other = dict(reversed(one.items()))
    assert image(layout(one, volume(kind=kind))) == image(layout(other, volume(kind=kind)))


@pytest.mark.parametrize(("time_s", "read_s"), [(0, 315532800), (1 << 33, 4354819198), (TIME_S + 1, TIME_S)])
def test_times_are_as_near_as_fat_can_say(time_s: int, read_s: int) -> None:
    asked = Volume(label="", number=1, time_s=time_s)
    disk = io.BytesIO(image(layout({"a": b""}, asked)))
    assert [entry.mtime_s for entry in fatread.FileSystem(disk).entries()] == [read_s]


def test_a_file_that_changed_its_size_is_named() -> None:
    made = fat.layout({"dir/a": Content(5, lambda: io.BytesIO(b"1234"))}, volume())
    with pytest.raises(IntegrityError, match=r"^dir/a: 5 bytes announced, 4 given"):
        made.write(io.BytesIO())


def test_ten_gigabytes_with_little_in_them_are_sparse_quick_and_small_in_memory(tmp_path: Path) -> None:
    block = bytes(range(256)) * 4096
    path = tmp_path / "disk"
    (tmp_path / "data").write_bytes(block * 30)
    files = {"kernel": Content.file(tmp_path / "data"), "holes": Content.of(bytes(8 * MIB)), "end": Content.of(b"end")}
    started = time.monotonic()
    tracemalloc.start()
    with path.open("wb") as out:
        fat.layout(files, volume(at_least=10 << 30)).write(out, offset=MIB)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.monotonic() - started < 5
    assert peak < 20 * MIB
    assert path.stat().st_size == (10 << 30) + MIB
    assert path.stat().st_blocks * 512 < 32 * MIB
    assert fatjudges.extract(path, offset=MIB) == {"kernel": block * 30, "holes": bytes(8 * MIB), "end": b"end"}
    with path.open("rb") as disk:
        fatread.validate(disk, offset=MIB)
