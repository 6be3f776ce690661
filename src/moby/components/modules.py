"""Kernel modules: what each says of itself, what it needs, and in which order to load it.

Only the ``.modinfo`` section is read: NUL-terminated ``key=value`` strings (kernel: ``include/linux/moduleparam.h``,
``include/linux/module.h``). In a line of ``modules.dep`` dependents come before what they need: it is loaded from its
end (kmod: ``depmod.d(5)``, ``modprobe(8)``).
"""

from __future__ import annotations

import difflib
import io
import lzma
import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from moby.components import elf
from moby.errors import ConfigError, IntegrityError

_FILE = re.compile(r"(?P<name>[^/]+)\.ko(?P<packed>\.xz)?")
_MAX_MODULE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One module: its path below ``lib/modules/VERSION`` (unpacked name), its bytes, and what ``.modinfo`` says."""

    name: str
    path: str
    data: bytes = field(repr=False)
    depends: tuple[str, ...]
    before: tuple[str, ...]
    aliases: tuple[str, ...]


class Modules:
    """The modules of one kernel. ``paths`` are relative to ``lib/modules/VERSION``; ``read`` gives a file's bytes."""

    def __init__(self, paths: Iterable[str], builtin: Iterable[str], read: Callable[[str], bytes]) -> None:
        self._paths = {name_of(path): path for path in paths if _FILE.fullmatch(posixpath.basename(path))}
        self._builtin = {name_of(path) for path in builtin}
        self._read = read
        self._known: dict[str, Module] = {}

    def names(self) -> tuple[str, ...]:
        """Every loadable module, sorted."""
        return tuple(sorted(self._paths))

    def order(self, wanted: Iterable[str], *, where: str) -> tuple[Module, ...]:
        """``wanted`` and all they need, each after its dependencies. Built-in ones are left out.

        Raises ``ConfigError`` for a name this kernel does not have.
        """
        done: dict[str, Module] = {}
        for name in wanted:
            self._visit(normal(name), done, (), where)
        return tuple(done.values())

    def closure(self, module: Module, *, where: str) -> tuple[Module, ...]:
        """What ``module`` needs, nearest first: the order of its ``modules.dep`` line."""
        return tuple(reversed(self.order(module.depends, where=where)))

    def get(self, name: str) -> Module:
        """The module called ``name``. Raises ``IntegrityError`` when its file is broken."""
        if name not in self._known:
            self._known[name] = _parse(self._paths[name], self._read(self._paths[name]))
        return self._known[name]

    def _visit(self, name: str, done: dict[str, Module], above: tuple[str, ...], where: str) -> None:
        if name in done or name in self._builtin:
            return
        if name in above:
            raise IntegrityError(f"modules need each other: {' → '.join((*above, name))}", where=where)
        if name not in self._paths:
            raise self._unknown(name, above, where)
        module = self.get(name)
        soft = [each for each in module.before if each in self._paths]
        for needed in (*soft, *module.depends):
            self._visit(needed, done, (*above, name), where)
        done[name] = module

    def _unknown(self, name: str, above: tuple[str, ...], where: str) -> ConfigError:
        near = difflib.get_close_matches(name, self._paths, 1)
        needed = f", which {above[-1]} needs" if above else ""
        return ConfigError(
            f"this kernel has no module {name}{needed}", where=where, fix=f"did you mean {near[0]}?" if near else ""
        )


def name_of(path: str) -> str:
    """``kernel/net/vsock-x.ko.xz`` → ``vsock_x``: the kernel takes ``-`` and ``_`` for the same."""
    return normal(posixpath.basename(path).partition(".ko")[0])


def normal(name: str) -> str:
    """A module's name with underscores."""
    return name.replace("-", "_")


def _parse(path: str, data: bytes) -> Module:
    """Unpack and read one file. Modules are kept unpacked: xz in the kernel costs more than a bigger, packed initrd."""
    plain = path.removesuffix(".xz")
    if plain != path:
        data = _unxz(data, path)
    pairs = [
        text.decode("utf-8", "replace").partition("=")[::2]
        for text in elf.section(io.BytesIO(data), b".modinfo", where=path).split(b"\0")
        if text
    ]
    depends = [normal(each) for key, value in pairs if key == "depends" for each in value.split(",") if each]
    soft = [value for key, value in pairs if key == "softdep" and value.startswith("pre:")]
    before = [normal(each) for value in soft for each in value[4:].partition("post:")[0].split()]
    return Module(
        name=name_of(path),
        path=plain,
        data=data,
        depends=tuple(depends),
        before=tuple(before),
        aliases=tuple(value for key, value in pairs if key == "alias"),
    )


def _unxz(data: bytes, where: str) -> bytes:
    try:
        unpacker = lzma.LZMADecompressor(memlimit=256 << 20)
        plain = unpacker.decompress(data, max_length=_MAX_MODULE_BYTES)
    except lzma.LZMAError as error:
        raise IntegrityError(f"broken xz data: {error}", where=where) from error
    if not unpacker.eof:
        raise IntegrityError(f"truncated, or larger than {_MAX_MODULE_BYTES >> 20} MiB unpacked", where=where)
    return plain
