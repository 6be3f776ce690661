"""One part of a root on its way into a file: an archive, or an image that is mounted."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from moby import timing
from moby.formats import cpio
from moby.formats.compress import Codec, compressor
from moby.formats.entry import FILE, Entry
from moby.formats.stream import copy
from moby.rootfs.constants import FIXED_MTIME_S
from moby.rootfs.kernel import CMDLINE, KERNEL, UCODE
from moby.rootfs.pieces import PAGE_BYTES

_BOOT = {KERNEL: "kernel", CMDLINE: "cmdline", UCODE: "ucode.cpio"}
# What squashfs has room for; an archive has none at all.
_XATTRS = ("user.", "trusted.", "security.")


class Packing:
    """Packs entries into files in ``folder``; files of ``boot/`` are put beside, of two the later wins.

    ``size_bytes`` is what the rest takes in RAM, ``boot`` the files put beside.
    """

    def __init__(self, folder: Path, *, part: str) -> None:
        self.size_bytes = 0
        self.boot: dict[str, Path] = {}
        self._folder = folder
        self._part = part
        self._packing_s = 0.0

    def archive(
        self, name: str, entries: Iterable[Entry], codec: Codec, *, prefix: str = "", linked: Collection[str] = ()
    ) -> Path:
        """A packed cpio archive; see ``cpio.write``."""
        path = self._folder / name
        clock = _Clock()
        with path.open("wb") as out, compressor(codec, out, spent=self._spent) as packed:
            cpio.write(self._rest(entries), packed, prefix=prefix, linked=linked)
        clock.stop(self._part, packing_s=self._packing_s, size_bytes=self.size_bytes)
        return path

    def image(self, name: str, entries: Iterable[Entry], codec: Codec) -> Path:
        """A squashfs image."""
        from moby.formats import squashfs  # slow to import, and most images are there

        path = self._folder / name
        clock = _Clock()
        with path.open("w+b") as out:
            squashfs.write(_mountable(entries), out, codec=codec, time_s=FIXED_MTIME_S)
            size = out.tell()
        self.size_bytes = size + -size % PAGE_BYTES
        clock.stop(self._part, packing_s=None, size_bytes=size)
        return path

    def _spent(self, seconds: float) -> None:
        self._packing_s = seconds

    def _rest(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if entry.path.startswith("boot/"):
                if entry.path in _BOOT and entry.kind is FILE:
                    self._put_beside(entry)
                continue
            if entry.size:
                self.size_bytes += entry.size + -entry.size % PAGE_BYTES
            yield entry

    def _put_beside(self, entry: Entry) -> None:
        path = self._folder / _BOOT[entry.path]
        with path.open("wb") as out:
            if isinstance(entry.data, bytes):
                out.write(entry.data)
            else:
                copy(entry.data, out, entry.size, where=entry.path)
        self.boot[entry.path] = path


class _Clock:
    """Times one part. Packing runs in other threads, so that the process's CPU time holds both."""

    def __init__(self) -> None:
        self._begin = time.perf_counter(), time.process_time(), time.thread_time()

    def stop(self, part: str, *, packing_s: float | None, size_bytes: int) -> None:
        wall, process, thread = self._begin
        reading = time.thread_time() - thread
        packing = time.process_time() - process - reading if packing_s is None else packing_s
        timing.add(part, "read", seconds=time.perf_counter() - wall, cpu_seconds=reading, size_bytes=size_bytes)
        timing.add(part, "pack", seconds=time.perf_counter() - wall, cpu_seconds=packing)


def _mountable(entries: Iterable[Entry]) -> Iterator[Entry]:
    for entry in entries:
        if entry.xattrs:
            kept = tuple(each for each in entry.xattrs if each[0].startswith(_XATTRS))
            yield replace(entry, xattrs=kept)
        else:
            yield entry


def boot_files(kept: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """The files of ``boot/`` among (file name, path) of what was packed, by their path in the root."""
    paths = dict(kept)
    return {path: paths[name] for path, name in _BOOT.items() if name in paths}
