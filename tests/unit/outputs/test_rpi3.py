"""What is put on the SD card of a Raspberry Pi 3."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

from moby.errors import ConfigError
from moby.formats import tar, uimage
from moby.outputs import rpi3, write
from tests.support import bootcode
from tests.support.images import image
from tests.support.roots import root

TEXT = "kernel: {image: k, cmdline: 'console=ttyS1 quiet'}\nfiles: [{path: etc/motd, contents: hello}]"


def card(folder: Path, kernel: bytes = bootcode.KERNEL, modules: bytes = bootcode.MODULES) -> dict[str, bytes]:
    """The files of the card."""
    images = {"docker.io/library/k": image([{"kernel": kernel, "kernel.tar": modules}], architecture="arm64")}
    made = root(folder, TEXT, images, architecture="arm64")
    settings = bootcode.settings(made.store)
    (artifact,) = write(made.plan, made.store, formats=["rpi3"], name="pi", directory=folder, settings=settings)
    assert artifact.file("tar") == folder / "pi.tar"
    with artifact.file("tar").open("rb") as stream:
        return {
            entry.path: entry.data if isinstance(entry.data, bytes) else entry.data.read(entry.size)
            for entry in tar.read(stream)
            if entry.size
        }


def test_u_boot_finds_what_its_script_loads(tmp_path: Path) -> None:
    files = card(tmp_path)
    header = uimage.read(io.BytesIO(files["kernel.uimg"]))
    assert (header.type, header.load) == (uimage.Type.KERNEL, 0x80000)
    assert gzip.decompress(files["kernel.uimg"][uimage.HEADER_BYTES :]) == bootcode.KERNEL
    assert uimage.read(io.BytesIO(files["initrd.uimg"])).type is uimage.Type.RAMDISK
    assert files["dtb/broadcom/bcm2837-rpi-3-b.dtb"].startswith(b"\xd0\x0d\xfe\xed")
    assert not any("rpi-4" in path for path in files)
    assert files["boot.scr"].endswith(files["boot.script"])
    assert b"kernel=u-boot.bin" in files["config.txt"]
    assert {"u-boot.bin", "LICENCE.broadcom", *rpi3.FIRMWARE_FILES} <= files.keys()


def test_the_yamls_command_line_comes_last(tmp_path: Path) -> None:
    words = card(tmp_path)["boot.script"].decode().splitlines()[0]
    assert words.endswith(" console=tty1 console=ttyS1,115200 console=ttyS1 quiet rootfstype=ramfs'")


def test_a_packed_kernel_stays_as_it_is(tmp_path: Path) -> None:
    packed = gzip.compress(bootcode.KERNEL)
    assert card(tmp_path, packed)["kernel.uimg"][uimage.HEADER_BYTES :] == packed


def test_another_kernel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="arm64 Image only"):
        card(tmp_path, b"\x7fELF".ljust(0x300, b"\0"))


def test_a_kernel_image_without_device_trees_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no device tree") as caught:
        card(tmp_path, modules=bytes(1024))
    assert '"@pkg:kernel-rpi"' in caught.value.fix


@pytest.mark.parametrize("cmdline", ["it's", "a\nreset"])
def test_what_cannot_be_quoted_is_refused(cmdline: str) -> None:
    with pytest.raises(ConfigError, match="cannot be told"):
        rpi3.script(cmdline)
