"""``moby explain``: why an image is as it is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import TYPE_CHECKING

from moby.context import Context
from moby.errors import ConfigError

if TYPE_CHECKING:
    from moby.config.model import Config
    from moby.evidence.explain import ContainerFacts, Layered, Part, PathFacts
    from moby.evidence.trace import Version
    from moby.formats.entry import Entry
    from moby.oci.image import Image
    from moby.oci.store import Store
    from moby.plan import Plan

EXAMPLES = """\
examples:
  moby explain web.yml                        every part, its image and its line
  moby explain web.yml nginx                  a container: each setting in force and where it comes from
  moby explain web.yml /usr/bin/svc           a path: part, image, layer, line, mode, owner, what it hides
  moby explain web.yml nginx:/usr/sbin/nginx  a path in a container's own root
  moby explain --json base.yml web.yml nginx

Images are pulled and components built as for moby build; nothing is written.
"""
# What it means when these say nothing.
_SILENT = {"net": "host", "pid": "new", "ipc": "host", "uts": "host", "userns": "host"}
_WEB = ("http://", "https://")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby explain``."""
    parser.description = "Say where a path of the image, or a container's setting, comes from."
    parser.epilog = EXAMPLES
    parser.add_argument("words", nargs="+", metavar="FILE.yml … [PATH]", help="YAML files, then a path or a container")
    parser.add_argument("--arch", "-arch", default="", help="target architecture (default: this host's)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def split(words: list[str]) -> tuple[list[str], str]:
    """The files and, when the last of several words does not look like one, what to explain.

    Whether there is such a file does not matter: ``/etc/passwd`` is the image's.
    """
    last = words[-1]
    is_file = last == "-" or last.startswith(_WEB) or last.endswith((".yml", ".yaml"))
    return (words, "") if is_file or len(words) == 1 else (words[:-1], last)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Print the explanation."""
    from moby import decision
    from moby.components.build import Components
    from moby.evidence import explain
    from moby.oci.store import Store
    from moby.options import BuildOptions

    files, wanted = split(arguments.words)
    store = Store(context.store)
    components = Components(context, store)
    draft = decision.draft(files, components, context=context)
    options = decision.with_lock(BuildOptions(architecture=arguments.arch), files)
    plan = decision.settle(draft, components, store, context=context, options=options)
    config = draft.config
    if not wanted:
        parts = explain.parts(config, plan)
        show({"parts": [part_form(each) for each in parts]}, part_lines(parts), as_json=arguments.json)
    elif found := explain.containers(config, plan, wanted):
        lines = (line for each in found for line in container_lines(each))
        show({"containers": [container_form(each) for each in found]}, lines, as_json=arguments.json)
    else:
        facts = path(config, plan, store, wanted)
        show(path_form(facts), path_lines(facts), as_json=arguments.json)
    return 0


def path(config: Config, plan: Plan, store: Store, wanted: str) -> PathFacts:
    """What is at ``wanted``. Raises ``ConfigError`` that names what is alike when nothing is there."""
    from moby.evidence import explain

    try:
        return explain.path(config, plan, store, wanted)
    except ConfigError as error:
        from moby.cli.explain_near import nearest

        near = nearest(plan, store, wanted)
        fix = f"did you mean {near}?" if near else error.fix
        raise ConfigError(error.what, where=error.where, fix=fix) from None


def show(form: dict[str, object], lines: Iterable[str], *, as_json: bool) -> None:
    """Print one of the two forms."""
    print(json.dumps(form, indent=2, ensure_ascii=False) if as_json else "\n".join(lines))


def part_form(part: Part) -> dict[str, object]:
    """A part for ``--json``."""
    image = image_form(part.image) if part.image else None
    return {"part": part.name, "where": part.where, "directory": part.directory, "image": image}


def part_lines(parts: Sequence[Part]) -> Iterator[str]:
    """Parts in lines with columns."""
    widths = (
        max((len(each.where) for each in parts), default=0),
        max((len(each.directory) for each in parts), default=0) + 1,
        max((len(str(each.image.reference)) for each in parts if each.image), default=0),
    )
    return (part_line(each, widths) for each in parts)


def part_line(part: Part, widths: tuple[int, int, int] = (0, 0, 0)) -> str:
    """A part in one line: place, directory and image, each at least so wide."""
    where, directory, name = widths
    image = f"  {part.image.reference!s:<{name}} {part.image.digest}" if part.image else ""
    return f"{part.where:<{where}}  {'/' + part.directory:<{directory}}{image}".rstrip()


def container_form(facts: ContainerFacts) -> dict[str, object]:
    """A container for ``--json``."""
    settings = {each.key: {"value": each.value, "from": list(each.origins)} for each in facts.settings}
    container = facts.container
    return {
        "name": container.name,
        "where": facts.where,
        "directory": container.directory,
        "image": image_form(container.image),
        "settings": settings,
    }


def container_lines(facts: ContainerFacts) -> Iterator[str]:
    """A container for people: what it is, then its settings, those of the default last."""
    container = facts.container
    yield f"{facts.where}"
    yield f"  image      {container.image.reference}"
    yield f"  digest     {container.image.digest}"
    yield f"  directory  /{container.directory}"
    own = [each for each in facts.settings if each.origins != ("default",)]
    for each in own:
        yield f"  {each.key}: {json.dumps(each.value, ensure_ascii=False)}"
        yield f"      from {' and '.join(each.origins)}"
    rest = {each.key: _SILENT.get(each.key, each.value) for each in facts.settings if each.origins == ("default",)}
    if valued := [f"{key}: {json.dumps(value)}" for key, value in rest.items() if not _is_nothing(value)]:
        yield f"  by default: {', '.join(valued)}"
    if unset := [key for key, value in rest.items() if _is_nothing(value)]:
        yield f"  not set: {', '.join(unset)}"


def _is_nothing(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_nothing, value.values()))
    return value is None or (isinstance(value, Sized) and len(value) == 0)


def path_form(facts: PathFacts) -> dict[str, object]:
    """A path for ``--json``."""
    source = facts.source
    return {
        **entry_form(facts.entry),
        "part": facts.part,
        "where": facts.where,
        "image": image_form(source.image) if source else None,
        "archive": (source.archive or None) if source else None,
        "layers": [layer_form(each) for each in source.versions] if source else [],
        "hides": [{**entry_form(entry), "where": where} for entry, where in facts.hidden],
        "below": {"entries": facts.below[0], "bytes": facts.below[1]},
    }


def entry_form(entry: Entry) -> dict[str, object]:
    """An entry's metadata."""
    return {
        "path": entry.path,
        "kind": entry.kind.name.lower(),
        "mode": f"{entry.mode:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "size": entry.size,
        "target": entry.target or None,
    }


def layer_form(version: Version) -> dict[str, object]:
    """One layer's version of a path."""
    return {
        "layer": str(version.layer.digest),
        "number": version.number,
        "kind": version.kind.name.lower(),
        "mode": f"{version.mode:04o}",
        "uid": version.uid,
        "gid": version.gid,
        "size": version.size,
        "in_force": version.kept,
    }


def path_lines(facts: PathFacts) -> Iterator[str]:
    """A path for people."""
    entry, source = facts.entry, facts.source
    arrow = f" -> {entry.target}" if entry.target else ""
    yield f"/{entry.path}{arrow}"
    yield f"  {describe(entry)}"
    yield f"  from       {facts.where}"
    if source is not None:
        yield from source_lines(source)
    elif not entry.origin.startswith("files"):
        yield "  made by    the build"
    for hidden, where in facts.hidden:
        yield f"  hides      {describe(hidden)} from {where}"
    if facts.below[0]:
        yield f"  holds      {facts.below[0]:,} entries, {facts.below[1]:,} bytes"


def source_lines(source: Layered) -> Iterator[str]:
    """The image and the layers that have a path."""
    image = source.image
    archive = f" in {source.archive}" if source.archive else ""
    yield f"  image      {image.reference} {image.digest}"
    yield f"  there      {source.path}{archive}"
    for each in source.versions:
        word = "layer " if each.kept else "hides "
        kind = (
            "" if each.kept else f": {each.kind.name.lower()} {each.mode:04o} {each.uid}:{each.gid} {each.size:,} bytes"
        )
        yield f"  {word}     {each.layer.digest} ({each.number} of {len(image.layers)}){kind}"


def describe(entry: Entry) -> str:
    """Kind, mode, owner and size."""
    size = f", {entry.size:,} bytes" if entry.kind.name == "FILE" else ""
    return f"{entry.kind.name.lower()}, mode {entry.mode:04o}, owner {entry.uid}:{entry.gid}{size}"


def image_form(image: Image) -> dict[str, object]:
    """An image for ``--json``."""
    return {"reference": str(image.reference), "digest": str(image.digest), "platform": str(image.platform)}
