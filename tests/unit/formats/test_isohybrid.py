from __future__ import annotations

import struct
import uuid
from pathlib import Path

import pytest

from moby import proc
from moby.errors import ConfigError, IntegrityError
from moby.formats import gpt, iso9660, iso9660_check, isohybrid, mbr
from moby.formats.eltorito import BootImage, Platform
from moby.formats.entry import file
from moby.formats.iso9660 import Options, Written

DISK = uuid.UUID(int=77)
CODE = b"\x33" * isohybrid.CODE_BYTES
LOADER = bytes(64) + b"\xfb\xc0\x78\x70" + bytes(10_000)
BIOS = BootImage(path="isolinux.bin", platform=Platform.BIOS, load_blocks=4)
EFI = BootImage(path="efi.img", platform=Platform.EFI)
SIZE = 3_000_001


def made(path: Path, *boot: BootImage, loader: bytes = LOADER) -> Written:
    files = [file("isolinux.bin", loader), file("efi.img", b"\xeb" * SIZE), file("after", b"a" * 10_000)]
    with path.open("w+b") as out:
        written = iso9660.write(files, out, Options(volume="HYBRID", boot=boot))
        size = isohybrid.apply(out, written, disk_id=DISK, boot_code=CODE)
    assert path.stat().st_size == size and size % (1 << 20) == 0
    with path.open("rb") as stream:
        iso9660_check.validate(stream)
    return written


@pytest.mark.shows("sgdisk and sfdisk accept the partition table of hybrid ISO images", by="peer")
def test_the_efi_image_is_a_partition_of_a_sound_table(tmp_path: Path) -> None:
    path = tmp_path / "hybrid.iso"
    extent = made(path, BIOS, EFI).boot[1]
    with path.open("rb") as stream:
        gpt.validate(stream)
        table = gpt.read(stream)
    (esp,) = (each for each in table.partitions if each.type == gpt.EFI_SYSTEM)
    assert esp.first_sector == extent.sector * 4
    assert (esp.last_sector + 1 - esp.first_sector) * 512 - SIZE in range(2048)
    report = proc.run(["sgdisk", "-v", str(path)]).decode()
    assert "No problems found. 0 free sectors" in report
    assert "No errors detected" in proc.run(["sfdisk", "--verify", str(path)]).decode()


def test_the_boot_code_is_told_where_isolinux_is(tmp_path: Path) -> None:
    for boot in ((BIOS,), (BIOS, EFI), (EFI, BIOS)):
        path = tmp_path / "hybrid.iso"
        written = made(path, *boot)
        (bios,) = (each for each in written.boot if each.platform is Platform.BIOS)
        first = path.read_bytes()[:512]
        assert first[:432] == CODE
        assert struct.unpack_from("<Q", first, 432) == (bios.sector * 4,)
        assert first[510:] == b"\x55\xaa"


def test_a_bios_finds_an_active_partition(tmp_path: Path) -> None:
    for boot in ((BIOS,), (BIOS, EFI), (EFI,)):
        path = tmp_path / "hybrid.iso"
        made(path, *boot)
        first = path.read_bytes()[:512]
        assert 0x80 in (first[446], first[462])


def test_without_efi_there_is_one_partition_over_all(tmp_path: Path) -> None:
    path = tmp_path / "bios.iso"
    made(path, BIOS)
    size = path.stat().st_size
    first = path.read_bytes()[:512]
    mbr.validate(first, disk_bytes=size)
    (whole,) = mbr.read(first).partitions
    assert (whole.type, whole.first_sector + whole.sectors, whole.active) == (0x17, size // 512, True)


def test_xorriso_finds_the_partition_and_its_file(tmp_path: Path) -> None:
    path = tmp_path / "hybrid.iso"
    made(path, BIOS, EFI)
    report = proc.run(["xorriso", "-indev", str(path), "-report_system_area", "plain"]).decode()
    assert "GPT partname local :   2  EFI System" in report
    assert "GPT partition path :   2  /efi.img" in report


def test_same_image_same_bytes(tmp_path: Path) -> None:
    made(tmp_path / "a", BIOS, EFI)
    made(tmp_path / "b", BIOS, EFI)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_cannot_boot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without boot images"):
        made(tmp_path / "a")
    with pytest.raises(IntegrityError, match="cannot be started from a disk"):
        made(tmp_path / "a", BIOS, loader=bytes(1000))
    with (tmp_path / "a").open("w+b") as out:
        written = iso9660.write([file("isolinux.bin", LOADER)], out, Options(volume="X", boot=(BIOS,)))
        with pytest.raises(IntegrityError, match="5 bytes, not 432"):
            isohybrid.apply(out, written, disk_id=DISK, boot_code=b"short")
