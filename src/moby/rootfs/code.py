"""Which code this is, so that what other code made is not used again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import moby
from moby import errors

# Everything that decides what is in a segment.
_PACKAGES = ("formats", "oci", "rootfs")


def code_id() -> str:
    """A hash of the sources that make segments; the version where there are no sources to read."""
    root = Path(errors.__file__).parent
    digest = hashlib.sha256(moby.__version__.encode())
    for path in sorted(each for name in _PACKAGES for each in (root / name).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
