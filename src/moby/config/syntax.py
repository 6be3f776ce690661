"""YAML syntax errors in plain words."""

from __future__ import annotations

import contextlib
import re

import yaml

from moby.config.scalars import quote
from moby.errors import ConfigError

_INDENT = "check the indentation: all keys of one mapping start in the same column"

# What libyaml says, and how a person would say it: (what, fix).
_WORDS = {
    "mapping values are not allowed in this context": (
        "unexpected ':'",
        f"quote text that has ': ' in it, or {_INDENT}",
    ),
    "found unexpected ':'": ("unexpected ':'", "put a space after ':', and quote text that has ':' in it"),
    "did not find expected key": ("expected a key", _INDENT),
    "did not find expected '-' indicator": ("expected another '- ' of the list", _INDENT),
    "could not find expected ':'": (
        "this line has no ':' after its key",
        "write KEY: VALUE, or indent text that goes on",
    ),
    "block sequence entries are not allowed in this context": (
        "unexpected '- '",
        "start the list on a line of its own",
    ),
    "did not find expected ',' or ']'": ("a list in [ ] is not closed", "add ',' or ']'"),
    "did not find expected ',' or '}'": ("a mapping in { } is not closed", "add ',' or '}'"),
    "found unexpected end of stream": ("a quoted text is not closed", "add the closing quote"),
    "found unexpected document indicator": ("a quoted text is not closed", "add the closing quote"),
    "found undefined alias": ("this alias has no anchor before it", "mark a value with &NAME first, or quote the '*'"),
    "found unknown escape character": ("unknown escape in a text in double quotes", "write \\\\ for one backslash"),
    "exceeded maximum nesting depth": ("nested too deep", "no configuration needs that"),
    "found a tab character that violates indentation": ("a tab in the indentation", "indent with spaces"),
    "found a tab character where an indentation space is expected": ("a tab in the indentation", "indent with spaces"),
    "did not find expected node content": ("a value is missing here", "check commas and brackets"),
    "second occurrence": ("this anchor name is used twice", "give each & a name of its own"),
}
# Where a plain text would end: in brackets, and outside of them.
_END_IN_BRACKETS = re.compile(r"[,\[\]{}]|\s#|:(?=[\s,\[\]{}]|$)")
_END = re.compile(r"\s#|:(?=\s|$)")
_MAX_SHOWN = 60
_UNCLOSED = ("end of stream", "document indicator", "or ']'", "or '}'", "expected ':'")


def explain(error: yaml.YAMLError, text: str, file: str) -> ConfigError:
    """``error`` as a ``ConfigError`` with its place in ``text``."""
    if isinstance(error, yaml.reader.ReaderError):
        return _forbidden(error, text, file)
    if not isinstance(error, yaml.MarkedYAMLError):
        return ConfigError(f"not YAML: {error}", where=file)
    problem = error.problem or str(error)
    # Where an unclosed quote or bracket begins says more than where the text ran out.
    begins = error.context_mark if problem.endswith(_UNCLOSED) else None
    mark = begins or error.problem_mark or error.context_mark
    where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
    if problem == "found character that cannot start any token":
        what, fix = _strange(text, mark)
    else:
        what, fix = _WORDS.get(problem, (problem, ""))
        if mark and "\u00a0" in _line(text, mark):
            fix = "replace the no-break spaces (U+00A0) of this line by plain ones"
    return ConfigError(f"not YAML: {what}", where=where, fix=fix)


def _strange(text: str, mark: yaml.Mark | None) -> tuple[str, str]:
    rest = _line(text, mark)[mark.column :] if mark else ""
    letter = rest[:1]
    if letter == "\t":
        return "a tab in the indentation", "indent with spaces"
    end = (_END_IN_BRACKETS if mark and _in_brackets(text, mark) else _END).search(rest)
    value = rest[: end.start() if end else None].strip()
    is_plain = len(value) <= _MAX_SHOWN and not set(value) & set("\"'")
    return f"a value cannot start with {letter!r}", f"quote it: {quote(value)}" if is_plain else "quote the value"


def _in_brackets(text: str, mark: yaml.Mark) -> bool:
    """Whether an open [ or { holds the place."""
    before = [*text.splitlines()[: mark.line], _line(text, mark)[: mark.column]]
    depth = 0
    with contextlib.suppress(yaml.YAMLError):  # libyaml looks ahead: what is wrong must not be there
        for token in yaml.scan("\n".join(before) + "x", Loader=yaml.CSafeLoader):
            depth += isinstance(token, yaml.FlowSequenceStartToken | yaml.FlowMappingStartToken)
            depth -= isinstance(token, yaml.FlowSequenceEndToken | yaml.FlowMappingEndToken)
    return depth > 0


def _line(text: str, mark: yaml.Mark) -> str:
    lines = text.splitlines()
    return lines[mark.line] if mark.line < len(lines) else ""


def _forbidden(error: yaml.reader.ReaderError, text: str, file: str) -> ConfigError:
    letter = chr(error.character) if isinstance(error.character, int) else str(error.character)
    at = max(text.find(letter), 0)
    line = text.count("\n", 0, at) + 1
    column = at - text.rfind("\n", 0, at)
    where = f"{file}:{line}:{column}"
    return ConfigError(f"not YAML: has the character {letter!r}", where=where, fix='write it as an escape in "…"')
