"""Elements of an SPDX 2.3 document in its JSON form, one compact line each, and package URLs.

Sources: SPDX specification 2.3 (clauses 6 to 11) and its JSON schema; package-url specification, types ``deb``, ``apk``
and ``oci``. An element's line begins with its ``SPDXID``, so that it can be read off without decoding the line.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from json.encoder import encode_basestring_ascii
from urllib.parse import quote

DOCUMENT = "SPDXRef-DOCUMENT"
NAMESPACE = "https://mobyproject.org/spdx/"
NO_ASSERTION = "NOASSERTION"
# The sections of a document, in the order in which they are written here.
SECTIONS = (
    "packages",
    "files",
    "hasExtractedLicensingInfos",
    "relationships",
    "annotations",
    "externalDocumentRefs",
)
FIXED_CREATED = "2017-04-18T16:30:00Z"

_UNFIT = re.compile(r"[^A-Za-z0-9.-]+")
_ID_START = len('{"SPDXID":"')
_SHA1_START = b'"checksumValue":"'
_SHA1_DIGITS = 40
# In place of the name where a name is made from the rest.
_UNNAMED = uuid.UUID(int=0)


def line(element: Mapping[str, object]) -> bytes:
    """One element, without a newline."""
    return json.dumps(element, separators=(",", ":")).encode()


def identifier(*parts: str) -> str:
    """``SPDXRef-`` and the parts, with what such a name may not hold made ``-``."""
    return "SPDXRef-" + "-".join(_UNFIT.sub("-", part) for part in parts)


def id_of(line: bytes) -> bytes:
    """The ``SPDXID`` of a line that begins with it."""
    return line[_ID_START : line.index(b'"', _ID_START)]


def file_line(identifier: str, path: str, sha1: str) -> bytes:
    """A file; the SHA-1 (hex) is the one checksum that the specification demands (clause 8.4)."""
    return (
        f'{{"SPDXID":"{identifier}","fileName":{_quoted(path)},'
        f'"checksums":[{{"algorithm":"SHA1","checksumValue":"{sha1}"}}],"copyrightText":"{NO_ASSERTION}"}}'
    ).encode()


def _quoted(path: str) -> str:
    """A path as JSON text, in ASCII; most need no look at each of their characters."""
    if path.isascii():
        if path.isprintable() and '"' not in path and "\\" not in path:
            return f'"{path}"'
        return encode_basestring_ascii(path)
    return encode_basestring_ascii(path.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def sha1_of(line: bytes) -> bytes:
    """The SHA-1 of a file's line, which is its first checksum."""
    start = line.index(_SHA1_START) + len(_SHA1_START)
    return bytes.fromhex(line[start : start + _SHA1_DIGITS].decode())


def relationship(element: str, kind: str, related: str) -> bytes:
    """``element`` ``kind`` (clause 11, for instance ``CONTAINS``) ``related``."""
    return (f'{{"spdxElementId":"{element}","relationshipType":"{kind}","relatedSpdxElement":"{related}"}}').encode()


def package(identifier: str, name: str, *, version: str = "", **more: object) -> dict[str, object]:
    """A package; ``more`` are further members. Where it was downloaded from is not asserted."""
    named = {"SPDXID": identifier, "name": name}
    versioned = {"versionInfo": version} if version else {}
    return {**named, **versioned, "downloadLocation": NO_ASSERTION, **more}


def purl(kind: str, *parts: str, version: str = "", **qualifiers: str) -> str:
    """``pkg:KIND/PARTS@VERSION?QUALIFIERS``; qualifiers are sorted, empty ones left out."""
    text = f"pkg:{kind}/" + "/".join(quote(part, safe="-._~:") for part in parts if part)
    if version:
        text += "@" + quote(version, safe="-._~:")
    named = "&".join(f"{key}={quote(value, safe='-._~:/')}" for key, value in sorted(qualifiers.items()) if value)
    return f"{text}?{named}" if named else text


def purl_reference(locator: str) -> dict[str, str]:
    """An external reference that is a package URL."""
    return {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": locator}


def verification_code(sha1s: Iterable[bytes]) -> str:
    """The code over all files of a package (clause 7.9): SHA-1 (hex) of their sorted SHA-1s, joined; empty without any.

    Takes 20 bytes for each: they are sorted by their first byte as they come, and only then among their like.
    """
    by_first = [bytearray() for _ in range(256)]
    for digest in sha1s:
        by_first[digest[0]] += digest
    if not any(by_first):
        return ""
    code = hashlib.sha1()
    for found in by_first:
        code.update(b"".join(sorted(found[at : at + 20] for at in range(0, len(found), 20))).hex().encode())
    return code.hexdigest()


def analyzed(code: str) -> dict[str, object]:
    """What a package says of its files, whose verification code is ``code``; empty when none are listed."""
    if not code:
        return {"filesAnalyzed": False}
    return {"filesAnalyzed": True, "packageVerificationCode": {"packageVerificationCodeValue": code}}


def head(name: str, *, created: str = FIXED_CREATED, creators: Sequence[str], unique: uuid.UUID = _UNNAMED) -> bytes:
    """The beginning of a document up to its first section. ``unique`` has a fixed length and may be put in later."""
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT,
        "name": name,
        "documentNamespace": f"{NAMESPACE}{name}-{unique}",
        "creationInfo": {"licenseListVersion": "3.20", "creators": list(creators), "created": created},
    }
    return line(document)[:-1]


def unique(sha256: str) -> uuid.UUID:
    """The name of a document, from a SHA-256 (hex) of everything else that is in it."""
    return uuid.uuid5(uuid.NAMESPACE_URL, NAMESPACE + sha256)
