"""What an SPDX document that came with an image adds to the SBOM of a machine.

Such documents are anybody's: their ids are made different from all others', their paths are moved to where the image
is unpacked, and what does not fit together (a file without a SHA-1, a second element with an id, a relationship with an
unknown end) is left out.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from typing import cast

from moby.errors import IntegrityError
from moby.formats import spdx
from moby.formats.jsonstream import members

Element = dict[str, object]
Add = Callable[[str, bytes], None]

_ID = re.compile(r"SPDXRef-[A-Za-z0-9.-]{1,200}")
_LICENCE = re.compile(r"LicenseRef-(?=[A-Za-z0-9.-])")
_LICENCE_KEYS = frozenset(
    ("licenseConcluded", "licenseDeclared", "licenseId", "licenseInfoFromFiles", "licenseInfoInFiles")
)
_OUTSIDE = ("NONE", "NOASSERTION")
_DOCUMENT_REF = "DocumentRef-"


class Attested:
    """The document in an in-toto statement, as part of ``owner``, the id of the image's package.

    Raises ``IntegrityError`` from its methods when the text is not JSON.
    """

    def __init__(self, text: str, *, owner: str, number: int, prefix: str, where: str) -> None:
        self._text = text
        self._owner = owner
        self._tag = f"{owner.removeprefix('SPDXRef-')}-a{number}"
        self._prefix = prefix
        self._where = where
        self.paths: set[str] = set()
        self._written: set[str] = set()
        self.packages = 0

    def write(self, add: Add) -> None:
        """Give every element to ``add`` with its section. Then ``paths`` are those of its files."""
        known: dict[str, str] = {}
        for section, identifier in self._identified():
            known.setdefault(identifier, section)
        described = False
        for section, element in self._elements():
            if section == "relationships":
                described |= self._relationship(element, known, add)
            elif section == "documentDescribes" and isinstance(element, str) and element in known:
                described = True
                add("relationships", spdx.relationship(self._owner, "CONTAINS", self._named(element)))
            elif isinstance(element, dict):
                self._element(section, cast(Element, element), known, add)
        if not described:
            for identifier, section in known.items():
                if section == "packages":
                    add("relationships", spdx.relationship(self._owner, "CONTAINS", self._named(identifier)))

    def _elements(self) -> Iterator[tuple[str, object]]:
        try:
            yield from members(self._text, ("predicate",))
        except ValueError as error:
            what = f"an image's SBOM is not what it should be: {str(error)[:200]}"
            raise IntegrityError(what, where=self._where, fix="--no-sbom builds without") from error

    def _identified(self) -> Iterator[tuple[str, str]]:
        """The ids of packages and files that can be taken over."""
        for section, element in self._elements():
            if section in ("packages", "files") and isinstance(element, dict):
                identifier = element.get("SPDXID")
                usable = section == "packages" or _checksums(element)
                if isinstance(identifier, str) and _ID.fullmatch(identifier) and usable:
                    yield section, identifier

    def _element(self, section: str, element: Element, known: Mapping[str, str], add: Add) -> None:
        if section in ("packages", "files"):
            identifier = element.get("SPDXID")
            if not isinstance(identifier, str) or known.get(identifier) != section or identifier in self._written:
                return
            if section == "packages" or _checksums(element):
                self._written.add(identifier)
                add(section, self._package(element, known, add) if section == "packages" else self._file(element))
        elif section == "hasExtractedLicensingInfos":
            add(section, spdx.line(self._licences(element)))
        elif section == "externalDocumentRefs" and isinstance(element.get("checksum"), dict):
            name = str(element.get("externalDocumentId", ""))
            add(section, spdx.line({**element, "externalDocumentId": self._named(name)}))
        elif section == "annotations":
            add(section, spdx.line({key: value for key, value in element.items() if key != "SPDXID"}))

    def _package(self, element: Element, known: Mapping[str, str], add: Add) -> bytes:
        identifier = self._named(str(element["SPDXID"]))
        self.packages += 1
        files = element.get("hasFiles")
        for each in files if isinstance(files, list) else ():
            if isinstance(each, str) and each in known:
                add("relationships", spdx.relationship(identifier, "CONTAINS", self._named(each)))
        rest = {key: value for key, value in self._licences(element).items() if key not in ("SPDXID", "hasFiles")}
        name = rest.get("packageFileName")
        placed = self._placed(name) if isinstance(name, str) and name else self._prefix
        rest |= {"packageFileName": placed} if placed else {}
        needed = {"SPDXID": identifier, "name": identifier, "downloadLocation": spdx.NO_ASSERTION}
        return spdx.line({**needed, **rest})

    def _file(self, element: Element) -> bytes:
        path = self._placed(str(element.get("fileName", "")))
        self.paths.add(path)
        first = {"SPDXID": self._named(str(element["SPDXID"])), "fileName": path, "checksums": _checksums(element)}
        rest = {key: value for key, value in self._licences(element).items() if key not in first}
        return spdx.line({**first, "copyrightText": "", **rest})

    def _relationship(self, element: object, known: Mapping[str, str], add: Add) -> bool:
        """One relationship; whether it says what the document is about."""
        if not isinstance(element, dict):
            return False
        kind, one, other = (
            str(element.get(key, "")) for key in ("relationshipType", "spdxElementId", "relatedSpdxElement")
        )
        if one == spdx.DOCUMENT:
            if other not in known:
                return False
            add("relationships", spdx.relationship(self._owner, "CONTAINS", self._named(other)))
            return kind == "DESCRIBES"
        if one in known and (other in known or other in _OUTSIDE or other.startswith(_DOCUMENT_REF)):
            renamed = {"spdxElementId": self._named(one), "relatedSpdxElement": self._named(other)}
            add("relationships", spdx.line({**element, **renamed}))
        return False

    def _named(self, identifier: str) -> str:
        """The id under which an element of this document is known outside of it."""
        if identifier.startswith(_DOCUMENT_REF):
            return f"{_DOCUMENT_REF}{self._tag}-{identifier.removeprefix(_DOCUMENT_REF)}"
        if identifier in _OUTSIDE:
            return identifier
        return f"SPDXRef-{self._tag}-{identifier.removeprefix('SPDXRef-')}"

    def _placed(self, path: str) -> str:
        """A path inside the image as one of the machine."""
        return posixpath.join(self._prefix, posixpath.normpath(f"/{path}").lstrip("/"))

    def _licences(self, element: Element) -> Element:
        """``element`` with the names of licences that only this document defines made its own."""
        own = f"LicenseRef-{self._tag}-"

        def renamed(value: object) -> object:
            if isinstance(value, list):
                return [renamed(each) for each in value]
            return _LICENCE.sub(own, value) if isinstance(value, str) else value

        return {key: renamed(value) if key in _LICENCE_KEYS else value for key, value in element.items()}


def _checksums(element: Element) -> list[object]:
    """The checksums of a file, its SHA-1 first; none when it has no SHA-1."""
    given = element.get("checksums")
    sums = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    sha1 = [each for each in sums if each.get("algorithm") == "SHA1" and _is_sha1(each.get("checksumValue"))]
    if not sha1:
        return []
    first = {"algorithm": "SHA1", "checksumValue": sha1[0]["checksumValue"]}
    return [first, *(each for each in sums if each.get("algorithm") != "SHA1")]


def _is_sha1(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{40}", value) is not None
