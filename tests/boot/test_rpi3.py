"""A card for the Raspberry Pi 3 starts its machine on QEMU's board, from U-Boot on; the GPU's part is not emulated."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

import moby
from moby.artifact import Architecture
from moby.components.packages import Packages
from moby.components.tools import Tools
from moby.context import Context
from moby.formats import fat, mbr, tar
from moby.formats.content import Content

pytestmark = [pytest.mark.boot, pytest.mark.long]

YAML = """\
kernel: {image: "@pkg:kernel-rpi", cmdline: console=ttyS1}
init: ["@pkg:init", "@pkg:crun"]
"""
PATIENCE_S = 240
MIB = 1 << 20


def card(files: dict[str, bytes], path: Path) -> None:
    """An SD card with these files on one FAT partition; QEMU wants a power of two as its size."""
    contents = {name: Content.of(data) for name, data in files.items()}
    layout = fat.layout(
        contents, fat.Volume(label="BOOT", number=1, time_s=1 << 30, hidden_sectors=2048, at_least_bytes=100 * MIB)
    )
    partition = mbr.Partition(
        type=mbr.FAT32_LBA, first_sector=2048, sectors=layout.size_bytes // mbr.SECTOR_BYTES, active=True
    )
    with path.open("w+b") as out:
        out.write(mbr.pack(mbr.Table(partitions=(partition,), disk_id=1), disk_bytes=128 * MIB))
        layout.write(out, offset=MIB)
        out.truncate(128 * MIB)


@pytest.mark.shows("rpi3: U-Boot starts kernel and initrd from the card on QEMU's board", by="boot")
def test_the_card_boots_on_the_emulated_board(tmp_path: Path) -> None:
    (tmp_path / "pi.yml").write_text(YAML)
    options = moby.BuildOptions(architecture="arm64")
    (made,) = moby.build(tmp_path / "pi.yml", formats=["rpi3"], directory=tmp_path, options=options)
    with made.file("tar").open("rb") as stream:
        files = {
            entry.path: entry.data if isinstance(entry.data, bytes) else entry.data.read(entry.size)
            for entry in tar.read(stream)
            if entry.size
        }
    card(files, tmp_path / "card.img")
    firmware, tree, console = tmp_path / "u-boot.bin", tmp_path / "board.dtb", tmp_path / "console"
    firmware.write_bytes(files["u-boot.bin"])
    tree.write_bytes(files["dtb/broadcom/bcm2837-rpi-3-b.dtb"])  # which the GPU would give
    context = Context.from_environment()
    words = [str(Tools(context, Packages(context)).qemu(Architecture.ARM64).system), "-M", "raspi3b", "-nodefaults"]
    words += ["-audio", "driver=none", "-display", "none", "-kernel", str(firmware), "-dtb", str(tree)]
    words += ["-drive", f"if=sd,format=raw,file={tmp_path / 'card.img'}", "-serial", "null"]
    machine = subprocess.Popen([*words, "-serial", f"file:{console}"], stdin=subprocess.DEVNULL)
    try:
        wait(machine, console, "machine ready")
    finally:
        machine.kill()
        machine.wait()


def wait(machine: subprocess.Popen[bytes], console: Path, text: str) -> None:
    """Until ``text`` is on the console."""
    deadline = time.monotonic() + PATIENCE_S
    said = ""
    while time.monotonic() < deadline and machine.poll() is None:
        said = console.read_text(errors="replace") if console.exists() else ""
        if text in said:
            return
        time.sleep(0.5)
    raise AssertionError(f"no {text!r} in {said[-2000:]!r}")
