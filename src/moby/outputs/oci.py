"""``oci``: the machine as an OCI image, for registries and for engines that start a machine from one.

The image has one layer with ``boot/kernel``, ``boot/initrd.img`` and ``boot/cmdline``; KubeVirt's ``kernelBoot`` names
the first two. The file is a tar of an OCI image layout, as ``skopeo copy oci-archive:`` reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from moby.formats import tar
from moby.formats.entry import Entry, directory
from moby.oci.manifest import OCI_LAYER, ImageConfig, Platform
from moby.oci.store import Store
from moby.outputs.bios import boot_files
from moby.outputs.format import File, Format, Targets
from moby.outputs.hostfiles import host_files
from moby.outputs.source import Source
from moby.rootfs.constants import FIXED_MTIME_S

_CREATED = "2017-04-18T16:30:00Z"
_NAME = "localhost/machine:latest"
_MARKERS = ("oci-layout", "index.json")
_BLOBS = "blobs/sha256"


def _write(source: Source, targets: Targets) -> None:
    layout = source.part("oci", lambda path: _make_layout(source, path))
    with targets.open("oci") as out:
        tar.write(_files(layout), out)


def _make_layout(source: Source, path: Path) -> None:
    store = Store(path)
    layer = path.with_name("oci-layer.tar")
    with layer.open("wb") as out:
        tar.write(_layer(source), out)
    with layer.open("rb") as stream:
        descriptor = store.ingest(stream, media_type=OCI_LAYER)
    layer.unlink()
    platform = Platform(os="linux", architecture=source.architecture.value)
    config = ImageConfig(
        architecture=platform.architecture, os=platform.os, created=_CREATED, diff_ids=(descriptor.digest,)
    )
    store.put_image(_NAME, config.encode(), [descriptor], platform)


def _layer(source: Source) -> Iterator[Entry]:
    yield directory("boot", mtime_s=FIXED_MTIME_S)
    files = {f"boot/{name}": place for name, place in boot_files(source).items()}
    yield from host_files({**files, "boot/cmdline": source.boot.booted_cmdline.encode()})


def _files(layout: Path) -> Iterator[Entry]:
    """The layout's files, sorted, without its lock."""
    yield from host_files({marker: layout / marker for marker in _MARKERS})
    for folder in ("blobs", _BLOBS):
        yield directory(folder, mtime_s=FIXED_MTIME_S)
    yield from host_files({f"{_BLOBS}/{place.name}": place for place in sorted((layout / _BLOBS).iterdir())})


OCI = Format(
    name="oci",
    description="the machine as an OCI image with kernel and initrd",
    files=(File(role="oci", suffix=".oci.tar"),),
    write=_write,
)
