"""Local back ends: an ``Artifact`` or an image on disk becomes a running ``Machine``.

    options.py     what can be asked (``RunOptions`` and the words of the flags)
    resolve.py     what the image argument means (``Boot``)
    toolset.py     QEMU's programs and firmware
    probe.py       does the host's accelerator work (probe_kernel.py: the kernel that tells)
    commandline.py QEMU's command line, a pure function
    vmlinux.py     a kernel that need not unpack itself
    state.py       the state directory, and the machines that run
    qemu.py        start                  child.py, qmp.py, tpm.py: its process, its monitor, its TPM
    start.py       ``moby.run``
    machine.py     wait, stop, status     terminal.py: in the foreground; page.py, ready.py: does the guest answer

A back end is a function in ``MACHINES``: another one is a file plus a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from moby.artifact import Artifact
from moby.context import Context
from moby.errors import ConfigError
from moby.machines import qemu
from moby.machines.machine import Machine
from moby.machines.options import RunOptions
from moby.machines.resolve import Boot
from moby.machines.toolset import Finder


class BackEnd(Protocol):
    """Starts a machine; see ``qemu.run``."""

    def __call__(
        self,
        target: Artifact | Boot | Path | str,
        options: RunOptions,
        context: Context,
        *,
        find_qemu: Finder | None = None,
        attach: bool = False,
    ) -> Machine:
        """Start ``target`` as ``options`` say."""
        ...


MACHINES: Mapping[str, BackEnd] = {"qemu": qemu.run}


def named(back_end: str) -> BackEnd:
    """The back end of that name. Raises ``ConfigError`` when there is none."""
    found = MACHINES.get(back_end)
    if found is None:
        raise ConfigError(f"there is no back end {back_end!r}", fix=f"known: {', '.join(MACHINES)}")
    return found
