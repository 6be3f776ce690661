"""What Linux makes of an initrd: a model of its ``init/initramfs.c``, which overwrites files in place.

That is where it differs from other unpacking programs: a file that comes again keeps its other names.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from moby.formats import initrd
from tests.support.tree import Node

_KINDS = {0o040000: "dir", 0o100000: "file", 0o120000: "symlink", 0o020000: "char", 0o060000: "block", 0o010000: "fifo"}


@dataclass(slots=True)
class _Inode:
    kind: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_s: int = 0
    content: bytes = b""


def unpack(path: Path) -> dict[str, Node]:
    """The tree of the initrd at ``path``. Raises ``AssertionError`` for a name without its directory."""
    tree: dict[str, _Inode] = {}
    with path.open("rb") as stream:
        for segment in initrd.segments(stream):
            assert segment.offset % 4 == 0, "Linux looks for archives at multiples of four bytes"
            with segment.open(stream) as archive:
                _archives(archive.read(), tree)
    return {name: _node(inode) for name, inode in tree.items()}


def _archives(data: bytes, tree: dict[str, _Inode]) -> None:
    known: dict[tuple[int, ...], str] = {}
    at = 0
    while at < len(data):
        if data[at] == 0:
            at += 4
            continue
        fields = [int(data[at + start : at + start + 8], 16) for start in range(6, 110, 8)]
        start = at + 110 + fields[11]
        name = data[at + 110 : start - 1].decode()
        start += -start % 4
        body = data[start : start + fields[6]]
        at = start + fields[6] + -fields[6] % 4
        if name == "TRAILER!!!":
            known.clear()
        else:
            _put(name, fields, body, tree, known)


def _put(name: str, fields: list[int], body: bytes, tree: dict[str, _Inode], known: dict[tuple[int, ...], str]) -> None:
    inode, mode, uid, gid, links, mtime_s, _, major, minor, rmajor, rminor = fields[:11]
    parent = name.rpartition("/")[0]
    assert not parent or tree[parent].kind == "dir", f"{name} has no directory"
    kind = _KINDS[mode & 0o170000]
    if name in tree and (kind == "symlink" or tree[name].kind != kind):
        del tree[name]
    if kind == "file":
        first = known.setdefault((major, minor, inode), name) if links > 1 else name
        if first != name:
            tree[name] = tree[first]
        made = tree.setdefault(name, _Inode(kind))
        if body or first == name:
            made.content = body
    else:
        content = f"{rmajor}:{rminor}".encode() if kind in ("char", "block") else body
        made = tree.setdefault(name, _Inode(kind))
        made.content = content
    made.mode, made.uid, made.gid, made.mtime_s = mode & 0o7777, uid, gid, mtime_s


def _node(inode: _Inode) -> Node:
    content = hashlib.sha256(inode.content).hexdigest() if inode.kind == "file" else inode.content.decode()
    return Node(inode.kind, inode.mode, inode.uid, inode.gid, inode.mtime_s, content)
