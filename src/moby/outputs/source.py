"""What all formats of one build are made from: the root's entries, and the parts that are booted."""

from __future__ import annotations

import functools
import hashlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from moby.artifact import Architecture
from moby.formats import cpio
from moby.formats.compress import Codec, compressor
from moby.formats.entry import Entry, Kind
from moby.formats.stream import copy
from moby.oci.store import Store
from moby.outputs.settings import BootCode, Settings
from moby.plan import Plan
from moby.rootfs import build
from moby.rootfs.kernel import CMDLINE, KERNEL, UCODE

INITRD_LABEL = "org.mobyproject.moby.initrd"
PAGE_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """The parts that are booted, as files that must not be changed.

    ``kernel`` is None where the build has none; ``initrd`` is one compressed cpio archive of everything but ``boot/``,
    without ``ucode``, which is an uncompressed one. ``cmdline`` is the YAML's; ``root_bytes`` is the unpacked size.
    """

    kernel: Path | None
    initrd: Path
    ucode: Path | None
    cmdline: str
    root_bytes: int

    @property
    def booted_cmdline(self) -> str:
        """The command line for a root in RAM.

        Linux makes such a root a tmpfs of at most half the memory, in which a large one does not fit, unless it is
        told to take a ramfs. What the YAML says about it wins.
        """
        if any(word.startswith("rootfstype=") for word in self.cmdline.split()):
            return self.cmdline
        return f"{self.cmdline} rootfstype=ramfs".lstrip()


class Source:
    """One build: ``entries`` may be called once per format; what formats share is made once, in ``folder``."""

    def __init__(self, plan: Plan, store: Store, folder: Path, settings: Settings | None = None) -> None:
        self.plan = plan
        self.settings = settings or Settings()
        self.architecture = Architecture(plan.architecture)
        self.root_bytes = 0
        self._store = store
        self._folder = folder
        self._made: dict[str, Path] = {}

    def entries(self) -> Iterator[Entry]:
        """The whole root file system, ``boot/`` first. At its end ``root_bytes`` is what it takes in RAM."""
        total = 0
        for entry in build.entries(
            self.plan, self._store, decompress_kernel=self.settings.decompress_kernel, sbom=self.settings.sbom
        ):
            if entry.kind is Kind.FILE and not entry.path.startswith("boot/"):
                total += entry.size + -entry.size % PAGE_BYTES
            yield entry
        self.root_bytes = total

    @functools.cached_property
    def boot(self) -> Boot:
        """The parts that are booted, made at the first use."""
        split = _Split(self._folder)
        initrd = self._folder / "initrd"
        with initrd.open("wb") as out, compressor(self.codec, out) as packed:
            cpio.write(split.rest(self.entries()), packed)
        return Boot(
            kernel=split.path(KERNEL),
            initrd=initrd,
            ucode=split.path(UCODE),
            cmdline=split.text(CMDLINE),
            root_bytes=self.root_bytes,
        )

    @property
    def stage1(self) -> BootCode:
        """The component that finds a root on a disk, which formats with ``stage1`` are given."""
        assert self.settings.stage1 is not None
        return self.settings.stage1

    def plan_id(self, what: str) -> uuid.UUID:
        """An id for ``what`` that is the same for the same plan, known before anything is written."""
        digest = hashlib.sha256(self.plan.metadata)
        for each in (self.plan.kernel, *self.plan.init, *self.plan.containers):
            digest.update(str(each.image.digest).encode() if each else b"-")
        for file in self.plan.files:
            digest.update(file.data if isinstance(file.data, bytes) else b"-")
        return uuid.uuid5(uuid.UUID(bytes=digest.digest()[:16]), what)

    @property
    def boot_code(self) -> BootCode:
        """The boot component, which formats with ``boot_code`` are given."""
        assert self.settings.boot_code is not None
        return self.settings.boot_code

    def part(self, name: str, make: Callable[[Path], None]) -> Path:
        """A file that several formats share, which ``make`` writes at the first use; it must not be changed."""
        if name not in self._made:
            path = self._folder / name
            make(path)
            self._made[name] = path
        return self._made[name]

    def id(self, what: str) -> uuid.UUID:
        """An id for ``what`` that is the same for the same boot files, and another one for others."""
        return uuid.uuid5(uuid.UUID(bytes=self._boot_digest[:16]), what)

    @functools.cached_property
    def _boot_digest(self) -> bytes:
        boot = self.boot
        digest = hashlib.sha256(boot.booted_cmdline.encode())
        for path in (boot.kernel, boot.ucode, boot.initrd):
            if path is not None:
                with path.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.digest()

    @property
    def codec(self) -> Codec:
        """Zstd where the kernel image says that its kernel takes it, else gzip, which every kernel does."""
        labels = (self.plan.kernel.image.config.labels if self.plan.kernel else None) or {}
        taken = [codec.strip() for codec in labels.get(INITRD_LABEL, "").split(",")]
        return Codec.ZSTD if Codec.ZSTD in taken else Codec.GZIP


class _Split:
    """Takes the files of ``boot/`` out of a stream; what else is there belongs to no initrd."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def rest(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        """Everything outside of ``boot/``; its kernel, command line and microcode go to files, the later one wins."""
        for entry in entries:
            if not entry.path.startswith("boot/"):
                yield entry
            elif entry.path in (KERNEL, CMDLINE, UCODE) and entry.kind is Kind.FILE:
                self._keep(entry)

    def path(self, name: str) -> Path | None:
        """The file that ``name`` went to, unless there was none or it was empty."""
        path = self._folder / Path(name).name
        return path if path.exists() and path.stat().st_size else None

    def text(self, name: str) -> str:
        """What ``name`` said."""
        path = self.path(name)
        return path.read_text() if path else ""

    def _keep(self, entry: Entry) -> None:
        with (self._folder / Path(entry.path).name).open("wb") as out:
            if isinstance(entry.data, bytes):
                out.write(entry.data)
            else:
                copy(entry.data, out, entry.size, where=entry.path)
