"""Laying layers over each other: which entry of which layer each path of the finished tree comes from.

Rules, as container engines apply layers in order (OCI image specification 1.1, "Image Layer Filesystem Changeset"):

* a later layer wins, and within one layer the later entry;
* a directory over a directory keeps what is in it; anything else replaces all that was there;
* ``.wh.NAME`` hides NAME of lower layers, ``.wh..wh..opq`` all that lower layers have in its directory; neither touches
  its own layer, wherever in it they stand;
* a parent that is a symbolic link is followed inside the tree, which nothing leaves;
* a hard link is another name of the file that its target was when the link appeared.

The headers of all layers are added first, so memory is bounded here: by the number of nodes, and by an account of what
each takes. A file with a short name takes 150 bytes, a directory with its path some 700.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from sys import getsizeof

from moby.errors import IntegrityError
from moby.formats.entry import Entry, Kind, directory
from moby.formats.stream import shown

MAX_ENTRIES = 500_000
MEMORY_BYTES = 68 << 20
# What CPython takes for each, beside the text: a place with its slot in the directory above; a directory; a table with
# something in it; an entry that is kept, with its slot in the result; a pair; a slot of one more table; all that
# follows from a hard link.
_NODE_BYTES = 80
_FOLDER_BYTES = 168
_TABLE_BYTES = 120
_ENTRY_BYTES = 208
_PAIR_BYTES = 56
_SLOT_BYTES = 96
_LINK_BYTES = 480
_STEPS_PER_ENTRY = 25
_MAX_FOLLOWED = 40
_MAX_NAME_BYTES = 255
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_ORDINAL_BITS = 32


class _Folder:
    """A directory. ``entry`` is None when only its children are known; ``layer`` is its entry's.

    ``newest`` is the last layer that touched it or anything below, ``pruned`` the last that hid its older contents.
    """

    __slots__ = ("children", "entry", "layer", "newest", "pruned")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.entry: Entry | None = None
        self.layer = self.newest = self.pruned = -1


# A leaf is its place (layer and ordinal in one number); a symbolic link has its target beside it.
_Node = _Folder | int | tuple[int, str]


def place(layer: int, ordinal: int) -> int:
    """The number of the ``ordinal``-th entry of a layer; later entries have larger ones."""
    return layer << _ORDINAL_BITS | ordinal


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """What to write, by place.

    ``directories`` maps each path to its final entry. ``kept`` has a byte per entry of each layer: 1 when a
    non-directory is in the tree. ``moved`` are paths that differ from the archive's. ``links`` maps a hard link to the
    place and path of its file. ``promoted`` maps a file whose own path is gone to the path of a hard link to it.
    """

    directories: dict[str, Entry]
    kept: list[bytearray]
    moved: dict[int, str] = field(default_factory=dict)
    links: dict[int, tuple[int, str]] = field(default_factory=dict)
    promoted: dict[int, str] = field(default_factory=dict)


class Tree:
    """Layers being laid over each other, bottom first: ``begin`` each, ``add`` its entries, then ``flatten``."""

    def __init__(self, max_entries: int = MAX_ENTRIES, memory_bytes: int = MEMORY_BYTES) -> None:
        self._root = _Folder()
        self._max_entries = max_entries
        self._nodes = 0
        self._memory_bytes = self._left = memory_bytes
        self._steps = _STEPS_PER_ENTRY * max_entries
        self._layer = -1
        self._counts: list[int] = []
        self._where = self._name = ""
        self._moved: dict[int, str] = {}
        self._origins: dict[int, int] = {}
        self._recent: tuple[str, _Folder, str] | None = None

    def begin(self, *, where: str) -> None:
        """The next layer follows; ``where`` names it in messages."""
        self._layer += 1
        self._counts.append(0)
        self._where = where
        self._recent = None

    def add(self, entry: Entry) -> None:
        """Lay one entry over what is there. Raises ``IntegrityError`` that names layer and entry."""
        at = place(self._layer, self._counts[-1])
        self._counts[-1] += 1
        self._name = entry.path
        above, _, name = entry.path.rpartition("/")
        if _WHITEOUT in entry.path and any(part.startswith(_WHITEOUT) for part in entry.path.split("/")):
            self._hide(above, name)
            return
        folder, resolved = self._open(above)
        if len(name) * 4 > _MAX_NAME_BYTES and len(name.encode("utf-8", "surrogateescape")) > _MAX_NAME_BYTES:
            raise self._fail(f"name is longer than {_MAX_NAME_BYTES} bytes")
        path = entry.path if resolved == above else f"{resolved}/{name}" if resolved else name
        if entry.kind is Kind.DIRECTORY:
            self._put_directory(folder, name, entry if path == entry.path else replace(entry, path=path))
            return
        if path != entry.path:
            self._moved[at] = path
            self._hold(_SLOT_BYTES, path)
        self._put(folder, name, self._leaf(entry, at, folder, name))

    def flatten(self) -> Flat:
        """The finished tree. The ``Tree`` is used up."""
        flat = Flat(directories={}, kept=[bytearray(count) for count in self._counts], moved=self._moved)
        linked = {*self._origins, *self._origins.values()}
        paths: dict[int, str] = {}
        todo = [("", self._root)]
        while todo:
            above, folder = todo.pop()
            for name, node in folder.children.items():
                if isinstance(node, _Folder):
                    entry = node.entry or self._implied(f"{above}/{name}" if above else name)
                    flat.directories[entry.path] = entry
                    todo.append((entry.path, node))
                    continue
                at = node if isinstance(node, int) else node[0]
                flat.kept[at >> _ORDINAL_BITS][at & (1 << _ORDINAL_BITS) - 1] = 1
                if at in linked:
                    paths[at] = f"{above}/{name}" if above else name
                    self._hold(_SLOT_BYTES, paths[at])
            folder.children = {}
        self._link(flat, paths)
        return flat

    def _implied(self, path: str) -> Entry:
        self._hold(_ENTRY_BYTES, path)
        return directory(path)

    def _link(self, flat: Flat, paths: dict[int, str]) -> None:
        """Point each hard link that is left at its file, or let the first one become the file."""
        for at in sorted(self._origins):
            origin = self._origins[at]
            if at not in paths:
                continue
            target = paths.get(origin) or flat.promoted.get(origin)
            if target is None:
                flat.promoted[origin] = paths[at]
                flat.kept[at >> _ORDINAL_BITS][at & (1 << _ORDINAL_BITS) - 1] = 0
            else:
                flat.links[at] = (origin, target)

    def _leaf(self, entry: Entry, at: int, folder: _Folder, name: str) -> _Node:
        if entry.kind is Kind.SYMLINK:
            self._hold(_PAIR_BYTES, entry.target)
            return (at, entry.target)
        if entry.kind is Kind.HARDLINK:
            return self._hard_link(entry, at, folder, name)
        return at

    def _hard_link(self, entry: Entry, at: int, folder: _Folder, name: str) -> _Node:
        above, _, last = entry.target.rpartition("/")
        found = self._look_up(above)
        node = found.children.get(last) if found is not None else None
        if node is None or (found is folder and last == name):
            raise self._fail(f"hard link to {entry.target!r}, which does not exist")
        if isinstance(node, _Folder):
            raise self._fail(f"hard link to {entry.target!r}, which is a directory")
        target = node if isinstance(node, int) else node[0]
        self._origins[at] = self._origins.get(target, target)
        self._hold(_LINK_BYTES)
        return at if isinstance(node, int) else (at, node[1])

    def _put_directory(self, folder: _Folder, name: str, entry: Entry) -> None:
        node = folder.children.get(name)
        if not isinstance(node, _Folder):
            node = _Folder()
            self._put(folder, name, node)
        self._hold(_ENTRY_BYTES, entry.path)
        for key, value in entry.xattrs:
            self._hold(_PAIR_BYTES, key, value)
        node.entry = entry
        node.layer = node.newest = self._layer

    def _put(self, folder: _Folder, name: str, node: _Node) -> None:
        old = folder.children.get(name)
        if old is None:
            self._nodes += 1
            self._hold(_NODE_BYTES + (0 if folder.children else _TABLE_BYTES), name)
            if isinstance(node, _Folder):
                self._hold(_FOLDER_BYTES)
            if self._nodes > self._max_entries:
                raise self._fail(f"the image has more than {self._max_entries} entries")
        elif not isinstance(old, int):
            self._recent = None
        folder.children[name] = node

    def _hide(self, above: str, name: str) -> None:
        """Do what a whiteout asks for. Other names of that form belong to the AUFS file system and mean nothing."""
        hidden = name.removeprefix(_WHITEOUT)
        if _WHITEOUT in above or not name.startswith(_WHITEOUT):
            return
        if hidden in ("", ".", ".."):
            raise self._fail("whiteout of nothing, or of a directory from inside it")
        folder = self._look_up(above)
        if folder is None or (hidden.startswith(_WHITEOUT) and name != _OPAQUE):
            return
        if name == _OPAQUE:
            self._prune(folder)
            return
        node = folder.children.get(hidden)
        if isinstance(node, _Folder) and node.newest == self._layer:
            self._forget_entry(node)
            self._prune(node)
        elif node is not None and _layer(node) < self._layer:
            del folder.children[hidden]
            self._recent = None

    def _prune(self, folder: _Folder) -> None:
        """Remove what lower layers put below ``folder``."""
        self._recent, todo = None, [folder]
        while todo:
            each = todo.pop()
            if each.pruned == self._layer:
                continue
            each.pruned = self._layer
            each.children = {name: node for name, node in each.children.items() if _layer(node) == self._layer}
            for node in each.children.values():
                if isinstance(node, _Folder):
                    self._forget_entry(node)
                    todo.append(node)

    def _forget_entry(self, folder: _Folder) -> None:
        if folder.layer < self._layer:
            folder.entry = None

    def _open(self, path: str) -> tuple[_Folder, str]:
        """The directory at ``path``, made where it is missing, and its path without symbolic links."""
        recent = self._recent
        if recent is not None and recent[0] == path:
            return recent[1], recent[2]
        trail, names = self._walk(path, make=True)
        for each in reversed(trail):
            if each.newest == self._layer:
                break
            each.newest = self._layer
        self._recent = (path, trail[-1], "/".join(names))
        return trail[-1], self._recent[2]

    def _look_up(self, path: str) -> _Folder | None:
        """The directory at ``path`` when there is one."""
        trail, _ = self._walk(path, make=False)
        return trail[-1] if trail else None

    def _walk(self, path: str, *, make: bool) -> tuple[list[_Folder], list[str]]:
        """The directories from the root to ``path`` with their names; nothing when one is missing and not made."""
        trail, names, followed = [self._root], list[str](), 0
        todo = path.split("/")[::-1]
        while todo:
            part = todo.pop()
            self._steps -= 1
            if part == "..":
                del names[-1:]
                del trail[len(names) + 1 :]
                continue
            if part in ("", "."):
                continue
            child = trail[-1].children.get(part)
            if isinstance(child, tuple):
                followed += 1
                self._check_walk(followed)
                if child[1].startswith("/"):
                    trail, names = trail[:1], []
                todo += child[1].split("/")[::-1]
                continue
            if not isinstance(child, _Folder):
                if not make:
                    return [], []
                child = self._make(trail[-1], part, child)
            trail.append(child)
            names.append(part)
        if self._steps < 0:
            raise self._fail("the image's names take too long to follow")
        return trail, names

    def _check_walk(self, followed: int) -> None:
        if followed > _MAX_FOLLOWED:
            raise self._fail("too many symbolic links in the entry's path")
        if self._steps < 0:
            raise self._fail("the image's names take too long to follow")

    def _make(self, folder: _Folder, name: str, old: _Node | None) -> _Folder:
        """A directory that the archive implies."""
        if old is not None:
            raise self._fail(f"{name!r} above it is not a directory")
        made = _Folder()
        self._put(folder, name, made)
        return made

    def _hold(self, size_bytes: int, *texts: str | bytes) -> None:
        """Account for something that is kept, and its texts, whose blocks may be a third larger than they are."""
        for each in texts:
            size_bytes += getsizeof(each) * 4 // 3
        self._left -= size_bytes
        if self._left < 0:
            what = "the image's entries, their names and links are too much to be held in memory"
            raise self._fail(f"{what}: more than {self._memory_bytes >> 20} MiB")

    def _fail(self, what: str) -> IntegrityError:
        return IntegrityError(what, where=f"{self._where}: {shown(self._name)}")


def _layer(node: _Node) -> int:
    """The last layer that touched a node or anything below it."""
    if isinstance(node, _Folder):
        return node.newest
    return (node if isinstance(node, int) else node[0]) >> _ORDINAL_BITS
