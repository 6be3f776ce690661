"""YAML text → plain values and their places.

libyaml composes the text to nodes; everything above that is done here: what an unquoted scalar means, merge keys,
duplicate keys, and limits that a hostile file cannot pass. Mappings become ``dict``, sequences ``tuple``, and ``null``
becomes ``NULL``, which no key accepts.
"""

from __future__ import annotations

import base64
import enum
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from moby.config import syntax
from moby.config.places import Fault, Mark, Path, Places
from moby.config.scalars import resolve
from moby.errors import ConfigError

MAX_BYTES = 16 << 20
_MAX_DEPTH = 50
_MAX_NODES = 200_000
_MAX_CHARACTERS = 64 << 20

_PLAIN = "plain"
_QUOTED = "quoted"
_COLLECTION = "collection"
_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = (_QUOTED, f"{_TAG}str", f"{_TAG}timestamp")
_TYPED_TAGS = {
    f"{_TAG}int": (int, "an integer"),
    f"{_TAG}float": (int, float, "a number"),
    f"{_TAG}bool": (bool, "true or false"),
}


class Null(enum.Enum):
    """The type of ``NULL``: ``None`` already means "not given"."""

    NULL = "null"


NULL = Null.NULL


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What one YAML text says. ``faults`` are those of the text itself: repeated keys, unknown tags."""

    data: object
    places: Places
    faults: tuple[Fault, ...] = ()
    notices: tuple[str, ...] = ()


def read(text: bytes | str, *, file: str) -> Document:
    """The first YAML document of ``text``; ``file`` names it in messages.

    Raises ``ConfigError`` with line and column when it is not YAML, is empty, or is larger than the limits.
    """
    text = text if isinstance(text, str) else decoded(text, file)
    loader = _loader(text, file)
    try:
        node = loader.get_node() if loader.check_node() else None
        if node is None:
            raise ConfigError("the file is empty", where=file, fix="start from the output of: moby init")
        rest = _has_more(loader)
    except yaml.YAMLError as error:
        raise syntax.explain(error, text, file) from error
    reader = _Reader(file)
    data = reader.value(node, (), 0)
    places = Places(file=file, values=reader.values, keys=reader.keys, written=reader.written)
    notices = (f"{file}: only the first of its YAML documents is used",) if rest else ()
    return Document(data=data, places=places, faults=tuple(reader.faults), notices=notices)


def decoded(data: bytes, file: str) -> str:
    """The text of a YAML file without byte order mark. Raises ``ConfigError`` with the place of what is not UTF-8."""
    if len(data) > MAX_BYTES:
        raise ConfigError(f"more than {MAX_BYTES >> 20} MiB", where=file, fix="put big files into an image or source:")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise ConfigError("not UTF-8 text", where=f"{file}:{line}:{column}", fix="save it as UTF-8") from error


class _Composer(yaml.CSafeLoader):
    """libyaml's composer without any idea of types: it only keeps apart what was quoted, tagged or neither."""

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: tuple[bool, bool] | bool) -> str:
        """The tag of a node that has none."""
        if kind is not yaml.ScalarNode:
            return _COLLECTION
        return _PLAIN if isinstance(implicit, tuple) and implicit[0] else _QUOTED


def _loader(text: str, file: str) -> _Composer:
    try:
        return _Composer(text)
    except yaml.YAMLError as error:
        raise syntax.explain(error, text, file) from error
    except UnicodeEncodeError as error:
        raise ConfigError("has a character that is not Unicode text", where=file) from error


def _has_more(loader: _Composer) -> bool:
    try:
        return bool(loader.check_node())
    except yaml.YAMLError:
        return True


