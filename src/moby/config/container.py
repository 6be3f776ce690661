"""The keys of a container: those of ``onboot``, ``onshutdown`` and ``services``, and of an image's label.

The order of the keys is that of the printed forms.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PrivateAttr

from moby.config import fields
from moby.config.spec import (
    BindText,
    Capabilities,
    Id,
    ImageName,
    Int64,
    LimitText,
    ModeText,
    Spec,
    Texts,
    TmpfsText,
    UInt16,
    UInt32,
    UInt64,
    checked,
    namespace,
    number_or,
    suggesting,
)


class IdMapping(Spec):
    """A range of ids that a user namespace maps."""

    container_id: UInt32 = Field(0, alias="containerID", description="First id inside the container.")
    host_id: UInt32 = Field(0, alias="hostID", description="First id on the machine.")
    size: UInt32 = Field(0, description="How many ids.")


class Mount(Spec):
    """A mount as the OCI runtime specification has it."""

    destination: str = Field("", description="Where it goes; left out, where its type is always mounted.")
    type: str = Field("", description="File system type, or bind; left out, it follows from source or destination.")
    source: str = Field("", description="Device, directory or named volume; left out, the type.")
    options: Texts | None = Field(None, description="Mount options; they replace those of a default mount.")
    uid_mappings: tuple[IdMapping, ...] | None = Field(
        None, alias="uidmappings", description="User ids to map for an idmapped mount."
    )
    gid_mappings: tuple[IdMapping, ...] | None = Field(
        None, alias="gidmappings", description="Group ids to map for an idmapped mount."
    )


def _complete(mount: Mount) -> None:
    fields.complete_mount(mount.type, mount.source, mount.destination)


class Device(Spec):
    """A device node made in the container, and the permission to use it."""

    path: str = Field("", description="Path in the container, or all for the permission alone.")
    type: str = Field("", description="c for a character, b for a block device, a for all.")
    major: Int64 = Field(0, description="Major number.")
    minor: Int64 = Field(0, description="Minor number.")
    mode: ModeText = Field("", description='Permissions in octal, quoted; "0666" when left out.')


class DeviceRule(Spec):
    """A rule of the device cgroup."""

    allow: bool = Field(False, description="Whether access is allowed.")
    type: str = Field("", description="a for all, c or b.")
    major: Int64 | None = Field(None, description="Major number; left out, all.")
    minor: Int64 | None = Field(None, description="Minor number; left out, all.")
    access: str = Field("", description="Some of r, w and m.")


class Memory(Spec):
    """Memory limits in bytes."""

    limit: Int64 | None = Field(None, description="Hard limit.")
    reservation: Int64 | None = Field(None, description="Soft limit.")
    swap: Int64 | None = Field(None, description="Limit of memory and swap together.")
    kernel: Int64 | None = Field(None, description="Kernel memory limit (cgroup v1).")
    kernel_tcp: Int64 | None = Field(None, alias="kernelTCP", description="Kernel TCP buffer limit (cgroup v1).")
    swappiness: UInt64 | None = Field(None, description="How readily the kernel swaps, 0 to 100.")
    disable_oom_killer: bool | None = Field(
        None, alias="disableOOMKiller", description="Stop instead of kill when memory runs out (cgroup v1)."
    )


class Cpu(Spec):
    """CPU limits."""

    shares: UInt64 | None = Field(None, description="Relative weight.")
    quota: Int64 | None = Field(None, description="Microseconds of CPU time per period.")
    period: UInt64 | None = Field(None, description="Length of a period in microseconds.")
    realtime_runtime: Int64 | None = Field(None, description="Realtime microseconds per realtime period.")
    realtime_period: UInt64 | None = Field(None, description="Length of a realtime period in microseconds.")
    cpus: str = Field("", description="Usable CPUs, such as 0-2,7.")
    mems: str = Field("", description="Usable memory nodes.")


class Pids(Spec):
    """Limit on processes."""

    limit: Int64 = Field(0, description="How many processes and threads.")


class WeightDevice(Spec):
    """The I/O weight for one device."""

    major: Int64 = Field(0, description="Major number.")
    minor: Int64 = Field(0, description="Minor number.")
    weight: UInt16 | None = Field(None, description="Weight, 10 to 1000.")
    leaf_weight: UInt16 | None = Field(None, description="Weight against child groups (cgroup v1).")


class ThrottleDevice(Spec):
    """The I/O rate for one device."""

    major: Int64 = Field(0, description="Major number.")
    minor: Int64 = Field(0, description="Minor number.")
    rate: UInt64 = Field(0, description="Bytes or operations per second.")


class BlockIo(Spec):
    """Limits on block I/O."""

    weight: UInt16 | None = Field(None, description="Weight, 10 to 1000.")
    leaf_weight: UInt16 | None = Field(None, description="Weight against child groups (cgroup v1).")
    weight_device: tuple[WeightDevice, ...] | None = Field(None, description="Weights of single devices.")
    throttle_read_bps_device: tuple[ThrottleDevice, ...] | None = Field(None, description="Bytes read per second.")
    throttle_write_bps_device: tuple[ThrottleDevice, ...] | None = Field(None, description="Bytes written per second.")
    throttle_read_iops_device: tuple[ThrottleDevice, ...] | None = Field(
        None, alias="throttleReadIOPSDevice", description="Reads per second."
    )
    throttle_write_iops_device: tuple[ThrottleDevice, ...] | None = Field(
        None, alias="throttleWriteIOPSDevice", description="Writes per second."
    )


class HugepageLimit(Spec):
    """A limit on huge pages of one size."""

    page_size: Annotated[int | str, number_or("a size such as 2MB")] = Field(
        "", description="Page size in bytes, or its name: 2MB."
    )
    limit: UInt64 = Field(0, description="Bytes.")


class Priority(Spec):
    """The priority of a network interface's traffic (cgroup v1)."""

    name: str = Field("", description="Interface.")
    priority: UInt32 = Field(0, description="Priority.")


