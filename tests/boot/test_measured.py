"""Measured boot: a TPM says of a unified kernel image what was predicted."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import moby
from moby.artifact import Architecture
from moby.formats import pcr
from moby.machines.toolset import find_firmware, host_qemu

pytestmark = pytest.mark.boot

YAML = """\
kernel: {image: "@pkg:kernel", cmdline: console=ttyS0 quiet}
init: ["@pkg:init", "@pkg:crun"]
onboot:
  - name: pcr
    image: "@pkg:busybox"
    command: ["/bin/busybox", "sh", "-c", "echo PCR11=$(cat /sys/class/tpm/tpm0/pcr-sha256/11)= > /dev/ttyS0"]
    binds: ["/dev:/dev"]
"""
PATIENCE_S = 90


@pytest.fixture
def tpm(tmp_path: Path) -> Iterator[Path]:
    """The socket of a TPM that nothing was measured into."""
    program = shutil.which("swtpm")
    assert program is not None
    state, control = tmp_path / "tpm", tmp_path / "tpm.sock"
    state.mkdir()
    options = ["--tpmstate", f"dir={state}", "--ctrl", f"type=unixio,path={control}", "--terminate"]
    process = subprocess.Popen([program, "socket", "--tpm2", *options])
    try:
        deadline = time.monotonic() + 10
        while not control.exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        yield control
    finally:
        process.kill()
        process.wait()


def console_of(image: Path, tpm: Path, folder: Path, until: str) -> str:
    """What a machine says that starts ``image`` from UEFI with a TPM, up to a line with ``until``."""
    tools, log = host_qemu(Architecture.AMD64), folder / "console"
    code, variables = find_firmware(Architecture.AMD64, tools)
    flash = (
        f"if=pflash,format=raw,unit=0,readonly=on,file={code}",
        f"if=pflash,format=raw,unit=1,snapshot=on,file={variables}",
    )
    words = ["-M", "q35", "-accel", "tcg", "-m", "512", "-nodefaults", "-no-reboot", "-display", "none"]
    words += ["-drive", flash[0], "-drive", flash[1], "-serial", f"file:{log}", "-kernel", str(image)]
    words += ["-chardev", f"socket,id=tpm,path={tpm}", "-tpmdev", "emulator,id=tpm0,chardev=tpm"]
    machine = subprocess.Popen([*tools.system, *words, "-device", "tpm-tis,tpmdev=tpm0"], stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and machine.poll() is None:
            said = log.read_text(errors="replace") if log.exists() else ""
            if re.search(until, said):
                return said
            time.sleep(0.2)
        raise AssertionError(f"no {until!r} in {log.read_text(errors='replace')[-2000:]!r}")
    finally:
        machine.kill()
        machine.wait()


@pytest.mark.shows("PCR 11 of a booted unified kernel image is the predicted one", by="boot")
def test_the_tpm_says_what_was_predicted(tmp_path: Path, tpm: Path) -> None:
    (tmp_path / "measured.yml").write_text(YAML)
    options = moby.BuildOptions(architecture="amd64")
    (made,) = moby.build(tmp_path / "measured.yml", formats=["uki"], directory=tmp_path, options=options)
    image = made.file("efi")
    said = console_of(image, tpm, tmp_path, r"PCR11=.*=\r?\n")
    with image.open("rb") as stream:
        assert f"PCR11={pcr.predict(stream).upper()}=" in said
