"""Which formats go to which files: everything that can be refused is refused before anything is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from moby.artifact import Firmware
from moby.errors import ConfigError
from moby.outputs.format import Format
from moby.outputs.settings import Settings

DEFAULT = "kernel+initrd"
STREAM_DEFAULT = "tar"
STDOUT = Path("-")
# A FAT file system has 32-bit sector numbers; around it are a table and its copy.
MOST_DISK_BYTES = 2 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Formats to make. ``output`` is the file of a single streamable one, ``Path("-")`` is stdout."""

    formats: tuple[Format, ...]
    name: str
    directory: Path
    output: Path | None = None

    def files(self, format: Format) -> Iterator[tuple[str, Path]]:
        """The role and final path of each file that ``format`` may write."""
        for each in format.files:
            yield each.role, self.output or self.directory / f"{self.name}{each.suffix}"


def default_name(source: str) -> str:
    """The base name of the outputs of a build whose last YAML is ``source``: without directories and extension."""
    return "moby" if source == "-" else Path(source.rstrip("/")).stem


def choose(
    table: Mapping[str, Format],
    *,
    formats: Sequence[str],
    name: str,
    directory: Path,
    output: str | Path | None,
    architecture: str,
) -> Job:
    """The job that these options ask for. Raises ``ConfigError`` when they contradict each other, as the original does.

    No formats means ``tar`` with ``output``, else ``kernel+initrd``. An empty name and directory were not given; a name
    may have directories.
    """
    target = Path(output) if output else None
    if target is None and "/" in name and name.strip("./"):
        directory, name = directory / Path(name).parent, Path(name).name
    names = tuple(dict.fromkeys(formats)) or (STREAM_DEFAULT if target else DEFAULT,)
    for each in names:
        if len(names) > 1 and each in table and table[each].streamable:
            raise ConfigError(f"format type {each} must be the only format specified", where="--format")
    chosen = tuple(_look_up(table, each) for each in names)
    if target is not None:
        _check_output(chosen, name, directory)
    for format in chosen:
        if format.architectures is not None and architecture not in format.architectures:
            fix = "it can be made for " + ", ".join(sorted(format.architectures))
            raise ConfigError(f"format {format.name} cannot be made for {architecture}", where="--format", fix=fix)
    job = Job(formats=chosen, name=name, directory=directory, output=target)
    _check_places(job)
    return job


def check_settings(job: Job, settings: Settings) -> None:
    """Raise ``ConfigError`` when a format cannot be made as it is told to be.

    Only what options say is looked at, so this can be asked before anything is pulled.
    """
    if settings.signer is not None and all(format.firmware is not Firmware.EFI for format in job.formats):
        named = ", ".join(format.name for format in job.formats)
        what = f"nothing of {named} would be signed: only EFI programs are"
        raise ConfigError(what, where="--sign-key", fix="build uki, or a disk such as raw-efi")
    for format in job.formats:
        _check_root(format, settings)
        if format.partitioned and settings.root is None and settings.disk_bytes > MOST_DISK_BYTES:
            size = f"{settings.disk_bytes >> 30} GiB"
            what = f"a disk of {size} for {format.name}, whose FAT file system has 2 TiB at most"
            fix = "give a smaller one, or --root squashfs and a disk such as raw-efi"
            raise ConfigError(what, where="--size", fix=fix)


def _check_root(format: Format, settings: Settings) -> None:
    """A root on a disk needs a disk; a hash tree such a root, and room beside it."""
    if settings.root is not None and not format.partitioned:
        raise ConfigError(f"{format.name} has no disk for a root", where="--root", fix="build raw-efi, say")
    if not settings.verity:
        return
    fix = "build kernel+squashfs, or a disk such as raw-efi"
    if settings.root is None and not format.stage1:
        raise ConfigError(f"the root of {format.name} is not on a disk", where="--verity", fix=fix)
    if not format.verity:
        what = f"an ISO image such as {format.name} has no room for a hash tree"
        raise ConfigError(what, where="--verity", fix=fix)


def _look_up(table: Mapping[str, Format], name: str) -> Format:
    if name in table:
        return table[name]
    import difflib  # only errors need it

    near = difflib.get_close_matches(name, table, n=1)
    fix = f"did you mean {near[0]}?" if near else "one of " + ", ".join(sorted(table))
    raise ConfigError(f"error parsing formats: unknown format type {name}", where="--format", fix=fix)


def _check_output(chosen: Sequence[Format], name: str, directory: Path) -> None:
    """``-o`` stands alone and needs a format that is one stream."""
    if len(chosen) > 1:
        what = "the -output option can only be specified when generating a single output format"
        raise ConfigError(what, where="-o")
    if name:
        raise ConfigError("the -output option cannot be specified with -name", where="-o")
    if directory != Path():
        raise ConfigError("the -output option cannot be specified with -dir", where="-o")
    if not chosen[0].streamable:
        what = f"the -output option cannot be specified for build type {chosen[0].name} as it cannot be streamed"
        raise ConfigError(what, where="-o", fix="use --name and --dir")


def _check_places(job: Job) -> None:
    """Every file has its own path, in a directory that exists."""
    if job.output == STDOUT:
        return
    if job.output is None and not job.name.strip("./"):
        raise ConfigError(f"{job.name!r} cannot be the name of an output", where="--name")
    makers: dict[Path, str] = {}
    for format in job.formats:
        for _, path in job.files(format):
            if path in makers:
                both = f"formats {makers[path]} and {format.name} both write {path}"
                raise ConfigError(both, where="--format", fix="build them one at a time with another --name")
            makers[path] = format.name
    for path in makers:
        if not path.parent.is_dir():
            fix = f"mkdir -p {path.parent}"
            raise ConfigError(f"there is no directory {path.parent}", where=str(path), fix=fix)
        if path.is_dir():
            raise ConfigError("the output is a directory", where=str(path))
