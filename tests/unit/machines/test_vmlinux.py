"""The ELF kernel inside an x86 bzImage."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest
import zstandard

from moby.context import Context
from moby.machines import MACHINES, qemu, vmlinux
from moby.machines.options import RunOptions
from moby.machines.probe_kernel import pvh_elf
from moby.machines.vmlinux import unpack
from tests.support import fake_qemu
from tests.support.guests import POWER_OFF, prefix

KERNEL = pvh_elf(b"\xf4" * 1000)


class Usage(NamedTuple):
    free: int


def sized(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """As the kernel's build packs: the size of the content comes behind."""
    return lambda content: pack(content) + struct.pack("<I", len(content))


def bz_image(payload: bytes, *, version: bytes = b"6.12.1-amd64 (x@y) #1", setup_sectors: int = 3) -> bytes:
    """A bzImage whose protected-mode part has the payload 100 bytes from its beginning."""
    head = bytearray((setup_sectors or 4) * 512 + 512)
    head[0x1F1] = setup_sectors
    head[0x1FE:0x200] = b"\x55\xaa"
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x20E, 0x300)
    head[0x500 : 0x500 + len(version)] = version
    struct.pack_into("<II", head, 0x248, 100, len(payload))
    return bytes(head) + b"\xcc" * 100 + payload + b"tail"


PACKERS = {
    "zstd": sized(zstandard.ZstdCompressor(write_content_size=False).compress),
    "zstd with its size": sized(zstandard.ZstdCompressor().compress),
    "xz": sized(lzma.compress),
    "bzip2": sized(bz2.compress),
    "gzip": gzip.compress,
}


def unpacked(kernel: bytes, directory: Path) -> bytes | None:
    """What comes out of a kernel file, None when it is refused."""
    path = directory / "kernel"
    path.write_bytes(kernel)
    out = io.BytesIO()
    return out.getvalue() if unpack(path, out) else None


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("setup_sectors", [3, 0])
def test_kernel_is_unpacked(tmp_path: Path, packer: str, setup_sectors: int) -> None:
    assert unpacked(bz_image(PACKERS[packer](KERNEL), setup_sectors=setup_sectors), tmp_path) == KERNEL


def other_note() -> bytes:
    return KERNEL.replace(struct.pack("<I4s", 18, b"Xen"), struct.pack("<I4s", 17, b"Xen"))


def many_notes() -> bytes:
    """More program headers, of longer notes, than any kernel has; the right note is behind the last."""
    headers = struct.pack("<IIQQQQQQ", 4, 4, 64, 0, 0, 1 << 40, 0, 4) * 1000
    head = KERNEL[:32] + struct.pack("<Q", 64) + KERNEL[40:56] + struct.pack("<H", 1000) + KERNEL[58:64]
    return head + headers + struct.pack("<III4sI", 4, 4, 18, b"Xen", 0)


REFUSED = {
    "nothing": b"",
    "a short file": b"\0" * 0x202 + b"HdrS",
    "another architecture's kernel": b"MZ" + b"\0" * 4096,
    "a kernel whose entry is for Xen alone": bz_image(PACKERS["zstd"](KERNEL), version=b"4.19.0-amd64"),
    "a kernel without a version": bz_image(PACKERS["zstd"](KERNEL), version=b""),
    "a packer without an unpacker": bz_image(b"\x02\x21\x4c\x18" + b"x" * 100),
    "a truncated payload": bz_image(PACKERS["zstd"](KERNEL)[:60]),
    "a broken payload": bz_image(PACKERS["xz"](KERNEL).replace(b"\xfd7zXZ\0\0", b"\xfd7zXZ\0\1")),
    "no payload": bz_image(b""),
    "no ELF file": bz_image(PACKERS["gzip"](b"\0" * 5000)),
    "a truncated ELF file": bz_image(PACKERS["gzip"](KERNEL[:100])),
    "a 32-bit kernel": bz_image(PACKERS["gzip"](KERNEL.replace(b"\x7fELF\x02", b"\x7fELF\x01"))),
    "a kernel without the entry": bz_image(PACKERS["gzip"](other_note())),
    "a kernel of notes": bz_image(PACKERS["gzip"](many_notes())),
}


@pytest.mark.parametrize("what", REFUSED)
def test_anything_else_unpacks_itself(tmp_path: Path, what: str) -> None:
    assert unpacked(REFUSED[what], tmp_path) is None


def test_more_than_any_kernel_unpacks_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vmlinux, "_MAX_BYTES", len(KERNEL))
    assert unpacked(bz_image(PACKERS["zstd"](KERNEL)), tmp_path) == KERNEL
    assert unpacked(bz_image(PACKERS["zstd"](KERNEL + b"\0")), tmp_path) is None


def loaded(directory: Path, packed: bytes = PACKERS["zstd"](KERNEL), **asked: Any) -> str:
    """What QEMU was told to load for the image ``web``, whose kernel is packed."""
    image = prefix(directory, POWER_OFF, name="web")
    (directory / "web-kernel").write_bytes(bz_image(packed))
    firmware = directory / "firmware.fd"
    firmware.write_bytes(bytes(1024))
    tools = replace(fake_qemu.install(directory / "bin"), firmware=lambda _: (firmware, firmware))
    context = Context(store=directory / "store", work=directory / "work")
    options = RunOptions(**{"accelerator": "tcg", **asked})
    with MACHINES["qemu"](image, options, context, find_qemu=lambda _: tools):
        words = fake_qemu.recorded(tools)
    return words[words.index("-kernel") + 1]


def test_emulated_machine_loads_the_unpacked_kernel_and_leaves_none(tmp_path: Path) -> None:
    assert loaded(tmp_path).startswith("/dev/fd/")
    assert len(KERNEL) not in {path.stat().st_size for path in (tmp_path / "web-state").iterdir()}


@pytest.mark.parametrize(
    "asked",
    [{"accelerator": "kvm"}, {"uefi": True}, {"gui": True}, {"devices": ("VGA",)}],
    ids=lambda asked: next(iter(asked)),
)
def test_kernel_is_loaded_as_it_is_where_it_must_see_all_of_the_machine(tmp_path: Path, asked: dict[str, Any]) -> None:
    assert loaded(tmp_path, **asked) == str(tmp_path / "web-kernel")


def test_kernel_that_cannot_be_unpacked_is_loaded_as_it_is(tmp_path: Path) -> None:
    assert loaded(tmp_path, PACKERS["gzip"](b"no ELF file")) == str(tmp_path / "web-kernel")


def test_kernel_unpacks_itself_when_there_is_no_room_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spools = []

    def unpack_on_a_full_disk(kernel: Path, out: IO[bytes]) -> bool:
        spools.append(out)
        out.write(KERNEL[:500])
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(vmlinux, "unpack", unpack_on_a_full_disk)
    assert loaded(tmp_path) == str(tmp_path / "web-kernel")
    assert [each.closed for each in spools] == [True]  # what was written takes no room any more


def test_kernel_unpacks_itself_when_little_room_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free=qemu._ROOM_BYTES))
    assert loaded(tmp_path) == str(tmp_path / "web-kernel")
