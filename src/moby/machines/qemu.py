"""Start a machine under QEMU: prepare its state directory, start QEMU, connect, hand back a ``Machine``."""

from __future__ import annotations

import contextlib
import errno
import functools
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from moby import log, proc
from moby.artifact import Architecture, Artifact
from moby.artifact import Firmware as FirmwareKind
from moby.context import Context, variable
from moby.errors import ConfigError, PlatformError
from moby.formats import configiso
from moby.machines import commandline, probe, state, tpm, vmlinux
from moby.machines.child import Child, Detached
from moby.machines.commandline import Channels, Command, Drive, Firmware, Network, Virtual
from moby.machines.machine import Console, Machine, start_failure
from moby.machines.options import Disk, Publish, RunOptions
from moby.machines.qmp import Monitor
from moby.machines.resolve import Boot, boot_from, disk_format, memory_mib
from moby.machines.state import Facts, State
from moby.machines.toolset import Finder, Toolset, finder

_DAEMONIZE_S = 30
_LAST_WORDS_S = 2
_END_S = 5
_ROOM_BYTES = 32 << 20  # for logs and the like, beside an unpacked kernel


def run(
    target: Artifact | Boot | Path | str,
    options: RunOptions,
    context: Context,
    *,
    find_qemu: Finder | None = None,
    attach: bool = False,
) -> Machine:
    """Start ``target`` and return once QEMU runs; with ``attach`` the ``Machine`` has the live console.

    Raises ``ConfigError`` for an image that is not there, ``PlatformError`` when this host cannot run it (no QEMU, a
    port in use, a state directory in use), and ``CommandError`` with status 4 when QEMU does not start.
    """
    boot = target if isinstance(target, Boot) else boot_from(target, options)
    toolset = (find_qemu or finder(context))(boot.architecture)
    check_ports(options.publish)
    asked = options.accelerator or variable(context.environment, "QEMU_ACCEL")
    accelerator = probe.choose(boot.architecture, toolset, context, asked=asked)
    directory = options.state or boot.prefix.with_name(f"{boot.name}-state")
    if options.tpm and not commandline.PLATFORMS[boot.architecture].tpm_device:
        raise PlatformError(f"QEMU has no TPM for {boot.architecture} machines", where="--tpm", fix="leave it out")
    held = State.claim(directory)
    try:
        command = _command(boot, options, toolset, held, accelerator)
        chip = tpm.started(toolset.tpm(), held.directory) if options.tpm else contextlib.nullcontext()
        with chip as tpm_end, _unpacked(boot, options, held, accelerator) as kernel:
            return _start(command, options, context, held, attach=attach, tpm_end=tpm_end, kernel=kernel)
    finally:
        held.release()  # QEMU has its own hold by now, or there is none


def attach_to(facts: Facts) -> Machine:
    """A handle on a machine another command started. Raises ``PlatformError`` when it does not answer."""
    directory = Path(facts.state)
    monitor = Monitor(state.connect(directory / "qmp.sock"), timeout_s=5)
    monitor.open()
    return Machine(
        name=facts.name,
        process=Detached(facts.pid, directory),
        monitor=monitor,
        console=Console(directory / "console.log"),
        published=tuple(map(Publish.told, facts.publish)),
        detached=True,
        note_end=functools.partial(state.note_end, directory, facts.pid),
    )


def check_ports(publish: Sequence[Publish]) -> None:
    """Raises ``PlatformError`` when a port of the host cannot be listened on; QEMU would say so less clearly."""
    for port in publish:
        family = socket.AF_INET6 if ":" in port.address else socket.AF_INET
        kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
        with socket.socket(family, kind) as trial:
            if port.protocol == "tcp":  # as QEMU does: a port that lingers after its last use is free
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((port.address, port.host_port))
            except OSError as error:
                why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
                fix = f"publish another, such as {port.host_port % 55000 + 10000}:{port.guest_port}"
                raise PlatformError(
                    f"port {port.host_port}/{port.protocol} of {port.address} {why}", where="--publish", fix=fix
                ) from error


def _command(boot: Boot, options: RunOptions, toolset: Toolset, held: State, accelerator: str) -> Command:
    """The command but for its descriptors, which exist from ``_start`` on."""
    system = tuple(Drive(path=disk.path.absolute(), format=disk.format, readonly=disk.readonly) for disk in boot.disks)
    added = tuple(_disk(index, disk, toolset, held) for index, disk in enumerate(options.disks))
    cds = [boot.iso.absolute()] if boot.iso is not None else []
    if options.data is not None:
        cds.append(_data_iso(options.data, held))
    return Command(
        qemu=toolset.system,
        name=options.name or boot.name,
        virtual=Virtual(architecture=boot.architecture, accelerator=accelerator),
        cpus=options.cpus,
        memory_mib=options.memory_mib or memory_mib(boot),
        uuid=str(uuid.uuid4()),
        channels=Channels(control=-1, qmp=-1, console=-1, console_log=held.console_log),
        pidfile=held.pidfile,
        network=Network(networking=options.networking, mac=held.mac(), publish=options.publish),
        kernel=boot.kernel.absolute() if boot.kernel is not None else None,
        initrd=boot.initrd.absolute() if boot.initrd is not None else None,
        cmdline=_ends_on_panic(boot),
        firmware=_firmware(boot, options, toolset, held),
        disks=(*system, *added),
        cds=tuple(cds),
        boot_cd=boot.iso is not None,
        gui=options.gui,
        usb=options.usb,
        devices=options.devices,
        daemonize=options.detach,
    )


