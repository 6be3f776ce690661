"""Secure Boot: firmware with our keys starts what they signed, and nothing else."""

from __future__ import annotations

import io
import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest

import moby
from moby.artifact import Architecture
from moby.cli import main as cli
from moby.components.packages import Packages
from moby.components.tools import Tools
from moby.errors import IntegrityError
from moby.formats import pe
from moby.machines.machine import REFUSED
from moby.machines.options import RunOptions
from moby.machines.toolset import Finder, Toolset, finder

pytestmark = pytest.mark.boot

YAML = """\
kernel: {image: "@pkg:kernel", cmdline: console=ttyS0 quiet}
init: ["@pkg:init", "@pkg:crun"]
services:
  - {name: dhcpcd, image: "@pkg:dhcpcd"}
  - {name: nginx, image: "@pkg:nginx"}
"""
DENIED = "Access Denied"
PATIENCE_S = 60


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keys")
    for name in ("ours", "others"):
        assert cli.main(["-q", "keys", "create", "--vars", "--arch", "amd64", str(directory / name)]) == 0
    return directory


def build(folder: Path, keys: Path | None) -> Path:
    folder.mkdir()
    (folder / "web.yml").write_text(YAML)
    options = moby.BuildOptions(architecture="amd64")
    if keys is not None:
        options = replace(options, sign_key=keys / "db.key", sign_certificate=keys / "db.crt")
    (made,) = moby.build(folder / "web.yml", formats=["raw-efi"], directory=folder, options=options)
    return made.file("disk")


def options(variables: Path) -> RunOptions:
    return RunOptions(accelerator="tcg", memory_mib=512, variables=variables)


def packaged(architecture: Architecture) -> Toolset:
    """This host's QEMU with the firmware that hosts get that have none."""
    context = moby.Context.from_environment()
    firmware = Tools(context, Packages(context)).firmware(architecture, secure=True, packaged=True)
    return replace(finder(context)(architecture), firmware=lambda _: (firmware.code, firmware.variables))


def refused(disk: Path, variables: Path, find_qemu: Finder | None = None) -> bool:
    """Whether the firmware denies access and the machine ends with the status that says so."""
    with moby.run(disk, options=options(variables), find_qemu=find_qemu) as machine:
        status = machine.wait(PATIENCE_S)
        machine.kill()
    return status == REFUSED and DENIED in machine.console.text()


@pytest.mark.shows("Secure Boot starts an image signed with enrolled keys", by="boot")
def test_a_signed_image_boots(tmp_path: Path, keys: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
    disk = build(tmp_path / "signed", keys / "ours")
    with moby.run(disk, publish={port: 80}, options=options(keys / "ours/vars-amd64.fd")) as machine:
        assert machine.wait_http(port, timeout_s=PATIENCE_S)
        machine.kill()


@pytest.mark.shows("Secure Boot refuses an unsigned image", by="boot")
def test_an_unsigned_image_is_refused(tmp_path: Path, keys: Path) -> None:
    assert refused(build(tmp_path / "plain", None), keys / "ours/vars-amd64.fd", packaged)


@pytest.mark.long
@pytest.mark.shows("moby run ends when Secure Boot refuses, with status 5", by="boot")
def test_the_command_ends_and_says_why(tmp_path: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disk = build(tmp_path / "plain", None)
    words = ["run", "--accel", "tcg", "--secure-boot", str(keys / "ours/vars-amd64.fd"), str(disk)]
    assert cli.main(words) == REFUSED
    assert "Secure Boot: the firmware denies access to" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.shows("Secure Boot refuses an image signed with another key", by="boot")
def test_another_key_is_refused(tmp_path: Path, keys: Path) -> None:
    assert refused(build(tmp_path / "other", keys / "others"), keys / "ours/vars-amd64.fd")


@pytest.mark.long
@pytest.mark.shows("Secure Boot refuses one changed byte in kernel, initrd or command line", by="boot")
@pytest.mark.parametrize("section", [".linux", ".initrd", ".cmdline"])
def test_one_changed_byte_is_refused(section: str, tmp_path: Path, keys: Path) -> None:
    disk = build(tmp_path / "changed", keys / "ours")
    whole = bytearray(disk.read_bytes())
    start, program = signed_program(bytes(whole))
    found = program.section(section)
    assert found is not None
    whole[start + found.offset + found.virtual_size // 2] ^= 1
    disk.write_bytes(whole)
    assert refused(disk, keys / "ours/vars-amd64.fd")


def signed_program(disk: bytes) -> tuple[int, pe.Image]:
    """Where the EFI program is on a disk; files are contiguous there."""
    for found in re.finditer(b"MZ", disk):
        try:
            image = pe.read(io.BytesIO(disk[found.start() :]))
        except IntegrityError:
            continue
        if image.section(".linux") is not None:
            return found.start(), image
    raise AssertionError("no program")
