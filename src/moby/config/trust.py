"""The ``trust:`` section and the flags beside it, read into what must be signed and by whom."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from moby.config.model import Config, TrustSpec
from moby.errors import ConfigError
from moby.oci import pem
from moby.oci.reference import Reference
from moby.oci.trust import Policy, Trust

_ORGANISATION = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9._:\[\]-]*(/[a-z0-9][a-z0-9._-]*)*", re.ASCII)
_PEM = "-----BEGIN"

_Parsed = TypeVar("_Parsed")
# Gives at most so many bytes of a file.
Read = Callable[[Path, int], bytes]


def trust(config: Config, *, keys: Sequence[str], policy: str, home: Path, read: Read) -> Trust:
    """What must be signed. ``keys`` are further files of public keys, ``policy`` is a ``Policy`` or empty.

    Paths start from the current directory, ``~/`` from ``home``. Raises ``ConfigError`` with all faults and places.
    """
    spec, faults = config.trust or TrustSpec(), list[ConfigError]()

    def parsed(section: str, values: Sequence[str] | None, parse: Callable[[str], _Parsed]) -> list[_Parsed]:
        found = []
        for index, value in enumerate(values or ()):
            try:
                found.append(parse(value))
            except ConfigError as error:
                faults.append(config.places.placed(error, ("trust", section, index)))
        return found

    def load(value: str) -> tuple[pem.PublicKey, ...]:
        return _keys(value, home, read)

    images = parsed("image", spec.image, Reference.parse)
    organisations = parsed("org", spec.org, _organisation)
    listed = parsed("keys", spec.keys, load)
    if faults:
        raise ConfigError.gather(faults)
    given = [load(each) for each in keys]
    if policy not in ("", *Policy):
        raise ConfigError(f"{policy!r} is no policy", where="--policy", fix=f"one of {', '.join(Policy)}")
    return Trust(
        images=tuple(images),
        organisations=tuple(organisations),
        keys=tuple(key for several in (*listed, *given) for key in several),
        policy=Policy(policy) if policy else None,
    )


def _organisation(text: str) -> str:
    if not _ORGANISATION.fullmatch(text.rstrip("/")):
        fix = "write it like linuxkit, quay.io/org or registry.example:5000"
        raise ConfigError(f"{text[:200]!r} is not an organisation", fix=fix)
    return text


def _keys(text: str, home: Path, read: Read) -> tuple[pem.PublicKey, ...]:
    """The keys in a PEM text, or in the file of that name."""
    if _PEM in text:
        return pem.public_keys(text, name="")
    path = home / text[2:] if text.startswith("~/") else Path(text)
    try:
        data = read(path, pem.MAX_PEM_BYTES)
    except OSError as error:
        fix = "give a file that cosign calls cosign.pub, or the PEM text itself"
        raise ConfigError(f"cannot read the public key {text[:200]!r}: {error.strerror}", fix=fix) from error
    return pem.public_keys(data.decode("ascii", "replace"), name=text)
