"""``moby cache pull``, in a module of its own: what pulls need is a small part of what the other verbs do."""

from __future__ import annotations

import argparse
import platform as host

from moby.cli.cache_images import shown
from moby.config.fields import image_name
from moby.context import Context
from moby.errors import ConfigError
from moby.oci import usage
from moby.oci.manifest import Index, Platform
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.resolve import ImageSource, PullPolicy
from moby.oci.store import Store

_ALL = "all"


def pull(arguments: argparse.Namespace, context: Context, store: Store) -> int:
    """Fetch images anew and print their names and digests."""
    references = [image_name(each) for each in arguments.names]
    with usage.using(store, context.environment), Registry.connect(context) as registry:
        source = ImageSource(store, registry, PullPolicy.ALWAYS)
        for reference in references:
            wanted = arguments.platform or [""]
            platforms = _offered(registry, reference) if _ALL in wanted else [platform_of(each) for each in wanted]
            for platform in platforms:
                source.resolve(reference, platform)
        names = [_stored_name(each) for each in references]
        return shown(arguments, "pulled", store, names)


def _offered(registry: Registry, reference: Reference) -> list[Platform]:
    """All platforms that a registry has an image for."""
    if reference.transport is not None:
        raise ConfigError("--platform all is for registries", where=str(reference), fix="moby cache import takes all")
    content = registry.first(
        reference, lambda remote: remote.manifest(reference.locator, digest=reference.digest)
    ).content
    offered = [Platform.parse(each) for each in content.platforms] if isinstance(content, Index) else []
    return offered or [platform_of("")]


def _stored_name(reference: Reference) -> str:
    if not reference.transport:
        return str(reference)
    from moby.oci import local

    return local.stored_name(reference)


def platform_of(text: str) -> Platform:
    """The platform that ``text`` spells, Linux on this host's machine when it is empty. Raises ``ConfigError``."""
    return Platform.parse(text or host.machine().lower())