@contextlib.contextmanager
def _unpacked(boot: Boot, options: RunOptions, held: State, accelerator: str) -> Iterator[IO[bytes] | None]:
    """The unpacked kernel, in a file without a name, where QEMU is to load that; see ``vmlinux`` for why and when.

    QEMU has it open as long as the machine runs.
    """
    if (
        boot.kernel is None
        or accelerator != commandline.TCG
        or boot.architecture is not Architecture.AMD64
        or _wants_firmware(boot, options)
        or options.gui
        or options.tpm
        or options.devices
    ):
        yield None
        return
    with contextlib.ExitStack() as opened:
        found: IO[bytes] | None = None
        try:
            spool = opened.enter_context(tempfile.TemporaryFile(dir=held.directory))
            if vmlinux.unpack(boot.kernel, spool) and shutil.disk_usage(held.directory).free > _ROOM_BYTES:
                found = spool
        except OSError as error:
            log.debug(f"the kernel unpacks itself: {error}")
        if found is None:
            opened.close()  # it may have filled the disk
        yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sockets:
    """Both sides of what connects this tool and QEMU; ``inherited`` are QEMU's."""

    control: socket.socket
    terminal: socket.socket | None
    inherited: tuple[socket.socket, ...]
    channels: Channels


def _ends_on_panic(boot: Boot) -> str:
    """The command line, with a panic that ends the machine unless it says itself what a panic does.

    Before the guest has its pvpanic driver, a reset is the only way to tell QEMU. An EFI program has a command line of
    its own, in whose place anything given would come.
    """
    if (
        boot.kernel is None
        or boot.firmware is FirmwareKind.EFI
        or any(word.startswith("panic=") for word in boot.cmdline.split())
    ):
        return boot.cmdline
    return f"{boot.cmdline} panic=-1".lstrip()


def _sockets(held: State, opened: contextlib.ExitStack, *, attach: bool, tpm_end: socket.socket | None) -> _Sockets:
    control, control_end = map(opened.enter_context, socket.socketpair())
    pair = tuple(map(opened.enter_context, socket.socketpair())) if attach else None
    console = pair[1] if pair else opened.enter_context(held.listen("console.sock"))
    public = opened.enter_context(held.listen("qmp.sock"))
    channels = Channels(
        control=control_end.fileno(),
        qmp=public.fileno(),
        console=console.fileno(),
        console_log=held.console_log,
        attached=attach,
        tpm=tpm_end.fileno() if tpm_end is not None else None,
    )
    inherited = (control_end, public, console, *((tpm_end,) if tpm_end is not None else ()))
    return _Sockets(control=control, terminal=pair[0] if pair else None, inherited=inherited, channels=channels)


def _start(
    command: Command,
    options: RunOptions,
    context: Context,
    held: State,
    *,
    attach: bool,
    tpm_end: socket.socket | None,
    kernel: IO[bytes] | None,
) -> Machine:
    with contextlib.ExitStack() as undo:  # all of it, unless the machine starts
        sockets = _sockets(held, undo, attach=attach, tpm_end=tpm_end)
        descriptors = [held.lock, *(end.fileno() for end in sockets.inherited)]
        if kernel is not None:
            descriptors.append(kernel.fileno())
            command = replace(command, kernel=Path(f"/dev/fd/{kernel.fileno()}"))
        words = commandline.argv(replace(command, channels=sockets.channels))
        child = Child(words, output=held.qemu_log, pass_fds=descriptors)
        undo.callback(child.wait, _END_S)
        undo.callback(child.kill)
        for end in sockets.inherited:
            end.close()
        if command.daemonize:
            undo.callback(_end_daemon, held)
        process = _daemon(child, held) if command.daemonize else child
        monitor = Monitor(sockets.control)
        undo.callback(monitor.close)
        _greet(monitor, child, held)
        if command.gui and (said := _said(held)):
            log.info(said)  # where there is no desktop: at which port the screen is
        held.record(_facts(command, process.pid, held), context.work)
        undo.pop_all()
    return Machine(
        name=command.name,
        process=process,
        monitor=monitor,
        console=Console(held.console_log),
        published=options.publish,
        terminal=sockets.terminal,
        qemu_log=held.qemu_log,
        detached=options.detach,
        stop_timeout_s=options.stop_timeout_s,
        secure_boot=options.variables is not None,
        note_end=functools.partial(state.note_end, held.directory, process.pid),
    )


