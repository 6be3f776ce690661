"""What is packed inside an x86 kernel file: the kernel itself, for firmware and monitors that want it plain.

Source: Linux ``Documentation/arch/x86/boot.rst`` (setup header, boot protocol 2.08).
"""

from __future__ import annotations

from typing import BinaryIO, cast

from moby.errors import ConfigError, IntegrityError
from moby.formats import kernelimage
from moby.formats.decompress import decompress
from moby.formats.stream import Body, Source

_SETUP_BYTES = 0x250
_GZIP = b"\x1f\x8b"
# Other compressors' payloads end with the unpacked size, which their own format does not know.
_WITH_SIZE = (b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh")
_WINDOW_BYTES = 128 << 20  # what a kernel's build tells zstd and xz to use


def payload(source: Source, size: int) -> BinaryIO:
    """The unpacked payload of the bzImage of ``size`` bytes at which ``source`` is.

    Raises ``ConfigError`` where it is none, or packed in another way than with gzip, zstd, xz or bzip2, and
    ``IntegrityError`` where it is broken, which may also come while it is read.
    """
    head = source.peek(_SETUP_BYTES)
    if len(head) < _SETUP_BYTES or kernelimage.identify(head) != ("bzImage", "amd64"):
        raise ConfigError("no compressed kernel or no supported format found", where=source.where)
    setup_sectors = head[0x1F1] or 4
    offset = int.from_bytes(head[0x248:0x24C], "little") + (setup_sectors + 1) * 512
    length = int.from_bytes(head[0x24C:0x250], "little")
    if length < 8 or offset + length > size:
        raise IntegrityError(f"payload of {length} bytes at {offset} is outside of the kernel", where=source.where)
    source.skip(offset)
    magic = source.peek(6)
    if magic.startswith(_WITH_SIZE):
        length -= 4
    elif not magic.startswith(_GZIP):
        raise ConfigError(f"unsupported bzImage payload format at offset {offset}", where=source.where)
    packed = cast(BinaryIO, Body(source, length))
    return decompress(packed, where=source.where, window_bytes=_WINDOW_BYTES)
