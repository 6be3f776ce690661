"""The public Python interface: ``moby.build`` and ``moby.run``. The command line is a thin layer over it.

import moby

artifacts = moby.build("web.yml", formats=["kernel+initrd"])
with moby.run(artifacts, publish={8080: 80}) as machine:
    machine.wait_http(8080)
"""

from __future__ import annotations

import difflib
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from moby import log, outputs, pins, timing, unchanged
from moby.artifact import KERNEL_SPELLINGS, Architecture, Artifact, host_architecture
from moby.components.build import Components
from moby.config import load
from moby.config.fields import file_path
from moby.config.model import Config
from moby.config.places import in_order
from moby.context import Context, variable
from moby.errors import ConfigError, MobyError, together
from moby.oci import usage
from moby.oci.image import Image
from moby.oci.manifest import Platform
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.resolve import ImageSource, PullPolicy
from moby.oci.store import Store
from moby.plan import Plan, plan
from moby.rootfs.pieces import Layout
from moby.rootfs.sbom import DEFAULT_PATH, Sbom

if TYPE_CHECKING:
    from moby.formats.authenticode import Signer
    from moby.machines.machine import Machine
    from moby.machines.options import RunOptions
    from moby.machines.toolset import Finder
    from moby.oci.engine import Engine
    from moby.oci.trust import Verifier

Sources = str | PathLike[str] | Sequence[str | PathLike[str]]

