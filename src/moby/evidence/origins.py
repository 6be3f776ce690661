"""Which input of a build a file comes from, in words: an image with its digest, or a place in the YAML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from moby.evidence.diff import Place
from moby.formats.entry import Kind
from moby.oci.image import Image
from moby.oci.store import Store
from moby.plan import Plan
from moby.rootfs import build
from moby.rootfs.sbom import DEFAULT_PATH

# What the root of a container is called that is a file system of its own.
_IMAGE_SUFFIX = ".squashfs"
# Parts of artifacts that are no files of the root, by their names.
_KERNEL = ("boot/kernel", "kernel", ".linux", "-kernel")
_CMDLINE = ("boot/cmdline", "cmdline", ".cmdline", "-cmdline", "syslinux.cfg", "isolinux/isolinux.cfg")


class Origins:
    """The origins of the entries of one build."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan = plan
        self._store = store
        self._words = dict(_words(plan))

    def of(self, place: Place) -> str:
        """What gave the thing that is at ``place`` in an artifact of the build; empty when nothing did."""
        name = place[-1] if place else ""
        if name == DEFAULT_PATH:
            return "what is in the machine: this is its SBOM"
        if name.endswith(_CMDLINE):
            return "kernel.cmdline in the YAML"
        if name.endswith(_KERNEL) and "kernel" in self._words:
            return self._words["kernel"]
        origin = self._find(_root_path(place))
        return self._words.get(origin, origin)

    def _find(self, path: str) -> str:
        """The origin of the last entry at ``path``; else that of the nearest directory above."""
        above = {path[:end] for end in range(1, len(path)) if path[end] == "/"} | {path}
        found: dict[str, str] = {}
        for entry in build.entries(self._plan, self._store):
            if entry.path in above and (entry.path == path or entry.kind is Kind.DIRECTORY):
                found[entry.path] = entry.origin
        return found[max(found, key=len)] if found else ""


def _root_path(place: Sequence[str]) -> str:
    """The path in the root that the last parts of a place spell; roots of containers may be images of their own."""
    path = place[-1] if place else ""
    if len(place) > 1 and place[-2].endswith(_IMAGE_SUFFIX):
        path = f"{place[-2].removesuffix(_IMAGE_SUFFIX)}/{path}"
    return path


def _words(plan: Plan) -> Iterator[tuple[str, str]]:
    """Each origin with what it is."""
    if plan.kernel is not None:
        yield "kernel", f"kernel: {_image(plan.kernel.image)}"
    for index, init in enumerate(plan.init):
        yield f"init[{index}]", f"init[{index}]: {_image(init.image)}"
    for index, volume in enumerate(plan.volumes):
        images = ", ".join(map(_image, volume.images)) or "nothing"
        yield f"volumes[{index}]", f"volumes[{index}] {volume.name}: {images}"
    for each in plan.containers:
        key = f"{each.section}[{each.index}]"
        yield key, f"{key} {each.name}: {_image(each.image)}"
    for file in plan.files:
        given = "given in the YAML" if isinstance(file.data, bytes) else f"copied from {file.data}"
        yield f"files[{file.index}]", f"files[{file.index}] {file.path}: {given}"


def _image(image: Image) -> str:
    return f"{image.reference} ({image.digest})"
