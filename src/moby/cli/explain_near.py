"""The path of an image that a mistyped one most likely stands for."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from moby.config.suggest import closest
from moby.formats.entry import Kind
from moby.oci.store import Store
from moby.plan import Plan
from moby.rootfs import build

_MAX_LINKS = 40


class _Tree:
    """The names in each directory below ``base``, and symbolic links, for which ``base`` is the root."""

    def __init__(self, plan: Plan, store: Store, base: str) -> None:
        self._names: dict[str, set[str]] = {}
        self._links: dict[str, str] = {}
        for entry in build.entries(plan, store):
            if base and not entry.path.startswith(f"{base}/"):
                continue
            path = entry.path.removeprefix(f"{base}/") if base else entry.path
            if entry.kind is Kind.SYMLINK:
                self._links[path] = entry.target
            while path:
                path, _, name = path.rpartition("/")
                self._names.setdefault(path, set()).add(name)

    def nearest(self, parts: Sequence[str]) -> str:
        """The path whose parts are those, or each the closest that there is; empty when one has no like."""
        found, there = "", ""  # as it is written, and without links
        for part in parts:
            names = self._names.get(there, ())
            name = part if part in names else closest(part, sorted(names))
            if name is None:
                return ""
            found = posixpath.join(found, name)
            there = self._followed(posixpath.join(there, name))
        return found

    def _followed(self, path: str) -> str:
        for _ in range(_MAX_LINKS):
            if path not in self._links:
                break
            whole = posixpath.join("/", posixpath.dirname(path), self._links[path])
            path = posixpath.normpath(whole).lstrip("/")
        return path


def nearest(plan: Plan, store: Store, text: str) -> str:
    """A container, a path of the root or ``CONTAINER:PATH`` that is there and looks like ``text``, if there is one."""
    name, colon, rest = text.partition(":")
    roots: Mapping[str, str] = {each.name: each.root_directory for each in plan.containers}
    if not colon:
        if "/" not in text and (container := closest(text, roots)):
            return container
        found = _Tree(plan, store, "").nearest(_parts(text))
        return f"/{found}" if found else ""
    container = name if name in roots else closest(name, roots)
    if container is None:
        return ""
    found = _Tree(plan, store, roots[container]).nearest(_parts(rest))
    return f"{container}:/{found}" if found else ""


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
