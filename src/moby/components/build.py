"""Components: recipes → images in the store, named ``localhost/moby/NAME:HASH``.

An image has one layer: sorted entries, one time stamp, owners as declared, zstd. Host, user, umask and time have no
part in it, so the same recipe and locks give the same digest everywhere.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

from moby import log
from moby.artifact import Architecture
from moby.components import catalog, labels
from moby.components.attest import attest
from moby.components.model import Program
from moby.components.packages import Packages
from moby.components.recipe import Recipe
from moby.components.tools import Tools
from moby.context import Context
from moby.errors import ConfigError
from moby.formats import compress, tar
from moby.formats.entry import Entry
from moby.oci.digest import Digest
from moby.oci.image import Image
from moby.oci.manifest import OCI_LAYER_ZSTD, Descriptor, ImageConfig, Platform
from moby.oci.reference import Reference
from moby.oci.store import Store

# Every entry's time: the day the project became public. Roots get the same one.
MTIME_S = 1492533000
_CREATED = "2017-04-18T16:30:00Z"
_PREFIX = "localhost/moby/"


class Components:
    """Builds and finds component images. ``locked`` fails where a lock would have to be made anew."""

    def __init__(self, context: Context, store: Store, *, locked: bool = False, force: bool = False) -> None:
        self._context = context
        self._store = store
        self._force = force
        self._packages = Packages(context, locked=locked)
        self.tools = Tools(context, self._packages)
        self._known: dict[str, Recipe] = {}

    def recipe(self, name: str, base: Path | None = None) -> Recipe:
        """The recipe that ``name`` means (see ``catalog.directory``), with its compiler in its hash.

        Raises ``ConfigError``.
        """
        recipe = Recipe.load(catalog.directory(name, base))
        if recipe.spec.compile:
            recipe = replace(recipe, compiler=self.tools.compiler_id())
        return recipe

    def reference(self, name: str, base: Path | None = None) -> Reference:
        """The image name of a component, without building it."""
        recipe = self._packages.cached(self.recipe(name, base))
        self._known[recipe.reference] = recipe
        return Reference.parse(recipe.reference)

    def foresee(self, reference: Reference, platform: Platform) -> Image | None:
        """What ``resolve`` will give, without layers, when it has to build it; None when it has not."""
        recipe = self._known.get(reference.expanded)
        if recipe is None or self._store.find(reference, platform) is not None:
            return None
        digest = Digest.of(reference.expanded.encode())
        config = _config(recipe, _architecture(recipe, platform), digest)
        return Image(reference=reference, digest=digest, platform=platform, config=config, layers=())

    def resolve(self, reference: Reference, platform: Platform) -> Image | None:
        """The image of a reference that ``reference()`` gave, built when the store lacks it; None for any other."""
        if not reference.expanded.startswith(_PREFIX):
            return None
        recipe = self._known.get(reference.expanded)
        return self._store.find(reference, platform) if recipe is None else self.image(recipe, platform)

    def image(self, recipe: Recipe, platform: Platform) -> Image:
        """The image of ``recipe`` for ``platform``, from the store or built now.

        Raises ``ConfigError`` when the recipe is not for this architecture or asks for what is not there.
        """
        architecture = _architecture(recipe, platform)
        if not recipe.by_dockerfile:
            recipe = self._packages.settle(recipe, architecture)
        with self._alone(recipe, architecture):
            found = None if self._force else self._store.find(Reference.parse(recipe.reference), platform)
            if found is not None:
                self._attest(found, recipe, architecture)
                return found
            with log.step(f"Building {recipe.name} for {architecture}"):
                if recipe.by_dockerfile:
                    from moby.components import docker

                    scratch = self._context.work / "tmp"
                    environment = self._context.environment
                    return docker.build(recipe, platform, self._store, scratch=scratch, environment=environment)
                return self._build(recipe, architecture, platform)

    def update(self, directories: Sequence[Path], architectures: Sequence[Architecture] = ()) -> list[Path]:
        """Resolve anew and write the locks of these recipes; the paths of those that changed."""
        changed = []
        for directory in directories:
            recipe = Recipe.load(directory)
            for architecture in architectures or recipe.architectures:
                for target in recipe.targets:
                    if self._packages.update(recipe, architecture, target):
                        changed.append(recipe.lock_path(architecture, target))
        return changed

    def _build(self, recipe: Recipe, architecture: Architecture, platform: Platform) -> Image:
        from moby.components.assemble import Assembly  # slow to import, and most components are there
        from moby.components.tree import Tree

        recipe, lock, debs = self._packages.fetch(recipe, architecture)
        scratch = self._context.work / "tmp"
        assembly = Assembly(
            recipe=recipe,
            architecture=architecture,
            lock=lock,
            debs=debs,
            scratch=scratch,
            compile_program=lambda _, wanted: self._compile(recipe, wanted, architecture),
        )
        with Tree(scratch) as tree:
            tags = assembly.fill(tree)
            layer, diff_id = self._layer(tree.entries())
        config = _config(recipe, architecture, diff_id).encode()
        image = self._store.put_image(recipe.reference, config, [layer], platform)
        names = tuple(f"{_PREFIX}{recipe.name}:{tag}" for tag in dict.fromkeys((*tags, *recipe.spec.tags)))
        for name in names:
            self._store.put_image(name, config, [layer], platform)
        attest(self._store, image, recipe, lock, names)
        return image

    def _attest(self, found: Image, recipe: Recipe, architecture: Architecture) -> None:
        """An image of another builder's store, or of an earlier version of this one, may lack its SBOM."""
        if not recipe.by_dockerfile:
            attest(self._store, found, recipe, recipe.lock(architecture))

    def _compile(self, recipe: Recipe, wanted: Program, architecture: Architecture) -> Entry:
        from moby.components import compile

        return compile.program(recipe, wanted, self.tools.compiler(architecture))

    def _layer(self, entries: Iterator[Entry]) -> tuple[Descriptor, Digest]:
        """Write the layer into the store; its descriptor and the digest of its tar."""
        with self._store.writer(media_type=OCI_LAYER_ZSTD) as blob:
            with compress.compressor(compress.Codec.ZSTD, cast(BinaryIO, blob)) as packed:
                hashing = _Hashing(packed)
                dated = (replace(entry, mtime_s=MTIME_S) for entry in entries)
                tar.write(dated, cast(BinaryIO, hashing), count_links=True)
            return blob.commit(), Digest(algorithm="sha256", hex=hashing.sha256.hexdigest())

    @contextmanager
    def _alone(self, recipe: Recipe, architecture: Architecture) -> Iterator[None]:
        """One build of the same thing at a time, over processes."""
        locks = self._context.work / "building"
        locks.mkdir(parents=True, exist_ok=True)
        with (locks / f"{recipe.name}-{recipe.hash}-{architecture}").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class _Hashing:
    """Passes writes on and hashes them."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._out.write(data)


def _architecture(recipe: Recipe, platform: Platform) -> Architecture:
    if platform.os != "linux" or platform.architecture not in recipe.architectures:
        offered = ", ".join(recipe.architectures)
        raise ConfigError(f"{recipe.name} is not made for {platform}", where=recipe.where, fix=f"it is for {offered}")
    return Architecture(platform.architecture)


def _config(recipe: Recipe, architecture: Architecture, diff_id: Digest) -> ImageConfig:
    """The image's configuration: what the recipe says and nothing of this host."""
    spec = recipe.spec
    return ImageConfig(
        architecture=str(architecture),
        os="linux",
        created=_CREATED,
        entrypoint=spec.entrypoint,
        cmd=spec.command,
        env=spec.env,
        working_dir=spec.cwd or None,
        labels=labels.of(recipe) or None,
        diff_ids=(diff_id,),
    )
