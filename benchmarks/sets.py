"""The image sets that ``builds.py`` measures, made by our own components code.

From Debian packages where there is a mirror; with ``generated`` everything, kernel and init too, from text made here,
of the same sizes and numbers of files: no network is needed, and nothing boots.
"""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from moby.components import catalog
from moby.components.build import Components
from moby.context import Context
from moby.formats.compress import Codec, compressor
from moby.formats.entry import Entry, directory, file
from moby.formats.tar import write as write_tar
from moby.oci.manifest import OCI_LAYER_ZSTD, Platform
from moby.oci.store import Store
from moby.outputs.source import INITRD_LABEL, ROOT_LABEL, SQUASHFS_LABEL

MACHINE = """\
kernel: {image: "@pkg:kernel", cmdline: console=ttyS0 console=ttyAMA0 quiet}
init: ["@pkg:init", "@pkg:crun"]
services:
  - {name: dhcpcd, image: "@pkg:dhcpcd"}
  - {name: nginx, image: "@pkg:./page", binds: ["/etc/page:/usr/share/nginx/html:ro"]}
"""
GENERATED = """\
kernel: {image: "localhost/bench/kernel:1", cmdline: console=ttyS0}
init: ["localhost/bench/init:1"]
services:
  - {name: page, image: "@pkg:./page"}
"""
# What a component is where nothing comes from packages.
PAGE = """\
image: page
arches: [amd64]
command: ["/bin/true"]
files:
  - {path: etc/about, contents: "0"}
"""
NEVER = "org.mobyproject.moby.restart: never"
FILES = """\
files:
  - {path: etc/page/index.html, contents: "<h1>Hello 0</h1>", mode: "0644"}
"""
# What the copy of the web server's recipe has more: a file to change.
ABOUT = '  - {path: etc/about, contents: "0"}\n'
_STEMS = ("alpha", "beta", "gamma", "delta", "return", "class", "import")
_WORDS = tuple(f"{stem}{number}" for stem in _STEMS for number in range(300))


@dataclass(frozen=True, slots=True)
class Set:
    """Roots of further services: packages of each, and what to leave out; or megabytes and files to generate.

    ``text_only`` sets are generated even where the machine around them is not.
    """

    name: str
    packages: tuple[tuple[str, ...], ...]
    remove: tuple[str, ...] = ()
    generated: tuple[tuple[int, int], ...] = ()
    text_only: bool = False


SETS = {
    each.name: each
    for each in (
        Set("minimal", (("containerd",),), ("usr/bin/ctr", "usr/bin/containerd-stress"), ((75, 600),)),
        Set(
            "big",
            (("ansible", "git", "vim-runtime", "python3-django", "containerd"),),
            ("usr/bin/ctr", "usr/bin/containerd-stress"),
            ((530, 32000),),
        ),
    )
}


def many(count: int) -> Set:
    """``count`` services with an image each, all different."""
    names = (("busybox-static",), ("dropbear-bin",), ("jq",), ("zstd",), ("iproute2",))
    return Set(
        f"many{count}", tuple(names[index % len(names)] for index in range(count)), generated=((6, 120),) * count
    )


def sized(megabytes: int) -> Set:
    """One service whose image is so much text, in as many files whatever the size."""
    return Set(f"size{megabytes}", (), generated=((megabytes, 12_000),), text_only=True)


def named(name: str) -> Set:
    """A set by its name: one of ``SETS``, ``manyN`` or ``sizeN``. Raises ``SystemExit``."""
    for prefix, make in (("many", many), ("size", sized)):
        if name.startswith(prefix) and name.removeprefix(prefix).isdigit():
            return make(int(name.removeprefix(prefix)))
    if name not in SETS:
        raise SystemExit(f"no set {name!r}: {', '.join(SETS)}, manyN or sizeN")
    return SETS[name]


