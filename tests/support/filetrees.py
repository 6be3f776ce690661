"""Random trees as entry streams, and what must be found in an image made of one."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import strategies as st

from moby.formats.entry import Entry, Kind, directory, file, symlink
from tests.support.tree import digest

# Names that sort unlike they look: around "." and "/", prefixes of each other, high bytes, no text at all.
_DIRECTORIES = ("d", "d-", "d.d", "..d", "-d", "e", "dd", "d" * 255)
_LEAVES = ("a", "a-", "a.a", ".a", "...", "+", "b", "ab", "é", "\udc80", "a" * 255)
_MADE_MODE = 0o755

paths = st.builds(
    lambda above, name: "/".join([*above, name]),
    st.lists(st.sampled_from(_DIRECTORIES), max_size=3),
    st.sampled_from(_LEAVES),
)
_folders = st.lists(st.sampled_from(_DIRECTORIES), min_size=1, max_size=3).map("/".join)
_values = st.one_of(st.binary(max_size=20), st.just(b"v" * 9000))
_xattrs = st.dictionaries(st.sampled_from(("user.a", "user.b", "trusted.t", "security.s")), _values, max_size=3).map(
    lambda found: tuple(sorted(found.items()))
)
_ids = st.sampled_from((0, 1, 1000, 65535, 65536, 0xFFFFFFFF))
_times = st.sampled_from((0, 1, 1_492_533_000, 0xFFFFFFFF))
_sizes = st.sampled_from((0, 1, 31, 4000, 4095, 4096, 4097, 8192, 20000, 70000))
_bodies = st.builds(lambda size, seed: random.Random(seed).randbytes(size), _sizes, st.integers(0, 2)) | st.builds(
    bytes, _sizes
)


@st.composite
def _entry(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from([Kind.FILE, Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK, Kind.CHAR, Kind.BLOCK, Kind.FIFO]))
    device = kind in (Kind.CHAR, Kind.BLOCK)
    data = draw(_bodies) if kind is Kind.FILE else b""
    return Entry(
        path=draw(_folders if kind is Kind.DIRECTORY else paths),
        kind=kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(_ids),
        gid=draw(_ids),
        mtime_s=draw(_times),
        size=len(data),
        data=data,
        target=draw(st.sampled_from(("x", "../a b", "t" * 4000))) if kind is Kind.SYMLINK else "",
        major=draw(st.sampled_from((0, 4, 4095))) if device else 0,
        minor=draw(st.sampled_from((0, 255))) if device else 0,
        xattrs=draw(_xattrs),
    )


@st.composite
def streams(draw: st.DrawFn) -> list[Entry]:
    """Entries with parents missing or late, names that come again, and hard links."""
    entries = draw(st.lists(_entry(), max_size=12))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(entries)))
        targets = [each.path for each in entries[:at] if each.kind is not Kind.DIRECTORY]
        if targets:
            target = draw(st.sampled_from(targets))
            entries.insert(at, Entry(path=draw(paths), kind=Kind.HARDLINK, target=target))
    return entries


@dataclass(frozen=True, slots=True)
class Thing:
    """What stands at a path. ``content`` is a file's digest, a link's target or a device's numbers."""

    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_s: int
    content: str
    xattrs: tuple[tuple[str, bytes], ...]
    names: frozenset[str]


def tree(entries: Iterable[Entry], *, time_s: int = 0) -> dict[str, Thing]:
    """The tree that a stream means, without its root."""
    standing: dict[str, int] = {}
    things: list[Thing] = []
    for entry in entries:
        if entry.kind is Kind.HARDLINK:
            standing[entry.path] = standing[entry.target]
            continue
        standing[entry.path] = len(things)
        things.append(_thing(entry))
    for path in list(standing):
        while path := path.rpartition("/")[0]:
            if path not in standing:
                standing[path] = len(things)
                things.append(_thing(directory(path, mode=_MADE_MODE, mtime_s=time_s)))
    standing.pop("", None)
    names: dict[int, set[str]] = {}
    for path, number in standing.items():
        names.setdefault(number, set()).add(path)
    return {path: replace(things[number], names=frozenset(names[number])) for path, number in sorted(standing.items())}


