"""Raw disks to put into containers, and what qemu-img makes of the result."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from moby import proc

MIB = 1 << 20
# Small disks of all sorts: size in bytes, and what is where.
SAMPLES: dict[str, tuple[int, dict[int, bytes]]] = {
    "empty": (5 * MIB, {}),
    "full": (3 * MIB, {0: random.Random(1).randbytes(3 * MIB)}),
    "ends": (64 * MIB, {0: b"first", 64 * MIB - 5: b"last!"}),
    "scattered": (
        1100 * MIB,
        {number * 19 * MIB + number * 4096: bytes(range(1, 256)) * (17 * number + 1) for number in range(55)},
    ),
    "odd": (7 * MIB + 1536, {MIB - 100: b"\1" * 200, 7 * MIB + 1000: b"\2" * 536}),
    "mixed": (40 * MIB, {MIB: random.Random(2).randbytes(3 * MIB) + b"text " * 500_000}),
}


def make(folder: Path, size: int, parts: dict[int, bytes]) -> Path:
    """A sparse raw disk."""
    path = folder / "raw.img"
    with path.open("wb") as out:
        for offset, data in parts.items():
            out.seek(offset)
            out.write(data)
        out.truncate(size)
    return path


def large(folder: Path) -> Path:
    """A disk of 10 GiB with 60 MB that hardly shrink, as a machine's kernel and initrd are, and a little at its end."""
    data = random.Random(3).randbytes(60_000_000)
    return make(folder, 10 << 30, {0: b"table", MIB: b"FAT" * 20000, 12 * MIB: data, (10 << 30) - 512: b"end"})


def compare(raw: Path, image: Path, kind: str) -> None:
    """Raise ``CommandError`` unless qemu-img sees the same disk in both; what is longer must be zero there."""
    proc.run(["qemu-img", "compare", "-f", "raw", "-F", kind, raw, image])


def compare_parts(raw: Path, image: Path, kind: str, parts: Iterable[tuple[int, int]]) -> None:
    """The same for some parts of the disk, first and number of MiB each: qemu-img reads all the holes of a VHDX."""
    part = image.with_suffix(".part")
    for first, count in parts:
        # Unlike dd, it counts what is skipped.
        words = ["bs=1M", f"skip={first}", f"count={first + count}", f"if={image}", f"of={part}"]
        proc.run(["qemu-img", "dd", "-f", kind, "-O", "raw", *words])
        with raw.open("rb") as disk:
            disk.seek(first * MIB)
            expected = disk.read(count * MIB)
        data = part.read_bytes()
        assert data[: len(expected)] == expected and not any(data[len(expected) :]), f"differs after {first} MiB"


def check(image: Path, kind: str) -> None:
    """Raise ``CommandError`` when qemu-img finds a fault or a leak in the image."""
    proc.run(["qemu-img", "check", "-f", kind, image])


def used(path: Path) -> int:
    """Bytes that a file takes on its file system."""
    return path.stat().st_blocks * 512
