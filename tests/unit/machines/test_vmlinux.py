"""The ELF kernel inside an x86 bzImage."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard

from moby.context import Context
from moby.machines import MACHINES, vmlinux
from moby.machines.options import RunOptions
from moby.machines.probe_kernel import pvh_elf
from moby.machines.vmlinux import unpack
from tests.support import fake_qemu
from tests.support.guests import POWER_OFF, prefix

KERNEL = pvh_elf(b"\xf4" * 1000)


def sized(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """As the kernel's build packs: the size of the content comes behind."""
    return lambda content: pack(content) + struct.pack("<I", len(content))


def bz_image(payload: bytes, *, version: int = 0x020F, setup_sectors: int = 3) -> bytes:
    """A bzImage whose protected-mode part has the payload 100 bytes from its beginning."""
    head = bytearray((setup_sectors or 4) * 512 + 512)
    head[0x1F1] = setup_sectors
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, version)
    struct.pack_into("<II", head, 0x248, 100, len(payload))
    return bytes(head) + b"\xcc" * 100 + payload + b"tail"


PACKERS = {
    "zstd": sized(zstandard.ZstdCompressor(write_content_size=False).compress),
    "zstd with its size": sized(zstandard.ZstdCompressor().compress),
    "xz": sized(lzma.compress),
    "lzma": sized(lambda content: lzma.compress(content, lzma.FORMAT_ALONE)),
    "bzip2": sized(bz2.compress),
    "gzip": gzip.compress,
}


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("setup_sectors", [3, 0])
def test_kernel_is_unpacked(tmp_path: Path, packer: str, setup_sectors: int) -> None:
    kernel, out = tmp_path / "kernel", tmp_path / "vmlinux"
    kernel.write_bytes(bz_image(PACKERS[packer](KERNEL), setup_sectors=setup_sectors))
    assert unpack(kernel, out)
    assert out.read_bytes() == KERNEL


def other_note() -> bytes:
    return KERNEL.replace(struct.pack("<I4s", 18, b"Xen"), struct.pack("<I4s", 17, b"Xen"))


REFUSED = {
    "nothing": b"",
    "a short file": b"\0" * 0x202 + b"HdrS",
    "another architecture's kernel": b"MZ" + b"\0" * 4096,
    "an old boot protocol": bz_image(PACKERS["zstd"](KERNEL), version=0x0207),
    "a packer without an unpacker": bz_image(b"\x02\x21\x4c\x18" + b"x" * 100),
    "a truncated payload": bz_image(PACKERS["zstd"](KERNEL)[:60]),
    "a broken payload": bz_image(PACKERS["xz"](KERNEL).replace(b"\xfd7zXZ\0\0", b"\xfd7zXZ\0\1")),
    "a size that is not the content's": bz_image(lzma.compress(KERNEL) + struct.pack("<I", len(KERNEL) + 1)),
    "a size that no kernel has": bz_image(lzma.compress(KERNEL) + struct.pack("<I", 0xFFFFFFFF)),
    "no payload": bz_image(b""),
    "no ELF file": bz_image(PACKERS["gzip"](b"\0" * 5000)),
    "a truncated ELF file": bz_image(PACKERS["gzip"](KERNEL[:100])),
    "a 32-bit kernel": bz_image(PACKERS["gzip"](KERNEL.replace(b"\x7fELF\x02", b"\x7fELF\x01"))),
    "a kernel without the entry": bz_image(PACKERS["gzip"](other_note())),
}


@pytest.mark.parametrize("what", REFUSED)
def test_anything_else_unpacks_itself(tmp_path: Path, what: str) -> None:
    kernel, out = tmp_path / "kernel", tmp_path / "vmlinux"
    kernel.write_bytes(REFUSED[what])
    assert not unpack(kernel, out)
    assert not out.exists()


def loaded(directory: Path, packed: bytes = PACKERS["zstd"](KERNEL), **asked: Any) -> Path:
    """The kernel file that QEMU was told to load for the image ``web``, whose kernel is packed."""
    image = prefix(directory, POWER_OFF, name="web")
    (directory / "web-kernel").write_bytes(bz_image(packed))
    firmware = directory / "firmware.fd"
    firmware.write_bytes(bytes(1024))
    tools = replace(fake_qemu.install(directory / "bin"), firmware=lambda _: (firmware, firmware))
    context = Context(store=directory / "store", work=directory / "work")
    options = RunOptions(**{"accelerator": "tcg", **asked})
    with MACHINES["qemu"](image, options, context, find_qemu=lambda _: tools):
        words = fake_qemu.recorded(tools)
    return Path(words[words.index("-kernel") + 1])


def test_emulated_machine_loads_the_unpacked_kernel_and_leaves_none(tmp_path: Path) -> None:
    kernel = loaded(tmp_path)
    assert kernel == tmp_path / "web-state" / "vmlinux"
    assert not kernel.exists()


def test_kernel_is_loaded_as_it_is_where_unpacking_it_gains_nothing(tmp_path: Path) -> None:
    own = tmp_path / "web-kernel"
    assert loaded(tmp_path, accelerator="kvm") == own
    assert loaded(tmp_path, uefi=True) == own
    assert loaded(tmp_path, PACKERS["gzip"](b"no ELF file")) == own


def test_kernel_unpacks_itself_when_there_is_no_room_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    def unpack_on_a_full_disk(kernel: Path, out: Path) -> bool:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "write_bytes", full)
            return unpack(kernel, out)

    monkeypatch.setattr(vmlinux, "unpack", unpack_on_a_full_disk)
    assert loaded(tmp_path) == tmp_path / "web-kernel"
