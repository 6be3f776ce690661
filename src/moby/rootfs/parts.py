"""The parts that a root file system is cut into: each can be made without the others, and kept.

Parts at the root (the kernel's modules, init images) lie over each other, so that what is before one decides how it is
laid; the roots of containers and volumes each have a place of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from moby.formats.entry import Entry
from moby.oci import layers
from moby.oci.image import Image
from moby.oci.store import Store
from moby.plan import Plan, VolumePlan
from moby.rootfs import volumes
from moby.rootfs.bundle import origin_of
from moby.rootfs.contents import Resolver, contents
from moby.rootfs.init import ORIGIN as INIT
from moby.rootfs.init import merged_database
from moby.rootfs.kernel import CMDLINE, ORIGIN, kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Entries that belong together, and the ``inputs`` (JSON values) that decide them.

    ``entries`` makes them; called with True it may raise ``layers.UnorderedError`` and is then called with False.
    ``image`` is where they come from.
    """

    origin: str
    image: Image
    inputs: tuple[object, ...]
    entries: Callable[[bool], Iterator[Entry]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested:
    """A part below ``place``, with paths relative to it. ``packable``: it may also be a file system of its own."""

    part: Part
    place: str
    packable: bool


def base(plan: Plan, store: Store, *, decompress_kernel: bool) -> Iterator[Part]:
    """The parts of images at the root, in order. The kernel's is without the command line."""
    if plan.kernel is not None:
        yield _kernel(plan, store, decompress_kernel=decompress_kernel)
    for index, each in enumerate(plan.init):
        yield _image(each.image, store, Resolver.LINK, f"init[{index}]")


def apk_database(images: Sequence[Image], store: Store) -> Part:
    """What comes after the init images when ``images`` among them have apk databases: one of all their packages."""
    inputs = ("apk", *map(_digests, images))
    return Part(origin=INIT, image=images[0], inputs=inputs, entries=lambda _: merged_database(images, store))


def nested(plan: Plan, store: Store) -> Iterator[Nested]:
    """The roots of volumes and containers, in order."""
    for index, volume in enumerate(plan.volumes):
        origin, place = f"volumes[{index}]", volumes.lower_of(volume)
        if volume.images and volume.format == "oci":
            yield Nested(part=_layout(volume, store, origin), place=place, packable=False)
        elif volume.images:
            part = _image(volume.images[0], store, Resolver.LINK, origin)
            yield Nested(part=part, place=place, packable=True)
    for each in plan.containers:
        if each.unpack:
            part = _image(each.image, store, Resolver.TEXT, origin_of(each))
            yield Nested(part=part, place=each.root_directory, packable=True)


def _kernel(plan: Plan, store: Store, *, decompress_kernel: bool) -> Part:
    wanted = plan.kernel
    assert wanted is not None

    def entries(ordered: bool) -> Iterator[Entry]:
        found = kernel(wanted, store, decompress=decompress_kernel)
        return (entry for entry in found if entry.path != CMDLINE)

    inputs = ("kernel", _digests(wanted.image), wanted.binary, wanted.tar, wanted.ucode, decompress_kernel)
    return Part(origin=ORIGIN, image=wanted.image, inputs=inputs, entries=entries)


def _layout(volume: VolumePlan, store: Store, origin: str) -> Part:
    def entries(ordered: bool) -> Iterator[Entry]:
        return volumes.layout(volume, store, "", origin)

    inputs = ("layout", str(volume.reference), *volumes.layout_digests(volume, store))
    return Part(origin=origin, image=volume.images[0], inputs=inputs, entries=entries)


def _image(image: Image, store: Store, resolver: Resolver, origin: str) -> Part:
    def entries(ordered: bool) -> Iterator[Entry]:
        return contents(_flat(image, store, origin, ordered=ordered), "", resolver, origin=origin)

    return Part(origin=origin, image=image, inputs=("image", resolver.name, _digests(image)), entries=entries)


def _flat(image: Image, store: Store, origin: str, *, ordered: bool) -> Iterator[Entry]:
    return (layers.ordered if ordered else layers.entries)(store, image, origin=origin)


def _digests(image: Image) -> list[str]:
    """The layers: what else an image's manifest says does not change its files."""
    return [str(layer.digest) for layer in image.layers]