class NetworkResources(Spec):
    """Marks on network traffic (cgroup v1)."""

    class_id: UInt32 | None = Field(None, alias="classID", description="Class of outgoing packets.")
    priorities: tuple[Priority, ...] | None = Field(None, description="Priorities by interface.")


class Resources(Spec):
    """Limits that the container's cgroup sets."""

    devices: tuple[DeviceRule, ...] | None = Field(None, description="Device rules, before those of devices.")
    memory: Memory | None = Field(None, description="Memory.")
    cpu: Cpu | None = Field(None, description="CPU.")
    pids: Pids | None = Field(None, description="Number of processes.")
    block_io: BlockIo | None = Field(None, alias="blockio", description="Block I/O.")
    hugepage_limits: tuple[HugepageLimit, ...] | None = Field(None, description="Huge pages.")
    network: NetworkResources | None = Field(None, description="Network.")


class Interface(Spec):
    """A network interface put into the container's network namespace."""

    name: str = Field(description="Its name; without add, an existing interface to move.")
    add: str = Field("", description="Kind of interface to make, such as veth or dummy.")
    peer: str = Field("", description="Name of the other end of a veth pair.")
    create_in_root: bool = Field(False, description="Make it on the machine and move it.")


class BindNamespaces(Spec):
    """Files at which the container's namespaces stay reachable."""

    cgroup: str | None = Field(None, description="For the cgroup namespace.")
    ipc: str | None = Field(None, description="For the IPC namespace.")
    mnt: str | None = Field(None, description="For the mount namespace.")
    net: str | None = Field(None, description="For the network namespace.")
    pid: str | None = Field(None, description="For the process namespace.")
    user: str | None = Field(None, description="For the user namespace.")
    uts: str | None = Field(None, description="For the host name namespace.")


class Runtime(Spec):
    """What the machine does around the container's start."""

    cgroups: Texts | None = Field(None, description="Control groups to make first.")
    mounts: tuple[Mount, ...] | None = Field(None, description="Mounts made on the machine first.")
    mkdir: Texts | None = Field(None, description="Directories made on the machine first.")
    interfaces: tuple[Interface, ...] | None = Field(None, description="Network interfaces to give it.")
    bind_ns: BindNamespaces | None = Field(None, alias="bindNS", description="Namespaces to keep reachable.")
    namespace: str | None = Field(None, description="containerd namespace of a service.")


