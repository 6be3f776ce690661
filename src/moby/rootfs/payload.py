"""What is packed inside a kernel file: for firmware and monitors that want it plain.

Sources: Linux ``Documentation/arch/x86/boot.rst`` (setup header); a gzip file is an arm64 ``Image.gz``.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO, cast

from moby.errors import ConfigError, IntegrityError
from moby.formats.compress import decompress
from moby.formats.entry import Entry
from moby.formats.stream import SMALL_BYTES, Body, Source

_MAX_BYTES = 1 << 30
_SETUP_BYTES = 0x250
_GZIP = b"\x1f\x8b"
# Other compressors' payloads end with the unpacked size, which their own format does not know.
_WITH_SIZE = (b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh")


@contextlib.contextmanager
def unpacked(entry: Entry) -> Iterator[Entry]:
    """``entry`` with the payload of its kernel unpacked, in a temporary file.

    Understands gzip files and bzImages with gzip, zstd, xz or bzip2. Raises ``ConfigError`` for others.
    """
    stream = io.BytesIO(entry.data) if isinstance(entry.data, bytes) else entry.data
    source = Source(stream, f"{entry.origin}: {entry.path}")
    packed = Body(source, entry.size) if source.peek(2) == _GZIP else _bzimage(source, entry)
    plain = decompress(cast(BinaryIO, packed), where=source.where)
    with tempfile.TemporaryFile() as spool:
        size = 0
        while chunk := plain.read(SMALL_BYTES):
            size += len(chunk)
            if size > _MAX_BYTES:
                raise IntegrityError(f"the kernel unpacks to more than {_MAX_BYTES} bytes", where=source.where)
            spool.write(chunk)
        spool.seek(0)
        yield replace(entry, size=size, data=cast(BinaryIO, spool))


def _bzimage(source: Source, entry: Entry) -> Body:
    """The payload of an x86 kernel."""
    head = source.peek(_SETUP_BYTES)
    if len(head) < _SETUP_BYTES or head[0x1FE:0x200] != b"\x55\xaa" or head[0x202:0x206] != b"HdrS":
        raise ConfigError(
            "no compressed kernel or no supported format found",
            where=source.where,
            fix="leave out --decompress-kernel",
        )
    setup_sectors = head[0x1F1] or 4
    offset = int.from_bytes(head[0x248:0x24C], "little") + (setup_sectors + 1) * 512
    length = int.from_bytes(head[0x24C:0x250], "little")
    if length < 8 or offset + length > entry.size:
        raise IntegrityError(f"payload of {length} bytes at {offset} is outside of the kernel", where=source.where)
    source.skip(offset)
    magic = source.peek(6)
    if magic.startswith(_WITH_SIZE):
        length -= 4
    elif not magic.startswith(_GZIP):
        raise ConfigError(f"unsupported bzImage payload format at offset {offset}", where=source.where)
    return Body(source, length)