@dataclass(slots=True)
class _Reader:
    """Turns nodes into values; an alias is walked once for each use, within the limits."""

    file: str
    values: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)
    written: dict[Path, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    nodes: int = 0
    characters: int = 0

    def value(self, node: yaml.Node, path: Path, depth: int) -> object:
        self.count(node, depth)
        self.values[path] = self.mark(node)
        if isinstance(node, yaml.ScalarNode):
            self.written[path] = node.value
            return self.scalar(node, path)
        if node.tag not in (_COLLECTION, f"{_TAG}map", f"{_TAG}seq"):
            self.faults.append(Fault(path=path, what=f"unknown tag {_shown(node.tag)}", fix="remove the tag"))
        if isinstance(node, yaml.SequenceNode):
            return tuple(self.value(each, (*path, index), depth + 1) for index, each in enumerate(node.value))
        return self.mapping(node, path, depth)

    def mapping(self, node: yaml.Node, path: Path, depth: int) -> dict[str, object]:
        merged: list[yaml.Node] = []
        found: dict[str, object] = {}
        for key, value in self.pairs(node, path, merged, own=True):
            if key.value in found:
                first = self.keys[(*path, key.value)]
                self.repeated(key, path, first)
                continue
            self.keys[(*path, key.value)] = self.mark(key)
            found[key.value] = self.value(value, (*path, key.value), depth + 1)
        for source in merged:
            for key, value in self.inherited(source, path, depth + 1):
                if key.value not in found:
                    self.keys[(*path, key.value)] = self.mark(key)
                    found[key.value] = self.value(value, (*path, key.value), depth + 1)
        return found

    def inherited(self, node: yaml.Node, path: Path, depth: int) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """The pairs that ``<<: node`` brings in, those that win first."""
        self.count(node, depth)
        if isinstance(node, yaml.SequenceNode):
            for each in node.value:
                yield from self.inherited(each, path, depth + 1)
        elif isinstance(node, yaml.MappingNode):
            nested: list[yaml.Node] = []
            yield from self.pairs(node, path, nested, own=False)
            for each in nested:
                yield from self.inherited(each, path, depth + 1)
        else:
            fix = "write <<: *NAME, where &NAME marks a mapping"
            self.faults.append(Fault(path=path, what="<< needs a mapping or a list of mappings", fix=fix))

    def pairs(
        self, node: yaml.Node, path: Path, merged: list[yaml.Node], *, own: bool
    ) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """The pairs of a mapping with a scalar key; the values of its merge keys go to ``merged``."""
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                if own:
                    place = (*path, f"\0{key.start_mark.line}")
                    self.keys[place] = self.mark(key)
                    what = "a key must be plain text, not a list or mapping"
                    self.faults.append(Fault(path=place, what=what, fix="write KEY: VALUE", at_key=True))
            elif key.tag == f"{_TAG}merge" or (key.tag == _PLAIN and key.value == "<<"):
                merged.append(value)
            else:
                yield key, value

    def repeated(self, key: yaml.ScalarNode, path: Path, first: Mark) -> None:
        place = (*path, f"{key.value}\0{key.start_mark.line}")
        self.keys[place] = self.mark(key)
        what = f"key {key.value!r} is given twice, first in line {first.line}"
        self.faults.append(Fault(path=place, what=what, fix="remove one of them", at_key=True))

    def scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        if node.tag in _TEXT_TAGS:
            return node.value
        if node.tag == f"{_TAG}binary":
            return self.binary(node, path)
        value = resolve(node.value)
        if node.tag == _PLAIN or (node.tag == f"{_TAG}null" and value is None):
            return NULL if value is None else value
        if node.tag not in _TYPED_TAGS:
            self.faults.append(Fault(path=path, what=f"unknown tag {_shown(node.tag)}", fix="remove the tag"))
            return node.value
        *types, expected = _TYPED_TAGS[node.tag]
        if type(value) not in types:
            what = f"{node.value[:60]!r} is not {expected}, as its tag says"
            self.faults.append(Fault(path=path, what=what, fix="remove the tag or mend the value"))
        return value

    def binary(self, node: yaml.ScalarNode, path: Path) -> str:
        """The text that base64 stands for."""
        try:
            return base64.b64decode(node.value.replace("\n", ""), validate=True).decode()
        except UnicodeDecodeError:
            what, fix = "!!binary is not UTF-8 text", "put the bytes into a file, and name it as source:"
        except ValueError:
            what, fix = "!!binary is not base64", "encode it with: base64 -w0 FILE"
        self.faults.append(Fault(path=path, what=what, fix=fix))
        return ""

    def count(self, node: yaml.Node, depth: int) -> None:
        self.nodes += 1
        self.characters += len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        if depth > _MAX_DEPTH:
            raise self.limit(node, f"nested more than {_MAX_DEPTH} deep")
        if self.nodes > _MAX_NODES:
            raise self.limit(node, f"expands to more than {_MAX_NODES} values")
        if self.characters > _MAX_CHARACTERS:
            raise self.limit(node, f"expands to more than {_MAX_CHARACTERS >> 20} Mi characters")

    def limit(self, node: yaml.Node, what: str) -> ConfigError:
        return ConfigError(what, where=str(self.mark(node)), fix="use fewer aliases; none may hold itself")

    def mark(self, node: yaml.Node) -> Mark:
        return Mark(self.file, node.start_mark.line + 1, node.start_mark.column + 1)


def _shown(tag: str) -> str:
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag[:60]
