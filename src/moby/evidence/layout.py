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
_MAX_DEPTH = 4

Documents = Mapping[str, Any]


def names(part: Part) -> Mapping[str, str]:
    """Path in the archive → what the file is in its image (``layer 1``, ``config``, ``manifest``).

    Nothing for archives that do not begin as a layout, and for files that no document of the layout names.
    """
    if part.entries is None or part.kind != "tar":
        return {}
    found: dict[str, str] = {}
    documents: dict[str, Any] = {}
    for number, entry in enumerate(part.entries()):
        if number == 0 and entry.path != _MARKER:
            return {}
        if entry.kind is Kind.FILE and entry.size <= _MAX_DOCUMENT_BYTES:
            documents[entry.path] = _document(entry)
    for path, name in _named(documents.get(_INDEX), documents, "", 0):
        found.setdefault(path, name)
    return found


def _document(entry: Entry) -> Any:
    data = entry.data if isinstance(entry.data, bytes) else entry.data.read(entry.size)
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _named(document: Any, documents: Documents, prefix: str, depth: int) -> Iterator[tuple[str, str]]:
    """The blobs that an index or a manifest names."""
    if not isinstance(document, dict) or depth > _MAX_DEPTH:
        return
    manifests = _list(document, "manifests")
    for number, each in enumerate(manifests, 1):
        path = _path(each)
        inner = f"{prefix}image {number}: " if len(manifests) > 1 else prefix
        whole = documents.get(path)
        yield path, f"{inner}{'index' if isinstance(whole, dict) and 'manifests' in whole else 'manifest'}"
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
