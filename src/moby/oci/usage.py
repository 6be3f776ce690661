"""What a store holds and what of it can go: removing names, unused blobs, and the least recently used images.

A blob stays as long as anything that ``index.json`` points at, named or not, leads to it.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from moby import log
from moby.context import variable
from moby.errors import ConfigError, IntegrityError
from moby.oci.digest import Digest
from moby.oci.manifest import INDEX_TYPES, MANIFEST_TYPES, REF_NAME, Descriptor, Index
from moby.oci.store import Store

# File systems may round time stamps down.
_ROUNDING_S = 2
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,3})?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
# The tags of signatures and of lists of referrers (distribution specification 1.1, "Referrers Tag Schema").
_ABOUT = re.compile(r"(.*):(sha256|sha512)-([0-9a-f]{64,128})(?:\.[a-z]+)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One image of a store. ``blobs`` are those it leads to that are here, with their sizes in bytes.

    ``name`` is empty where another tool gave none; ``used_s`` is when it was last used, in seconds since 1970.
    """

    name: str
    descriptor: Descriptor
    platforms: tuple[str, ...]
    blobs: Mapping[Digest, int]
    used_s: float

    @property
    def size_bytes(self) -> int:
        """What it takes, shared blobs included."""
        return sum(self.blobs.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """What was taken out of a store."""

    names: tuple[str, ...] = ()
    blobs: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class _Marks:
    """Collects the blobs that are here below a root, each once, and the platforms of its images."""

    store: Store
    blobs: dict[Digest, int] = field(default_factory=dict)
    platforms: set[str] = field(default_factory=set)

    def add(self, root: Descriptor) -> None:
        todo = [root]
        while todo:
            each = todo.pop()
            if each.digest in self.blobs or not self.store.has(each):
                continue
            self.blobs[each.digest] = each.size
            todo += self._below(each)

    def _below(self, descriptor: Descriptor) -> Iterable[Descriptor]:
        if descriptor.media_type not in ("", *INDEX_TYPES, *MANIFEST_TYPES):
            return ()
        try:
            content = self.store.read_manifest(descriptor)
            if isinstance(content, Index):
                return content.manifests
            if all(map(self.store.has, (content.config, *content.layers))) and not descriptor.is_attestation:
                platform = descriptor.platform or self.store.read_config(content).platform
                self.platforms.update([str(platform)] if platform.os else [])
            return (content.config, *content.layers)
        except IntegrityError:  # a damaged manifest leads nowhere; ``verify`` tells of it
            return ()


def held(store: Store) -> list[Held]:
    """Every image, sorted by name. Raises ``IntegrityError`` when the store's index is damaged."""
    found = []
    for root in store.roots():
        marks = _Marks(store)
        marks.add(root)
        found.append(
            Held(
                name=(root.annotations or {}).get(REF_NAME, ""),
                descriptor=root,
                platforms=tuple(sorted(marks.platforms)),
                blobs=marks.blobs,
                used_s=store.used_s(root.digest),
            )
        )
    return sorted(found, key=lambda each: each.name)


def remove(store: Store, names: Sequence[str]) -> Freed:
    """Forget images and their signatures, and delete the blobs that nothing else needs.

    Waits for others who use the store. Raises ``ConfigError`` for a name that it does not have; then nothing is done.
    """
    with store.alone():
        images = held(store)
        known = {each.name for each in images}
        unknown = [name for name in names if name not in known or not name]
        if unknown:
            raise ConfigError("the store has no image of this name", where=unknown[0], fix="moby cache ls lists them")
        return _remove(store, images, names)


def sweep(store: Store, *, dry_run: bool = False) -> Freed:
    """Delete the blobs that nothing leads to. Waits for others who use the store."""
    with store.alone():
        return _delete(store, _garbage(store, held(store)), (), dry_run=dry_run)


def shrink(
    store: Store, limit_bytes: int, *, since_s: float | None = None, wait: bool = False, dry_run: bool = False
) -> Freed:
    """Bring the store down to ``limit_bytes``: unused blobs first, then images, the least recently used first.

    Images used at or after ``since_s`` stay even when they are more than that. Without ``wait`` nothing is done while
    others use the store.
    """
    with store.alone(wait=wait) as free:
        if not free or sum(size for _, size in store.blobs()) <= limit_bytes:
            return Freed()
        images = held(store)
        names = _least_used(images, limit_bytes, since_s)
        kept = [each for each in images if each.name not in names]
        if not dry_run:
            store.untag(names)
        return _delete(store, _garbage(store, kept), names, dry_run=dry_run)


@contextlib.contextmanager
def using(store: Store, environment: Mapping[str, str]) -> Iterator[None]:
    """While this lasts nobody deletes images; when it ends well, ``MOBY_CACHE_LIMIT`` is applied.

    What was used in between stays, whatever the limit. Raises ``ConfigError`` for a limit that is no size.
    """
    text = variable(environment, "CACHE_LIMIT")
    limit_bytes = parse_size(text, where="MOBY_CACHE_LIMIT") if text else None
    since_s = time.time() - _ROUNDING_S
    with store.in_use():
        yield
    if limit_bytes is None or not store.root.is_dir():
        return
    freed = shrink(store, limit_bytes, since_s=since_s)
    if freed.blobs:
        log.info(f"the store was over its limit of {text}: {freed.size_bytes / 1e6:.1f} MB freed")


def clear(store: Store) -> Freed:
    """Delete the whole store, and nothing else that may be in its directory. Waits for others who use it.

    Raises ``ConfigError`` for a directory that is no image store.
    """
    if not store.root.exists():
        return Freed()
    if not (store.root / "oci-layout").is_file():
        raise ConfigError("not an image store, so nothing is deleted", where=str(store.root), fix="check --cache")
    with store.alone():
        names = tuple(each.name for each in held(store))
        sizes = [size for _, size in store.blobs()]
        store.clear()
    return Freed(names=names, blobs=len(sizes), size_bytes=sum(sizes))


def parse_size(text: str, *, where: str) -> int:
    """Bytes of ``500M``, ``20G``, ``1.5T`` or a plain number; units are powers of 1024. Raises ``ConfigError``."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"{text!r} is not a size", where=where, fix="write it like 500M or 20G")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def _remove(store: Store, images: Sequence[Held], names: Sequence[str]) -> Freed:
    gone = {each.name for each in images if each.name and (each.name in names or _is_about(each.name, images, names))}
    before = {digest: size for each in images if each.name in gone for digest, size in each.blobs.items()}
    needed = {digest for each in images if each.name not in gone for digest in each.blobs}
    store.untag(sorted(gone))
    return _delete(store, {digest: size for digest, size in before.items() if digest not in needed}, sorted(gone))


def _is_about(name: str, images: Sequence[Held], names: Sequence[str]) -> bool:
    """Whether ``name`` is that of a signature of one of ``names``, and no image that stays has its digest."""
    found = _ABOUT.fullmatch(name)
    if found is None:
        return False
    repository, digest = found[1], f"{found[2]}:{found[3]}"
    same = [
        each.name for each in images if str(each.descriptor.digest) == digest and _repository(each.name) == repository
    ]
    return bool(same) and set(same) <= set(names)


def _repository(name: str) -> str:
    path = name.partition("@")[0]
    return path.rpartition(":")[0] if ":" in path.rpartition("/")[2] else path


def _least_used(images: Sequence[Held], limit_bytes: int, since_s: float | None) -> list[str]:
    """The names that must go. What was used last is kept first; from the first that does not fit, all older ones go."""
    known = {each.descriptor.digest for each in images}
    kept: dict[Digest, int] = {}
    full = False
    gone: list[str] = []
    for each in sorted(images, key=lambda image: image.used_s, reverse=True):
        together = {**kept, **each.blobs}
        recent = since_s is not None and each.used_s >= since_s
        full = full or sum(together.values()) > limit_bytes
        about = _ABOUT.fullmatch(each.name)
        tied = about is not None and Digest(algorithm=about[2], hex=about[3]) in known
        if not each.name or recent or tied or not full:
            kept = together
        else:
            gone.append(each.name)
    return gone + [each.name for each in images if each.name not in gone and _is_about(each.name, images, gone)]


def _garbage(store: Store, images: Iterable[Held]) -> dict[Digest, int]:
    needed = {digest for each in images for digest in each.blobs}
    return {digest: size for digest, size in store.blobs() if digest not in needed}


def _delete(store: Store, blobs: Mapping[Digest, int], names: Sequence[str], *, dry_run: bool = False) -> Freed:
    for digest in () if dry_run else blobs:
        store.delete(digest)
    return Freed(names=tuple(names), blobs=len(blobs), size_bytes=sum(blobs.values()))
