"""Random machines, unpacked, are what a model of the original tool makes of them.

The model is written from what is known of the original's archive, entry by entry with all its repetitions, and shares
nothing with the code. Machines stay clear of what differs on purpose: opaque whiteouts, one path twice in a layer,
directories over links.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from moby.formats import cpio
from moby.outputs import write
from moby.plan import Plan
from tests.support import images
from tests.support.images import Content, MadeImage, image
from tests.support.roots import root
from tests.support.tree import Node, unpack

FIXED = 1492533000
HOSTS = (
    "127.0.0.1       localhost\n::1     localhost ip6-localhost ip6-loopback\nfe00::0 ip6-localnet\n"
    "ff00::0 ip6-mcastprefix\nff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n"
)
NO_RESOLVER = "\n# no resolv.conf configured\n"
DROPPED = (".dockerenv", "Dockerfile", "dev/console", "dev/pts", "dev/shm", "etc/hostname")

# Every name has one kind in all images, and its parents are always there.
DIRECTORIES = ("d", "d/e", "dev", "dev/pts", "dev/shm", "etc", "lib", "lib/apk", "lib/apk/db", "proc", "sys")
FILES = ("f", "d/f", "d/e/f", *DROPPED[:3], "etc/hostname", "etc/hosts", "etc/resolv.conf", "lib/apk/db/installed")
LINKS = ("l", "d/l", "etc/mtab")

Layer = dict[str, Content]
Tree = dict[str, Node]

KERNEL: Layer = {"kernel": "K", "kernel.tar": images.tar({"lib/": "", "lib/mod": "m"})}


class Machine(NamedTuple):
    """What to build: layers of the images ``init``, ``runc`` and ``work``, and the rest of the YAML."""

    layers: Mapping[str, Sequence[Layer]]
    kernel: Layer | None
    init: Sequence[str]
    sections: Mapping[str, Sequence[tuple[str, bool]]]
    volume: str | None
    files: Sequence[Mapping[str, object]]


def members(name: str) -> st.SearchStrategy[Content]:
    numbers = st.sampled_from((0, 7, 1000))
    times = st.sampled_from((1, images.MTIME_S))
    if name in DIRECTORIES:
        return st.builds(images.directory, st.sampled_from((0o700, 0o755, 0o1777)), uid=numbers, gid=numbers)
    if name in LINKS:
        return st.sampled_from(("f", "/d/f", "../x")).map(images.symlink)
    made = st.builds(images.Node, data=st.sampled_from((b"", b"1", b"two")), mode=st.sampled_from((0o600, 0o4755)))
    return st.builds(lambda node, uid, time: replace(node, uid=uid, mtime=time), made, numbers, times)


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    made: Layer = {}
    for name in draw(st.lists(st.sampled_from(DIRECTORIES + FILES + LINKS), max_size=8, unique=True)):
        parts = name.split("/")
        for count in range(1, len(parts)):
            made.setdefault("/".join(parts[:count]), draw(members("/".join(parts[:count]))))
        made[name] = draw(members(name))
    for name in draw(st.lists(st.sampled_from(FILES + LINKS), max_size=1)):
        above, _, last = name.rpartition("/")
        if name not in made:
            made[f"{above}/.wh.{last}" if above else f".wh.{last}"] = ""
    return made


FILE = st.fixed_dictionaries(
    {"path": st.sampled_from(("n", "/n", "d/n", "d/f", "new/a/b", "etc/n", "srv//./x"))},
    optional={
        "mode": st.sampled_from(("0644", "0640", "4755", "0")),
        "uid": st.sampled_from((3, "a", "root")),
        "gid": st.just("s"),
    },
)
KINDS = st.sampled_from(({"contents": "text"}, {"contents": ""}, {"symlink": "../t"}, {"directory": True}))


def files(draw: st.DrawFn) -> list[dict[str, object]]:
    made = draw(st.lists(st.builds(lambda file, kind: {**file, **kind}, FILE, KINDS), max_size=4))
    linked = {str(each["path"]).lstrip("/") for each in made if "symlink" in each}
    # A directory where a link stands already leaves it alone, which is on purpose.
    return [each for each in made if "directory" not in each or str(each["path"]).lstrip("/") not in linked]


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    names = st.sampled_from(("init", "runc", "work"))
    containers = st.lists(st.tuples(names, st.booleans()), max_size=2)
    return Machine(
        layers={name: draw(st.lists(layers(), min_size=1, max_size=3)) for name in ("init", "runc", "work")},
        kernel=draw(st.none() | st.just(KERNEL)),
        init=draw(st.lists(names, max_size=2)),
        sections={name: draw(containers) for name in ("onboot", "onshutdown", "services")},
        volume=draw(st.none() | names),
        files=files(draw),
    )


def text(machine: Machine) -> str:
    """The machine's YAML. The first container of a section is called ``a``, or ``s`` among services."""
    document: dict[str, object] = {"init": list(machine.init), "files": machine.files}
    for section, entries in machine.sections.items():
        names = ("s", "t") if section == "services" else ("a", "b")
        document[section] = [
            {"name": name, "image": image, "readonly": readonly}
            for name, (image, readonly) in zip(names, entries, strict=False)
        ]
    # Owners by name need somebody of that name.
    document["onboot"] = [{"name": "a", "image": "work"}, *document["onboot"]]  # type: ignore[misc]
    document["services"] = [{"name": "s", "image": "runc"}, *document["services"][1:]]  # type: ignore[index]
    if machine.kernel is not None:
        document["kernel"] = {"image": "kern", "cmdline": "c"}
    if machine.volume is not None:
        document["volumes"] = [{"name": "v", "image": machine.volume}, {"name": "w"}]
    return json.dumps(document)


