"""The parts of DER that signatures need: building and taking apart tag, length and value (ITU-T X.690)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from moby.errors import IntegrityError

INTEGER, OCTETS, NULL, OID, SEQUENCE, SET = 0x02, 0x04, 0x05, 0x06, 0x30, 0x31
_MAX_LENGTH_BYTES = 4


def encode(tag: int, *parts: bytes) -> bytes:
    """One element."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def sequence(*parts: bytes) -> bytes:
    """A SEQUENCE."""
    return encode(SEQUENCE, *parts)


def set_of(*parts: bytes) -> bytes:
    """A SET OF, its elements sorted as DER wants."""
    return encode(SET, *sorted(parts))


def octets(data: bytes) -> bytes:
    """An OCTET STRING."""
    return encode(OCTETS, data)


def integer(value: int) -> bytes:
    """An INTEGER that is not negative."""
    return encode(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def null() -> bytes:
    """The NULL."""
    return bytes((NULL, 0))


def oid(text: str) -> bytes:
    """An OBJECT IDENTIFIER in dotted form."""
    first, second, *rest = (int(part) for part in text.split("."))
    made = bytearray()
    for value in (first * 40 + second, *rest):
        group = [value & 0x7F]
        while value := value >> 7:
            group.append(0x80 | value & 0x7F)
        made += bytes(reversed(group))
    return encode(OID, bytes(made))


def explicit(number: int, *parts: bytes) -> bytes:
    """A constructed element of context class."""
    return encode(0xA0 | number, *parts)


@dataclass(frozen=True, slots=True)
class Element:
    """One element: ``raw`` is all of it, ``content`` what is behind its length."""

    tag: int
    content: bytes
    raw: bytes

    def children(self) -> tuple[Element, ...]:
        """The elements inside. Raises ``IntegrityError`` when they are damaged."""
        return tuple(parse(self.content))

    def child(self, *path: int) -> Element:
        """The element at these positions, level by level. Raises ``IntegrityError`` when there is none."""
        element = self
        for number in path:
            inside = element.children()
            if number >= len(inside):
                raise IntegrityError(f"a DER structure has {len(inside)} elements where more are needed")
            element = inside[number]
        return element


def parse(data: bytes) -> Iterator[Element]:
    """The elements that follow each other in ``data``. Raises ``IntegrityError`` when one is cut off."""
    at = 0
    while at < len(data):
        element = _element(data, at)
        yield element
        at += len(element.raw)


def first(data: bytes) -> Element:
    """The element that ``data`` begins with; what follows is padding."""
    return _element(data, 0)


def _element(data: bytes, at: int) -> Element:
    if at + 2 > len(data):
        raise IntegrityError("a DER element is cut off")
    tag, size, start = data[at], data[at + 1], at + 2
    if tag & 0x1F == 0x1F or size == 0x80:
        raise IntegrityError("a DER element has a form that DER or signatures do not use")
    if size > 0x80:
        count = size & 0x7F
        size = int.from_bytes(data[start : start + count], "big")
        start += count
        if count > _MAX_LENGTH_BYTES:
            raise IntegrityError("a DER element is longer than 4 GiB")
    if start + size > len(data):
        raise IntegrityError(f"a DER element of {size} bytes is cut off")
    return Element(tag, data[start : start + size], data[at : start + size])
