"""Which packages: asks apt, unprivileged, with a private root directory, for any architecture.

apt's ``status`` file is empty there, so the whole closure is answered. Nothing of the host is read or changed but its
proxy and transport settings. What apt says is checked again when packages are fetched: the lock holds SHA-256.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from moby import log, proc
from moby.components import hostapt
from moby.components.lock import Lock, Package
from moby.components.mirror import Mirror
from moby.components.recipe import Extent, Request
from moby.errors import CommandError, ConfigError, PlatformError

_EMPTY = ("SourceParts", "Parts", "Main", "Preferences", "PreferencesParts", "Trusted", "TrustedParts")
# What decides how the host reaches a network; everything else of its configuration stays outside.
_TRANSPORT = re.compile(r"Acquire::(https?|Check-Valid-Until|Max-ValidTime|Retries|ForceIPv[46])\b.*")
_URI = re.compile(r"'(?P<url>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})")
_FILE = re.compile(r"(?P<package>[^_]+)_(?P<version>[^_]+)_(?P<architecture>[^_]+)\.deb")
_KERNEL_IMAGE = re.compile(r"linux-image-\d.*")
_NO_APT = "resolving needs apt-get: run this on a Debian or Ubuntu host, or copy a lock made there"


class Resolver:
    """Resolves requests against ``mirror``, whose indexes must be signed by a key of ``keyring``.

    ``work`` keeps the indexes; they are read anew once per Resolver.
    """

    def __init__(self, mirror: Mirror, keyring: Path, work: Path, environment: Mapping[str, str]) -> None:
        self._mirror = mirror
        self._keyring = keyring
        self._work = work
        self._environment = environment
        self._fresh: set[Path] = set()

    def resolve(self, request: Request) -> Lock:
        """The lock for ``request``.

        Raises ``PlatformError`` without apt, ``ConfigError`` when apt cannot satisfy the request.
        """
        proc.find("apt-get", fix=_NO_APT)
        with self._root(request) as root:
            if root not in self._fresh:
                self._update(root, request)
                self._fresh.add(root)
            answer = self._ask(root, request)
        packages = tuple(sorted(_kept(self._packages(answer, request), request)))
        if not packages:
            raise ConfigError(f"apt found no package for {' '.join(request.packages)}", where=request.suite)
        return Lock(request=request.digest, packages=packages, resolved=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))

    @contextmanager
    def _root(self, request: Request) -> Iterator[Path]:
        """The private apt root for these sources, locked against other processes."""
        sources = self._sources(request)
        architectures = (request.architecture, *request.foreign)
        key = hashlib.sha256("\n".join([sources, *architectures]).encode()).hexdigest()[:16]
        root = self._work / "apt" / key
        for name in ("state/lists/partial", "cache/archives/partial", "etc"):
            (root / name).mkdir(parents=True, exist_ok=True)
        with (root / "moby.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (root / "status").write_text("")
            (root / "etc/sources.list").write_text(sources)
            (root / "apt.conf").write_text(
                configuration(root, architectures, transport(hostapt.settings(self._environment)))
            )
            yield root

    def _sources(self, request: Request) -> str:
        areas = " ".join(request.areas)
        rows = (
            (self._mirror.main, request.suite),
            (self._mirror.main, f"{request.suite}-updates"),
            (self._mirror.security, f"{request.suite}-security"),
        )
        return "".join(f"deb [signed-by={self._keyring}] {url} {suite} {areas}\n" for url, suite in rows)

    def _update(self, root: Path, request: Request) -> None:
        with log.step(f"Reading the package index of {request.suite} for {request.architecture}"):
            try:
                self._apt(root, "update", "--error-on=any")
            except CommandError as error:
                raise PlatformError(
                    f"cannot read the index of Debian {request.suite}: {error.what}",
                    fix="check the network and the mirror",
                ) from error

    def _ask(self, root: Path, request: Request) -> str:
        try:
            return self._apt(root, "install", "--print-uris", "-o", "Acquire::ForceHash=SHA256", *request.packages)
        except CommandError as error:
            raise ConfigError(
                f"apt cannot resolve {' '.join(request.packages)} for {request.architecture}: {error.what}",
                where=f"Debian {request.suite}",
            ) from error

    def _packages(self, answer: str, request: Request) -> Iterator[Package]:
        for found in _URI.finditer(answer):
            archive, path = self._mirror.split(unquote(found["url"]))
            name = _FILE.fullmatch(unquote(found["file"]))
            if name is None:
                raise ConfigError(f"apt named a file {found['file']}", where=f"Debian {request.suite}")
            suffix = "-security" if archive == "debian-security" else ""
            row = Package(
                package=name["package"],
                version=name["version"],
                architecture=name["architecture"],
                suite=request.suite + suffix,
                archive=archive,
                size_bytes=int(found["size"]),
                sha256=found["sha256"],
                path=path,
            )
            yield Package.parse(row.row, where=f"Debian {request.suite}")

    def _apt(self, root: Path, *words: str) -> str:
        environment = {**self._environment, "APT_CONFIG": str(root / "apt.conf"), "LC_ALL": "C"}
        return proc.run(["apt-get", "-y", "-q", *words], env=environment).decode(errors="replace")


def _kept(packages: Iterator[Package], request: Request) -> Iterator[Package]:
    """The part of the closure that the request's extent names."""
    named = {tuple(f"{name}:{request.architecture}".split(":")[:2]) for name in request.packages}
    for package in packages:
        if request.extent is Extent.KERNEL:
            wanted = _KERNEL_IMAGE.fullmatch(package.package) is not None
        else:
            independent = package.architecture == "all" and any(name == package.package for name, _ in named)
            exactly = (package.package, package.architecture) in named
            wanted = request.extent is Extent.CLOSURE or independent or exactly
        if wanted:
            yield package


def configuration(root: Path, architectures: tuple[str, ...], transport: str = "") -> str:
    """The whole configuration of a private apt root for ``architectures``, the first being the native one."""
    lines = [
        f'Dir "{root}/";',
        f'Dir::State "{root}/state/";',
        f'Dir::State::status "{root}/status";',
        f'Dir::Cache "{root}/cache/";',
        f'Dir::Etc "{root}/etc/";',
        f'Dir::Log "{root}/";',
        f'Dir::Etc::SourceList "{root}/etc/sources.list";',
        *(f'Dir::Etc::{name} "/dev/null";' for name in _EMPTY),
        f'APT::Architecture "{architectures[0]}";',
        "APT::Architectures { " + " ".join(f'"{name}";' for name in architectures) + " };",
        'APT::Install-Recommends "false";',
        'Acquire::Languages "none";',
        # A root started by uid 0 must not need directories that _apt can read.
        'APT::Sandbox::User "";',
    ]
    return "\n".join(lines) + "\n" + transport


def transport(settings: Mapping[str, str]) -> str:
    """The proxy and transport settings of a host, as configuration text."""
    return "".join(f'{key} "{value}";\n' for key, value in settings.items() if _TRANSPORT.match(key))
