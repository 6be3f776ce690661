"""Inputs to be broken, from what lies in the repository, and a way to break them that a number decides."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

from tests.support.cosign import FOLDER as SIGNATURES
from tests.support.images import Node, device, directory, hardlink, image, index, symlink, tar, vector_layers

ROOT = Path(__file__).parents[2]
# What breaks parsers: ends, separators, signs, numbers at the edges of their types, text that looks like structure.
_TOKENS = (
    *(b"\0", b"\n", b"/", b"..", b"../", b"./", b":", b"@", b"-", b"%", b"\xff\xfe", b"\xed\xa0\x80", b"\x80" * 8),
    *(b"0", b"-1", b"07777777777", b"18446744073709551616", b"1e400", b"NaN", b"null", b"true", b"~", b"[]", b"{}"),
    *(
        b"[",
        b"{",
        b'"',
        b"'",
        b"\\",
        b"&a ",
        b"*a",
        b"!!python/object:x ",
        b"<<: ",
        b"? ",
        b"|\n",
        b"\t",
        b"#",
        b"---\n",
    ),
    *(b"path=", b"size=-1", b"GNU.sparse.", b"SCHILY.xattr.", b".wh.", b".wh..wh..opq", b"sha256:", b"localhost/moby/"),
)


def tars() -> list[bytes]:
    """Layers of the original's vectors, and one with an entry of every kind."""
    every: dict[str, str | bytes | Node] = {
        "d/": directory(0o1777),
        "d/f": "content",
        "d/big": b"x" * 3000,
        "l": symlink("d/f"),
        "h": hardlink("d/f"),
        "n": device(1, 3),
        "long/" + "n" * 150: symlink("t" * 150),
        "ä\n": Node(data=b"1", pax={"SCHILY.xattr.user.a": "b", "mtime": "1.5"}, uid=3_000_000),
        ".wh.gone": "",
        "d/.wh..wh..opq": "",
    }
    return [tar(every), *(each for each in vector_layers() if len(each) < 60_000)]


def manifests() -> list[bytes]:
    """Manifests, indexes and configurations: our own, and those of cosign."""
    made = [image([{"a": "1"}], {"Cmd": ["/x"], "Labels": {"a": "b"}}), image([], architecture="arm64")]
    stored = json.loads((SIGNATURES / "vectors.json").read_text())
    documents = [each["data"] for each in stored["images"].values()]
    documents += [each["tagged"]["data"] for each in stored["signatures"].values() if "tagged" in each]
    return [index(made)[0], *(each.manifest for each in made), *(each.config for each in made)] + [
        each.encode() for each in documents
    ]


def yaml_files() -> list[bytes]:
    """The examples, and the YAML of the golden files."""
    paths = [*(ROOT / "examples").glob("*.yml"), *(ROOT / "tests/golden").rglob("*.yml")]
    return [path.read_bytes() for path in sorted(paths)]


def references() -> list[bytes]:
    """The image names in those files, and some with every part."""
    found = {name.encode() for text in yaml_files() for name in re.findall(r"image: *(\S+)", text.decode())}
    whole = f"registry.example:5000/a/b-c__d:v1.2-3@sha256:{'0' * 64}"
    return sorted({*found, whole.encode(), b"nginx", b"[::1]:5000/x", b"oci:dir:name", b"docker-archive:/a/b.tar:x:1"})


def broken(corpus: Sequence[bytes], seed: int) -> bytes:
    """One input of ``corpus`` with a few things done to it; the same for the same ``seed``."""
    chance = random.Random(seed)
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((1, 4, 12, 100, 512)))
        match chance.randrange(7):
            case 0 if end > at:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at:end] = chance.randbytes(end - at)
            case 2:
                data[at:end] = b""
            case 3:
                data[at:at] = chance.choice(_TOKENS)
            case 4:
                data[at:end] = chance.choice(_TOKENS)
            case 5:
                data[at:at] = data[at:end] * chance.choice((1, 2, 40))
            case _:
                other = chance.choice(corpus)
                start = chance.randrange(len(other) + 1)
                data[at:] = other[start : start + 4096]
    return bytes(data)


def summed(data: bytes) -> bytes:
    """A tar archive with checksums that fit its headers again, so that a reader gets past them."""
    changed = bytearray(data)
    for start in range(0, len(data) - 511, 512):
        block = changed[start : start + 512]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            changed[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    return bytes(changed)