_TEMPLATE = "@pkg:"
# Options that no byte of an artifact depends on, or that the images in its provenance say better.
_NOT_IN_BYTES = frozenset(
    ("architecture", "pull", "docker", "lock", "locked", "provenance", "keys", "policy", "sign_key", "sign_certificate")
)
# A YAML file by its name, with the SHA-256 (hex) of its bytes.
Seen = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How an image is made; every field has the default of ``moby build`` without flags.

    ``architecture`` is the target's name, this host's when empty. ``pull`` asks the registry even for images the store
    has. ``decompress_kernel`` writes the kernel unpacked. ``size`` is the least size of disks, such as ``2G``.
    ``root`` is ``squashfs`` or ``erofs`` for disks
    with a root of their own; ``verity`` has the kernel check it.
    ``sign_key`` and ``sign_certificate`` are PEM files that EFI programs are signed with. ``sbom``
    is where the image holds its SBOM, ``""`` for none; it says the build's time if ``sbom_current_time``, else a fixed
    one. ``keys`` are files of public keys beside those of the YAML's ``trust:``; ``policy`` is ``require`` or ``warn``
    about images without a good signature. ``provenance`` writes ``NAME.provenance.json`` beside what is built.

    ``docker`` asks the Docker or Podman engine of this host before the store, unless ``pull``. ``lock`` is the file
    that pins images, by default the ``moby.lock`` beside the last YAML file if there is one; ``locked`` refuses images
    that it does not pin.
    """

    architecture: str = ""
    pull: bool = False
    docker: bool = False
    lock: Path | None = None
    locked: bool = False
    decompress_kernel: bool = False
    size: str = ""
    root: str = ""
    verity: bool = False
    sign_key: Path | None = None
    sign_certificate: Path | None = None
    sbom: str = DEFAULT_PATH
    sbom_current_time: bool = False
    provenance: bool = False
    keys: tuple[str, ...] = ()
    policy: str = ""


def architecture(name: str) -> Architecture:
    """The architecture called ``name``, in Go's or the kernel's spelling; this host's when empty.

    Raises ``ConfigError``.
    """
    if not name:
        host = host_architecture()
        if host is None:
            raise ConfigError("this host's architecture has no components", fix="give --arch amd64 or arm64")
        return host
    found = Architecture.named(name)
    if found is None:
        near = difflib.get_close_matches(name, [*Architecture, *KERNEL_SPELLINGS], n=1)
        fix = f"did you mean {near[0]}?" if near else "one of " + ", ".join(Architecture)
        raise ConfigError(f"unknown architecture {name!r}", where="--arch", fix=fix)
    return found


def build(
    sources: Sources,
    *,
    formats: Sequence[str] = (),
    name: str = "",
    directory: Path = Path(),
    output: str = "",
    options: BuildOptions | None = None,
    context: Context | None = None,
    stdin: BinaryIO | None = None,
    stdout: BinaryIO | None = None,
) -> tuple[Artifact, ...]:
    """Build YAML files (paths, URLs, ``-``; merged in order) and return what was written, one per format.

    ``formats`` are names of ``moby build --help``; none means ``kernel+initrd``, or ``tar`` with ``output``. Files are
    called ``directory/name…``; ``name`` defaults to the last source's. ``output`` is one file of a streamable format,
    ``-`` for ``stdout``. Raises ``MobyError``; then no output is new and none is half written.
    """
    files = _files(sources)
    options = with_lock(options or BuildOptions(), files)
    context = context or Context.from_environment()
    target = architecture(options.architecture)
    name = name or ("" if output else outputs.default_name(files[-1]))
    job = outputs.check(formats=formats, name=name, directory=directory, output=output or None, architecture=target)
    if options.provenance and output == "-":
        raise ConfigError("there is nothing to put it beside", where="--provenance", fix="give -o the name of a file")
    seen: list[Seen] = []
    store = Store(context.store)
    with usage.using(store, context.environment), log.step(f"Building {files[-1]}"):
        components = Components(context, store)
        with timing.stage("read YAML"):
            found = draft(files, components, context=context, stdin=stdin, seen=seen.append)
        config = found.config
        if not formats and not output:
            found = with_formats(found)
            formats = asked_formats(config)
        if not found.faults:
            job = outputs.check(
                formats=formats, name=name, directory=directory, output=output or None, architecture=target
            )
            options = _for_config(options, config, job)
        with timing.stage("plan"):
            decided = settle(found, components, store, context=context, options=options)
        for warning in decided.warnings:
            log.info(f"warning: {warning}")
        settings = _settings(job, components, target, options, store, context)
        made = outputs.write(
            decided,
            store,
            formats=formats,
            name=name,
            directory=directory,
            output=output or None,
            stdout=stdout,
            settings=settings,
        )
        _note_inputs(files, options, config, decided, context)
        if options.provenance:
            beside = provenance_path(name=name, directory=directory, output=output)
            _tell(beside, decided, made, seen, store, settings=settings, options=options, context=context)
        for command in _pushes(config, made):
            log.info(f"to push it as the file says: {command}")
        return made


def _for_config(options: BuildOptions, config: Config, job: outputs.Job) -> BuildOptions:
    """The options with what the YAML says; refused before anything is pulled when they do not go together.

    A checked root is on a disk: disks get one of their own then. Raises ``ConfigError``.
    """
    verity = options.verity or bool(config.verity)
    root = options.root
    if verity and not root and all(format.partitioned for format in job.formats):
        root = outputs.RootKind.SQUASHFS.value
    on_disk = root not in ("", *Layout)
    for format in job.formats:
        if on_disk and not format.partitioned:
            raise ConfigError(f"{format.name} has no disk for a root", where="--root", fix="build raw-efi, say")
        if verity and not (on_disk or format.stage1):
            fix = "build kernel+squashfs, or a disk such as raw-efi"
            raise ConfigError(f"the root of {format.name} is not on a disk", where="--verity", fix=fix)
    if options.size:
        outputs.parse_size(options.size)
    _signer(options)
    return replace(options, verity=verity, root=root)


def _settings(
    job: outputs.Job,
    components: Components,
    target: Architecture,
    options: BuildOptions,
    store: Store,
    context: Context,
) -> outputs.Settings:
    """What the outputs of ``job`` are told; the boot component is built when a format needs it."""
    in_ram = options.root in (*Layout,)
    on_disk = "" if in_ram else options.root
    platform = Platform(os="linux", architecture=target.value)

    def component(name: str) -> outputs.BootCode:
        return outputs.BootCode(store, components.image(components.recipe(name), platform))

    boot_code = component("boot") if any(format.boot_code for format in job.formats) else None
    stage1 = component("stage1") if on_disk or any(format.stage1 for format in job.formats) else None
    return outputs.Settings(
        decompress_kernel=options.decompress_kernel,
        disk_bytes=outputs.parse_size(options.size) if options.size else 0,
        boot_code=boot_code,
        stage1=stage1,
        rpi_code=component("boot-rpi") if any(format.rpi_code for format in job.formats) else None,
        root=outputs.RootKind(on_disk) if on_disk else None,
        layout=Layout(options.root) if in_ram else None,
        cache=context.work,
        verity=options.verity,
        signer=_signer(options),
        sbom=sbom(options, context),
    )


def _signer(options: BuildOptions) -> Signer | None:
    """The key and certificate of the options. Raises ``ConfigError`` for one without the other."""
    key, certificate = options.sign_key, options.sign_certificate
    if key is None and certificate is None:
        return None
    if key is None or certificate is None:
        raise ConfigError("a signature needs a key and its certificate", fix="give both --sign-key and --sign-cert")
    from moby.formats.authenticode import Signer  # slow to import

    try:
        return Signer.load(key.read_bytes(), certificate.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read it: {error.strerror}", where=str(error.filename)) from error


def sbom(options: BuildOptions, context: Context) -> Sbom | None:
    """The SBOM that ``options`` ask for. The current time is ``SOURCE_DATE_EPOCH`` where that is set.

    Raises ``ConfigError`` for a path that is not one inside the image.
    """
    if not options.sbom:
        return None
    made = Sbom(cache=context.work / "sbom", path=file_path(options.sbom))
    return replace(made, created=_now(context)) if options.sbom_current_time else made


def _now(context: Context) -> str:
    """The current time, or ``SOURCE_DATE_EPOCH``, as RFC 3339 writes it."""
    seconds = context.environment.get("SOURCE_DATE_EPOCH", "")
    now = int(seconds) if seconds.isdigit() else int(time.time())
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))


def provenance_path(*, name: str, directory: Path, output: str) -> Path:
    """Where the provenance of a build goes: beside its files, under their name."""
    base = Path(output) if output else directory / name
    return base.with_name(f"{base.name}.provenance.json")


def _tell(
    path: Path,
    decided: Plan,
    made: Sequence[Artifact],
    seen: Sequence[Seen],
    store: Store,
    *,
    settings: outputs.Settings,
    options: BuildOptions,
    context: Context,
) -> None:
    """Write the provenance of ``made``."""
    from moby.evidence import provenance

    asked = {key: value for key, value in asdict(options).items() if key not in _NOT_IN_BYTES}
    codes = {"boot": settings.boot_code, "stage1": settings.stage1}
    timed = options.sbom_current_time or "SOURCE_DATE_EPOCH" in context.environment
    build = provenance.Build(
        plan=decided,
        artifacts=made,
        sources=seen,
        parameters={**asked, "signed": options.sign_key is not None},
        tools={name: code.image for name, code in codes.items() if code is not None},
        finished=_now(context) if timed else "",
    )
    provenance.write(build, store, path)
    log.info(f"provenance: {path}")


def decide(
    sources: Sources,
    store: Store,
    *,
    context: Context,
    options: BuildOptions | None = None,
    stdin: BinaryIO | None = None,
    layers: bool = True,
) -> Plan:
    """The plan of YAML files, with every image in ``store``. Raises ``MobyError``.

    Without ``layers`` images are not pulled, only their configurations; components are built all the same.
    """
    components = Components(context, store)
    found = draft(sources, components, context=context, stdin=stdin)
    options = with_lock(options or BuildOptions(), _files(sources))
    return settle(found, components, store, context=context, options=options, layers=layers)


def with_lock(options: BuildOptions, files: Sequence[str]) -> BuildOptions:
    """The options with the lock that is beside ``files``, when they name none themselves."""
    path = options.lock or pins.beside(files)
    return replace(options, lock=path if options.lock or options.locked or path.exists() else None)


def asked_formats(config: Config) -> tuple[str, ...]:
    """The formats that files of March 2017 ask for."""
    return tuple(dict.fromkeys(wanted.modern for wanted in config.outputs))


def with_formats(found: load.Draft) -> load.Draft:
    """``found`` with the faults of formats that files of March 2017 ask for and that are not made here."""
    faults = []
    for index, wanted in enumerate(found.config.outputs):
        if wanted.modern not in outputs.FORMATS:
            where = found.config.places.where(("outputs", index, "format"))
            near = difflib.get_close_matches(wanted.modern, outputs.FORMATS, n=1)
            fix = f"did you mean {near[0]}?" if near else "one of " + ", ".join(sorted(outputs.FORMATS))
            spelt = f", spelt {wanted.format!r} here," if wanted.format != wanted.modern else ""
            what = f"format {wanted.modern!r}{spelt} is not one that can be made"
            faults.append(ConfigError(what, where=where, fix=fix))
    return replace(found, faults=(*found.faults, *faults))


def _pushes(config: Config, made: Sequence[Artifact]) -> Iterator[str]:
    """The commands that push what was made, as files of March 2017 ask for it."""
    paths = {artifact.format: str(path) for artifact in made for _, path in artifact.files}
    return (
        command
        for wanted in config.outputs
        if wanted.modern in paths and (command := wanted.push(paths[wanted.modern]))
    )


def settle(
    found: load.Draft,
    components: Components,
    store: Store,
    *,
    context: Context,
    options: BuildOptions,
    layers: bool = True,
) -> Plan:
    """The plan of a configuration that ``draft`` gave with the same ``components``. Raises ``MobyError``.

    First the configurations of all images are fetched, which are small, and everything is checked; what is wrong in
    the YAML and in the images comes in one error. Only then images are pulled, with ``layers``, and components built.
    """
    config, faults = found.config, list[MobyError](found.faults)
    if not found.is_readable:
        raise together(in_order(faults, found.files))
    policy = PullPolicy.ALWAYS if options.pull else PullPolicy.MISSING
    locked = pins.Pins.read(options.lock) if options.lock is not None else None
    engine = _engine(context) if options.docker else None
    with Registry.connect(context) as registry:
        verifier = None
        try:
            verifier = _verifier(config, store, registry, context=context, options=options)
        except ConfigError as error:
            faults.append(error)
        source = ImageSource(store, registry, policy, verifier=verifier, engine=engine)
        images = _Images(components, source)
        resolver: pins.Resolver = images
        if locked is not None:
            resolver = pins.Pinned(images, locked, where=str(options.lock), locked=options.locked)
        target = architecture(options.architecture)

        def planned() -> Plan:
            return plan(config, resolver, architecture=target, look=_look, known=faults, order=found.files)

        made = planned()
        if not images.get(layers=layers):
            return made
        return planned()


def _engine(context: Context) -> Engine:
    """The Docker or Podman engine of this host."""
    from moby.oci.engine import Engine  # slow to import

    return Engine.of(context.environment)


def _look(path: Path) -> os.stat_result:
    """Ask about a file of this host: whether it is there decides, too."""
    unchanged.inputs().add(path)
    return path.stat()


def _note_inputs(files: Sequence[str], options: BuildOptions, config: Config, decided: Plan, context: Context) -> None:
    """Say which files decided this build, or that more than files did: see ``moby.unchanged``."""
    inputs = unchanged.inputs()
    inputs.add(context.store / "index.json")
    inputs.add(options.lock or pins.beside(files))
    for name in files:
        inputs.add(Path(name))
    asked = (options.pull, options.docker, options.keys, options.policy, options.sign_key, options.provenance)
    told = (decided.warnings, config.outputs, config.trust, options.sbom_current_time)
    elsewhere = any(name == "-" or "://" in name for name in files)
    if elsewhere or any(asked) or any(told) or variable(context.environment, "CACHE_LIMIT"):
        inputs.spoilt = True


def _verifier(
    config: Config, store: Store, registry: Registry, *, context: Context, options: BuildOptions
) -> Verifier | None:
    """Who looks at signatures; None when there is nothing to verify. Says so when keys are missing."""
    if config.trust is None and not options.keys and not options.policy:
        return None
    from moby.config.trust import trust
    from moby.oci.trust import Verifier

    home = Path(context.environment.get("HOME") or Path.home())
    wanted = trust(config, keys=options.keys, policy=options.policy, home=home, read=_head)
    if wanted.is_asked and not wanted.keys:
        log.info("warning: trust: lists what must be signed, but no keys, so nothing is verified (fix: trust: keys)")
    return Verifier(trust=wanted, store=store, registry=registry)


def _head(path: Path, limit_bytes: int) -> bytes:
    with path.open("rb") as stream:
        return stream.read(limit_bytes)


def read(sources: Sources, components: Components, *, context: Context, stdin: BinaryIO | None = None) -> Config:
    """The merged configuration of YAML files, with ``@pkg:`` names replaced. Raises ``ConfigError``."""
    return draft(sources, components, context=context, stdin=stdin).checked()


def draft(
    sources: Sources,
    components: Components,
    *,
    context: Context,
    stdin: BinaryIO | None = None,
    seen: Callable[[Seen], None] | None = None,
) -> load.Draft:
    """As ``read``, with all faults in the result instead of an error.

    ``seen`` is told the name of each file and the SHA-256 (hex) of its bytes.
    """

    def template(kind: str, argument: str, directory: Path | None) -> str:
        if kind != "pkg":
            raise ConfigError(f"unknown template @{kind}:", fix="only @pkg:NAME is known")
        return str(components.reference(argument, directory))

    def hashed(source: str, text: bytes) -> None:
        if seen is not None:
            seen((source, hashlib.sha256(text).hexdigest()))

    return load.draft(_files(sources), context=context, templates=template, stdin=stdin, seen=hashed)


def run(
    target: Artifact | Sequence[Artifact] | str | PathLike[str],
    *,
    publish: Mapping[int, int] | None = None,
    options: RunOptions | None = None,
    context: Context | None = None,
    find_qemu: Finder | None = None,
    back_end: str = "qemu",
) -> Machine:
    """Boot an artifact, or an image by its path or name, and return the running machine.

    ``publish`` maps ports of this host (on the loopback address) to the guest's; they are added to ``options``. Use the
    machine as a context manager: leaving it stops the guest. ``back_end`` is a name of ``moby.machines.MACHINES``.
    Raises ``MobyError``.
    """
    from moby.machines import named
    from moby.machines.options import Publish, RunOptions

    options = options or RunOptions()
    context = context or Context.from_environment()
    ports = tuple(Publish(host_port=host, guest_port=guest) for host, guest in (publish or {}).items())
    options = replace(options, publish=(*options.publish, *ports))
    start = named(back_end)
    return start(bootable(target), options, context, find_qemu=find_qemu)


def bootable(target: Artifact | Sequence[Artifact] | str | PathLike[str]) -> Artifact | Path:
    """The one thing to boot: of several artifacts the first that boots. Raises ``ConfigError`` when there is none."""
    from moby.artifact import Firmware

    if isinstance(target, Artifact):
        return target
    if isinstance(target, str | PathLike):
        return Path(target)
    for artifact in target:
        if artifact.firmware is not Firmware.NONE:
            return artifact
    raise ConfigError("none of these formats boots by itself", fix="build kernel+initrd, a disk or an ISO")


class _Images:
    """Gives the planner its images: components, and what the store or a registry has.

    At first an image that is not in the store is only its configuration; ``get`` gets the rest of it.
    """

    def __init__(self, components: Components, source: ImageSource) -> None:
        self._components = components
        self._source = source
        self._looking = True
        self._layers = False
        self._foreseen = False

    def resolve(self, reference: Reference, platform: Platform) -> Image:
        """The image for ``platform``. Raises ``MobyError`` that says where it was looked for."""
        if self._looking and (component := self._components.foresee(reference, platform)):
            self._foreseen = True
            return component
        source = self._source.resolve if self._layers else self._source.look
        return self._components.resolve(reference, platform) or source(reference, platform)

    def get(self, *, layers: bool) -> bool:
        """Let ``resolve`` build components, and pull images if ``layers``; False when it has nothing to get."""
        self._looking, self._layers = False, layers
        return self._foreseen or (layers and self._source.is_waiting)


def _files(sources: Sources) -> tuple[str, ...]:
    return (fspath(sources),) if isinstance(sources, str | PathLike) else tuple(fspath(each) for each in sources)
