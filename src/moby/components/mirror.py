"""Where Debian packages come from: a given mirror, else what the host's apt uses. No host name stands in this code.

The main and the security archive are different trees. The security archive of a mirror ``…/debian`` is taken to be
``…/debian-security`` beside it, unless the host's apt configuration or ``MOBY_DEBIAN_SECURITY_MIRROR`` names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from moby.context import Context, variable
from moby.errors import ConfigError, PlatformError
from moby.http import redact

_ONE_LINE = re.compile(r"deb(?:\s+\[(?P<options>[^]]*)\])?\s+(?P<uri>\S+)\s+(?P<suite>\S+)\s*(?P<areas>.*)")
_HOW = "give --debian-mirror URL, or set MOBY_DEBIAN_MIRROR, or have Debian sources in /etc/apt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One binary source of the host's apt: a URI, a suite, and whether its suite is a security one."""

    uri: str
    suite: str
    areas: tuple[str, ...]

    @property
    def security(self) -> bool:
        """Debian's own security suites are ``NAME-security`` (before Debian 11: ``NAME/updates``)."""
        return self.suite.endswith(("-security", "/updates"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """Base URLs of the two archives, without a trailing slash.

    ``snapshot`` is a base URL for versions the mirror has dropped; ``{archive}`` and ``{date}`` in it are filled in.
    """

    main: str
    security: str
    snapshot: str | None = None

    def url(self, archive: str, path: str) -> str:
        """The URL of ``path`` in ``archive`` (``debian`` or ``debian-security``)."""
        return f"{self.security if archive == 'debian-security' else self.main}/{path}"

    def snapshot_url(self, archive: str, path: str, date: str) -> str | None:
        """The URL of ``path`` in the snapshot archive at ``date``; None when none is configured."""
        if self.snapshot is None:
            return None
        base = self.snapshot if "{archive}" in self.snapshot else f"{self.snapshot}/{{archive}}"
        return f"{base.replace('{archive}', archive).replace('{date}', date)}/{path}"

    def split(self, url: str) -> tuple[str, str]:
        """``(archive, path)`` of a URL below one of the two. Raises ``ConfigError`` for any other."""
        bases = (("debian-security", self.security), ("debian", self.main))
        for archive, base in sorted(bases, key=lambda pair: -len(pair[1])):
            if url.startswith(base + "/"):
                return archive, url[len(base) + 1 :]
        raise ConfigError(f"apt answered with a URL outside the mirror: {redact(url)}")


def choose(context: Context, root: Path = Path("/")) -> Mirror:
    """The mirror to use. ``root`` is where the host's configuration lies.

    Raises ``PlatformError`` when there is none, ``ConfigError`` when a URL is not HTTP.
    """
    sources = tuple(host_sources(root))
    main = context.debian_mirror
    security = variable(context.environment, "DEBIAN_SECURITY_MIRROR")
    if main is None:
        main = next((source.uri for source in sources if _debian(source) and not source.security), None)
        if main is None:
            raise PlatformError("no Debian mirror is known", fix=_HOW)
        security = security or next((s.uri for s in sources if _debian(s) and s.security), None)
    main = _checked(main)
    snapshot = variable(context.environment, "DEBIAN_SNAPSHOT")
    return Mirror(
        main=main,
        security=_checked(security) if security else f"{main}-security",
        snapshot=_checked(snapshot) if snapshot else None,
    )


def host_sources(root: Path = Path("/")) -> Iterator[Source]:
    """The enabled binary sources of the host's apt: ``sources.list``, then ``sources.list.d`` by name (apt's order)."""
    etc = root / "etc/apt"
    paths = [etc / "sources.list"]
    if (etc / "sources.list.d").is_dir():
        paths += sorted((etc / "sources.list.d").iterdir())
    for path in paths:
        if not path.is_file():
            continue
        text = path.read_text(errors="replace")
        if path.suffix == ".list":
            yield from one_line(text)
        elif path.suffix == ".sources":
            yield from deb822(text)


def one_line(text: str) -> Iterator[Source]:
    """Sources of the one-line format (sources.list(5))."""
    for line in text.splitlines():
        found = _ONE_LINE.fullmatch(line.partition("#")[0].strip())
        if found:
            yield Source(
                uri=found["uri"].rstrip("/"), suite=found["suite"].rstrip("/"), areas=tuple(found["areas"].split())
            )


def deb822(text: str) -> Iterator[Source]:
    """Sources of the deb822 format (sources.list(5)): paragraphs of fields, continued by leading blanks."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        unfolded = re.sub(r"\n[ \t]+", " ", paragraph)
        fields = {
            key.strip().lower(): value.split()
            for key, colon, value in (line.partition(":") for line in unfolded.splitlines())
            if colon
        }
        if "deb" not in fields.get("types", ()) or fields.get("enabled", ["yes"]) == ["no"]:
            continue
        for uri in fields.get("uris", ()):
            for suite in fields.get("suites", ()):
                yield Source(uri=uri.rstrip("/"), suite=suite.rstrip("/"), areas=tuple(fields.get("components", ())))


def _debian(source: Source) -> bool:
    """Whether this is (a mirror of) Debian's archive and not some vendor's: judged by its path."""
    path = urlsplit(source.uri).path.rstrip("/")
    return "main" in source.areas and re.search(r"/debian(-security)?(/|$)", path + "/") is not None


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"not an HTTP URL: {redact(url)}", where="Debian mirror", fix=_HOW)
    return url.rstrip("/")
