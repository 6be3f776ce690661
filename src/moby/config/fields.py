"""The little languages inside single values: images, binds, tmpfs, rlimits, capabilities, modes, mounts, platforms.

Each parser gives a typed value or raises ``ConfigError`` without a place; whoever knows the place adds it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from moby.config.scalars import spell
from moby.config.suggest import closest, did_you_mean
from moby.errors import ConfigError
from moby.oci.reference import Reference, Transport

# capabilities(7), in the kernel's order: what "all" stands for.
CAPABILITIES = tuple(
    f"CAP_{name}"
    for name in (  # noqa: SIM905 words read better than 41 lines of one
        "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
        "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT "
        "SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL "
        "SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
    ).split()
)

# getrlimit(2).
LIMITS = (
    *("CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING"),
    *("MSGQUEUE", "NICE", "RTPRIO", "RTTIME"),
)
UNLIMITED = (1 << 64) - 1

# A mount without a destination goes where its type is always mounted.
HOMES = {"proc": "/proc", "devpts": "/dev/pts", "sysfs": "/sys", "cgroup": "/sys/fs/cgroup", "mqueue": "/dev/mqueue"}
DEFAULT_DEVICE_MODE = 0o666

_VOLUME_NAME = re.compile(r"[a-z0-9_-]+", re.ASCII)
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_OCTAL = re.compile(r"[0-7]{1,5}", re.ASCII)
_PAGE_UNITS = ("B", "KB", "MB", "GB", "TB")
# A transport before what is neither a path nor a registry's port: by the grammar the tag of a short name.
_NO_PATH = re.compile(rf"({'|'.join(Transport)}):(?!\.{{0,2}}/|[0-9]{{1,5}}/)(.+)", re.ASCII)


def image_name(text: str) -> Reference:
    """The reference that ``text`` spells; ``oci:FILE`` is refused: nobody means ``library/oci:FILE``."""
    if found := _NO_PATH.fullmatch(text):
        file = found[2].partition("@")[0]  # which no path of a file has
        path = "/PATH" if found[2].startswith("~") else f"./{file or 'PATH'}"
        fix = f"the path of a file begins with / or ./: {spell(f'{found[1]}:{path}')}"
        with contextlib.suppress(ConfigError):
            fix += f"; the image's full name is {Reference.parse(text).expanded}"
        raise ConfigError(f"{text[:300]!r} is no file, but the name of an image in a registry", fix=fix)
    return Reference.parse(text)


@dataclass(frozen=True, slots=True)
class Bind:
    """``source:destination[:options]``; ``options`` is None when none were given."""

    source: str
    destination: str
    options: tuple[str, ...] | None = None

    @classmethod
    def parse(cls, text: str) -> Bind:
        """The bind that ``text`` spells."""
        parts = text.split(":")
        if len(parts) < 2:
            whole = f"{text or 'SOURCE'}:/{text.lstrip('/') or 'path'}"
            raise ConfigError(f"bind {text!r} has no ':'", fix=f"write where it goes: {spell(whole)}")
        if len(parts) > 3:
            raise ConfigError(
                f"bind {text!r} has too many ':'", fix="write SOURCE:DESTINATION or SOURCE:DESTINATION:OPTIONS"
            )
        if not parts[0] or not parts[1]:
            lacking = "destination" if parts[0] else "source"
            raise ConfigError(f"bind {text!r} lacks its {lacking}", fix="write SOURCE:DESTINATION")
        return cls(parts[0], parts[1], tuple(parts[2].split(",")) if len(parts) == 3 else None)

    @property
    def volume(self) -> str | None:
        """The name of the volume it binds, or None when the source is a path."""
        return None if self.source.startswith("/") else self.source

    def __str__(self) -> str:
        options = [",".join(self.options)] if self.options is not None else []
        return ":".join([self.source, self.destination, *options])


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """``destination[:options]``; ``options`` is None when none were given."""

    destination: str
    options: tuple[str, ...] | None = None

    @classmethod
    def parse(cls, text: str) -> Tmpfs:
        """The tmpfs that ``text`` spells."""
        parts = text.split(":")
        if len(parts) > 2:
            raise ConfigError(f"tmpfs {text!r} has too many ':'", fix="write DESTINATION or DESTINATION:OPTIONS")
        if not parts[0]:
            raise ConfigError(f"tmpfs {text!r} lacks its destination", fix="write where it goes, such as /tmp")
        return cls(parts[0], tuple(parts[1].split(",")) if len(parts) == 2 else None)


@dataclass(frozen=True, slots=True)
class Limit:
    """``name,soft,hard``; ``type`` has its ``RLIMIT_`` prefix."""

    type: str
    soft: int
    hard: int

    @classmethod
    def parse(cls, text: str) -> Limit:
        """The limit that ``text`` spells; ``unlimited`` is the largest number there is."""
        parts = [part.strip() for part in text.split(",", 2)]
        if len(parts) != 3:
            raise ConfigError(f"rlimit {text!r} needs three parts", fix="write NAME,SOFT,HARD such as nofile,1024,4096")
        name = parts[0].upper().removeprefix("RLIMIT_")
        if name not in LIMITS:
            fix = did_you_mean(name, LIMITS, otherwise=f"one of {', '.join(LIMITS).lower()}")
            raise ConfigError(f"unknown limit {parts[0]!r}", fix=fix)
        return cls(f"RLIMIT_{name}", _limit(parts[1]), _limit(parts[2]))


def _limit(text: str) -> int:
    if text == "unlimited":
        return UNLIMITED
    if not _DIGITS.fullmatch(text) or len(text) > 20 or int(text) > UNLIMITED:
        raise ConfigError(f"{text!r} is not a limit", fix=f"write a number up to {UNLIMITED}, or unlimited")
    return int(text)


def capabilities(names: Sequence[str]) -> tuple[str, ...]:
    """The capabilities that a list stands for, repetitions kept; a lone ``all`` or ``none`` is special."""
    if len(names) == 1 and names[0].lower() in ("all", "none"):
        return CAPABILITIES if names[0].lower() == "all" else ()
    for _, fault in unknown_capabilities(names):
        raise fault
    return tuple(names)


def unknown_capabilities(names: Sequence[str]) -> Iterator[tuple[int, ConfigError]]:
    """What is wrong with the names of a list, each with its number."""
    if len(names) == 1 and names[0].lower() in ("all", "none"):
        return
    for index, name in enumerate(names):
        if name not in CAPABILITIES:
            yield index, ConfigError(f"unknown capability {name!r}", fix=_capability_fix(name))


def _capability_fix(name: str) -> str:
    if name.lower() in ("all", "none"):
        return f"{name.lower()} stands alone in its list"
    prefixed = f"CAP_{name.upper().removeprefix('CAP_')}"
    guess = prefixed if prefixed in CAPABILITIES else closest(prefixed, CAPABILITIES)
    return f"did you mean {guess!r}?" if guess else "the names are those of capabilities(7), such as CAP_NET_ADMIN"


def join_capabilities(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    """``first`` and then ``second``; when either is everything, just everything."""
    both = (capabilities(first), capabilities(second))
    return CAPABILITIES if CAPABILITIES in both else both[0] + both[1]


def octal(text: str) -> int:
    """A file mode: octal digits, with or without a leading ``0`` or ``0o``, at most 07777."""
    digits = text.removeprefix("0o") if len(text) > 2 else text
    if not _OCTAL.fullmatch(digits) or int(digits, 8) > 0o7777:
        raise ConfigError(f"mode {text!r} is not octal permission bits", fix='write it like "0644"')
    return int(digits, 8)


def volume_name(text: str) -> None:
    """Refuse what cannot be the name of a volume."""
    if not _VOLUME_NAME.fullmatch(text):
        raise ConfigError(f"volume name {text!r} is not valid", fix="use lower-case letters, digits, - and _")


def container_name(text: str) -> None:
    """Refuse a name that cannot be one directory below ``containers/``."""
    if text in ("", ".", ".."):
        raise ConfigError(f"name {text!r} is not a name", fix="give the container a name such as web")
    if "/" in text or any(ord(letter) < 0x20 for letter in text):
        fix = "use letters, digits, - and _"
        raise ConfigError(f"name {text!r} has a character that a directory name cannot have", fix=fix)


def namespace(kind: str, text: str) -> None:
    """Refuse ``none`` where it would be taken for a path; ``kind`` is the key."""
    if text == "none" and kind != "net":
        raise ConfigError(
            f"{kind} cannot be none", fix=f"write {kind}: new for a private one, {kind}: host to share it"
        )


def file_path(text: str) -> str:
    """The path of a ``files`` entry, relative to the root and without ``.``, ``..`` and doubled slashes."""
    parts: list[str] = []
    for part in text.split("/"):
        if part == ".." and not parts:
            raise ConfigError(f"path {text!r} leaves the root", fix="remove the ..")
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    if "\0" in text:
        raise ConfigError(f"path {text!r} has a NUL character", fix="remove it")
    if not parts:
        fix = "write where the file goes, such as path: etc/motd"
        raise ConfigError("the file has no path" if not text else f"path {text!r} names no file", fix=fix)
    return "/".join(parts)


def complete_mount(type: str, source: str, destination: str) -> tuple[str, str, str]:
    """Type, source and destination of a container's mount with what was left out filled in."""
    type = type or (source if source in HOMES else "tmpfs" if destination == "/dev" else "")
    if not type:
        fix = "write type: bind for a directory of the machine, or tmpfs, proc, sysfs, …"
        raise ConfigError(f"mount for destination {destination!r} is missing its type", fix=fix)
    destination = destination or HOMES.get(type, "")
    if not destination:
        raise ConfigError(f"mount of type {type!r} is missing its destination", fix="write destination: /PATH")
    return type, source or type, destination


def page_size(value: str | int) -> str:
    """The name of a huge page size as the kernel's control files have it: ``2MB``; a number is taken as bytes."""
    if isinstance(value, str):
        return value
    unit = 0
    while value and value % 1024 == 0 and unit + 1 < len(_PAGE_UNITS):
        value //= 1024
        unit += 1
    return f"{value}{_PAGE_UNITS[unit]}"


def user_id(value: str | int | None, names: Mapping[str, int]) -> int:
    """The number of a user or group: a number as it is (modulo 2³²), ``root``, or the name of a container."""
    if value is None or value in ("", "root"):
        return 0
    if isinstance(value, int):
        return value & 0xFFFFFFFF
    if value not in names:
        raise ConfigError(f"cannot find id {value!r}", fix=unknown_id_fix(value, names))
    return names[value]


def unknown_id_fix(value: str, names: Mapping[str, int]) -> str:
    """How to mend an id that no container has."""
    if _DIGITS.fullmatch(value):
        return f"remove the quotes: {value}"
    return did_you_mean(value, names, otherwise="write a number, root, or the name of a container of this file")
