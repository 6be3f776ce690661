"""The private key that a flag names, and its password."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Mapping
from pathlib import Path

from moby.errors import ConfigError
from moby.oci import pem

# cosign's own variable serves too.
_VARIABLES = ("MOBY_KEY_PASSWORD", "COSIGN_PASSWORD")


def private_key(path: Path, environment: Mapping[str, str]) -> pem.PrivateKey:
    """The key in ``path``; a password that it needs comes from the environment, else from the terminal.

    Raises ``ConfigError``.
    """

    def password() -> bytes:
        for name in _VARIABLES:
            if name in environment:
                return environment[name].encode()
        if not sys.stdin.isatty():
            fix = f"set {_VARIABLES[0]}"
            raise ConfigError("the key has a password, and there is no terminal to ask on", where=str(path), fix=fix)
        return getpass.getpass(f"Password of {path}: ", stream=sys.stderr).encode()

    try:
        with path.open("rb") as stream:
            data = stream.read(pem.MAX_PEM_BYTES)
    except OSError as error:
        fix = "cosign generate-key-pair makes cosign.key"
        raise ConfigError(f"cannot read the private key: {error.strerror}", where=str(path), fix=fix) from error
    return pem.private_key(data.decode("ascii", "replace"), password, name=str(path))
