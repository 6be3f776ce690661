"""The small initrd of a root on a disk: the component ``stage1`` and the modules it has to load.

The kernel image's modules are read from its own archive; ``modules.dep`` says what each needs, and the order.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from moby.errors import ConfigError
from moby.formats import cpio
from moby.formats.compress import compressor
from moby.formats.entry import Entry, Kind, directory, file
from moby.formats.stream import copy
from moby.outputs.source import Source, one_line
from moby.rootfs.constants import FIXED_MTIME_S
from moby.rootfs.kernel import CMDLINE, KERNEL, ORIGIN

# File systems and the disks of most virtual machines; then, where the root is not on one of those, what others have.
# Modules that a kernel has built in or lacks are left out.
_GROUPS = (
    ("virtio_pci", "virtio_mmio", "virtio_blk", "loop", "squashfs", "erofs", "isofs", "dm_mod", "dm_verity"),
    ("virtio_scsi", "sd_mod", "sr_mod", "ahci", "ata_piix", "nvme", "hv_storvsc", "xen_blkfront", "vmw_pvscsi"),
    ("usb_storage", "uas", "xhci_pci", "ehci_pci"),
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
        cmdline=one_line(kernel.with_name("stage1-cmdline").read_text()),
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
                copy(_stream(entry), out, entry.size, where=KERNEL)
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
    dependencies = _dependencies(source)
    groups = load_order(dependencies, _GROUPS)
    wanted = {path for group in groups for path in group}
    yield directory("lib", mtime_s=FIXED_MTIME_S)
    for entry in _kernel_entries(source):
        path = _below_modules(entry.path)
        if path in wanted and entry.kind is Kind.FILE:
            yield file(f"lib/{posixpath.basename(path)}", _bytes(entry), mtime_s=FIXED_MTIME_S)
    listed = "\n".join("".join(f"/lib/{posixpath.basename(path)}\n" for path in group) for group in groups)
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


def load_order(
    dependencies: Mapping[str, tuple[str, ...]], groups: tuple[tuple[str, ...], ...]
) -> tuple[tuple[str, ...], ...]:
    """Paths of the modules of each group and all they need, each once and after what it needs; no empty groups."""
    by_name = {posixpath.basename(path).partition(".")[0].replace("-", "_"): path for path in dependencies}
    seen: set[str] = set()
    ordered = []
    for group in groups:
        order: list[str] = []
        for path in (by_name[name] for name in group if name in by_name):
            # A line lists what has to be loaded from its end on.
            for needed in (*reversed(dependencies[path]), path):
                if needed not in seen:
                    seen.add(needed)
                    order.append(needed)
        ordered.append(tuple(order))
    return tuple(group for group in ordered if group)


def _below_modules(path: str) -> str:
    """``path`` below ``lib/modules/VERSION/``, empty for anything else."""
    if not path.startswith(_MODULES):
        return ""
    return path.removeprefix(_MODULES).partition("/")[2]


def _stream(entry: Entry) -> BinaryIO:
    return io.BytesIO(entry.data) if isinstance(entry.data, bytes) else entry.data


def _bytes(entry: Entry) -> bytes:
    if entry.size > _MODULE_LIMIT:
        raise ConfigError(f"a module of {entry.size} bytes", where=entry.path)
    return entry.data if isinstance(entry.data, bytes) else entry.data.read(entry.size)
