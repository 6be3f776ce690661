"""``moby cache``: the image store, as LinuxKit's command of this name, and what that lacks."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from moby.context import Context
from moby.oci.form import Form
from moby.oci.store import Store

EPILOG = """\
examples:
  moby cache ls                                      every image of the store, and what its name means
  moby cache pull --platform all nginx:1.27          all its platforms, not only this host's
  moby cache export --outfile web.tar org/web:1      for a host without a network: moby cache import web.tar
  moby cache push --remote-name ghcr.io/me/web:1 org/web:1
  moby cache push --sign cosign.key ghcr.io/me/web:1 and sign it, for builds with trust: keys
  moby cache gc --limit 20G                          unused blobs, then the images used least recently
  MOBY_CACHE_LIMIT=20G moby build web.yml            the same after each build"""
VERBS: Mapping[str, str] = {
    "ls": "list the images",
    "rm": "remove images, and the blobs that no other image needs",
    "clean": "remove everything",
    "gc": "remove what no image needs, and images beyond a size",
    "import": "take images from a file or a directory",
    "export": "write images to a file",
    "pull": "fetch images from their registries",
    "push": "push images to a registry",
    "verify": "compare every blob with its digest",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby cache``."""
    from moby.cli.main import add_global_options

    parser.description = "The image store: what is in it, and how it gets in and out."
    parser.epilog = EPILOG
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="|".join(VERBS))
    for verb, text in VERBS.items():
        each = verbs.add_parser(verb, help=text, description=text)
        _ARGUMENTS[verb](each)
        each.add_argument("--json", action="store_true", help="print the result as JSON")
        add_global_options(each)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Do what the verb says and return the exit status; results go to stdout."""
    module, function = _VERBS[arguments.verb]
    verb: Callable[[argparse.Namespace, Context, Store], int] = getattr(import_module(module), function)
    return verb(arguments, context, Store(context.store))


def _names(parser: argparse.ArgumentParser, *, least: str = "+") -> None:
    parser.add_argument("names", nargs=least, metavar="NAME", help="image, as moby cache ls shows it or shorter")


def _published(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--published-only", action="store_true", help="only what its registry has just the same")


def _rm_arguments(parser: argparse.ArgumentParser) -> None:
    _names(parser)
    _published(parser)


def _gc_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", default="", metavar="SIZE", help="also images, until it is 20G (MOBY_CACHE_LIMIT)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", help="tar of an OCI layout or of docker save, a layout's directory, or -"
    )
    parser.add_argument("--name", default="", help="name of its only image")


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    _names(parser)
    parser.add_argument("--outfile", "-o", required=True, metavar="FILE", help="where to; - is stdout")
    parser.add_argument("--platform", default="", metavar="OS/ARCH|all", help="default: linux on this host's")
    parser.add_argument("--format", choices=[*Form], default="oci", help="default: oci")
    parser.add_argument("--name", default="", help="name in the file (default: the image's)")


def _pull_arguments(parser: argparse.ArgumentParser) -> None:
    _names(parser)
    parser.add_argument(
        "--platform",
        action="append",
        default=[],
        metavar="OS/ARCH|all",
        help="default: linux on this host's; repeatable",
    )


def _push_arguments(parser: argparse.ArgumentParser) -> None:
    _names(parser)
    parser.add_argument("--remote-name", default="", help="what the registry shall call it (default: its own name)")
    parser.add_argument("--with-arch-tags", action="store_true", help="also a tag TAG-ARCH for each architecture")
    parser.add_argument("--override", action="store_true", help="replace another image of the same name")
    parser.add_argument(
        "--sign", type=Path, metavar="KEY", help="sign it with this private key, cosign's or PKCS#8 (MOBY_KEY_PASSWORD)"
    )


def _verify_arguments(parser: argparse.ArgumentParser) -> None:
    _names(parser, least="*")
    parser.add_argument("--repair", action="store_true", help="delete damaged blobs, so that they are fetched again")


_ARGUMENTS: Mapping[str, Callable[[argparse.ArgumentParser], None]] = {
    "ls": lambda parser: None,
    "rm": _rm_arguments,
    "clean": _published,
    "gc": _gc_arguments,
    "import": _import_arguments,
    "export": _export_arguments,
    "pull": _pull_arguments,
    "push": _push_arguments,
    "verify": _verify_arguments,
}


# Module and function of each verb, imported when it is asked for.
_VERBS: Mapping[str, tuple[str, str]] = {
    "ls": ("moby.cli.cache_images", "ls"),
    "rm": ("moby.cli.cache_images", "rm"),
    "clean": ("moby.cli.cache_images", "clean"),
    "gc": ("moby.cli.cache_images", "gc"),
    "import": ("moby.cli.cache_transfer", "import_images"),
    "export": ("moby.cli.cache_transfer", "export_images"),
    "pull": ("moby.cli.cache_pull", "pull"),
    "push": ("moby.cli.cache_transfer", "push"),
    "verify": ("moby.cli.cache_images", "verify_images"),
}
