"""Components ``boot`` and ``stage1`` made by code: what outputs look for is in them, and no machine could start it."""

from __future__ import annotations

import struct

from moby.artifact import Architecture
from moby.formats import isohybrid, pe
from moby.oci.store import Store
from moby.outputs import BootCode, RootKind, Settings, rpi3
from tests.support import efi, images

_SECTOR = 512
_SYSLINUX = b"\r\nSYSLINUX 6.04 test \0"
# The files that ``boot-rpi`` must have.
RPI = (
    "usr/share/doc/raspi-firmware/copyright",
    "usr/lib/u-boot/rpi_3/u-boot.bin",
    *(f"usr/lib/raspi-firmware/{name}" for name in rpi3.FIRMWARE_FILES),
)
# What an arm64 kernel begins with, as far as anybody looks; and modules with device trees.
KERNEL = b"MZ".ljust(0x38, b"\0") + b"ARM\x64" + b"kernel" * 9000
MODULES = images.tar(
    {
        "lib/": "",
        "lib/modules/": "",
        "lib/modules/6/": "",
        "lib/modules/6/modules.dep": "",
        "boot/": "",
        "boot/dtb/": "",
        "boot/dtb/broadcom/": "",
        "boot/dtb/broadcom/bcm2837-rpi-3-b.dtb": b"\xd0\x0d\xfe\xed" * 99,
        "boot/dtb/broadcom/bcm2711-rpi-4-b.dtb": "another board's",
    }
)
_PATCH_AT, _EXTENDED_AT, _POINTERS_AT, _EXTENTS_AT = 64, 128, 512, 544


def syslinux() -> bytes:
    """The program ``syslinux``: some code, then boot sector, ``ldlinux.sys`` and ``ldlinux.c32``."""
    boot = (b"\xeb\x58\x90SYSLINUX".ljust(_SECTOR - 2, b"\x90")) + b"\x55\xaa"
    system = bytearray(_SYSLINUX.ljust(4 * _SECTOR, b"\x90"))
    struct.pack_into("<IIHHIIHH", system, _PATCH_AT, 0x3EB202FE, 1, 0, 0, 0, 0, 127, _EXTENDED_AT)
    struct.pack_into("<10H", system, _EXTENDED_AT, _POINTERS_AT, 0, 0, 0, 0, _EXTENTS_AT, 8, 100, 104, 0)
    module = b"\x7fELF\x01\x01\x01".ljust(32, b"\0") + struct.pack("<I10xHH", 52, 40, 2)
    return b"\x7fELF".ljust(3 * _SECTOR, b"\xcc") + boot + bytes(system) + module.ljust(52 + 2 * 40, b"\0")


def settings(store: Store, *, disk_bytes: int = 0, root: RootKind | None = None) -> Settings:
    """What outputs are told, with both components in ``store``."""
    files = {
        "usr/bin/syslinux": syslinux(),
        "usr/lib/ISOLINUX/isohdpfx.bin": b"\x33" * isohybrid.CODE_BYTES,
        "usr/lib/ISOLINUX/isolinux.bin": b"\xfa".ljust(64, b"\0") + b"\xfb\xc0\x78\x70".ljust(6000, b"\x90"),
        "usr/lib/syslinux/mbr/mbr.bin": b"\x33" * 440,
        "usr/lib/syslinux/modules/bios/ldlinux.c32": b"\x7fELF" * 500,
        "usr/lib/systemd/boot/efi/linuxx64.efi.stub": efi.stub(),
        "usr/lib/systemd/boot/efi/linuxaa64.efi.stub": efi.stub(machine=pe.Machine.ARM64),
    }
    boot = images.image([files]).save(store, "localhost/moby/boot")
    stage1 = images.image([{"init": b"\x7fELF init"}]).save(store, "localhost/moby/stage1")
    rpi = images.image([dict.fromkeys(RPI, b"firmware" * 999)]).save(store, "localhost/moby/boot-rpi")
    return Settings(
        boot_code=BootCode(store, boot),
        stage1=BootCode(store, stage1),
        rpi_code=BootCode(store, rpi),
        disk_bytes=disk_bytes,
        root=root,
    )


def architecture(format_architectures: frozenset[Architecture] | None) -> str:
    """An architecture that a format can be made for."""
    return "amd64" if not format_architectures or "amd64" in format_architectures else "arm64"
