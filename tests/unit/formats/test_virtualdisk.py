from __future__ import annotations

import contextlib
import io
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moby import proc
from moby.errors import IntegrityError
from moby.formats import qcow2, vhd, vhdx, virtualdisk, vmdk
from tests.support import disks

ID = uuid.UUID(int=7)


def _vmdk(disk: BinaryIO, out: BinaryIO) -> None:
    vmdk.write(disk, out, content_id=1)


WRITERS: dict[str, tuple[str, Callable[[BinaryIO, BinaryIO], None]]] = {
    "qcow2": ("qcow2", qcow2.write),
    "qcow2 plain": ("qcow2", lambda disk, out: qcow2.write(disk, out, compress=False)),
    "vhd": ("vhd", lambda disk, out: vhd.write_fixed(disk, out, id=ID)),
    "dynamic vhd": ("vhd", lambda disk, out: vhd.write_dynamic(disk, out, id=ID)),
    "vhdx": ("vhdx", lambda disk, out: vhdx.write(disk, out, id=ID)),
    "vmdk": ("vmdk", _vmdk),
}


def written(name: str, raw: bytes) -> BinaryIO:
    out = io.BytesIO()
    WRITERS[name][1](io.BytesIO(raw), out)
    return out


def same(found: BinaryIO, raw: bytes) -> bool:
    """What is longer must be zero."""
    data = found.read()
    return data[: len(raw)] == raw and not any(data[len(raw) :])


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=10, deadline=None)
@given(parts=st.dictionaries(st.integers(0, 5000), st.binary(min_size=1, max_size=2000), max_size=6))
def test_reads_what_we_write(name: str, parts: dict[int, bytes]) -> None:
    raw = bytearray(6 << 20)
    for sector, data in parts.items():
        raw[sector * 512 : sector * 512 + len(data)] = data
    image = written(name, bytes(raw))
    assert virtualdisk.identify(image) == WRITERS[name][0]
    assert same(virtualdisk.open_disk(image), bytes(raw))


@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [
        ("qcow2", "qcow2", ["-o", "compat=0.10,cluster_size=4k"]),
        ("qcow2", "qcow2", ["-c", "-o", "cluster_size=2M"]),
        ("vpc", "vhd", []),
        ("vpc", "vhd", ["-o", "subformat=fixed"]),
        ("vhdx", "vhdx", ["-o", "block_size=2M"]),
        ("vmdk", "vmdk", ["-o", "subformat=streamOptimized"]),
        ("vmdk", "vmdk", []),
    ],
)
def test_reads_what_qemu_writes(tmp_path: Path, kind: str, name: str, options: list[str]) -> None:
    raw = disks.make(tmp_path, *disks.SAMPLES["mixed"])
    image = tmp_path / "image"
    proc.run(["qemu-img", "convert", "-f", "raw", "-O", kind, *options, raw, image])
    with image.open("rb") as stream:
        assert virtualdisk.identify(stream) == name
        assert same(virtualdisk.open_disk(stream), raw.read_bytes())


def test_seeks() -> None:
    disk = virtualdisk.open_disk(written("qcow2", b"a" * 100_000 + b"b" * 100_000))
    disk.seek(99_999)
    assert disk.read(2) == b"ab"
    disk.seek(-1, io.SEEK_END)
    assert disk.read(1) == b"\0"
    disk.seek(1 << 40)
    assert disk.read(1) == b""


def test_other_files_are_no_disks() -> None:
    assert virtualdisk.identify(io.BytesIO(b"")) == ""
    assert virtualdisk.identify(io.BytesIO(b"x" * 5000)) == ""


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_damaged_ones_are_refused_or_read(name: str, data: st.DataObject) -> None:
    image = bytearray(written(name, b"text" * 20_000).getbuffer())  # type: ignore[attr-defined]  # a BytesIO
    start = data.draw(st.integers(0, min(len(image) - 8, 4000)))
    image[start : start + 8] = data.draw(st.binary(min_size=8, max_size=8))
    image = image[: data.draw(st.integers(600, len(image)))]
    stream = io.BytesIO(bytes(image))
    if not virtualdisk.identify(stream):
        return
    with contextlib.suppress(IntegrityError):
        virtualdisk.open_disk(stream).read(1 << 20)


def test_what_is_not_understood_is_refused(tmp_path: Path) -> None:
    raw = disks.make(tmp_path, 1 << 20, {0: b"x"})
    based = tmp_path / "based"
    proc.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", based])
    with based.open("rb") as stream, pytest.raises(IntegrityError, match="backing file"):
        virtualdisk.open_disk(stream)
