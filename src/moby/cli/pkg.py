"""``moby pkg``: components from Debian packages."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import moby
from moby.artifact import Architecture
from moby.components.build import Components
from moby.components.recipe import Recipe
from moby.context import Context
from moby.oci import usage
from moby.oci.manifest import Platform
from moby.oci.store import Store

EPILOG = """\
examples:
  moby pkg build pkg/sshd           build the component in that directory
  moby pkg build nginx              build a shipped one
  moby pkg update pkg/sshd          write lock/ARCH.lock anew from the mirror's index (needs apt)
  moby pkg show-tag pkg/sshd        print the image name without building"""
VERBS = {
    "build": "build components into the store",
    "update": "resolve packages again and write the locks",
    "show-tag": "print the image name of components",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby pkg``."""
    parser.description = "Build component images from Debian packages; no Docker, no root."
    parser.epilog = EPILOG
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="|".join(VERBS))
    for verb, text in VERBS.items():
        each = verbs.add_parser(verb, help=text, description=text)
        each.add_argument(
            "recipes", nargs="+", metavar="DIR|NAME", help="a directory with build.yml, or a shipped name"
        )
        each.add_argument("--arch", action="append", default=[], help="only this architecture (repeatable)")
        if verb == "build":
            each.add_argument("--force", action="store_true", help="build even when the store has it")
            each.add_argument("--locked", action="store_true", help="fail where a lock would have to change")
            each.add_argument("--json", action="store_true", help="print what was built as JSON")


def name_of(word: str) -> str:
    """A directory becomes a path the catalog knows, a bare word stays a shipped name."""
    return str(Path(word).resolve()) if "/" in word or Path(word, "build.yml").is_file() else word


def wanted(arguments: argparse.Namespace, recipe: Recipe) -> tuple[Architecture, ...]:
    """The architectures asked for: for ``build`` this host's, else all the recipe has."""
    if arguments.arch:
        return tuple(map(moby.architecture, arguments.arch))
    return (moby.architecture(""),) if arguments.verb == "build" else recipe.architectures


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Do it for each recipe; results on stdout."""
    force, locked = getattr(arguments, "force", False), getattr(arguments, "locked", False)
    store = Store(context.store, verified=context.verified)
    components = Components(context, store, locked=locked, force=force)
    made: list[dict[str, str]] = []
    for word in arguments.recipes:
        name = name_of(word)
        recipe = components.recipe(name)
        if arguments.verb == "show-tag":
            print(components.reference(name))
        elif arguments.verb == "update":
            for path in components.update([recipe.directory], wanted(arguments, recipe)):
                print(path)
        else:
            for architecture in wanted(arguments, recipe):
                with usage.using(store, context.environment):
                    image = components.image(recipe, Platform(os="linux", architecture=architecture.value))
                made.append({"image": str(image.reference), "digest": str(image.digest), "architecture": architecture})
    if arguments.verb == "build":
        for each in made:
            print(json.dumps(each) if arguments.json else each["image"])
    return 0
