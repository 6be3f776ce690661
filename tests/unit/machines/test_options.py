from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby.errors import ConfigError
from moby.machines.options import (
    Disk,
    Networking,
    NetworkKind,
    Publish,
    RunOptions,
    parse_size_mib,
    read_data,
)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("8080:80", Publish(host_port=8080, guest_port=80)),
        ("8080:80/tcp", Publish(host_port=8080, guest_port=80)),
        ("53:53/UDP", Publish(host_port=53, guest_port=53, protocol="udp")),
        ("0.0.0.0:1:65535", Publish(host_port=1, guest_port=65535, address="0.0.0.0")),
        ("[::1]:8080:80", Publish(host_port=8080, guest_port=80, address="::1")),
    ],
)
def test_reads_published_ports(text: str, want: Publish) -> None:
    assert Publish.parse(text) == want


@pytest.mark.parametrize("text", ["8080:80", "53:53/udp", "0.0.0.0:1:65535", "[::1]:8080:80", "[::]:53:53/udp"])
def test_a_port_is_read_as_it_was_told(text: str) -> None:
    assert Publish.told(str(Publish.parse(text))) == Publish.parse(text)


@pytest.mark.parametrize("text", ["", "80", "0:80", "80:0", "80:65536", "80:80/sctp", "a:80", "80:80/", " 80:80"])
def test_refuses_other_ports(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot read the port"):
        Publish.parse(text)


@given(st.integers(1, 65535), st.integers(1, 65535), st.sampled_from(["tcp", "udp"]))
def test_every_pair_of_ports_is_read_as_written(host: int, guest: int, protocol: str) -> None:
    assert str(Publish.parse(f"{host}:{guest}/{protocol}")) == f"127.0.0.1:{host}->{guest}/{protocol}"


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("data.img", Disk(path=Path("data.img"))),
        ("file=data.img,size=1G", Disk(path=Path("data.img"), size_mib=1024)),
        ("size=2", Disk(size_mib=2048)),
        ("size=512M,format=raw", Disk(size_mib=512, format="raw")),
        ("a,format=vhd", Disk(path=Path("a"), format="vpc")),
    ],
)
def test_reads_disks(text: str, want: Disk) -> None:
    assert Disk.parse(text) == want


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "cannot read ''"),
        ("format=raw", "needs a path or a size"),
        ("a,colour=red", "cannot read 'colour=red'"),
        ("a,format=ext4", "unknown disk format 'ext4'"),
        ("a,size=0", "cannot read the size '0'"),
        ("a,size=1T", "cannot read the size '1T'"),
    ],
)
def test_refuses_other_disks(text: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        Disk.parse(text)


@given(st.text())
def test_any_text_is_a_disk_or_a_config_error(text: str) -> None:
    try:
        Disk.parse(text)
    except ConfigError as error:
        assert error.fix


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("default", Networking()),
        ("user", Networking()),
        ("none", Networking(kind=NetworkKind.NONE)),
        ("tap,tap0", Networking(kind=NetworkKind.TAP, interface="tap0")),
        ("bridge,br0", Networking(kind=NetworkKind.BRIDGE, interface="br0")),
    ],
)
def test_reads_networks(text: str, want: Networking) -> None:
    assert Networking.parse(text) == want


@pytest.mark.parametrize("text", ["", "tap", "bridge,", "user,eth0", "tap,a,b", "wifi"])
def test_refuses_other_networks(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot read the network"):
        Networking.parse(text)


def test_sizes_are_mebibytes_unless_said_otherwise() -> None:
    assert [parse_size_mib(text) for text in ("512", "512m", "2G")] == [512, 512, 2048]


@pytest.mark.parametrize(
    "options",
    [
        {"cpus": 0},
        {"memory_mib": 0},
        {"publish": (Publish(host_port=1, guest_port=1),), "networking": Networking(kind=NetworkKind.NONE)},
        {"gui": True, "detach": True},
    ],
)
def test_refuses_options_that_exclude_each_other(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        RunOptions(**options)  # type: ignore[arg-type]  # the table holds several types


def test_data_comes_from_one_place(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"\0\xff")
    assert read_data(None, None) is None
    assert read_data("text", None) == b"text"
    assert read_data(None, path) == b"\0\xff"
    with pytest.raises(ConfigError, match="exclude each other"):
        read_data("", path)
    with pytest.raises(ConfigError, match="cannot read the data"):
        read_data(None, tmp_path / "absent")
