"""Manifests, indexes and image configurations, decoded from JSON that somebody else wrote.

Source: OCI image specification 1.1 (manifest.md, image-index.md, config.md) and the Docker image manifest version 2,
schema 2. Unknown fields are ignored, as both demand; bytes are hashed as they came, so models are for reading only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from moby.artifact import KERNEL_SPELLINGS
from moby.errors import ConfigError, IntegrityError
from moby.oci.digest import Digest
from moby.oci.wire import Fields, Malformed, Read, Wire, digest, loads, number, size, text, texts, tuple_of

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = f"{OCI_LAYER}+gzip"
OCI_LAYER_ZSTD = f"{OCI_LAYER}+zstd"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
LAYER_TYPES = frozenset(
    f"application/vnd.{family}{suffix}"
    for family, suffixes in {
        "oci.image.layer.v1.tar": ("", "+gzip", "+zstd"),
        "oci.image.layer.nondistributable.v1.tar": ("", "+gzip", "+zstd"),
        "docker.image.rootfs.diff.tar": ("", ".gzip", ".zstd"),
        "docker.image.rootfs.foreign.diff.tar": ("", ".gzip"),
    }.items()
    for suffix in suffixes
)

REF_NAME = "org.opencontainers.image.ref.name"
MAX_MANIFEST_BYTES = 4 << 20
MAX_CONFIG_BYTES = 8 << 20
MAX_LAYERS = 512
_ATTESTATION = "vnd.docker.reference.type"


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform(Wire):
    """What a manifest runs on, in Go's spelling: ``linux/arm64/v8``. ``os_version`` and features are not looked at."""

    os: str = ""
    architecture: str = ""
    variant: str | None = None

    @classmethod
    def read(cls, value: object, place: str = "") -> Platform:
        """From JSON. Raises ``Malformed``."""
        found = Fields(value, place)
        return cls(
            os=found.get("os", text, ""),
            architecture=found.get("architecture", text, ""),
            variant=found.option("variant", text),
        )

    @classmethod
    def parse(cls, spelled: str) -> Platform:
        """``ARCH`` or ``OS/ARCH[/VARIANT]``; uname's spellings are understood. Raises ``ConfigError``."""
        parts = spelled.split("/")
        if len(parts) == 1:
            parts = ["linux", *parts]
        if len(parts) > 3 or not all(parts):
            raise ConfigError(f"{spelled!r} is not a platform", fix="write it like linux/amd64 or linux/arm64/v8")
        architecture = KERNEL_SPELLINGS.get(parts[1], parts[1])
        return cls(os=parts[0], architecture=str(architecture), variant=parts[2] if len(parts) == 3 else None)

    def accepts(self, other: Platform) -> bool:
        """Whether an image for ``other`` will do for this platform; variants differ only where both name one."""
        if (self.os, self.architecture) != (other.os, other.architecture):
            return False
        return self.variant is None or other.variant is None or self.variant == other.variant

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor(Wire):
    """Points at a blob: its type, digest and size in bytes. ``urls`` are other places that have it (foreign layers)."""

    media_type: str = ""
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] | None = None
    artifact_type: str | None = None
    urls: tuple[str, ...] | None = None

    @classmethod
    def read(cls, value: object, place: str = "") -> Descriptor:
        """From JSON. Raises ``Malformed``."""
        found = Fields(value, place)
        return cls(
            media_type=found.get("mediaType", text, ""),
            digest=found.need("digest", digest),
            size=found.need("size", size),
            platform=found.option("platform", Platform.read),
            annotations=found.option("annotations", texts),
            artifact_type=found.option("artifactType", text),
            urls=found.option("urls", tuple_of(text)),
        )

    @property
    def is_attestation(self) -> bool:
        """Whether it describes another manifest (SBOM, provenance) and is no image itself."""
        if self.annotations and _ATTESTATION in self.annotations:
            return True
        return self.platform is not None and {self.platform.os, self.platform.architecture} == {"unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(Wire):
    """One image: its configuration and layers, bottom first."""

    schema_version: int = 2
    media_type: str = OCI_MANIFEST
    artifact_type: str | None = None
    config: Descriptor
    layers: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    annotations: Mapping[str, str] | None = None

    @classmethod
    def read(cls, value: object, place: str = "") -> Manifest:
        """From JSON. Raises ``Malformed``."""
        found = Fields(value, place)
        return cls(
            schema_version=found.get("schemaVersion", number, 2),
            media_type=found.get("mediaType", text, OCI_MANIFEST),
            artifact_type=found.option("artifactType", text),
            config=found.need("config", Descriptor.read),
            layers=found.get("layers", tuple_of(Descriptor.read, most=MAX_LAYERS), ()),
            subject=found.option("subject", Descriptor.read),
            annotations=found.option("annotations", texts),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Index(Wire):
    """Manifests of one image for several platforms."""

    schema_version: int = 2
    media_type: str = OCI_INDEX
    artifact_type: str | None = None
    manifests: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    annotations: Mapping[str, str] | None = None

    @classmethod
    def read(cls, value: object, place: str = "") -> Index:
        """From JSON. Raises ``Malformed``."""
        found = Fields(value, place)
        return cls(
            schema_version=found.get("schemaVersion", number, 2),
            media_type=found.get("mediaType", text, OCI_INDEX),
            artifact_type=found.option("artifactType", text),
            manifests=found.get("manifests", tuple_of(Descriptor.read), ()),
            subject=found.option("subject", Descriptor.read),
            annotations=found.option("annotations", texts),
        )

    def candidates(self, platform: Platform) -> Iterator[Descriptor]:
        """The manifests to try for ``platform``, best first: exact variant, other variant, then those that don't say.

        Attestation manifests are left out.
        """
        images = [each for each in self.manifests if not each.is_attestation]
        named = [each for each in images if each.platform is not None and platform.accepts(each.platform)]
        yield from sorted(named, key=lambda each: each.platform != platform)
        yield from (each for each in images if each.platform is None)

    @property
    def platforms(self) -> tuple[str, ...]:
        """What the index offers, for messages."""
        return tuple(str(each.platform) for each in self.manifests if each.platform and not each.is_attestation)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """What an image says about itself. ``None`` is "not set", ``()`` is "set to nothing".

    ``diff_ids`` are the digests of the uncompressed layers, bottom first.
    """

    architecture: str = ""
    os: str = ""
    variant: str | None = None
    created: str | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: tuple[str, ...] | None = None
    working_dir: str | None = None
    user: str | None = None
    labels: Mapping[str, str] | None = None
    diff_ids: tuple[Digest, ...] = ()

    @property
    def platform(self) -> Platform:
        """What the image runs on."""
        return Platform(os=self.os, architecture=self.architecture, variant=self.variant)

    @classmethod
    def decode(cls, data: bytes, *, where: str = "") -> ImageConfig:
        """The configuration in ``data``. Raises ``IntegrityError`` when it is not one."""
        try:
            return cls._read(loads(data))
        except Malformed as error:
            raise IntegrityError(str(error), where=where) from error

    @classmethod
    def _read(cls, value: object) -> ImageConfig:
        file = Fields(value)
        inner = file.option("config", Fields) or Fields({})
        root = file.option("rootfs", Fields) or Fields({})
        return cls(
            architecture=file.get("architecture", text, ""),
            os=file.get("os", text, ""),
            variant=file.option("variant", text),
            created=file.option("created", text),
            entrypoint=inner.option("Entrypoint", tuple_of(text)),
            cmd=inner.option("Cmd", tuple_of(text)),
            env=inner.option("Env", tuple_of(text)),
            working_dir=inner.option("WorkingDir", text),
            user=inner.option("User", text),
            labels=inner.option("Labels", texts),
            diff_ids=root.get("diff_ids", tuple_of(digest), ()),
        )

    def encode(self) -> bytes:
        """The JSON of the image specification, the same bytes for the same values."""
        inner = {
            "Entrypoint": self.entrypoint,
            "Cmd": self.cmd,
            "Env": self.env,
            "WorkingDir": self.working_dir,
            "User": self.user,
            "Labels": dict(sorted(self.labels.items())) if self.labels is not None else None,
        }
        named = {"created": self.created, "architecture": self.architecture, "os": self.os, "variant": self.variant}
        file = {
            **{key: value for key, value in named.items() if value is not None},
            "config": {key: value for key, value in inner.items() if value is not None},
            "rootfs": {"type": "layers", "diff_ids": [str(each) for each in self.diff_ids]},
        }
        return json.dumps(file, separators=(",", ":")).encode()


def decode(data: bytes, media_type: str, *, where: str = "") -> Manifest | Index:
    """The manifest or index in ``data``; ``media_type`` is what the descriptor or the Content-Type header says.

    An empty type, or one that names neither, gives way to the document's own. Raises ``IntegrityError`` for anything
    else, also for a document that could be read as both (it would mean different images to different programs).
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise IntegrityError(f"manifest of {len(data)} bytes; {MAX_MANIFEST_BYTES} are allowed", where=where)
    fields = _object(data, where)
    if "manifests" in fields and ("layers" in fields or "config" in fields):
        raise IntegrityError("manifest is an index and an image at once", where=where)
    own = fields.get("mediaType")
    known = (*INDEX_TYPES, *MANIFEST_TYPES)
    if own in known and media_type in known and own != media_type:
        raise IntegrityError(f"manifest says it is {own}, but was announced as {media_type}", where=where)
    kind = media_type if media_type in known else own if isinstance(own, str) else _guess(fields)
    if kind in INDEX_TYPES:
        return _read(Index.read, fields, where)
    if kind in MANIFEST_TYPES:
        return _read(Manifest.read, fields, where)
    if "fsLayers" in fields:
        fix = "push it again with a current tool"
        raise IntegrityError("manifest has the old schema 1, which names no verifiable layers", where=where, fix=fix)
    raise IntegrityError(f"unknown manifest type {str(kind or media_type)[:160]!r}", where=where)


def _guess(fields: Mapping[str, object]) -> str:
    """The media type of a document without one: OCI makes the field optional."""
    if "manifests" in fields:
        return OCI_INDEX
    return OCI_MANIFEST if "config" in fields else ""


def _object(data: bytes, where: str) -> dict[str, object]:
    try:
        fields = loads(data)
    except Malformed as error:
        raise IntegrityError(str(error), where=where) from error
    if not isinstance(fields, dict):
        raise IntegrityError("not a JSON object", where=where)
    return fields


_Content = TypeVar("_Content", Manifest, Index)


def _read(read: Read[_Content], fields: object, where: str) -> _Content:
    try:
        return read(fields, "")
    except Malformed as error:
        raise IntegrityError(str(error), where=where) from error
