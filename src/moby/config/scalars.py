"""What an unquoted YAML scalar means here.

The rules are those of the original tool's YAML reader: integers in YAML 1.1 and 1.2 spelling, ``true`` and ``false`` as
the only booleans, and everything else text: ``on``, ``yes``, ``22:22``, ``2017-03-19``.
"""

from __future__ import annotations

import datetime
import json
import re

Scalar = str | int | float | bool | None

_CONSTANTS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}
_BASES = (
    (re.compile(r"0[xX]([0-9a-fA-F]+)"), 16),
    (re.compile(r"0[bB]([01]+)"), 2),
    (re.compile(r"0[oO]?([0-7]+)"), 8),
)
_DECIMAL = re.compile(r"0|[1-9][0-9]*", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_SHORT_FLOAT = re.compile(r"\.[0-9]+(?:[eE][-+]?[0-9]+)?", re.ASCII)
_TIME = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})(?:(?:[Tt]| )(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.\d+)?(?:Z|[-+]\d{2}:\d{2})?)?", re.ASCII
)
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?", re.ASCII)
_INTEGERS = range(-(1 << 63), 1 << 64)
_EXACT = 1 << 53
# Text that needs no quotes, be it in brackets or not, unless it is read as a number or the like.
_PLAIN = re.compile(r"[A-Za-z0-9/._][A-Za-z0-9/._+@=-]*(?:[: ][A-Za-z0-9/._+@=-]+)*", re.ASCII)
# The longest text worth trying as a number: Python's conversions are quadratic, and no number here is longer.
_MAX_NUMBER = 100


def resolve(text: str) -> Scalar:
    """The value of the unquoted scalar ``text``. A float without a fraction is given as the integer it equals."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "+-.0123456789" or len(text) > _MAX_NUMBER:
        return text
    if text[0] == ".":
        return _whole(float(text)) if _SHORT_FLOAT.fullmatch(text) else text
    plain = text.replace("_", "")
    integer = _integer(plain)
    if integer is not None and integer in _INTEGERS:
        return integer
    return _whole(float(plain)) if _FLOAT.fullmatch(plain) else text


def spell(text: str) -> str:
    """``text`` as a scalar that stands for it wherever it is put: plain where that is safe, else in quotes.

    What other YAML readers take for a date or a number of base 60 is put in quotes, too.
    """
    plain = _PLAIN.fullmatch(text) and resolve(text) == text and not _BASE_60.fullmatch(text) and not is_date(text)
    return text if plain else quote(text)


def quote(text: str) -> str:
    """``text`` in double quotes, of characters that can be read."""
    return "".join(each if each.isprintable() else _escaped(each) for each in json.dumps(text, ensure_ascii=False))


def is_date(text: str) -> bool:
    """Whether a YAML 1.1 reader would take ``text`` for a date or a time stamp."""
    found = _TIME.fullmatch(text)
    if not found:
        return False
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
    try:
        datetime.datetime(year, month, day, hour, minute, second)
    except ValueError:
        return False
    return True


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _integer(text: str) -> int | None:
    digits = text.lstrip("+-")
    if len(text) - len(digits) > 1:
        return None
    sign = -1 if text[0] == "-" else 1
    if _DECIMAL.fullmatch(digits):
        return sign * int(digits)
    for pattern, base in _BASES:
        if found := pattern.fullmatch(digits):
            return sign * int(found[1], base)
    return None


def _whole(number: float) -> int | float:
    return int(number) if abs(number) <= _EXACT and number.is_integer() else number
