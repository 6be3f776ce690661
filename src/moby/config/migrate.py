"""A file of March 2017 → the same file in the language of today, comments kept.

``legacy`` says what to change; ruamel.yaml keeps the text around it. Sections that have no place today become comments.
"""

from __future__ import annotations

import io
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

import yaml as pyyaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark
from ruamel.yaml.scalarstring import ScalarString
from ruamel.yaml.tokens import CommentToken

from moby.config import legacy
from moby.config.edits import Change, Drop, Put, Rename, Value
from moby.config.model import Output
from moby.config.places import Path, Places
from moby.config.source import Document, read
from moby.errors import ConfigError

_WIDTH = 1 << 20
_ENTRYPOINT = "In March 2017 the image's entrypoint came before these words: put it here if the image has one."
# Where a ruamel comment sits: after a mapping's value, and after a sequence's item.
_AFTER_VALUE, _AFTER_ITEM = 2, 0


def migrate(text: str, *, file: str) -> str:
    """``text`` as of today; itself when it is already. ``file`` names it in messages and in the command it shows.

    Raises ``ConfigError`` when it is not YAML or says what cannot be said today.
    """
    document = read(text, file=file)
    if not legacy.is_legacy(document.data):
        return text
    translation = legacy.translate(document)
    if faults := translation.document.faults:
        raise ConfigError.gather(translation.document.places.errors(faults))
    changes = legacy.find(document).changes
    renames = [each for each in changes if isinstance(each, Rename)]
    text = _without_outputs(_renamed(text, document.places, renames), translation.outputs, file)
    yaml = _yaml(document.places)
    root = next(iter(yaml.load_all(text)), None)
    if root is None:
        return f"{text}{{}}\n"
    editor = _Editor(root, {each.old: each.new for each in renames if not each.path})
    editor.note_entrypoints(document)
    for change in changes:
        editor.apply(change)
    out = io.StringIO()
    yaml.dump(root, out)
    return out.getvalue()


