"""The named inputs of a root file system: what its files come from, as packages of the SBOM."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from moby.formats import spdx
from moby.oci import attestations
from moby.oci.image import Image
from moby.oci.manifest import Descriptor
from moby.oci.store import Store
from moby.plan import Plan
from moby.rootfs.kernel import CMDLINE, ORIGIN

CONFIGURATION = "SPDXRef-Configuration"
# Raised when the same input gives other elements.
_VERSION = 2
_CHECKSUMS = {"sha256": "SHA256", "sha512": "SHA512"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An image that is unpacked at ``prefix``, and all entries that use it there (``origins``).

    ``key`` is one of everything that decides which files it gives. ``statements`` are the SPDX statements about it.
    """

    key: str
    prefix: str
    image: Image
    origins: tuple[str, ...]
    statements: tuple[Descriptor, ...]

    @property
    def id(self) -> str:
        """The SPDX id of its package; ids of what is in it begin with it."""
        return f"SPDXRef-{self.key[:12]}"

    def package(self, code: str) -> dict[str, object]:
        """Its package; ``code`` is the verification code of its files, empty when it has none."""
        image = self.image
        named = {"packageFileName": self.prefix} if self.prefix else {}
        checksum = {"algorithm": _CHECKSUMS[image.digest.algorithm], "checksumValue": image.digest.hex}
        made = spdx.package(
            self.id,
            str(image.reference),
            version=str(image.digest),
            **named,
            checksums=[checksum],
            comment=", ".join(self.origins),
            externalRefs=[spdx.purl_reference(image_purl(image))],
            primaryPackagePurpose="CONTAINER",
        )
        return made | spdx.analyzed(code)


def image_purl(image: Image) -> str:
    """The package URL of an image for its platform."""
    reference = image.reference
    return spdx.purl(
        "oci",
        reference.repository.rpartition("/")[2],
        version=str(image.digest),
        repository_url=f"{reference.registry}/{reference.repository}",
        tag=reference.tag or "",
        arch=image.platform.architecture,
    )


def parts(plan: Plan, store: Store, *, decompress_kernel: bool) -> list[Part]:
    """Every image that gives files, in the order of the root's entries.

    The files of the kernel and the init images lie over each other and may follow each other's links, so that their
    keys name those before them too.
    """
    found = []
    for origins, prefix, image, decisive in _images(plan, decompress_kernel):
        statements = attestations.find(store, image) if prefix is not None else ()
        described = [_VERSION, prefix, str(image.digest), *decisive, *(str(each.digest) for each in statements)]
        key = hashlib.sha256(json.dumps(described).encode()).hexdigest()
        found.append(Part(key=key, prefix=prefix or "", image=image, origins=origins, statements=statements))
    return found


_Image = tuple[tuple[str, ...], str | None, Image, list[object]]


def _images(plan: Plan, decompress_kernel: bool) -> Iterator[_Image]:
    """Each image with its origins, its place and what else decides its files."""
    before: list[object] = []
    if kernel := plan.kernel:
        before += [str(kernel.image.digest), kernel.binary, kernel.tar, kernel.ucode, decompress_kernel]
        yield (ORIGIN,), "", kernel.image, [ORIGIN, *before]
    for index, init in enumerate(plan.init):
        yield (f"init[{index}]",), "", init.image, [index, *before]
        before.append(str(init.image.digest))
    for index, volume in enumerate(plan.volumes):
        if volume.images:
            blobs: list[object] = [
                volume.format,
                *(str(each.digest) for each in volume.images),
                list(map(str, volume.platforms)),
            ]
            origin = (f"volumes[{index}]",)
            if volume.format == "oci":
                # The image lies there packed: what is in it is not in the machine's tree.
                yield origin, None, volume.images[0], [f"{volume.directory}/lower", *blobs]
            else:
                yield origin, f"{volume.directory}/lower", volume.images[0], blobs
    users: dict[str, list[str]] = {}
    for each in plan.containers:
        users.setdefault(each.root_directory, []).append(f"{each.section}[{each.index}]")
    for each in plan.containers:
        if each.unpack:
            yield tuple(users[each.root_directory]), each.root_directory, each.image, ["container"]


def generated(plan: Plan) -> frozenset[str]:
    """The files that are made from the YAML although they belong to a kernel or a container."""
    bundles = {f"{each.directory}/{name}" for each in plan.containers for name in ("config.json", "runtime.json")}
    return frozenset(bundles | {CMDLINE})


def configuration(code: str) -> dict[str, object]:
    """The package of what the YAML itself gives."""
    comment = "files of the YAML, and those made from it"
    made = spdx.package(CONFIGURATION, "configuration", comment=comment, primaryPackagePurpose="OTHER")
    return made | spdx.analyzed(code)


def machine() -> dict[str, object]:
    """The package that contains all others."""
    return spdx.package("SPDXRef-Machine", "machine", filesAnalyzed=False, primaryPackagePurpose="OPERATING-SYSTEM")
