"""``moby build``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import moby
from moby import log, timing, unchanged
from moby.artifact import Artifact
from moby.cli.parser import Parser
from moby.context import Context
from moby.errors import ConfigError

_NOT_ABOUT_OUTPUTS = frozenset(("json", "timings", "quiet", "verbose", "progress"))
EXAMPLES = """\
examples:
  moby build linux.yml                         kernel+initrd beside you, named after the file
  moby build -f tar -o - linux.yml | tar t     the root file system as a stream
  moby build --name web --dir out base.yml web.yml   two files merged, in order
  moby build --dry-run base.yml web.yml        the merged file, nothing built

formats:
"""


def listed_formats() -> str:
    """All formats, one a line."""
    from moby.outputs import FORMATS

    width = max(map(len, FORMATS))
    return "".join(f"  {name:<{width}}  {FORMATS[name].description}\n" for name in sorted(FORMATS))


def configure(parser: Parser) -> None:
    """Arguments of ``moby build``; every long option is also taken with one dash."""
    parser.description = "Build bootable images from YAML files, merged in order; - reads stdin."
    parser.epilog = EXAMPLES
    parser.details = listed_formats
    parser.add_argument("files", nargs="+", metavar="FILE.yml", help="path, http(s) URL, or -")
    parser.add_argument("--name", "-name", default="", help="base name of the outputs (default: the last file's)")
    parser.add_argument("--dir", "-dir", type=Path, default=Path(), help="where the outputs go (default: here)")
    parser.add_argument("-o", "--o", "--output", "-output", default="", metavar="FILE", help="one file; - is stdout")
    parser.add_argument(
        "-f",
        "--format",
        "-format",
        action="append",
        default=[],
        metavar="F[,F]",
        help="formats (default kernel+initrd)",
    )
    add_image_options(parser)
    parser.add_argument(
        "--input-tar",
        "-input-tar",
        type=Path,
        metavar="TAR",
        help="accepted for compatibility and not read: unchanged parts come from the cache",
    )
    parser.add_argument(
        "--provenance",
        action="store_true",
        help="write NAME.provenance.json: an in-toto statement of how it was made (SLSA provenance)",
    )
    parser.add_argument(
        "--dry-run", "-dry-run", action="store_true", help="print the merged YAML and stop; with --json the whole plan"
    )
    parser.add_argument("--timings", action="store_true", help="say where the time went; with --json in the result")
    parser.add_argument("--json", action="store_true", help="print the artifacts as JSON")


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Options that decide what is in an image, whatever its name."""
    parser.add_argument("--arch", "-arch", default="", help="target architecture (default: this host's)")
    parser.add_argument(
        "--pull", "-pull", action="store_true", help="ask the registry even when the store has the image"
    )
    parser.add_argument(
        "--docker", "-docker", action="store_true", help="ask this host's Docker or Podman engine first"
    )
    parser.add_argument(
        "--locked",
        action="store_true",
        help="refuse images that moby.lock does not pin; components and names with a digest need no pin",
    )
    parser.add_argument("--lock", type=Path, metavar="FILE", help="default: moby.lock beside the last file, if any")
    parser.add_argument(
        "--size", "-size", default="", metavar="N[M|G]", help="least size of disks (default: what they need)"
    )
    parser.add_argument(
        "--policy", choices=("require", "warn"), default="", help="what to do about images without a good signature"
    )
    parser.add_argument(
        "--key", action="append", default=[], metavar="FILE", help="public key (cosign.pub) that images are signed with"
    )
    parser.add_argument(
        "--root",
        choices=("tree", "images", "squashfs", "erofs"),
        default="",
        help="how the root lies: in RAM unpacked (tree) or with containers as images; on disks as a file system",
    )
    parser.add_argument("--verity", action="store_true", help="have the kernel check a root on a disk (dm-verity)")
    parser.add_argument("--sign-key", type=Path, metavar="PEM", help="sign EFI programs with this key")
    parser.add_argument("--sign-cert", type=Path, metavar="PEM", help="the certificate of --sign-key")
    parser.add_argument("--decompress-kernel", action="store_true", help="write the kernel unpacked")
    add_sbom_options(parser)


def image_options(arguments: argparse.Namespace) -> moby.BuildOptions:
    """The options of ``add_image_options``. Raises ``ConfigError``."""
    return moby.BuildOptions(
        architecture=arguments.arch,
        pull=arguments.pull,
        docker=arguments.docker,
        lock=arguments.lock,
        locked=arguments.locked,
        decompress_kernel=arguments.decompress_kernel,
        size=arguments.size,
        root=arguments.root,
        verity=arguments.verity,
        sign_key=arguments.sign_key,
        sign_certificate=arguments.sign_cert,
        sbom=sbom_path(arguments),
        sbom_current_time=arguments.sbom_current_time,
        keys=tuple(arguments.key),
        policy=arguments.policy,
    )


