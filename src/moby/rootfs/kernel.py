"""The kernel image's part: ``boot/`` with kernel, command line and microcode, and the modules from its tar.

``boot/`` always comes first, so that an output can split it off while the rest of the root streams by. Where the image
has its tar before the kernel, the tar waits in a temporary file.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO, cast

from moby import log
from moby.errors import ConfigError
from moby.formats import tar
from moby.formats.entry import Entry, Kind, directory, file
from moby.formats.stream import copy
from moby.oci import layers
from moby.oci.store import Store
from moby.plan import KernelPlan
from moby.rootfs.constants import FIXED_MTIME_S
from moby.rootfs.payload import unpacked

KERNEL = "boot/kernel"
CMDLINE = "boot/cmdline"
UCODE = "boot/ucode.cpio"
ORIGIN = "kernel"


def kernel(plan: KernelPlan, store: Store, *, decompress: bool = False) -> Iterator[Entry]:
    """``boot``, ``boot/cmdline``, ``boot/kernel``, ``boot/ucode.cpio`` if there is one, then the modules.

    With ``decompress`` the kernel is written unpacked. Raises ``ConfigError`` when the image lacks the kernel or its
    tar; missing microcode is only said.
    """
    yield directory("boot", mtime_s=FIXED_MTIME_S, origin=ORIGIN)
    yield file(CMDLINE, plan.cmdline.encode(), mtime_s=FIXED_MTIME_S, origin=ORIGIN)
    awaited = {plan.binary: KERNEL} | ({plan.ucode: UCODE} if plan.ucode else {})
    modules = plan.tar
    with tempfile.TemporaryFile() as spool:
        spooled = False
        for entry in layers.entries(store, plan.image, origin=ORIGIN):
            if entry.kind is not Kind.FILE:
                continue
            if path := awaited.pop(entry.path, None):
                plain = unpacked(entry) if decompress and path == KERNEL else contextlib.nullcontext(entry)
                with plain as part:
                    yield replace(part, path=path, uid=0, gid=0, mtime_s=FIXED_MTIME_S, xattrs=(), links=1)
            elif modules and entry.path == modules:
                modules = None
                if awaited:
                    copy(_stream(entry), cast(BinaryIO, spool), entry.size, where=entry.path)
                    spooled = True
                else:
                    yield from _modules(_stream(entry), plan)
        _check(plan, awaited, missing_tar=modules)
        if spooled:
            spool.seek(0)
            yield from _modules(cast(BinaryIO, spool), plan)


def _modules(stream: BinaryIO, plan: KernelPlan) -> Iterator[Entry]:
    where = f"{plan.image.reference}: {plan.tar}"
    return (replace(entry, origin=ORIGIN) for entry in tar.read(stream, where=where))


def _stream(entry: Entry) -> BinaryIO:
    return io.BytesIO(entry.data) if isinstance(entry.data, bytes) else entry.data


def _check(plan: KernelPlan, awaited: dict[str, str], *, missing_tar: str | None) -> None:
    where = str(plan.image.reference)
    if KERNEL in awaited.values():
        fix = f"kernel.binary names its file, now {plan.binary!r}"
        raise ConfigError("did not find kernel in kernel image", where=where, fix=fix)
    if missing_tar:
        fix = f"kernel.tar names its file, now {missing_tar!r}; 'none' means there is none"
        raise ConfigError("did not find kernel tar in kernel image", where=where, fix=fix)
    if awaited:
        log.info(f"{where}: no microcode: there is no file {plan.ucode!r}")
