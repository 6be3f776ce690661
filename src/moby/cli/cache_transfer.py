"""The verbs of ``moby cache`` that bring images in and out."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, cast

from moby import log
from moby.cli.cache_images import known, shown
from moby.cli.cache_pull import platform_of
from moby.cli.signing_key import private_key
from moby.context import Context
from moby.errors import ConfigError, PlatformError
from moby.oci import archive, engine, imports, local, usage
from moby.oci.export import Wanted, export
from moby.oci.form import Form
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.store import Store
from moby.oci.trust_sign import sign

_ALL = "all"


def import_images(arguments: argparse.Namespace, context: Context, store: Store) -> int:
    """Take images from a file and print their names and digests."""
    path = Path(arguments.file)
    with usage.using(store, context.environment):
        if arguments.file == "-":
            contents = archive.read(store, sys.stdin.buffer, where="stdin")
            images = local.images_of(contents, store)
        else:
            images = local.layout_of(path, store) if path.is_dir() else local.archived(path, store)
        names = imports.load(store, images, name=arguments.name)
        return shown(arguments, "imported", store, names)


def export_images(arguments: argparse.Namespace, context: Context, store: Store) -> int:
    """Write images to a file."""
    form = Form(arguments.format)
    names = [known(store, each) for each in arguments.names]
    if arguments.name and len(names) != 1:
        raise ConfigError("--name is for one image", fix="export one at a time")
    if arguments.outfile == "-" and arguments.json:
        raise ConfigError("--json and the image cannot both go to stdout", fix="give --outfile FILE")
    called = Reference.parse(arguments.name).expanded if arguments.name else ""
    wanted = [Wanted(name=each, called=called or each.removeprefix(engine.PREFIX)) for each in names]
    platform = None if arguments.platform == _ALL else platform_of(arguments.platform)
    with store.in_use(), _outfile(arguments.outfile) as out:
        export(store, wanted, platform, form, out)
    if arguments.json:
        print(json.dumps({"file": arguments.outfile, "images": [each.called for each in wanted]}, indent=2))
    elif arguments.outfile != "-":
        print(arguments.outfile)
    return 0


@contextlib.contextmanager
def _outfile(name: str) -> Iterator[BinaryIO]:
    """The file to write: beside its place first, so that it is never half there. ``-`` is stdout."""
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(name)
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as stream:
            made = Path(stream.name)
            try:
                yield cast(BinaryIO, stream)
                made.chmod(0o666 & ~_umask())
                made.replace(path)
            except BaseException:
                made.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise PlatformError(f"cannot write it: {error.strerror}", where=name) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def push(arguments: argparse.Namespace, context: Context, store: Store) -> int:
    """Push images and print what the registry calls them, and their digests."""
    names = [known(store, each) for each in arguments.names]
    if arguments.remote_name and len(names) != 1:
        raise ConfigError("--remote-name is for one image", fix="push one at a time")
    key = private_key(arguments.sign, context.environment) if arguments.sign else None
    pushed: list[dict[str, object]] = []
    with store.in_use(), Registry.connect(context) as registry:
        for name in names:
            reference = Reference.parse(arguments.remote_name or name.removeprefix(engine.PREFIX))
            result = registry.push(
                name, reference, store, override=arguments.override, arch_tags=arguments.with_arch_tags
            )
            if result.outcome == "kept":
                log.info(f"{reference} is another image there and stays; --override replaces it")
            elif key is not None:
                sign(result.digest, key, reference=reference, registry=registry, store=store)
            pushed.append(
                {
                    "name": name,
                    "reference": str(reference),
                    "digest": str(result.digest),
                    "outcome": result.outcome.value,
                    "platforms": list(result.platforms),
                }
            )
    if arguments.json:
        print(json.dumps({"pushed": pushed}, indent=2))
    for each in () if arguments.json else pushed:
        print(each["reference"], each["digest"])
    return 0
