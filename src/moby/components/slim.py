"""Chooses what programs need: the programs, the interpreter and libraries they load, and files named by globs.

The search is glibc's: ``DT_RPATH``, ``DT_RUNPATH``, then its default directories, which Debian builds in, so that no
``ld.so.cache`` is needed (ld.so(8)). Plugins that are opened by name at run time must be listed under ``files``.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from moby.artifact import Architecture
from moby.components import elf
from moby.components.tree import Tree
from moby.errors import ConfigError
from moby.formats.entry import Entry, Kind, symlink

TRIPLETS = {
    Architecture.AMD64: "x86_64-linux-gnu",
    Architecture.ARM64: "aarch64-linux-gnu",
    Architecture.RISCV64: "riscv64-linux-gnu",
}
MACHINES = {Architecture.AMD64: elf.X86_64, Architecture.ARM64: elf.AARCH64, Architecture.RISCV64: elf.RISCV}
# Where programs look for glibc's dynamic linker (ELF psABI of each architecture).
LOADERS = {
    Architecture.AMD64: "lib64/ld-linux-x86-64.so.2",
    Architecture.ARM64: "lib/ld-linux-aarch64.so.1",
    Architecture.RISCV64: "lib/ld-linux-riscv64-lp64d.so.1",
}
_MAX_LINE_BYTES = 256


def select(
    tree: Tree, programs: tuple[str, ...], files: tuple[str, ...], architecture: Architecture, *, where: str
) -> set[str]:
    """Paths of ``tree`` to keep. Raises ``ConfigError`` for a missing program, library or a glob without a match."""
    closure = _Closure(tree, architecture, where)
    for program in programs:
        closure.program(program)
    for pattern in files:
        closure.glob(pattern)
    return closure.kept


def links(tree: Tree, architecture: Architecture) -> Iterator[Entry]:
    """The links outside ``usr`` that the selection needs: ``bin``, ``sbin``, and the dynamic linker's name.

    There is none called ``lib``: it would hide the kernel's ``lib/modules``, over which an init component lies.
    """
    for name in ("bin", "sbin"):
        if f"usr/{name}" in tree:
            yield symlink(name, f"usr/{name}")
    loader = LOADERS[architecture]
    if f"usr/{loader}" in tree:
        yield symlink(loader, f"../usr/{loader}")


class _Closure:
    def __init__(self, tree: Tree, architecture: Architecture, where: str) -> None:
        self.kept: set[str] = set()
        self._tree = tree
        self._machine = MACHINES[architecture]
        triplet = TRIPLETS[architecture]
        self._default = (f"usr/lib/{triplet}", "usr/lib", "usr/lib64")
        self._where = where

    def program(self, path: str) -> None:
        path = path.strip("/")
        if not self._take(path, ()):
            near = self._tree.glob(f"**/{posixpath.basename(path)}")
            raise ConfigError(
                f"slim: program {path} is in none of the packages",
                where=self._where,
                fix=f"did you mean {near[0]}?" if near else "",
            )

    def glob(self, pattern: str) -> None:
        found = self._tree.glob(pattern)
        if not found:
            raise ConfigError(f"slim: nothing matches {pattern}", where=self._where)
        for path in found:
            self._take(path, ())

    def _take(self, path: str, inherited: tuple[str, ...]) -> bool:
        """Keep ``path``, the links on its way and what it loads; False when it leads nowhere."""
        chain = self._tree.follow(path)
        if not chain:
            return False
        real = chain[-1]
        known = real in self.kept
        self.kept.update(chain)
        if not known and self._tree[real].kind is Kind.FILE:
            self._needs(real, inherited)
        return True

    def _needs(self, path: str, inherited: tuple[str, ...]) -> None:
        with self._tree.open(path) as stream:
            head = stream.read(_MAX_LINE_BYTES)
            stream.seek(0)
            facts = elf.read(stream, where=path)
        if head.startswith(b"#!") and self._tree[path].mode & 0o111:
            self._script(path, head)
        if facts is None or facts.machine != self._machine:
            return
        if facts.interpreter and not self._take(facts.interpreter, ()):
            raise self._missing(facts.interpreter, path)
        # A library's own DT_RUNPATH is for its own needs; DT_RPATH goes on to what it loads.
        rpath = () if facts.runpath else (*(_origin(part, path) for part in facts.rpath), *inherited)
        directories = (*rpath, *(_origin(part, path) for part in facts.runpath), *self._default)
        for name in facts.needed:
            self._library(name, path, directories, rpath)

    def _library(self, name: str, path: str, directories: tuple[str, ...], rpath: tuple[str, ...]) -> None:
        candidates = [name] if "/" in name else [f"{each}/{name}" for each in directories]
        for candidate in candidates:
            if self._fits(candidate):
                self._take(candidate, rpath)
                return
        raise self._missing(name, path)

    def _fits(self, path: str) -> bool:
        real = self._tree.resolve(path)
        if real is None or self._tree[real].kind is not Kind.FILE:
            return False
        with self._tree.open(real) as stream:
            head = stream.read(20)
        return head[:4] == elf.MAGIC and int.from_bytes(head[18:20], "little") == self._machine

    def _script(self, path: str, head: bytes) -> None:
        words = head[2:].split(b"\n")[0].decode("utf-8", "replace").split()
        for word in _interpreters(words):
            if not self._take(word, ()):
                raise self._missing(word, path)

    def _missing(self, what: str, path: str) -> ConfigError:
        return ConfigError(
            f"slim: {path} needs {what}, which is in none of the packages",
            where=self._where,
            fix="add the package that has it, and run moby pkg update",
        )


def _interpreters(words: list[str]) -> Iterator[str]:
    """The programs of a ``#!`` line; ``env NAME`` names a second one."""
    if words:
        yield words[0]
        if posixpath.basename(words[0]) == "env" and len(words) == 2:
            yield f"usr/bin/{words[1]}"


def _origin(text: str, path: str) -> str:
    """A search directory with ``$ORIGIN`` filled in, relative to the tree."""
    here = "/" + posixpath.dirname(path)
    filled = text.replace("${ORIGIN}", here).replace("$ORIGIN", here)
    return posixpath.normpath("/" + filled).strip("/")
