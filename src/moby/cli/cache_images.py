"""The verbs of ``moby cache`` that look at the store or take things out of it."""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from moby import log
from moby.context import Context, variable
from moby.errors import ConfigError, IntegrityError, RegistryError
from moby.oci import usage
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.store import Store

if TYPE_CHECKING:
    from moby.oci.remote import Remote


def ls(arguments: argparse.Namespace, context: Context, store: Store) -> int:
    """Print every image; with ``--json`` also its platforms, its size and when it was last used."""
    images = usage.held(store)
    if arguments.json:
        print(json.dumps({"images": [described(each) for each in images]}, indent=2))
        return 0
    print(f"{'image name':<80} root manifest hash")
    for each in images:
        print(f"{each.name or '-':<80} {each.descriptor.digest}")
    return 0


def described(image: usage.Held) -> dict[str, object]:
    """An image as plain data, for ``--json``."""
    used = datetime.datetime.fromtimestamp(image.used_s, datetime.UTC).isoformat(timespec="seconds")
    return {
        "name": image.name,
        "digest": str(image.descriptor.digest),
        "media_type": image.descriptor.media_type,
        "platforms": list(image.platforms),
        "size_bytes": image.size_bytes,
        "used": used,
    }


def shown(arguments: argparse.Namespace, key: str, store: Store, names: Sequence[str]) -> int:
    """Print the images called ``names``; with ``--json`` as what ``key`` says was done to them."""
    images = [each for each in usage.held(store) if each.name in names]
    if arguments.json:
        print(json.dumps({key: [described(each) for each in images]}, indent=2))
    else:
        for each in images:
            print(each.name, each.descriptor.digest)
    return 0


def rm(arguments: argparse.Namespace, context: Context, store: Store) -> int:
    """Remove images and print their names."""
    names = [known(store, each) for each in arguments.names]
    if arguments.published_only:
        names = _filtered(names, context, store)
    freed = usage.remove(store, names) if names else usage.Freed()
    return _freed(arguments, freed)


def clean(arguments: argparse.Namespace, context: Context, store: Store) -> int:
    """Remove everything, or what is published."""
    if not arguments.published_only:
        return _freed(arguments, usage.clear(store))
    names = _filtered(store.names(), context, store)
    return _freed(arguments, usage.remove(store, names) if names else usage.Freed())


def gc(arguments: argparse.Namespace, context: Context, store: Store) -> int:
    """Remove what no image needs, then images beyond the limit."""
    limit = arguments.limit or variable(context.environment, "CACHE_LIMIT")
    if not store.root.is_dir():
        return _freed(arguments, usage.Freed())
    swept = usage.sweep(store, dry_run=arguments.dry_run)
    if limit:
        size = usage.parse_size(limit, where="--limit")
        more = usage.shrink(store, size, wait=True, dry_run=arguments.dry_run)
        # What was only counted is still there to be counted again.
        swept = more if arguments.dry_run and more.blobs else _sum(swept, more)
    return _freed(arguments, swept)


def _sum(one: usage.Freed, two: usage.Freed) -> usage.Freed:
    return usage.Freed(
        names=(*one.names, *two.names), blobs=one.blobs + two.blobs, size_bytes=one.size_bytes + two.size_bytes
    )


def _freed(arguments: argparse.Namespace, freed: usage.Freed) -> int:
    if arguments.json:
        document = {"removed": list(freed.names), "blobs": freed.blobs, "size_bytes": freed.size_bytes}
        print(json.dumps(document, indent=2))
        return 0
    for name in freed.names:
        print(name)
    log.info(f"{freed.blobs} blobs, {freed.size_bytes / 1e6:.1f} MB freed")
    return 0


def verify_images(arguments: argparse.Namespace, context: Context, store: Store) -> int:
    """Check blobs and images; status 1 when something is damaged."""
    from moby.oci.verify import verify

    names = [known(store, each) for each in arguments.names]
    with store.in_use():
        report = verify(store, names, repair=arguments.repair)
    if arguments.json:
        damages = [
            {"what": each.what, "digest": str(each.digest) if each.digest else None, "name": each.name or None}
            for each in report.damages
        ]
        counted = {"images": report.images, "blobs": report.blobs, "size_bytes": report.size_bytes}
        print(json.dumps({**counted, "damages": damages}, indent=2))
    else:
        for each in report.damages:
            print(f"{each.name or each.digest}: {each.what}")
        log.info(f"{report.images} images, {report.blobs} blobs, {report.size_bytes / 1e6:.1f} MB checked")
    return 1 if report.damages else 0


def known(store: Store, text: str) -> str:
    """The store's name that is meant: as written, or as references spell it. Raises ``ConfigError``."""
    names = store.names()
    if text in names:
        return text
    reference = Reference.parse(text)
    if reference.transport:
        from moby.oci import local

        spelled: Sequence[str] = (local.stored_name(reference),)
    else:
        spelled = reference.names
    for name in spelled:
        if name in names:
            return name
    raise ConfigError("the store has no image of this name", where=str(reference), fix="moby cache ls lists them")


def _filtered(names: Sequence[str], context: Context, store: Store) -> list[str]:
    """Those of ``names`` that mean in their registry what they mean here."""
    kept: list[str] = []
    with Registry.connect(context) as registry:
        for name in names:
            try:
                reference = Reference.parse(name)
                there = registry.first(reference, _digest_of(reference)) if not reference.transport else None
            except (ConfigError, RegistryError, IntegrityError) as error:
                log.info(f"{name} stays: {error.what}")
                continue
            if there in {str(each.digest) for each in store.descriptors(name)}:
                kept.append(name)
            else:
                log.info(f"{name} stays: its registry does not have this image")
    return kept


def _digest_of(reference: Reference) -> Callable[[Remote], str]:
    return lambda remote: str(remote.digest(reference.locator))
