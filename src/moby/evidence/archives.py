"""Archives as parts: tar, packed or not, and the segments of an initrd."""

from __future__ import annotations

import functools
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO, cast

from moby.errors import IntegrityError
from moby.evidence.part import Fact, Look, Part
from moby.formats import cpio, initrd, tar
from moby.formats import window as windows
from moby.formats.compress import decompress
from moby.formats.entry import Entry
from moby.formats.initrd import Segment

INITRD = "initrd"
_TAR_AT, _TAR = 257, b"ustar"
_SPARSE_AT, _SPARSE = 156, b"S"
_MAX_SPOOL_BYTES = 64 << 30
_KERNEL_BYTES = 0x300


def temporary(stack: ExitStack) -> BinaryIO:
    """A temporary file that is there until ``stack`` ends."""
    made = tempfile.TemporaryFile()  # noqa: SIM115 - the stack closes it
    return cast(BinaryIO, stack.enter_context(made))


def is_tar(head: bytes) -> bool:
    """Whether an archive begins like this."""
    return head[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR


def archive(stream: BinaryIO, name: str) -> Part:
    """A tar archive."""
    return Part(name=name, kind="tar", stream=stream, entries=lambda: _tar(stream, name))


def _tar(stream: BinaryIO, name: str) -> Iterator[Entry]:
    stream.seek(0)
    return tar.read(stream, where=name)


def packed(stream: BinaryIO, name: str, look: Look, stack: ExitStack) -> Part:
    """What begins like something packed: an initrd, an archive, a kernel or another file."""
    if initrd.packs_archive(stream):
        return segments(stream, name)
    stream.seek(0)
    plain = decompress(stream, where=name)
    head = plain.read(_KERNEL_BYTES)
    if is_tar(head) and head[_SPARSE_AT : _SPARSE_AT + 1] != _SPARSE:
        return Part(name=name, kind="packed tar", stream=stream, entries=lambda: _packed_tar(stream, name))
    spool = temporary(stack)
    size = spool.write(head)
    while data := plain.read(1 << 20):
        size += spool.write(data)
        if size > _MAX_SPOOL_BYTES:
            raise IntegrityError(f"unpacks to more than {_MAX_SPOOL_BYTES >> 30} GiB", where=name)
    inner = sparse(spool, look) if is_tar(head) else look(spool, "content")
    kind = "packed tar" if is_tar(head) else "packed file"
    return Part(name=name, kind=kind, stream=stream, parts=(inner,))


def _packed_tar(stream: BinaryIO, name: str) -> Iterator[Entry]:
    stream.seek(0)
    return tar.read(decompress(stream, where=name), where=name)


def sparse(stream: BinaryIO, look: Look) -> Part:
    """The first file of an archive whose files have holes, which ``tar`` does not read: a disk as Google takes it."""
    stream.seek(0)
    try:
        with tarfile.open(fileobj=stream, mode="r:") as opened:
            member = opened.next()
    except tarfile.TarError as error:
        raise IntegrityError(f"a broken archive: {error}") from error
    if member is None or not member.sparse:
        raise IntegrityError("an archive without a file in it")
    place, extents = member.offset_data, []
    for start, length in cast("list[tuple[int, int]]", member.sparse):
        extents.append((start, length, place))
        place += length
    return look(windows.sparse(stream, member.size, sorted(extents)), member.name)


def segments(stream: BinaryIO, name: str) -> Part:
    """An initrd; its segments are parts when there is more than one."""
    found = list(initrd.segments(stream))
    parts = tuple(_segment(stream, each, f"segment {number}") for number, each in enumerate(found, 1))
    if len(parts) == 1:
        return Part(name=name, kind=INITRD, stream=stream, facts=parts[0].facts, entries=parts[0].entries)
    facts: dict[str, Fact] = {"codec": tuple(dict.fromkeys(each.codec for each in found)), "segments": len(parts)}
    return Part(name=name, kind=INITRD, stream=stream, facts=facts, parts=parts)


def _segment(stream: BinaryIO, segment: Segment, name: str) -> Part:
    entries = functools.partial(_cpio, stream, segment, name) if segment.codec != "lz4" else None
    view = windows.window(stream, segment.offset, segment.size)
    return Part(name=name, kind="cpio", stream=view, facts={"codec": segment.codec}, entries=entries)


def _cpio(stream: BinaryIO, segment: Segment, name: str) -> Iterator[Entry]:
    return cpio.read(segment.open(stream), where=name)
