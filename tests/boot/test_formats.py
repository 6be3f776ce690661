"""Every format that boots does so to the web page, and docs/formats.md says which."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import moby
from moby.artifact import Artifact, Firmware
from moby.context import Context
from moby.machines.options import RunOptions
from moby.outputs import FORMATS

pytestmark = pytest.mark.boot

YAML = """\
kernel: {image: "@pkg:kernel", cmdline: console=ttyS0 console=ttyAMA0 quiet}
init: ["@pkg:init", "@pkg:crun"]
services:
  - {name: dhcpcd, image: "@pkg:dhcpcd"}
  - {name: nginx, image: "@pkg:nginx", binds: ["/etc/page:/usr/share/nginx/html:ro"]}
files:
  - {path: etc/page/index.html, contents: "a page of every format", mode: "0644"}
"""


@dataclass(frozen=True)
class Case:
    """One way a format boots; ``quick`` ones run in CI, the rest with the long tests."""

    format: str
    firmware: Firmware
    architecture: str = "amd64"
    quick: bool = False
    root: str = ""

    @property
    def row(self) -> str:
        return f"| {self.format} | {self.root or '-'} | {self.firmware.value} | {self.architecture} |"


CASES = (
    Case("kernel+initrd", Firmware.DIRECT, quick=True),
    Case("kernel+initrd", Firmware.DIRECT, "arm64"),
    Case("iso", Firmware.BIOS, quick=True),
    Case("iso", Firmware.EFI),
    Case("iso-efi-initrd", Firmware.EFI),
    Case("raw-bios", Firmware.BIOS, quick=True),
    Case("raw-efi", Firmware.EFI, quick=True),
    Case("raw-efi", Firmware.EFI, "arm64"),
    Case("iso-bios", Firmware.BIOS),
    Case("iso-efi", Firmware.EFI),
    Case("kernel+squashfs", Firmware.DIRECT, quick=True),
    Case("kernel+squashfs", Firmware.DIRECT, "arm64"),
    Case("kernel+erofs", Firmware.DIRECT),
    Case("kernel+iso", Firmware.DIRECT),
    Case("raw-efi", Firmware.EFI, root="squashfs"),
    Case("raw-efi", Firmware.EFI, root="erofs"),
    Case("raw-bios", Firmware.BIOS, root="squashfs"),
    Case("qcow2-efi", Firmware.EFI, root="squashfs"),
    Case("aws", Firmware.BIOS),
    Case("qcow2-bios", Firmware.BIOS),
    Case("qcow2-efi", Firmware.EFI),
    Case("vhd", Firmware.BIOS),
    Case("dynamic-vhd", Firmware.BIOS),
    Case("azure", Firmware.BIOS),
    Case("vhdx", Firmware.EFI),
    Case("vmdk", Firmware.BIOS),
)
HEAD = """\
# Output formats

Every row of the first table was booted by the tests to the same web page (`scripts/test --all`, QEMU's emulator). This
page is made from the tests by `pytest tests/boot/test_formats.py --update-golden`.

| Format | `--root` | Firmware | Architecture |
|---|---|---|---|
"""
SECOND = """
## All formats

| Format | Files | Is |
|---|---|---|
"""


def parameters() -> Iterator[object]:
    for case in CASES:
        name = "-".join(filter(None, (case.format, case.root, case.firmware.value, case.architecture)))
        yield pytest.param(case, id=name, marks=() if case.quick else pytest.mark.long)


def page() -> str:
    """docs/formats.md."""
    booted = "".join(f"{case.row}\n" for case in sorted(CASES, key=lambda each: each.row))
    listed = "".join(
        f"| {name} | {', '.join(f'`NAME{file.suffix}`' for file in format.files)} | {format.description} |\n"
        for name, format in sorted(FORMATS.items())
    )
    return HEAD + booted + SECOND + listed


Builder = Callable[[Case], Artifact]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Builds a format for an architecture, each once."""
    directory = tmp_path_factory.mktemp("formats")
    (directory / "web.yml").write_text(YAML)
    made: dict[tuple[str, str, str], Artifact] = {}

    def build(case: Case) -> Artifact:
        key = (case.format, case.architecture, case.root)
        if key not in made:
            options = moby.BuildOptions(architecture=case.architecture, root=case.root)
            name = "-".join(key)
            (made[key],) = moby.build(
                directory / "web.yml", formats=[case.format], name=name, directory=directory, options=options
            )
        return made[key]

    return build


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def boot(artifact: Artifact, firmware: Firmware) -> tuple[bytes, float]:
    """The page of a machine and the seconds until it came."""
    port = free_port()
    begin = time.monotonic()
    options = RunOptions(accelerator="tcg", memory_mib=512)
    context = Context.from_environment()
    target = replace(artifact, firmware=firmware)
    with moby.run(target, publish={port: 80}, options=options, context=context) as machine:
        answer = machine.wait_http(port, timeout_s=120)
        taken = time.monotonic() - begin
        machine.kill()
    return answer, taken


@pytest.mark.parametrize("case", list(parameters()))
def test_the_format_boots_to_the_page(case: Case, built: Builder) -> None:
    answer, taken = boot(built(case), case.firmware)
    assert answer == b"a page of every format"
    print(f"{case.row} {taken:.1f} s")


def test_the_document_lists_what_is_booted(request: pytest.FixtureRequest) -> None:
    path = Path(__file__).parents[2] / "docs/formats.md"
    if request.config.getoption("--update-golden"):
        path.write_text(page())
    assert path.read_text() == page()


def test_every_format_that_boots_is_booted() -> None:
    bootable = {name for name, format in FORMATS.items() if format.firmware is not Firmware.NONE}
    packed = {"gcp"}  # a disk in an archive, which the unit tests compare with the disk
    assert bootable - packed - {case.format for case in CASES} <= {"netboot", "uki"}, "add a case"
