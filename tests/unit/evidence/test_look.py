"""Whatever a file is, it is found out by its content."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moby.errors import ConfigError
from moby.evidence.inspect import Form, form, lines, opened
from moby.evidence.look import Looker
from moby.formats import cpio, erofs, fat, gcp, iso9660, squashfs, uimage, verity
from moby.formats.content import Content
from moby.formats.entry import Entry, directory, file, symlink
from tests.support import efi
from tests.support.artifacts import VERSION, build, bzimage

ENTRIES = [directory("d"), file("d/a", b"text", mode=0o600), symlink("l", "d/a")]


def looked(data: bytes, *, files: bool = False) -> Form:
    with Looker() as looker:
        return form(looker.look(io.BytesIO(data), "x"), looker, files=files)


def inspected(path: Path, *, files: bool = False) -> Form:
    with Looker() as looker:
        return form(opened(looker, path), looker, files=files)


def part(found: Form, *names: str) -> Form:
    """The part of a part of ``found``."""
    for name in names:
        parts = found["parts"]
        assert isinstance(parts, list)
        (found,) = [each for each in parts if each["name"] == name]
    return found


def paths(found: Form) -> list[str]:
    files = found["files"]
    assert isinstance(files, list)
    return [each["path"] for each in files]


def archive(entries: list[Entry]) -> bytes:
    out = io.BytesIO()
    cpio.write(entries, out)
    return out.getvalue()


def tar(**options: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, **options) as opened:  # type: ignore[call-overload]  # the modes are literals there
        for name in ("a", "b/kernel"):
            info = tarfile.TarInfo(name)
            data = bzimage() if name.endswith("kernel") else b"a"
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
    return out.getvalue()


def made_squashfs() -> bytes:
    out = io.BytesIO()
    squashfs.write(ENTRIES, out)
    return out.getvalue()


def made_erofs() -> bytes:
    out = io.BytesIO()
    erofs.write(ENTRIES, out, uuid=uuid.UUID(int=2))
    return out.getvalue()


def made_iso() -> bytes:
    out = io.BytesIO()
    iso9660.write(ENTRIES, out, iso9660.Options(volume="V"))
    return out.getvalue()


def made_fat() -> bytes:
    out = io.BytesIO()
    files = {"EFI/BOOT/BOOTX64.EFI": Content.of(efi.program({".text": b"x" * 600})), "a": Content.of(b"a")}
    fat.layout(files, fat.Volume(label="L", number=7, time_s=1492533000)).write(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (lambda: b"", "text"),
        (lambda: b"console=ttyS0\n", "text"),
        (lambda: bytes(9), "data"),
        (lambda: b"text" * 100_000, "data"),
        (bzimage, "Linux kernel"),
        (lambda: gzip.compress(bzimage()), "packed file"),
        (lambda: archive(ENTRIES), "initrd"),
        (lambda: gzip.compress(archive(ENTRIES)), "initrd"),
        (lambda: lzma.compress(archive(ENTRIES)), "initrd"),
        (lambda: tar(mode="w"), "tar"),
        (lambda: tar(mode="w:gz"), "packed tar"),
        (lambda: efi.program({".text": b"x"}), "EFI program"),
        (made_squashfs, "squashfs"),
        (made_erofs, "EROFS"),
        (made_iso, "ISO 9660"),
        (made_fat, "FAT12"),
        (lambda: bytes(1024 + 56) + b"\x53\xef" + bytes(4096), "ext file system"),
        (lambda: b"MZ" + bytes(600), "damaged"),
        (lambda: archive(ENTRIES)[:200], "damaged"),
        (lambda: b"hsqs" + bytes(4096), "damaged"),
    ],
)
def test_kinds(data: Callable[[], bytes], kind: str) -> None:
    assert looked(data())["kind"] == kind


@pytest.mark.parametrize("make", [lambda: archive(ENTRIES), made_squashfs, made_erofs, made_iso])
def test_file_systems_list_their_files(make: Callable[[], bytes]) -> None:
    found = looked(make(), files=True)
    assert sorted(paths(found)) == ["d", "d/a", "l"]
    assert found["entries"] == 3
    assert found["entries size"] == 4
    files = found["files"]
    assert isinstance(files, list)
    (entry,) = [each for each in files if each["path"] == "d/a"]
    assert entry["sha256"] == "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_kernels_in_archives_are_found(mode: str) -> None:
    found = looked(tar(mode=mode), files=True)
    assert part(found, "b/kernel")["version"] == VERSION
    assert sorted(paths(found)) == ["a", "b/kernel"]


def test_programs_on_a_disk_are_found() -> None:
    found = looked(made_fat())
    assert found["label"] == "L"
    assert part(found, "EFI/BOOT/BOOTX64.EFI")["kind"] == "EFI program"


def test_segments_of_an_initrd() -> None:
    found = looked(archive([file("ucode", b"u")]) + bytes(8) + gzip.compress(archive(ENTRIES)))
    assert found["segments"] == 2
    assert part(found, "segment 1")["codec"] == "none"
    assert (part(found, "segment 2")["codec"], part(found, "segment 2")["entries"]) == ("gzip", 3)


def test_a_hash_tree_behind_a_file_system_tells_its_root_hash() -> None:
    data = made_squashfs()
    data += bytes(-len(data) % 4096 + 8192)
    out = io.BytesIO(data)
    out.seek(0, io.SEEK_END)
    root = verity.write(io.BytesIO(data), len(data), out, salt=b"s", uuid=uuid.UUID(int=1))
    # The tree follows the file system where nothing is between them.
    behind = looked(data[:-8192] + out.getvalue()[len(data) :])
    assert part(behind, "verity")["root hash"] == root.hex()
    assert part(behind, "verity")["data blocks"] == len(data) // 4096


def test_a_disk_in_an_archive_with_holes() -> None:
    with Looker() as looker:
        disk = io.BytesIO(bytes(1 << 20) + made_fat())
        out = io.BytesIO()
        gcp.write(disk, out)
        found = form(looker.look(io.BytesIO(out.getvalue()), "x"), looker)
    assert found["kind"] == "packed tar"
    assert part(found, "disk.raw")["size"] == 1 << 30


@pytest.mark.parametrize(
    ("format", "name", "places"),
    [
        ("uki", "web.efi", ()),
        ("raw-efi", "web-efi.img", ("partition 1", "EFI/BOOT/BOOTX64.EFI")),
        ("qcow2-efi", "web-efi.qcow2", ("disk", "partition 1", "EFI/BOOT/BOOTX64.EFI")),
        ("iso-efi-initrd", "web-efi-initrd.iso", ("boot/efi.img", "EFI/BOOT/BOOTX64.EFI")),
    ],
)
def test_what_boots_is_found_wherever_it_is(tmp_path: Path, format: str, name: str, places: tuple[str, ...]) -> None:
    build(tmp_path, [format])
    program = part(inspected(tmp_path / name), *places)
    assert program["kind"] == "unified kernel image"
    assert program["stub"] == "257.1-test"
    assert program["architecture"] == "amd64"
    assert len(str(program["PCR 11"])) == 64
    assert part(program, ".cmdline")["text"] == "console=ttyS0 rootfstype=ramfs"
    assert part(program, ".linux")["version"] == VERSION
    assert part(program, ".initrd")["kind"] == "initrd"


def test_a_build_by_its_name(tmp_path: Path) -> None:
    build(tmp_path, ["kernel+initrd", "uki"])
    found = inspected(tmp_path / "web")
    parts = found["parts"]
    assert isinstance(parts, list)
    assert sorted(each["name"] for each in parts) == ["web-cmdline", "web-initrd.img", "web-kernel", "web.efi"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        inspected(tmp_path / "web")
    with pytest.raises(ConfigError, match="a directory"):
        inspected(tmp_path)


def test_names_cannot_move_the_terminal(tmp_path: Path) -> None:
    found = looked(archive([file("a\x1b[2Jb\nc", b"")]), files=True)
    assert paths(found) == ["a\\x1b[2Jb\\nc"]
    assert "\x1b" not in "\n".join(lines(found))


def test_the_text_for_people(tmp_path: Path) -> None:
    text = "\n".join(lines(looked(tar(mode="w"), files=True)))
    assert text.startswith("x: tar, 20.0 KiB\n  2 entries, 8.0 KiB in files\n  -0644 0:0          1 a\n")
    assert (
        f"\n  b/kernel: Linux kernel, 8.0 KiB\n    form: bzImage\n    architecture: amd64\n    version: {VERSION}"
        in text
    )


def nested(data: bytes, times: int) -> bytes:
    for _ in range(times):
        data = archive([file("x.img", data)])
    return data


def test_nesting_has_an_end() -> None:
    found = looked(nested(b"", 30))
    depth = 0
    while "parts" in found:
        found = part(found, "x.img")
        depth += 1
    assert depth == 8


def for_uboot(data: bytes) -> bytes:
    out = io.BytesIO()
    uimage.write(io.BytesIO(data), out, uimage.Header(type=uimage.Type.KERNEL))
    return out.getvalue()


@pytest.mark.parametrize("pack", [for_uboot, gzip.compress])
def test_packing_again_and_again_has_an_end(pack: Callable[[bytes], bytes]) -> None:
    data = bzimage()
    for _ in range(400):
        data = pack(data)
    found, depth = looked(data), 0
    while "parts" in found:
        found = part(found, "content")
        depth += 1
    assert (depth, found["kind"]) == (8, "data")


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([made_fat, made_iso, made_squashfs, made_erofs, bzimage]), st.data())
def test_damage_is_told_or_harmless(make: Callable[[], bytes], data: st.DataObject) -> None:
    broken = bytearray(make()[: 1 << 16])
    at = data.draw(st.integers(0, len(broken) - 4))
    broken[at : at + 4] = data.draw(st.binary(min_size=4, max_size=4))
    with Looker() as looker:
        assert looker.look(io.BytesIO(bytes(broken)), "x").kind
