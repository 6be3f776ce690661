"""Disks: a raw image for EFI or for BIOS, and the containers that hypervisors and clouds want around one.

Both raw images have one FAT partition from the first MiB on, with kernel and initrd; the root unpacks into RAM. The EFI
one has a GPT and the unified kernel image where firmware looks for it; nothing needs to be installed in a machine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from moby.artifact import Firmware
from moby.formats import fat, gpt, mbr
from moby.formats.content import Content
from moby.formats.fatgeometry import Kind
from moby.outputs import bios, uki
from moby.outputs.format import File, Format, Targets
from moby.outputs.source import Source
from moby.rootfs.constants import FIXED_MTIME_S

LABEL = "MOBY"
PARTITION_BYTES = 1 << 20
# The backup table of a GPT takes 33 sectors; the whole is kept to whole MiB.
_TAIL_BYTES = 1 << 20
_SECTOR_BYTES = 512

Container = Callable[[BinaryIO, BinaryIO, Source], None]


def efi_disk(source: Source) -> Path:
    """The raw disk that EFI boots; shared by all formats made from it."""
    return source.part("efi.raw", lambda path: _make_efi(source, path))


def bios_disk(source: Source) -> Path:
    """The raw disk that a BIOS boots; shared by all formats made from it."""
    return source.part("bios.raw", lambda path: _make_bios(source, path))


def volume(source: Source, *, kind: Kind | None = None) -> fat.Volume:
    """The file system of the only partition, large enough for ``--size``."""
    return fat.Volume(
        label=LABEL,
        number=source.id("volume").time_low,
        time_s=FIXED_MTIME_S,
        hidden_sectors=PARTITION_BYTES // _SECTOR_BYTES,
        kind=kind,
        at_least_bytes=max(0, source.settings.disk_bytes - PARTITION_BYTES - _TAIL_BYTES),
    )


def _make_efi(source: Source, path: Path) -> None:
    program = uki.program(source)
    files = {uki.DEFAULT_PROGRAM[source.architecture]: Content.file(program)}
    layout = fat.layout(files, volume(source, kind=Kind.FAT32))
    first = PARTITION_BYTES // _SECTOR_BYTES
    partition = gpt.Partition(
        type=gpt.EFI_SYSTEM,
        id=source.id("partition"),
        first_sector=first,
        last_sector=first + layout.size_bytes // _SECTOR_BYTES - 1,
        name="EFI System",
        attributes=gpt.LEGACY_BOOTABLE,
    )
    table = gpt.Table(partitions=(partition,), disk_id=source.id("disk"))
    with path.open("w+b") as out:
        gpt.write(table, out, disk_bytes=PARTITION_BYTES + layout.size_bytes + _TAIL_BYTES)
        layout.write(out, offset=PARTITION_BYTES)


def _make_bios(source: Source, path: Path) -> None:
    loader = bios.loader(source)
    files = {name: Content.file(place) for name, place in bios.boot_files(source).items()}
    settings = bios.configuration(source.boot.booted_cmdline, kernel="/kernel", initrd="/initrd.img")
    layout = fat.layout({**files, "syslinux.cfg": Content.of(settings), **loader.files}, volume(source))
    disk_bytes = PARTITION_BYTES + layout.size_bytes
    partition = mbr.Partition(
        type=mbr.FAT32_LBA,
        first_sector=PARTITION_BYTES // _SECTOR_BYTES,
        sectors=layout.size_bytes // _SECTOR_BYTES,
        active=True,
    )
    table = mbr.Table(
        partitions=(partition,), disk_id=source.id("disk").time_low, boot_code=bios.master_boot_record(source)
    )
    with path.open("w+b") as out:
        out.write(mbr.pack(table, disk_bytes=disk_bytes))
        layout.write(out, offset=PARTITION_BYTES)
        loader.install(layout, out, offset=PARTITION_BYTES)
        out.truncate(disk_bytes)


def raw(name: str, description: str, suffix: str, firmware: Firmware) -> Format:
    """A format that is the raw disk itself."""

    def write(source: Source, targets: Targets) -> None:
        targets.take("disk", disk_of(source, firmware))

    return _format(name, description, suffix, firmware, write)


def contained(name: str, description: str, suffix: str, firmware: Firmware, container: Container) -> Format:
    """A format that is a raw disk inside of ``container``."""

    def write(source: Source, targets: Targets) -> None:
        with disk_of(source, firmware).open("rb") as disk, targets.path("disk").open("w+b") as out:
            container(disk, out, source)

    return _format(name, description, suffix, firmware, write)


def disk_of(source: Source, firmware: Firmware) -> Path:
    """The raw disk for BIOS or EFI."""
    return efi_disk(source) if firmware is Firmware.EFI else bios_disk(source)


def _format(
    name: str, description: str, suffix: str, firmware: Firmware, write: Callable[[Source, Targets], None]
) -> Format:
    return Format(
        name=name,
        description=description,
        files=(File(role="disk", suffix=suffix),),
        write=write,
        architectures=uki.EFI_ARCHITECTURES if firmware is Firmware.EFI else bios.ARCHITECTURES,
        firmware=firmware,
        boot_code=True,
    )
