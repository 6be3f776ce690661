"""Builds of every format in a process of its own, whose circumstances differ: prints a digest of each file as JSON.

python -m tests.support.circumstances FOLDER UMASK UID CLOCK_SHIFT_S RUNS
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import pkgutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import moby
from moby import outputs
from moby.outputs import FORMATS
from tests.support import bootcode, images
from tests.support.images import Node, image
from tests.support.roots import Root, root

TEXT = """
kernel: {image: k, cmdline: "console=ttyS0"}
init: [init]
services: [{name: web, image: web}]
files: [{path: etc/motd, contents: "hello"}, {path: etc/yes, symlink: motd}]
"""


def machine(folder: Path, architecture: str = "amd64", text: str = TEXT) -> Root:
    """A plan with a kernel, an init, a service and files."""
    labels = {"Labels": {"org.mobyproject.moby.initrd": "zstd,gzip"}}
    web = image(
        [
            {"bin/": "", "bin/web": Node(data=b"w" * 300_000, mode=0o4755), "srv/": images.directory(0o700, uid=33)},
            {"bin/also": images.hardlink("bin/web"), "dev/": "", "dev/null": images.device(1, 3)},
        ],
        {"Cmd": ["/bin/web"]},
        architecture=architecture,
    )
    kernel = {"kernel": bootcode.KERNEL, "kernel.tar": bootcode.MODULES}
    return root(
        folder,
        text,
        {
            "docker.io/library/k": image([kernel], labels, architecture=architecture),
            "docker.io/library/init": image([{"bin/": "", "bin/init": "i" * 5000}], architecture=architecture),
            "docker.io/library/web": web,
        },
        architecture=architecture,
    )


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of every format, which are gone afterwards."""
    found = {}
    for architecture in ("amd64", "arm64"):
        made = machine(folder / architecture, architecture)
        settings = replace(bootcode.settings(made.store), cache=folder / "cache")
        for format in FORMATS.values():
            if bootcode.architecture(format.architectures) != architecture:
                continue
            (artifact,) = outputs.write(
                made.plan, made.store, formats=[format.name], name="web", directory=folder, settings=settings
            )
            for role, path in artifact.files:
                found[f"{format.name} {role}"] = hashlib.sha256(path.read_bytes()).hexdigest()
                path.unlink()
    return found


def _load_everything() -> None:
    """Another user may be unable to read this program later."""
    for module in pkgutil.walk_packages(moby.__path__, "moby."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    "".encode("utf-16-be")  # a codec is a module too


def main(folder: Path, mask: int, user: int, shift_s: int, runs: int) -> None:
    """Change the circumstances, then build."""
    _load_everything()
    os.umask(mask)
    if user:
        os.chown(folder, user, user)
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    os.chdir(folder)
    now = time.time
    time.time = lambda: now() + shift_s
    for _ in range(runs):
        found = digests(folder)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2], 8), *map(int, sys.argv[3:6]))
