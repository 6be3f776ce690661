"""Containers: a directory each, with its OCI bundle and what the supervisor does before it starts.

A writable container's image is unpacked to ``lower``, over which the guest lays a writable overlay at ``rootfs``; a
read-only one's straight to ``rootfs``. Containers with the same image share the first one's copy (``runtime.json``
says where it is).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from moby.formats.entry import Entry, file
from moby.oci import layers
from moby.oci.store import Store
from moby.plan import ContainerPlan
from moby.rootfs.constants import FIXED_MTIME_S
from moby.rootfs.contents import Resolver, contents
from moby.rootfs.merge import Merge


def container(plan: ContainerPlan, store: Store, merge: Merge) -> Iterator[Entry]:
    """The directory of one container, laid into ``merge``."""
    origin = origin_of(plan)
    image = contents(
        layers.entries(store, plan.image, origin=origin), plan.root_directory, Resolver.TEXT, origin=origin
    )
    return bundle(plan, merge, image)


def origin_of(plan: ContainerPlan) -> str:
    """What a container is called in messages."""
    return f"{plan.section}[{plan.index}]"


def bundle(plan: ContainerPlan, merge: Merge, image: Iterable[Entry]) -> Iterator[Entry]:
    """The directory of one container with the files of ``image``, which are not looked at if they are elsewhere."""
    origin = origin_of(plan)
    for path in ancestors(plan.directory):
        yield from merge.generate(path, origin=origin)
    if plan.unpack:
        yield from merge.generate(plan.root_directory, origin=origin)
        yield from merge.nest(image, plan.root_directory)
    yield from merge.put(_generated(f"{plan.directory}/config.json", plan.config_json, origin))
    if not plan.readonly:
        yield from merge.generate(f"{plan.directory}/tmp", origin=origin)
    yield from merge.generate(f"{plan.directory}/rootfs", origin=origin)
    yield from merge.put(_generated(f"{plan.directory}/runtime.json", plan.runtime_json, origin))


def ancestors(path: str) -> list[str]:
    """``a``, ``a/b`` and ``a/b/c`` for ``a/b/c``."""
    parts = path.split("/")
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _generated(path: str, data: bytes, origin: str) -> Entry:
    return file(path, data, mtime_s=FIXED_MTIME_S, origin=origin)