def _yaml(places: Places) -> YAML:
    """A round-trip reader and writer with the indentation that the text uses."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = _WIDTH
    mapping, sequence, offset = 2, 2, 0
    for path, key in places.keys.items():
        value, item = places.values[path], places.values.get((*path, 0))
        if value.line > key.line and item is not None and item.line == value.line and item.column > value.column:
            sequence, offset = item.column - key.column, value.column - key.column
            break
    for path, key in places.keys.items():
        value = places.values[path]
        if value.line > key.line and (*path, 0) not in places.values and value.column > key.column:
            mapping = value.column - key.column
            break
    yaml.indent(mapping=mapping, sequence=sequence, offset=offset)
    return yaml


def _renamed(text: str, places: Places, renames: Iterable[Rename]) -> str:
    """``text`` with other keys; a key that several mappings merge stands in it once."""
    lines = text.split("\n")
    found = {places.keys[(*each.path, each.old)]: each for each in renames}
    for mark, rename in sorted(found.items(), reverse=True):
        line, start = lines[mark.line - 1], mark.column - 1
        start += line[start] in "\"'"
        lines[mark.line - 1] = line[:start] + rename.new + line[start + len(rename.old) :]
    return "\n".join(lines)


def _without_outputs(text: str, outputs: Sequence[Output], file: str) -> str:
    """``text`` with the lines of ``outputs`` as comments, after a line that says what takes their place."""
    root = pyyaml.compose(text, Loader=pyyaml.CSafeLoader)
    if not isinstance(root, pyyaml.MappingNode) or root.flow_style:
        return text
    for key, value in root.value:
        if key.value == "outputs":
            lines = text.splitlines(keepends=True)
            first, last = key.start_mark.line, _last_line(value)
            quoted = [f"# {line}" for line in lines[first : last + 1]]
            return "".join([*lines[:first], *_instead(outputs, file), *quoted, *lines[last + 1 :]])
    return text


def _last_line(node: pyyaml.Node) -> int:
    """The last line that ``node`` has text in; of a block libyaml tells where the next thing begins."""
    while isinstance(node, pyyaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.line)


def _instead(outputs: Sequence[Output], file: str) -> Iterator[str]:
    formats = ",".join(dict.fromkeys(each.modern for each in outputs))
    if not formats:
        return
    yield f"# {shlex.join(['moby', 'build', '-f', formats, file])} makes what this section asked for:\n"
    stem = file.rpartition("/")[2].rpartition(".")[0] or file
    for each in outputs:
        if command := each.push(f"{stem}.img.tar.gz"):
            yield f"# {command}\n"


def _is_own(holder: CommentedMap, key: str) -> bool:
    """Whether the mapping itself has ``key``, and not one that it merges."""
    return any(each == key for each, _ in holder.non_merged_items())


class _Editor:
    """Makes changes in a document; one that an alias already saw made is not made again."""

    def __init__(self, root: CommentedMap, sections: Mapping[str, str]) -> None:
        self._root = root
        self._sections = sections
        self._added: dict[int, list[str]] = {}

    def apply(self, change: Change) -> None:
        """Make one change."""
        holder = self._at(change.path)
        if isinstance(change, Put) and change.key in holder:
            _replace(holder, change.key, change.value)
        elif isinstance(change, Put):
            self._add(holder, change.key, change.value)
        elif isinstance(change, Drop) and _is_own(holder, change.key):
            del holder[change.key]

    def note_entrypoints(self, document: Document) -> None:
        """Say above each ``command`` what came before it."""
        for path, key in document.places.keys.items():
            if path[0] in self._sections and path[2:] == ("command",):
                entry = self._at(path[:2])
                if entry["command"] and _is_own(entry, "command") and not entry.fa.flow_style():
                    entry.yaml_set_comment_before_after_key("command", before=_ENTRYPOINT, indent=key.column - 1)

    def _at(self, path: Path) -> CommentedMap:
        holder = self._root
        for depth, part in enumerate(path):
            holder = holder[part if depth else self._sections.get(str(part), part)]
        return holder

    def _add(self, holder: CommentedMap, key: str, value: Value) -> None:
        """A new key: behind ``image`` and what was added there before, else at the end."""
        names = list(holder)
        if not _is_own(holder, "image"):
            holder[key] = _block(value)
            return
        added = self._added.setdefault(id(holder), ["image"])
        last = max(names.index(each) for each in added if each in names)
        rest = _cut(holder.ca.items, names[last], _AFTER_VALUE)
        holder.insert(last + 1, key, _block(value))
        added.append(key)
        if rest is not None:
            holder.ca.items[key] = [None, None, rest, None]


def _replace(holder: CommentedMap, key: str, value: Value) -> None:
    old = holder[key]
    if not isinstance(old, CommentedSeq) or not isinstance(value, list):
        holder[key] = _flow(value) if isinstance(value, list) else _quoted(value, old)
        return
    for index, each in enumerate(value):
        if index < len(old):
            old[index] = _quoted(each, old[index])
        else:
            _append(old, each)
    _shorten(old, len(value))


def _quoted(value: Value, old: object) -> object:
    """A text in the quotes of the one that it replaces."""
    return type(old)(value) if isinstance(old, ScalarString) and isinstance(value, str) else value


def _append(items: CommentedSeq, value: Value) -> None:
    last = len(items) - 1
    items.append(value)
    if (rest := _cut(items.ca.items, last, _AFTER_ITEM)) is not None:
        items.ca.items[last + 1] = [rest, None, None, None]


def _shorten(items: CommentedSeq, length: int) -> None:
    """Remove the last items; what stood beside and below them stays below the one that is the last now."""
    comments = items.ca.items
    removed = [comments.pop(index)[_AFTER_ITEM] for index in range(length, len(items)) if index in comments]
    text = "".join(token.value for token in removed if token is not None)
    del items[length:]
    if not text:
        return
    token = comments[length - 1][_AFTER_ITEM] if length - 1 in comments else None
    before = token.value if token is not None else "\n"
    comments[length - 1] = [CommentToken(before + text, start_mark=CommentMark(0)), None, None, None]


def _cut(comments: dict[object, list[CommentToken | None]], key: object, slot: int) -> CommentToken | None:
    """Take what follows the line of ``key``: empty lines and comments that belong to what comes next."""
    token = comments[key][slot] if key in comments else None
    if token is None:
        return None
    line, _, rest = token.value.partition("\n")
    if not rest:
        return None
    token.value = f"{line}\n"
    if not line:
        comments[key][slot] = None
    return CommentToken(f"\n{rest}", start_mark=CommentMark(0))


def _block(value: Value) -> object:
    """A new value: lists of mappings have a line for each, other lists are one line."""
    if not isinstance(value, list) or not any(isinstance(each, dict) for each in value):
        return _flow(value)
    return CommentedSeq(_flow(each) for each in value)


def _flow(value: Value) -> object:
    """A new value on one line."""
    if isinstance(value, list):
        items = CommentedSeq(map(_flow, value))
        items.fa.set_flow_style()
        return items
    if isinstance(value, dict):
        mapping = CommentedMap((key, _flow(each)) for key, each in value.items())
        mapping.fa.set_flow_style()
        return mapping
    return value
