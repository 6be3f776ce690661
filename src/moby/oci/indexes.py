"""Image indexes joined: one entry for each platform, nobody's entry lost.

Entries stay the JSON objects they are, because what other tools put into them (``os.version``, ``os.features``,
annotations) must survive. Source: OCI image specification 1.1, "Image Index"; attestations as BuildKit writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from moby.oci.manifest import OCI_INDEX

Entry = Mapping[str, object]
_KIND = "vnd.docker.reference.type"
_SUBJECT = "vnd.docker.reference.digest"


def entries(document: bytes) -> list[Entry]:
    """The entries of an index that was decoded before."""
    return [each for each in json.loads(document).get("manifests") or [] if isinstance(each, dict)]


def join(old: Iterable[Entry], new: Iterable[Entry]) -> list[Entry]:
    """Both lists as one: for a platform in both the ``new`` one stays. Sorted, so that the order of pushes is nothing.

    An attestation is kept as long as the image it speaks of is.
    """
    images: dict[str, Entry] = {}
    others: dict[object, Entry] = {}
    for entry in (*old, *new):
        if subject(entry) is None:
            images[platform(entry)] = entry
        else:
            others[entry.get("digest")] = entry
    digests = {entry.get("digest") for entry in images.values()}
    kept = [entry for entry in others.values() if subject(entry) in digests]
    return [*(images[key] for key in sorted(images)), *sorted(kept, key=lambda entry: str(entry.get("digest")))]


def conflicts(old: Iterable[Entry], new: Iterable[Entry]) -> list[str]:
    """The platforms for which ``old`` has another image than ``new``."""
    before = {platform(entry): entry.get("digest") for entry in old if subject(entry) is None}
    after = {platform(entry): entry.get("digest") for entry in new if subject(entry) is None}
    return sorted(key for key, digest in after.items() if before.get(key, digest) != digest)


def missing(there: Iterable[Entry], ours: Iterable[Entry]) -> bool:
    """Whether a platform of ``ours`` has no entry ``there``."""
    known = {platform(entry) for entry in there}
    return any(platform(entry) not in known for entry in ours if subject(entry) is None)


def encode(manifests: Sequence[Entry]) -> bytes:
    """The index of these entries."""
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(manifests)}
    return json.dumps(document, separators=(",", ":")).encode()


def platform(entry: Entry) -> str:
    """``os/architecture/variant/os.version``: what may be there once only. The digest of an entry that says nothing."""
    given = entry.get("platform")
    fields = cast(Mapping[str, object], given) if isinstance(given, dict) else {}
    if fields.get("os") in (None, "", "unknown"):
        return str(entry.get("digest"))
    return "/".join(str(fields.get(key) or "") for key in ("os", "architecture", "variant", "os.version")).rstrip("/")


def subject(entry: Entry) -> str | None:
    """The digest of the image an attestation is about; None for an image."""
    given = entry.get("annotations")
    annotations = cast(Mapping[str, object], given) if isinstance(given, dict) else {}
    return str(annotations.get(_SUBJECT, "")) if _KIND in annotations else None
