"""The root file system in RAM, as segments: archives that the kernel unpacks one after another.

Linux takes an initramfs that is several cpio archives, each packed by itself, as long as each begins at a multiple of
four bytes (Linux ``Documentation/driver-api/early-userspace/buffer-format.rst``). So each part is packed once and kept,
and a build puts segments in a row. Hard links stay within a segment.

With the layout ``images`` the roots of containers are not unpacked at all: each is a squashfs file ``ROOT.squashfs``
beside the directory ``ROOT``, where the guest's init mounts it.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard
from zlib_ng import zlib_ng

from moby import timing
from moby.formats import cpio
from moby.formats.compress import GZIP_LEVEL, ZSTD_LEVEL, Codec
from moby.formats.entry import Entry, Kind, file
from moby.oci import layers
from moby.oci.image import Image
from moby.oci.store import Store
from moby.plan import Plan
from moby.rootfs import build, parts, volumes
from moby.rootfs.bundle import bundle
from moby.rootfs.cache import Cache, Facts, Kept
from moby.rootfs.code import code_id
from moby.rootfs.constants import FIXED_MTIME_S
from moby.rootfs.files import files
from moby.rootfs.init import APK_DATABASE
from moby.rootfs.init import ORIGIN as INIT
from moby.rootfs.kernel import CMDLINE, ORIGIN
from moby.rootfs.merge import Merge, Names
from moby.rootfs.packing import Packing, boot_files
from moby.rootfs.parts import Nested, Part
from moby.rootfs.pieces import Layout, Piece, Root
from moby.rootfs.sbom import Inventory, Sbom

IMAGE_SUFFIX = ".squashfs"

_ARCHIVE = "archive"
_IMAGE = "image"
_NAMES = "names.json"
_DATABASE = "database"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How segments are packed. ``squashfs_codec`` is for the layout ``images``."""

    layout: Layout = Layout.TREE
    codec: Codec = Codec.GZIP
    squashfs_codec: Codec = Codec.GZIP
    decompress_kernel: bool = False
    sbom: Sbom | None = None


def segments(
    plan: Plan,
    store: Store,
    cache: Cache,
    folder: Path,
    options: Options,
    *,
    take: Callable[[Piece], None] = lambda piece: None,
) -> Root:
    """The root as pieces of an initrd, from ``cache`` where it has them; small ones are written to ``folder``.

    ``take`` is given each piece as soon as it is there, in their order. Call it, and use the result, within
    ``cache.using()``. Raises as ``build.entries`` does.
    """
    return _Builder(plan, store, cache, folder, options, take).root()


