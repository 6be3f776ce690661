"""Programs that the tests judge our output with: from PATH where they are, else unpacked from Debian packages.

python -m tests.support.tools     prints a PATH that has them all
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from moby import log
from moby.components.packages import Packages
from moby.components.tools import Tools
from moby.context import Context

RECIPE = Path(__file__).parents[1] / "tools"
_USER = (
    "cpio",
    "docker-registry",
    "dump.erofs",
    "fsck.erofs",
    "mkfs.erofs",
    "mksquashfs",
    "qemu-img",
    "scp",
    "skopeo",
    "ssh",
    "ssh-keygen",
    "syslinux",
    "unsquashfs",
)
_ADMIN = ("fsck.fat", "sfdisk", "sgdisk", "veritysetup")
PROGRAMS = {
    **{name: f"usr/bin/{name}" for name in _USER},
    **{name: f"usr/sbin/{name}" for name in _ADMIN},
    "readelf": "usr/bin/x86_64-linux-gnu-readelf",
    **{name: "usr/bin/mtools" for name in ("mcopy", "mdir", "minfo")},  # one program, told apart by its name
}


def search_path(context: Context) -> str:
    """PATH, before it a directory with what it lacks of ``PROGRAMS``."""
    path = context.environment.get("PATH", os.defpath)
    missing = {name: place for name, place in PROGRAMS.items() if shutil.which(name, path=path) is None}
    if not missing:
        return path
    found = Tools(context, Packages(context)).others(RECIPE, missing)
    return os.pathsep.join([str(found.program(next(iter(missing))).parent), path])


if __name__ == "__main__":
    log.use(log.Console())
    print(search_path(Context.from_environment()))
