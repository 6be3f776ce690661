"""Programs for the host, from locked Debian packages: QEMU, firmware, the C compiler.

A tool is unpacked below ``work/tools/NAME-HASH`` and run from there by small wrappers, with its own dynamic linker and
libraries, so it works on any Linux of the same architecture, without root. The directory is renamed into place when it
is whole: its existence is the mark that it is done.
"""

from __future__ import annotations

import fcntl
import io
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from moby import log
from moby.artifact import Architecture, host_architecture
from moby.components import catalog, compile
from moby.components.compile import Compiler, PackagedGcc
from moby.components.packages import Packages
from moby.components.recipe import Recipe, lock_name
from moby.components.slim import LOADERS, TRIPLETS
from moby.context import Context
from moby.errors import PlatformError
from moby.formats.entry import Entry, Kind

_QEMU = {Architecture.AMD64: "x86_64", Architecture.ARM64: "aarch64", Architecture.RISCV64: "riscv64"}
# Where Debian, Arch, Fedora, QEMU itself and Homebrew put firmware, below the root; and what they call the code and the
# empty variables that belong to it. None of these have Secure Boot keys enrolled.
_FIRMWARE_DIRECTORIES = (
    "usr/share/OVMF",
    "usr/share/AAVMF",
    "usr/share/qemu-efi-riscv64",
    "usr/share/edk2/x64",
    "usr/share/edk2/ovmf",
    "usr/share/edk2-ovmf/x64",
    "usr/share/edk2/aarch64",
    "usr/share/edk2/riscv",
    "usr/share/qemu",
    "opt/homebrew/share/qemu",
    "usr/local/share/qemu",
)
_FIRMWARE = {
    Architecture.AMD64: (
        ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
        ("OVMF_CODE.4m.fd", "OVMF_VARS.4m.fd"),
        ("OVMF_CODE.fd", "OVMF_VARS.fd"),
        ("edk2-x86_64-code.fd", "edk2-i386-vars.fd"),
    ),
    Architecture.ARM64: (
        ("AAVMF_CODE.no-secboot.fd", "AAVMF_VARS.fd"),
        ("AAVMF_CODE.fd", "AAVMF_VARS.fd"),
        ("QEMU_EFI-pflash.raw", "vars-template-pflash.raw"),
        ("edk2-aarch64-code.fd", "edk2-arm-vars.fd"),
    ),
    Architecture.RISCV64: (("RISCV_VIRT_CODE.fd", "RISCV_VIRT_VARS.fd"),),
}
# Builds that enforce Secure Boot with the keys in their variables. Debian 13's plain builds enforce nothing.
_SECURE_FIRMWARE: Mapping[Architecture, tuple[tuple[str, str], ...]] = {
    Architecture.AMD64: (
        ("OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.fd"),
        ("OVMF_CODE.secboot.4m.fd", "OVMF_VARS.4m.fd"),
        ("OVMF_CODE.secboot.fd", "OVMF_VARS.fd"),
        ("edk2-x86_64-secure-code.fd", "edk2-i386-vars.fd"),
    ),
    Architecture.ARM64: (("AAVMF_CODE.secboot.fd", "AAVMF_VARS.fd"),),
    Architecture.RISCV64: (),
}
_WRAPPERS = "wrappers"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Programs of one tool: the host's own (``root`` None), or unpacked at ``root``."""

    programs: Mapping[str, Path]
    root: Path | None = None

    @property
    def system(self) -> Path:
        """The ``qemu-system-*`` among the programs."""
        return next(path for name, path in self.programs.items() if name.startswith("qemu-system-"))

    def program(self, name: str) -> Path:
        """What to run for ``name``. Raises ``PlatformError`` when the tool has no such program."""
        if name not in self.programs:
            raise PlatformError(f"{name} is not among {', '.join(sorted(self.programs))}")
        return self.programs[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """UEFI firmware images: code (read-only) and the template of its variable store."""

    code: Path
    variables: Path


class Tools:
    """Finds or unpacks tools below ``context.work``."""

    def __init__(self, context: Context, packages: Packages) -> None:
        self._context = context
        self._packages = packages

    def qemu(self, architecture: Architecture, *, packaged: bool = False) -> Programs:
        """``qemu-system-*`` for guests of ``architecture``, and ``qemu-img``.

        The host's when it has the former, be it without ``qemu-img``; else both unpacked. ``packaged`` leaves the
        host's aside. Raises ``PlatformError`` when there is none for this host.
        """
        system = f"qemu-system-{_QEMU[architecture]}"
        names = (system, "qemu-img")
        path = self._context.environment.get("PATH")
        found = {name: Path(where) for name in names if (where := shutil.which(name, path=path))}
        if system in found and not packaged:
            return Programs(programs=found)
        host = _host("QEMU")
        root = self._tool("qemu", host, architecture)
        modules = f"usr/lib/{TRIPLETS[host]}/qemu"
        data = ("usr/share/qemu", "usr/share/seabios")
        options = [word for each in data for word in ("-L", f"$root/{each}")]
        wrap(root, host, system, f"usr/bin/{system}", options, {"QEMU_MODULE_DIR": f"$root/{modules}"})
        wrap(root, host, "qemu-img", "usr/bin/qemu-img", (), {"QEMU_MODULE_DIR": f"$root/{modules}"})
        return Programs(programs={name: root / _WRAPPERS / name for name in names}, root=root)

    def tpm(self, *, packaged: bool = False) -> Path:
        """``swtpm``, an emulated TPM: the host's, else unpacked. Raises ``PlatformError`` when this host has none."""
        found = shutil.which("swtpm", path=self._context.environment.get("PATH"))
        if found and not packaged:
            return Path(found)
        return self.others(catalog.directory("swtpm"), {"swtpm": "usr/bin/swtpm"}).program("swtpm")

    def firmware(self, architecture: Architecture, *, secure: bool = False, packaged: bool = False) -> Firmware:
        """UEFI for guests of ``architecture``: the host's, else unpacked; ``secure`` asks for one with Secure Boot.

        Raises ``PlatformError`` when Debian has none for this architecture.
        """
        found = None if packaged else find_firmware(Path("/"), architecture, secure=secure)
        if found is None:
            root = self._tool("firmware", _host("UEFI firmware"), architecture)
            found = find_firmware(root, architecture, secure=secure)
        if found is None:
            raise PlatformError(f"no UEFI firmware {'with Secure Boot ' if secure else ''}for {architecture} guests")
        return found

    def compiler(self, target: Architecture) -> Compiler:
        """A compiler of static programs for ``target``: ``MOBY_CC``, else the packaged one, else Zig's when installed.

        Raises ``PlatformError`` when this host has none.
        """
        named = compile.from_environment(self._context.environment, target)
        if named is not None:
            return named
        host = host_architecture()
        if not self._compiles(host):
            return compile.zig(target)
        assert host is not None
        root = self._tool("cc", host, target)
        gnu = TRIPLETS[target]
        cc1 = next((root / "usr/libexec").glob(f"gcc*/{gnu}/*/cc1"))
        places = {
            "cc1": str(cc1.relative_to(root)),
            "as": f"usr/bin/{gnu}-as",
            "ld": f"usr/bin/{gnu}-ld",
        }
        programs = {name: wrap(root, host, name, place) for name, place in places.items()}
        return PackagedGcc(
            architecture=target, root=root, cc1=programs["cc1"], assembler=programs["as"], linker=programs["ld"]
        )

    def compiler_id(self) -> str:
        """What a component's HASH says about its compiler."""
        named = self._context.environment.get("MOBY_CC")
        if named:
            return f"MOBY_CC={named}"
        if not self._compiles(host_architecture()):
            return compile.zig_id()
        return f"cc:{self._cc.base_hash}"

    @cached_property
    def _cc(self) -> Recipe:
        return Recipe.load(catalog.directory("cc"))

    def others(self, directory: Path, programs: Mapping[str, str]) -> Programs:
        """Programs (name → path in the packages) of the recipe in ``directory``, unpacked on first use."""
        host = _host("this tool")
        root = self.unpacked(Recipe.load(directory), host)
        return Programs(programs={name: wrap(root, host, name, place) for name, place in programs.items()}, root=root)

    def _compiles(self, host: Architecture | None) -> bool:
        return host is not None and platform.system() == "Linux" and host in self._cc.architectures

    def _tool(self, name: str, host: Architecture, target: Architecture) -> Path:
        return self.unpacked(Recipe.load(catalog.directory(name)), host, target)

    def unpacked(self, recipe: Recipe, host: Architecture, target: Architecture | None = None) -> Path:
        """The directory of a tool for ``host``, made on first use. Raises as ``Packages``.

        ``target`` is the architecture it works for, when its recipe has ``targets``.
        """
        recipe = self._packages.settle(recipe, host, target)
        key = f"{recipe.name}-{lock_name(host, target)}-{recipe.hash[:16]}"
        root = self._context.work / "tools" / key
        root.parent.mkdir(parents=True, exist_ok=True)
        with (root.parent / f".{key}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not root.is_dir():
                with log.step(f"Setting up {recipe.name} for {target or host} (once)"):
                    self._unpack(recipe, host, target, root)
        return root

    def _unpack(self, recipe: Recipe, host: Architecture, target: Architecture | None, root: Path) -> None:
        from moby.components.assemble import Assembly  # slow to import, and most tools are there
        from moby.components.tree import Tree

        recipe, lock, debs = self._packages.fetch(recipe, host, target)
        scratch = self._context.work / "tmp"
        assembly = Assembly(
            recipe=recipe, architecture=host, lock=lock, debs=debs, scratch=scratch, compile_program=_nothing
        )
        with Tree(scratch) as tree, tempfile.TemporaryDirectory(dir=root.parent) as beside:
            assembly.fill(tree)
            made = Path(beside) / "root"
            made.mkdir()
            for entry in tree.entries():
                _write(made, entry)
            made.rename(root)


def _nothing(recipe: Recipe, program: object) -> Entry:
    raise PlatformError(f"{recipe.name} is a tool and cannot be compiled")


def _write(root: Path, entry: Entry) -> None:
    """Put one entry on the disk: no owners, no devices; absolute links are made to stay in the tool."""
    path = root / entry.path
    if entry.kind is Kind.DIRECTORY:
        path.mkdir(exist_ok=True)
    elif entry.kind is Kind.SYMLINK:
        target = entry.target
        if target.startswith("/"):
            target = "../" * entry.path.count("/") + target.lstrip("/")
        path.symlink_to(target)
    elif entry.kind is Kind.HARDLINK:
        os.link(root / entry.target, path)
    elif entry.kind is Kind.FILE:
        with path.open("wb") as file:
            _write_sparse(io.BytesIO(entry.data) if isinstance(entry.data, bytes) else entry.data, file)
        path.chmod(0o755 if entry.mode & 0o111 else 0o644)


def _write_sparse(source: BinaryIO, file: BinaryIO) -> None:
    """Copy, leaving holes for zeros: firmware images are mostly empty."""
    size = 0
    while chunk := source.read(_CHUNK_BYTES):
        if chunk.count(0) == len(chunk):
            file.seek(len(chunk), io.SEEK_CUR)
        else:
            file.write(chunk)
        size += len(chunk)
    file.truncate(size)


def wrap(
    root: Path,
    host: Architecture,
    name: str,
    program: str,
    options: tuple[str, ...] | list[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Path:
    """``root/wrappers/NAME``: starts ``program`` with its own linker and libraries; it may be moved with its root."""
    libraries = ":".join(f"$root/{each}" for each in (f"usr/lib/{TRIPLETS[host]}", "usr/lib"))
    words = [
        f"$root/usr/{LOADERS[host]}",
        "--library-path",
        libraries,
        "--argv0",
        "$0",
        f"$root/{program}",
        *options,
        "$@",
    ]
    lines = [
        "#!/bin/sh",
        "root=${0%/*}/..",
        *(f'export {key}="{value}"' for key, value in (environment or {}).items()),
        "exec " + " ".join(f'"{word}"' for word in words),
    ]
    path = root / _WRAPPERS / name
    text = "\n".join(lines) + "\n"
    if not path.is_file() or path.read_text() != text:
        path.parent.mkdir(exist_ok=True)
        beside = path.with_name(f".{name}.{os.getpid()}")
        beside.write_text(text)
        beside.chmod(0o755)
        beside.replace(path)
    return path


def _host(what: str) -> Architecture:
    host = host_architecture()
    if host is None or platform.system() != "Linux":
        raise PlatformError(f"{what} cannot be set up on this host", fix=f"install {what} and try again")
    return host


def find_firmware(root: Path, architecture: Architecture, *, secure: bool = False) -> Firmware | None:
    """Firmware in the usual places below ``root``; None when it is not there. ``secure``: with Secure Boot."""
    for directory in (root / each for each in _FIRMWARE_DIRECTORIES):
        for code, variables in (_SECURE_FIRMWARE if secure else _FIRMWARE)[architecture]:
            if (directory / code).is_file() and (directory / variables).is_file():
                return Firmware(code=directory / code, variables=directory / variables)
    return None
