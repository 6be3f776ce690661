"""Files of March 2017, when the tool was called ``moby`` and knew ``system``, ``daemon`` and ``outputs``.

Such a file is translated to the language of today, with notices that show the modern spelling. A container was then
what ``docker run --cap-drop all`` makes, so what is implied there is written out:

* networks, IPC and host names are private unless the file says ``host``; binds are ``rprivate``;
* no new privileges, an OOM score of 0, ``/dev/shm`` and ``/dev/mqueue``, terminals of group 5, ``/sys`` read-only
  unless all capabilities are given, and in a private network the machine's ``hosts`` and ``resolv.conf``;
* any scalar was a text where one was wanted, ``yes`` and ``on`` were true, and unknown keys meant nothing;
* the image's entrypoint stays in front of ``command`` and its user is honoured, which takes the image: ``with_image``.

What cannot be said today is docs/compatibility.md's to tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeGuard, cast

from moby.config import edits
from moby.config.container import ImageEntry
from moby.config.decode import FORMER_KEYS, decode, keys
from moby.config.edits import Change, Drop, Put, Rename, Value
from moby.config.fields import CAPABILITIES
from moby.config.model import Config, FileSpec, KernelSpec, Output
from moby.config.places import Fault, Path
from moby.config.source import Document
from moby.config.spec import Spec
from moby.config.suggest import closest
from moby.errors import ConfigError
from moby.oci.manifest import ImageConfig

SECTIONS = {"system": "onboot", "daemon": "services"}
BINARY = "bzImage"

_MODERN = ("onboot", "onshutdown", "services", "volumes", "trust")
_MARKS = (*SECTIONS, "outputs")
# Kernels made by this tool, whose file has today's name.
_OWN_KERNELS = ("@pkg:", "localhost/moby/")
# Docker's words for a namespace of the container's own.
_PRIVATE = frozenset(("", "new", "default", "bridge", "none", "private", "shareable"))
_PROPAGATIONS = frozenset(("shared", "slave", "private", "rshared", "rslave", "rprivate", "unbindable", "runbindable"))
# Options of docker's volumes that say nothing about the mount.
_DOCKER_ONLY = frozenset(("z", "Z", "nocopy", "consistent", "cached", "delegated"))
_NAMES = ("/etc/resolv.conf", "/etc/hosts")
_Mount = tuple[str, str, str, tuple[str, ...]]
# Destination, type, source and options of mounts that every container had.
_MOUNTS: tuple[_Mount, ...] = (
    ("/dev/shm", "tmpfs", "shm", ("nosuid", "noexec", "nodev", "mode=1777", "size=65536k")),
    ("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
    ("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
)
_SYS: _Mount = ("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", "ro"))
# Those of the kernels of the time.
_EVERY_CAPABILITY = frozenset(CAPABILITIES[:38])
_NEEDED = {**dict.fromkeys(SECTIONS, ("name", "image")), "outputs": ("format",), "files": ("path",)}
# Where the values of some keys were taken for text, for lists of it, and for true or false.
_TEXTS = frozenset(("name", "image", "net", "network_mode", "pid", "ipc", "uts", "cmdline", "path", "contents"))
_LISTS = frozenset(("capabilities", "binds", "command"))
_FLAGS = frozenset(("read_only", "public", "replace"))
_WORDS = {**dict.fromkeys(("y", "yes", "on"), True), **dict.fromkeys(("n", "no", "off"), False)}
_USER = re.compile(r"(\d{1,10})(?::(\d{1,10}))?", re.ASCII)
_ROOT = frozenset(("", "root", "root:root", "0:root", "root:0"))


class _Outputs(Spec):
    """The section that names formats."""

    outputs: tuple[Output, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """A document of today. ``as_docker`` are the paths of containers that keep their image's entrypoint and user."""

    document: Document
    outputs: tuple[Output, ...] = ()
    as_docker: frozenset[Path] = frozenset()


