"""What differs between two artifacts, by entry of their archives and file systems, down to what boots inside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from moby.evidence import layout
from moby.evidence.archives import INITRD
from moby.evidence.inspect import Form, content_hash, opened, printable
from moby.evidence.look import Looker
from moby.evidence.part import Part
from moby.formats.entry import Entry, Kind

Place = tuple[str, ...]
# What a command line says of a root on a disk: its id and the hashes of its blocks.
_ROOT_NAME = re.compile(r"moby\.(root|verity)=\S+")
_CONTENT = ("size", "sha256")
# What says where a part is and how long, which other parts decide.
_LAYOUT = ("first sector", "sectors", "segments")
_DERIVED = ("PCR 11", "root hash", "salt", "data blocks", "text", "id", "disk id", "volume id")
_WRAPPERS = ("qcow2", "vhd", "vhdx", "vmdk", "packed tar", "packed file")


class Item(NamedTuple):
    """What can be compared of an entry or a part; a number per entry is all that is kept of a large tree."""

    kind: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_s: int = 0
    size: int = 0
    sha256: bytes = b""
    target: str = ""
    device: str = ""
    xattrs: tuple[tuple[str, bytes], ...] = ()
    facts: tuple[tuple[str, object], ...] = ()

    def properties(self) -> dict[str, object]:
        """By the names that are shown."""
        shown: dict[str, object] = {"kind": self.kind, "mode": f"{self.mode:04o}", "owner": f"{self.uid}:{self.gid}"}
        shown |= {"mtime": self.mtime_s, "size": self.size, "sha256": self.sha256.hex(), "target": self.target}
        shown |= {"device": self.device, "xattrs": {key: value.hex() for key, value in self.xattrs}}
        return shown | dict(self.facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that differs. ``place`` leads to it through the parts; ``changes`` are properties, old and new.

    ``only`` is ``a`` or ``b`` where the other has no such thing.
    """

    place: Place
    only: str = ""
    changes: Mapping[str, tuple[object, object]]

    @property
    def follows(self) -> bool:
        """Whether it only tells that a root file system is another: by its hashes, or by its name in a text."""
        if "root hash" in self.changes:
            return set(self.changes) <= {*_CONTENT, *_DERIVED}
        old, new = self.changes.get("text", ("", ""))
        return set(self.changes) == {"text"} and _ROOT_NAME.sub("", str(old)) == _ROOT_NAME.sub("", str(new))

    @property
    def path(self) -> str:
        """The place as one text."""
        return printable(": ".join(self.place)) or "the whole"

    def form(self) -> Form:
        """For ``json.dumps``."""
        named = {key: {"a": old, "b": new} for key, (old, new) in self.changes.items()}
        return {"place": [printable(each) for each in self.place], "only": self.only, "changes": named}

    def __str__(self) -> str:
        if self.only:
            return f"only in {self.only.upper()}: {self.path}"
        shown = ", ".join(f"{key} {_short(old)} -> {_short(new)}" for key, (old, new) in self.changes.items())
        return f"{self.path}: {shown}"


def diff(a: Path, b: Path) -> tuple[Difference, ...]:
    """All differences of two files, or of the files of two builds by their base names.

    There are none when the bytes are the same, or when two containers (qcow2, VHD, …) hold the same disk. The order is
    that of ``a``, then what only ``b`` has. Raises ``ConfigError`` when one is not there, and ``IntegrityError`` when
    one is damaged.
    """
    with Looker() as looker:
        one, other = opened(looker, a), opened(looker, b)
        if one.stream is not None and other.stream is not None and one.sha256() == other.sha256():
            return ()
        if one.kind != other.kind:
            one, other = _unwrapped(one), _unwrapped(other)
        return tuple(explained(list(_found(one, other, looker))))


def _found(one: Part, other: Part, looker: Looker) -> Iterator[Difference]:
    """All differences, also those that only follow from others."""
    if one.stream is not None or other.stream is not None:
        # Of two entries with one path the later wins, here as in the machine.
        yield from _compared(dict(items(one, looker)), items(other, looker))
        return
    # Files of two builds are compared one by one: what is known of one file's entries is forgotten before the next.
    theirs = {_stable(other, each): each for each in other.parts}
    for each in one.parts:
        name = _stable(one, each)
        match = theirs.pop(name, None)
        if match is None:
            yield Difference(place=(name,), only="a", changes={})
        else:
            yield from _compared(dict(items(each, looker, (name,))), items(match, looker, (name,)))
    yield from (Difference(place=(name,), only="b", changes={}) for name in theirs)


