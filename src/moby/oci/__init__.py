"""Image names → verified blobs: references, digests, manifests, the store, registries and flattened layers.

Rules kept everywhere here: nothing from a registry is used before its digest matched, every size is bounded before it
is read, and a blob gets its final name only when it is whole and on the disk.
"""