def made_images(machine: Machine) -> dict[str, MadeImage]:
    layers = {**machine.layers, **({"kern": [machine.kernel]} if machine.kernel else {})}
    return {f"docker.io/library/{name}": image(each) for name, each in layers.items()}


@settings(max_examples=25, deadline=None)
@given(machines())
def test_a_machine_is_the_originals(machine: Machine) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = root(Path(folder), text(machine), made_images(machine))
        assert made.tree() == Model(machine, made.plan).tree


@settings(max_examples=10, deadline=None)
@given(machines())
def test_an_initrd_is_the_originals(machine: Machine) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = root(Path(folder), text(machine), made_images(machine))
        (artifact,) = write(made.plan, made.store, formats=["kernel+initrd"], name="x", directory=Path(folder))
        data = gzip.decompress(artifact.file("initrd").read_bytes())
        expected = {path: node for path, node in Model(machine, made.plan).tree.items() if not path.startswith("boot/")}
        assert unpack(cpio.read(io.BytesIO(data))) == expected


class Model:
    """The original's archive as an unpacking program leaves it in ``tree``."""

    def __init__(self, machine: Machine, plan: Plan) -> None:
        self.tree: Tree = {}
        self._machine = machine
        self._kernel()
        self._init()
        self._volumes()
        self._containers(plan)
        self._files(plan)

    def _put(self, path: str, node: Node) -> None:
        self.tree[path] = node

    def _directory(self, path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        self._put(path, Node("dir", mode, uid, gid, FIXED))

    def _file(self, path: str, data: bytes | str, mode: int = 0o644, mtime: int = FIXED) -> None:
        self._put(path, Node("file", mode, 0, 0, mtime, digest(data)))

    def _kernel(self) -> None:
        if self._machine.kernel is None:
            return
        self._directory("boot")
        self._file("boot/cmdline", "c")
        self._file("boot/kernel", "K")
        self._put("lib", Node("dir", 0o755, 0, 0, images.MTIME_S))
        self._put("lib/mod", Node("file", 0o644, 0, 0, images.MTIME_S, digest("m")))

    def _init(self) -> None:
        databases = []
        for name in self._machine.init:
            databases += [
                node.data for path, node in flattened(self._machine.layers[name]) if path == "lib/apk/db/installed"
            ]
            self._image(name, "", link=True)
        if len(databases) > 1:
            self._file("lib/apk/db/installed", b"".join(data + b"\n\n" for data in databases), mtime=0)

    def _image(self, name: str, prefix: str, *, link: bool) -> None:
        """The files of an image, and then what must exist; the cache's names have no slash, so that all of it comes."""
        mtab = False
        for path, node in flattened(self._machine.layers[name]):
            if path in DROPPED or path in ("etc/hosts", "etc/resolv.conf"):
                continue  # the latter come again below
            mtab = mtab or path == "etc/mtab"
            self._put(prefix + path, plain(node, FIXED if path == "etc/mtab" else node.mtime))
        for path in ("dev", "dev/pts", "dev/shm", "etc"):
            self._directory(prefix + path)
        self._file(f"{prefix}etc/hosts", HOSTS)
        if not mtab:
            self._put(f"{prefix}etc/mtab", Node("symlink", 0o755, 0, 0, FIXED, "/proc/mounts"))
        resolver = Node("symlink", 0o644, 0, 0, FIXED, "/run/resolvconf/resolv.conf")
        self._put(f"{prefix}etc/resolv.conf", resolver)
        if not link:
            self._file(f"{prefix}etc/resolv.conf", NO_RESOLVER)
        for path in ("proc", "sys"):
            self._directory(prefix + path)

    def _volumes(self) -> None:
        if self._machine.volume is None:
            return
        for name, filled in (("v", self._machine.volume), ("w", None)):
            base = f"containers/volumes/{name}"
            for path in ("containers", "containers/volumes", base, f"{base}/lower"):
                self._directory(path)
            if filled is not None:
                self._image(filled, f"{base}/lower/", link=True)
            self._directory(f"{base}/tmp")
            self._directory(f"{base}/merged")

    def _containers(self, plan: Plan) -> None:
        used = set()
        for each in plan.containers:
            place = f"containers/{each.section}/{each.name}"
            if each.section != "services":
                place = f"containers/{each.section}/{each.index:03d}-{each.name}"
            for path in ("containers", f"containers/{each.section}", place):
                self._directory(path)
            name = each.image.reference.repository.rpartition("/")[2]
            if name not in used:
                lower = f"{place}/{'rootfs' if each.readonly else 'lower'}"
                self._directory(lower)
                self._image(name, f"{lower}/", link=False)
            used.add(name)
            self._file(f"{place}/config.json", each.config_json)
            if not each.readonly:
                self._directory(f"{place}/tmp")
            self._directory(f"{place}/rootfs")
            self._file(f"{place}/runtime.json", each.runtime_json)

    def _files(self, plan: Plan) -> None:
        """As the original, but that directories which are there already keep their mode and owner."""
        ids = {"root": 0, **{each.name: 100 + count for count, each in enumerate(plan.containers)}}
        for file in self._machine.files:
            directory = "directory" in file
            mode = int(str(file.get("mode", "0700" if directory else "0600")), 8)
            uid, gid = (ids.get(str(file.get(key, "root")), file.get(key)) for key in ("uid", "gid"))
            assert isinstance(uid, int) and isinstance(gid, int)
            path = "/".join(part for part in str(file["path"]).split("/") if part not in ("", "."))
            parts = path.split("/")
            enter = mode | (0o100 if mode & 0o700 else 0) | (0o010 if mode & 0o070 else 0) | (0o001 if mode & 7 else 0)
            for count in range(1, len(parts)):
                if "/".join(parts[:count]) not in self.tree:
                    self._directory("/".join(parts[:count]), enter, uid, gid)
            if directory:
                self._directory(path, mode, uid, gid)
            elif "symlink" in file:
                self._put(path, Node("symlink", mode, uid, gid, FIXED, str(file["symlink"])))
            else:
                self._put(path, Node("file", mode, uid, gid, FIXED, digest(str(file["contents"]))))


def flattened(layers: Sequence[Layer]) -> Iterator[tuple[str, images.Node]]:
    """The cache's reading of an image: top layer first, whatever was seen before is skipped."""
    seen: dict[str, bool] = {}
    for layer in reversed(layers):
        for name, content in layer.items():
            above, _, last = name.rpartition("/")
            hides = last.startswith(".wh.")
            path = f"{above}/{last[4:]}".lstrip("/") if hides else name
            parts = path.split("/")
            if path in seen or any(seen.get("/".join(parts[:count])) for count in range(1, len(parts))):
                continue
            assert hides or isinstance(content, images.Node)
            seen[path] = hides or name not in DIRECTORIES
            if isinstance(content, images.Node):
                yield path, content


def plain(node: images.Node, mtime: int) -> Node:
    kinds = {tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "symlink"}
    kind = kinds.get(node.type, "file")
    return Node(
        kind, node.mode, node.uid, node.gid, mtime, node.target or (digest(node.data) if kind == "file" else "")
    )


def digest(data: bytes | str) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()
