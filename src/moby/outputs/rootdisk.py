"""A root file system on a disk or CD, and the command line that finds it.

The root is recognised by a hash of its first bytes (see ``pkg/stage1``), so it may be any disk of a machine. ``root=``
in the YAML wins. With verity, the hash tree and its superblock follow the file system on the same device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from moby.formats import erofs, squashfs, verity
from moby.formats.entry import Entry
from moby.formats.recognise import recognise
from moby.outputs import stage1
from moby.outputs.settings import RootKind
from moby.outputs.source import Source
from moby.rootfs.constants import FIXED_MTIME_S

BLOCK_BYTES = 4096
_LEAST_BYTES = 64 << 10


def entries(source: Source) -> Iterator[Entry]:
    """The root without what is in ``boot/``."""
    return (entry for entry in source.entries() if not entry.path.startswith("boot/"))


def image(source: Source, kind: RootKind) -> Path:
    """The root as a file system image; made once for all formats."""
    return source.part(f"root.{kind}", lambda path: _make(source, kind, path))


def _make(source: Source, kind: RootKind, path: Path) -> None:
    with path.open("w+b") as out:
        if kind is RootKind.SQUASHFS:
            squashfs.write(entries(source), out, time_s=FIXED_MTIME_S)
        else:
            assert kind is RootKind.EROFS  # ISO images are their own roots
            erofs.write(entries(source), out, uuid=source.plan_id("root"), time_s=FIXED_MTIME_S)
        size = out.seek(0, 2)
        out.truncate(max(_LEAST_BYTES, size + -size % BLOCK_BYTES))
    if source.settings.verity:
        _append_tree(source, path)


def _append_tree(source: Source, path: Path) -> None:
    """Put a hash tree behind the data, and beside it what stage1 needs to know of it."""
    salt = hashlib.sha256(source.plan_id("salt").bytes).digest()
    data_bytes = path.stat().st_size
    with path.open("rb") as data, path.open("r+b") as out:
        out.seek(data_bytes)
        root_hash = verity.write(data, data_bytes, out, salt=salt, uuid=source.plan_id("verity"))
    facts = f"{root_hash.hex()},{salt.hex()},{data_bytes // BLOCK_BYTES}"
    _facts(path).write_text(facts)


def _facts(root: Path) -> Path:
    """Where the verity facts of a root are kept."""
    return root.with_name(f"{root.name}.verity")


def cmdline(source: Source, kind: RootKind, root: Path) -> str:
    """The command line that is booted: the YAML's, and how to find ``root`` unless it says so itself."""
    given = stage1.parts(source).cmdline
    words = given.split()
    if not any(word.startswith("root=") for word in words):
        with root.open("rb") as stream:
            words += [f"moby.root={recognise(stream)}", f"moby.rootfs={kind}"]
    facts = _facts(root)
    if facts.exists():
        words.append(f"moby.verity={facts.read_text()}")
    return " ".join(words)
