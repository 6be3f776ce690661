from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby import proc
from moby.errors import ConfigError, IntegrityError
from moby.formats import eltorito, iso9660, iso9660_check, iso9660_read
from moby.formats.eltorito import BootImage, Extent, Platform
from moby.formats.entry import file
from moby.formats.iso9660 import Options

BIOS = BootImage(path="isolinux/isolinux.bin", platform=Platform.BIOS, load_blocks=4, info_table=True)
EFI = BootImage(path="efi.img", platform=Platform.EFI)
CODE = bytes(range(256)) * 20 + b"end"
FILES = [file(BIOS.path, CODE), file(EFI.path, b"\xeb" * 100_000)]
EXTENTS = st.builds(
    Extent,
    platform=st.sampled_from(Platform),
    sector=st.integers(0, 0xFFFFFFFF),
    size=st.integers(1, 0xFFFF * 512),
)


def image(*boot: BootImage, catalog: str = "") -> io.BytesIO:
    out = io.BytesIO()
    iso9660.write(FILES, out, Options(volume="BOOT", boot=boot, catalog=catalog))
    iso9660_check.validate(out)
    return out


@given(st.lists(EXTENTS, min_size=1, max_size=31))
def test_a_catalog_is_read_back(extents: list[Extent]) -> None:
    found = eltorito.read_catalog(eltorito.catalog(extents))
    assert [(each.platform, each.sector, each.blocks) for each in found] == [
        (each.platform, each.sector, each.blocks) for each in extents
    ]


@pytest.mark.parametrize("count", [0, 32])
def test_a_catalog_holds_1_to_31_images(count: int) -> None:
    with pytest.raises(ConfigError):
        eltorito.catalog([Extent(platform=Platform.BIOS, sector=1, size=1)] * count)


@given(st.integers(0, 31), st.integers(1, 255))
def test_a_changed_validation_entry_is_refused(at: int, change: int) -> None:
    data = bytearray(eltorito.catalog([Extent(platform=Platform.BIOS, sector=1, size=1)]))
    data[at] ^= change
    with pytest.raises(IntegrityError):
        eltorito.read_catalog(bytes(data))


def test_large_efi_images_reach_to_the_end_of_the_disc() -> None:
    sizes = {512: 1, 0xFFFF * 512: 0xFFFF, 0xFFFF * 512 + 1: 0, 1 << 30: 0}
    assert {size: Extent(platform=Platform.EFI, sector=1, size=size).blocks for size in sizes} == sizes
    assert Extent(platform=Platform.BIOS, sector=1, size=1 << 30).blocks == 0xFFFF


def test_the_boot_file_knows_where_it_is() -> None:
    stream = image(BIOS)
    (extent,) = iso9660_read.Image(stream).boot
    data = stream.getvalue()[extent.sector * 2048 :][: len(CODE)]
    pvd, place, size, checksum = struct.unpack_from("<4I", data, 8)
    assert (pvd, place, size) == (16, extent.sector, len(CODE))
    words = struct.iter_unpack("<I", CODE[64:].ljust(-(-len(CODE[64:]) // 4) * 4, b"\0"))
    assert checksum == sum(word for (word,) in words) & 0xFFFFFFFF
    assert data[:8] == CODE[:8] and data[24:64] == bytes(40) and data[64:] == CODE[64:]


def test_a_boot_file_without_room_for_the_table_is_refused() -> None:
    for size in (63, (1 << 20) + 1):
        with pytest.raises(IntegrityError, match="boot information table"):
            eltorito.with_info_table(bytes(size), 30)


def test_a_boot_image_must_be_a_file_of_the_tree() -> None:
    for path in ("nothing", "isolinux"):
        with pytest.raises(ConfigError, match="no file of the tree"):
            image(BootImage(path=path, platform=Platform.EFI))


@pytest.mark.shows("xorriso finds the boot images of ISO images", by="peer")
def test_xorriso_finds_both_images(tmp_path: Path) -> None:
    path = tmp_path / "boot.iso"
    path.write_bytes(image(BIOS, EFI, catalog="isolinux/boot.cat").getvalue())
    report = proc.run(["xorriso", "-indev", str(path), "-report_el_torito", "plain"]).decode()
    rows = [row.split(":", 1) for row in report.splitlines() if row.startswith("El Torito")]
    found = [" ".join(row[1].split()) for row in rows]
    assert "20 1" in found and "/isolinux/boot.cat" in found
    assert "1 BIOS y none 0x0000 0x00 4 21" in found
    assert "2 UEFI y none 0x0000 0x00 196 24" in found
    assert "1 /isolinux/isolinux.bin" in found and "2 /efi.img" in found
    assert any("boot-info-table" in row for row in found)
