"""Finds out what a file is by its content, and opens it as a tree of parts."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

from moby.errors import ConfigError, IntegrityError
from moby.evidence import archives, disks, programs
from moby.evidence.part import Part
from moby.formats import initrd, uimage
from moby.formats.entry import Entry, Kind
from moby.formats.stream import copy

# Files in an image that are worth a look: what boots, and what holds files itself.
_WORTH = re.compile(
    r".*\.(efi|img|squashfs|sqfs|erofs|raw|vmdk|vhdx?|qcow2|cpio|uimg)|vmlinuz?.*|kernel|initrd.*|[0-9a-f]{64}"
    r"|cmdline|(sys|iso)linux\.cfg|boot\.script",
    re.IGNORECASE,
)
# Texts that say how a machine is booted.
_BOOT_TEXTS = frozenset(("cmdline", "syslinux.cfg", "isolinux.cfg", "boot.script"))
# Of files in files, and of parts in the parts of each.
_MAX_DEPTH = 8
_MAX_TEXT_BYTES = 1 << 16


class Looker:
    """Looks at streams; what has to be unpacked for that lies in temporary files until the ``with`` block ends."""

    def __init__(self, depth: int = 0) -> None:
        self._stack = ExitStack()
        self._depth = depth
        self._nesting = 0

    def __enter__(self) -> Looker:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def look(self, stream: BinaryIO, name: str) -> Part:
        """What is in the seekable ``stream``; one that is broken says so in its facts.

        What is nested deeper than anything that boots is plain data.
        """
        if self._nesting >= _MAX_DEPTH:
            return Part(name=name, kind="data", stream=stream)
        self._nesting += 1
        try:
            return self._look(stream, name)
        except IntegrityError as error:
            return Part(name=name, kind="damaged", stream=stream, facts={"error": error.what})
        finally:
            self._nesting -= 1

    def open(self, path: Path) -> Part:
        """The file at ``path``. Raises ``ConfigError`` when it cannot be read."""
        try:
            stream = self._stack.enter_context(path.open("rb"))
        except OSError as error:
            raise ConfigError(f"cannot read it: {error.strerror}", where=str(path)) from error
        return self.look(cast(BinaryIO, stream), path.name)

    @contextlib.contextmanager
    def inside(self, entry: Entry) -> Iterator[tuple[Entry, Part | None, Looker]]:
        """A file of a part, what it is made of when it is one that is worth a look, and what looks further into it."""
        name = entry.path.rpartition("/")[2]
        if entry.kind is not Kind.FILE or not _WORTH.fullmatch(name) or self._depth >= _MAX_DEPTH:
            yield entry, None, self
            return
        with Looker(self._depth + 1) as looker:
            stream = looker.spool(entry)
            part = looker.look(stream, name)
            stream.seek(0)
            plain = part.kind == "data" or (part.kind == "text" and name.lower() not in _BOOT_TEXTS)
            yield replace(entry, data=stream), None if plain else part, looker

    def spool(self, entry: Entry) -> BinaryIO:
        """The bytes of ``entry``, seekable."""
        if isinstance(entry.data, bytes):
            return io.BytesIO(entry.data)
        out = archives.temporary(self._stack)
        copy(entry.data, out, entry.size, where=entry.path)
        return out

    def _look(self, stream: BinaryIO, name: str) -> Part:
        stream.seek(0)
        head = stream.read(disks.HEAD_BYTES)
        found = programs.kernel(stream, name)
        if found is not None:
            return found
        if uimage.begins(head):
            return programs.packed(stream, name, self.look)
        if head.startswith(b"MZ"):
            return programs.program(stream, name, self.look)
        if head.startswith((b"070701", b"070702")):
            return archives.segments(stream, name)
        if initrd.begins(head):
            return archives.packed(stream, name, self.look, self._stack)
        if archives.is_tar(head):
            return archives.archive(stream, name)
        found = disks.disk(stream, name, self.look)
        if found is not None:
            return found
        return programs.text(stream, name) if _is_text(stream, head) else Part(name=name, kind="data", stream=stream)


def _is_text(stream: BinaryIO, head: bytes) -> bool:
    if stream.seek(0, io.SEEK_END) > _MAX_TEXT_BYTES:
        return False
    return not set(head) & (set(range(32)) - set(b"\t\n\r")) and b"\x7f" not in head
