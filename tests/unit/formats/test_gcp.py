from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from moby import proc
from moby.formats import gcp
from tests.support import disks

MIB = 1 << 20


@pytest.mark.parametrize("parts", [0, 1, 3, 4, 24, 25, 26, 60])
def test_tar_extracts_any_number_of_parts(parts: int, tmp_path: Path) -> None:
    """Four places fit the header, with the end; then blocks of 21 follow."""
    raw = disks.make(tmp_path, 100 * MIB, {number * MIB: b"%d" % number for number in range(1, parts + 1)})
    image = tmp_path / "image.tar.gz"
    with raw.open("rb") as disk, image.open("wb") as out:
        gcp.write(disk, out, time_s=1492533000)
    listed = proc.run(["tar", "--utc", "-tvzf", image]).decode().split()
    assert listed == ["-rw-r--r--", "0/0", str(1 << 30), "2017-04-18", "16:30", "disk.raw"]
    proc.run(["tar", "-xzf", image, "-C", tmp_path])
    disks.compare(raw, tmp_path / "disk.raw", "raw")
    assert disks.used(tmp_path / "disk.raw") <= (parts + 1) * (64 << 10)


def test_the_size_is_whole_gibibytes(tmp_path: Path) -> None:
    for size, expected in ((0, 1), (1 << 30, 1), ((1 << 30) + 1, 2), (20 << 30, 20)):
        raw = disks.make(tmp_path, size, {})
        out = io.BytesIO()
        with raw.open("rb") as disk:
            gcp.write(disk, out)
        with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
            (member,) = archive.getmembers()
            assert (member.name, member.size, member.issparse()) == ("disk.raw", expected << 30, True)


def test_the_member_is_as_gnu_tar_makes_it(tmp_path: Path) -> None:
    """Byte for byte, but for what is in the data's holes and the padding at the end."""
    raw = disks.make(tmp_path, 1 << 30, {0: b"a" * (64 << 10), 512 * MIB: b"b" * (128 << 10)})
    raw = raw.rename(tmp_path / "disk.raw")
    raw.chmod(0o644)
    theirs = proc.run(
        ["tar", "--format=oldgnu", "-S", "-c", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "disk.raw"],
        cwd=tmp_path,
    )
    out = io.BytesIO()
    with raw.open("rb") as disk:
        gcp.write(disk, out)
    ours = gzip.decompress(out.getvalue())
    assert ours == theirs[: len(ours)]
    assert not any(theirs[len(ours) :])