class _Builder:
    """One root. ``_merge`` knows what lies at the root, ``_state`` is a hash of all it was told."""

    def __init__(
        self, plan: Plan, store: Store, cache: Cache, folder: Path, options: Options, take: Callable[[Piece], None]
    ) -> None:
        self._plan = plan
        self._store = store
        self._cache = cache
        self._folder = folder
        self._options = options
        self._root = Root()
        self._give = take
        self._given = 0
        self._merge = Merge()
        self._state = ""
        self._identity = [code_id(), zstandard.__version__, zlib_ng.ZLIBNG_VERSION, GZIP_LEVEL, ZSTD_LEVEL]
        self._inventory = (
            Inventory(plan, store, options.sbom, decompress_kernel=options.decompress_kernel) if options.sbom else None
        )

    def root(self) -> Root:
        """All pieces, in the order in which they are unpacked."""
        databases = self._base()
        bundles = [*self._database(databases), *self._bundles()]
        nested = list(parts.nested(self._plan, self._store))
        if not all(self._merge.is_empty(each.place) for each in nested):
            # An init image put something where a container's root goes, or made its parents links.
            return self._whole()
        self._write("bundles", bundles)
        self._hand_over()
        for each in nested:
            self._nest(each)
            self._hand_over()
        self._write("files", self._files())
        self._hand_over()
        return self._root

    def _hand_over(self) -> None:
        """Give away the pieces that came since the last time: what was given cannot be taken back."""
        for piece in self._root.pieces[self._given :]:
            self._give(piece)
        self._given = len(self._root.pieces)

    def _base(self) -> list[Image]:
        """The parts of images at the root; those images that have an apk database."""
        databases = []
        for part in parts.base(self._plan, self._store, decompress_kernel=self._options.decompress_kernel):
            kept = self._lay(part)
            if part.origin == ORIGIN:
                self._command_line()
            elif kept.facts["database"]:
                databases.append(part.image)
        return databases

    def _lay(self, part: Part) -> Kept:
        """One part at the root, over those before it."""
        before = frozenset(self._merge.linked)

        def pack(folder: Path, entries: Iterator[Entry]) -> Facts:
            merge = self._merge.fork()
            packing = Packing(folder, part=part.origin)
            packing.archive(_ARCHIVE, self._watched(merge.add(entries)), self._options.codec, linked=before)
            names = merge.names()
            (folder / _NAMES).write_text(json.dumps(names))
            database = any(path == APK_DATABASE and node is None for path, node in names)
            return {"size": packing.size_bytes, "linked": sorted(merge.linked - before), "database": database}

        kept = self._take(part, [self._state, self._options.codec], pack)
        names = (kept.folder / _NAMES).read_bytes()
        self._merge.recall(json.loads(names), kept.facts["linked"])
        told = hashlib.sha256(f"{self._state}{kept.facts['linked']}".encode())
        told.update(names)
        self._state = told.hexdigest()
        self._root.boot |= boot_files((name, kept.folder / name) for name in kept.files)
        self._add(Piece(kept.folder / _ARCHIVE), kept)
        return kept

    def _command_line(self) -> None:
        """The kernel's command line, which is no part of its image."""
        assert self._plan.kernel is not None
        entry = file(CMDLINE, self._plan.kernel.cmdline.encode(), mtime_s=FIXED_MTIME_S, origin=ORIGIN)
        for _ in self._made(self._merge.put(entry)):
            path = self._folder / "kernel-cmdline"
            path.write_text(self._plan.kernel.cmdline)
            self._root.boot[CMDLINE] = path

    def _database(self, images: list[Image]) -> list[Entry]:
        """The apk database of several init images."""
        if len(images) < 2:
            return []
        part = parts.apk_database(images, self._store)

        def pack(folder: Path, entries: Iterator[Entry]) -> Facts:
            for entry in entries:
                assert isinstance(entry.data, bytes)
                (folder / _DATABASE).write_bytes(entry.data)
            return {}

        kept = self._take(part, [], pack)
        entry = file(APK_DATABASE, (kept.folder / _DATABASE).read_bytes(), origin=INIT)
        return list(self._made(self._merge.put(entry)))

    def _bundles(self) -> Iterator[Entry]:
        """The directories of volumes and containers, without what images give."""
        for index, volume in enumerate(self._plan.volumes):
            yield from self._made(volumes.around(volume, self._merge, (), origin=f"volumes[{index}]"))
        for each in self._plan.containers:
            yield from self._made(bundle(each, self._merge, ()))

    def _nest(self, nested: Nested) -> None:
        """The root of one container or volume."""
        reached = self._is_reached(nested.place)
        if self._options.layout is Layout.IMAGES and nested.packable and not reached:
            self._nest_image(nested)
        else:
            self._nest_tree(nested, reached=reached)

    def _nest_tree(self, nested: Nested, *, reached: bool) -> None:
        """Unpacked. Where later parts reach into it, they must know what is there."""
        prefix = f"{nested.place}/"

        def pack(folder: Path, entries: Iterator[Entry]) -> Facts:
            merge = Merge()
            packing = Packing(folder, part=nested.part.origin)
            packing.archive(_ARCHIVE, self._inside(nested, merge, entries), self._options.codec, prefix=prefix)
            (folder / _NAMES).write_text(json.dumps(merge.names()))
            return {"size": packing.size_bytes, "linked": sorted(merge.linked)}

        kept = self._take(nested.part, [nested.place, self._options.codec], pack)
        names: Names = json.loads((kept.folder / _NAMES).read_bytes()) if reached else []
        linked = (prefix + path for path in kept.facts["linked"])
        self._merge.recall([(prefix + path, node) for path, node in names], linked)
        self._add(Piece(kept.folder / _ARCHIVE), kept)

    def _nest_image(self, nested: Nested) -> None:
        """As a file system of its own."""

        def pack(folder: Path, entries: Iterator[Entry]) -> Facts:
            packing = Packing(folder, part=nested.part.origin)
            packing.image(_IMAGE, self._inside(nested, Merge(), entries), self._options.squashfs_codec)
            return {"size": packing.size_bytes}

        kept = self._take(nested.part, [_IMAGE, self._options.squashfs_codec], pack)
        entry = Entry(path=nested.place + IMAGE_SUFFIX, kind=Kind.FILE, mtime_s=FIXED_MTIME_S, size=kept.files[_IMAGE])
        self._add(Piece(kept.folder / _IMAGE, *cpio.member(entry)), kept)

    def _inside(self, nested: Nested, merge: Merge, entries: Iterator[Entry]) -> Iterator[Entry]:
        return self._watched(merge.add(entries, remember_files=False), prefix=f"{nested.place}/")

    def _files(self) -> Iterator[Entry]:
        """What the YAML itself gives, and the SBOM of all."""
        yield from self._made(files(self._plan.files, self._merge))
        if self._inventory is not None:
            with timing.stage("sbom"), self._inventory.entry() as document:
                yield from self._merge.put(document)

    def _write(self, name: str, entries: Iterable[Entry]) -> None:
        """A segment that is made anew each time."""
        packing = Packing(self._folder, part=name)
        path = packing.archive(f"{name}.segment", entries, self._options.codec, linked=frozenset(self._merge.linked))
        self._root.boot |= packing.boot
        self._root.size_bytes += packing.size_bytes
        self._root.pieces.append(Piece(path))

    def _add(self, piece: Piece, kept: Kept) -> None:
        self._root.size_bytes += kept.facts["size"]
        self._root.pieces.append(piece)

    def _take(self, part: Part, decisive: list[str], pack: Callable[[Path, Iterator[Entry]], Facts]) -> Kept:
        """The cache's entry for a part, packed now if it is not there, or if the SBOM has to look at the part."""
        described = json.dumps([self._identity, part.inputs, decisive])
        key = hashlib.sha256(described.encode()).hexdigest()
        if self._inventory is None or not self._inventory.wants(part.origin):
            with timing.stage("check", part.origin):
                kept = self._cache.find(key)
            if kept is not None:
                return kept
        try:
            return self._cache.make(key, lambda folder: pack(folder, part.entries(True)))
        except layers.UnorderedError:
            return self._cache.make(key, lambda folder: pack(folder, part.entries(False)))

    def _made(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        return iter(entries) if self._inventory is None else self._inventory.watch_made(entries)

    def _watched(self, entries: Iterable[Entry], *, prefix: str = "") -> Iterator[Entry]:
        return iter(entries) if self._inventory is None else self._inventory.watch(entries, prefix=prefix)

    def _is_reached(self, place: str) -> bool:
        """Whether a file of the YAML goes below ``place``, or may by way of a symbolic link."""
        if any(each.path == place or each.path.startswith(f"{place}/") for each in self._plan.files):
            return True
        return self._merge.has_link_to(place.partition("/")[0])

    def _whole(self) -> Root:
        """The root as one piece, where the parts cannot be taken apart. It is not kept."""
        options, root = self._options, Root()

        def pack(folder: Path) -> Facts:
            packing = Packing(folder, part="root")
            entries = build.entries(
                self._plan, self._store, decompress_kernel=options.decompress_kernel, sbom=options.sbom
            )
            packing.archive(_ARCHIVE, entries, options.codec)
            root.size_bytes = packing.size_bytes
            return {}

        kept = self._cache.make(f"whole-{uuid.uuid4().hex}", pack)
        root.boot = boot_files((name, kept.folder / name) for name in kept.files)
        root.pieces.append(Piece(kept.folder / _ARCHIVE))
        self._give(root.pieces[0])
        return root
