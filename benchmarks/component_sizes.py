"""The table of pkg/README.md: what each shipped component weighs, stored and unpacked. Builds what the store lacks."""

from __future__ import annotations

import sys

from moby.artifact import Architecture
from moby.components import catalog
from moby.components.build import Components
from moby.context import Context
from moby.formats.entry import Kind
from moby.oci import layers
from moby.oci.manifest import Platform
from moby.oci.store import Store


def main() -> None:
    """Print one Markdown row per component: compressed and unpacked KiB and files, for each architecture given."""
    context = Context.from_environment()
    store = Store(context.store)
    components = Components(context, store)
    names = [name for name in catalog.names() if components.recipe(name).spec.config is not None or name in _PLAIN]
    print("| Component | Stored KiB | Unpacked KiB | Files |\n|---|---:|---:|---:|")
    for name in names:
        for architecture in sys.argv[1:] or [str(Architecture.AMD64)]:
            print(_row(components, store, name, Platform(os="linux", architecture=architecture)))


_PLAIN = ("kernel", "crun", "busybox", "ca-certificates", "init")


def _row(components: Components, store: Store, name: str, platform: Platform) -> str:
    image = components.image(components.recipe(name), platform)
    entries = [entry for entry in layers.entries(store, image) if entry.kind is Kind.FILE]
    stored = sum(layer.size for layer in image.layers)
    unpacked = sum(entry.size for entry in entries)
    return f"| {name} | {stored // 1024} | {unpacked // 1024} | {len(entries)} |"


if __name__ == "__main__":
    main()
