from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest
import zstandard

from moby import log
from moby.errors import ConfigError, IntegrityError
from moby.rootfs.constants import FIXED_MTIME_S
from tests.support import images
from tests.support.images import image, tar
from tests.support.roots import Root, root
from tests.support.tree import Node

NAME = "docker.io/library/k"
MODULES = tar({"lib/": "", "lib/modules/": "", "lib/modules/6/": "", "lib/modules/6/a.ko": "module"})


def built(folder: Path, keys: str, *layers: images.Layer) -> Root:
    return root(folder, f"kernel: {{image: k, {keys}}}", {NAME: image(layers)})


def test_boot_comes_first_and_has_kernel_cmdline_and_microcode(tmp_path: Path) -> None:
    layer: images.Layer = [
        ("kernel.tar", MODULES),
        ("zkernel", images.Node(data=b"K", mode=0o600, uid=3)),
        ("ucode.cpio", b"U"),
    ]
    made = built(tmp_path, "cmdline: 'console=ttyS0 a', binary: zkernel, ucode: ucode.cpio", layer)
    assert [entry.path for entry in made.held()] == [
        "boot",
        "boot/cmdline",
        "boot/kernel",
        "boot/ucode.cpio",
        "lib",
        "lib/modules",
        "lib/modules/6",
        "lib/modules/6/a.ko",
    ]
    entries = {entry.path: entry for entry in made.held()}
    assert entries["boot/cmdline"].data == b"console=ttyS0 a"
    kernel = entries["boot/kernel"]
    assert (kernel.data, kernel.mode, kernel.uid, kernel.mtime_s) == (b"K", 0o600, 0, FIXED_MTIME_S)
    assert {entry.origin for entry in entries.values()} == {"kernel"}


def test_other_files_of_the_image_are_left_out(tmp_path: Path) -> None:
    tree = built(tmp_path, "tar: none", {"kernel": "K", "kernel.tar": MODULES, "etc/": "", "System.map": "x"}).tree()
    assert set(tree) == {"boot", "boot/cmdline", "boot/kernel"}
    assert tree["boot"] == Node("dir", 0o755, 0, 0, FIXED_MTIME_S)


def test_entries_of_the_tar_keep_owner_mode_and_time(tmp_path: Path) -> None:
    modules = tar({"./usr/": images.directory(0o750, uid=5)})
    tree = built(tmp_path, "", {"kernel": "K", "kernel.tar": modules}).tree()
    assert tree["usr"] == Node("dir", 0o750, 5, 0, images.MTIME_S)


@pytest.mark.parametrize(
    ("keys", "layer", "message"),
    [
        ("", {"kernel.tar": MODULES}, "did not find kernel in kernel image"),
        ("binary: vmlinuz", {"kernel": "K", "kernel.tar": MODULES}, "did not find kernel in kernel image"),
        ("", {"kernel": "K"}, "did not find kernel tar in kernel image"),
        ("tar: modules.tar", {"kernel": "K", "kernel.tar": MODULES}, "did not find kernel tar in kernel image"),
    ],
)
def test_a_missing_part_is_refused(tmp_path: Path, keys: str, layer: images.Layer, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        built(tmp_path, keys, layer).tree()
    assert caught.value.where == NAME
    assert "'none'" in caught.value.fix or "kernel.binary" in caught.value.fix


def test_missing_microcode_is_said_and_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(log, "info", said.append)
    tree = built(tmp_path, "ucode: u.cpio", {"kernel": "K", "kernel.tar": MODULES}).tree()
    assert "boot/ucode.cpio" not in tree
    assert said == [f"{NAME}: no microcode: there is no file 'u.cpio'"]


def test_a_hostile_tar_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"leaves the tree") as caught:
        built(tmp_path, "", {"kernel": "K", "kernel.tar": tar({"../etc/passwd": "x"})}).tree()
    assert caught.value.where == f"{NAME}: kernel.tar: '../etc/passwd'"


def bzimage(payload: bytes, *, size_appended: bool = False) -> bytes:
    """A boot sector, one setup sector and a protected-mode part with ``payload`` 64 bytes into it."""
    setup = bytearray(1024)
    setup[0x1F1] = 1
    setup[0x1FE:0x200] = b"\x55\xaa"
    setup[0x202:0x206] = b"HdrS"
    payload += b"\1\2\3\4" if size_appended else b""
    setup[0x248:0x24C] = (64).to_bytes(4, "little")
    setup[0x24C:0x250] = len(payload).to_bytes(4, "little")
    return bytes(setup) + bytes(64) + payload + b"trailer"


def kernels_zstd(data: bytes) -> bytes:
    """As a kernel's build does: from a pipe, with ``--ultra -22``, whose window is 128 MiB."""
    packer = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=27)
    ).compressobj()
    return packer.compress(data) + packer.flush()


def kernels_xz(data: bytes) -> bytes:
    """As a kernel's build does, with the x86 filter and a large dictionary."""
    filters = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "dict_size": 128 << 20, "preset": 0}]
    return lzma.compress(data, filters=filters, check=lzma.CHECK_CRC32)


@pytest.mark.parametrize(
    "kernel",
    [
        gzip.compress(b"vmlinux" * 1000),
        bzimage(gzip.compress(b"vmlinux" * 1000)),
        bzimage(zstandard.compress(b"vmlinux" * 1000), size_appended=True),
        bzimage(kernels_zstd(b"vmlinux" * 1000), size_appended=True),
        bzimage(lzma.compress(b"vmlinux" * 1000), size_appended=True),
        bzimage(kernels_xz(b"vmlinux" * 1000), size_appended=True),
    ],
    ids=["gzip", "bzImage-gzip", "bzImage-zstd", "bzImage-zstd-22", "bzImage-xz", "bzImage-xz-128M"],
)
def test_a_kernel_is_unpacked_when_asked(tmp_path: Path, kernel: bytes) -> None:
    made = built(tmp_path, "tar: none", {"kernel": kernel})
    plain = built(tmp_path / "plain", "tar: none", {"kernel": b"vmlinux" * 1000})
    assert made.tree(decompress_kernel=True) == plain.tree()
    assert made.tree() != plain.tree()


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (b"plain", "no compressed kernel"),
        (bytes(5000), "no compressed kernel"),
        (bzimage(b"LZ4 or another"), "unsupported bzImage payload format at offset 1088"),
        (bzimage(gzip.compress(b"x"))[:-40], "outside of the kernel"),
        (bzimage(gzip.compress(b"x" * 1000)[:-9]), "truncated"),
    ],
)
def test_a_kernel_that_cannot_be_unpacked_is_refused(tmp_path: Path, kernel: bytes, message: str) -> None:
    with pytest.raises((ConfigError, IntegrityError), match=message):
        built(tmp_path, "tar: none", {"kernel": kernel}).tree(decompress_kernel=True)
