"""Layers against the plainest thing that can apply them: a real directory, changed entry by entry."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from hypothesis import event, given, settings
from hypothesis import strategies as st

from moby.formats.entry import Kind
from moby.oci.digest import Digest
from moby.oci.image import Image
from moby.oci.manifest import ImageConfig
from moby.oci.reference import Reference
from moby.oci.store import Store
from tests.support.flat import collect
from tests.support.images import MadeImage, Node, directory, hardlink, image, symlink

# Path to (kind, text, names of the same file).
Shown = dict[str, tuple[str, str, frozenset[str]]]
Pairs = list[tuple[str, Node]]

_names = st.sampled_from(["a", "b", "c"])
_paths = st.lists(_names, min_size=1, max_size=3).map("/".join)
_nodes = st.one_of(
    st.sampled_from([Node(data=b"1"), Node(data=b"2"), directory(), directory(0o700)]),
    st.sampled_from(["a", "b", "a/b", "c/a"]).map(symlink),
    _paths.map(hardlink),
)


@st.composite
def _whiteouts(draw: st.DrawFn) -> tuple[str, Node]:
    above = draw(st.lists(_names, max_size=2))
    return "/".join([*above, draw(st.sampled_from([".wh.a", ".wh.b", ".wh..wh..opq"]))]), Node()


_stacks = st.lists(st.lists(st.tuples(_paths, _nodes) | _whiteouts(), max_size=7), min_size=1, max_size=4)


class Disk:
    """A directory to which layers are applied. ``new`` are the real paths that the layer at hand made or touched."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.new: set[Path] = set()

    def apply(self, layer: Pairs) -> None:
        self.new = set()
        for path, node in layer:
            above, name = (self.root / path).parent, Path(path).name
            if name.startswith(".wh."):
                if (real := above.resolve()).is_dir():
                    self._hide(real, name.removeprefix(".wh."))
                continue
            above.mkdir(parents=True, exist_ok=True, mode=0o755)
            real = above.resolve()
            self.new |= {real, *real.parents}
            self._put(real / name, node)

    def _put(self, path: Path, node: Node) -> None:
        if node.target and node.type != b"2":
            target = self.root / node.target
            source = target.parent.resolve() / target.name
            assert source != path
            assert not stat.S_ISDIR(_mode(source))
            os.link(source, self.root / ".link", follow_symlinks=False)
            self._remove(path)
            (self.root / ".link").rename(path)
        elif node.type == b"5":
            if not stat.S_ISDIR(_mode(path)):
                self._remove(path)
                path.mkdir()
            path.chmod(node.mode)
        else:
            self._remove(path)
            if node.type == b"2":
                path.symlink_to(node.target)
            else:
                path.write_bytes(node.data)
        self.new.add(path)

    def _remove(self, path: Path) -> None:
        self.new = {each for each in self.new if path not in (each, *each.parents)}
        if stat.S_ISDIR(_mode(path)):
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def _hide(self, above: Path, name: str) -> None:
        for path in list(above.iterdir()):
            if name == ".wh..opq" or path.name == name:
                self._prune(path)

    def _prune(self, path: Path) -> None:
        if path not in self.new:
            self._remove(path)
        elif stat.S_ISDIR(_mode(path)):
            for each in list(path.iterdir()):
                self._prune(each)

    def shown(self) -> Shown:
        found, same = dict[str, tuple[str, str]](), dict[int, set[str]]()
        for each in self.root.rglob("*"):
            path, mode = str(each.relative_to(self.root)), _mode(each)
            if stat.S_ISDIR(mode):
                found[path] = "directory", ""
            elif stat.S_ISLNK(mode):
                found[path] = "link", str(each.readlink())
            else:
                found[path] = "file", each.read_text()
                same.setdefault(each.stat().st_ino, set()).add(path)
        groups = {path: frozenset(group) for group in same.values() for path in group}
        return {path: (*what, groups.get(path, frozenset())) for path, what in found.items()}


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except OSError:
        return 0


class Memory(Store):
    """A store that holds nothing but layers, in memory."""

    def __init__(self, made: MadeImage) -> None:
        super().__init__(Path("/nonexistent"))
        self._held = made.blobs

    def open_blob(self, digest: Digest, *, check: bool = True) -> BinaryIO:
        return io.BytesIO(self._held[digest])


def flattened(stack: Sequence[Pairs]) -> Shown:
    made = image(stack, compression="none")
    found = Image(
        reference=Reference.parse("x"),
        digest=made.descriptor.digest,
        platform=made.platform,
        config=ImageConfig(),
        layers=made.layer_descriptors,
    )
    result, same, contents = dict[str, tuple[str, str]](), dict[str, set[str]](), dict[str, str]()
    for entry in collect(Memory(made), found):
        if entry.kind is Kind.DIRECTORY:
            result[entry.path] = "directory", ""
        elif entry.kind is Kind.SYMLINK:
            result[entry.path] = "link", entry.target
        else:
            first = entry.target or entry.path
            assert isinstance(entry.data, bytes)
            contents.setdefault(first, entry.data.decode())
            same.setdefault(first, set()).add(entry.path)
            result[entry.path] = "file", contents[first]
    groups = {path: frozenset(group) for group in same.values() for path in group}
    return {path: (*what, groups.get(path, frozenset())) for path, what in result.items()}


@settings(max_examples=200, deadline=None)
@given(_stacks)
def test_any_layers_give_what_applying_them_to_a_directory_gives(stack: list[Pairs]) -> None:
    with tempfile.TemporaryDirectory() as name:
        disk = Disk(Path(name))
        try:
            for layer in stack:
                disk.apply(layer)
        except (OSError, RuntimeError, AssertionError):
            event("refused by the file system")
            return
        expected = disk.shown()
    event(f"{len(expected)} paths")
    assert flattened(stack) == expected
