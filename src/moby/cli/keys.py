"""``moby keys``: what Secure Boot needs, made once and kept by whoever signs images."""

from __future__ import annotations

import argparse
import datetime
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import moby
from moby import log
from moby.artifact import Architecture
from moby.context import Context
from moby.errors import ConfigError

if TYPE_CHECKING:
    from moby.formats.authenticode import Signer

EPILOG = """\
examples:
  moby keys create keys/            PK, KEK and db: keys and certificates
  moby keys create --vars keys/     also the firmware variables of a QEMU machine with them enrolled
  moby build -f raw-efi --sign-key keys/db.key --sign-cert keys/db.crt web.yml
  moby run --secure-boot keys/vars-amd64.fd web-efi.img"""
NAMES = {"PK": "platform key", "KEK": "key exchange key", "db": "signature database"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby keys``."""
    parser.description = "Make the keys of Secure Boot: the platform key, the exchange key, and the one that signs."
    parser.epilog = EPILOG
    parser.add_argument("verb", choices=("create",), help="create: new random keys")
    parser.add_argument("directory", type=Path, metavar="DIR", help="where to; made when it is not there")
    parser.add_argument("--name", default="Moby", help="what the certificates are called (default Moby)")
    parser.add_argument("--vars", action="store_true", help="also firmware variables with the keys enrolled")
    parser.add_argument("--arch", default="", help="whose firmware (default: this host's)")


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Make them and print the files; keys that are there stay. Raises ``ConfigError``."""
    from moby.formats.authenticode import Signer

    directory: Path = arguments.directory
    taken = [path for name in NAMES for path in (directory / f"{name}.key", directory / f"{name}.crt") if path.exists()]
    if taken:
        raise ConfigError("there are keys already", where=str(taken[0]), fix="give another directory")
    directory.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    signers = {name: Signer.create(f"{arguments.name} {text}", valid_from=now) for name, text in NAMES.items()}
    for name, signer in signers.items():
        key, certificate = directory / f"{name}.key", directory / f"{name}.crt"
        key.touch(mode=0o600)
        key.write_bytes(signer.key_pem)
        certificate.write_bytes(signer.certificate_pem)
        print(key, certificate, sep="\n")
    if arguments.vars:
        print(_variables(signers, directory, moby.architecture(arguments.arch), context, now))
    log.info(f"keep {directory}/*.key secret: whoever has db.key signs what your machines start")
    return 0


def _variables(
    signers: Mapping[str, Signer], directory: Path, architecture: Architecture, context: Context, now: datetime.datetime
) -> Path:
    from moby.components.packages import Packages
    from moby.components.tools import Tools
    from moby.formats import efivars

    firmware = Tools(context, Packages(context)).firmware(architecture, secure=True)
    enrolled = efivars.secure_boot(
        platform_key=signers["PK"].certificate,
        exchange_keys=[signers["KEK"].certificate],
        trusted=[signers["db"].certificate],
        owner=uuid.uuid4(),
        time_s=int(now.timestamp()),
    )
    path = directory / f"vars-{architecture}.fd"
    path.write_bytes(efivars.update(firmware.variables.read_bytes(), enrolled, where=str(firmware.variables)))
    return path
