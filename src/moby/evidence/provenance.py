"""How artifacts were made: an in-toto statement with SLSA provenance, to be signed by whoever vouches for it.

It says what was asked for, and the digest of everything that went in: YAML files, images, the Debian packages inside
of components, files of the build host. The same build gives the same statement: it names no host, user or directory,
and a time only where one was asked for.

Sources: in-toto attestation framework 1.0, "Statement"; SLSA 1.0, "Provenance".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import cast

from moby import __version__
from moby.artifact import Artifact
from moby.formats.jsonstream import members
from moby.http import redact
from moby.oci import attestations
from moby.oci.image import Image
from moby.oci.store import Store
from moby.plan import Plan
from moby.rootfs.sbom.parts import image_purl

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://mobyproject.org/build/v1"
BUILDER = "https://mobyproject.org/moby"
# Their bytes are part of artifacts.
_CODECS = ("zlib-ng", "zstandard")

Resource = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What is known of a build. ``sources`` are the YAML files as they were named, each with its SHA-256 (hex).

    ``parameters`` are the options that decide what comes out. ``tools`` are images that formats take boot code from.
    ``finished`` is a time (RFC 3339, UTC), empty for none.
    """

    plan: Plan
    artifacts: Sequence[Artifact]
    sources: Sequence[tuple[str, str]]
    parameters: Mapping[str, object]
    tools: Mapping[str, Image]
    finished: str = ""


def statement(build: Build, store: Store) -> dict[str, object]:
    """The statement. Raises ``IntegrityError`` for an image whose SBOM in the store is damaged."""
    definition = {
        "buildType": BUILD_TYPE,
        "externalParameters": {
            "sources": [_name(source) for source, _ in build.sources],
            "name": build.artifacts[0].name,
            "formats": [artifact.format for artifact in build.artifacts],
            "architecture": build.plan.architecture,
            **build.parameters,
        },
        "resolvedDependencies": list(_dependencies(build, store)),
    }
    builder = {"id": BUILDER, "version": {"moby": __version__, **{name: version(name) for name in _CODECS}}}
    details: dict[str, object] = {"builder": builder}
    if build.finished:
        details["metadata"] = {"finishedOn": build.finished}
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": path.name, "digest": {"sha256": file_sha256(path)}}
            for artifact in build.artifacts
            for _, path in artifact.files
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {"buildDefinition": definition, "runDetails": details},
    }


def write(build: Build, store: Store, path: Path) -> None:
    """Put the statement at ``path`` at once."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(json.dumps(statement(build, store), indent=2) + "\n")
    beside.replace(path)


def file_sha256(path: Path) -> str:
    """The hash (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _name(source: str) -> str:
    """A source without its directory or credentials."""
    if "://" in source:
        return redact(source)
    return "stdin" if source == "-" else Path(source).name


def _dependencies(build: Build, store: Store) -> Iterator[Resource]:
    for source, sha256 in build.sources:
        yield {"name": _name(source), "digest": {"sha256": sha256}}
    used: dict[tuple[str, str], tuple[Image, list[str]]] = {}
    for origin, image in (*_images(build.plan), *build.tools.items()):
        used.setdefault((str(image.reference), str(image.digest)), (image, []))[1].append(origin)
    for image, origins in used.values():
        digest = {image.digest.algorithm: image.digest.hex}
        named = {"name": str(image.reference), "uri": image_purl(image), "digest": digest}
        yield {**named, "annotations": {"platform": str(image.platform), "used": ", ".join(origins)}}
    yield from _packages((image for image, _ in used.values()), store)
    for file in build.plan.files:
        if isinstance(file.data, Path):
            name = f"files[{file.index}]"
            yield {"name": name, "digest": {"sha256": file_sha256(file.data)}, "annotations": {"path": file.path}}


def _images(plan: Plan) -> Iterator[tuple[str, Image]]:
    """Every image of the plan with what it is for."""
    if plan.kernel is not None:
        yield "kernel", plan.kernel.image
    for index, init in enumerate(plan.init):
        yield f"init[{index}]", init.image
    for index, volume in enumerate(plan.volumes):
        yield from ((f"volumes[{index}]", image) for image in volume.images)
    for each in plan.containers:
        yield f"{each.section}[{each.index}]", each.image


def _packages(images: Iterable[Image], store: Store) -> Iterator[Resource]:
    """The packages that components were made from, as their locks pin them: by the SBOMs of their images."""
    found: dict[str, str] = {}
    for image in images:
        for descriptor in attestations.find(store, image):
            text = store.read_blob(descriptor.digest, attestations.MAX_BYTES).decode("utf-8", "replace")
            found |= dict(_pinned(text))
    for uri, sha256 in sorted(found.items()):
        yield {"uri": uri, "digest": {"sha256": sha256}}


def _pinned(text: str) -> Iterator[tuple[str, str]]:
    """Package URL and SHA-256 of each Debian package in an SPDX statement that says both."""
    for section, element in members(text, ("predicate",)):
        if section != "packages" or not isinstance(element, dict):
            continue
        locators = [each.get("referenceLocator") for each in _dicts(element, "externalRefs")]
        sums = [each.get("checksumValue") for each in _dicts(element, "checksums") if each.get("algorithm") == "SHA256"]
        for locator in locators:
            if isinstance(locator, str) and locator.startswith("pkg:deb/") and sums and isinstance(sums[0], str):
                yield locator, sums[0]


def _dicts(element: Mapping[str, object], key: str) -> list[dict[str, object]]:
    value = element.get(key)
    return (
        [cast("dict[str, object]", each) for each in value if isinstance(each, dict)] if isinstance(value, list) else []
    )
