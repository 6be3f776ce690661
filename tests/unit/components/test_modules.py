"""Modules come with what they need, each after its dependencies."""

from __future__ import annotations

import lzma
from collections.abc import Sequence

import pytest

from moby.components.modules import Modules, name_of
from moby.errors import ConfigError, IntegrityError
from tests.support.elfs import module

FILES = {
    "kernel/drivers/net/virtio_net.ko.xz": lzma.compress(module("virtio_net", depends=["net-failover", "virtio"])),
    "kernel/net/core/net-failover.ko.xz": lzma.compress(module("net_failover", depends=["failover"])),
    "kernel/net/core/failover.ko": module("failover"),
    "kernel/fs/ext4/ext4.ko": module("ext4", depends=["crc16"], pre=["crc32c", "jbd2", "not-there"]),
    "kernel/fs/jbd2.ko": module("jbd2", aliases=["fs-jbd2"]),
    "kernel/lib/crc16.ko": module("crc16"),
    "kernel/a.ko": module("a", depends=["b"]),
    "kernel/b.ko": module("b", depends=["a"]),
    "kernel/broken.ko.xz": b"not xz",
    "kernel/short.ko.xz": lzma.compress(module("short"))[:-20],
    "kernel/Module.symvers": b"",
}


@pytest.fixture
def modules() -> Modules:
    return Modules(FILES, ["kernel/drivers/virtio/virtio.ko"], FILES.__getitem__)


def names(found: Sequence[object]) -> list[str]:
    return [each.name for each in found]  # type: ignore[attr-defined]


def test_each_comes_after_what_it_needs_and_once(modules: Modules) -> None:
    found = modules.order(["virtio_net", "net_failover"], where="x")
    assert names(found) == ["failover", "net_failover", "virtio_net"]


def test_dashes_and_underscores_are_the_same(modules: Modules) -> None:
    assert names(modules.order(["virtio-net"], where="x"))[-1] == "virtio_net"
    assert name_of("kernel/net/vsock-x.ko.xz") == "vsock_x"


def test_built_in_modules_are_left_out(modules: Modules) -> None:
    assert modules.order(["virtio"], where="x") == ()


def test_soft_dependencies_come_first_when_they_exist(modules: Modules) -> None:
    assert names(modules.order(["ext4"], where="x")) == ["jbd2", "crc16", "ext4"]


def test_a_line_of_modules_dep_is_loaded_from_its_end(modules: Modules) -> None:
    net = modules.get("virtio_net")
    assert names(modules.closure(net, where="x")) == ["net_failover", "failover"]


def test_compressed_modules_are_unpacked(modules: Modules) -> None:
    found = modules.get("virtio_net")
    assert found.path == "kernel/drivers/net/virtio_net.ko"
    assert found.data.startswith(b"\x7fELF")


def test_unknown_modules_get_a_suggestion(modules: Modules) -> None:
    with pytest.raises(ConfigError, match="no module virtio_nett") as caught:
        modules.order(["virtio_nett"], where="build.yml")
    assert (caught.value.where, caught.value.fix) == ("build.yml", "did you mean virtio_net?")


def test_a_circle_is_an_error(modules: Modules) -> None:
    with pytest.raises(IntegrityError, match="a → b → a"):
        modules.order(["a"], where="x")


@pytest.mark.parametrize("name", ["broken", "short"])
def test_damaged_modules_are_an_error(modules: Modules, name: str) -> None:
    with pytest.raises(IntegrityError, match=r"xz|truncated"):
        modules.get(name)