@dataclass(slots=True)
class _Findings:
    """What was found in one document, with paths as it has them.

    ``notices`` holds the first path of each text, ``told`` what is said of single values, at each of them.
    """

    changes: list[Change] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notices: dict[str, Path] = field(default_factory=dict)
    told: list[tuple[Path, str]] = field(default_factory=list)
    containers: list[Path] = field(default_factory=list)

    def rename(self, path: Path, old: str, new: str) -> None:
        self.changes.append(Rename(path=path, old=old, new=new))
        self.notices.setdefault(f"{old} is called {new} now", (*path, old))

    def put(self, path: Path, key: str, value: Value, notice: str = "") -> None:
        self.changes.append(Put(path=path, key=key, value=value))
        if notice:
            self.notices.setdefault(notice, (*path, key))

    def refuse(self, path: Path, key: str, what: str, fix: str) -> None:
        """A fault of a key, whose value is not looked at any more."""
        self.faults.append(Fault(path=(*path, key), what=what, fix=fix))
        self.changes.append(Drop(path=path, key=key))


def is_legacy(data: object) -> TypeGuard[dict[str, object]]:
    """Whether a document is of March 2017: by its sections, or by ``init`` with a text where no newer section is."""
    if not isinstance(data, dict):
        return False
    return any(key in data for key in _MARKS) or (
        isinstance(data.get("init"), str) and not any(key in data for key in _MODERN)
    )


def translate(document: Document) -> Translation:
    """``document`` as one of today; itself when it is one."""
    if not is_legacy(document.data):
        return Translation(document=document)
    found = find(document)
    outputs, faults = _outputs(document, found)
    file = document.places.file
    said = [*found.told, *((path, text) for text, path in found.notices.items())]
    marks = [(document.places.mark(path, at_key=True), text) for path, text in said]
    notices = [f"{mark}: {text}" for mark, text in sorted(marks)]
    notices.append(f"{file} is written for March 2017; this prints it as of today: moby migrate {file}")
    document = replace(
        document, faults=(*document.faults, *found.faults, *faults), notices=(*document.notices, *notices)
    )
    translated = edits.apply(document, found.changes)
    containers = frozenset((SECTIONS[str(path[0])], *path[1:]) for path in found.containers)
    return Translation(document=translated, outputs=outputs, as_docker=containers)


def find(document: Document) -> _Findings:
    """What to change in a document of March 2017."""
    found, data = _Findings(), document.data
    assert isinstance(data, dict)
    early = any(key in data for key in SECTIONS) or isinstance(data.get("init"), str)
    if isinstance(init := data.get("init"), str):
        found.put((), "init", [init], f"init is a list now: init: [{init}]")
    if early:
        _without_unknown(data, (), (*keys(Config), *_MARKS), found)
        _kernel(_typed(data.get("kernel"), ("kernel",), keys(KernelSpec), document, found), found)
        for index, file in enumerate(_items(data.get("files"))):
            _typed(file, ("files", index), keys(FileSpec), document, found)
    for old, new in SECTIONS.items():
        for index, item in enumerate(_items(data.get(old))):
            known = (*keys(ImageEntry), *FORMER_KEYS)
            if entry := _typed(item, (old, index), known, document, found):
                _container(entry, (old, index), found)
        if old in data and new in data:
            found.refuse((), old, f"{old} and {new} are the same section", f"keep {new}")
        elif old in data:
            found.rename((), old, new)
    if "outputs" in data:
        found.notices.setdefault("outputs is the option --format now", ("outputs",))
        found.changes.append(Drop(path=(), key="outputs"))
    return found


def _items(section: object) -> tuple[object, ...]:
    return section if isinstance(section, tuple) else ()


def _without_unknown(
    holder: dict[str, object], path: Path, known: Iterable[str], found: _Findings
) -> dict[str, object]:
    """Drop keys that were not looked at then, unless one that is missing may be meant."""
    known = tuple(known)
    if any(key not in holder for key in _NEEDED.get(str(path[0]) if path else "", ())):
        return dict(holder)
    for key in holder:
        if key not in known:
            guess = closest(key, known)
            told = f"unknown key {key[:60]!r} is left out, as it was then" + (f"; was it {guess!r}?" if guess else "")
            found.told.append(((*path, key), told))
            found.changes.append(Drop(path=path, key=key))
    return {key: value for key, value in holder.items() if key in known}


