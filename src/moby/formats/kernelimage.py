"""What a Linux kernel file says of itself: its architecture and version.

Sources: Linux ``Documentation/arch/x86/boot.rst`` (setup header), ``Documentation/arch/arm64/booting.rst`` and
``Documentation/arch/riscv/boot-image-header.rst`` (Image headers). Only x86 has the version in its header; elsewhere it
is looked for in the text of the kernel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO

HEAD_BYTES = 0x300
_GZIP = b"\x1f\x8b"
_VERSION = re.compile(rb"Linux version ([0-9]+\.[0-9][\x21-\x7e]{0,120}) ")
_CHUNK_BYTES = 1 << 20
_SEARCH_BYTES = 256 << 20
_OVERLAP = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """``form`` is bzImage, Image or vmlinux; ``version`` is empty when it was not found."""

    form: str
    architecture: str
    version: str


def identify(head: bytes) -> tuple[str, str] | None:
    """Form and architecture of a kernel that begins like this; None when it is none."""
    if head[0x1FE:0x200] == b"\x55\xaa" and head[0x202:0x206] == b"HdrS":
        return "bzImage", "amd64"
    if head[0x38:0x3C] == b"ARM\x64":
        return "Image", "arm64"
    if head[0x38:0x3C] == b"RSC\x05":
        return "Image", "riscv64"
    if head[4:8] == b"zimg" and head.startswith(b"MZ"):
        return "EFI zboot", ""
    machine = int.from_bytes(head[18:20], "little")
    if head.startswith(b"\x7fELF") and machine in (62, 183, 243):
        return "vmlinux", {62: "amd64", 183: "arm64", 243: "riscv64"}[machine]
    return None


def read(stream: BinaryIO) -> Kernel | None:
    """The kernel at the start of a seekable stream; None when there is none."""
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    found = identify(head)
    if found is None:
        return None
    form, architecture = found
    version = _from_header(stream, head) if form == "bzImage" else _search(stream)
    return Kernel(form=form, architecture=architecture, version=version)


def _from_header(stream: BinaryIO, head: bytes) -> str:
    """The text that the setup header points at: 0x20E, less 0x200."""
    stream.seek(int.from_bytes(head[0x20E:0x210], "little") + 0x200)
    text = stream.read(256).split(b"\0")[0]
    return text.decode("ascii", "replace").split(" ")[0]


def _search(stream: BinaryIO) -> str:
    """The version in the kernel's banner."""
    stream.seek(0)
    before, left = b"", _SEARCH_BYTES
    while left > 0 and (chunk := stream.read(_CHUNK_BYTES)):
        found = _VERSION.search(before + chunk)
        if found:
            return found[1].decode()
        before, left = chunk[-_OVERLAP:], left - len(chunk)
    return ""
