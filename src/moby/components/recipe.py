"""A recipe: a directory with ``build.yml``, its sources and its locks, and the name its content gives it.

The name is ``localhost/moby/NAME:HASH``; HASH covers every file that can change the image, the locks of all
architectures and the version of this builder. It is never pulled: ``localhost`` has no registry.
"""

from __future__ import annotations

import enum
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from moby import unchanged
from moby.artifact import Architecture
from moby.components.lock import Lock
from moby.components.model import RecipeSpec, for_architecture
from moby.config import source
from moby.config.decode import decode, describe
from moby.errors import ConfigError

FILE_NAME = "build.yml"
LOCK_DIRECTORY = "lock"
# Raised when the builder makes other bytes from the same recipe, so that stores do not serve the old ones.
BUILDER_VERSION = 1
_MAX_FILE_BYTES = 64 << 20
_JUNK = re.compile(r"\..*|.*~|#.*#|.*\.(swp|swo|pyc|orig|rej|bak|tmp)|__pycache__")
# No part of a component made from packages; a Dockerfile may copy anything, so there they count.
_PROSE = frozenset({"README.md", "test", "tests"})


class Extent(enum.StrEnum):
    """How much of what apt resolves is wanted."""

    CLOSURE = "closure"
    NAMED = "named"
    KERNEL = "kernel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What apt is asked for: ``packages`` of ``suite`` for ``architecture`` (and ``foreign`` ones beside it)."""

    suite: str
    areas: tuple[str, ...]
    architecture: str
    foreign: tuple[str, ...]
    packages: tuple[str, ...]
    extent: Extent

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the request: a lock that carries another one is stale."""
        parts = [self.suite, self.areas, self.architecture, self.foreign, sorted(self.packages), self.extent]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One component: where it is and what ``build.yml`` says.

    ``config_label`` is its ``config`` as JSON. ``compiler`` says what compiles its C programs, and is part of its hash.
    ``overrides`` are locks that replace those of its directory.
    """

    directory: Path
    spec: RecipeSpec
    config_label: str = ""
    compiler: str = ""
    overrides: Mapping[str, Lock] = field(default_factory=dict)

    @classmethod
    def load(cls, directory: Path) -> Recipe:
        """Read ``directory``/build.yml. Raises ``ConfigError`` with all faults and their places."""
        path = directory / FILE_NAME
        unchanged.inputs().add_tree(directory)
        if not path.is_file():
            raise ConfigError(f"no {FILE_NAME} in this directory", where=str(directory))
        document = source.read(path.read_bytes(), file=str(path))
        if not isinstance(document.data, dict):
            raise ConfigError(f"a recipe is a mapping, not {describe(document.data)}", where=str(path))
        spec, faults = decode(RecipeSpec, document)
        if faults or spec is None:
            raise ConfigError.gather(document.places.errors(faults))
        if spec.dockerfile and not (directory / spec.dockerfile).is_file():
            place = document.places.where(("dockerfile",))
            raise ConfigError(f"{spec.dockerfile} does not exist in {directory}", where=place)
        # The label says what the author wrote, not our model of it.
        label = json.dumps(document.data["config"], separators=(",", ":")) if spec.config is not None else ""
        return cls(directory=directory, spec=spec, config_label=label)

    @property
    def where(self) -> str:
        """The file, for messages."""
        return str(self.directory / FILE_NAME)

    @property
    def name(self) -> str:
        """The component's name."""
        return self.spec.image

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        """Those of its architectures that packages and compilers exist for."""
        return tuple(Architecture(name) for name in self.spec.arches if name in list(Architecture))

    @property
    def targets(self) -> tuple[Architecture | None, ...]:
        """What a tool works for; ``(None,)`` for everything else."""
        return tuple(Architecture(name) for name in self.spec.targets or () if name in list(Architecture)) or (None,)

    @cached_property
    def by_dockerfile(self) -> bool:
        """Whether a container builder makes it: no packages, and a Dockerfile is there."""
        made = self.spec.packages or self.spec.kernel or self.spec.compile or self.spec.files
        if made and not self.spec.dockerfile:
            return False
        return (self.directory / (self.spec.dockerfile or "Dockerfile")).is_file()

    def file(self, name: str) -> Path:
        """The file ``name`` of the recipe. Raises ``ConfigError`` when it lies outside or does not exist."""
        path = (self.directory / name).resolve()
        if not path.is_relative_to(self.directory.resolve()):
            raise ConfigError(f"{name} is outside the recipe directory", where=self.where)
        if not path.is_file():
            raise ConfigError(f"{name} does not exist", where=self.where)
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ConfigError(f"{name} is larger than {_MAX_FILE_BYTES >> 20} MiB", where=str(self.directory))
        return path

    def request(self, architecture: Architecture, target: Architecture | None = None) -> Request | None:
        """What apt must resolve for ``architecture`` (and a tool's ``target``); None when no package is needed."""
        wanted = self.spec.packages
        if self.spec.kernel is not None:
            wanted = (self.spec.kernel.package,)
        if self.spec.targets and target is not None:
            wanted += self.spec.targets.get(target.value, ())
        packages = for_architecture(wanted, architecture)
        if not packages:
            return None
        foreign = {name.partition(":")[2] for name in packages if ":" in name} - {str(architecture)}
        return Request(
            suite=self.spec.suite,
            areas=self.spec.areas,
            architecture=str(architecture),
            foreign=tuple(sorted(foreign)),
            packages=packages,
            extent=self._extent,
        )

    @property
    def _extent(self) -> Extent:
        if self.spec.kernel is not None:
            return Extent.KERNEL
        return Extent.CLOSURE if self.spec.closure else Extent.NAMED

    def lock_path(self, architecture: Architecture, target: Architecture | None = None) -> Path:
        """Where the lock for ``architecture`` (and a tool's ``target``) belongs."""
        return self.directory / LOCK_DIRECTORY / f"{lock_name(architecture, target)}.lock"

    def lock(self, architecture: Architecture, target: Architecture | None = None) -> Lock | None:
        """The lock in force; None when it was never made or was made for another request."""
        request = self.request(architecture, target)
        if request is None:
            return Lock(request="", packages=())
        found = self.overrides.get(lock_name(architecture, target))
        path = self.lock_path(architecture, target)
        if found is None and path.is_file():
            found = Lock.parse(path.read_text(), where=str(path))
        return found if found is not None and found.request == request.digest else None

    @cached_property
    def base_hash(self) -> str:
        """Hash of the directory's own files and locks, whatever ``overrides`` says."""
        return _digest(self._contents({}))

    @cached_property
    def hash(self) -> str:
        """The HASH of the component's name: 40 hex digits."""
        return _digest(self._contents(self.overrides)) if self.overrides else self.base_hash

    @property
    def reference(self) -> str:
        """``localhost/moby/NAME:HASH``."""
        return f"localhost/moby/{self.name}:{self.hash}"

    def _contents(self, overrides: Mapping[str, Lock]) -> dict[str, bytes]:
        """What the hash covers: SHA-256 of each file by its path, of a lock only its rows."""
        found = {"builder": str(BUILDER_VERSION).encode(), "compiler": self.compiler.encode()}
        for path in self._files():
            relative = path.relative_to(self.directory).as_posix()
            if path.parent.name == LOCK_DIRECTORY and path.suffix == ".lock":
                found[relative] = Lock.parse(path.read_text(), where=str(path)).digest
            else:
                executable = b"x" if path.stat().st_mode & 0o100 else b"-"
                with path.open("rb") as stream:
                    found[relative] = executable + hashlib.file_digest(stream, "sha256").digest()
        for name, lock in overrides.items():
            found[f"{LOCK_DIRECTORY}/{name}.lock"] = lock.digest
        return found

    def _files(self) -> Iterator[Path]:
        for path in sorted(self.directory.rglob("*")):
            parts = path.relative_to(self.directory).parts
            if any(_JUNK.fullmatch(part) for part in parts) or not path.is_file():
                continue
            if parts[0] in _PROSE and not self.by_dockerfile:
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(self.directory.resolve()):
                raise ConfigError("points outside the recipe directory", where=str(path))
            yield path


def lock_name(architecture: Architecture, target: Architecture | None = None) -> str:
    """Name of a lock without its suffix: ``amd64``, or ``amd64-arm64`` for a tool of amd64 hosts for arm64."""
    return f"{architecture}-{target}" if target else str(architecture)


def _digest(contents: Mapping[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name in sorted(contents):
        whole.update(name.encode() + b"\0" + hashlib.sha256(contents[name]).digest())
    return whole.hexdigest()[:40]
