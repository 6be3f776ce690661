"""``rpi3``: a tar of what goes on the FAT partition of a Raspberry Pi 3's SD card.

The GPU reads ``bootcode.bin``, ``start.elf`` and ``config.txt``, which name U-Boot as what the processor starts; U-Boot
runs ``boot.scr``, which loads kernel, initrd and device tree. Firmware and U-Boot come from the component ``boot-rpi``,
the device trees from the kernel image (``boot/dtb``).

Sources: Raspberry Pi documentation, ``config.txt``; U-Boot ``doc/board/broadcom/raspberrypi.rst``; Linux
``Documentation/arch/arm64/booting.rst``.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from pathlib import Path

from moby.artifact import Architecture
from moby.errors import ConfigError
from moby.formats import kernelimage, tar, uimage
from moby.formats.compress import Codec, compressor
from moby.formats.entry import Entry, Kind, directory
from moby.formats.stream import copy
from moby.outputs.format import File, Format, Targets
from moby.outputs.hostfiles import host_files
from moby.outputs.source import Source
from moby.rootfs.constants import FIXED_MTIME_S
from moby.rootfs.kernel import ORIGIN

_FIRMWARE = "usr/lib/raspi-firmware"
FIRMWARE_FILES = (
    "bootcode.bin",
    "fixup.dat",
    "fixup_cd.dat",
    "fixup_x.dat",
    "start.elf",
    "start_cd.elf",
    "start_x.elf",
)
_LICENCE = "usr/share/doc/raspi-firmware/copyright"
_UBOOT = "usr/lib/u-boot/rpi_3/u-boot.bin"
_TREES, _BOARDS = "boot/dtb/", "broadcom/bcm2837-rpi-3-*.dtb"
_TREE_LIMIT = 1 << 20
_GZIP = b"\x1f\x8b"
_CONFIG = b"avoid_warnings=2\narm_64bit=1\nenable_uart=1\nkernel=u-boot.bin\n"
# Unpacked, a kernel lies from the first address on; U-Boot unpacks no more (CONFIG_SYS_BOOTM_LEN). Its memory, which is
# somewhat more, ends before the device tree.
_KERNEL_AT, _TREE_AT, _PACKED_AT, _INITRD_AT = 0x00080000, 0x07E00000, 0x08000000, 0x0C000000
_KERNEL_LIMIT = 64 << 20
_PACKED_LIMIT = _INITRD_AT - _PACKED_AT
# Of the first GiB the GPU takes up to 76 MiB from its end.
_INITRD_LIMIT = 0x3B400000 - _INITRD_AT
# The first console is HDMI, the last one the serial port on the pins: with enable_uart, the mini UART. What the YAML
# says follows, and wins.
_CMDLINE = "dwc_otg.lpm_enable=0 console=tty1 console=ttyS1,115200"
_SCRIPT = """\
setenv bootargs '{cmdline}'
load ${{devtype}} ${{devnum}}:${{distro_bootpart}} {kernel:#x} kernel.uimg
load ${{devtype}} ${{devnum}}:${{distro_bootpart}} {initrd:#x} initrd.uimg
load ${{devtype}} ${{devnum}}:${{distro_bootpart}} {tree:#x} dtb/${{fdtfile}}
bootm {kernel:#x} {initrd:#x} {tree:#x}
"""


def script(cmdline: str) -> bytes:
    """What U-Boot runs. Raises ``ConfigError`` for a command line that cannot be quoted."""
    if "'" in cmdline or not cmdline.isprintable():
        fix = "leave out ' and what is not printable"
        raise ConfigError(f"U-Boot cannot be told this command line: {cmdline!r}", where="kernel.cmdline", fix=fix)
    text = _SCRIPT.format(cmdline=f"{_CMDLINE} {cmdline}".rstrip(), kernel=_PACKED_AT, initrd=_INITRD_AT, tree=_TREE_AT)
    return text.encode()


def _write(source: Source, targets: Targets) -> None:
    boot = source.boot
    if boot.kernel is None:
        raise ConfigError("there is no kernel to boot", fix="name one under kernel:")
    commands = script(boot.booted_cmdline)
    kernel, initrd = targets.path("kernel"), targets.path("initrd")
    _pack_kernel(boot.kernel, kernel)
    _pack(boot.initrd, initrd, uimage.Header(type=uimage.Type.RAMDISK, name="initrd", time_s=FIXED_MTIME_S))
    _limit(kernel, _PACKED_LIMIT)
    _limit(initrd, _INITRD_LIMIT)
    firmware = source.rpi_code
    files: dict[str, bytes | Path] = {name: firmware.read(f"{_FIRMWARE}/{name}") for name in FIRMWARE_FILES}
    files |= {
        "LICENCE.broadcom": firmware.read(_LICENCE),
        "boot.scr": uimage.script(commands, time_s=FIXED_MTIME_S, name="boot"),
        "boot.script": commands,
        "config.txt": _CONFIG,
        "initrd.uimg": initrd,
        "kernel.uimg": kernel,
        "u-boot.bin": firmware.read(_UBOOT),
        **_device_trees(source),
    }
    with targets.open("tar") as out:
        tar.write(_entries(files), out)
    kernel.unlink()
    initrd.unlink()


def _entries(files: dict[str, bytes | Path]) -> Iterator[Entry]:
    yield from (directory(path, mtime_s=FIXED_MTIME_S) for path in ("dtb", "dtb/broadcom"))
    yield from host_files(dict(sorted(files.items())))


def _device_trees(source: Source) -> dict[str, bytes]:
    """The boards' device trees by their paths on the card. Raises ``ConfigError`` when the kernel image has none."""
    found = {}
    for entry in source.entries():
        if entry.origin != ORIGIN:
            break
        name = entry.path.removeprefix(_TREES)
        if entry.kind is Kind.FILE and name != entry.path and fnmatch.fnmatch(name, _BOARDS):
            if entry.size > _TREE_LIMIT:
                raise ConfigError(f"a device tree of {entry.size} bytes", where=entry.path)
            found[f"dtb/{name}"] = entry.data if isinstance(entry.data, bytes) else entry.data.read(entry.size)
    if not found:
        what = f"the kernel image has no device tree {_TREES}{_BOARDS}"
        raise ConfigError(what, where="kernel.image", fix='use "@pkg:kernel-rpi"')
    return found


def _pack_kernel(kernel: Path, path: Path) -> None:
    """A kernel that U-Boot unpacks to where it runs. Raises ``ConfigError`` for one it cannot start."""
    with kernel.open("rb") as stream:
        head = stream.read(kernelimage.HEAD_BYTES)
    header = uimage.Header(
        type=uimage.Type.KERNEL,
        compression=uimage.Compression.GZIP,
        load=_KERNEL_AT,
        entry=_KERNEL_AT,
        time_s=FIXED_MTIME_S,
        name="kernel",
    )
    if head.startswith(_GZIP):
        _pack(kernel, path, header)
        return
    if kernelimage.identify(head) != ("Image", "arm64"):
        raise ConfigError("U-Boot starts an arm64 Image only, plain or in gzip", where="kernel.image")
    _limit(kernel, _KERNEL_LIMIT)
    packed = path.with_name("kernel.gz")
    with kernel.open("rb") as stream, packed.open("wb") as out, compressor(Codec.GZIP, out) as gzip:
        copy(stream, gzip, kernel.stat().st_size, where=str(kernel))
    _pack(packed, path, header)
    packed.unlink()


def _pack(data: Path, path: Path, header: uimage.Header) -> None:
    with data.open("rb") as stream, path.open("wb") as out:
        uimage.write(stream, out, header)


def _limit(path: Path, most_bytes: int) -> None:
    if path.stat().st_size > most_bytes:
        what = (
            f"{path.name} of {path.stat().st_size >> 20} MiB is more than the {most_bytes >> 20} MiB that it may have"
        )
        raise ConfigError(what, where="rpi3", fix="make the machine smaller")


RPI3 = Format(
    name="rpi3",
    description="a tar of the files for the SD card of a Raspberry Pi 3",
    files=(File(role="tar", suffix=".tar"),),
    write=_write,
    architectures=frozenset({Architecture.ARM64}),
    rpi_code=True,
)
