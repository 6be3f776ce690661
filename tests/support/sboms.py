"""The SBOM of a build, decoded and held to what SPDX 2.3 demands of every document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from moby.formats.entry import Entry

Element = dict[str, Any]
_ID = re.compile(r"SPDXRef-[A-Za-z0-9.-]+")


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


def document(entries: Iterable[Entry], path: str = "sbom.spdx.json") -> Document:
    """The last entry of a root, which must be its SBOM, checked."""
    last: Entry | None = None
    text = b""
    for entry in entries:
        last = entry
        if entry.path == path:
            text = entry.data if isinstance(entry.data, bytes) else entry.data.read(entry.size)
    assert last is not None and last.path == path
    assert len(text) == last.size
    made = Document(text)
    made.check()
    return made
