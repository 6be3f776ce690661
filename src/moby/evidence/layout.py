"""What the files of an image layout in an archive are for: their names are hashes, which differ where anything does.

Source: OCI image specification 1.1, ``image-layout.md``, ``image-index.md``, ``manifest.md``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from moby.evidence.part import Part
from moby.formats.entry import Entry, Kind

_MARKER, _INDEX = "oci-layout", "index.json"
_MAX_DOCUMENT_BYTES = 1 << 20
_MAX_TOTAL_BYTES = 16 << 20  # of documents that are kept: an image has a few KiB of them
_MAX_DEPTH = 4
_KEYS = ("manifests", "config", "layers")

Documents = dict[str, Mapping[str, Any]]


def names(part: Part) -> Mapping[str, str]:
    """Path in the archive → what the file is in its image (``layer 1``, ``config``, ``manifest``).

    Nothing for archives that do not begin as a layout, for files that no document of the layout names, and for those
    named by documents beyond what is believable.
    """
    if part.entries is None or part.kind != "tar":
        return {}
    found: dict[str, str] = {}
    documents: Documents = {}
    left = _MAX_TOTAL_BYTES
    for number, entry in enumerate(part.entries()):
        if number == 0 and entry.path != _MARKER:
            return {}
        if entry.kind is Kind.FILE and entry.size <= min(left, _MAX_DOCUMENT_BYTES) and (document := _document(entry)):
            documents[entry.path] = document
            left -= entry.size
    for path, name in _named(documents.pop(_INDEX, {}), documents, "", 0):
        if path:
            found.setdefault(path, name)
    return found


def _document(entry: Entry) -> Mapping[str, Any]:
    """What an index or a manifest names; empty for what is neither."""
    data = entry.data if isinstance(entry.data, bytes) else entry.data.read(entry.size)
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return {key: whole[key] for key in _KEYS if key in whole} if isinstance(whole, dict) else {}


def _named(document: Mapping[str, Any], documents: Documents, prefix: str, depth: int) -> Iterator[tuple[str, str]]:
    """The blobs that an index or a manifest names; ``documents`` loses each when it is told: one may be named often."""
    if depth > _MAX_DEPTH:
        return
    manifests = _list(document, "manifests")
    for number, each in enumerate(manifests, 1):
        path = _path(each)
        inner = f"{prefix}image {number}: " if len(manifests) > 1 else prefix
        whole = documents.pop(path, {})
        yield path, f"{inner}{'index' if 'manifests' in whole else 'manifest'}"
        yield from _named(whole, documents, inner, depth + 1)
    yield _path(document.get("config")), f"{prefix}config"
    for number, each in enumerate(_list(document, "layers"), 1):
        yield _path(each), f"{prefix}layer {number}"


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    value = document.get(key)
    return value if isinstance(value, list) else []


def _path(descriptor: Any) -> str:
    """Where the blob of a descriptor is in the layout; empty for what is none."""
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    return f"blobs/{digest.replace(':', '/', 1)}" if isinstance(digest, str) else ""
