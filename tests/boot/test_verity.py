"""A root that the kernel checks: it boots, and one changed byte stops the machine."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

import moby
from moby.artifact import Artifact
from moby.machines.machine import PANIC
from moby.machines.options import RunOptions

pytestmark = pytest.mark.boot

YAML = """\
kernel: {image: "@pkg:kernel", cmdline: console=ttyS0 quiet}
init: ["@pkg:init", "@pkg:crun"]
services:
  - {name: dhcpcd, image: "@pkg:dhcpcd"}
  - {name: nginx, image: "@pkg:nginx"}
"""


@pytest.fixture
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Artifact:
    (tmp_path / "web.yml").write_text(YAML)
    options = moby.BuildOptions(architecture="amd64", verity=True)
    (made,) = moby.build(tmp_path / "web.yml", formats=[request.param], directory=tmp_path, options=options)
    return made


FORMATS = ["kernel+squashfs", pytest.param("kernel+erofs", marks=pytest.mark.long)]


@pytest.mark.shows("A root under dm-verity serves the page", by="boot")
@pytest.mark.parametrize("machine", FORMATS, indirect=True)
def test_a_root_under_verity_boots(machine: Artifact) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
    options = RunOptions(accelerator="tcg", memory_mib=256)
    with moby.run(machine, publish={port: 80}, options=options) as running:
        assert running.wait_http(port, timeout_s=60)
        running.kill()


@pytest.mark.shows("One changed byte of a root under dm-verity panics the machine", by="boot")
@pytest.mark.parametrize("machine", FORMATS, indirect=True)
def test_one_changed_byte_stops_the_machine(machine: Artifact) -> None:
    disk = machine.file(machine.format.removeprefix("kernel+"))
    data = bytearray(disk.read_bytes())
    # The first block of all, which every mount reads; what the root is recognised by stays.
    data[3000] ^= 1
    disk.write_bytes(data)
    with moby.run(machine, options=RunOptions(accelerator="tcg", memory_mib=256)) as running:
        assert running.wait(60) == PANIC
