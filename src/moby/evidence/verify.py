"""Whether an artifact is what its YAML gives: it is built again, and the bytes are compared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from moby.errors import ConfigError
from moby.evidence.diff import Difference, Place, diff
from moby.evidence.inspect import Form
from moby.outputs import FORMATS, Format
from moby.rootfs.sbom import DEFAULT_PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What is to be verified: the files of ``format`` by their roles, of a build called ``name``."""

    format: Format
    name: str
    files: Mapping[str, Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One file: its SHA-256 (hex), and that of what was built now; empty where there is none."""

    role: str
    path: Path
    sha256: str
    rebuilt: str

    @property
    def same(self) -> bool:
        """Whether not a byte differs."""
        return self.sha256 == self.rebuilt


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came out. ``difference`` is the first one and ``cause`` the input that gave it; there are ``count``."""

    format: str
    files: tuple[Compared, ...]
    difference: Difference | None = None
    cause: str = ""
    count: int = 0

    @property
    def identical(self) -> bool:
        """Whether all files are the same."""
        return all(each.same for each in self.files)

    def form(self) -> Form:
        """For ``json.dumps``."""
        files = [
            {"role": each.role, "path": str(each.path), "sha256": each.sha256, "rebuilt": each.rebuilt}
            for each in self.files
        ]
        found: Form = {"identical": self.identical, "format": self.format, "files": files}
        if self.difference is not None:
            found |= {"difference": self.difference.form(), "cause": self.cause, "differences": self.count}
        return found

    def lines(self) -> Iterator[str]:
        """For people."""
        for each in self.files:
            yield f"{each.path}: {'identical' if each.same else 'differs'}, sha256:{each.sha256 or 'none'}"
        if self.difference is not None:
            yield f"first difference: {self.difference}"
            yield f"  it comes from {self.cause or 'nothing in this build'}"
        if self.count > 1:
            yield f"  and {self.count - 1} more"


def given(path: Path, format: str = "") -> Given:
    """What ``path`` is a file of, or the base name of; ``format`` decides where names do not.

    Raises ``ConfigError`` when there is no such file, or several formats would call it so.
    """
    if format and format not in FORMATS:
        raise ConfigError(f"unknown format {format}", where="--format", fix="moby build --help lists them")
    wanted = [FORMATS[format]] if format else list(FORMATS.values())
    found = [each for kind in wanted for each in _readings(path, kind)]
    if not found:
        return _unnamed(path, format)
    best = max(map(_rank, found))
    chosen = [each for each in found if _rank(each) == best]
    if len(chosen) > 1 and len(chosen[0].format.files) == 1:
        names = ", ".join(each.format.name for each in chosen)
        raise ConfigError(f"files of several formats have such a name: {names}", where=str(path), fix="give --format")
    return chosen[0]


def _rank(given: Given) -> tuple[bool, int, bool]:
    """A format whose files are all there is meant, of several the one with the most, and one for all machines."""
    return len(given.files) == len(given.format.files), len(given.files), given.format.architectures is None


def _unnamed(path: Path, format: str) -> Given:
    """A file that was written with ``-o``."""
    if not path.is_file():
        fix = "name a file of a build, or its base name"
        raise ConfigError("a directory" if path.is_dir() else "no such file", where=str(path), fix=fix)
    if not format or len(FORMATS[format].files) > 1:
        raise ConfigError("no format calls its file so", where=str(path), fix="give its format with --format")
    return Given(format=FORMATS[format], name=path.name, files={FORMATS[format].files[0].role: path})


def _readings(path: Path, format: Format) -> Iterator[Given]:
    """``path`` taken as one of the files of ``format``, or as their base name."""
    stem = path.name
    if path.is_file():
        # web-efi.iso is no "web-efi" with ".iso", since another format has "-efi.iso".
        suffix = max((each for each in _suffixes() if path.name.endswith(each)), key=len, default="")
        if suffix not in {each.suffix for each in format.files}:
            return
        stem = path.name.removesuffix(suffix)
    paths = {each.role: path.with_name(stem + each.suffix) for each in format.files if stem}
    there = {role: place for role, place in paths.items() if place.is_file()}
    if there:
        yield Given(format=format, name=stem, files=there)


def _suffixes() -> set[str]:
    return {each.suffix for format in FORMATS.values() for each in format.files}


def verify(asked: Given, rebuilt: Mapping[str, Path], cause: Callable[[Place], str]) -> Verdict:
    """Compare with what was built now, by role; ``cause`` says what gave a place of an artifact.

    Raises ``IntegrityError`` when a file that differs is damaged.
    """
    files = tuple(_compared(role, asked.files, rebuilt) for role in {**rebuilt, **asked.files})
    verdict = Verdict(format=asked.format.name, files=files)
    if verdict.identical:
        return verdict
    found = [
        (each.path, difference) for each in files if not each.same for difference in _differences(each, asked, rebuilt)
    ]
    # The SBOM only follows, so it comes after all others, as what a command line says of the root does.
    path, first = min(found, key=lambda each: each[1].follows or each[1].place[-1:] == (DEFAULT_PATH,))
    reason = cause(first.place or (path.name,))
    return replace(verdict, difference=replace(first, place=(path.name, *first.place)), cause=reason, count=len(found))


def _differences(file: Compared, asked: Given, rebuilt: Mapping[str, Path]) -> tuple[Difference, ...]:
    if file.role not in rebuilt or file.role not in asked.files:
        return (Difference(place=(), only="a" if file.role in asked.files else "b", changes={}),)
    return diff(asked.files[file.role], rebuilt[file.role])


def _compared(role: str, asked: Mapping[str, Path], rebuilt: Mapping[str, Path]) -> Compared:
    path = asked.get(role) or rebuilt[role]
    return Compared(role=role, path=path, sha256=_hash(asked.get(role)), rebuilt=_hash(rebuilt.get(role)))


def _hash(path: Path | None) -> str:
    if path is None:
        return ""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
