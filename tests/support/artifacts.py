"""Small artifacts of all formats that need no tools: of a kernel, a boot stub and files that are made by code."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from moby import outputs
from moby.artifact import Artifact
from moby.outputs.settings import BootCode, Settings
from tests.support import efi, images
from tests.support.images import MadeImage, image
from tests.support.roots import Root, root

VERSION = "6.12.118-amd64"
TEXT = """
kernel: {image: k, cmdline: console=ttyS0}
init: [init]
services: [{name: web, image: web}]
files: [{path: etc/motd, contents: "hello", mode: "0644"}]
"""


def bzimage(version: str = f"{VERSION} (builder) #1") -> bytes:
    """The beginning of an x86 kernel."""
    data = bytearray(0x2000)
    data[0:2] = b"MZ"
    data[0x1FE:0x200] = b"\x55\xaa"
    data[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", data, 0x20E, 0x1000)
    data[0x1200 : 0x1200 + len(version)] = version.encode()
    return bytes(data)


def made(*, motd: str = "hello", page: str = "page") -> dict[str, MadeImage]:
    """The images of ``TEXT``."""
    modules = images.tar({"lib/": "", "lib/a.ko": "module"})
    return {
        "docker.io/library/k": image([{"kernel": bzimage(), "kernel.tar": modules}]),
        "docker.io/library/init": image([{"bin/": "", "bin/init": "init" * 1000, "etc/motd": motd}]),
        "docker.io/library/web": image([{"usr/share/page": page, "l": images.symlink("usr")}]),
    }


def build(folder: Path, formats: Sequence[str], text: str = TEXT, **contents: str) -> tuple[Artifact, ...]:
    """Artifacts named ``web`` in ``folder``."""
    folder.mkdir(exist_ok=True)
    return write(root(folder, text, made(**contents)), folder, formats)


def write(machine: Root, folder: Path, formats: Sequence[str]) -> tuple[Artifact, ...]:
    """As ``build``, of a plan that is there."""
    stub = {"usr/lib/systemd/boot/efi/linuxx64.efi.stub": efi.stub()}
    code = BootCode(machine.store, image([stub]).save(machine.store, "localhost/moby/boot:1"))
    settings = Settings(boot_code=code)
    return outputs.write(machine.plan, machine.store, formats=formats, name="web", directory=folder, settings=settings)
