"""Which packages an image holds, read from the package databases among its files.

Sources: dpkg's ``status`` file, whose records images without dpkg keep one by one in ``status.d``; apk's ``installed``
database, version 2; ``os-release``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from moby.formats import spdx

_DPKG = "var/lib/dpkg/status"
_DPKG_RECORDS = "var/lib/dpkg/status.d/"
_APK = frozenset(("lib/apk/db/installed", "usr/lib/apk/db/installed"))
_RELEASES = ("etc/os-release", "usr/lib/os-release")
_MAX_LINE_BYTES = 1 << 16
_MAX_PACKAGES = 100_000
# Where all of these are.
_FOLDERS = ("var/lib/dpkg/", "lib/apk/", "usr/lib/apk/", "etc/os-", "usr/lib/os-")
_DEB = {"Package": "name", "Version": "version", "Architecture": "architecture", "Status": "status"}
_APK_FIELDS = {"P": "name", "V": "version", "A": "architecture"}


@dataclass(frozen=True, slots=True, order=True)
class Installed:
    """One package; ``kind`` is ``deb`` or ``apk``."""

    name: str
    version: str
    architecture: str
    kind: str

    def purl(self, distribution: str) -> str:
        """Its package URL as one of ``distribution`` (the ``ID`` of ``os-release``)."""
        return spdx.purl(self.kind, distribution, self.name, version=self.version, arch=self.architecture)


class Databases:
    """Looks for databases among the files of one image, whose root is at ``prefix``."""

    def __init__(self, prefix: str) -> None:
        self._start = f"{prefix}/" if prefix else ""
        self._packages: set[Installed] = set()
        self._releases: dict[str, dict[str, str]] = {}

    def sink(self, path: str) -> Callable[[bytes], None] | None:
        """What to give the bytes of the file ``path`` to, piece by piece and at last ``b""``; None for other files."""
        name = path[len(self._start) :]
        if not name.startswith(_FOLDERS) or not path.startswith(self._start):
            return None
        if name == _DPKG or (name.startswith(_DPKG_RECORDS) and not name.endswith(".md5sums")):
            return _Lines(_Records("deb", _DEB, self._add).line)
        if name in _APK:
            return _Lines(_Records("apk", _APK_FIELDS, self._add).line)
        if name in _RELEASES:
            values = self._releases.setdefault(name, {})
            return _Lines(lambda line: _release(line, values))
        return None

    def packages(self) -> Iterator[tuple[Installed, str]]:
        """What was found, sorted, each with its package URL."""
        named = next((self._releases[name]["ID"] for name in _RELEASES if "ID" in self._releases.get(name, {})), "")
        for each in sorted(self._packages):
            default = "alpine" if each.kind == "apk" else "debian"
            yield each, each.purl(named or default)

    def _add(self, package: Installed) -> None:
        if len(self._packages) < _MAX_PACKAGES:
            self._packages.add(package)


class _Lines:
    """Cuts what it is given into lines; the rest of an overlong one is dropped."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._rest = b""

    def __call__(self, data: bytes) -> None:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()[:_MAX_LINE_BYTES]
        for line in lines:
            self._take(line.decode("utf-8", "replace"))
        if not data:
            self._take(self._rest.decode("utf-8", "replace"))
            self._take("")


class _Records:
    """Paragraphs of ``KEY: VALUE`` lines, an empty line after each; continued lines are not looked at."""

    def __init__(self, kind: str, keys: dict[str, str], add: Callable[[Installed], None]) -> None:
        self._kind = kind
        self._keys = keys
        self._add = add
        self._values: dict[str, str] = {}

    def line(self, text: str) -> None:
        if text:
            key, colon, value = text.partition(":")
            if colon and key in self._keys:
                self._values[self._keys[key]] = value.strip()
            return
        values, self._values = self._values, {}
        installed = values.get("status", "installed").endswith("installed")
        if installed and "not-installed" not in values.get("status", "") and {"name", "version"} <= values.keys():
            self._add(Installed(values["name"], values["version"], values.get("architecture", ""), self._kind))


def _release(line: str, values: dict[str, str]) -> None:
    key, equals, value = line.partition("=")
    if equals and key == "ID":
        values[key] = value.strip().strip("\"'").lower()
