"""The catalogue of wrong configurations, ``tests/golden/errors/NAME.txt``: what is wrong, what is said, what is right.

=== wrong            the YAML file f.yml (with a name, another file: === wrong b.yml)
=== wrong label      the label of image x; there is no image called gone
=== message          all that is said, one fault a line
=== right            the same, mended
=== right label
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from moby.components import catalog
from moby.config import load
from moby.config.decode import LABEL
from moby.config.legacy import translate
from moby.config.model import Config
from moby.config.places import in_order
from moby.config.source import read
from moby.errors import ConfigError, MobyError, RegistryError, together
from moby.oci.image import Image
from moby.oci.manifest import ImageConfig, Platform
from moby.oci.reference import Reference
from moby.plan import Plan, plan
from tests.support.plans import Shelf

FOLDER = Path(__file__).parents[1] / "golden" / "errors"
_SECTION = re.compile(r"^=== (wrong|message|right) ?(.*)\n", re.MULTILINE)
_LABEL = "label"
_FILE = "f.yml"


@dataclass(frozen=True, slots=True)
class Case:
    """One wrong configuration and its mended twin: YAML texts by file name, the label under ``label``."""

    name: str
    wrong: Mapping[str, str]
    right: Mapping[str, str]
    message: str

    def message_now(self) -> str:
        """What is said now; empty when nothing is wrong."""
        try:
            planned(self.wrong)
        except MobyError as error:
            return "".join(f"{each}\n" for each in error.each)
        return ""

    def write(self, message: str) -> None:
        """Write the case with another message."""
        parts = [*_shown("wrong", self.wrong), f"=== message\n{message}", *_shown("right", self.right)]
        (FOLDER / f"{self.name}.txt").write_text("".join(parts))


def cases() -> list[Case]:
    """All of them, by name."""
    return [_case(path) for path in sorted(FOLDER.glob("*.txt"))]


def config(texts: Mapping[str, str]) -> Config:
    """The configuration of all files. Raises ``ConfigError``."""
    return draft(texts).checked()


def draft(texts: Mapping[str, str]) -> load.Draft:
    """The configuration of all files with its faults."""
    translations, failures = [], []
    for name, text in texts.items():
        if name == _LABEL:
            continue
        try:
            document = translate(read(text, file=name))
        except ConfigError as error:
            failures.append(error)
        else:
            translations.append(load.expand(document, _component, Path()))
    return load.assemble(translations, failures, files=tuple(name for name in texts if name != _LABEL))


class _Shop(Shelf):
    """Has everything but one image."""

    def resolve(self, reference: Reference, platform: Platform) -> Image:
        if reference.repository == "library/gone":
            raise RegistryError("image not found", where=str(reference), fix="check the name")
        return super().resolve(reference, platform)


def planned(texts: Mapping[str, str]) -> Plan:
    """The plan of all files, with images that are nothing but their configuration. Raises ``MobyError``."""
    labels = {LABEL: texts[_LABEL]} if _LABEL in texts else {}
    found, shop = draft(texts), _Shop({"x": ImageConfig(labels=labels)})
    if not found.is_readable:
        raise together(in_order(found.faults, found.files))
    return plan(found.config, shop, architecture="amd64", known=found.faults, order=found.files)


def _component(name: str, directory: Path | None) -> str:
    catalog.directory(name, directory)
    return "localhost/moby/component"


def _case(path: Path) -> Case:
    found: dict[str, dict[str, str]] = {"wrong": {}, "message": {}, "right": {}}
    _, *parts = _SECTION.split(path.read_text())
    for section, name, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        found[section][name or _FILE] = text
    return Case(name=path.stem, wrong=found["wrong"], right=found["right"], message=found["message"][_FILE])


def _shown(section: str, texts: Mapping[str, str]) -> list[str]:
    return [f"=== {section}{'' if name == _FILE else f' {name}'}\n{text}" for name, text in texts.items()]
