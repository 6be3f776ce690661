from __future__ import annotations

import io
import struct

import pytest

from moby.formats.kernelimage import Kernel, read


def bzimage(version: bytes = b"6.12.118-amd64 (debian-kernel@lists.debian.org) #1 SMP") -> bytes:
    data = bytearray(0x2000)
    data[0:2] = b"MZ"
    data[0x1FE:0x200] = b"\x55\xaa"
    data[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", data, 0x20E, 0x1000)
    data[0x1200 : 0x1200 + len(version)] = version
    return bytes(data)


def image(magic: bytes, text: bytes = b"", *, gap: int = 3_000_000) -> bytes:
    return bytes(0x38) + magic + bytes(gap) + text


def elf(machine: int) -> bytes:
    return b"\x7fELF" + bytes(14) + struct.pack("<H", machine) + bytes(900)


BANNER = b"Linux version 6.12.118-arm64 (builder@host) #1"


@pytest.mark.parametrize(
    ("data", "kernel"),
    [
        (bzimage(), Kernel(form="bzImage", architecture="amd64", version="6.12.118-amd64")),
        (image(b"ARM\x64", BANNER), Kernel(form="Image", architecture="arm64", version="6.12.118-arm64")),
        # Across the border between two reads.
        (
            image(b"ARM\x64", BANNER, gap=(1 << 20) - 0x3C - 10),
            Kernel(form="Image", architecture="arm64", version="6.12.118-arm64"),
        ),
        (image(b"RSC\x05"), Kernel(form="Image", architecture="riscv64", version="")),
        (elf(183), Kernel(form="vmlinux", architecture="arm64", version="")),
        (image(b"ARM\x64", b"Linux version %s (x)"), Kernel(form="Image", architecture="arm64", version="")),
        (elf(3), None),
        (b"", None),
        (b"MZ" + bytes(1000), None),
    ],
)
def test_kernels(data: bytes, kernel: Kernel | None) -> None:
    assert read(io.BytesIO(data)) == kernel
