"""``moby lock``: images pinned by digest."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import moby
from moby import decision, log, pins
from moby.components.build import Components
from moby.context import Context
from moby.errors import ConfigError
from moby.oci.manifest import Platform
from moby.oci.offered import offered
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.store import Store
from moby.pins import Change, Pin, Pins
from moby.plan import images

EXAMPLES = """\
examples:
  moby lock web.yml                        pin what is not pinned yet, in moby.lock beside the file
  moby lock --update                       ask again for everything in ./moby.lock, and show what changed
  moby lock --update web.yml nginx:1.27    ask again for one image
  moby build --locked web.yml              refuse an image that is not pinned

moby build uses a moby.lock beside the last YAML file when there is one. Components need no pin."""
_SHORT = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby lock``."""
    parser.description = "Write moby.lock: for each image of the YAML files, its digest for every platform."
    parser.epilog = EXAMPLES
    parser.add_argument("words", nargs="*", metavar="FILE.yml|IMAGE", help="YAML files; with --update also images")
    parser.add_argument("--update", action="store_true", help="ask again for images that are pinned already")
    parser.add_argument("--prune", action="store_true", help="drop images that the files do not use")
    parser.add_argument(
        "--lock", type=Path, default=None, metavar="FILE", help="default: moby.lock beside the last file"
    )
    parser.add_argument("--json", action="store_true", help="print what changed as JSON")


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Write the lock and print what changed in it."""
    files, named = split(arguments.words)
    path = arguments.lock or pins.beside(files)
    if not files and not arguments.update:
        raise ConfigError("no YAML file to pin the images of", fix="moby lock FILE.yml, or moby lock --update")
    if named and not arguments.update:
        raise ConfigError(f"'{named[0]}' is no YAML file", fix="an image is named with --update")
    if arguments.prune and not files:
        raise ConfigError("--prune needs the files whose images stay", fix="moby lock --prune FILE.yml")
    before = Pins.read(path)
    if before.absent and not files:
        raise ConfigError("there is no such file", where=str(path), fix="make it: moby lock FILE.yml")
    store = Store(context.store)
    with store.in_use():
        used = _used(files, store, context) if files else list(map(Reference.parse, before.names()))
        after = before.changed(_asked(used, named, before, store, context, update=arguments.update))
    if arguments.prune:
        names = {name for each in used for name in each.names}
        after = after.changed({name: None for name in after.names() if name not in names})
    changes = before.changes(after)
    if changes:
        after.write(path)
    _show(changes, path, as_json=arguments.json)
    if not changes:
        left = "is not written" if before.absent else "stays as it is"
        needless = "nothing to lock, as components and names with a digest need no pin"
        log.info(f"{path}: nothing changed" if used else f"{needless}: {path} {left}")
    return 0


def split(words: Sequence[str]) -> tuple[list[str], list[Reference]]:
    """YAML files, and images. Raises ``ConfigError`` for a word that is neither."""
    files = [each for each in words if _is_file(each)]
    return files, [Reference.parse(each) for each in words if each not in files]


def _is_file(word: str) -> bool:
    return word == "-" or word.startswith(("http://", "https://")) or word.endswith((".yml", ".yaml"))


def _used(files: Sequence[str], store: Store, context: Context) -> list[Reference]:
    """The images of YAML files that need a pin, for this host's architecture as for any other."""
    config = decision.read(files, Components(context, store), context=context)
    target = Platform(os="linux", architecture=moby.architecture("").value)
    found = dict.fromkeys(reference for _, reference, _ in images(config, target))
    return [each for each in found if pins.needs_pin(each)]


def _asked(
    used: Sequence[Reference],
    named: Sequence[Reference],
    before: Pins,
    store: Store,
    context: Context,
    *,
    update: bool,
) -> dict[str, Pin | None]:
    """New pins for those that are to be asked for."""
    known = {str(each): each for each in used}
    for each in named:
        if str(each) not in known:
            raise ConfigError("no image of the files or the lock", where=str(each), fix="write it as it is there")
    wanted: Iterable[Reference] = [known[str(each)] for each in named] if named else used
    if not update:
        wanted = [each for each in used if before.get(each) is None]
    with Registry.connect(context) as registry:

        def locate(reference: Reference) -> Pin:
            with log.step(f"Looking up {reference}"):
                return Pin.of(*offered(reference, registry, store))

        return pins.find(wanted, locate)


def _show(changes: Sequence[Change], path: Path, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"lock": str(path), "changes": [_described(each) for each in changes]}, indent=2))
        return
    for each in changes:
        print(each.reference)
        before, after = _by_platform(each.before), _by_platform(each.after)
        for platform in sorted({*before, *after}):
            old, new = before.get(platform, "-"), after.get(platform, "-")
            if old != new:
                print(f"  {platform} {_short(old)} → {_short(new)}")


def _by_platform(pin: Pin | None) -> dict[str, str]:
    return {platform: str(digest) for platform, digest in pin.images} if pin is not None else {}


def _short(digest: str) -> str:
    algorithm, colon, digits = digest.partition(":")
    return f"{algorithm}{colon}{digits[:_SHORT]}"


def _described(change: Change) -> dict[str, object]:
    return {
        "reference": change.reference,
        "before": _pin(change.before),
        "after": _pin(change.after),
    }


def _pin(pin: Pin | None) -> dict[str, object] | None:
    return {"digest": str(pin.root), "images": _by_platform(pin)} if pin is not None else None