class ImageLabel(Spec):
    """How a container runs: all keys of an image entry but its name and image; also an image's own label."""

    capabilities: Capabilities | None = Field(
        None, description="Capabilities such as CAP_NET_ADMIN, or all; the label's are not added."
    )
    capabilities_add: Capabilities | None = Field(
        None, alias="capabilities.add", description="Capabilities on top of those of the image's label."
    )
    ambient: Capabilities | None = Field(None, description="Ambient capabilities.")
    mounts: tuple[Annotated[Mount, checked(_complete)], ...] | None = Field(None, description="Mounts, in full form.")
    binds: tuple[BindText, ...] | None = Field(
        None, description="SOURCE:DESTINATION[:OPTIONS]; the source is a path of the machine or a volume."
    )
    binds_add: tuple[BindText, ...] | None = Field(
        None, alias="binds.add", description="Binds on top of those of the image's label."
    )
    devices: tuple[Device, ...] | None = Field(None, description="Device nodes it may use.")
    tmpfs: tuple[TmpfsText, ...] | None = Field(None, description="DESTINATION[:OPTIONS] of temporary file systems.")
    command: Texts | None = Field(None, description="Program and arguments; replaces entrypoint and command.")
    env: Texts | None = Field(None, description="NAME=value; replaces the image's environment.")
    cwd: str = Field("", description="Working directory.")
    net: Annotated[str, namespace("net"), suggesting("host", "new", "none")] = Field(
        "", description="Network namespace: host (default), new, none, or the path of one."
    )
    pid: Annotated[str, namespace("pid"), suggesting("new", "host")] = Field(
        "", description="Process namespace: new (default), host, or the path of one."
    )
    ipc: Annotated[str, namespace("ipc"), suggesting("host", "new")] = Field(
        "", description="IPC namespace: host (default), new, or the path of one."
    )
    uts: Annotated[str, namespace("uts"), suggesting("host", "new")] = Field(
        "", description="Host name namespace: host (default), new, or the path of one."
    )
    userns: Annotated[str, namespace("userns"), suggesting("host", "new")] = Field(
        "", description="User namespace: host (default), new, or the path of one."
    )
    hostname: str = Field("", description="Host name; takes uts: new to have effect.")
    readonly: bool | None = Field(None, description="Read-only root file system.")
    masked_paths: Texts | None = Field(None, description="Paths hidden from the container.")
    readonly_paths: Texts | None = Field(None, description="Paths it cannot write.")
    uid: Id | None = Field(None, description="User: a number, root, or a container's name for its own id.")
    gid: Id | None = Field(None, description="Group, likewise.")
    additional_gids: tuple[Id, ...] | None = Field(None, description="Further groups, likewise.")
    no_new_privileges: bool | None = Field(None, description="No privileges gained through set-user-ID programs.")
    oom_score_adj: Annotated[int, Field(ge=-1000, le=1000)] | None = Field(
        None, description="How readily it is killed when memory runs out, -1000 to 1000."
    )
    rootfs_propagation: str | None = Field(None, description="Propagation of its root mount: shared, slave, private.")
    cgroups_path: str | None = Field(None, description="Its control group.")
    resources: Resources | None = Field(None, description="Resource limits.")
    sysctl: dict[str, str] | None = Field(None, description="Kernel parameters of its namespaces.")
    rlimits: tuple[LimitText, ...] | None = Field(None, description="NAME,SOFT,HARD process limits.")
    uid_mappings: tuple[IdMapping, ...] | None = Field(None, description="User ids of its user namespace.")
    gid_mappings: tuple[IdMapping, ...] | None = Field(None, description="Group ids of its user namespace.")
    annotations: dict[str, str] | None = Field(None, description="Annotations of the OCI configuration.")
    runtime: Runtime | None = Field(None, description="What the machine does around its start.")


class ImageEntry(ImageLabel):
    """A container of ``onboot``, ``onshutdown`` or ``services``."""

    name: Annotated[str, checked(fields.container_name)] = Field(description="Its name, unique among services.")
    image: ImageName = Field(description='Image reference, or "@pkg:NAME" for a component.')

    _as_docker: bool = PrivateAttr(default=False)

    @property
    def as_docker(self) -> bool:
        """Whether it runs as ``docker run`` did in March 2017: the image's entrypoint and user stay in force."""
        return self._as_docker

    def like_docker(self) -> ImageEntry:
        """The same entry, run in that way."""
        copy = self.model_copy()
        copy._as_docker = True
        return copy
