"""Measured boot: a TPM says of a unified kernel image what was predicted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import moby
from moby.cli import main as cli
from moby.machines.options import RunOptions

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


@pytest.mark.shows("PCR 11 of a booted unified kernel image is the predicted one", by="boot")
def test_the_tpm_says_what_was_predicted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "measured.yml").write_text(YAML)
    options = moby.BuildOptions(architecture="amd64")
    program, disk = moby.build(
        tmp_path / "measured.yml", formats=["uki", "raw-efi"], directory=tmp_path, options=options
    )
    assert cli.main(["measure", str(program.file("efi"))]) == 0
    predicted = next(word for word in capsys.readouterr().out.split() if len(word) == 64)
    running = RunOptions(accelerator="tcg", memory_mib=512, tpm=True)
    with moby.run(disk, options=running) as machine:
        machine.wait_console("PCR11=", timeout_s=PATIENCE_S)
        machine.wait_console(f"PCR11={predicted.upper()}=", timeout_s=5)
    kept = tmp_path / "measured-state" / "tpm"
    assert any(kept.iterdir())
    ended(kept)


def ended(state: Path) -> None:
    """No TPM works on ``state`` any more, shortly after its machine ended."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        told = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        if not any(str(state).encode() in words for words in told):
            return
        time.sleep(0.1)
    raise AssertionError("the TPM outlived its machine")
