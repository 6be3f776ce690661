from __future__ import annotations

import io
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moby import proc
from moby.formats import qcow2
from tests.support import disks

CLUSTER = qcow2.CLUSTER_BYTES


def written(raw: bytes, *, compress: bool = True) -> bytes:
    out = io.BytesIO()
    qcow2.write(io.BytesIO(raw), out, compress=compress)
    return out.getvalue()


@pytest.mark.parametrize(("size", "said"), [(0, 0), (1, 512), (7 * CLUSTER + 1536, 7 * CLUSTER + 1536)])
def test_the_size_is_whole_sectors(size: int, said: int, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(written(b"\1" * size))
    info = json.loads(proc.run(["qemu-img", "info", "--output=json", tmp_path / "image"]))
    assert info["virtual-size"] == said
    assert info["format-specific"]["data"] == {
        "compat": "1.1",
        "compression-type": "zlib",
        "lazy-refcounts": False,
        "refcount-bits": 16,
        "corrupt": False,
        "extended-l2": False,
    }


def test_many_packed_clusters_share_one_of_the_file(tmp_path: Path) -> None:
    raw = b"".join(bytes([number % 255 + 1]) * CLUSTER for number in range(500))
    (tmp_path / "raw").write_bytes(raw)
    (tmp_path / "image").write_bytes(written(raw))
    assert len(written(raw)) <= 10 * CLUSTER
    disks.compare(tmp_path / "raw", tmp_path / "image", "qcow2")
    disks.check(tmp_path / "image", "qcow2")


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"", b"\1" * CLUSTER, bytes(range(256)) * 256, None]),
        max_size=12,
    ),
    st.booleans(),
    st.integers(0, 1 << 32),
)
def test_qemu_finds_any_mixture_sound(
    tmp_path_factory: pytest.TempPathFactory, clusters: list[bytes | None], compress: bool, seed: int
) -> None:
    """Zeros, what packs well, and what does not pack at all, next to each other."""
    noise = random.Random(seed).randbytes(CLUSTER)
    raw = b"".join(noise if each is None else each.ljust(CLUSTER, b"\0") for each in clusters)
    folder = tmp_path_factory.mktemp("qcow2")
    (folder / "raw").write_bytes(raw)
    (folder / "image").write_bytes(written(raw, compress=compress))
    if raw:
        disks.compare(folder / "raw", folder / "image", "qcow2")
    disks.check(folder / "image", "qcow2")
