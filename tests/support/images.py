"""Real OCI images made by code, with the standard library's tar and gzip as the outside party.

made = image(layers=[{"etc/hostname": "a"}, {"etc/": Node(mode=0o700)}], config={"Cmd": ["/bin/sh"]})
made.save(store, "docker.io/library/a:1")
"""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard

from moby.oci.digest import Digest
from moby.oci.image import Image
from moby.oci.manifest import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    Platform,
)
from moby.oci.store import Store

VECTORS = Path(__file__).parents[1] / "golden" / "vectors"
MTIME_S = 1_700_000_000

COMPRESSORS: Mapping[str, tuple[str, Callable[[bytes], bytes]]] = {
    "none": (OCI_LAYER, lambda data: data),
    "gzip": (OCI_LAYER_GZIP, lambda data: gzip.compress(data, 6, mtime=0)),
    "zstd": (OCI_LAYER_ZSTD, lambda data: zstandard.compress(data, 3)),
    "xz": (OCI_LAYER, lzma.compress),
    "bzip2": (OCI_LAYER, bz2.compress),
}


@dataclass(frozen=True, kw_only=True)
class Node:
    """One member of a layer when text alone is not enough. ``type`` is one of ``tarfile``'s constants."""

    data: bytes = b""
    type: bytes = tarfile.REGTYPE
    target: str = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = MTIME_S
    major: int = 0
    minor: int = 0
    pax: Mapping[str, str] | None = None


def directory(mode: int = 0o755, *, uid: int = 0, gid: int = 0) -> Node:
    return Node(type=tarfile.DIRTYPE, mode=mode, uid=uid, gid=gid)


def symlink(target: str) -> Node:
    return Node(type=tarfile.SYMTYPE, target=target, mode=0o777)


def hardlink(target: str) -> Node:
    return Node(type=tarfile.LNKTYPE, target=target)


def device(major: int, minor: int, *, type: bytes = tarfile.CHRTYPE, mode: int = 0o666) -> Node:
    return Node(type=type, major=major, minor=minor, mode=mode)


# A layer: names with their content, in archive order. A name that ends in "/" is a directory; a sequence of pairs may
# name the same path twice.
Content = str | bytes | Node
Layer = Mapping[str, Content] | Sequence[tuple[str, Content]]