def _typed(holder: object, path: Path, known: Iterable[str], document: Document, found: _Findings) -> dict[str, object]:
    """A mapping without unknown keys, its values of the types that they were taken for; empty when it is none."""
    if not isinstance(holder, dict):
        return {}
    typed = _without_unknown(holder, path, known, found)
    for key, value in typed.items():
        meant = _meant(key, value, (*path, key), document.places.written)
        if meant != value or type(meant) is not type(value):
            typed[key] = meant
            found.put(path, FORMER_KEYS.get(key, key), cast(Value, list(meant) if isinstance(meant, tuple) else meant))
            found.told += _respelled(meant, value, (*path, key), document.places.written)
    return typed


def _respelled(meant: object, value: object, place: Path, written: Mapping[Path, str]) -> Iterator[tuple[Path, str]]:
    """What to say of a value that is written in another way now, and of each item of a list that is."""
    if isinstance(meant, tuple) and isinstance(value, tuple):
        for index, (new, old) in enumerate(zip(meant, value, strict=True)):
            yield from _respelled(new, old, (*place, index), written)
    elif meant != value or type(meant) is not type(value):
        key = next(part for part in reversed(place) if isinstance(part, str))
        yield place, f"{key}: {written[place][:60]} is written {json.dumps(meant)[:60]} now"


def _meant(key: str, value: object, place: Path, written: Mapping[Path, str]) -> object:
    if key in _TEXTS and isinstance(value, int | float):
        return written[place]
    if key in _LISTS and isinstance(value, tuple):
        return tuple(
            written[*place, index] if isinstance(each, int | float) else each for index, each in enumerate(value)
        )
    return _WORDS.get(value.lower(), value) if key in _FLAGS and isinstance(value, str) else value


def _kernel(kernel: Mapping[str, object], found: _Findings) -> None:
    image = kernel.get("image")
    if "binary" in kernel or not isinstance(image, str):
        return
    if image and not image.startswith(_OWN_KERNELS):
        found.put(("kernel",), "binary", BINARY, f"the kernel's file is named now: binary: {BINARY}")


def _container(entry: dict[str, object], path: Path, found: _Findings) -> None:
    found.containers.append(path)
    for old, new in FORMER_KEYS.items():
        if old in entry and new in entry:
            found.refuse(path, old, f"{old} and {new} are the same", f"keep {new}")
        elif old in entry:
            found.rename(path, old, new)
    private = _namespaces(entry, path, found)
    every = _capabilities(entry.get("capabilities"), path, found)
    _binds(entry, path, found, private=private)
    _mounts(entry, path, found, implied=_MOUNTS if every else (*_MOUNTS, _SYS))
    for key, value in (("oomScoreAdj", 0), ("noNewPrivileges", True)):
        if key not in entry and not any(old in entry for old, new in FORMER_KEYS.items() if new == key):
            found.put(path, key, value)
    found.notices.setdefault(
        "what docker implied, such as noNewPrivileges: true and /dev/shm, is written out now", path
    )


def _namespaces(entry: Mapping[str, object], path: Path, found: _Findings) -> bool:
    """Namespaces, private unless they are the host's; whether the network is private."""
    private = False
    for key in ("net", "ipc", "uts", "pid"):
        old = "network_mode" if key == "net" and "network_mode" in entry and "net" not in entry else key
        value = entry.get(old, "")
        if value in _PRIVATE and isinstance(value, str):
            private = private or key == "net"
            if key != "pid" or value:
                found.put(path, key, "new", "net, ipc and uts are the machine's now unless they are new")
        elif isinstance(value, str) and value != "host" and not value.startswith("/"):
            found.refuse(path, old, f"{old} cannot be {value!r}", "write host, or leave it out for a private one")
    return private


