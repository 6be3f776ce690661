"""What was meant by a value of the wrong kind or a key of another program: the advice below a message."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping

from moby.config.places import Path
from moby.config.scalars import quote, spell
from moby.config.source import NULL

# How each kind is written, where no better guess can be made; the kinds are pydantic's names of errors.
_SHAPES = {
    "string_type": "write one text",
    "int_type": "write a whole number such as 10",
    "bool_type": "write true or false",
    "tuple_type": "begin each item with '- '",
    "dict_type": "write KEY: VALUE",
    "model_type": "write KEY: VALUE",
    "model_attributes_type": "write KEY: VALUE",
    "expected": "write one of the two",
}
# How an item of a list of mappings looks.
_ITEMS = {
    **dict.fromkeys(("onboot", "onshutdown", "services"), "write an item as {name: web, image: nginx}"),
    "files": "write an item as {path: etc/motd, contents: hello}",
    "volumes": "write an item as {name: data}",
    "outputs": "write an item as {format: qcow2}",
    "devices": "write an item as {path: /dev/sda, type: b, major: 8, minor: 0}",
    "mounts": "write an item as {type: bind, source: /A, destination: /B}; SOURCE:DESTINATION goes under binds:",
    "interfaces": "write an item as {name: eth0}",
}
# Words of Docker and Compose for what is spelt otherwise here.
_FOREIGN = {
    "environment": "it is called env: a list of NAME=value",
    "entrypoint": "it is part of command: program and arguments",
    "volumes": "it is called binds: SOURCE:DESTINATION",
    "cap_add": "it is called capabilities.add",
    "cap_drop": "there are none to drop: a container has only the capabilities that it lists",
    "privileged": "write capabilities: [all]",
    "ports": "there is nothing to publish: a container has the network of the machine, unless net: new",
    "expose": "there is nothing to publish: a container has the network of the machine, unless net: new",
    "restart": "services are restarted; else annotations: {org.mobyproject.moby.restart: never}",
    "depends_on": "remove it: what must be done first belongs under onboot:",
    "user": "it is called uid and gid, which are numbers",
    "working_dir": "it is called cwd",
    "workdir": "it is called cwd",
    "ulimits": "it is called rlimits: a list of NAME,SOFT,HARD",
    "sysctls": "it is called sysctl",
    "read_only": "it is called readonly",
    "build": 'write image: "@pkg:./DIRECTORY" for a component of your own, or the name of an image',
    "container_name": "it is called name",
}
_YES = {"yes": "true", "on": "true", "y": "true", "true": "true", "1": "true"}
_NO = {"no": "false", "off": "false", "n": "false", "false": "false", "0": "false"}
_BYTES = re.compile(r"(\d{1,9})\s*([KMGT])i?B?", re.IGNORECASE)
_MAX_SHOWN = 60
_PAIR = re.compile(r"([A-Za-z.]+):\S")


def foreign(key: str, *, in_container: bool) -> str:
    """The word of today for a key of Docker or Compose, or nothing."""
    if not in_container:
        return "remove it: this language has no versions" if key == "version" else ""
    return _FOREIGN.get(key, "")


def mend(kind: str, path: Path, value: object, spelled: Mapping[Path, str], known: Collection[str]) -> str:
    """How to write ``value`` at ``path`` rightly; ``known`` are the keys that a mapping would have there.

    ``spelled`` are all scalars of the file as they were written.
    """
    written = spelled.get(path)
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    if value is NULL:
        return f"give a value, or remove {'the - of the list' if path and isinstance(path[-1], int) else 'the key'}"
    if kind == "string_type":
        return _text(path, key, value, spelled)
    if kind == "int_type" and isinstance(value, str):
        return _number(value.strip())
    if kind == "bool_type" and written is not None:
        guess = {**_YES, **_NO}.get(written.lower())
        return f"write {guess}" if guess else ""
    if kind == "tuple_type":
        return _list(path, key, value, spelled)
    if kind == "dict_type" and isinstance(value, tuple) and value and isinstance(value[0], str) and "=" in value[0]:
        name, _, rest = value[0].partition("=")
        return f"write {spell(name)}: {quote(rest)}" if len(value[0]) <= _MAX_SHOWN else _SHAPES[kind]
    if kind.startswith("model") and isinstance(value, str):
        return _mapping(key, path, value, known)
    if kind.startswith("model") and not path:
        return "begin with a key such as kernel:, init: or services:"
    return _SHAPES.get(kind, "")


def _text(path: Path, key: str, value: object, spelled: Mapping[Path, str]) -> str:
    if (written := spelled.get(path)) is not None:
        digits = written.removeprefix("0o") if key == "mode" else written
        return f'quote it: "{digits if digits == written else "0" + digits}"'
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, inner),) = value.items()
        if key == "env" and (pair := _assignment((*path, name), inner, spelled)):
            return f"write it as one text: {quote(pair)}"
        is_short = isinstance(inner, str) and len(inner) <= _MAX_SHOWN
        return f"write the text itself: {spell(str(inner))}" if is_short else _SHAPES["string_type"]
    if isinstance(value, tuple) and value and all(isinstance(each, str) for each in value):
        joined = " ".join(value)
        return f"write one text: {quote(joined)}" if len(joined) <= _MAX_SHOWN else _SHAPES["string_type"]
    return _SHAPES["string_type"]


def _assignment(path: Path, value: object, spelled: Mapping[Path, str]) -> str:
    """``NAME=value`` for the key that ends ``path``; nothing when its value is a list or a mapping, or long."""
    if path not in spelled:
        return ""
    pair = f"{path[-1]}={'' if value is NULL else spelled[path]}"
    return pair if len(pair) <= 2 * _MAX_SHOWN else ""


def _number(text: str) -> str:
    if text.isdecimal():
        return f"remove the quotes: {text}"
    if found := _BYTES.fullmatch(text):
        return f"write the number of bytes: {int(found[1]) << 10 * ('KMGT'.index(found[2].upper()) + 1)}"
    return _SHAPES["int_type"]


def _list(path: Path, key: str, value: object, spelled: Mapping[Path, str]) -> str:
    if (written := spelled.get(path)) is not None:
        if key in _ITEMS:
            return _ITEMS[key]
        words = _words(written) if key == "command" and isinstance(value, str) else [written]
        plain = key == "additionalGids" and not isinstance(value, str)  # numbers are what it holds
        shown = written if plain else ", ".join(map(quote, words) if len(words) > 1 else map(spell, words))
        return f"write it as a list: [{shown}]" if len(shown) <= 4 * _MAX_SHOWN else _SHAPES["tuple_type"]
    if not isinstance(value, Mapping) or not value:
        return _SHAPES["tuple_type"]
    name, inner = next(iter(value.items()))
    if key == "env":
        pair = _assignment((*path, name), inner, spelled)
        return f"write each as a text: - {spell(pair)}" if pair else _SHAPES["tuple_type"]
    if {"name", "image", "path"} & value.keys():
        return "put '- ' before the first key of each item"
    if key == "files":
        return f"begin each item with '- ': - path: {spell(name)}"
    return (
        f"begin each item with '- ' and its name: - name: {spell(name)}"
        if isinstance(inner, Mapping)
        else _SHAPES["tuple_type"]
    )


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return [text]


def _mapping(key: str, path: Path, value: str, known: Collection[str]) -> str:
    pair = _PAIR.match(value)
    if pair and pair[1] in known:
        return f"put a space after the ':' of {pair[1]}:"
    if not path:
        return "begin with a key such as kernel:, init: or services:"
    if path == ("kernel",) and len(value) <= 2 * _MAX_SHOWN:
        return f"write kernel: {{image: {spell(value)}}}"
    if "limit" in known and (found := _number(value.strip())) != _SHAPES["int_type"]:
        return f"write {key}: {{limit: {found.rpartition(' ')[2]}}}"
    return _ITEMS.get(key, _SHAPES["model_type"])
