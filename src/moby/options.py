"""How an image is made: what ``moby build`` can be told."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from moby.artifact import KERNEL_SPELLINGS, Architecture, host_architecture
from moby.errors import ConfigError
from moby.rootfs.sbom import DEFAULT_PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How an image is made; every field has the default of ``moby build`` without flags.

    ``architecture`` is the target's name, this host's when empty. ``pull`` asks the registry even for images the store
    has. ``decompress_kernel`` writes the kernel unpacked. ``size`` is the least size of disks, such as ``2G``. ``root``
    is ``squashfs`` or ``erofs`` for disks with a root of their own; ``verity`` has the kernel check it. ``sign_key``
    and ``sign_certificate`` are PEM files that EFI programs are signed with. ``sbom`` is where the image holds its
    SBOM, ``""`` for none; it says the build's time if ``sbom_current_time``, else a fixed one. ``keys`` are files of
    public keys beside those of the YAML's ``trust:``; ``policy`` is ``require`` or ``warn`` about images without a good
    signature. ``provenance`` writes ``NAME.provenance.json`` beside what is built.

    ``docker`` asks the Docker or Podman engine of this host before the store, unless ``pull``. ``lock`` is the file
    that pins images, by default the ``moby.lock`` beside the last YAML file if there is one; ``locked`` refuses images
    that it does not pin.
    """

    architecture: str = ""
    pull: bool = False
    docker: bool = False
    lock: Path | None = None
    locked: bool = False
    decompress_kernel: bool = False
    size: str = ""
    root: str = ""
    verity: bool = False
    sign_key: Path | None = None
    sign_certificate: Path | None = None
    sbom: str = DEFAULT_PATH
    sbom_current_time: bool = False
    provenance: bool = False
    keys: tuple[str, ...] = ()
    policy: str = ""


def architecture(name: str) -> Architecture:
    """The architecture called ``name``, in Go's or the kernel's spelling; this host's when empty.

    Raises ``ConfigError``.
    """
    if not name:
        host = host_architecture()
        if host is None:
            raise ConfigError("this host's architecture has no components", fix="give --arch amd64 or arm64")
        return host
    found = Architecture.named(name)
    if found is None:
        near = difflib.get_close_matches(name, [*Architecture, *KERNEL_SPELLINGS], n=1)
        fix = f"did you mean {near[0]}?" if near else "one of " + ", ".join(Architecture)
        raise ConfigError(f"unknown architecture {name!r}", where="--arch", fix=fix)
    return found
