"""A manifest or an index with the bytes that its digest is of."""

from __future__ import annotations

from dataclasses import dataclass

from moby.oci.digest import Digest, mismatch
from moby.oci.manifest import Descriptor, Index, Manifest, decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A manifest or index: ``data`` are its bytes, ``content`` what they say."""

    descriptor: Descriptor
    data: bytes
    content: Manifest | Index


def checked(data: bytes, expected: Descriptor, *, where: str) -> Document:
    """The document in ``data``, which ``expected`` describes. Raises ``IntegrityError`` when it does not."""
    if len(data) != expected.size:
        raise mismatch(
            expected.digest, expected.size, Digest.of(data, expected.digest.algorithm), len(data), where=where
        )
    expected.digest.check(data, where=where)
    return Document(descriptor=expected, data=data, content=decode(data, expected.media_type, where=where))
