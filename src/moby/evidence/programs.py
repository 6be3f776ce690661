"""Kernels and EFI programs, unified kernel images among them, as parts."""

from __future__ import annotations

from typing import BinaryIO

from moby.errors import ConfigError, IntegrityError
from moby.evidence.part import Fact, Look, Part
from moby.formats import authenticode, kernelimage, pcr, pe, uimage, uki
from moby.formats.window import window

_TEXT = frozenset((".cmdline", ".osrel", ".uname", ".sbat", ".profile"))
_MAX_TEXT_BYTES = 1 << 16
_MACHINES = {pe.Machine.AMD64: "amd64", pe.Machine.ARM64: "arm64", pe.Machine.RISCV64: "riscv64"}


def kernel(stream: BinaryIO, name: str) -> Part | None:
    """The kernel in ``stream``, if it is one."""
    found = kernelimage.read(stream)
    if found is None:
        return None
    facts: dict[str, Fact] = {"form": found.form, "architecture": found.architecture, "version": found.version}
    if found.form in ("bzImage", "Image"):
        facts |= signatures(stream)
    facts = {key: value for key, value in facts.items() if value}
    return Part(name=name, kind="Linux kernel", stream=stream, facts=facts)


def program(stream: BinaryIO, name: str, look: Look) -> Part:
    """An EFI program; of a unified kernel image every section that is not the stub's own is a part."""
    image = pe.read(stream, where=name)
    facts: dict[str, Fact] = {"architecture": _MACHINES.get(pe.Machine(image.machine), "") if _known(image) else ""}
    if image.section(".linux") is None:
        return Part(name=name, kind="EFI program", stream=stream, facts={**facts, **signatures(stream)})
    facts["stub"] = uki.stub_version(stream)
    facts |= signatures(stream)
    try:
        facts["PCR 11"] = pcr.predict(stream, where=name)
    except ConfigError as error:
        facts["PCR 11"] = f"not known: {error.what}"
    sections = [each for each in image.sections if each.name in uki.SECTIONS]
    parts = tuple(_section(stream, section, look) for section in sections)
    facts = {key: value for key, value in facts.items() if value}
    return Part(name=name, kind="unified kernel image", stream=stream, facts=facts, parts=parts)


def packed(stream: BinaryIO, name: str, look: Look) -> Part:
    """An image for U-Boot with what is in it."""
    stream.seek(0)
    header = uimage.read(stream, where=name)
    inner = look(window(stream, uimage.HEADER_BYTES, header.size), "content")
    facts: dict[str, Fact] = {"type": header.type.name.lower(), "compression": header.compression.name.lower()}
    return Part(name=name, kind="U-Boot image", stream=stream, facts=facts, parts=(inner,))


def _known(image: pe.Image) -> bool:
    return image.machine in set(pe.Machine)


def _section(stream: BinaryIO, section: pe.Section, look: Look) -> Part:
    view = window(stream, section.offset, section.data_size)
    return text(view, section.name) if section.name in _TEXT else look(view, section.name)


def text(stream: BinaryIO, name: str) -> Part:
    """A short text."""
    stream.seek(0)
    said = stream.read(_MAX_TEXT_BYTES).rstrip(b"\0").decode("utf-8", "replace")
    return Part(name=name, kind="text", stream=stream, facts={"text": said.rstrip("\n")})


def signatures(stream: BinaryIO) -> dict[str, Fact]:
    """Who signed a program for Secure Boot; nothing when nobody did."""
    try:
        found = authenticode.signers(stream)
    except IntegrityError as error:
        return {"signature": f"broken: {error.what}"}
    return {"signed by": tuple(each.subject.rfc4514_string() for each in found)} if found else {}
