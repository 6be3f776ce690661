"""What all formats of one build are made from: the root's entries, and the parts that are booted."""

from __future__ import annotations

import functools
import hashlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from moby.artifact import Architecture
from moby.errors import ConfigError
from moby.formats.entry import Entry, Kind
from moby.oci.store import Store
from moby.outputs.settings import BootCode, Settings
from moby.plan import Plan
from moby.rootfs.kernel import CMDLINE, KERNEL, UCODE
from moby.rootfs.pieces import PAGE_BYTES, Layout

if TYPE_CHECKING:
    # What is needed only where something is made is imported there: often nothing is.
    from moby.formats.compress import Codec
    from moby.rootfs.segments import Options

# Labels of kernel images: codecs of an initrd, and of squashfs images on a loop device, that the kernel takes.
INITRD_LABEL = "org.mobyproject.moby.initrd"
SQUASHFS_LABEL = "org.mobyproject.moby.squashfs"
# Label of init images: the layouts of a root that they boot.
ROOT_LABEL = "org.mobyproject.moby.root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """The parts that are booted, as files that must not be changed.

    ``kernel`` is None where the build has none; ``initrd`` is compressed cpio archives of everything but ``boot/``,
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
        line = one_line(self.cmdline)
        if any(word.startswith("rootfstype=") for word in line.split()):
            return line
        return f"{line} rootfstype=ramfs".lstrip()


def one_line(cmdline: str) -> str:
    """``cmdline`` as boot loaders can take it: a line that ends would begin another command of theirs."""
    return " ".join(cmdline.splitlines())


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
        from moby.rootfs import build

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
        """The parts that are booted, made at the first use, of kept parts where there are any."""
        from moby.outputs.segments import joining
        from moby.rootfs.cache import Cache
        from moby.rootfs.segments import segments

        cache = Cache((self.settings.cache or self._folder) / "segments")
        with cache.using():
            initrd = self._folder / "initrd"
            with initrd.open("wb", buffering=0) as out, joining(cast(BinaryIO, out)) as take:
                root = segments(self.plan, self._store, cache, self._folder, self._options(), take=take)
            kernel, ucode = (self._own(root.boot.get(path)) for path in (KERNEL, UCODE))
            cmdline = root.boot[CMDLINE].read_text() if CMDLINE in root.boot else ""
        self.root_bytes = root.size_bytes
        return Boot(kernel=kernel, initrd=initrd, ucode=ucode, cmdline=cmdline, root_bytes=root.size_bytes)

    def _options(self) -> Options:
        from moby.formats.compress import Codec
        from moby.rootfs.segments import Options

        return Options(
            layout=self.layout,
            codec=self.codec,
            squashfs_codec=Codec.ZSTD if Codec.ZSTD in self._kernel_takes(SQUASHFS_LABEL) else Codec.GZIP,
            decompress_kernel=self.settings.decompress_kernel,
            sbom=self.settings.sbom,
        )

    @property
    def layout(self) -> Layout:
        """How the root lies in RAM: as the build says, else as images if init and kernel take them.

        Raises ``ConfigError`` when they cannot do what the build says.
        """
        possible = Layout.IMAGES if self._takes_images() else Layout.TREE
        wanted = self.settings.layout or possible
        if wanted is Layout.IMAGES and possible is Layout.TREE:
            what = "the init image or the kernel image cannot mount images of containers"
            fix = f'use "@pkg:init" and "@pkg:kernel", or --root {Layout.TREE}'
            raise ConfigError(what, where="--root images", fix=fix)
        return wanted

    def _takes_images(self) -> bool:
        inits = [(each.image.config.labels or {}).get(ROOT_LABEL) for each in self.plan.init]
        named = [_words(text) for text in inits if text]
        return bool(named) and all(Layout.IMAGES in each for each in named) and bool(self._kernel_takes(SQUASHFS_LABEL))

    def _kernel_takes(self, label: str) -> list[str]:
        labels = (self.plan.kernel.image.config.labels if self.plan.kernel else None) or {}
        return _words(labels.get(label, ""))

    def _own(self, path: Path | None) -> Path | None:
        """A file of this build with the bytes of a kept one; None where there is none or it is empty."""
        if path is None or not path.stat().st_size:
            return None
        if path.parent == self._folder:
            return path
        from moby.outputs.segments import copy

        copy(path, self._folder / path.name)
        return self._folder / path.name

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

    @property
    def rpi_code(self) -> BootCode:
        """The firmware of the Raspberry Pi, which formats with ``rpi_code`` are given."""
        assert self.settings.rpi_code is not None
        return self.settings.rpi_code

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
        from moby.formats.compress import Codec

        return Codec.ZSTD if Codec.ZSTD in self._kernel_takes(INITRD_LABEL) else Codec.GZIP


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
