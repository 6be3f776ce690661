"""Builds of a large image in a process of its own: prints the peak of its memory in KiB.

python -m tests.support.memory FOLDER MEBIBYTES [FORMAT...]      (default: tar and kernel+initrd)
"""

from __future__ import annotations

import os
import re
import sys
import tarfile
from pathlib import Path

from moby import outputs
from moby.config.load import parse
from moby.oci.manifest import OCI_LAYER, ImageConfig, Platform
from moby.oci.resolve import ImageSource
from moby.oci.store import Store
from moby.plan import plan
from tests.support import bootcode
from tests.support.images import image
from tests.support.roots import Root

_BLOCK = 1 << 20
_LARGE_BYTES = 50 * _BLOCK
# Somewhat more than that of Debian for arm64.
_KERNEL_BYTES = 48 * _BLOCK
NAME, KERNEL = "docker.io/library/large", "docker.io/library/k"


class _Pattern:
    """Bytes that do not compress to nothing, without holding them."""

    def __init__(self) -> None:
        self._block = os.urandom(_BLOCK // 16) * 16

    def read(self, size: int = -1) -> bytes:
        return self._block[:size]


def layer(path: Path, mebibytes: int) -> None:
    """A layer of one file of 50 MiB and many of 300 KiB."""
    with tarfile.open(path, "w") as archive:
        for number in range(1 + (mebibytes * _BLOCK - _LARGE_BYTES) // (300 << 10)):
            info = tarfile.TarInfo(f"file{number}")
            info.size = _LARGE_BYTES if number == 0 else 300 << 10
            archive.addfile(info, _Pattern())


def build(folder: Path, mebibytes: int, architecture: str = "amd64") -> Root:
    """A store with the image, and a plan that uses it and a kernel."""
    store = Store(folder / "store")
    kernel = {"kernel": bootcode.KERNEL + bytes(_KERNEL_BYTES), "kernel.tar": bootcode.MODULES}
    image([kernel], architecture=architecture).save(store, KERNEL)
    made = folder / "layer.tar"
    layer(made, mebibytes)
    with made.open("rb") as stream:
        descriptor = store.ingest(stream, media_type=OCI_LAYER)
    made.unlink()
    config = ImageConfig(architecture=architecture, os="linux", diff_ids=(descriptor.digest,)).encode()
    store.put_image(NAME, config, [descriptor], Platform(os="linux", architecture=architecture))
    text = f"kernel: {{image: {KERNEL}}}\nservices: [{{name: a, image: {NAME}}}]"
    return Root(plan(parse(text), ImageSource(store, None), architecture=architecture), store)


def peak_kibibytes() -> int:
    """The most memory this program held. getrusage would say what the process held before it became this program."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


if __name__ == "__main__":
    place, count = Path(sys.argv[1]), int(sys.argv[2])
    large = build(place, count, "arm64" if "rpi3" in sys.argv else "amd64")
    told = bootcode.settings(large.store)
    Path("/proc/self/clear_refs").write_text("5")  # what it took to make the image is not of interest
    for format in sys.argv[3:] or ("tar", "kernel+initrd"):
        (made,) = outputs.write(large.plan, large.store, formats=[format], name="large", directory=place, settings=told)
        for _, written in made.files:
            written.unlink()
    print(peak_kibibytes())
