"""What a build may be told about its outputs, beyond which formats."""

from __future__ import annotations

import enum
import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moby.errors import ConfigError
from moby.formats.entry import Kind
from moby.oci import layers
from moby.oci.image import Image
from moby.oci.store import Store

if TYPE_CHECKING:
    from moby.formats.authenticode import Signer
    from moby.rootfs.pieces import Layout
    from moby.rootfs.sbom import Sbom

_FILE_LIMIT = 8 << 20
_SIZE = re.compile(r"(\d{1,7})([MG]?)")


class RootKind(enum.StrEnum):
    """File systems of roots, by the names that Linux has for them."""

    SQUASHFS = "squashfs"
    EROFS = "erofs"
    ISO9660 = "iso9660"


class BootCode:
    """The files of the component ``boot``, which holds what cannot be written in Python: see ``pkg/boot``."""

    def __init__(self, store: Store, image: Image) -> None:
        self._store = store
        self._image = image

    @property
    def image(self) -> Image:
        """The component's image."""
        return self._image

    @functools.cached_property
    def _files(self) -> dict[str, bytes]:
        return {
            entry.path: entry.data if isinstance(entry.data, bytes) else entry.data.read(entry.size)
            for entry in layers.entries(self._store, self._image)
            if entry.kind is Kind.FILE and entry.size <= _FILE_LIMIT
        }

    def read(self, path: str) -> bytes:
        """A file by its path in the component. Raises ``ConfigError`` when the component lacks it."""
        if path not in self._files:
            raise ConfigError(f"the boot component has no {path}", where=str(self._image.reference))
        return self._files[path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all formats of a build are told.

    ``disk_bytes`` is the least size of disks. ``boot_code``, ``stage1`` and ``rpi_code`` are given where a chosen
    format needs them. ``root`` is the file system of a root on a disk, None for one in RAM; ``verity`` has the kernel
    check it. ``layout`` is how a root in RAM lies there, None for the best that it allows. ``cache`` is a directory for
    what builds to come can use. ``signer`` signs EFI programs. ``decompress_kernel`` writes the kernel unpacked.
    ``sbom`` goes into the root.
    """

    decompress_kernel: bool = False
    disk_bytes: int = 0
    boot_code: BootCode | None = None
    stage1: BootCode | None = None
    rpi_code: BootCode | None = None
    root: RootKind | None = None
    layout: Layout | None = None
    cache: Path | None = None
    verity: bool = False
    signer: Signer | None = None
    sbom: Sbom | None = None


def parse_size(text: str) -> int:
    """``--size``: a number with M (MiB), G (GiB) or nothing (GiB, as the original has it), as bytes.

    Raises ``ConfigError``.
    """
    found = _SIZE.fullmatch(text.strip().upper())
    if found is None:
        fix = "a number with M or G, such as 512M or 2G"
        raise ConfigError(f"unable to parse disk size: {text!r}", where="--size", fix=fix)
    return int(found[1]) << (20 if found[2] == "M" else 30)