def _capabilities(names: object, path: Path, found: _Findings) -> bool:
    """Capabilities in today's spelling; whether they are all that there were."""
    if not _is_texts(names) or not names:
        return False
    spelled = [_capability(name) for name in names]
    if "all" in spelled:
        spelled = ["all"]
    if spelled != list(names):
        shown = next((new for new, old in zip(spelled, names, strict=False) if new != old), "all, alone,")
        found.put(path, "capabilities", list(spelled), f"capabilities are spelt like {shown} now")
    return spelled == ["all"] or set(spelled) >= _EVERY_CAPABILITY


def _capability(name: str) -> str:
    if name.lower() == "all":
        return "all"
    full = f"CAP_{name.upper().removeprefix('CAP_')}"
    return full if full in CAPABILITIES else name


def _binds(entry: Mapping[str, object], path: Path, found: _Findings, *, private: bool) -> None:
    binds = entry.get("binds", ())
    if not _is_texts(binds):
        return
    spelled = [_bind(text) for text in binds]
    if spelled != list(binds):
        found.put(path, "binds", list(spelled), "binds are rw,rshared now unless they say rw,rprivate")
    taken = _taken(binds)
    names: list[Value] = [f"{name}:{name}:ro,rprivate" for name in _NAMES if private and name not in taken]
    if names and "binds" in entry:
        found.put(path, "binds", [*spelled, *names])
    elif names and "binds.add" not in entry:
        found.put(path, "binds.add", names)


def _mounts(entry: Mapping[str, object], path: Path, found: _Findings, *, implied: Iterable[_Mount]) -> None:
    binds = entry.get("binds", ())
    taken = _taken(binds if _is_texts(binds) else ())
    mounts: list[Value] = [
        {"destination": where, "type": type, "source": source, "options": list(options)}
        for where, type, source, options in implied
        if where not in taken
    ]
    if mounts and "mounts" not in entry:
        found.put(path, "mounts", mounts)


def _taken(binds: Iterable[str]) -> set[str]:
    """Where binds go."""
    return {text.split(":")[1] for text in binds if ":" in text}


def _bind(text: str) -> str:
    """A bind as docker had it, with what was implied: writable, and private both ways."""
    parts = text.split(":")
    if len(parts) not in (2, 3):
        return text
    options = [each for each in (parts[2].split(",") if len(parts) == 3 else []) if each not in _DOCKER_ONLY]
    if not {"ro", "rw"} & set(options):
        options.insert(0, "rw")
    if not _PROPAGATIONS & set(options):
        options.append("rprivate")
    return ":".join([*parts[:2], ",".join(options)])


def _is_texts(value: object) -> TypeGuard[tuple[str, ...]]:
    return isinstance(value, tuple) and all(isinstance(each, str) for each in value)


def _outputs(document: Document, findings: _Findings) -> tuple[tuple[Output, ...], list[Fault]]:
    data: dict[str, object] = {}
    if isinstance(document.data, dict) and "outputs" in document.data:
        data["outputs"] = document.data["outputs"]
    if isinstance(items := data.get("outputs"), tuple):
        data["outputs"] = tuple(
            _typed(each, ("outputs", index), keys(Output), document, findings) if isinstance(each, dict) else each
            for index, each in enumerate(items)
        )
    found, faults = decode(_Outputs, Document(data=data, places=document.places))
    return (found.outputs if found else ()), faults


def with_image(entry: ImageEntry, image: ImageConfig) -> ImageEntry:
    """An entry with what it takes from its image when it runs as ``docker run`` would run it.

    Raises ``ConfigError`` when the image's user is a name, since only its files say which number that is.
    """
    if not entry.as_docker:
        return entry
    command = (*(image.entrypoint or ()), *entry.command) if entry.command else None
    return entry.model_copy(update={"command": command, **_owner(entry, image.user or "")})


def _owner(entry: ImageEntry, user: str) -> dict[str, object]:
    if user in _ROOT or entry.uid is not None or entry.gid is not None:
        return {}
    found = _USER.fullmatch(user)
    if found is None:
        fix = "give the entry uid: and gid:, the numbers in the image's /etc/passwd"
        raise ConfigError(f"the image wants the user {user[:60]!r}, whose number is not known", fix=fix)
    return {"uid": int(found[1]), "gid": int(found[2] or 0)}
