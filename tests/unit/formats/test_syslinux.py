from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from moby import proc
from moby.errors import ConfigError, IntegrityError
from moby.formats import fat, fatread
from moby.formats.content import Content
from moby.formats.fat import Layout, Volume
from moby.formats.syslinux import MODULE, SYSTEM, Loader
from tests.support import fatjudges


def program() -> bytes:
    """The installer: from PATH, or out of the packages that stand in for it, where PATH has a script that starts it."""
    found = shutil.which("syslinux")
    assert found is not None, "syslinux is neither on PATH nor in tests/tools"
    path = Path(found)
    if path.read_bytes().startswith(b"#!"):
        path = path.parent.parent / "usr/bin/syslinux"
    return path.read_bytes()


@pytest.fixture(scope="module")
def loader() -> Loader:
    return Loader.extract(program())


def layout(loader: Loader, kind: fat.Kind) -> Layout:
    files = {"kernel": Content.of(b"k" * 9000), "syslinux.cfg": Content.of(b"DEFAULT linux\n"), **loader.files}
    return fat.layout(files, Volume(label="MOBY", number=1, time_s=1 << 30, kind=kind, hidden_sectors=2048))


def installed(loader: Loader, made: Layout, *, offset: int = 0) -> bytes:
    out = io.BytesIO()
    made.write(out, offset=offset)
    loader.install(made, out, offset=offset)
    return out.getvalue()


@pytest.mark.parametrize("kind", fat.Kind)
def test_it_writes_what_the_installer_writes(kind: fat.Kind, loader: Loader, tmp_path: Path) -> None:
    """The installer puts its files elsewhere, so ours are put at the places that it chose and compared there."""
    theirs = tmp_path / "theirs.img"
    made = fat.layout({}, Volume(label="MOBY", number=1, time_s=1 << 30, kind=kind, hidden_sectors=2048))
    with theirs.open("wb") as out:
        made.write(out)
    proc.run(["syslinux", "--install", theirs])
    data = theirs.read_bytes()
    with theirs.open("rb") as disk:
        system = fatread.FileSystem(disk)
        first = next(found.cluster for found in system.walk() if found.path.lower() == SYSTEM)
        chain = list(system.chain(first, SYSTEM))
        assert chain == list(range(first, first + len(chain)))
        files = {
            entry.path.lower(): entry.data.read() for entry in system.entries() if not isinstance(entry.data, bytes)
        }
    patched, boot = loader._patched(made.geometry.offset(first) // 512)
    adv = loader.files[SYSTEM].open().read()[len(loader.system) :]
    assert files == {SYSTEM: patched + adv, MODULE: loader.module}
    assert data[:11] == boot[:11]
    assert data[11:90] == made.boot_sector()[11:90]
    assert data[90:512] == boot[90:512]


@pytest.mark.parametrize("kind", fat.Kind)
def test_the_file_system_stays_sound(kind: fat.Kind, loader: Loader, tmp_path: Path) -> None:
    made = layout(loader, kind)
    data = installed(loader, made, offset=1 << 20)[1 << 20 :]
    fatread.validate(io.BytesIO(data))
    path = tmp_path / "fat.img"
    path.write_bytes(data)
    fatjudges.check(path)
    files = fatjudges.extract(path)
    assert files["kernel"] == b"k" * 9000
    assert files[MODULE] == loader.module
    assert len(files[SYSTEM] or b"") == len(loader.system) + 1024


def test_it_can_be_written_anywhere(loader: Loader) -> None:
    made = layout(loader, fat.Kind.FAT16)
    assert installed(loader, made, offset=1 << 20)[1 << 20 :] == installed(loader, made)


def test_a_file_system_without_its_files_is_refused(loader: Loader) -> None:
    volume = Volume(label="", number=1, time_s=0)
    with pytest.raises(ConfigError, match=r"there is no ldlinux\.sys"):
        loader.install(fat.layout({}, volume), io.BytesIO())
    other = fat.layout({SYSTEM: Content.of(b"other")}, volume)
    out = io.BytesIO()
    other.write(out)
    with pytest.raises(ConfigError, match="is another one"):
        loader.install(other, out)


def test_a_program_without_the_parts_is_refused() -> None:
    whole = program()
    at = whole.index(b"\x55\xaa\r\nSYSLINUX 6.") + 2
    for broken, message in (
        (b"\x7fELF" + bytes(10000), "no boot sector with"),
        (whole.replace(b"\r\nSYSLINUX 6.", b"\r\nSYSLINUX 4."), "no boot sector with"),
        (whole[: at - 2] + b"\0\0" + whole[at:], "no boot sector with"),
        (whole[: at + 5000], r"no ldlinux\.c32 behind"),
        (whole[: at + 70000], r"ldlinux\.c32 is cut off"),
    ):
        with pytest.raises(IntegrityError, match=message):
            Loader.extract(broken)


def test_a_loader_of_another_build_is_refused(loader: Loader) -> None:
    area = loader.system.index(b"\xfe\x02\xb2\x3e")

    def changed(at: int, value: bytes) -> Loader:
        return replace(loader, system=loader.system[:at] + value + loader.system[at + len(value) :])

    extended = int.from_bytes(loader.system[area + 22 : area + 24], "little")
    for strange, message in (
        (changed(area, b"\0"), "no place for the installer"),
        (changed(area + 8, b"\1"), "installed before"),
        (changed(area + 22, b"\xff\xff"), "extended patch area is not in it"),
        (changed(extended + 12, b"\0\0"), "no room for its places"),
        (changed(extended, b"\xff\xff"), "no room for its places"),
        (changed(extended + 14, b"\xff\xff"), "boot sector has no room"),
        (changed(extended + 14, b"\0\0"), "boot sector has no room"),
    ):
        made = layout(strange, fat.Kind.FAT12)
        with pytest.raises(IntegrityError, match=message):
            installed(strange, made)
