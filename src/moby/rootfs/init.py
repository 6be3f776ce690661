"""The init images, laid over each other at the root."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from moby.errors import IntegrityError
from moby.formats.entry import Entry, Kind, file
from moby.oci import layers
from moby.oci.image import Image
from moby.oci.store import Store
from moby.plan import InitPlan
from moby.rootfs.contents import Resolver, contents

APK_DATABASE = "lib/apk/db/installed"
ORIGIN = "init"
_MAX_DATABASE_BYTES = 16 << 20


def init(plans: Sequence[InitPlan], store: Store) -> Iterator[Entry]:
    """All init images in order, then, if several have an apk database, one that lists the packages of all."""
    databases: list[bytes] = []
    for index, plan in enumerate(plans):
        origin = f"init[{index}]"
        image = layers.entries(store, plan.image, origin=origin)
        for entry in contents(image, "", Resolver.LINK, origin=origin):
            if entry.path == APK_DATABASE and entry.kind is Kind.FILE:
                data = _whole(entry)
                databases.append(data)
                yield replace(entry, data=data)
            else:
                yield entry
    if len(databases) > 1:
        yield _merged(databases)


def merged_database(images: Sequence[Image], store: Store) -> Iterator[Entry]:
    """The apk database of all ``images``, each of which has one."""
    databases = []
    for image in images:
        for entry in contents(layers.entries(store, image), "", Resolver.LINK, origin=ORIGIN):
            if entry.path == APK_DATABASE and entry.kind is Kind.FILE:
                databases.append(_whole(entry))
    yield _merged(databases)


def _merged(databases: Sequence[bytes]) -> Entry:
    return file(APK_DATABASE, b"".join(each + b"\n\n" for each in databases), origin=ORIGIN)


def _whole(entry: Entry) -> bytes:
    """A file's bytes. ``IntegrityError`` when it is too large to hold."""
    if isinstance(entry.data, bytes):
        return entry.data
    if entry.size > _MAX_DATABASE_BYTES:
        raise IntegrityError(f"a package database of {entry.size} bytes", where=f"{entry.origin}: {entry.path}")
    return entry.data.read(entry.size)
