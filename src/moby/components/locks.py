"""Which lock is in force: the recipe's own, or one this host resolved because the recipe has none that still works.

Locks resolved at build time are kept in ``work/locks`` under the hash of the recipe, never in its directory: only
``moby pkg update`` changes files of the user.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from moby import unchanged
from moby.artifact import Architecture
from moby.components.lock import Lock
from moby.components.recipe import Recipe, lock_name


class LockCache:
    """Locks made on this host, below ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def apply(self, recipe: Recipe) -> Recipe:
        """``recipe`` with the cached locks of all its architectures in place of its own."""
        found: dict[str, Lock] = {}
        base = self._directory / f"{recipe.name}-{recipe.base_hash}"
        unchanged.inputs().add_tree(base)
        if base.is_dir():
            for path in sorted(base.glob("*.lock")):
                found[path.stem] = Lock.parse(path.read_text(), where=str(path))
        return replace(recipe, overrides=found) if found else recipe

    def put(self, recipe: Recipe, lock: Lock, architecture: Architecture, target: Architecture | None = None) -> Recipe:
        """Keep ``lock`` for this recipe and give the recipe that uses it."""
        name = lock_name(architecture, target)
        lock.write(self._directory / f"{recipe.name}-{recipe.base_hash}" / f"{name}.lock")
        return replace(recipe, overrides={**recipe.overrides, name: lock})
