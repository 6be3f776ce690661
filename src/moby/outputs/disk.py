"""Disks: a raw image for EFI or for BIOS, and the containers that hypervisors and clouds want around one.

Both raw images have a FAT partition from the first MiB on, with kernel and initrd. The root unpacks into RAM, or is a
second partition (``--root``). The EFI image has a GPT and the unified kernel image where firmware looks for it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from moby.artifact import Firmware
from moby.formats import fat, gpt, mbr
from moby.formats.content import Content
from moby.formats.fatgeometry import Kind
from moby.outputs import bios, rootdisk, stage1, uki
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
    """The file system of the first partition, which fills ``--size`` when it is the only one."""
    alone = source.settings.root is None
    return fat.Volume(
        label=LABEL,
        number=source.plan_id("volume").time_low,
        time_s=FIXED_MTIME_S,
        hidden_sectors=PARTITION_BYTES // _SECTOR_BYTES,
        kind=kind,
        at_least_bytes=max(0, source.settings.disk_bytes - PARTITION_BYTES - _TAIL_BYTES) if alone else 0,
    )


def layout(files: Mapping[str, Content | None], volume: fat.Volume) -> fat.Layout:
    """``fat.layout``, with advice for a kernel or initrd that is too large for FAT. Raises ``ConfigError``."""
    return fat.layout(files, volume, too_large="keep the root out of it: a disk with --root squashfs, or iso-efi")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Payload:
    """What a disk boots; ``root`` is the file system of a partition of its own, None where the initrd is the root."""

    kernel: Path
    initrd: Path
    cmdline: str
    root: Path | None = None


def _payload(source: Source) -> _Payload:
    kind = source.settings.root
    if kind is None:
        files = bios.boot_files(source)
        return _Payload(kernel=files["kernel"], initrd=files["initrd.img"], cmdline=source.boot.booted_cmdline)
    root = rootdisk.image(source, kind)
    parts = stage1.parts(source)
    return _Payload(kernel=parts.kernel, initrd=parts.initrd, cmdline=rootdisk.cmdline(source, kind, root), root=root)


def _program(source: Source, payload: _Payload) -> Path:
    """The unified kernel image of a payload."""
    if payload.root is None:
        return uki.program(source)

    def make(path: Path) -> None:
        uki.write(source, path, cmdline=payload.cmdline, initrd=payload.initrd, kernel=payload.kernel)

    return source.part(f"uki.{source.settings.root}", make)


def _make_efi(source: Source, path: Path) -> None:
    payload = _payload(source)
    files = {uki.DEFAULT_PROGRAM[source.architecture]: Content.file(_program(source, payload))}
    boot = layout(files, volume(source, kind=Kind.FAT32))
    places = _places(boot, payload)
    partitions = [
        gpt.Partition(
            type=gpt.EFI_SYSTEM if number == 0 else gpt.LINUX,
            id=source.plan_id(f"partition {number}"),
            first_sector=offset // _SECTOR_BYTES,
            last_sector=(offset + size) // _SECTOR_BYTES - 1,
            name="EFI System" if number == 0 else "root",
            attributes=gpt.LEGACY_BOOTABLE if number == 0 else gpt.READ_ONLY,
        )
        for number, (offset, size) in enumerate(places)
    ]
    table = gpt.Table(partitions=tuple(partitions), disk_id=source.plan_id("disk"))
    with path.open("w+b") as out:
        gpt.write(table, out, disk_bytes=_disk_bytes(source, places))
        boot.write(out, offset=PARTITION_BYTES)
        _put_root(payload, places, out)


def _make_bios(source: Source, path: Path) -> None:
    payload, loader = _payload(source), bios.loader(source)
    settings = bios.configuration(payload.cmdline, kernel="/kernel", initrd="/initrd.img")
    files = {
        "kernel": Content.file(payload.kernel),
        "initrd.img": Content.file(payload.initrd),
        "syslinux.cfg": Content.of(settings),
    }
    boot = layout({**files, **loader.files}, volume(source))
    places = _places(boot, payload)
    partitions = [
        mbr.Partition(
            type=mbr.FAT32_LBA if number == 0 else mbr.LINUX,
            first_sector=offset // _SECTOR_BYTES,
            sectors=size // _SECTOR_BYTES,
            active=number == 0,
        )
        for number, (offset, size) in enumerate(places)
    ]
    disk_bytes = _disk_bytes(source, places)
    code = bios.master_boot_record(source)
    table = mbr.Table(partitions=tuple(partitions), disk_id=source.plan_id("disk").time_low, boot_code=code)
    with path.open("w+b") as out:
        out.write(mbr.pack(table, disk_bytes=disk_bytes))
        boot.write(out, offset=PARTITION_BYTES)
        loader.install(boot, out, offset=PARTITION_BYTES)
        _put_root(payload, places, out)
        out.truncate(disk_bytes)


def _places(boot: fat.Layout, payload: _Payload) -> list[tuple[int, int]]:
    """Offset and size of each partition: the FAT one, then the root's."""
    places = [(PARTITION_BYTES, boot.size_bytes)]
    if payload.root is not None:
        end = PARTITION_BYTES + boot.size_bytes
        size = payload.root.stat().st_size
        places.append((end + -end % PARTITION_BYTES, size))
    return places


def _disk_bytes(source: Source, places: list[tuple[int, int]]) -> int:
    """Whole MiB, with room for the backup table of a GPT, and no less than ``--size``."""
    offset, size = places[-1]
    end = offset + size + _TAIL_BYTES
    return max(end + -end % PARTITION_BYTES, source.settings.disk_bytes)


def _put_root(payload: _Payload, places: list[tuple[int, int]], out: BinaryIO) -> None:
    if payload.root is not None:
        with payload.root.open("rb") as root:
            out.seek(places[-1][0])
            shutil.copyfileobj(root, out, 1 << 20)


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
        partitioned=True,
    )