def add_sbom_options(parser: argparse.ArgumentParser) -> None:
    """Options about the SBOM in the image."""
    parser.add_argument("--no-sbom", "-no-sbom", action="store_true", help="write no SBOM into the image")
    parser.add_argument(
        "--sbom-output",
        "-sbom-output",
        default="sbom.spdx.json",
        metavar="PATH",
        help="where in the image the SBOM is (default: %(default)s)",
    )
    parser.add_argument(
        "--sbom-current-time",
        "-sbom-current-time",
        action="store_true",
        help="let the SBOM say the time of the build (or SOURCE_DATE_EPOCH) instead of a fixed one",
    )


def sbom_path(arguments: argparse.Namespace) -> str:
    """Where the image has its SBOM, ``""`` for none. Raises ``ConfigError``."""
    if arguments.no_sbom:
        return ""
    if not arguments.sbom_output:
        raise ConfigError("a file name must be given", where="--sbom-output", fix="--no-sbom leaves the SBOM out")
    return str(arguments.sbom_output)


def describe(artifact: Artifact) -> dict[str, object]:
    """An artifact as plain data, for ``--json``."""
    return {
        "name": artifact.name,
        "format": artifact.format,
        "architecture": artifact.architecture.value,
        "firmware": artifact.firmware.value,
        "files": {role: str(path) for role, path in artifact.files},
        "size_bytes": artifact.size_bytes,
        "root_bytes": artifact.root_bytes,
    }


def dry_run(
    arguments: argparse.Namespace, formats: tuple[str, ...], options: moby.BuildOptions, context: Context
) -> None:
    """Print what would be built: the merged YAML, or the plan.

    The plan takes the configurations of images, not their layers; components are built for it.
    """
    from moby import decision, metadata, outputs
    from moby.components.build import Components
    from moby.evidence.planned import plan_form
    from moby.oci.store import Store

    target = moby.architecture(arguments.arch)
    outputs.check(formats=formats, name="" if arguments.o else "x", output=arguments.o or None, architecture=target)
    store = Store(context.store, verified=context.verified)
    if arguments.json:
        plan = decision.decide(arguments.files, store, context=context, options=options, layers=False)
        print(json.dumps(plan_form(plan), indent=2, ensure_ascii=False))
        return
    found = decision.draft(arguments.files, Components(context, store), context=context)
    if not formats and not arguments.o:
        found = decision.with_formats(found)
    print(metadata.dry_run(found.checked()))


def formats_of(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The formats asked for."""
    return tuple(name for given in arguments.format for name in given.split(",") if name)


def check_input_tar(arguments: argparse.Namespace) -> None:
    """Refuse what the original refuses. The tar is not read: the cache has the parts of all earlier builds."""
    tar: Path | None = arguments.input_tar
    if tar is None:
        return
    if arguments.pull:
        raise ConfigError("it cannot be used together with --pull", where="--input-tar", fix="leave out one of them")
    if arguments.o and Path(arguments.o) == tar:
        raise ConfigError(f"{tar} is the output, too", where="--input-tar", fix="give another -o")
    if not tar.is_file():
        raise ConfigError(f"there is no file {tar}", where="--input-tar", fix="it can be left out")


def options_of(arguments: argparse.Namespace) -> moby.BuildOptions:
    """The options that the arguments mean. Raises ``ConfigError``."""
    check_input_tar(arguments)
    return replace(image_options(arguments), provenance=arguments.provenance)


def build(arguments: argparse.Namespace, context: Context) -> tuple[Artifact, ...]:
    """Build, unless the same words built what is there and nothing was touched since."""
    asked = {name: value for name, value in vars(arguments).items() if name not in _NOT_ABOUT_OUTPUTS}
    note = unchanged.Note(context.work / "outputs", ["build", asked], context.environment)
    with timing.stage("look"):
        artifacts = None if arguments.o == "-" else note.find()
    if artifacts is not None:
        log.info("nothing changed: the outputs stay as they are")
        return artifacts
    with unchanged.collecting() as inputs:
        artifacts = moby.build(
            arguments.files,
            formats=formats_of(arguments),
            name=arguments.name,
            directory=arguments.dir,
            output=arguments.o,
            options=options_of(arguments),
            stdout=sys.stdout.buffer,
            context=context,
        )
    note.write(inputs, artifacts)
    return artifacts


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Build and print the paths made, one a line."""
    if arguments.dry_run:
        dry_run(arguments, formats_of(arguments), options_of(arguments), context)
        return 0
    with timing.collecting() as rows:
        artifacts = build(arguments, context)
    if arguments.timings and not arguments.json:
        print(timing.table(rows), file=sys.stderr)
    if arguments.o == "-":
        return 0
    beside = provenance_path(arguments)
    if arguments.json:
        told: dict[str, object] = {"provenance": str(beside)} if beside else {}
        told |= {"timings": [asdict(row) for row in rows]} if arguments.timings else {}
        print(json.dumps({"artifacts": [describe(artifact) for artifact in artifacts], **told}, indent=2))
        return 0
    paths = [path for artifact in artifacts for _, path in artifact.files]
    for path in [*paths, *([beside] if beside else [])]:
        print(path)
    return 0


def provenance_path(arguments: argparse.Namespace) -> Path | None:
    """Where the provenance is that was asked for."""
    if not arguments.provenance:
        return None
    from moby import api, outputs

    name = arguments.name or outputs.default_name(arguments.files[-1])
    return api.provenance_path(name=name, directory=arguments.dir, output=arguments.o)
