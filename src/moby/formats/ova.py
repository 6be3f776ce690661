"""Open Virtual Appliances: a tar of a description of a machine (OVF), a manifest with digests, and a disk.

Sources: DMTF DSP0243 1.1.1 "Open Virtualization Format Specification", whose chapters the comments name; the CIM
classes ``CIM_ResourceAllocationSettingData`` and ``CIM_OperatingSystem`` for the numbers. The elements of an item are
in the order of their schema, which is that of the alphabet.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO
from xml.sax.saxutils import escape, quoteattr

from moby.formats import tar
from moby.formats.content import Content
from moby.formats.entry import Entry, Kind, file

_CHUNK_BYTES = 1 << 20
_MAX_NAME = 80  # the names of the files then fit a plain tar header
_CIM = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2"
_NAMESPACES = {
    "xmlns": "http://schemas.dmtf.org/ovf/envelope/1",
    "xmlns:ovf": "http://schemas.dmtf.org/ovf/envelope/1",
    "xmlns:rasd": f"{_CIM}/CIM_ResourceAllocationSettingData",
    "xmlns:vssd": f"{_CIM}/CIM_VirtualSystemSettingData",
    "xmlns:vmw": "http://www.vmware.com/schema/ovf",
}
_FORMAT = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
_LINUX_64 = 101  # CIM_OperatingSystem.OSType
_NETWORK = "VM Network"
# CIM_ResourceAllocationSettingData.ResourceType
_CPU, _MEMORY, _SCSI, _ETHERNET, _DISK = 3, 4, 6, 10, 17
_CONTROLLER_ID = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What an importer is to make: ``efi`` is whether the disk is started by UEFI or by a BIOS.

    ``hardware`` is VMware's name of the generation, which others know too.
    """

    name: str
    cpus: int
    memory_mib: int
    efi: bool
    hardware: str = "vmx-10"


