"""The verbs of ``moby cache`` that bring images in and out."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, cast

import moby
from moby import log
from moby.cli.cache_images import described, known
from moby.cli.signing_key import private_key
from moby.context import Context
from moby.errors import ConfigError, PlatformError
from moby.oci import archive, engine, imports, local, usage
from moby.oci.export import Form, Wanted, export
from moby.oci.manifest import Index, Platform
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.resolve import ImageSource, PullPolicy
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
        return _shown(arguments, "imported", store, names)


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


def pull(arguments: argparse.Namespace, context: Context, store: Store) -> int:
    """Fetch images anew and print their names and digests."""
    references = [Reference.parse(each) for each in arguments.names]
    with usage.using(store, context.environment), Registry.connect(context) as registry:
        source = ImageSource(store, registry, PullPolicy.ALWAYS)
        for reference in references:
            wanted = arguments.platform or [""]
            platforms = _offered(registry, reference) if _ALL in wanted else [platform_of(each) for each in wanted]
            for platform in platforms:
                source.resolve(reference, platform)
        names = [local.stored_name(each) if each.transport else str(each) for each in references]
        return _shown(arguments, "pulled", store, names)


def _offered(registry: Registry, reference: Reference) -> list[Platform]:
    """All platforms that a registry has an image for."""
    if reference.transport is not None:
        raise ConfigError("--platform all is for registries", where=str(reference), fix="moby cache import takes all")
    content = registry.first(
        reference, lambda remote: remote.manifest(reference.locator, digest=reference.digest)
    ).content
    offered = [Platform.parse(each) for each in content.platforms] if isinstance(content, Index) else []
    return offered or [platform_of("")]


def _shown(arguments: argparse.Namespace, key: str, store: Store, names: Sequence[str]) -> int:
    images = [each for each in usage.held(store) if each.name in names]
    if arguments.json:
        print(json.dumps({key: [described(each) for each in images]}, indent=2))
    else:
        for each in images:
            print(each.name, each.descriptor.digest)
    return 0


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


def platform_of(text: str) -> Platform:
    """The platform that ``text`` spells, this host's when it is empty. Raises ``ConfigError``."""
    return Platform.parse(text) if text else Platform(os="linux", architecture=moby.architecture("").value)
