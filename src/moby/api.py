"""The public Python interface: ``moby.build``, beside ``moby.run`` of ``machines/start.py``.

The command line is a thin layer over both.

import moby

artifacts = moby.build("web.yml", formats=["kernel+initrd"])
with moby.run(artifacts, publish={8080: 80}) as machine:
    machine.wait_http(8080)
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from moby import decision, log, outputs, pins, timing, unchanged
from moby.artifact import Architecture, Artifact
from moby.components.build import Components
from moby.config.fields import file_path
from moby.config.model import Config
from moby.context import Context, variable
from moby.decision import Seen, Sources
from moby.errors import ConfigError
from moby.oci import usage
from moby.oci.manifest import Platform
from moby.oci.store import Store
from moby.options import BuildOptions, architecture
from moby.plan import Plan
from moby.rootfs.pieces import Layout
from moby.rootfs.sbom import Sbom

if TYPE_CHECKING:
    from moby.formats.authenticode import Signer

# Options that no byte of an artifact depends on, or that the images in its provenance say better.
_NOT_IN_BYTES = frozenset(
    ("architecture", "pull", "docker", "lock", "locked", "provenance", "keys", "policy", "sign_key", "sign_certificate")
)


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
    files = decision.names(sources)
    options = decision.with_lock(options or BuildOptions(), files)
    context = context or Context.from_environment()
    target = architecture(options.architecture)
    name = name or ("" if output else outputs.default_name(files[-1]))
    job = outputs.check(formats=formats, name=name, directory=directory, output=output or None, architecture=target)
    if options.provenance and output == "-":
        raise ConfigError("there is nothing to put it beside", where="--provenance", fix="give -o the name of a file")
    seen: list[Seen] = []
    store = Store(context.store, verified=context.verified)
    with usage.using(store, context.environment), log.step(f"Building {files[-1]}"):
        components = Components(context, store)
        with timing.stage("read YAML"):
            found = decision.draft(files, components, context=context, stdin=stdin, seen=seen.append)
        config = found.config
        if not formats and not output:
            found = decision.with_formats(found)
            formats = decision.asked_formats(config)
        if not found.faults:
            job = outputs.check(
                formats=formats, name=name, directory=directory, output=output or None, architecture=target
            )
            options = _for_config(options, config, job)
        with timing.stage("plan"):
            decided = decision.settle(found, components, store, context=context, options=options)
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
    options = replace(options, verity=verity, root=root)
    outputs.check_settings(job, _told(options))
    return options


def _told(options: BuildOptions) -> outputs.Settings:
    """What options alone tell the outputs. Raises ``ConfigError``."""
    in_ram = options.root in (*Layout,)
    return outputs.Settings(
        decompress_kernel=options.decompress_kernel,
        disk_bytes=outputs.parse_size(options.size) if options.size else 0,
        root=outputs.RootKind(options.root) if options.root and not in_ram else None,
        layout=Layout(options.root) if in_ram else None,
        verity=options.verity,
        signer=_signer(options),
    )


def _settings(
    job: outputs.Job,
    components: Components,
    target: Architecture,
    options: BuildOptions,
    store: Store,
    context: Context,
) -> outputs.Settings:
    """What the outputs of ``job`` are told; the boot component is built when a format needs it."""
    told = _told(options)
    platform = Platform(os="linux", architecture=target.value)

    def component(name: str) -> outputs.BootCode:
        return outputs.BootCode(store, components.image(components.recipe(name), platform))

    boot_code = component("boot") if any(format.boot_code for format in job.formats) else None
    stage1 = component("stage1") if told.root or any(format.stage1 for format in job.formats) else None
    return replace(
        told,
        boot_code=boot_code,
        stage1=stage1,
        rpi_code=component("boot-rpi") if any(format.rpi_code for format in job.formats) else None,
        cache=context.work,
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
    codes = {"boot": settings.boot_code, "stage1": settings.stage1, "boot-rpi": settings.rpi_code}
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


def _pushes(config: Config, made: Sequence[Artifact]) -> Iterator[str]:
    """The commands that push what was made, as files of March 2017 ask for it."""
    paths = {artifact.format: str(path) for artifact in made for _, path in artifact.files}
    return (
        command
        for wanted in config.outputs
        if wanted.modern in paths and (command := wanted.push(paths[wanted.modern]))
    )


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