def _daemon(child: Child, held: State) -> Detached:
    """The QEMU that ``-daemonize`` leaves behind when its first process has ended well."""
    pid = state.pid(held.directory) if child.wait(_DAEMONIZE_S) and child.returncode == 0 else None
    if pid is None:
        raise start_failure(_said(held))
    return Detached(pid, held.directory)


def _end_daemon(held: State) -> None:
    """End the QEMU that ``-daemonize`` left behind, if it did."""
    held.release()  # from here on the lock tells whether QEMU runs
    pid = state.pid(held.directory)
    if pid is not None:
        daemon = Detached(pid, held.directory)
        daemon.kill()
        daemon.wait(_END_S)


def _greet(monitor: Monitor, child: Child, held: State) -> None:
    try:
        monitor.open()
        monitor.execute("cont")  # not before events are heard: a guest may end at once
    except PlatformError as error:
        monitor.close()
        child.wait(_LAST_WORDS_S)
        if child.returncode is None:
            raise
        raise start_failure(_said(held)) from error


def _said(held: State) -> str:
    lines = held.qemu_log.read_text(errors="replace").strip().splitlines() if held.qemu_log.exists() else []
    return "; ".join(lines[-4:])


def _facts(command: Command, pid: int, held: State) -> Facts:
    return Facts(
        name=command.name,
        state=str(held.directory),
        pid=pid,
        architecture=command.virtual.architecture,
        cpus=command.cpus,
        memory_mib=command.memory_mib,
        publish=tuple(map(str, command.network.publish)),
        started_s=int(time.time()),
        detached=command.daemonize,
    )


def _firmware(boot: Boot, options: RunOptions, toolset: Toolset, held: State) -> Firmware | None:
    """UEFI flash with the machine's own copy of the variables, which it keeps between runs."""
    if not _wants_firmware(boot, options):
        return None
    variables = _given_variables(options.variables, held) if options.variables is not None else None
    if options.firmware is not None:
        if not options.firmware.is_file():
            raise ConfigError("no such file", where=str(options.firmware), fix="give --fw an UEFI firmware file")
        if variables is not None:
            return Firmware(code=options.firmware.absolute(), variables=variables)
        return Firmware(code=_own_copy(options.firmware, held.directory / "uefi-firmware.fd"))
    code, template = toolset.firmware(variables is not None)
    if variables is None:
        return Firmware(code=code, variables=_own_copy(template, held.directory / "uefi-vars.fd"))
    if variables.stat().st_size != template.stat().st_size:
        fix = "make them here with: moby keys create --vars keys/, or name their firmware with --fw"
        raise ConfigError(f"these are not variables of the firmware {code}", where=str(options.variables), fix=fix)
    return Firmware(code=code, variables=variables, protected=boot.architecture is Architecture.AMD64)


def _wants_firmware(boot: Boot, options: RunOptions) -> bool:
    given = options.firmware is not None or options.variables is not None
    return options.uefi or given or boot.firmware is FirmwareKind.EFI


def _given_variables(given: Path, held: State) -> Path:
    """A fresh copy of the UEFI variables in ``given``."""
    if not given.is_file():
        raise ConfigError("no such file", where=str(given), fix="make them with: moby keys create --vars keys/")
    fresh = held.directory / "uefi-vars-given.fd"
    shutil.copyfile(given, fresh)
    return fresh


def _own_copy(template: Path, copy: Path) -> Path:
    if not copy.exists():
        beside = copy.with_suffix(".new")
        shutil.copyfile(template, beside)
        beside.replace(copy)
    return copy


def _data_iso(data: bytes, held: State) -> Path:
    path = held.directory / "data.iso"
    with path.open("wb") as out:
        configiso.write(data, out)
    return path


def _disk(index: int, disk: Disk, toolset: Toolset, held: State) -> Drive:
    """An added disk, made first when it is not there."""
    path = (disk.path or held.directory / f"disk{index or ''}.img").absolute()
    if path.exists():
        return Drive(path=path, format=disk.format or disk_format(path))
    if disk.size_mib is None:
        raise ConfigError("no such disk", where=str(path), fix=f"give it a size to make it: --disk {path.name},size=1G")
    made = disk.format or "qcow2"
    if made == "raw":
        with path.open("xb") as stream:
            stream.truncate(disk.size_mib << 20)
    elif toolset.image is None:
        raise PlatformError(f"making a {made} disk needs qemu-img", where=str(path), fix="install it or use format=raw")
    else:
        proc.run([*toolset.image, "create", "-q", "-f", made, str(path), f"{disk.size_mib}M"])
    return Drive(path=path, format=made)
