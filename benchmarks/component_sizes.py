"""The table of pkg/README.md: what each shipped component weighs, stored and unpacked. Builds what the store lacks.

usage: python benchmarks/component_sizes.py [ARCHITECTURE...]
"""

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

_KIB = 1024


def main() -> None:
    """Print one Markdown row for each component that runs in a machine."""
    context = Context.from_environment()
    store = Store(context.store)
    components = Components(context, store)
    print("| Component | Architecture | Stored KiB | Unpacked KiB | Files |\n|---|---|---:|---:|---:|")
    for name in catalog.names():
        if not name.startswith("kernel-") and not components.recipe(name).spec.targets:
            for architecture in sys.argv[1:] or [str(Architecture.AMD64)]:
                print(row(components, store, name, Platform(os="linux", architecture=architecture)))


def row(components: Components, store: Store, name: str, platform: Platform) -> str:
    """The row of component ``name``: its layers as stored, its files as a machine has them in memory."""
    image = components.image(components.recipe(name), platform)
    files = [entry.size for entry in layers.entries(store, image) if entry.kind is Kind.FILE]
    stored = sum(layer.size for layer in image.layers)
    return f"| {name} | {platform.architecture} | {stored // _KIB} | {sum(files) // _KIB} | {len(files)} |"


if __name__ == "__main__":
    main()