def tar(layer: Layer) -> bytes:
    """The layer as an uncompressed tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in layer.items() if isinstance(layer, Mapping) else layer:
            node = _node(name, content)
            info = tarfile.TarInfo(name.rstrip("/") if node.type == tarfile.DIRTYPE else name)
            info.type, info.linkname, info.size = node.type, node.target, len(node.data)
            info.mode, info.uid, info.gid, info.mtime = node.mode, node.uid, node.gid, node.mtime
            info.devmajor, info.devminor, info.pax_headers = node.major, node.minor, dict(node.pax or {})
            archive.addfile(info, io.BytesIO(node.data))
    return out.getvalue()


def _node(name: str, content: Content) -> Node:
    if isinstance(content, Node):
        return content
    if name.endswith("/"):
        return directory()
    return Node(data=content.encode() if isinstance(content, str) else content)


@dataclass(frozen=True, kw_only=True)
class MadeImage:
    """The blobs of one image for one platform. ``manifest`` and ``config`` are JSON bytes."""

    platform: Platform
    config: bytes
    layers: tuple[bytes, ...]
    layer_descriptors: tuple[Descriptor, ...]
    manifest: bytes
    descriptor: Descriptor

    @property
    def blobs(self) -> dict[Digest, bytes]:
        """Configuration and layers by digest."""
        return {Digest.of(data): data for data in (self.config, *self.layers)}

    def save(self, store: Store, name: str) -> Image:
        """Put it into ``store`` under ``name``, beside what that name has for other platforms."""
        for data, layer in zip(self.layers, self.layer_descriptors, strict=True):
            store.ingest(io.BytesIO(data), layer)
        return store.put_image(name, self.config, self.layer_descriptors, self.platform)


def image(
    layers: Sequence[Layer] = (),
    config: Mapping[str, object] | None = None,
    *,
    architecture: str = "amd64",
    compression: str = "gzip",
) -> MadeImage:
    """An image of these layers, bottom first; ``config`` is the inner object (``Cmd``, ``Env``, ``Labels``, …)."""
    return from_tars([tar(layer) for layer in layers], config, architecture=architecture, compression=compression)


def from_tars(
    tars: Sequence[bytes],
    config: Mapping[str, object] | None = None,
    *,
    architecture: str = "amd64",
    compression: str = "gzip",
) -> MadeImage:
    """As ``image``, from layers that are archives already (hostile ones, for instance)."""
    platform = Platform(os="linux", architecture=architecture)
    document = {
        "created": "2023-11-14T22:13:20Z",
        "architecture": architecture,
        "os": "linux",
        "config": config or {},
        "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(data)) for data in tars]},
    }
    return _assemble(tars, json.dumps(document).encode(), platform, compression)


def _assemble(tars: Sequence[bytes], config: bytes, platform: Platform, compression: str) -> MadeImage:
    media_type, compress = COMPRESSORS[compression]
    layers = tuple(compress(data) for data in tars)
    descriptors = tuple(_descriptor(data, media_type) for data in layers)
    manifest = Manifest(config=_descriptor(config, OCI_CONFIG), layers=descriptors).encode()
    return MadeImage(
        platform=platform,
        config=config,
        layers=layers,
        layer_descriptors=descriptors,
        manifest=manifest,
        descriptor=_descriptor(manifest, OCI_MANIFEST).changed(platform=platform),
    )


def _descriptor(data: bytes, media_type: str) -> Descriptor:
    return Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))


def index(images: Sequence[MadeImage], extra: Sequence[Descriptor] = ()) -> tuple[bytes, Descriptor]:
    """An image index of several platforms: its bytes and its descriptor."""
    data = Index(manifests=(*(each.descriptor for each in images), *extra)).encode()
    return data, _descriptor(data, OCI_INDEX)


def vector_layers() -> list[bytes]:
    """The layers of the vectors' images, uncompressed."""
    described = json.loads((VECTORS / "images.json").read_text()).values()
    return [tar([_member(entry) for entry in layer["entries"]]) for each in described for layer in each["layers"]]


def vector_images(path: Path) -> Store:
    """A store at ``path`` that holds the images of the vectors under their names ``127.0.0.1:5000/NAME:1``."""
    store = Store(path)
    for name, described in json.loads((VECTORS / "images.json").read_text()).items():
        tars = [tar([_member(entry) for entry in layer["entries"]]) for layer in described["layers"]]
        file = {**described["config"]}
        file["rootfs"] = {"type": "layers", "diff_ids": [str(Digest.of(data)) for data in tars]}
        platform = Platform(**described["platform"])
        _assemble(tars, json.dumps(file).encode(), platform, "gzip").save(store, f"127.0.0.1:5000/{name}")
    return store


_TYPES = {
    "file": tarfile.REGTYPE,
    "dir": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "hardlink": tarfile.LNKTYPE,
    "char": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
}


def _member(entry: Mapping[str, object]) -> tuple[str, Node]:
    node = Node(
        data=_content(entry),
        type=_TYPES[str(entry["type"])],
        target=str(entry.get("link", "")),
        mode=int(str(entry["mode"]), 8),
        uid=int(str(entry["uid"])),
        gid=int(str(entry["gid"])),
        mtime=int(str(entry["mtime"])),
    )
    return str(entry["name"]), node


def _content(entry: Mapping[str, object]) -> bytes:
    nested = entry.get("tar")
    if isinstance(nested, list):
        return tar([_member(each) for each in nested])
    if "base64" in entry:
        return base64.b64decode(str(entry["base64"]))
    return str(entry.get("text", "")).encode()
