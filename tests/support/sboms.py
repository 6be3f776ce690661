"""The SBOM of a build, decoded and held to what SPDX 2.3 demands of every document; and a machine to build."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moby.formats.entry import Entry
from moby.rootfs.build import entries
from moby.rootfs.sbom import Sbom
from tests.support import images
from tests.support.images import MadeImage, Node, hardlink, image, symlink
from tests.support.roots import Root, root

Element = dict[str, Any]
_ID = re.compile(r"SPDXRef-[A-Za-z0-9.-]+")
# A machine with all that a root is made of.
TEXT = """
kernel: {image: k, cmdline: console=ttyS0}
init: [init, more]
onboot: [{name: once, image: web, command: [x]}]
services: [{name: web, image: web}, {name: other, image: other, readonly: true}]
volumes: [{name: data, image: other}, {name: packed, image: other, format: oci}, {name: blank}]
files: [{path: etc/motd, contents: "hello"}, {path: containers/onboot/000-once/lower/etc/w, contents: "mine"}]
"""
RECORD = "Package: libc6\nVersion: 2.41-12+deb13u1\nArchitecture: amd64\nStatus: install ok installed\n"
MADE = {
    "docker.io/library/k": image([{"kernel": "vmlinuz", "kernel.tar": images.tar({"lib/": "", "lib/a.ko": "module"})}]),
    "docker.io/library/init": image(
        [{"bin/init": "1", "etc/motd": "old", "etc/gone": "x", "var/lib/dpkg/status.d/libc6": RECORD}]
    ),
    "docker.io/library/more": image([{"bin/init": "2", "etc/gone": symlink("motd"), "big": b"b" * (3 << 20)}]),
    "docker.io/library/web": image([{"bin/w": "w", "bin/x": hardlink("bin/w"), "etc/w": "theirs", "l": symlink("x")}]),
    "docker.io/library/other": image([{"caf\N{LATIN SMALL LETTER E WITH ACUTE}": "é", "o": Node(data=b"o")}]),
}


@dataclass(frozen=True)
class Document:
    """One document; ``text`` is its JSON."""

    text: bytes

    @property
    def fields(self) -> Element:
        decoded: Element = json.loads(self.text)
        return decoded

    def elements(self, section: str) -> list[Element]:
        found = self.fields.get(section, [])
        assert isinstance(found, list)
        return found

    def package(self, name: str) -> Element:
        """The one package of that name."""
        (found,) = [each for each in self.elements("packages") if each["name"] == name]
        return found

    def owners(self) -> dict[str, list[str]]:
        """The names of the packages that contain each file, by its path."""
        names = {each["SPDXID"]: each["name"] for each in self.elements("packages")}
        owners: dict[str, list[str]] = {each["SPDXID"]: [] for each in self.elements("files")}
        for each in self.elements("relationships"):
            if each["relationshipType"] == "CONTAINS" and each["relatedSpdxElement"] in owners:
                owners[each["relatedSpdxElement"]].append(names[each["spdxElementId"]])
        return {each["fileName"]: owners[each["SPDXID"]] for each in self.elements("files")}

    def contained(self, name: str) -> list[str]:
        """The names of the packages in the package ``name``."""
        names = {each["SPDXID"]: each["name"] for each in self.elements("packages")}
        owner = self.package(name)["SPDXID"]
        return [
            names[each["relatedSpdxElement"]]
            for each in self.elements("relationships")
            if each["spdxElementId"] == owner and each["relatedSpdxElement"] in names
        ]

    def check(self) -> None:
        """Ids are unique and well formed, relationships end somewhere, files have their SHA-1."""
        known = ["SPDXRef-DOCUMENT", *(each["SPDXID"] for each in self._named())]
        assert len(known) == len(set(known))
        assert all(_ID.fullmatch(each) for each in known)
        for each in self.elements("relationships"):
            assert each["spdxElementId"] in known
            ends = each["relatedSpdxElement"]
            assert ends in known or ends in ("NONE", "NOASSERTION") or ends.startswith("DocumentRef-"), ends
        assert all(not each["fileName"].startswith("/") for each in self.elements("files"))

    def _named(self) -> Iterator[Element]:
        yield from self.elements("packages")
        yield from self.elements("files")


def document(written: Iterable[Entry], path: str = "sbom.spdx.json") -> Document:
    """The last entry of a root, which must be its SBOM, checked."""
    last: Entry | None = None
    text = b""
    for entry in written:
        last = entry
        if entry.path == path:
            text = entry.data if isinstance(entry.data, bytes) else entry.data.read(entry.size)
    assert last is not None and last.path == path
    assert len(text) == last.size
    made = Document(text)
    made.check()
    return made


def machine(folder: Path, text: str = TEXT, made: dict[str, MadeImage] | None = None) -> Root:
    """The build of ``text`` whose images are those of ``MADE``, unless others are given."""
    return root(folder, text, MADE if made is None else made)


def sbom(machine: Root, folder: Path, **settings: str) -> Iterator[Entry]:
    """The entries of the machine's root with its SBOM, whose parts are kept in ``folder``."""
    return entries(machine.plan, machine.store, sbom=Sbom(cache=folder / "cache", **settings))


def made(machine: Root, folder: Path, **settings: str) -> Document:
    """The SBOM of the machine, checked."""
    return document(sbom(machine, folder, **settings), settings.get("path", "sbom.spdx.json"))
