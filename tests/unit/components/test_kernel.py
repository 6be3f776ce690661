"""A kernel package becomes ``kernel``, ``kernel.tar`` and ``kernel_config``."""

from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from moby.artifact import Architecture
from moby.components.kernel import KernelFiles
from moby.components.model import Kernel
from moby.components.tree import Tree
from moby.errors import ConfigError, IntegrityError
from moby.formats.entry import file
from tests.support.elfs import module

VERSION = "6.12.117+deb13-cloud-amd64"
BASE = f"usr/lib/modules/{VERSION}"


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Tree]:
    with Tree(tmp_path) as tree:
        tree.add([file(f"boot/vmlinuz-{VERSION}", b"vmlinuz"), file(f"boot/config-{VERSION}", b"CONFIG_X=y\n")])
        tree.add([file(f"boot/System.map-{VERSION}", b"")])
        for path, data in {
            "drivers/net/virtio_net.ko.xz": module("virtio_net", depends=["failover"], aliases=["virtio:d1"]),
            "net/failover.ko.xz": module("failover"),
            "fs/squashfs.ko.xz": module("squashfs"),
            "drivers/ata/ata_piix.ko.xz": module("ata_piix"),
        }.items():
            tree.add([file(f"{BASE}/kernel/{path}", lzma.compress(data))])
        tree.add([file(f"{BASE}/modules.builtin", b"kernel/fs/ext4.ko\n")])
        tree.add([file(f"{BASE}/modules.order", b"kernel/net/failover.ko.xz\nkernel/fs/squashfs.ko.xz\n")])
        yield tree


def made(
    package: Tree, wanted: Kernel, scratch: Path, architecture: Architecture = Architecture.AMD64
) -> dict[str, bytes]:
    found = {}
    for entry in KernelFiles(package, wanted, architecture, where="build.yml").entries(scratch):
        found[entry.path] = entry.data if isinstance(entry.data, bytes) else entry.data.read()
    return found


def archive(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        members = [member for member in opened if member.isfile()]
        return {
            member.name.removeprefix(f"lib/modules/{VERSION}/"): opened.extractfile(member).read()  # type: ignore[union-attr]
            for member in members
        }


def test_has_kernel_configuration_and_chosen_modules(package: Tree, tmp_path: Path) -> None:
    found = made(package, Kernel(modules=("virtio_net", "ext4"), available=("squashfs",)), tmp_path)
    assert found["kernel"] == b"vmlinuz"
    assert found["kernel_config"] == b"CONFIG_X=y\n"
    assert sorted(found) == ["kernel", "kernel.tar", "kernel_config"]
    files = archive(found["kernel.tar"])
    assert [path for path in files if path.endswith(".ko")] == [
        "kernel/drivers/net/virtio_net.ko",
        "kernel/fs/squashfs.ko",
        "kernel/net/failover.ko",
    ]
    assert files["kernel/fs/squashfs.ko"] == module("squashfs")


def test_indexes_are_those_that_kmod_and_init_read(package: Tree, tmp_path: Path) -> None:
    wanted = Kernel(modules=("virtio_net",), available=("squashfs",))
    files = archive(made(package, wanted, tmp_path)["kernel.tar"])
    assert files["modules.moby"] == b"kernel/net/failover.ko\nkernel/drivers/net/virtio_net.ko\n"
    assert files["modules.dep"].decode().splitlines() == [
        "kernel/drivers/net/virtio_net.ko: kernel/net/failover.ko",
        "kernel/fs/squashfs.ko:",
        "kernel/net/failover.ko:",
    ]
    assert files["modules.alias"] == b"alias virtio:d1 virtio_net\n"
    assert files["modules.builtin"] == b"kernel/fs/ext4.ko\n"
    assert files["modules.order"] == b"kernel/net/failover.ko\nkernel/fs/squashfs.ko\n"


def test_modules_for_other_architectures_are_left_out(package: Tree, tmp_path: Path) -> None:
    wanted = Kernel(modules=("failover", "ata_piix [amd64]"))
    assert b"ata_piix" in archive(made(package, wanted, tmp_path)["kernel.tar"])["modules.moby"]
    other = archive(made(package, wanted, tmp_path, Architecture.ARM64)["kernel.tar"])
    assert b"ata_piix" not in other["modules.moby"]


def test_a_star_takes_all(package: Tree, tmp_path: Path) -> None:
    files = archive(made(package, Kernel(available=("*",)), tmp_path)["kernel.tar"])
    assert sum(path.endswith(".ko") for path in files) == 4
    assert files["modules.moby"] == b""


def test_tags_follow_the_release(package: Tree) -> None:
    assert KernelFiles(package, Kernel(), Architecture.AMD64, where="x").tags == ("6.12.x", "6.12.117")


def test_unknown_module_is_refused(package: Tree, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no module virtio_blk"):
        made(package, Kernel(modules=("virtio_blk",)), tmp_path)


def test_a_package_without_a_kernel_is_refused(tmp_path: Path) -> None:
    with Tree(tmp_path) as tree, pytest.raises(IntegrityError, match="0 kernels"):
        KernelFiles(tree, Kernel(), Architecture.AMD64, where="x")


def test_chosen_device_trees_are_carried(package: Tree, tmp_path: Path) -> None:
    base = f"usr/lib/linux-image-{VERSION}/broadcom"
    package.add([file(f"{base}/a-1.dtb", b"one"), file(f"{base}/b.dtb", b"other")])
    files = made(package, Kernel(dtb=("broadcom/a*",)), tmp_path)
    with tarfile.open(fileobj=io.BytesIO(files["kernel.tar"])) as archive:
        assert [name for name in archive.getnames() if "boot" in name] == [
            "boot",
            "boot/dtb",
            "boot/dtb/broadcom",
            "boot/dtb/broadcom/a-1.dtb",
        ]
    with pytest.raises(IntegrityError, match="no device tree is called broadcom/c"):
        made(package, Kernel(dtb=("broadcom/c*",)), tmp_path)
