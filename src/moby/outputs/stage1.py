"""The small initrd of a root on a disk: the component ``stage1`` and the modules it has to load.

The kernel image's modules are read from its own archive; ``modules.dep`` says what each needs, and the order.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from moby.errors import ConfigError
from moby.formats import cpio
from moby.formats.compress import compressor
from moby.formats.entry import Entry, Kind, directory, file
from moby.outputs.source import Source
from moby.rootfs.constants import FIXED_MTIME_S
from moby.rootfs.kernel import CMDLINE, KERNEL, ORIGIN

# Disks and CDs of machines, virtual ones first, and the file systems of roots. What a kernel has built in or lacks is
# left out.
_WANTED = (
    *("virtio_pci", "virtio_mmio", "virtio_blk", "virtio_scsi", "sd_mod", "sr_mod", "ahci", "ata_piix", "nvme"),
    *("hv_storvsc", "xen_blkfront", "vmw_pvscsi", "usb_storage", "uas", "xhci_pci", "ehci_pci"),
    *("loop", "squashfs", "erofs", "isofs", "dm_mod", "dm_verity"),
)
_MODULES = "lib/modules/"
_DEPENDENCIES = "modules.dep"
_MODULE_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BootParts:
    """Kernel, the YAML's command line, and the small initrd, as files that must not be changed."""

    kernel: Path
    cmdline: str
    initrd: Path


def parts(source: Source) -> BootParts:
    """What starts a root on a disk; made once for all formats. Raises ``ConfigError`` without a kernel."""
    kernel = source.part("stage1-kernel", lambda path: _extract(source, path))
    return BootParts(
        kernel=kernel,
        cmdline=kernel.with_name("stage1-cmdline").read_text(),
        initrd=source.part("stage1-initrd", lambda path: _make_initrd(source, path)),
    )


def _kernel_entries(source: Source) -> Iterator[Entry]:
    """The kernel's part of the root, which comes first."""
    for entry in source.entries():
        if entry.origin != ORIGIN:
            return
        yield entry


def _extract(source: Source, path: Path) -> None:
    path.with_name("stage1-cmdline").write_text("")
    for entry in _kernel_entries(source):
        if entry.path == CMDLINE:
            path.with_name("stage1-cmdline").write_bytes(_bytes(entry))
        elif entry.path == KERNEL:
            with path.open("wb") as out:
                out.write(_bytes(entry))
    if not path.exists():
        raise ConfigError("there is no kernel to boot", fix="name one under kernel:")


def _make_initrd(source: Source, path: Path) -> None:
    with path.open("wb") as out, compressor(source.codec, out) as packed:
        cpio.write(_entries(source), packed)


def _entries(source: Source) -> Iterator[Entry]:
    for name in ("dev", "proc", "root", "sys"):
        yield directory(name, mtime_s=FIXED_MTIME_S)
    yield file("init", source.stage1.read("init"), mode=0o755, mtime_s=FIXED_MTIME_S)
    yield Entry(path="dev/console", kind=Kind.CHAR, mode=0o600, mtime_s=FIXED_MTIME_S, major=5, minor=1)
    order = load_order(_dependencies(source), _WANTED)
    names = {path: posixpath.basename(path) for path in order}
    wanted = set(order)
    yield directory("lib", mtime_s=FIXED_MTIME_S)
    for entry in _kernel_entries(source):
        path = _below_modules(entry.path)
        if path in wanted and entry.kind is Kind.FILE:
            yield file(f"lib/{names[path]}", _bytes(entry), mtime_s=FIXED_MTIME_S)
    listed = "".join(f"/lib/{names[path]}\n" for path in order)
    yield file("modules", listed.encode(), mtime_s=FIXED_MTIME_S)


def _dependencies(source: Source) -> Mapping[str, tuple[str, ...]]:
    """``modules.dep``: module → what it needs; nothing for a kernel without modules."""
    for entry in _kernel_entries(source):
        if _below_modules(entry.path) == _DEPENDENCIES:
            lines = _bytes(entry).decode(errors="replace").splitlines()
            return {
                module: tuple(needs.split()) for module, _, needs in (line.partition(":") for line in lines) if module
            }
    return {}


def load_order(dependencies: Mapping[str, tuple[str, ...]], wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Paths of ``wanted`` modules and all they need, each after what it needs."""
    by_name = {posixpath.basename(path).partition(".")[0].replace("-", "_"): path for path in dependencies}
    order: dict[str, None] = {}

    def add(path: str) -> None:
        if path in order:
            return
        # A line lists what has to be loaded from its end on.
        for needed in reversed(dependencies.get(path, ())):
            if needed not in order:
                order[needed] = None
        order[path] = None

    for name in wanted:
        if name in by_name:
            add(by_name[name])
    return tuple(order)


def _below_modules(path: str) -> str:
    """``path`` below ``lib/modules/VERSION/``, empty for anything else."""
    if not path.startswith(_MODULES):
        return ""
    return path.removeprefix(_MODULES).partition("/")[2]


def _bytes(entry: Entry) -> bytes:
    if entry.size > _MODULE_LIMIT:
        raise ConfigError(f"a module of {entry.size} bytes", where=entry.path)
    return entry.data if isinstance(entry.data, bytes) else entry.data.read(entry.size)
