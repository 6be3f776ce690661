"""What maintainer scripts would have made, and what the recipe adds: accounts, certificates, files, package records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from moby.components.model import FileItem, Group, User, inside
from moby.components.recipe import Recipe
from moby.components.tree import Tree
from moby.errors import ConfigError
from moby.formats.entry import Entry, Kind, directory, file, symlink

# What a closure ships for people, not for programs. Licences (copyright files) stay.
PROSE = (
    "usr/share/bash-completion/**",
    "usr/share/bug/**",
    "usr/share/doc/**",
    "usr/share/doc-base/**",
    "usr/share/fish/**",
    "usr/share/gtk-doc/**",
    "usr/share/help/**",
    "usr/share/info/**",
    "usr/share/lintian/**",
    "usr/share/locale/**",
    "usr/share/man/**",
    "usr/share/zsh/**",
)
LICENCES = "usr/share/doc/*/copyright"
# Where a container runtime mounts; with a read-only root it cannot make them.
MOUNT_POINTS = (("dev", 0o755), ("etc", 0o755), ("proc", 0o555), ("run", 0o755), ("sys", 0o555), ("tmp", 0o1777))
_MASTER = "usr/share/base-passwd"
_ROOT = User(name="root", uid=0, gid=0, home="/root", shell="/bin/sh", comment="root")
_NOBODY = User(name="nobody", uid=65534, gid=65534)
_RECORD = ("Package", "Source", "Version", "Architecture", "Maintainer", "Homepage")


def without_prose(tree: Tree, keep: tuple[str, ...]) -> None:
    """Drop documentation from ``tree`` but licences and what ``keep`` matches."""
    kept = {path for pattern in (LICENCES, *keep) for path in tree.glob(pattern)}
    kept |= {path[:end] for path in kept for end in range(len(path)) if path[end] == "/"}
    tree.remove(path for pattern in PROSE for path in tree.glob(pattern) if path not in kept)


def accounts(tree: Tree, users: tuple[User, ...], groups: tuple[Group, ...]) -> Iterator[Entry]:
    """``etc/passwd``, ``etc/group`` and ``etc/shadow`` (no passwords): Debian's base accounts when its list is there.

    The recipe's users come after and win over a base account of the same name.
    """
    passwd = _master(tree, f"{_MASTER}/passwd.master")
    group = _master(tree, f"{_MASTER}/group.master")
    named = {user.name: user for user in (() if passwd else (_ROOT,))} | {user.name: user for user in users}
    if not passwd:
        named.setdefault(_NOBODY.name, _NOBODY)
    for user in named.values():
        passwd[user.name] = f"{user.name}:x:{user.uid}:{user.gid}:{user.comment}:{user.home}:{user.shell}"
        if not any(line.split(":")[2] == str(user.gid) for line in group.values()):
            group.setdefault(user.name, f"{user.name}:x:{user.gid}:")
    for each in groups:
        group[each.name] = f"{each.name}:x:{each.gid}:{','.join(each.members)}"
    rows = {name: line.replace(":*:", ":x:", 1) for name, line in passwd.items()}
    yield file("etc/group", _lines(line.replace(":*:", ":x:", 1) for line in group.values()))
    yield file("etc/passwd", _lines(rows.values()))
    yield file("etc/shadow", _lines(f"{name}:*:::::::" for name in rows), mode=0o600)


def _master(tree: Tree, path: str) -> dict[str, str]:
    if path not in tree:
        return {}
    return {line.split(":")[0]: line for line in tree.read(path).decode().splitlines() if line.count(":") >= 3}


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def certificates(tree: Tree, *, where: str) -> Iterator[Entry]:
    """``etc/ssl/certs/ca-certificates.crt``: all of the ca-certificates package, by name. Raises ``ConfigError``."""
    sources = tree.glob("usr/share/ca-certificates/**/*.crt")
    if not sources:
        raise ConfigError("certificates: no CA certificate found", where=where, fix="add ca-certificates to packages")
    bundle = b"".join(tree.read(path).rstrip(b"\n") + b"\n" for path in sources)
    yield file("etc/ssl/certs/ca-certificates.crt", bundle)
    yield symlink("etc/ssl/cert.pem", "certs/ca-certificates.crt")


def files(recipe: Recipe) -> Iterator[Entry]:
    """The recipe's ``files``, in their order. Raises ``ConfigError`` for a source that is not there."""
    for item in recipe.spec.files:
        yield _file(item, recipe)


def _file(item: FileItem, recipe: Recipe) -> Entry:
    path = inside(item.path)
    if item.directory:
        mode = int(item.mode or "0755", 8)
        return Entry(path=path, kind=Kind.DIRECTORY, mode=mode, uid=item.uid, gid=item.gid)
    if item.symlink:
        return symlink(path, item.symlink)
    default = "0644"
    if item.source:
        source = recipe.file(item.source)
        data = source.read_bytes()
        default = "0755" if source.stat().st_mode & 0o100 else "0644"
    else:
        data = (item.contents or "").encode()
    mode = int(item.mode or default, 8)
    return Entry(path=path, kind=Kind.FILE, mode=mode, uid=item.uid, gid=item.gid, size=len(data), data=data)


def mount_points() -> Iterator[Entry]:
    """Empty directories for the runtime's mounts."""
    for path, mode in MOUNT_POINTS:
        yield directory(path, mode=mode)


def record(fields: Mapping[str, str]) -> Entry:
    """The package's record below ``var/lib/dpkg/status.d``, where image scanners look in images without dpkg."""
    lines = [f"{key}: {fields[key]}" for key in _RECORD if key in fields]
    summary = fields.get("Description", "").splitlines()[:1]
    lines += ["Status: install ok installed", *(f"Description: {line}" for line in summary)]
    return file(f"var/lib/dpkg/status.d/{fields['Package']}", _lines(lines))
