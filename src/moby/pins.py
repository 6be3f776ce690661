"""``moby.lock``: the images that names mean, pinned to digests so that a build means the same ones tomorrow.

    docker.io/library/nginx:1.27 sha256:…           what the name means: an index, or the only manifest
      linux/amd64 sha256:…                          the image for each platform
      linux/arm64 sha256:…

Sorted, one thing on a line, so that changes can be read and merged. Components (``localhost/moby/…``) need no pin, as
their names are hashes of what they are made from, and neither do names with a digest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from moby import log
from moby.errors import ConfigError, IntegrityError, PlatformError
from moby.oci.digest import Digest
from moby.oci.image import Image
from moby.oci.manifest import Platform
from moby.oci.reference import Reference
from moby.oci.resolve import LOCAL_PREFIX

NAME = "moby.lock"
_HEADER = "# Images by digest, made by `moby lock`; `moby lock --update` renews it. Keep it beside the YAML file.\n"
_MAX_BYTES = 4 << 20


class Resolver(Protocol):
    """Gives the image of a name."""

    def resolve(self, reference: Reference, platform: Platform) -> Image:
        """The image for ``platform``. Raises ``MobyError``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """What a name meant: ``root`` is an index or a manifest, ``images`` the manifest for each platform, sorted."""

    root: Digest
    images: tuple[tuple[str, Digest], ...]

    @classmethod
    def of(cls, root: Digest, images: Mapping[str, Digest]) -> Pin:
        """The pin with its images sorted."""
        return cls(root=root, images=tuple(sorted(images.items())))

    def image(self, platform: Platform) -> Digest | None:
        """The image for ``platform``, by the same rule as an index has: the exact variant, then another."""
        found = [(Platform.parse(text), digest) for text, digest in self.images]
        exact = [digest for each, digest in found if each == platform]
        return next(iter(exact + [digest for each, digest in found if platform.accepts(each)]), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One name's pin before and after; None is no pin."""

    reference: str
    before: Pin | None
    after: Pin | None


class Pins:
    """Pins by expanded name; ``absent`` says that there was no file to read them from."""

    def __init__(self, pins: Mapping[str, Pin] | None = None, *, absent: bool = False) -> None:
        self._pins = dict(sorted((pins or {}).items()))
        self.absent = absent

    @classmethod
    def parse(cls, text: str, *, where: str = NAME) -> Pins:
        """The pins that ``text`` lists. Raises ``ConfigError`` with the line of what is wrong."""
        roots: dict[str, Digest] = {}
        images: dict[str, dict[str, Digest]] = {}
        name = ""
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            left, digest = _line(line, f"{where}:{number}")
            if not line.startswith(" "):
                name = _name(left, f"{where}:{number}")
                roots[name], images[name] = digest, {}
            elif name:
                images[name][_platform(left, f"{where}:{number}")] = digest
            else:
                raise ConfigError("a platform before any image", where=f"{where}:{number}")
        return cls({name: Pin.of(root, images[name]) for name, root in roots.items()})

    @classmethod
    def read(cls, path: Path) -> Pins:
        """The pins in a file, none when there is no file. Raises ``ConfigError``."""
        try:
            with path.open("rb") as stream:
                data = stream.read(_MAX_BYTES + 1)
            return cls.parse(data.decode(), where=str(path))
        except FileNotFoundError:
            return cls(absent=True)
        except OSError as error:
            raise ConfigError(f"cannot read it: {error.strerror}", where=str(path), fix="make it: moby lock") from error
        except UnicodeDecodeError as error:
            raise ConfigError("not text", where=str(path), fix="make it anew: moby lock") from error

    def render(self) -> str:
        """The file's text."""
        lines = [_HEADER]
        for name, pin in self._pins.items():
            lines.append(f"\n{name} {pin.root}\n")
            lines += (f"  {platform} {digest}\n" for platform, digest in pin.images)
        return "".join(lines)

    def write(self, path: Path) -> None:
        """Put them into a file, at once. Raises ``PlatformError``."""
        try:
            with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as stream:
                stream.write(self.render())
            made = Path(stream.name)
            made.chmod(0o644)
            made.replace(path)
        except OSError as error:
            raise PlatformError(f"cannot write it: {error.strerror}", where=str(path)) from error

    def get(self, reference: Reference) -> Pin | None:
        """The pin of a name."""
        return next((self._pins[name] for name in reference.names if name in self._pins), None)

    def names(self) -> tuple[str, ...]:
        """Every pinned name, sorted."""
        return tuple(self._pins)

    def changed(self, pins: Mapping[str, Pin | None]) -> Pins:
        """These pins with others in their place; None removes one."""
        merged = {**self._pins, **pins}
        return Pins({name: pin for name, pin in merged.items() if pin is not None})

    def changes(self, after: Pins) -> list[Change]:
        """What differs from ``after``."""
        names = sorted({*self._pins, *after._pins})
        found = (Change(reference=each, before=self._pins.get(each), after=after._pins.get(each)) for each in names)
        return [each for each in found if each.before != each.after]


def needs_pin(reference: Reference) -> bool:
    """Whether the name may mean something else tomorrow."""
    return reference.digest is None and not str(reference).startswith(LOCAL_PREFIX)


class Pinned:
    """A resolver that holds ``resolver`` to ``pins``, read from ``where``; ``locked`` refuses names without a pin."""

    def __init__(self, resolver: Resolver, pins: Pins, *, where: str, locked: bool = False) -> None:
        self._resolver = resolver
        self._pins = pins
        self._where = where
        self._locked = locked
        self._told: set[Reference] = set()

    def resolve(self, reference: Reference, platform: Platform) -> Image:
        """The image that is pinned, under its name as written.

        Raises ``ConfigError`` for a name that must be pinned and is not, and for any that needs a pin when the file is
        missing; ``IntegrityError`` when what is found is not what is pinned, and what the resolver raises.
        """
        if not needs_pin(reference):
            return self._resolver.resolve(reference, platform)
        if self._pins.absent:
            what = f"not pinned: there is no file {self._where}"
            raise ConfigError(what, where=str(reference), fix=self._fix(reference, None))
        pin = self._pins.get(reference)
        digest = pin.image(platform) if pin is not None else None
        if digest is None and self._locked:
            what = f"not pinned for {platform}" if pin is not None else "not pinned"
            raise ConfigError(f"{what} in {self._where}", where=str(reference), fix=self._fix(reference, pin))
        if pin is None:
            if reference not in self._told:
                log.info(f"{reference} is not pinned in {self._where}")
            self._told.add(reference)
            return self._resolver.resolve(reference, platform)
        image = self._resolver.resolve(replace(reference, digest=pin.root), platform)
        if digest is not None and image.digest != digest:
            what = f"pinned in {self._where} is {digest}, found is {image.digest}"
            raise IntegrityError(what, where=f"{reference} for {platform}", fix=self._fix(reference, pin))
        return replace(image, reference=reference)

    def _fix(self, reference: Reference, pin: Pin | None) -> str:
        return "pin it: moby lock FILE.yml" if pin is None else f"renew it: moby lock --update {reference}"


def beside(files: Sequence[str]) -> Path:
    """The lock of a build of ``files``: beside the last one that is no address and not standard input."""
    local = [Path(each).parent for each in files if each != "-" and "://" not in each]
    return (local[-1] if local else Path()) / NAME


def find(references: Iterable[Reference], locate: Callable[[Reference], Pin]) -> dict[str, Pin | None]:
    """The pins of those names that need one, by asking ``locate`` for each."""
    return {str(each): locate(each) for each in dict.fromkeys(references) if needs_pin(each)}


def _line(line: str, where: str) -> tuple[str, Digest]:
    left, _, digest = line.strip().rpartition(" ")
    try:
        return left.strip(), Digest.parse(digest)
    except IntegrityError as error:
        raise ConfigError(error.what, where=where, fix="a line is a name and a digest") from error


def _name(text: str, where: str) -> str:
    try:
        return Reference.parse(text).expanded
    except ConfigError as error:
        raise ConfigError(error.what, where=where, fix=error.fix) from error


def _platform(text: str, where: str) -> str:
    try:
        return str(Platform.parse(text))
    except ConfigError as error:
        raise ConfigError(error.what, where=where, fix=error.fix) from error
