"""Disk containers: rows that put a raw disk into what a hypervisor or a cloud takes."""

from __future__ import annotations

from typing import BinaryIO

from moby.artifact import Firmware
from moby.formats import gcp, ova, qcow2, vhd, vhdx, vmdk
from moby.formats.content import Content
from moby.formats.sparse import size_of
from moby.outputs import bios
from moby.outputs.disk import contained, disk_of, raw
from moby.outputs.format import File, Format, Targets
from moby.outputs.source import Source
from moby.rootfs.constants import FIXED_MTIME_S

_AZURE_ALIGNMENT = 1 << 20
_OVA_MEMORY_MIB = 1024


def _qcow2(disk: BinaryIO, out: BinaryIO, source: Source) -> None:
    qcow2.write(disk, out)


def _fixed_vhd(disk: BinaryIO, out: BinaryIO, source: Source) -> None:
    vhd.write_fixed(disk, out, id=source.id("vhd"), time_s=FIXED_MTIME_S)


def _azure(disk: BinaryIO, out: BinaryIO, source: Source) -> None:
    vhd.write_fixed(disk, out, id=source.id("vhd"), time_s=FIXED_MTIME_S, align_bytes=_AZURE_ALIGNMENT)


def _dynamic_vhd(disk: BinaryIO, out: BinaryIO, source: Source) -> None:
    vhd.write_dynamic(disk, out, id=source.id("vhd"), time_s=FIXED_MTIME_S)


def _vhdx(disk: BinaryIO, out: BinaryIO, source: Source) -> None:
    vhdx.write(disk, out, id=source.id("vhdx"))


def _vmdk(disk: BinaryIO, out: BinaryIO, source: Source) -> None:
    vmdk.write(disk, out, content_id=source.id("vmdk").time_low)


def _gcp(disk: BinaryIO, out: BinaryIO, source: Source) -> None:
    gcp.write(disk, out, time_s=FIXED_MTIME_S)


def _write_ova(source: Source, targets: Targets) -> None:
    raw_disk = disk_of(source, Firmware.BIOS)
    with raw_disk.open("rb") as disk:
        disk_bytes = size_of(disk)
        packed = source.part("ova.vmdk", lambda path: _pack_vmdk(disk, path.open("w+b"), source))
    machine = ova.Machine(name=targets.name or "moby", cpus=1, memory_mib=_OVA_MEMORY_MIB, efi=False)
    with targets.open("ova") as out:
        ova.write(machine, Content.file(packed), out, disk_bytes=disk_bytes, time_s=FIXED_MTIME_S)


def _pack_vmdk(disk: BinaryIO, out: BinaryIO, source: Source) -> None:
    with out:
        _vmdk(disk, out, source)


_OVA = Format(
    name="ova",
    description="appliance for VMware and VirtualBox: OVF and VMDK in one file, BIOS",
    files=(File(role="ova", suffix=".ova"),),
    write=_write_ova,
    architectures=bios.ARCHITECTURES,
    boot_code=True,
    partitioned=True,
)

CONTAINERS = (
    raw("raw-bios", "raw disk for BIOS: MBR, one FAT partition", "-bios.img", Firmware.BIOS),
    raw("raw-efi", "raw disk for EFI: GPT, one FAT partition", "-efi.img", Firmware.EFI),
    raw("aws", "raw disk to import as an EC2 snapshot, BIOS", ".raw", Firmware.BIOS),
    contained("qcow2-bios", "QEMU disk for BIOS", ".qcow2", Firmware.BIOS, _qcow2),
    contained("qcow2-efi", "QEMU disk for EFI", "-efi.qcow2", Firmware.EFI, _qcow2),
    contained("vhd", "fixed VHD, BIOS", ".vhd", Firmware.BIOS, _fixed_vhd),
    contained("dynamic-vhd", "dynamic VHD, BIOS", ".vhd", Firmware.BIOS, _dynamic_vhd),
    contained("azure", "fixed VHD for Azure, aligned to 1 MiB, BIOS", "-azure.vhd", Firmware.BIOS, _azure),
    contained("vhdx", "dynamic VHDX for Hyper-V, EFI", ".vhdx", Firmware.EFI, _vhdx),
    contained("vmdk", "stream-optimised VMDK, BIOS", ".vmdk", Firmware.BIOS, _vmdk),
    contained("gcp", "disk.raw in a tar.gz for Google Compute Engine, BIOS", ".img.tar.gz", Firmware.BIOS, _gcp),
    _OVA,
)
