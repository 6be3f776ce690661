"""What holds for every container of a raw disk: the same disk inside, sparse, quick, small in memory, reproducible."""

from __future__ import annotations

import time
import tracemalloc
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest

from moby import proc
from moby.formats import gcp, qcow2, vhd, vhdx, vmdk
from tests.support import disks

ID = uuid.UUID(int=5)
TIME_S = 1492533000
Write = Callable[[BinaryIO, BinaryIO], object]
# Name → writer, qemu-img's name of the format, whether it knows how to check one.
CONTAINERS: dict[str, tuple[Write, str, bool]] = {
    "qcow2": (qcow2.write, "qcow2", True),
    "qcow2-plain": (partial(qcow2.write, compress=False), "qcow2", True),
    "vhd-fixed": (partial(vhd.write_fixed, id=ID, time_s=TIME_S, align_bytes=1 << 20), "vpc", False),
    "vhd-dynamic": (partial(vhd.write_dynamic, id=ID, time_s=TIME_S), "vpc", False),
    "vhdx": (partial(vhdx.write, id=ID), "vhdx", True),
    "vmdk": (partial(vmdk.write, content_id=7), "vmdk", True),
    "gcp": (partial(gcp.write, time_s=TIME_S), "", False),
}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disks.large(tmp_path_factory.mktemp("large"))


def written(name: str, raw: Path, target: Path) -> Path:
    with raw.open("rb") as disk, target.open("w+b") as out:
        CONTAINERS[name][0](disk, out)
    return target


def judge(name: str, raw: Path, image: Path) -> None:
    """Raise ``CommandError`` unless the image is sound and has the raw disk in it."""
    _, kind, checks = CONTAINERS[name]
    if kind:
        disks.compare(raw, image, kind)
    else:
        folder = image.with_suffix(".extracted")
        folder.mkdir()
        proc.run(["tar", "-xzf", image, "-C", folder])
        disks.compare(raw, folder / "disk.raw", "raw")
    if checks:
        disks.check(image, kind)


@pytest.mark.parametrize("sample", disks.SAMPLES)
@pytest.mark.parametrize("name", CONTAINERS)
def test_it_holds_the_same_disk(name: str, sample: str, tmp_path: Path) -> None:
    raw = disks.make(tmp_path, *disks.SAMPLES[sample])
    judge(name, raw, written(name, raw, tmp_path / "image"))


@pytest.mark.parametrize("name", CONTAINERS)
def test_ten_gigabytes_of_little_take_little(name: str, large: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    image = written(name, large, tmp_path / "image")
    assert time.monotonic() - started < 6  # about 1 s on a machine that does nothing else
    assert disks.used(image) < 66_000_000
    if name == "vhdx":
        disks.compare_parts(large, image, name, [(0, 80), (4090, 10), (10239, 1)])
        disks.check(image, name)
    else:
        judge(name, large, image)


@pytest.mark.parametrize("name", CONTAINERS)
def test_memory_does_not_grow_with_the_disk(name: str, tmp_path: Path) -> None:
    raw = disks.make(tmp_path, 50 << 30, {number * (1 << 30): b"x" * (1 << 20) for number in range(40)})
    tracemalloc.start()
    written(name, raw, tmp_path / "image")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_same_disk_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    """Also when the host's file system has other holes."""
    raw = disks.make(tmp_path, *disks.SAMPLES["mixed"])
    one = written(name, raw, tmp_path / "one").read_bytes()
    dense = tmp_path / "dense"
    dense.write_bytes(raw.read_bytes())
    assert written(name, dense, tmp_path / "other").read_bytes() == one
