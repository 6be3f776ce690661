"""A kernel that panics ends the machine with status 3, however early it does so."""

from __future__ import annotations

from pathlib import Path

import pytest

import moby
from moby.machines import vmlinux
from moby.machines.machine import PANIC
from moby.machines.options import RunOptions

pytestmark = pytest.mark.boot


@pytest.mark.parametrize("by_itself", [False, True], ids=["unpacked-here", "unpacks-itself"])
@pytest.mark.shows("A kernel panic ends moby run with status 3", by="boot")
def test_a_kernel_without_an_init_panics_with_status_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_itself: bool
) -> None:
    (tmp_path / "panic.yml").write_text('kernel: {image: "@pkg:kernel", cmdline: console=ttyS0}\n')
    artifacts = moby.build(tmp_path / "panic.yml", directory=tmp_path)
    if by_itself:
        monkeypatch.setattr(vmlinux, "unpack", lambda kernel, out: False)
    with moby.run(artifacts, options=RunOptions(accelerator="tcg")) as machine:
        loaded = Path(f"/proc/{machine.pid}/cmdline").read_bytes().split(b"\0")
        assert any(word.endswith(b"/vmlinux") for word in loaded) is not by_itself
        assert machine.wait(timeout_s=60) == PANIC
    assert "Kernel panic - not syncing" in machine.console.text()
