"""The SBOM of a component: an SPDX document of its Debian packages, attached to its image as BuildKit attaches one.

It names the packages of the lock that have files in the image, each with its package URL and the hash of its ``.deb``.
"""

from __future__ import annotations

import hashlib
import json

from moby import log
from moby.components.lock import Lock, Package
from moby.components.recipe import Recipe
from moby.errors import PlatformError
from moby.formats import spdx
from moby.formats.entry import Kind
from moby.oci import attestations, layers
from moby.oci.image import Image
from moby.oci.store import Store

RECORDS = "var/lib/dpkg/status.d/"
_CREATORS = ("Organization: Moby", "Tool: moby")


def attest(store: Store, image: Image, recipe: Recipe, lock: Lock | None, names: tuple[str, ...] = ()) -> None:
    """Attach the document to ``image``, also under its other ``names``, unless it has one or the store is read-only."""
    if lock is None or not lock.packages or attestations.find(store, image):
        return
    present = None if recipe.spec.kernel is not None else _recorded(store, image)
    packages = [each for each in lock.packages if present is None or each.package in present]
    try:
        attestations.attach(store, image, [document(recipe.name, packages)], names)
    except PlatformError as error:
        log.debug(f"no SBOM attached: {error}")


def document(name: str, packages: list[Package]) -> bytes:
    """The SPDX document of a component with these packages."""
    elements = [_element(number, package) for number, package in enumerate(packages)]
    digest = hashlib.sha256(json.dumps(elements).encode()).hexdigest()
    head = json.loads(spdx.head(name, creators=_CREATORS, unique=spdx.unique(digest)) + b"}")
    related = [json.loads(spdx.relationship(spdx.DOCUMENT, "DESCRIBES", str(each["SPDXID"]))) for each in elements]
    return spdx.line({**head, "packages": elements, "relationships": related})


def _element(number: int, package: Package) -> dict[str, object]:
    locator = spdx.purl(
        "deb",
        "debian",
        package.package,
        version=package.version,
        arch=package.architecture,
        distro=package.suite.removesuffix("-security"),
    )
    return spdx.package(
        spdx.identifier("Package", str(number), package.package),
        package.package,
        version=package.version,
        supplier="Organization: Debian",
        filesAnalyzed=False,
        checksums=[{"algorithm": "SHA256", "checksumValue": package.sha256}],
        sourceInfo=f"{package.archive} {package.path}",
        externalRefs=[spdx.purl_reference(locator)],
    )


def _recorded(store: Store, image: Image) -> set[str]:
    """The packages that have a record in the image, which are those that have files there."""
    return {
        entry.path.removeprefix(RECORDS)
        for entry in layers.entries(store, image)
        if entry.kind is Kind.FILE and entry.path.startswith(RECORDS)
    }
