"""ISO images whose root unpacks into RAM: for EFI, and for everything at once.

EFI starts a unified kernel image from a FAT file system that lies on the ISO as a file. BIOS has ISOLINUX load kernel
and initrd from the ISO itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from moby.artifact import Firmware
from moby.formats import eltorito, fat, iso9660, isohybrid
from moby.formats.content import Content
from moby.formats.entry import Entry
from moby.formats.iso9660_records import identity
from moby.outputs import bios, disk, uki
from moby.outputs.format import File, Format, Targets
from moby.outputs.hostfiles import host_files
from moby.outputs.source import Source
from moby.rootfs.constants import FIXED_MTIME_S

VOLUME = "MOBY"
EFI_IMAGE = "boot/efi.img"
_ISOLINUX = "isolinux/isolinux.bin"
EFI_BOOT = eltorito.BootImage(path=EFI_IMAGE, platform=eltorito.Platform.EFI)
BIOS_BOOT = eltorito.BootImage(path=_ISOLINUX, platform=eltorito.Platform.BIOS, load_blocks=4, info_table=True)


def efi_image(source: Source) -> Path:
    """The FAT file system with the unified kernel image of the build; shared by all formats."""
    return source.part("efi.img", lambda path: make_efi_image(source, uki.program(source), path))


def make_efi_image(source: Source, program: Path, path: Path) -> None:
    """A FAT file system with ``program`` where firmware looks for it."""
    files = {uki.DEFAULT_PROGRAM[source.architecture]: Content.file(program)}
    volume = fat.Volume(label=disk.LABEL, number=source.plan_id("efi").time_low, time_s=FIXED_MTIME_S)
    with path.open("w+b") as out:
        disk.layout(files, volume).write(out)


def options(source: Source, boot: tuple[eltorito.BootImage, ...]) -> iso9660.Options:
    """How our ISO images are written."""
    return iso9660.Options(
        volume=VOLUME,
        mtime_s=FIXED_MTIME_S,
        identity=identity(source.plan_id("iso").bytes),
        application="MOBY",
        boot=boot,
        catalog="boot/boot.cat",
    )


def _write_efi(source: Source, targets: Targets) -> None:
    with targets.path("iso").open("w+b") as out:
        iso9660.write(host_files({EFI_IMAGE: efi_image(source)}), out, options(source, (EFI_BOOT,)))


def _write_hybrid(source: Source, targets: Targets) -> None:
    has_bios = source.architecture in bios.ARCHITECTURES
    boot = (BIOS_BOOT, EFI_BOOT) if has_bios else (EFI_BOOT,)
    with ExitStack() as stack:
        out = stack.enter_context(targets.path("iso").open("w+b"))
        entries = _hybrid(source) if has_bios else host_files({EFI_IMAGE: efi_image(source)})
        written = iso9660.write(entries, out, options(source, boot))
        code = source.boot_code.read(bios.ISO_BOOT_RECORD) if has_bios else b""
        isohybrid.apply(out, written, disk_id=source.id("disk"), boot_code=code)


def _hybrid(source: Source) -> Iterator[Entry]:
    yield from bios.isolinux(source, kernel="/kernel", initrd="/initrd.img")
    yield from host_files(bios.boot_files(source))
    yield from host_files({EFI_IMAGE: efi_image(source)})


ISO_EFI_INITRD = Format(
    name="iso-efi-initrd",
    description="ISO image for EFI, kernel and initrd",
    files=(File(role="iso", suffix="-efi-initrd.iso"),),
    write=_write_efi,
    architectures=uki.EFI_ARCHITECTURES,
    firmware=Firmware.EFI,
    boot_code=True,
)

ISO = Format(
    name="iso",
    description="ISO image for BIOS and EFI, from a CD or written to a USB stick",
    files=(File(role="iso", suffix="-hybrid.iso"),),
    write=_write_hybrid,
    architectures=uki.EFI_ARCHITECTURES,
    firmware=Firmware.EFI,
    boot_code=True,
)