def _unwrapped(part: Part) -> Part:
    """The disk in a file that holds nothing else."""
    while part.stream is not None and part.entries is None and len(part.parts) == 1 and part.kind in _WRAPPERS:
        part = part.parts[0]
    return part


def _compared(old: dict[Place, Item], new: Iterable[tuple[Place, Item]]) -> Iterator[Difference]:
    """Of ``new`` only what differs is kept, as there may be many items."""
    other: dict[Place, Item] = {}
    seen: set[Place] = set()
    for place, item in new:
        if place in old:
            seen.add(place)
        if old.get(place) == item:
            other.pop(place, None)
        else:
            other[place] = item
    for place, before in old.items():
        if place not in seen:
            yield Difference(place=place, only="a", changes={})
        elif place in other:
            yield Difference(place=place, changes=_changes(before.properties(), other[place].properties()))
    yield from (Difference(place=place, only="b", changes={}) for place in other if place not in old)


def _changes(old: dict[str, object], new: dict[str, object]) -> dict[str, tuple[object, object]]:
    keys = dict.fromkeys((*old, *new))
    found = {key: (old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)}
    # Of a text its words say it all.
    return {key: value for key, value in found.items() if key not in _CONTENT} if "text" in found else found


def explained(found: list[Difference]) -> Iterator[Difference]:
    """Without what follows from a difference further inside, and without what is in something that is not there."""
    inner = {each.place[:count] for each in found for count in range(len(each.place))}
    gone = {each.place for each in found if each.only or "kind" in each.changes}
    alone = all(each.follows or each.place in inner for each in found)
    for each in found:
        if each.follows and not alone:
            continue
        if any(each.place[:count] in gone for count in range(len(each.place))):
            continue
        if each.only or each.place not in inner:
            yield each
            continue
        dependent = (*_CONTENT, *_LAYOUT, *_DERIVED)
        own = {key: value for key, value in each.changes.items() if key not in dependent}
        if own:
            yield Difference(place=each.place, changes=own)


def items(part: Part, looker: Looker, place: Place = ()) -> Iterator[tuple[Place, Item]]:
    """Everything in ``part`` that can be compared, each with its place."""
    yield place, _part_item(part)
    yield from _contents(part, looker, place)


def _contents(part: Part, looker: Looker, place: Place) -> Iterator[tuple[Place, Item]]:
    for each in part.parts:
        if part.kind == INITRD:
            # How its files are spread over segments does not matter to the machine.
            yield from _contents(each, looker, place)
        else:
            yield from items(each, looker, (*place, _stable(part, each)))
    stable = layout.names(part)
    for entry in part.entries() if part.entries is not None else ():
        with looker.inside(entry) as (whole, inner, deeper):
            here = (*place, stable.get(entry.path, entry.path))
            facts = tuple(inner.facts.items()) if inner is not None else ()
            yield here, _entry_item(whole)._replace(facts=facts)
            if inner is not None:
                yield from _contents(inner, deeper, here)


def _stable(part: Part, inner: Part) -> str:
    """What a file of a build is called without the build's name, so that builds of two names can be compared."""
    if part.stream is None and inner.name.startswith(part.name):
        return inner.name.removeprefix(part.name)
    return inner.name


def _part_item(part: Part) -> Item:
    facts = tuple(part.facts.items())
    return Item(kind=part.kind, size=part.size, sha256=bytes.fromhex(part.sha256()), facts=facts)


def _entry_item(entry: Entry) -> Item:
    return Item(
        kind=entry.kind.name.lower(),
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        mtime_s=entry.mtime_s,
        size=entry.size,
        sha256=content_hash(entry) if entry.kind is Kind.FILE else b"",
        target=entry.target,
        device=f"{entry.major}:{entry.minor}" if entry.kind in (Kind.CHAR, Kind.BLOCK) else "",
        xattrs=entry.xattrs,
    )


def _short(value: object) -> str:
    text = printable(str(value))
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        return text[:12]
    return text if len(text) <= 80 else f"{text[:77]}…"
