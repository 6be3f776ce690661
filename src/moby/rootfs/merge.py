"""Laying the parts of a root file system over each other while they stream by.

Init images, the kernel's modules, containers and generated files meet in one tree. Whatever is put in comes out at
once, so of two entries with one path the later wins, as when the stream is unpacked. To keep it unpackable everywhere:

- a directory comes before what it holds: one that nobody gave is made (0755, root);
- a parent that is a symbolic link is followed, inside its root, and the entry goes to where it leads;
- a directory over a symbolic link changes nothing: ``bin -> usr/bin`` of one image outlives ``bin/`` of the next;
- a directory takes the place of a file; a file or link over a directory that holds something is an error.

Remembered are directories and symbolic links, and files where parts may collide: some 200 bytes each.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from typing import Literal

from moby.errors import ConfigError
from moby.formats.entry import DIRECTORY, FILE, HARDLINK, SYMLINK, Entry, directory
from moby.rootfs.constants import FIXED_MTIME_S

_MAX_FOLLOWED = 40

# What stands at a path: a directory with the number of things put into it, a symbolic link's target, another thing.
_Node = list[int] | str | None

# What a part left at each path: True for a directory, a symbolic link's target, None for another thing.
Names = list[tuple[str, Literal[True] | str | None]]


class Merge:
    """One root file system being put together. ``linked`` are names of files that have several."""

    def __init__(self) -> None:
        self.linked: set[str] = set()
        self._nodes: dict[str, _Node] = {"": [0]}
        self._generated: set[str] = set()
        self._roots: list[str] = []
        self._changed: list[str] = []

    def add(self, entries: Iterable[Entry], *, remember_files: bool = True) -> Iterator[Entry]:
        """``entries`` laid over what came before."""
        nodes = self._nodes
        for entry in entries:
            if not remember_files and entry.kind is FILE and entry.links == 1 and entry.path not in nodes:
                # Nearly everything: a file in a directory that is there.
                parent = nodes.get(entry.path.rpartition("/")[0])
                if isinstance(parent, list):
                    parent[0] += 1
                    yield entry
                    continue
            yield from self.put(entry, remember_files=remember_files)

    def nest(self, entries: Iterable[Entry], root: str) -> Iterator[Entry]:
        """The tree of a container or volume at ``root``; its links do not lead out, its files are not remembered."""
        self._roots.append(f"{root}/")
        return self.add(entries, remember_files=False)

    def generate(self, path: str, *, origin: str) -> Iterator[Entry]:
        """The directory ``path`` as this tool makes it (0755, root, fixed time), unless it already did."""
        if path not in self._generated:
            yield from self.put(directory(path, mtime_s=FIXED_MTIME_S, origin=origin))
            self._generated.add(path)

    def put(self, entry: Entry, *, remember_files: bool = True) -> Iterator[Entry]:
        """``entry`` laid over what came before. Raises ``ConfigError`` when it cannot be."""
        nodes = self._nodes
        above, _, name = entry.path.rpartition("/")
        parent = nodes.get(above)
        if not isinstance(parent, list):
            above = yield from self._open(above, entry)
            parent = nodes[above]
            assert isinstance(parent, list)
            entry = replace(entry, path=f"{above}/{name}" if above else name)
        path, kind = entry.path, entry.kind
        if path in nodes:
            if kind is DIRECTORY and isinstance(nodes[path], str):
                yield from self._open(path, entry)
                return
            self._check(entry, nodes[path])
            self._generated.discard(path)
        else:
            parent[0] += 1
        if kind is DIRECTORY:
            if nodes.get(path) is None:
                nodes[path] = [0]
        elif kind is SYMLINK:
            nodes[path] = entry.target
        elif remember_files or path in nodes:
            nodes[path] = None
        if remember_files or kind is DIRECTORY or kind is SYMLINK:
            self._changed.append(path)
        if entry.links > 1 or kind is HARDLINK:
            self.linked.add(path)
        yield self._aim(entry) if kind is HARDLINK else entry

    def names(self) -> Names:
        """What was put in since the last call, for ``recall``."""
        changed, self._changed = dict.fromkeys(self._changed), []
        nodes = ((path, self._nodes[path]) for path in changed)
        return [(path, True if isinstance(node, list) else node) for path, node in nodes]

    def recall(self, names: Names, linked: Iterable[str]) -> None:
        """Let the names of a part that was put in by an earlier build, after the same parts, be here."""
        for path, node in names:
            if path not in self._nodes:
                count = self._nodes[path.rpartition("/")[0]]
                assert isinstance(count, list)
                count[0] += 1
            if node is not True:
                self._nodes[path] = node
            elif not isinstance(self._nodes.get(path), list):
                self._nodes[path] = [0]
        self.linked.update(linked)

    def fork(self) -> Merge:
        """Another one that knows the same."""
        made = Merge()
        made.linked = set(self.linked)
        made._nodes = {path: list(node) if isinstance(node, list) else node for path, node in self._nodes.items()}
        made._generated = set(self._generated)
        made._roots = list(self._roots)
        return made

    def is_empty(self, path: str) -> bool:
        """Whether ``path`` is a directory, reached without symbolic links, that nothing was put into."""
        return self._nodes.get(path) == [0]

    def has_link_to(self, name: str) -> bool:
        """Whether the target of any symbolic link holds ``name``."""
        return any(isinstance(node, str) and name in node for node in self._nodes.values())

    def is_directory(self, path: str) -> bool:
        """Whether a directory stands at ``path``, symbolic links followed."""
        found, missing = self._walk(path)
        return not missing and isinstance(self._nodes["/".join(found)], list)

    def _aim(self, entry: Entry) -> Entry:
        """A hard link, its target's parents without symbolic links as the target's own entry was written."""
        above, _, name = entry.target.rpartition("/")
        if isinstance(self._nodes.get(above), list):
            return entry
        found, missing = self._walk(above)
        return replace(entry, target="/".join((*found, *missing, name)))

    def _check(self, entry: Entry, node: _Node) -> None:
        if entry.kind is not DIRECTORY and isinstance(node, list) and node[0]:
            raise ConfigError(f"{entry.path} is a directory with contents in a part before", where=entry.origin)

    def _open(self, path: str, entry: Entry) -> Generator[Entry, None, str]:
        """Make the directories that ``path`` leads to, as far as they are missing, and give the real path."""
        found, missing = self._walk(path, entry.origin)
        for part in missing:
            found.append(part)
            yield from self.put(directory("/".join(found), mtime_s=FIXED_MTIME_S, origin=entry.origin))
        real = "/".join(found)
        if not isinstance(self._nodes[real], list):
            raise ConfigError(f"{entry.path} cannot be there: {real} is not a directory", where=entry.origin)
        return real

    def _walk(self, path: str, origin: str = "") -> tuple[list[str], list[str]]:
        """The parts of the real path of ``path``: those that exist, then those that do not."""
        found: list[str] = []
        missing: list[str] = []
        todo, followed = path.split("/")[::-1], 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                above = missing or found
                del above[max(len(above) - 1, 0 if missing else len(self._root_of(found))) :]
                continue
            here = "/".join((*found, part))
            if missing or here not in self._nodes:
                missing.append(part)
                continue
            node = self._nodes[here]
            if not isinstance(node, str):
                found.append(part)
                continue
            followed += 1
            if followed > _MAX_FOLLOWED:
                raise ConfigError(f"{path} leads through too many symbolic links", where=origin)
            if node.startswith("/"):
                found = self._root_of(found)
            todo += node.split("/")[::-1]
        return found, missing

    def _root_of(self, parts: list[str]) -> list[str]:
        """The parts of the container's root that a path is in; none outside of containers."""
        path = "/".join(parts) + "/"
        return next((root.split("/")[:-1] for root in self._roots if path.startswith(root)), [])
