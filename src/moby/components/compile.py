"""Static C programs for the target architecture, with musl.

The compiler is always the packaged one of ``pkg/cc`` (GCC's ``cc1``, ``as`` and ``ld``, run one after the other without
the driver), so that the same recipe gives the same bytes on every host; ``MOBY_CC`` replaces it, and then its name is
part of the component's HASH. Source paths, times and build ids stay out of the result.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from moby import proc
from moby.artifact import Architecture
from moby.components.model import Program, inside
from moby.components.recipe import Recipe
from moby.components.slim import TRIPLETS
from moby.errors import CommandError, ConfigError, PlatformError
from moby.formats.entry import Entry, Kind

_EMULATION = {
    Architecture.AMD64: "elf_x86_64",
    Architecture.ARM64: "aarch64linux",
    Architecture.RISCV64: "elf64lriscv",
}
_COMMON = ("-fno-ident", "-frandom-seed=moby")


class Compiler(Protocol):
    """Turns C sources into one static program."""

    def build(self, sources: Sequence[str], flags: Sequence[str], output: Path, directory: Path) -> None:
        """Compile ``sources`` (relative to ``directory``) into ``output``. Raises ``CommandError``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedGcc:
    """The parts of GCC unpacked at ``root``; ``programs`` maps ``cc1``, ``as`` and ``ld`` to what starts them."""

    architecture: Architecture
    root: Path
    cc1: Path
    assembler: Path
    linker: Path

    def build(self, sources: Sequence[str], flags: Sequence[str], output: Path, directory: Path) -> None:
        """See ``Compiler``."""
        with tempfile.TemporaryDirectory(prefix="moby-cc-") as scratch:
            objects = []
            for number, source in enumerate(sources):
                assembly, unit = Path(scratch, f"{number}.s"), Path(scratch, f"{number}.o")
                _run(self.compile_argv(source, flags, assembly), directory)
                _run(self.assemble_argv(assembly, unit), directory)
                objects.append(unit)
            _run(self.link_argv(objects, output), directory)

    @property
    def _gcc(self) -> Path:
        return max((self.root / f"usr/lib/gcc/{TRIPLETS[self.architecture]}").iterdir())

    def compile_argv(self, source: str, flags: Sequence[str], assembly: Path) -> list[str | Path]:
        """One source → assembly. musl's headers come first, then GCC's own, then the kernel's."""
        gnu = TRIPLETS[self.architecture]
        return [
            *(self.cc1, "-quiet", "-nostdinc", "-imultiarch", gnu),
            *("-isystem", self.root / f"usr/include/{gnu.replace('gnu', 'musl')}"),
            *("-isystem", self._gcc / "include"),
            *("-idirafter", self.root / f"usr/include/{gnu}", "-idirafter", self.root / "usr/include"),
            *("-fno-pie", "-fstack-clash-protection", "-ffunction-sections", "-fdata-sections"),
            *_machine(self.architecture),
            *(*_COMMON, f"-ffile-prefix-map={self.root}="),
            *flags,
            *(source, "-o", assembly),
        ]

    def assemble_argv(self, assembly: Path, unit: Path) -> list[str | Path]:
        """Assembly → object."""
        return [self.assembler, "--strip-local-absolute", "-o", unit, assembly]

    def link_argv(self, objects: Sequence[Path], output: Path) -> list[str | Path]:
        """Objects → a static program without symbols or a build id."""
        gnu = TRIPLETS[self.architecture]
        musl = self.root / f"usr/lib/{gnu.replace('gnu', 'musl')}"
        return [
            *(self.linker, "-m", _EMULATION[self.architecture], "-static", "-s", "--build-id=none"),
            *("--gc-sections", "-z", "noexecstack", "-z", "relro", "-o", output),
            *(musl / "crt1.o", musl / "crti.o", *objects),
            *("--start-group", musl / "libc.a", self._gcc / "libgcc.a", "--end-group", musl / "crtn.o"),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverCompiler:
    """Any compiler with GCC's command line that links statically by itself: ``MOBY_CC``, or Zig's."""

    command: tuple[str, ...]

    def build(self, sources: Sequence[str], flags: Sequence[str], output: Path, directory: Path) -> None:
        """See ``Compiler``."""
        options = (*_COMMON, "-static", "-s", "-Wl,--build-id=none", *flags)
        _run([*self.command, *options, *sources, "-o", output], directory)


def from_environment(environment: Mapping[str, str], architecture: Architecture) -> DriverCompiler | None:
    """The compiler that ``MOBY_CC`` names, with ``{arch}`` (``x86_64``) filled in; None when it is not set."""
    named = environment.get("MOBY_CC")
    if not named:
        return None
    machine = TRIPLETS[architecture].partition("-")[0]
    return DriverCompiler(command=tuple(word.replace("{arch}", machine) for word in shlex.split(named)))


def zig(architecture: Architecture) -> DriverCompiler:
    """Zig's compiler, when the ``zig`` extra is installed. Raises ``PlatformError``."""
    import importlib.util

    if importlib.util.find_spec("ziglang") is None:
        raise PlatformError(
            "no C compiler for this host",
            fix="install the zig extra, or set MOBY_CC to a command that makes static programs",
        )
    target = f"{TRIPLETS[architecture].partition('-')[0]}-linux-musl"
    return DriverCompiler(command=(sys.executable, "-m", "ziglang", "cc", "-target", target))


def zig_id() -> str:
    """What a component's HASH says about it."""
    import importlib.metadata  # slow to import, rarely needed

    try:
        return f"zig:{importlib.metadata.version('ziglang')}"
    except importlib.metadata.PackageNotFoundError:
        return "none"


def program(recipe: Recipe, wanted: Program, compiler: Compiler) -> Entry:
    """The compiled file. Raises ``ConfigError`` with the compiler's messages when a source is wrong."""
    where = recipe.where
    for source in wanted.sources:
        recipe.file(source)
    with tempfile.TemporaryDirectory(prefix="moby-cc-") as scratch:
        output = Path(scratch, "program")
        try:
            compiler.build(wanted.sources, wanted.flags, output, recipe.directory)
        except CommandError as error:
            raise ConfigError(f"cannot compile {wanted.output}: {error.what}", where=where, fix=error.fix) from error
        data = output.read_bytes()
    path = inside(wanted.output)
    return Entry(path=path, kind=Kind.FILE, mode=int(wanted.mode, 8), size=len(data), data=data)


def _machine(architecture: Architecture) -> tuple[str, ...]:
    """What Debian's driver would pass to cc1 for this machine."""
    if architecture is Architecture.AMD64:
        return ("-mtune=generic", "-march=x86-64")
    if architecture is Architecture.ARM64:
        return ("-mlittle-endian", "-mabi=lp64", "-mno-outline-atomics")
    return ("-march=rv64gc", "-mabi=lp64d")


def _run(argv: Sequence[str | Path], directory: Path) -> None:
    environment = {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": "0"}
    proc.run(argv, cwd=directory, env=environment, timeout_s=300)
