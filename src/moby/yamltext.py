"""YAML text in the two styles in which the original tool prints a configuration.

``METADATA`` is the style of the Go library yaml.v2 (2.4), ``DRY_RUN`` that of yaml.v3: where they indent, when they
quote and where they fold. Both follow libyaml's emitter, whose rules for scalars ``_way`` keeps.
Only what a configuration can hold is supported: mappings, lists of scalars or mappings, scalars.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moby.config.scalars import is_date, resolve
from moby.ocispec import Plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a library lays out a document. ``width`` is the column after which it folds text at spaces."""

    indent: int
    lists_indented: bool
    width: int
    tabs_in_blocks: bool
    letters_after_digits_first: bool


METADATA = Style(indent=2, lists_indented=False, width=80, tabs_in_blocks=False, letters_after_digits_first=False)
DRY_RUN = Style(indent=4, lists_indented=True, width=1 << 31, tabs_in_blocks=True, letters_after_digits_first=True)

_OLD_BOOLEANS = frozenset(
    ("y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF")
)
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?", re.ASCII)
# What the libraries escape: less is printable to them than to YAML (no tab, nothing outside of the basic plane).
_UNPRINTABLE = "[^\n\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd]"
_PLAIN_TEXT = re.compile(r"[\n -~]*")
_OTHER_BREAKS = frozenset("\r\x85\u2028\u2029")
_INDICATORS = frozenset("#,[]{}&*!|>'\"%@`")
_ESCAPES = {
    **{"\0": "0", "\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r", "\x1b": "e"},
    **{'"': '"', "\\": "\\", "\x85": "N", "\u2028": "L", "\u2029": "P"},
}


def emit(document: Mapping[str, Plain], style: Style) -> str:
    """``document`` as YAML text with a final newline. Keys keep their order; see ``sort_keys`` for maps."""
    emitter = _Emitter(style)
    emitter.mapping(document, 0)
    return emitter.finish()


def sort_keys(values: Mapping[str, str], style: Style) -> dict[str, str]:
    """A map in the order in which the libraries print it: numbers inside of keys count as numbers."""
    order = functools.cmp_to_key(functools.partial(_compare, style))
    return {key: values[key] for key in sorted(values, key=order)}


def _compare(style: Style, a: str, b: str) -> int:
    digits = False
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x == y:
            digits = x.isdecimal()
        elif x.isalpha() and y.isalpha():
            return -1 if x < y else 1
        elif x.isalpha() or y.isalpha():
            letter_first = digits and style.letters_after_digits_first
            return -1 if x.isalpha() == letter_first else 1
        else:
            return _compare_numbers(a, b, index)
    return len(a) - len(b)


def _compare_numbers(a: str, b: str, index: int) -> int:
    """Compare from the first difference on, where neither side has a letter."""
    before = re.search(r"[1-9][0-9]*$|$", a[:index])
    # Behind digits, a zero is a digit of the number and not a leading one.
    start = 1 if before and before[0] and "0" in (a[index], b[index]) else 0
    left, right = (re.match(r"[0-9]*", text[index:]) for text in (a, b))
    assert left is not None and right is not None  # the pattern matches nothing, too
    numbers = [(int(f"{start}{found[0]}"), len(found[0])) for found in (left, right)]
    if numbers[0] != numbers[1]:
        return -1 if numbers[0] < numbers[1] else 1
    return -1 if a[index] < b[index] else 1


