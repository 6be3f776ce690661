"""``moby run``: a YAML file is built first; anything else is booted as it is.

Exit status: 0 the guest powered off, 3 it panicked, 4 QEMU failed, 5 Secure Boot refused it, 130 or 143 stopped by a
signal. With ``--wait`` 0 is a guest that answers, and 1 one that does not in time or that powered off before.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import moby
from moby import log
from moby.artifact import Artifact
from moby.cli.main import report
from moby.context import Context
from moby.errors import ConfigError, PlatformError
from moby.machines import MACHINES
from moby.machines.machine import Machine
from moby.machines.options import (
    BootKind,
    Disk,
    Networking,
    NetworkKind,
    Publish,
    RunOptions,
    parse_size_mib,
    read_data,
)
from moby.machines.start import bootable

WAIT_S = 60
YAML_SUFFIXES = (".yml", ".yaml")
DESCRIPTION = "Build a YAML file and boot it, or boot an image: NAME (of NAME-kernel …), NAME.efi, a disk or an ISO."
EPILOG = """\
examples:
  moby run --publish 8080:80 web.yml     build, boot, and serve the guest's port 80 on 8080
  moby run web                           boot web-kernel and web-initrd.img
  moby run -d --name db db.qcow2         in the background; see also moby ps, logs and stop
  moby run --wait -p 8080:80 web.yml     in the background, and back once the guest answers on port 80
  moby run --disk size=2G web.yml        with an empty disk, kept in web-state/

The console is on your terminal: Ctrl-C stops the machine, Ctrl-A x quits QEMU.
exit status: 0 the guest powered off, 3 it panicked, 4 QEMU failed, 5 Secure Boot refused it (with --secure-boot),
130/143 stopped by a signal. With --wait: 0 it answers, 1 it does not in time, or powered off; else as without"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby run``."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.add_argument("image", nargs="+", metavar="[qemu] FILE.yml|NAME|IMAGE", help="what to boot")
    add_machine_options(parser)
    add_image_options(parser)


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """The machine's hardware and its connections."""
    parser.add_argument("--name", help="the machine's name (default: the image's)")
    parser.add_argument("-d", "--detach", "--detached", action="store_true", help="run in the background")
    parser.add_argument(
        "--wait",
        action="store_true",
        help="as -d, and return once the guest takes connections on its published TCP ports: each is connected to",
    )
    parser.add_argument(
        "--wait-timeout",
        type=float,
        metavar="SECONDS",
        help=f"how long --wait waits at most (default {WAIT_S}); the machine goes on even then",
    )
    parser.add_argument("--cpus", type=int, default=1, help="processors (default 1)")
    parser.add_argument("--mem", default="", metavar="MiB", help="memory (default: what the image needs)")
    parser.add_argument("--disk", action="append", default=[], metavar="[PATH][,size=1G][,format=F]", help="a disk")
    parser.add_argument("--publish", "-p", action="append", default=[], metavar="HOST:GUEST[/udp]", help="offer a port")
    parser.add_argument("--networking", default="user", help="user, tap,IF, bridge,BR or none (default user)")
    parser.add_argument("--data", metavar="TEXT", help="handed to the guest as a config ISO")
    parser.add_argument("--data-file", type=Path, metavar="FILE", help="the same from a file")
    parser.add_argument("--state", type=Path, metavar="DIR", help="where disks and logs are kept (default NAME-state)")
    parser.add_argument("--accel", help="kvm, hvf or tcg (default: the fastest that works)")
    parser.add_argument("--gui", action="store_true", help="a window instead of the console")
    parser.add_argument("--usb", action="store_true", help="a USB bus")
    parser.add_argument("--tpm", action="store_true", help="a TPM 2.0, kept in the state directory")
    parser.add_argument("--device", action="append", default=[], help="passed to QEMU as it is")


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """How the image is read."""
    kinds = parser.add_mutually_exclusive_group()
    for kind in (BootKind.KERNEL, BootKind.ISO, BootKind.SQUASHFS):
        kinds.add_argument(
            f"--{kind.value}", dest="kind", action="store_const", const=kind, help=f"boot as {kind.value}"
        )
    parser.set_defaults(kind=BootKind.AUTO)
    parser.add_argument("--uefi", action="store_true", help="boot with UEFI firmware")
    parser.add_argument("--fw", type=Path, metavar="FILE", help="the UEFI firmware to use")
    parser.add_argument("--secure-boot", type=Path, metavar="VARS", help="start from these UEFI variables (moby keys)")
    parser.add_argument("--arch", help="the guest's architecture (default: the image's)")


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Build when it is YAML, then run; the exit status is the machine's."""
    from moby.machines.terminal import run_foreground

    words = list(arguments.image)
    back_end = words.pop(0) if len(words) > 1 and words[0] in MACHINES else "qemu"
    options = options_from(arguments)
    wait_s = wait_limit(arguments, options)
    target = made(words, arguments.arch or "", context)
    if options.detach:
        with moby.run(target, options=options, context=context, back_end=back_end) as machine:
            print(machine.name, flush=True)
            log.info(f"running in the background: moby logs {machine.name}, moby stop {machine.name}")
            return 0 if wait_s is None else wait(machine, wait_s)
    return run_foreground(
        bootable(target),
        options,
        context,
        stdin=sys.stdin.buffer,
        stdout=sys.stdout.buffer,
        back_end=back_end,
    )


