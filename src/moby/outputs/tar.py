"""``tar``: the whole root file system as one archive."""

from __future__ import annotations

from moby.formats import tar
from moby.outputs.format import File, Format, Targets
from moby.outputs.source import Source


def _write(source: Source, targets: Targets) -> None:
    with targets.open("tar") as out:
        tar.write(source.entries(), out)


TAR = Format(
    name="tar",
    description="the root file system as a tar archive, with boot/kernel and boot/cmdline",
    files=(File(role="tar", suffix=".tar"),),
    write=_write,
    streamable=True,
)
