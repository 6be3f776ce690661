"""What ``moby run`` can be told, and how its words are read (``--publish``, ``--disk``, ``--networking``, sizes)."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from pathlib import Path

from moby.artifact import Architecture
from moby.errors import ConfigError

LOOPBACK = "127.0.0.1"
_MIB_PER_GIB = 1024
_PUBLISH = re.compile(
    r"(?:(?P<address>\[[0-9a-fA-F:]+\]|[0-9.]+):)?(?P<host>\d{1,5}):(?P<guest>\d{1,5})(?:/(?P<protocol>[a-zA-Z]+))?"
)
_DISK_FORMATS = {
    "vhd": "vpc",
    "vpc": "vpc",
    "raw": "raw",
    "qcow2": "qcow2",
    "vmdk": "vmdk",
    "vhdx": "vhdx",
    "vdi": "vdi",
}


class BootKind(enum.StrEnum):
    """Which reading of the image argument is forced; ``AUTO`` looks at what is there."""

    AUTO = "auto"
    KERNEL = "kernel"
    SQUASHFS = "squashfs"
    ISO = "iso"
    DISK = "disk"


class NetworkKind(enum.StrEnum):
    """How the guest's first network card reaches the world."""

    USER = "user"
    TAP = "tap"
    BRIDGE = "bridge"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Networking:
    """``kind`` and, for tap and bridge, the host's interface."""

    kind: NetworkKind = NetworkKind.USER
    interface: str = ""

    @classmethod
    def parse(cls, text: str) -> Networking:
        """Read ``user``, ``default``, ``none``, ``tap,IFNAME`` or ``bridge,NAME``. Raises ``ConfigError``."""
        word, _, interface = text.partition(",")
        known = {kind.value: kind for kind in NetworkKind} | {"default": NetworkKind.USER}
        kind = known.get(word)
        needs_interface = kind in (NetworkKind.TAP, NetworkKind.BRIDGE)
        if kind is None or needs_interface != bool(interface) or "," in interface:
            raise ConfigError(
                f"cannot read the network {text!r}", where="--networking", fix="user, none, tap,NAME or bridge,NAME"
            )
        return cls(kind=kind, interface=interface)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """A port of the guest that the host offers; ``address`` is the host's, the loopback one unless named."""

    host_port: int
    guest_port: int
    protocol: str = "tcp"
    address: str = LOOPBACK

    @classmethod
    def parse(cls, text: str) -> Publish:
        """Read ``[ADDRESS:]HOST:GUEST[/tcp|/udp]``, ports 1 to 65535. Raises ``ConfigError``."""
        found = _PUBLISH.fullmatch(text)
        protocol = ((found and found["protocol"]) or "tcp").lower()
        ports = (int(found["host"]), int(found["guest"])) if found else (0, 0)
        if found is None or protocol not in ("tcp", "udp") or not all(1 <= port <= 65535 for port in ports):
            raise ConfigError(
                f"cannot read the port {text!r}", where="--publish", fix="HOST:GUEST or HOST:GUEST/udp, such as 8080:80"
            )
        address = (found["address"] or LOOPBACK).strip("[]")
        return cls(host_port=ports[0], guest_port=ports[1], protocol=protocol, address=address)

    @classmethod
    def told(cls, text: str) -> Publish:
        """The port that ``str`` gave ``text`` for. Raises ``ConfigError``."""
        host, _, guest = text.partition("->")
        address, _, port = host.rpartition(":")
        return cls.parse(f"[{address}]:{port}:{guest}" if ":" in address else f"{address}:{port}:{guest}")

    def __str__(self) -> str:
        """``127.0.0.1:8080->80/tcp``, as ``moby ps`` prints it."""
        return f"{self.address}:{self.host_port}->{self.guest_port}/{self.protocol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk to attach: ``path`` (None: made in the state directory), ``size_mib`` when it must be made."""

    path: Path | None = None
    size_mib: int | None = None
    format: str | None = None

    @classmethod
    def parse(cls, text: str) -> Disk:
        """Read ``[file=]PATH[,size=N[M|G]][,format=FORMAT]``, bare sizes in GiB. Raises ``ConfigError``."""
        path: Path | None = None
        size_mib: int | None = None
        disk_format: str | None = None
        for word in text.split(","):
            key, separator, value = word.partition("=")
            if not separator:
                key, value = "file", word
            match key:
                case "file" if value:
                    path = Path(value)
                case "size":
                    size_mib = parse_size_mib(value, unit="G", where="--disk")
                case "format" if value in _DISK_FORMATS:
                    disk_format = _DISK_FORMATS[value]
                case "format":
                    known = ", ".join(sorted(_DISK_FORMATS))
                    raise ConfigError(f"unknown disk format {value!r}", where="--disk", fix=f"one of {known}")
                case _:
                    raise ConfigError(f"cannot read {word!r}", where="--disk", fix="[file=]PATH,size=1G,format=qcow2")
        if path is None and size_mib is None:
            raise ConfigError("a disk needs a path or a size", where="--disk", fix="PATH,size=1G")
        return cls(path=path, size_mib=size_mib, format=disk_format)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run an image; every field has the default of ``moby run`` without flags.

    ``memory_mib`` None: chosen from the image. ``data`` is handed to the guest as an ISO with one file, ``config``.
    ``state`` None: ``NAME-state`` beside the image. ``accelerator`` None: the host's when it works, else ``tcg``;
    a name (``kvm``, ``hvf``, ``tcg``) is taken as given. ``firmware`` is an UEFI code file,
    ``variables`` a store of its variables to start from each time, as with Secure Boot's keys; both imply ``uefi``.
    ``tpm`` gives the machine a TPM 2.0.
    ``devices`` go to QEMU as they are. ``stop_timeout_s`` is how long a guest may take to power off.
    """

    cpus: int = 1
    memory_mib: int | None = None
    disks: tuple[Disk, ...] = ()
    publish: tuple[Publish, ...] = ()
    networking: Networking = Networking()
    data: bytes | None = None
    state: Path | None = None
    name: str | None = None
    detach: bool = False
    kind: BootKind = BootKind.AUTO
    architecture: Architecture | None = None
    uefi: bool = False
    firmware: Path | None = None
    variables: Path | None = None
    accelerator: str | None = None
    gui: bool = False
    usb: bool = False
    tpm: bool = False
    devices: tuple[str, ...] = ()
    stop_timeout_s: float = 10

    def __post_init__(self) -> None:
        if self.cpus < 1:
            raise ConfigError(f"{self.cpus} is not a number of processors", where="--cpus", fix="1 or more")
        if self.memory_mib is not None and self.memory_mib < 1:
            raise ConfigError(f"{self.memory_mib} MiB is no memory", where="--mem", fix="give MiB, such as 512")
        if self.publish and self.networking.kind is not NetworkKind.USER:
            raise ConfigError("ports are published by user networking only", where="--publish", fix="--networking user")
        if self.gui and self.detach:
            raise ConfigError("a window cannot be detached", where="--gui", fix="leave out --gui or --detach")


def parse_size_mib(text: str, *, unit: str = "M", where: str = "--mem") -> int:
    """``512M``, ``2G``, or a bare number in ``unit``, as MiB. Raises ``ConfigError``."""
    found = re.fullmatch(r"(\d{1,9})([MG]?)", text.strip().upper())
    if found is None or int(found[1]) == 0:
        raise ConfigError(f"cannot read the size {text!r}", where=where, fix="a number with M or G, such as 512M or 2G")
    return int(found[1]) * (_MIB_PER_GIB if (found[2] or unit) == "G" else 1)


def read_data(text: str | None, path: Path | None) -> bytes | None:
    """The guest's data of ``--data TEXT`` or ``--data-file PATH``. Raises ``ConfigError``."""
    if text is not None and path is not None:
        raise ConfigError("--data and --data-file exclude each other", fix="give one of them")
    if path is None:
        return None if text is None else text.encode()
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the data: {error.strerror}", where=str(path)) from error
