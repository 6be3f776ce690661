"""Trees as an unpacking program would leave them, for comparing archives that need not be equal byte for byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from moby.formats.entry import Entry, Kind


@dataclass(frozen=True, slots=True)
class Node:
    """What stands at a path: ``content`` is a file's SHA-256, a link's target or a device's numbers."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime_s: int
    content: str = ""


_KINDS = {
    Kind.FILE: "file",
    Kind.DIRECTORY: "dir",
    Kind.SYMLINK: "symlink",
    Kind.CHAR: "char",
    Kind.BLOCK: "block",
    Kind.FIFO: "fifo",
}


def unpack(entries: Iterable[Entry]) -> dict[str, Node]:
    """The tree of an entry stream: later entries win, hard links are files with their target's content.

    Raises ``AssertionError`` where an unpacking program would stumble: a parent that is missing or no directory, a
    directory over a link, something else over a directory that is not empty, a hard link to nothing.
    """
    tree: dict[str, Node] = {}
    for entry in entries:
        parent = entry.path.rpartition("/")[0]
        assert not parent or (parent in tree and tree[parent].kind == "dir"), f"{entry.path}: no directory {parent}"
        _check(entry, tree)
        tree[entry.path] = _node(entry, tree)
    return tree


def _check(entry: Entry, tree: dict[str, Node]) -> None:
    old = tree.get(entry.path)
    if old is None:
        return
    if entry.kind is Kind.DIRECTORY:
        assert old.kind != "symlink", f"{entry.path}: directory over a link"
    elif old.kind == "dir":
        held = [path for path in tree if path.startswith(f"{entry.path}/")]
        assert not held, f"{entry.path}: {entry.kind.name} over a directory that holds {held[0]}"


def _node(entry: Entry, tree: dict[str, Node]) -> Node:
    if entry.kind is Kind.HARDLINK:
        target = tree[entry.target]
        assert target.kind == "file", f"{entry.path}: hard link to a {target.kind}"
        return target
    content = ""
    if entry.kind is Kind.FILE:
        content = digest(entry)
    elif entry.kind is Kind.SYMLINK:
        content = entry.target
    elif entry.kind in (Kind.CHAR, Kind.BLOCK):
        content = f"{entry.major}:{entry.minor}"
    return Node(_KINDS[entry.kind], entry.mode, entry.uid, entry.gid, entry.mtime_s, content)


def digest(entry: Entry) -> str:
    """The SHA-256 of a file's body, which is read to its end."""
    state, size = hashlib.sha256(), 0
    if isinstance(entry.data, bytes):
        state.update(entry.data)
        size = len(entry.data)
    else:
        while chunk := entry.data.read(1 << 20):
            state.update(chunk)
            size += len(chunk)
    assert size == entry.size, f"{entry.path}: {size} bytes, {entry.size} announced"
    return state.hexdigest()


def listed(path: Path) -> dict[str, Node]:
    """The tree of a ``listing.jsonl`` of tests/golden/vectors: the original's archive, entry by entry."""
    tree: dict[str, Node] = {}
    for line in path.read_text().splitlines():
        fields = json.loads(line)
        name = "/".join(part for part in fields["name"].split("/") if part not in ("", "."))
        if fields["type"] == "hardlink":
            tree[name] = tree[fields["link"]]
            continue
        content = fields.get("sha256", fields.get("link", ""))
        mode = int(fields["mode"], 8)
        tree[name] = Node(fields["type"], mode, fields["uid"], fields["gid"], fields["mtime"], content)
    return tree
