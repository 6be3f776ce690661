"""How QEMU starts a kernel, and that one that panics ends the machine with status 3, however early it does so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import moby
from moby import log
from moby.artifact import Artifact
from moby.machines import vmlinux
from moby.machines.machine import PANIC
from moby.machines.options import RunOptions

pytestmark = pytest.mark.boot


def kernel_alone(directory: Path) -> Sequence[Artifact]:
    """A build without an init, at whose place the kernel panics."""
    (directory / "panic.yml").write_text('kernel: {image: "@pkg:kernel", cmdline: console=ttyS0}\n')
    return moby.build(directory / "panic.yml", directory=directory)


@pytest.mark.parametrize("by_itself", [False, True], ids=["unpacked-here", "unpacks-itself"])
@pytest.mark.shows("A kernel panic ends moby run with status 3", by="boot")
def test_a_kernel_without_an_init_panics_with_status_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_itself: bool
) -> None:
    artifacts = kernel_alone(tmp_path)
    if by_itself:
        monkeypatch.setattr(vmlinux, "unpack", lambda kernel, out: False)
    with moby.run(artifacts, options=RunOptions(accelerator="tcg")) as machine:
        loaded = Path(f"/proc/{machine.pid}/cmdline").read_bytes().split(b"\0")
        assert loaded[loaded.index(b"-kernel") + 1].startswith(b"/dev/fd/") is not by_itself
        assert machine.wait(timeout_s=60) == PANIC
    console = machine.console.text()
    assert "Kernel panic - not syncing" in console
    assert "ACPI: Interpreter enabled" in console


def test_a_machine_with_a_tpm_has_all_of_its_acpi_tables(tmp_path: Path) -> None:
    artifacts = kernel_alone(tmp_path)
    with moby.run(artifacts, options=RunOptions(accelerator="tcg", tpm=True)) as machine:
        assert machine.wait(timeout_s=60) == PANIC
    console = machine.console.text()
    assert "ACPI: TPM2" in console
    assert "ACPI: Interpreter enabled" in console


def test_screen_is_offered_where_there_is_no_desktop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    with log.reporting(log.Console()):
        options = RunOptions(accelerator="tcg", gui=True)
        with moby.run(kernel_alone(tmp_path), options=options) as machine:
            assert machine.wait(timeout_s=60) == PANIC
    assert "VNC server running on" in capsys.readouterr().err
    assert "Console: colour VGA+" in machine.console.text()
