"""A kernel file with what is packed in it unpacked."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO, cast

from moby.errors import ConfigError, IntegrityError
from moby.formats import bzimage
from moby.formats.compress import decompress
from moby.formats.entry import Entry
from moby.formats.stream import SMALL_BYTES, Body, Source

_MAX_BYTES = 1 << 30
_GZIP = b"\x1f\x8b"  # an arm64 Image.gz


@contextlib.contextmanager
def unpacked(entry: Entry) -> Iterator[Entry]:
    """``entry`` with the payload of its kernel unpacked, in a temporary file.

    Understands gzip files and bzImages with gzip, zstd, xz or bzip2. Raises ``ConfigError`` for others.
    """
    stream = io.BytesIO(entry.data) if isinstance(entry.data, bytes) else entry.data
    source = Source(stream, f"{entry.origin}: {entry.path}")
    with tempfile.TemporaryFile() as spool:
        size = 0
        plain = _plain(source, entry.size)
        while chunk := plain.read(SMALL_BYTES):
            size += len(chunk)
            if size > _MAX_BYTES:
                raise IntegrityError(f"the kernel unpacks to more than {_MAX_BYTES} bytes", where=source.where)
            spool.write(chunk)
        spool.seek(0)
        yield replace(entry, size=size, data=cast(BinaryIO, spool))


def _plain(source: Source, size: int) -> BinaryIO:
    if source.peek(2) == _GZIP:
        return decompress(cast(BinaryIO, Body(source, size)), where=source.where)
    try:
        return bzimage.payload(source, size)
    except ConfigError as error:
        raise ConfigError(error.what, where=error.where, fix="leave out --decompress-kernel") from error
