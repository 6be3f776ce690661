"""Recipe + fetched packages → the component's file tree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from moby.artifact import Architecture
from moby.components import content, deb, slim
from moby.components.kernel import KernelFiles
from moby.components.lock import Lock
from moby.components.model import Program
from moby.components.recipe import Recipe
from moby.components.tree import Tree
from moby.errors import ConfigError
from moby.formats.entry import Entry, Kind


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """What a component is made from. ``debs`` are the fetched packages of ``lock``, in its order.

    ``compile_program`` gives the file of one entry of the recipe's ``compile``; ``scratch`` is for temporary files.
    """

    recipe: Recipe
    architecture: Architecture
    lock: Lock
    debs: tuple[Path, ...]
    scratch: Path
    compile_program: Callable[[Recipe, Program], Entry]

    @property
    def where(self) -> str:
        """The recipe's file, for messages."""
        return self.recipe.where

    def fill(self, tree: Tree) -> tuple[str, ...]:
        """Lay the component's files into the empty ``tree``; the moving tags that its content implies.

        Raises ``ConfigError`` for what the recipe asks and the packages lack, ``IntegrityError`` for bad packages.
        """
        tags: tuple[str, ...] = ()
        if self.recipe.spec.kernel is not None:
            tags = self._kernel(tree)
        elif self.debs:
            self._packages(tree)
        tree.add(self.compile_program(self.recipe, program) for program in self.recipe.spec.compile)
        tree.add(content.files(self.recipe))
        tree.remove(path for pattern in self.recipe.spec.remove for path in tree.glob(pattern))
        if self.recipe.spec.command or self.recipe.spec.entrypoint:
            tree.add(entry for entry in content.mount_points() if entry.path not in tree)
        return tags

    def _kernel(self, tree: Tree) -> tuple[str, ...]:
        wanted = self.recipe.spec.kernel
        assert wanted is not None
        if len(self.debs) != 1:
            raise ConfigError(f"kernel.package gave {len(self.debs)} kernel images instead of one", where=self.where)
        with Tree(self.scratch) as package:
            self._unpack(package)
            files = KernelFiles(package, wanted, self.architecture, where=self.where)
            tree.add(files.entries(self.scratch))
        return files.tags

    def _packages(self, tree: Tree) -> None:
        spec = self.recipe.spec
        self._unpack(tree)
        tree.add(deb.links(frozenset(tree.paths())))
        made = list(content.certificates(tree, where=self.where)) if spec.certificates else []
        if spec.users or spec.groups or spec.slim is None:
            made += content.accounts(tree, spec.users, spec.groups)
        if spec.slim is not None:
            kept = slim.select(tree, spec.slim.programs, spec.slim.files, self.architecture, where=self.where)
            tree.keep(kept)
            tree.remove(deb.MERGED)
            tree.add(list(slim.links(tree, self.architecture)))
        else:
            content.without_prose(tree, spec.keep)
        tree.add(self._records(tree))
        tree.add(made)

    def _unpack(self, tree: Tree) -> None:
        for package, path in zip(self.lock.packages, self.debs, strict=True):
            found = deb.entries(path, where=f"{package.package} {package.version}")
            tree.add(replace(entry, origin=package.package) for entry in found)

    def _records(self, tree: Tree) -> list[Entry]:
        """A record for each package that has a file in the tree."""
        origins = {tree[path].origin for path in tree.paths() if tree[path].kind is not Kind.DIRECTORY}
        return [
            content.record(deb.control(path, where=package.package))
            for package, path in zip(self.lock.packages, self.debs, strict=True)
            if package.package in origins
        ]
