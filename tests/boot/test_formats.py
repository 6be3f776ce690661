"""Every format that boots does so to the web page, and docs/formats.md says which."""

from __future__ import annotations

import re
import shutil
import socket
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
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
    Case("gcp", Firmware.BIOS),
    Case("ova", Firmware.BIOS),
    Case("uki", Firmware.EFI),
    Case("uki", Firmware.EFI, "arm64"),
)
# Archives: the disk in them is what a cloud or a hypervisor boots.
DISKS = {"gcp": "disk.raw", "ova": ".vmdk"}
HEAD = """\
# Output formats

Every row of the first table was booted by the tests to the same web page (`scripts/test --all`, QEMU's emulator; of
`gcp` and `ova` the disk in the archive). The seconds from QEMU's start to the page are of one run on whichever machine
made this page: they say that it boots, not how fast. `rpi3` boots on QEMU's board in `tests/boot/test_rpi3.py`; kernel
and initrd of `netboot` are those of `kernel+initrd`.

This page is made by `pytest tests/boot/test_formats.py -m "long or not long" --update-golden`.

| Format | `--root` | Firmware | Architecture | Seconds |
|---|---|---|---|---|
"""
SECONDS = re.compile(r"^(\|(?: [^|]+ \|){4}) ([0-9.]+|-) \|$", re.MULTILINE)
SECOND = """
## All formats

| Format | Files | Is |
|---|---|---|
"""


def parameters() -> Iterator[object]:
    for case in CASES:
        name = "-".join(filter(None, (case.format, case.root, case.firmware.value, case.architecture)))
        yield pytest.param(case, id=name, marks=() if case.quick else pytest.mark.long)


def page(seconds: Mapping[str, str]) -> str:
    """docs/formats.md; ``seconds`` are those of rows."""
    booted = "".join(
        f"{case.row} {seconds.get(case.row, '-')} |\n" for case in sorted(CASES, key=lambda each: each.row)
    )
    listed = "".join(
        f"| {name} | {', '.join(f'`NAME{file.suffix}`' for file in format.files)} | {format.description} |\n"
        for name, format in sorted(FORMATS.items())
    )
    return HEAD + booted + SECOND + listed


def without_seconds(text: str) -> str:
    return SECONDS.sub(r"\1 - |", text)


Builder = Callable[[Case], Artifact]


@pytest.fixture(scope="module")
def seconds() -> dict[str, str]:
    """How long rows took in this run."""
    return {}


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


def bootable(artifact: Artifact, folder: Path) -> Artifact | Path:
    """What is booted of an artifact: of an archive the disk in it."""
    if artifact.format not in DISKS:
        return artifact
    ((_, path),) = artifact.files
    with tarfile.open(path) as archive:
        (member,) = [each for each in archive if each.name.endswith(DISKS[artifact.format])]
        disk = archive.extractfile(member)
        assert disk is not None
        with (folder / member.name).open("wb") as out:
            shutil.copyfileobj(disk, out, 1 << 20)
    return folder / member.name


def boot(target: Artifact | Path, firmware: Firmware) -> tuple[bytes, float]:
    """The page of a machine and the seconds until it came."""
    port = free_port()
    begin = time.monotonic()
    options = RunOptions(accelerator="tcg", memory_mib=512)
    context = Context.from_environment()
    if isinstance(target, Artifact):
        target = replace(target, firmware=firmware)
    with moby.run(target, publish={port: 80}, options=options, context=context) as machine:
        answer = machine.wait_http(port, timeout_s=120)
        taken = time.monotonic() - begin
        machine.kill()
    return answer, taken


@pytest.mark.parametrize("case", list(parameters()))
def test_the_format_boots_to_the_page(case: Case, built: Builder, seconds: dict[str, str], tmp_path: Path) -> None:
    answer, taken = boot(bootable(built(case), tmp_path), case.firmware)
    assert answer == b"a page of every format"
    seconds[case.row] = f"{taken:.1f}"


def test_the_document_lists_what_is_booted(request: pytest.FixtureRequest, seconds: dict[str, str]) -> None:
    path = Path(__file__).parents[2] / "docs/formats.md"
    if request.config.getoption("--update-golden"):
        known = {found[1]: found[2] for found in SECONDS.finditer(path.read_text())}  # of rows that did not run now
        path.write_text(page(known | seconds))
    assert without_seconds(path.read_text()) == page({})


def test_every_format_that_boots_is_booted() -> None:
    starting = {name for name, format in FORMATS.items() if format.firmware is not Firmware.NONE}
    assert starting - {case.format for case in CASES} <= {"netboot"}, "add a case"
