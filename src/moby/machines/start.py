"""``moby.run``: boot what was built, or an image by its path or name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from moby.artifact import Artifact, Firmware
from moby.context import Context
from moby.errors import ConfigError
from moby.machines import named
from moby.machines.options import Publish, RunOptions

if TYPE_CHECKING:
    from moby.machines.machine import Machine
    from moby.machines.toolset import Finder


def run(
    target: Artifact | Sequence[Artifact] | str | PathLike[str],
    *,
    publish: Mapping[int, int] | None = None,
    options: RunOptions | None = None,
    context: Context | None = None,
    find_qemu: Finder | None = None,
    back_end: str = "qemu",
) -> Machine:
    """Boot an artifact, or an image by its path or name, and return the running machine.

    ``publish`` maps ports of this host (on the loopback address) to the guest's; they are added to ``options``. Use the
    machine as a context manager: leaving it stops the guest. ``back_end`` is a name of ``moby.machines.MACHINES``.
    Raises ``MobyError``.
    """
    options = options or RunOptions()
    context = context or Context.from_environment()
    ports = tuple(Publish(host_port=host, guest_port=guest) for host, guest in (publish or {}).items())
    options = replace(options, publish=(*options.publish, *ports))
    start = named(back_end)
    return start(bootable(target), options, context, find_qemu=find_qemu)


def bootable(target: Artifact | Sequence[Artifact] | str | PathLike[str]) -> Artifact | Path:
    """The one thing to boot: of several artifacts the first that boots. Raises ``ConfigError`` when there is none."""
    if isinstance(target, Artifact):
        return target
    if isinstance(target, str | PathLike):
        return Path(target)
    for artifact in target:
        if artifact.firmware is not Firmware.NONE:
            return artifact
    raise ConfigError("none of these formats boots by itself", fix="build kernel+initrd, a disk or an ISO")
