"""From a recipe to its packages on disk: lock, mirror, fetch, and what happens when one of them is missing."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from moby import http, log
from moby.artifact import Architecture
from moby.components import catalog, hostapt, keyring, mirror
from moby.components.fetch import Fetcher, Gone, location, present
from moby.components.lock import Lock
from moby.components.locks import LockCache
from moby.components.recipe import Recipe
from moby.components.resolve import Resolver
from moby.context import Context
from moby.errors import ConfigError

if TYPE_CHECKING:
    import httpx

_NONE = Lock(request="", packages=())


class Packages:
    """Packages for recipes. With ``locked`` nothing is ever resolved anew: what the lock says is there, or it fails."""

    def __init__(self, context: Context, *, locked: bool = False) -> None:
        self._context = context
        self._locked = locked
        self._cache = LockCache(context.work / "locks")
        self._directory = context.work / "debs"

    def cached(self, recipe: Recipe) -> Recipe:
        """``recipe`` with locks that earlier builds on this host had to make."""
        return recipe if self._locked else self._cache.apply(recipe)

    def settle(self, recipe: Recipe, architecture: Architecture, target: Architecture | None = None) -> Recipe:
        """``recipe`` with a lock in force for ``architecture``, resolved now when it has none.

        Raises ``ConfigError`` when it has none and ``locked`` was asked for.
        """
        recipe = self.cached(recipe)
        if recipe.lock(architecture, target) is not None:
            return recipe
        path = recipe.lock_path(architecture, target)
        why = "was made for other packages" if path.is_file() else "does not exist"
        if self._locked:
            raise ConfigError(f"the lock {why}", where=str(path), fix=f"run moby pkg update {recipe.directory}")
        log.info(f"{recipe.name}: the lock for {architecture} {why}; resolving now (moby pkg update makes it stay)")
        return self._resolve(recipe, architecture, target)

    def fetch(
        self, recipe: Recipe, architecture: Architecture, target: Architecture | None = None
    ) -> tuple[Recipe, Lock, tuple[Path, ...]]:
        """The packages of a settled recipe, its lock, and the recipe again: with a new lock if versions were gone.

        Raises ``Gone`` when they are and ``locked`` was asked for.
        """
        recipe = self.settle(recipe, architecture, target)
        lock = recipe.lock(architecture, target) or _NONE
        try:
            return recipe, lock, self._bring(lock, recipe.name)
        except Gone as gone:
            if self._locked:
                raise
            log.info(f"{recipe.name}: {gone.what}; resolving anew, so this build differs from the shipped lock")
        recipe = self._resolve(recipe, architecture, target)
        lock = recipe.lock(architecture, target) or _NONE
        return recipe, lock, self._bring(lock, recipe.name)

    def update(self, recipe: Recipe, architecture: Architecture, target: Architecture | None = None) -> bool:
        """Resolve and write the lock into the recipe's directory; whether it changed. Raises as ``Resolver``."""
        request = recipe.request(architecture, target)
        if request is None:
            return False
        return self._resolver.resolve(request).write(recipe.lock_path(architecture, target))

    def _bring(self, lock: Lock, name: str) -> tuple[Path, ...]:
        if all(present(self._directory, package) for package in lock.packages):
            return tuple(location(self._directory, package) for package in lock.packages)  # needs no mirror
        return Fetcher(self._client, self._mirror, self._directory).fetch(lock, name=name)

    def _resolve(self, recipe: Recipe, architecture: Architecture, target: Architecture | None) -> Recipe:
        request = recipe.request(architecture, target)
        if request is None:
            raise ConfigError("nothing to resolve", where=recipe.where)
        return self._cache.put(recipe, self._resolver.resolve(request), architecture, target)

    @cached_property
    def _mirror(self) -> mirror.Mirror:
        return mirror.choose(self._context)

    @cached_property
    def _client(self) -> httpx.Client:
        """The usual client, but through the proxy that the host's apt has and the environment does not name."""
        environment = self._context.environment
        found = hostapt.proxy(self._mirror.main, hostapt.settings(environment))
        if found is None or any(name in environment for name in ("http_proxy", "HTTP_PROXY", "all_proxy")):
            return self._context.client()
        import httpx  # slow to import, and only needed when something is missing

        transport = httpx.HTTPTransport(proxy=found, verify=http.tls(self._context.certificates))
        return http.client(certificates=self._context.certificates, transport=transport)

    @cached_property
    def _resolver(self) -> Resolver:
        return Resolver(self._mirror, self._keyring(), self._context.work, self._context.environment)

    def _keyring(self) -> Path:
        """The host's keys, else those of the shipped, locked package."""
        found = keyring.of_host(self._context)
        if found is not None:
            return found
        recipe = Recipe.load(catalog.directory("keyring"))
        lock = recipe.lock(recipe.architectures[0]) or _NONE
        (package,) = self._bring(lock, recipe.name)
        return keyring.from_package(package, self._context.work / "keyrings", where=recipe.name)
