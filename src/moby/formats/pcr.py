"""What a TPM's PCR 11 will say of a unified kernel image when its stub has handed over to the kernel.

From systemd-stub(7) and systemd-measure(1): the stub extends PCR 11, which starts as zeros, twice for each section that
it finds and knows: with the hash of the section's name and a NUL byte, then with that of its content. The order is a
fixed one, not that of the file. Older stubs measure fewer sections; 257 was compared with a TPM.
"""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from moby.errors import ConfigError
from moby.formats import pe, uki
from moby.formats.stream import SMALL_BYTES, Source

BANKS = ("sha1", "sha256", "sha384", "sha512")
OLDEST_STUB = 257
# The order of measuring; ``.pcrsig`` signs the outcome and is no part of it.
MEASURED = (
    ".linux",
    ".osrel",
    ".cmdline",
    ".initrd",
    ".ucode",
    ".splash",
    ".dtb",
    ".uname",
    ".sbat",
    ".pcrpkey",
    ".profile",
)
# Choices that the stub makes at boot, by the machine or the menu: what it measures then is not in the image alone.
_CHOICES = (".dtbauto", ".hwids", ".efifw")


def predict(stream: BinaryIO, *, bank: str = "sha256", where: str = "") -> str:
    """The value of PCR 11 in ``bank`` (hex) after the image in the seekable ``stream`` was started without extras.

    Files beside the image (addons, credentials) and what the machine's own programs extend are not in it. Raises
    ``ConfigError`` for an unknown bank or a stub that measures otherwise, ``IntegrityError`` when the image is damaged.
    """
    if bank not in BANKS:
        raise ConfigError(f"{bank!r} is not a bank of a TPM", fix="one of " + ", ".join(BANKS))
    image = pe.read(stream, where=where)
    version = uki.stub_version(stream)
    major = version.partition(".")[0]
    if not major.isdecimal() or int(major) < OLDEST_STUB:
        what = f"the stub is systemd's {version}" if version else "the stub is not systemd's"
        raise ConfigError(f"{what}: what it measures is not known", where=where, fix=f"use {OLDEST_STUB} or newer")
    names = [section.name for section in image.sections]
    for name in names:
        if name in _CHOICES or (name in MEASURED and names.count(name) > 1):
            raise ConfigError(f"what is measured of {name} depends on the machine", where=where)
    value = bytes(hashlib.new(bank).digest_size)
    for name in MEASURED:
        section = image.section(name)
        if section is None:
            continue
        measured = hashlib.new(bank)
        stream.seek(section.offset)
        _feed(measured, Source(stream, where), section)
        for digest in (hashlib.new(bank, name.encode() + b"\0").digest(), measured.digest()):
            value = hashlib.new(bank, value + digest).digest()
    return value.hex()


def _feed(measured: hashlib._Hash, source: Source, section: pe.Section) -> None:
    left = section.data_size
    while left:
        count = min(left, SMALL_BYTES)
        measured.update(source.take(count))
        left -= count
    measured.update(bytes(section.virtual_size - section.data_size))