def _thing(entry: Entry) -> Thing:
    content = entry.target
    if entry.kind is Kind.FILE:
        content = digest(entry)
    elif entry.kind in (Kind.CHAR, Kind.BLOCK):
        content = f"{entry.major}:{entry.minor}"
    return Thing(
        entry.kind,
        entry.mode,
        entry.uid,
        entry.gid,
        entry.mtime_s,
        content,
        tuple(sorted(entry.xattrs)),
        frozenset(),
    )


def many(count: int, *, folder: str = "many") -> list[Entry]:
    """Small files in one directory."""
    return [file(f"{folder}/file-{number:06}", b"%d" % number, mtime_s=number) for number in range(count)]


def link(path: str, target: str) -> Entry:
    return Entry(path=path, kind=Kind.HARDLINK, target=target)


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


class Noise:
    """Bytes that differ from block to block, made fast."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._block = noise(1 << 20)

    def read(self, size: int) -> bytes:
        if size < 8:
            return self._block[:size]
        self._left -= size
        return self._left.to_bytes(8, "little") + self._block[: size - 8]


def mixed() -> list[Entry]:
    """A tree with all that an image can have in it."""
    return [
        *many(1500),
        file("tail", noise(200_000)),
        file("same", noise(200_000)),
        file("exact", noise(262_144, 2)),
        file("text", b"all work and no play\n" * 50_000),
        file("hole", noise(131_072, 3) + bytes(500_000) + b"end"),
        Entry(path="large", kind=Kind.FILE, size=3_000_000, data=io.BytesIO(noise(3_000_000, 4))),
        Entry(path="again", kind=Kind.FILE, size=3_000_000, data=io.BytesIO(noise(3_000_000, 4))),
        file("after", b"the copy"),
        link("other/name", "tail"),
        symlink("link", "other/name"),
        replace(file("odd", b"x", mode=0o4711), uid=70000, xattrs=(("user.note", b"y" * 70), ("trusted.t", b""))),
        replace(directory("odder", mode=0o1777), xattrs=(("user.note", b"y" * 70),)),
    ]


def unpacked(entries: Iterable[Entry], folder: Path) -> dict[str, bytes]:
    """Make files, directories and links below ``folder``, for a tool to make an image of; what is in the files."""
    found: dict[str, bytes] = {}
    for entry in entries:
        place = folder / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind is Kind.FILE:
            found[entry.path] = entry.data if isinstance(entry.data, bytes) else entry.data.read()
            place.write_bytes(found[entry.path])
        elif entry.kind is Kind.HARDLINK:
            found[entry.path] = found[entry.target]
            place.hardlink_to(folder / entry.target)
        elif entry.kind is Kind.SYMLINK:
            place.symlink_to(entry.target)
        else:
            place.mkdir()
    return found


def check_extracted(entries: Iterable[Entry], folder: Path) -> None:
    """An outside program put into ``folder`` what ``entries`` are: all of it, and nothing else."""
    expected = tree(entries)
    for path, thing in expected.items():
        place = folder / path
        if thing.kind is Kind.FILE:
            assert hashlib.sha256(place.read_bytes()).hexdigest() == thing.content, path
        elif thing.kind is Kind.SYMLINK:
            assert str(place.readlink()) == thing.content
        else:
            assert place.is_dir()
    assert sum(1 for _ in folder.rglob("*")) == len(expected)


def check_read(found: Iterable[Entry], expected: Mapping[str, bytes]) -> None:
    """``found`` was read from an image that an outside program made of what ``unpacked(mixed(), …)`` gave."""
    things = tree(found)
    assert {path: thing.content for path, thing in things.items() if thing.kind is Kind.FILE} == {
        path: hashlib.sha256(data).hexdigest() for path, data in expected.items()
    }
    assert things["tail"].names == {"tail", "other/name"}
    assert things["link"].content == "other/name"
