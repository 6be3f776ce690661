"""What is in an artifact, told: as an indented text for people, or as plain data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from moby import outputs
from moby.errors import ConfigError
from moby.evidence.look import Looker
from moby.evidence.part import Part
from moby.formats.entry import Entry, Kind

Form = dict[str, object]

_LETTERS = {
    Kind.FILE: "-",
    Kind.DIRECTORY: "d",
    Kind.SYMLINK: "l",
    Kind.HARDLINK: "h",
    Kind.CHAR: "c",
    Kind.BLOCK: "b",
    Kind.FIFO: "p",
}


def opened(looker: Looker, target: Path) -> Part:
    """The file at ``target``, or the files of a build with that base name, as ``moby run`` takes it.

    Raises ``ConfigError`` when there is no such thing.
    """
    if target.is_file():
        return looker.open(target)
    found = named(target)
    if not found:
        fix = "name a file, or the base name of a build"
        raise ConfigError("a directory" if target.is_dir() else "no such file", where=str(target), fix=fix)
    parts = tuple(looker.open(path) for path in found)
    return Part(name=target.name, kind="files of a build", parts=parts)


def named(base: Path) -> list[Path]:
    """The files that a build called ``base`` may have written and that are there."""
    suffixes = {file.suffix for format in outputs.FORMATS.values() for file in format.files}
    paths = (base.with_name(base.name + suffix) for suffix in sorted(suffixes) if base.name)
    return [path for path in paths if path.is_file()]


def form(part: Part, looker: Looker, *, files: bool = False) -> Form:
    """``part`` for ``json.dumps``, with ``files`` every file of it. Raises ``IntegrityError`` when it is damaged."""
    found: Form = {"name": part.name, "kind": part.kind, "size": part.size}
    found |= {key: list(value) if isinstance(value, tuple) else value for key, value in part.facts.items()}
    parts = [form(each, looker, files=files) for each in part.parts]
    if part.entries is not None:
        listed: list[Form] = []
        count, total = 0, 0
        for entry in part.entries():
            count += 1
            total += entry.size
            with looker.inside(entry) as (whole, inner, deeper):
                if files:
                    listed.append(entry_form(whole))
                if inner is not None:
                    parts.append({**form(inner, deeper, files=files), "name": printable(entry.path)})
        found |= {"entries": count, "entries size": total}
        if files:
            found["files"] = listed
    return found | ({"parts": parts} if parts else {})


def entry_form(entry: Entry) -> Form:
    """An entry for ``json.dumps``, a file with the hash of its bytes."""
    found: Form = {
        "path": printable(entry.path),
        "kind": entry.kind.name.lower(),
        "mode": f"{entry.mode:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "mtime": entry.mtime_s,
    }
    if entry.kind is Kind.FILE:
        found |= {"size": entry.size, "sha256": content_hash(entry).hex()}
    if entry.kind in (Kind.SYMLINK, Kind.HARDLINK):
        found["target"] = printable(entry.target)
    if entry.kind in (Kind.CHAR, Kind.BLOCK):
        found["device"] = f"{entry.major}:{entry.minor}"
    return found | ({"xattrs": {key: value.hex() for key, value in entry.xattrs}} if entry.xattrs else {})


def content_hash(entry: Entry) -> bytes:
    """SHA-256 of the bytes of a file, which are read from where its stream is."""
    if isinstance(entry.data, bytes):
        return hashlib.sha256(entry.data).digest()
    state = hashlib.sha256()
    while data := entry.data.read(1 << 20):
        state.update(data)
    return state.digest()


def lines(found: Mapping[str, object], depth: int = 0) -> Iterator[str]:
    """What ``form`` gave, for people."""
    indent = "  " * depth
    size = found["size"]
    assert isinstance(size, int)
    yield f"{indent}{found['name']}: {found['kind']}, {_bytes(size)}"
    hidden = ("name", "kind", "size", "parts", "files", "entries", "entries size")
    for key, value in found.items():
        if key not in hidden:
            yield from _fact(key, value, f"{indent}  ")
    if "entries" in found:
        total = found["entries size"]
        assert isinstance(total, int)
        yield f"{indent}  {found['entries']} entries, {_bytes(total)} in files"
    for entry in _list(found, "files"):
        yield f"{indent}  {_entry_line(entry)}"
    for part in _list(found, "parts"):
        yield from lines(part, depth + 1)


def _list(found: Mapping[str, object], key: str) -> Sequence[Form]:
    value = found.get(key, ())
    assert isinstance(value, list | tuple)
    return value


def _fact(key: str, value: object, indent: str) -> Iterator[str]:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    first, *more = text.splitlines() or [""]
    yield f"{indent}{key}: {printable(first)}" if not more else f"{indent}{key}:"
    yield from (f"{indent}  {printable(each)}" for each in ([first, *more] if more else ()))


def _entry_line(entry: Form) -> str:
    kind = Kind[str(entry["kind"]).upper()]
    target = f" -> {entry['target']}" if "target" in entry else ""
    what = entry.get("device") or entry.get("size", 0)
    return f"{_LETTERS[kind]}{entry['mode']} {entry['uid']}:{entry['gid']} {what:>10} {entry['path']}{target}"


def printable(text: str) -> str:
    """``text`` without what would move a terminal's cursor or is no text: those characters escaped."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _bytes(count: int) -> str:
    """A size that people can read."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
