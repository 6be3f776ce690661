from __future__ import annotations

import hashlib
import io

import pytest

from moby.errors import ConfigError, IntegrityError
from moby.formats import pcr, uki
from moby.formats.content import Content
from tests.support import efi

SECTIONS = {
    ".linux": b"kernel" * 500_000,
    ".initrd": b"initrd",
    ".cmdline": b"quiet",
    ".osrel": b"ID=moby",
    ".uname": b"6",
}


def image(stub: bytes = efi.stub(), **more: bytes) -> io.BytesIO:
    out = io.BytesIO()
    sections = SECTIONS | {f".{name}": data for name, data in more.items()}
    uki.write(stub, {name: Content.of(data) for name, data in sections.items()}, out)
    return out


def extended(bank: str, parts: list[bytes]) -> str:
    value = bytes(hashlib.new(bank).digest_size)
    for part in parts:
        value = hashlib.new(bank, value + hashlib.new(bank, part).digest()).digest()
    return value.hex()


@pytest.mark.parametrize("bank", pcr.BANKS)
def test_name_and_content_of_each_section_are_extended_in_the_stubs_order(bank: str) -> None:
    parts = []
    for name in (".linux", ".osrel", ".cmdline", ".initrd", ".uname"):
        parts += [name.encode() + b"\0", SECTIONS[name]]
    parts += [b".sbat\0", efi.SBAT]
    assert pcr.predict(image(), bank=bank) == extended(bank, parts)


def test_every_measured_section_matters_but_not_the_signature_of_the_outcome() -> None:
    plain = pcr.predict(image())
    assert pcr.predict(image(cmdline=b"quieter")) != plain
    assert pcr.predict(image(ucode=b"microcode")) != plain
    assert pcr.predict(image(pcrsig=b"{}")) == plain


def test_other_stubs_and_banks_are_refused() -> None:
    for version in (b"", b"#### LoaderInfo: systemd-stub 252.39 ####", b"#### LoaderInfo: grub 300 ####"):
        sections = {".text": b"x"} | ({".sdmagic": version} if version else {})
        with pytest.raises(ConfigError, match="what it measures is not known"):
            pcr.predict(image(efi.program(sections)))
    with pytest.raises(ConfigError, match="bank"):
        pcr.predict(image(), bank="md5")


def test_choices_made_at_boot_are_refused() -> None:
    for choice in (".dtbauto", ".hwids"):
        stub = efi.program({".text": b"x", ".sdmagic": efi.VERSION, choice: b"d"})
        with pytest.raises(ConfigError, match=f"measured of {choice} depends on the machine"):
            pcr.predict(image(stub))


def test_what_is_no_program_is_refused() -> None:
    with pytest.raises(IntegrityError):
        pcr.predict(io.BytesIO(b"#!/bin/sh"))
