"""Components with a ``Dockerfile``: built by buildah, docker or buildctl, whichever is there, then put into the store.

All three can write an OCI archive. It is somebody else's output like any other: blobs are checked on their way in.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from moby import proc
from moby.components import labels
from moby.components.recipe import Recipe
from moby.errors import ConfigError, IntegrityError, PlatformError
from moby.formats import tar
from moby.formats.entry import Kind
from moby.oci.image import Image
from moby.oci.manifest import MAX_CONFIG_BYTES, OCI_MANIFEST, Descriptor, Manifest, Platform
from moby.oci.reference import Reference
from moby.oci.store import Store

_TIMEOUT_S = 3600.0
_CHUNK_BYTES = 1 << 20
_FIX = "install buildah (needs no daemon), docker or buildctl"


def build(recipe: Recipe, platform: Platform, store: Store, *, scratch: Path, environment: Mapping[str, str]) -> Image:
    """The image of a Dockerfile recipe, in ``store`` under the component's name.

    Raises ``PlatformError`` when no builder is installed, ``CommandError`` when it fails, ``ConfigError`` for keys of
    LinuxKit's builder that need one of its own.
    """
    if recipe.spec.extra_sources or recipe.spec.depends:
        fix = "copy what it needs into the recipe directory"
        raise ConfigError("extra-sources and depends are not supported", where=recipe.where, fix=fix)
    tool = next((name for name in COMMANDS if shutil.which(name, path=environment.get("PATH"))), None)
    if tool is None:
        raise PlatformError(f"{recipe.name} has a Dockerfile, and there is no program to build it", fix=_FIX)
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        archive = Path(directory, "image.tar")
        for argv in COMMANDS[tool](recipe, platform, archive):
            proc.run(argv, timeout_s=_TIMEOUT_S)
        layout = Path(directory, "layout")
        _unpack(archive, layout)
        return _adopt(layout, store, recipe, platform)


def buildah(recipe: Recipe, platform: Platform, archive: Path) -> list[list[str]]:
    """Two commands: build, and write the archive."""
    name = f"localhost/moby-build/{recipe.name}:{platform.architecture}"
    options = [*_options(recipe, platform), "--format", "oci", "--tag", name]
    if not recipe.spec.network:
        options += ["--network", "none"]
    return [
        ["buildah", "build", *options, *_context(recipe)],
        ["buildah", "push", name, f"oci-archive:{archive}"],
    ]


def docker(recipe: Recipe, platform: Platform, archive: Path) -> list[list[str]]:
    """One command, through buildx."""
    network = "default" if recipe.spec.network else "none"
    options = [*_options(recipe, platform), "--network", network, "--provenance=false"]
    return [["docker", "buildx", "build", *options, "--output", f"type=oci,dest={archive}", *_context(recipe)]]


def buildctl(recipe: Recipe, platform: Platform, archive: Path) -> list[list[str]]:
    """One command, to a running buildkitd."""
    directory = str(recipe.directory)
    options = [f"platform={platform}", f"filename={_dockerfile(recipe)}"]
    options += [f"build-arg:{argument}" for argument in recipe.spec.build_args]
    options += [f"label:{key}={value}" for key, value in sorted(labels.of(recipe).items())]
    options += [] if recipe.spec.network else ["force-network-mode=none"]
    options += ["no-cache="] if recipe.spec.disable_cache else []
    words = [word for option in options for word in ("--opt", option)]
    local = ["--local", f"context={directory}", "--local", f"dockerfile={directory}"]
    frontend = ["buildctl", "build", "--frontend", "dockerfile.v0"]
    return [[*frontend, *local, *words, "--output", f"type=oci,dest={archive}"]]


COMMANDS = {"buildah": buildah, "docker": docker, "buildctl": buildctl}


def _dockerfile(recipe: Recipe) -> str:
    return recipe.spec.dockerfile or "Dockerfile"


def _options(recipe: Recipe, platform: Platform) -> list[str]:
    options = ["--platform", str(platform)]
    options += [word for argument in recipe.spec.build_args for word in ("--build-arg", argument)]
    options += [word for key, value in sorted(labels.of(recipe).items()) for word in ("--label", f"{key}={value}")]
    return [*options, "--no-cache"] if recipe.spec.disable_cache else options


def _context(recipe: Recipe) -> Sequence[str]:
    return ("--file", str(recipe.directory / _dockerfile(recipe)), str(recipe.directory))


def _unpack(archive: Path, layout: Path) -> None:
    """The files of an OCI archive. Raises ``IntegrityError`` for anything but files and directories."""
    with archive.open("rb") as stream:
        for entry in tar.read(stream, where=archive.name):
            path = layout / entry.path
            if entry.kind is Kind.DIRECTORY:
                path.mkdir(parents=True, exist_ok=True)
                continue
            if entry.kind is not Kind.FILE:
                raise IntegrityError("not a file", where=f"{archive.name}: {entry.path}")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                if isinstance(entry.data, bytes):
                    file.write(entry.data)
                else:
                    shutil.copyfileobj(entry.data, file, _CHUNK_BYTES)


def _adopt(layout: Path, store: Store, recipe: Recipe, platform: Platform) -> Image:
    """Copy the layout's only image into ``store``, every blob checked, under the component's name."""
    source = Store(layout)
    try:
        listed = json.loads((layout / "index.json").read_bytes())["manifests"]
        digest = listed[0]["digest"]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise IntegrityError("the builder wrote no OCI image", where=recipe.name) from error
    image = source.find(Reference.parse(f"localhost/moby-build/{recipe.name}@{digest}"), platform)
    if image is None or not platform.accepts(image.platform):
        raise IntegrityError(f"the builder wrote no image for {platform}", where=recipe.name)
    for layer in image.layers:
        with source.open_blob(layer.digest) as stream:
            store.ingest(stream, layer)
    manifest = source.read_manifest(Descriptor(media_type=OCI_MANIFEST, digest=image.digest, size=0))
    assert isinstance(manifest, Manifest)  # an image's digest is its manifest's
    # As it was written: it may say more than we model.
    config = source.read_blob(manifest.config.digest, MAX_CONFIG_BYTES)
    return store.put_image(recipe.reference, config, image.layers, platform)
