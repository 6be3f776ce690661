"""What holds for every output format: the same bytes whatever the circumstances, little memory, little disk."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from moby import proc
from moby.errors import ConfigError
from moby.formats import fat
from moby.formats.content import Content
from moby.outputs import FORMATS, parse_size, write
from tests.support import bootcode, circumstances, images

REPOSITORY = Path(__file__).parents[3]
NOBODY = 65534
YEAR_S = 365 * 24 * 3600
MEMORY_KIB = 120 << 10
# FAT32 is told from its smaller kinds by having at least 65525 clusters (of one sector).
LEAST_FAT32_BYTES = 65525 * 512


def support(module: str, *arguments: object, **environment: str) -> bytes:
    """What a module of tests/support prints, run in a process of its own."""
    path = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "src")))
    command = [sys.executable, "-m", f"tests.support.{module}", *map(str, arguments)]
    return proc.run(command, env={**os.environ, "PYTHONPATH": path, **environment}, timeout_s=120)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A directory that another user can reach."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """A digest of every file of every format, under usual circumstances."""
    folder = tmp_path_factory.mktemp("first")
    found: dict[str, str] = json.loads(support("circumstances", folder, "022", 0, 0, 1, TZ="UTC", LC_ALL="C.UTF-8"))
    assert {name.split()[0] for name in found} == set(FORMATS)
    return found


def test_circumstances_do_not_show(first: Mapping[str, str], open_folder: Path) -> None:
    user = NOBODY if os.geteuid() == 0 else 0
    other = {"TZ": "Asia/Kolkata", "LC_ALL": "C", "LANG": "de_DE", "HOME": "/nonexistent", "PYTHONHASHSEED": "7"}
    found = json.loads(support("circumstances", open_folder, "077", user, 3 * YEAR_S, 1, **other))
    assert found == first


def test_a_second_build_finds_the_first_ones_parts_and_gives_the_same(first: Mapping[str, str], tmp_path: Path) -> None:
    assert json.loads(support("circumstances", tmp_path, "022", 0, -YEAR_S, 2)) == first


@pytest.mark.parametrize(
    "formats",
    [
        pytest.param(("raw-efi", "kernel+squashfs"), id="some"),
        pytest.param(("rpi3",), id="rpi3"),
        pytest.param(tuple(name for name in FORMATS if name != "rpi3"), id="all", marks=pytest.mark.long),
    ],
)
def test_writing_takes_little_memory(formats: tuple[str, ...], tmp_path: Path) -> None:
    assert int(support("memory", tmp_path, 300, *formats)) < MEMORY_KIB


@pytest.mark.parametrize("name", ["raw-efi", "raw-bios", "qcow2-efi", "qcow2-bios", "vhdx", "dynamic-vhd"])
def test_large_disks_are_sparse(name: str, tmp_path: Path) -> None:
    made = circumstances.machine(tmp_path)
    settings = bootcode.settings(made.store, disk_bytes=parse_size("10G"))
    (artifact,) = write(made.plan, made.store, formats=[name], name="web", directory=tmp_path, settings=settings)
    status = artifact.file("disk").stat()
    assert status.st_blocks * 512 <= 32 << 20
    if name.startswith("raw"):
        assert status.st_size == 10 << 30


def test_a_file_over_4_gib_is_refused_by_fat() -> None:
    volume = fat.Volume(label="MOBY", number=1, time_s=images.MTIME_S)
    large = Content(size=4 << 30, open=lambda: pytest.fail("it is not opened"))
    with pytest.raises(ConfigError, match="whose limit is 4 GiB") as caught:
        fat.layout({"initrd.img": large}, volume)
    assert caught.value.where == "initrd.img"


def test_a_size_too_small_for_fat32_only_grows(tmp_path: Path) -> None:
    made = circumstances.machine(tmp_path)
    settings = bootcode.settings(made.store, disk_bytes=1 << 20)
    (artifact,) = write(made.plan, made.store, formats=["raw-efi"], name="web", directory=tmp_path, settings=settings)
    assert artifact.size_bytes > LEAST_FAT32_BYTES