def write(machine: Machine, disk: Content, out: BinaryIO, *, disk_bytes: int, time_s: int = 0) -> int:
    """Write an appliance to ``out``, which need not seek; give the bytes written.

    ``disk`` is a streamOptimized VMDK that looks ``disk_bytes`` large; it is read twice. Raises ``IntegrityError`` when
    it is not of its size.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "-", machine.name)[:_MAX_NAME] or "machine"
    disk_name = f"{name}-disk1.vmdk"
    description = descriptor(machine, disk_name, file_bytes=disk.size, disk_bytes=disk_bytes).encode()
    digests = {f"{name}.ovf": hashlib.sha256(description).hexdigest(), disk_name: _digest(disk)}
    manifest = "".join(f"SHA256({file})= {digest}\n" for file, digest in digests.items()).encode()

    def entries() -> Iterator[Entry]:
        # "Distribution as a single file": description, manifest, then the files in the order of the description.
        yield file(f"{name}.ovf", description, mtime_s=time_s)
        yield file(f"{name}.mf", manifest, mtime_s=time_s)
        with disk.open() as stream:
            yield Entry(path=disk_name, kind=Kind.FILE, size=disk.size, mtime_s=time_s, data=stream)

    return tar.write(entries(), out)


def descriptor(machine: Machine, disk_name: str, *, file_bytes: int, disk_bytes: int) -> str:
    """The OVF of a machine with one disk, a SCSI controller that all hypervisors have, and one network card."""
    lines = [
        f"<Envelope {_attributes(_NAMESPACES)}>",
        *_section("References", [_empty("File", href=disk_name, id="file1", size=file_bytes)]),
        *_section("DiskSection", [_info("Disks"), _disk(disk_bytes)]),
        *_section("NetworkSection", [_info("Networks"), *_network()]),
        f"  <VirtualSystem ovf:id={quoteattr(machine.name)}>",
        *_indent([_info("A machine"), _element("Name", machine.name), *_system(), *_hardware(machine)], 2),
        "  </VirtualSystem>",
        "</Envelope>",
    ]
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + "\n".join(lines) + "\n"


def _system() -> list[str]:
    """The guest ("OperatingSystemSection")."""
    return [
        f'<OperatingSystemSection ovf:id="{_LINUX_64}" vmw:osType="other3xLinux64Guest">',
        *_indent([_info("The guest operating system"), _element("Description", "Linux, 64 bits")], 1),
        "</OperatingSystemSection>",
    ]


def _hardware(machine: Machine) -> list[str]:
    """What the machine is made of ("VirtualHardwareSection")."""
    items: Iterable[dict[str, str | int]] = (
        {
            "AllocationUnits": "hertz * 10^6",
            "Description": "Virtual CPUs",
            "ElementName": f"{machine.cpus} virtual CPU(s)",
            "InstanceID": 1,
            "ResourceType": _CPU,
            "VirtualQuantity": machine.cpus,
        },
        {
            "AllocationUnits": "byte * 2^20",
            "Description": "Memory",
            "ElementName": f"{machine.memory_mib} MB of memory",
            "InstanceID": 2,
            "ResourceType": _MEMORY,
            "VirtualQuantity": machine.memory_mib,
        },
        {
            "Address": 0,
            "Description": "SCSI controller",
            "ElementName": "SCSI controller 0",
            "InstanceID": _CONTROLLER_ID,
            "ResourceSubType": "lsilogic",
            "ResourceType": _SCSI,
        },
        {
            "AddressOnParent": 0,
            "Description": "Hard disk",
            "ElementName": "Hard disk 1",
            "HostResource": "ovf:/disk/vmdisk1",
            "InstanceID": 4,
            "Parent": _CONTROLLER_ID,
            "ResourceType": _DISK,
        },
        {
            "AddressOnParent": 7,
            "AutomaticAllocation": "true",
            "Connection": _NETWORK,
            "Description": "Network card",
            "ElementName": "Network adapter 1",
            "InstanceID": 5,
            "ResourceSubType": "E1000",
            "ResourceType": _ETHERNET,
        },
    )
    system: dict[str, str | int] = {
        "ElementName": "Virtual hardware family",
        "InstanceID": 0,
        "VirtualSystemIdentifier": machine.name,
        "VirtualSystemType": machine.hardware,
    }
    lines = [_info("Virtual hardware"), *_item("System", "vssd", system)]
    for item in items:
        lines += _item("Item", "rasd", item)
    lines.append(_firmware(machine))
    return ["<VirtualHardwareSection>", *_indent(lines, 1), "</VirtualHardwareSection>"]


def _firmware(machine: Machine) -> str:
    """What VMware calls the choice between BIOS and UEFI; others do without."""
    values = {"ovf:required": "false", "vmw:key": "firmware", "vmw:value": "efi" if machine.efi else "bios"}
    return f"<vmw:Config {_attributes(values)}/>"


def _disk(disk_bytes: int) -> str:
    return _empty(
        "Disk",
        capacity=disk_bytes,
        capacityAllocationUnits="byte",
        diskId="vmdisk1",
        fileRef="file1",
        format=_FORMAT,
    )


def _network() -> list[str]:
    return [
        f"<Network ovf:name={quoteattr(_NETWORK)}>",
        *_indent([_element("Description", "The network that the machine is connected to")], 1),
        "</Network>",
    ]


def _section(name: str, lines: list[str]) -> list[str]:
    return _indent([f"<{name}>", *_indent(lines, 1), f"</{name}>"], 1)


def _item(name: str, prefix: str, values: Mapping[str, str | int]) -> list[str]:
    fields = [_element(f"{prefix}:{key}", value) for key, value in values.items()]
    return [f"<{name}>", *_indent(fields, 1), f"</{name}>"]


def _element(name: str, value: str | int) -> str:
    return f"<{name}>{escape(str(value))}</{name}>"


def _empty(name: str, **values: str | int) -> str:
    return f"<{name} {_attributes({f'ovf:{key}': value for key, value in values.items()})}/>"


def _attributes(values: Mapping[str, str | int]) -> str:
    return " ".join(f"{key}={quoteattr(str(value))}" for key, value in values.items())


def _info(text: str) -> str:
    return _element("Info", text)


def _indent(lines: Iterable[str], depth: int) -> list[str]:
    return ["  " * depth + line for line in lines]


def _digest(disk: Content) -> str:
    digest = hashlib.sha256()
    with disk.open() as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
