"""Formats whose root is a file system on a disk or CD: squashfs, EROFS, and the ISO image itself.

The small initrd of ``stage1`` finds and mounts it. What finds it stands on the command line, which is on the same ISO
image: as its length is known before, an image is written once to learn it and once more with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from moby import log
from moby.artifact import Firmware
from moby.formats import iso9660, isohybrid
from moby.formats.eltorito import BootImage
from moby.formats.entry import Entry
from moby.formats.recognise import recognise
from moby.outputs import bios, iso, rootdisk, stage1, uki
from moby.outputs.format import File, Format, Targets
from moby.outputs.hostfiles import host_files
from moby.outputs.settings import RootKind
from moby.outputs.source import Source

_UNKNOWN = "0" * 16
_KERNEL, _INITRD = "/boot/kernel", "/boot/initrd.img"
_BOOT_FILES = (
    File(role="kernel", suffix="-kernel"),
    File(role="initrd", suffix="-initrd.img"),
    File(role="cmdline", suffix="-cmdline"),
)


def _take_boot(source: Source, targets: Targets, cmdline: str) -> None:
    parts = stage1.parts(source)
    targets.take("kernel", parts.kernel)
    targets.take("initrd", parts.initrd)
    targets.path("cmdline").write_text(cmdline)


def _direct(kind: RootKind, suffix: str, description: str) -> Format:
    """Kernel, small initrd, command line, and the root as a disk of its own."""

    def write(source: Source, targets: Targets) -> None:
        root = rootdisk.image(source, kind)
        _take_boot(source, targets, rootdisk.cmdline(source, kind, root))
        targets.take(kind.value, root)

    return Format(
        name=f"kernel+{kind}",
        description=description,
        files=(*_BOOT_FILES, File(role=kind.value, suffix=suffix)),
        write=write,
        firmware=Firmware.DIRECT,
        stage1=True,
    )


def _root(source: Source) -> Callable[[], Iterator[Entry]]:
    """Gives the root's entries, perhaps more than once; what an ISO image cannot say of them is said once."""
    lost: dict[str, None] = {}

    def entries() -> Iterator[Entry]:
        before = len(lost)
        for entry in rootdisk.entries(source):
            if entry.xattrs:
                lost.setdefault(entry.path)
            yield entry
        if len(lost) > before:
            what = f"{len(lost)} entries lose their extended attributes, {next(iter(lost))!r} is the first"
            log.info(f"warning: ISO 9660 has none, so {what}; squashfs and EROFS keep them")

    return entries


def _write_plain_iso(source: Source, targets: Targets) -> None:
    """The ISO image as a disk beside its kernel; nothing on it boots."""
    root_entries = _root(source)

    def make(path: Path) -> None:
        with path.open("w+b") as out:
            iso9660.write(root_entries(), out, iso.options(source, ()))

    root = source.part("root.iso9660", make)
    _take_boot(source, targets, rootdisk.cmdline(source, RootKind.ISO9660, root))
    targets.take("iso", root)


def _write_bios_iso(source: Source, targets: Targets) -> None:
    parts, root_entries = stage1.parts(source), _root(source)

    def entries(cmdline: str) -> Iterator[Entry]:
        yield from root_entries()
        yield from bios.isolinux(source, kernel=_KERNEL, initrd=_INITRD, cmdline=cmdline)
        yield from host_files({_KERNEL.lstrip("/"): parts.kernel, _INITRD.lstrip("/"): parts.initrd})

    code = source.boot_code.read(bios.ISO_BOOT_RECORD)
    _write_twice(source, targets.path("iso"), entries, iso.BIOS_BOOT, code)


def _write_efi_iso(source: Source, targets: Targets) -> None:
    parts, root_entries = stage1.parts(source), _root(source)
    program, image = targets.path("program"), targets.path("image")

    def entries(cmdline: str) -> Iterator[Entry]:
        uki.write(source, program, cmdline=cmdline, initrd=parts.initrd, kernel=parts.kernel)
        iso.make_efi_image(source, program, image)
        yield from root_entries()
        yield from host_files({iso.EFI_IMAGE: image})

    _write_twice(source, targets.path("iso"), entries, iso.EFI_BOOT, b"")


def _write_twice(
    source: Source, path: Path, entries: Callable[[str], Iterator[Entry]], boot: BootImage, code: bytes
) -> None:
    """Write the image to learn what it is recognised by, then again with that on its command line."""
    given = stage1.parts(source).cmdline
    words = given.split()

    def written(found: str) -> str:
        """Write the image with what finds it on its command line; what it is recognised by."""
        known = any(word.startswith("root=") for word in words)
        cmdline = given if known else " ".join([*words, f"moby.root={found}", f"moby.rootfs={RootKind.ISO9660}"])
        with path.open("w+b") as out:
            placed = iso9660.write(entries(cmdline), out, iso.options(source, (boot,)))
            isohybrid.apply(out, placed, disk_id=source.plan_id("disk"), boot_code=code)
            return recognise(out)

    found = written(_UNKNOWN)
    assert written(found) == found, "what the image is recognised by must not depend on the command line"


KERNEL_SQUASHFS = _direct(RootKind.SQUASHFS, "-squashfs.img", "kernel, small initrd, and the root as a squashfs disk")
KERNEL_EROFS = _direct(RootKind.EROFS, "-erofs.img", "kernel, small initrd, and the root as an EROFS disk")
KERNEL_ISO = Format(
    name="kernel+iso",
    description="kernel, small initrd, and the root as an ISO 9660 disk",
    files=(*_BOOT_FILES, File(role="iso", suffix=".iso")),
    write=_write_plain_iso,
    firmware=Firmware.DIRECT,
    stage1=True,
    verity=False,
)
ISO_BIOS = Format(
    name="iso-bios",
    description="ISO image for BIOS whose root stays on the CD or stick",
    files=(File(role="iso", suffix=".iso"),),
    write=_write_bios_iso,
    architectures=bios.ARCHITECTURES,
    firmware=Firmware.BIOS,
    boot_code=True,
    stage1=True,
    verity=False,
)
ISO_EFI = Format(
    name="iso-efi",
    description="ISO image for EFI whose root stays on the CD or stick",
    files=(File(role="iso", suffix="-efi.iso"),),
    write=_write_efi_iso,
    architectures=uki.EFI_ARCHITECTURES,
    firmware=Firmware.EFI,
    boot_code=True,
    stage1=True,
    verity=False,
)