def write(chosen: Set, folder: Path, context: Context, *, generated: bool) -> Path:
    """The YAML file of a set, with its recipes (locks included) beside it, or its images in the store."""
    folder.mkdir(parents=True, exist_ok=True)
    if generated:
        (folder / "page").mkdir(exist_ok=True)
        (folder / "page/build.yml").write_text(PAGE)
        _machine(Store(context.store))
    else:
        shutil.copytree(catalog.directory("nginx"), folder / "page", dirs_exist_ok=True)
        build = (folder / "page/build.yml").read_text()
        (folder / "page/build.yml").write_text(build.replace("\nfiles:\n", f"\nfiles:\n{ABOUT}", 1))
    texts = generated or chosen.text_only
    images = list(_generated(chosen, context) if texts else _packaged(chosen, folder, context))
    services = "".join(
        f'  - {{name: root{index}, image: "{image}", command: ["/bin/true", "0"], annotations: {{{NEVER}}}}}\n'
        for index, image in enumerate(images)
    )
    yaml = folder / f"{chosen.name}.yml"
    yaml.write_text((GENERATED if generated else MACHINE) + services + FILES)
    return yaml


def recipe(folder: Path, text: str, context: Context) -> None:
    """A recipe with its lock, which is made once."""
    folder.mkdir(exist_ok=True)
    (folder / "build.yml").write_text(text)
    if not (folder / "lock").is_dir():
        Components(context, Store(context.store)).update([folder])


def _packaged(chosen: Set, folder: Path, context: Context) -> Iterator[str]:
    for index, packages in enumerate(chosen.packages):
        text = f"""\
            image: {chosen.name}-{index}
            arches: [amd64]
            packages: [{", ".join(packages)}]
            remove: [{", ".join(chosen.remove)}]
            files: [{{path: etc/number, contents: "{index}"}}]
            """
        recipe(folder / f"{chosen.name}-{index}", dedent(text), context)
        yield f"@pkg:./{chosen.name}-{index}"


def _generated(chosen: Set, context: Context) -> Iterator[str]:
    store = Store(context.store)
    for index, (megabytes, files) in enumerate(chosen.generated):
        name = f"localhost/bench/{chosen.name}-{index}:1"
        _put(store, name, _texts(random.Random(index), megabytes, files))
        yield name


def _machine(store: Store) -> None:
    """A kernel and an init that say they take everything, so that builds go the way they go with ours."""
    modules = io.BytesIO()
    write_tar((file(f"lib/modules/{number}.ko", bytes([number]) * 10_000) for number in range(100)), modules)
    kernel = (file("kernel", b"kernel" * 1_000_000), file("kernel.tar", modules.getvalue()))
    _put(store, "localhost/bench/kernel:1", kernel, {INITRD_LABEL: "zstd,gzip", SQUASHFS_LABEL: "zstd,gzip"})
    _put(store, "localhost/bench/init:1", (file("init", b"init" * 10_000),), {ROOT_LABEL: "tree,images"})


def _put(store: Store, name: str, entries: Iterable[Entry], labels: Mapping[str, str] | None = None) -> None:
    """An image of one layer."""
    config = {"architecture": "amd64", "os": "linux", "rootfs": {}, "config": {"Labels": dict(labels or {})}}
    with store.writer(media_type=OCI_LAYER_ZSTD) as blob:
        with compressor(Codec.ZSTD, blob) as packed:  # type: ignore[arg-type]  # a blob is written to, no more
            write_tar(entries, packed)
        layer = blob.commit()
    platform = Platform(os="linux", architecture="amd64")
    store.put_image(name, json.dumps(config).encode(), [layer], platform)


def _texts(source: random.Random, megabytes: int, files: int) -> Iterator[Entry]:
    """Files of words, of sizes as in real roots: many small ones, few large ones."""
    block = " ".join(source.choices(_WORDS, k=200_000)).encode()
    weights = [source.paretovariate(0.8) for _ in range(files)]
    scale = megabytes * 1e6 / sum(weights)
    for number, weight in enumerate(weights):
        if number % 100 == 0:
            yield directory(f"d{number // 100:04}")
        start, size = source.randrange(len(block) // 2), max(1, int(weight * scale))
        data = (block[start:] * (1 + size // (len(block) - start)))[:size]
        yield file(f"d{number // 100:04}/file{number}.txt", data)
