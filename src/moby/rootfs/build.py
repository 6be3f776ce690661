"""The whole root file system, part by part, in the order of the original."""

from __future__ import annotations

from collections.abc import Iterator

from moby.formats.entry import Entry
from moby.oci.store import Store
from moby.plan import Plan
from moby.rootfs.bundle import container
from moby.rootfs.files import files
from moby.rootfs.init import init
from moby.rootfs.kernel import kernel
from moby.rootfs.merge import Merge
from moby.rootfs.sbom import Inventory, Sbom
from moby.rootfs.volumes import volume


def entries(plan: Plan, store: Store, *, decompress_kernel: bool = False, sbom: Sbom | None = None) -> Iterator[Entry]:
    """Every entry of the root: kernel, init, volumes, onboot, onshutdown, services, files, the SBOM if one is wanted.

    A directory comes before what it holds; of two entries with one path the later wins; a file's data is valid until
    the next entry is taken. Each entry's ``origin`` names the part it came from. Raises ``ConfigError`` when parts do
    not fit together and ``IntegrityError`` when an image is damaged or hostile.
    """
    merge = Merge()
    parts = _parts(plan, store, merge, decompress_kernel=decompress_kernel)
    if sbom is None:
        yield from parts
        return
    inventory = Inventory(plan, store, sbom, decompress_kernel=decompress_kernel)
    yield from inventory.watch(parts)
    with inventory.entry() as document:
        yield from merge.put(document)


def _parts(plan: Plan, store: Store, merge: Merge, *, decompress_kernel: bool) -> Iterator[Entry]:
    if plan.kernel is not None:
        yield from merge.add(kernel(plan.kernel, store, decompress=decompress_kernel))
    yield from merge.add(init(plan.init, store))
    for index, each in enumerate(plan.volumes):
        yield from volume(each, store, merge, origin=f"volumes[{index}]")
    for bundle in plan.containers:
        yield from container(bundle, store, merge)
    yield from files(plan.files, merge)
