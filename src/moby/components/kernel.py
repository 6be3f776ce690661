"""A kernel component from a ``linux-image`` package: ``kernel``, ``kernel.tar`` with chosen modules, ``kernel_config``.

``kernel.tar`` holds ``lib/modules/VERSION`` with the modules, unpacked, and the indexes that the package's maintainer
script would have made: ``modules.dep`` and ``modules.alias`` for what is carried, ``modules.builtin`` and
``modules.order`` of the package, and ``modules.moby``: the paths to load at boot, in order, one per line. Where the
recipe asks for device trees, they are in ``boot/dtb``.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from moby.artifact import Architecture
from moby.components.model import Kernel, for_architecture
from moby.components.modules import Module, Modules
from moby.components.tree import Tree
from moby.errors import IntegrityError
from moby.formats import tar
from moby.formats.entry import Entry, Kind, directory, file

_MODULES = "usr/lib/modules"
_DEVICE_TREES = "boot/dtb"
_RELEASE = re.compile(r"(?P<series>\d+\.\d+)\.(?P<patch>\d+)")
_ALL = "*"


class KernelFiles:
    """The files of one kernel package, seen through the recipe's ``kernel`` section."""

    def __init__(self, package: Tree, wanted: Kernel, architecture: Architecture, *, where: str) -> None:
        self._package = package
        self._wanted = wanted
        self._architecture = architecture
        self._where = where
        found = package.glob("boot/vmlinu[xz]-*")
        if len(found) != 1:
            raise IntegrityError(f"{len(found)} kernels in the package instead of one", where=where)
        self._image = found[0]
        self.version = found[0].partition("-")[2]
        self._base = f"{_MODULES}/{self.version}"

    @property
    def tags(self) -> tuple[str, ...]:
        """Moving tags: ``6.12.x`` and ``6.12.117``."""
        found = _RELEASE.match(self.version)
        return (f"{found['series']}.x", found[0]) if found else ()

    def entries(self, scratch: Path) -> Iterator[Entry]:
        """The component's files; ``scratch`` holds the modules' archive meanwhile."""
        yield self._copy(self._image, "kernel")
        with tempfile.TemporaryFile(dir=scratch) as archive:
            size = tar.write(self._module_files(), cast(BinaryIO, archive))
            archive.seek(0)
            yield Entry(path="kernel.tar", kind=Kind.FILE, size=size, data=cast(BinaryIO, archive))
        config = f"boot/config-{self.version}"
        if config in self._package:
            yield self._copy(config, "kernel_config")

    def _copy(self, path: str, name: str) -> Entry:
        return file(name, self._package.read(path))

    def _module_files(self) -> Iterator[Entry]:
        """``lib/modules/VERSION``, sorted, directories before what they hold."""
        modules = self._modules()
        boot = modules.order(self._named(self._wanted.modules, modules), where=self._where)
        carried = modules.order(
            (*(each.name for each in boot), *self._named(self._wanted.available, modules)), where=self._where
        )
        found = {module.path: module.data for module in carried}
        found |= self._indexes(modules, boot, carried)
        base = f"lib/modules/{self.version}"
        paths = {f"{base}/{path}": data for path, data in found.items()} | dict(self._device_trees())
        for path in sorted({*paths, *_parents(paths)}):
            yield file(path, paths[path]) if path in paths else directory(path)

    def _device_trees(self) -> Iterator[tuple[str, bytes]]:
        """Chosen device trees by their path in ``kernel.tar``. Raises ``IntegrityError`` for a glob of none."""
        base = f"usr/lib/linux-image-{self.version}"
        for glob in self._wanted.dtb:
            found = self._package.glob(f"{base}/{glob}")
            if not found:
                raise IntegrityError(f"no device tree is called {glob}", where=self._where)
            for path in found:
                yield f"{_DEVICE_TREES}/{path.removeprefix(f'{base}/')}", self._package.read(path)

    def _modules(self) -> Modules:
        prefix = f"{self._base}/"
        return Modules(
            (path.removeprefix(prefix) for path in self._package.glob(f"{self._base}/kernel/**")),
            self._text("modules.builtin").split(),
            lambda path: self._package.read(prefix + path),
        )

    def _text(self, name: str) -> str:
        path = f"{self._base}/{name}"
        return self._package.read(path).decode() if path in self._package else ""

    def _named(self, names: tuple[str, ...], modules: Modules) -> Iterator[str]:
        """The names meant for this architecture; ``*`` stands for all."""
        for name in for_architecture(names, self._architecture):
            yield from modules.names() if name == _ALL else (name,)

    def _indexes(self, modules: Modules, boot: tuple[Module, ...], carried: tuple[Module, ...]) -> dict[str, bytes]:
        by_path = sorted(carried, key=lambda module: module.path)
        dep = (
            " ".join([f"{module.path}:", *(each.path for each in modules.closure(module, where=self._where))])
            for module in by_path
        )
        alias = (f"alias {alias} {module.name}" for module in by_path for alias in module.aliases)
        lines = {
            "modules.dep": dep,
            "modules.alias": alias,
            "modules.moby": (module.path for module in boot),
            "modules.builtin": iter(self._text("modules.builtin").splitlines()),
            "modules.order": (line.removesuffix(".xz") for line in self._text("modules.order").splitlines()),
        }
        return {name: "".join(f"{line}\n" for line in each).encode() for name, each in lines.items()}


def _parents(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        while path := path.rpartition("/")[0]:
            yield path
