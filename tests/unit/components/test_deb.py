"""Packages are read without running anything of theirs, and nothing in them is trusted."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

from moby.components import deb as debs
from moby.errors import IntegrityError
from moby.formats.entry import Entry, Kind, file
from tests.support.debs import Deb, ar, deb, raw_tar
from tests.support.images import Content, hardlink, symlink


def save(made: Deb | bytes, directory: Path) -> Path:
    path = directory / "a.deb"
    path.write_bytes(made if isinstance(made, bytes) else made.data)
    return path


def read(made: Deb | bytes, directory: Path) -> dict[str, Entry]:
    return {entry.path: entry for entry in debs.entries(save(made, directory), where="a 1.0")}


@pytest.mark.parametrize("compression", ["gz", "xz", "zst", ""])
def test_reads_every_compression(tmp_path: Path, compression: str) -> None:
    found = read(deb("a", files={"./usr/": "", "./usr/x": "hello"}, compression=compression), tmp_path)
    assert found["usr/x"].data == b"hello"
    assert found["usr"].kind is Kind.DIRECTORY


def test_agrees_with_dpkg(tmp_path: Path) -> None:
    made = deb("a", files={"./etc/": "", "./etc/a": "1", "./usr/": "", "./usr/b": symlink("../etc/a")})
    path = save(made, tmp_path)
    listed = subprocess.run(["dpkg-deb", "--fsys-tarfile", path], capture_output=True, check=True).stdout
    (tmp_path / "data.tar").write_bytes(listed)
    with tarfile.open(tmp_path / "data.tar") as archive:
        names = {member.name.removeprefix("./") for member in archive} - {"."}
    assert set(read(made, tmp_path)) == names


def test_old_top_level_directories_move_below_usr(tmp_path: Path) -> None:
    files: dict[str, Content] = {
        "./bin/": "",
        "./bin/sh": "s",
        "./lib/": "",
        "./lib/x86/a.so": "a",
        "./lib/b": hardlink("./lib/x86/a.so"),
        "./lib64/ld.so": symlink("../lib/x86/ld.so"),
        "./libexec": "other",
        "./etc/lib/x": "stays",
    }
    found = read(deb("a", files=files), tmp_path)
    assert sorted(found) == ["etc/lib/x", "libexec", "usr/bin/sh", "usr/lib/b", "usr/lib/x86/a.so", "usr/lib64/ld.so"]
    assert found["usr/lib/b"].target == "usr/lib/x86/a.so"
    assert found["usr/lib64/ld.so"].target == "../lib/x86/ld.so"


def test_links_stand_for_the_moved_directories() -> None:
    made = {entry.path: entry.target for entry in debs.links(frozenset({"usr/bin", "usr/lib", "usr/share"}))}
    assert made == {"bin": "usr/bin", "lib": "usr/lib"}


def test_reads_the_control_file(tmp_path: Path) -> None:
    fields = debs.control(save(deb("a", version="1:2-3", depends="b (>= 1), c"), tmp_path), where="a")
    assert fields["Package"] == "a"
    assert fields["Version"] == "1:2-3"
    assert fields["Depends"] == "b (>= 1), c"
    assert fields["Description"] == "a for tests\n folded line"


@pytest.mark.parametrize(
    "data_tar",
    [
        raw_tar("../../etc/passwd"),
        raw_tar("usr/../../x"),
        raw_tar("link", b"", kind=tarfile.LNKTYPE, target="../../../etc/shadow"),
        raw_tar("usr/x")[:700],
        b"no tar at all" * 100,
    ],
)
def test_refuses_hostile_content(tmp_path: Path, data_tar: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        read(deb("a", data_tar=data_tar), tmp_path)
    assert "a 1.0" in str(caught.value)


def test_an_absolute_path_stays_in_the_tree(tmp_path: Path) -> None:
    assert list(read(deb("a", data_tar=raw_tar("/etc/passwd")), tmp_path)) == ["etc/passwd"]


@pytest.mark.parametrize("size", [0, 7, 40, 70, 200])
def test_refuses_a_truncated_package(tmp_path: Path, size: int) -> None:
    with pytest.raises(IntegrityError):
        read(deb("a", files={"usr/x": "hello" * 100}).data[:size], tmp_path)


def test_refuses_a_member_that_claims_more_than_there_is(tmp_path: Path) -> None:
    whole = ar([("debian-binary", b"2.0\n"), ("data.tar", raw_tar("usr/x"))])
    with pytest.raises(IntegrityError, match="truncated"):
        read(whole[:-600], tmp_path)


def test_refuses_what_has_no_data(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"no data\.tar"):
        read(ar([("debian-binary", b"2.0\n")]), tmp_path)
    with pytest.raises(IntegrityError, match="not a Debian package"):
        read(b"PK\x03\x04 something else entirely", tmp_path)


def test_an_entry_outside_the_merged_directories_is_untouched() -> None:
    entry = file("etc/bin", b"x")
    assert debs.merge(entry) is entry