def wait_limit(arguments: argparse.Namespace, options: RunOptions) -> float | None:
    """For how many seconds to wait, None for not at all. Raises ``ConfigError`` for waiting that would be in vain."""
    limit_s: float | None = arguments.wait_timeout
    if limit_s is not None and not (math.isfinite(limit_s) and limit_s > 0):
        raise ConfigError(f"{limit_s:g} is no time to wait", where="--wait-timeout", fix="seconds, such as 90")
    if not arguments.wait:
        if limit_s is not None:
            raise ConfigError("nothing is waited for without --wait", where="--wait-timeout", fix="add --wait")
        return None
    if options.networking.kind is not NetworkKind.USER:
        what = f"with --networking {options.networking.kind} no port leads to the guest"
        raise ConfigError(what, where="--wait", fix="leave out --networking, or --wait")
    if not any(port.protocol == "tcp" for port in options.publish):
        fix = "publish what the guest listens on: --publish 8080:80"
        raise ConfigError("there is no TCP port to wait for", where="--wait", fix=fix)
    return WAIT_S if limit_s is None else limit_s


def wait(machine: Machine, timeout_s: float) -> int:
    """Wait until the guest answers, and return 0, or the exit status of a machine that failed meanwhile.

    Raises ``PlatformError`` when it does not answer in time, or powered off.
    """
    ports = ", ".join(str(port.host_port) for port in machine.published if port.protocol == "tcp")
    try:
        with log.step(f"Waiting for {machine.name} to answer on port {ports}"):
            machine.wait_ports(timeout_s)
    except PlatformError as error:
        runs = f"; it still runs, moby stop {machine.name} ends it" if machine.status is None else ""
        told = PlatformError(error.what, where=error.where, fix=f"moby logs {machine.name}{runs}")
        if not machine.status:
            raise told from error
        report(told)
        return machine.status
    return 0


def made(words: list[str], architecture: str, context: Context) -> Path | tuple[Artifact, ...]:
    """What to boot: YAML files are built beside us, one other word is an image. Raises ``ConfigError``."""
    if all(word.endswith(YAML_SUFFIXES) or word == "-" for word in words):
        return moby.build(words, options=moby.BuildOptions(architecture=architecture), context=context)
    if len(words) > 1:
        raise ConfigError(f"cannot run {' '.join(words)!r}", fix="give one image, or YAML files only")
    return Path(words[0])


def options_from(arguments: argparse.Namespace) -> RunOptions:
    """The machine the flags describe. Raises ``ConfigError``."""
    return RunOptions(
        cpus=arguments.cpus,
        memory_mib=parse_size_mib(arguments.mem) if arguments.mem else None,
        disks=tuple(map(Disk.parse, arguments.disk)),
        publish=tuple(map(Publish.parse, arguments.publish)),
        networking=Networking.parse(arguments.networking),
        data=read_data(arguments.data, arguments.data_file),
        state=arguments.state,
        name=arguments.name,
        detach=arguments.detach or arguments.wait,
        kind=arguments.kind,
        architecture=moby.architecture(arguments.arch) if arguments.arch else None,
        uefi=arguments.uefi,
        firmware=arguments.fw,
        variables=arguments.secure_boot,
        accelerator=arguments.accel,
        gui=arguments.gui,
        usb=arguments.usb,
        tpm=arguments.tpm,
        devices=tuple(arguments.device),
    )