class _Emitter:
    def __init__(self, style: Style) -> None:
        self._style = style
        self._parts: list[str] = []
        self._column = 0

    def finish(self) -> str:
        self._end_line()
        return "".join(self._parts)

    def mapping(self, values: Mapping[str, Plain], indent: int) -> None:
        for index, (key, value) in enumerate(values.items()):
            if index:
                self._new_line(indent)
            self._text(key, indent, indent, is_key=True)
            self._write(":")
            self._value(value, indent)

    def _value(self, value: Plain, indent: int) -> None:
        """What comes after ``key:`` of a mapping at ``indent``."""
        inner = (indent + self._style.indent) // self._style.indent * self._style.indent
        if isinstance(value, Mapping) and value:
            self._new_line(inner)
            self.mapping(value, inner)
        elif isinstance(value, list | tuple) and value:
            self._list(value, inner if self._style.lists_indented else indent)
        else:
            self._scalar(value, indent, inner)

    def _list(self, values: Sequence[Plain], indent: int) -> None:
        for each in values:
            self._new_line(indent)
            self._write("-")
            if isinstance(each, Mapping) and each:
                self._write(" ")
                self.mapping(each, indent + 2)
            else:
                self._scalar(each, indent, indent + 2)

    def _scalar(self, value: Plain, outer: int, indent: int) -> None:
        """A value of a mapping or list at ``outer``; further lines of it start at ``indent``."""
        self._write(" ")
        if isinstance(value, str):
            self._text(value, outer, indent)
        elif isinstance(value, Mapping):
            self._write("{}")
        elif isinstance(value, list | tuple):
            self._write("[]")
        elif value is None:
            self._write("null")
        else:
            self._write(str(value).lower())

    def _text(self, text: str, outer: int, indent: int, *, is_key: bool = False) -> None:
        way = _way(text, self._style)
        if way is _Way.BLOCK and not is_key:
            self._block(text, outer, indent)
        elif way is _Way.PLAIN:
            self._folded(text, indent, fold=not is_key, at_ends=True)
        elif way is _Way.SINGLE:
            self._write("'")
            self._folded(text, indent, fold=not is_key, at_ends=False, quote="''")
            self._write("'")
        else:
            self._write('"')
            self._double(text, indent, fold=not is_key)
            self._write('"')

    def _block(self, text: str, outer: int, indent: int) -> None:
        # yaml.v3 gives its own step here also where it indents by less, and nothing before a tab: its output cannot be
        # read back then, so there ours differs.
        hint = str(indent - outer) if text[0] in " \n\t" else ""
        chomp = "-" if not text.endswith("\n") else "+" if text == "\n" or text.endswith("\n\n") else ""
        self._write(f"|{hint}{chomp}")
        self._end_line()
        *lines, rest = text.split("\n")
        for line in lines:
            self._parts.append(f"{' ' * indent}{line}\n" if line else "\n")
        if rest:
            self._write(f"{' ' * indent}{rest}")

    def _folded(self, text: str, indent: int, *, fold: bool, at_ends: bool, quote: str = "'") -> None:
        for index, letter in enumerate(text):
            lone = letter == " " and " " not in (text[index - 1 : index], text[index + 1 : index + 2])
            if lone and fold and self._is_full() and (at_ends or 0 < index < len(text) - 1):
                self._new_line(indent)
            else:
                self._write(quote if letter == "'" else letter)

    def _double(self, text: str, indent: int, *, fold: bool) -> None:
        for index, letter in enumerate(text):
            first = letter == " " and text[index - 1 : index] != " "
            if first and fold and self._is_full() and 0 < index < len(text) - 1:
                self._new_line(indent)
                self._write("\\" if text[index + 1] == " " else "")
            else:
                self._write(_escaped(letter))

    def _is_full(self) -> bool:
        return self._column > self._style.width

    def _write(self, text: str) -> None:
        self._parts.append(text)
        self._column += len(text)

    def _end_line(self) -> None:
        if self._column:
            self._parts.append("\n")
            self._column = 0

    def _new_line(self, indent: int) -> None:
        self._end_line()
        self._write(" " * indent)


class _Way(enum.Enum):
    """The ways to write a text."""

    PLAIN = enum.auto()
    SINGLE = enum.auto()
    DOUBLE = enum.auto()
    BLOCK = enum.auto()


def _is_special(text: str) -> bool:
    """Whether any of ``text`` must be escaped. The whole expression takes longer to compile than a file to write."""
    return not _PLAIN_TEXT.fullmatch(text) and re.search(_UNPRINTABLE, text) is not None


def _way(text: str, style: Style) -> _Way:
    special = _is_special(text if not style.tabs_in_blocks else text.replace("\t", ""))
    if special or set(text) & _OTHER_BREAKS or " \n" in text:
        return _Way.DOUBLE
    if "\n" in text:
        return _Way.DOUBLE if text.endswith(" ") else _Way.BLOCK
    if not _is_text(text) or "\t" in text:
        return _Way.DOUBLE
    return _Way.PLAIN if _may_be_plain(text) else _Way.SINGLE


def _is_text(text: str) -> bool:
    """Whether a reader takes the unquoted ``text`` for text."""
    if text == "<<" or text in _OLD_BOOLEANS or _BASE_60.fullmatch(text) or is_date(text):
        return False
    return isinstance(resolve(text), str)


def _may_be_plain(text: str) -> bool:
    """Whether a line of printable text can stand without quotes outside of ``[ ]`` and ``{ }``."""
    if text[0] in _INDICATORS or text.startswith(("---", "...")) or " " in (text[0], text[-1]):
        return False
    if text[0] in "?:-" and text[1:2] in ("", " "):
        return False
    return not (text.endswith(":") or ": " in text or " #" in text)


def _escaped(letter: str) -> str:
    if letter in _ESCAPES:
        return "\\" + _ESCAPES[letter]
    if not _is_special(letter):
        return letter
    code = ord(letter)
    return f"\\x{code:02X}" if code <= 0xFF else f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"
