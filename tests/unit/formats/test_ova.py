from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from moby import proc
from moby.errors import IntegrityError
from moby.formats import ova, vmdk
from moby.formats.content import Content
from moby.formats.ova import Machine
from tests.support import disks

OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"
RASD = "{http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData}"
VMW = "{http://www.vmware.com/schema/ovf}"
MIB = 1 << 20


def machine(name: str = "web", *, efi: bool = False) -> Machine:
    return Machine(name=name, cpus=2, memory_mib=1024, efi=efi)


def appliance(folder: Path, made: Machine) -> tuple[Path, Path]:
    """A raw disk, and an appliance with it."""
    raw = disks.make(folder, 40 * MIB, {MIB: b"data" * 5000})
    with raw.open("rb") as disk, (folder / "disk.vmdk").open("wb") as out:
        vmdk.write(disk, out, content_id=1)
    with (folder / "web.ova").open("wb") as out:
        ova.write(made, Content.file(folder / "disk.vmdk"), out, disk_bytes=40 * MIB, time_s=1492533000)
    return raw, folder / "web.ova"


def test_tar_extracts_description_manifest_and_disk_in_this_order(tmp_path: Path) -> None:
    raw, image = appliance(tmp_path, machine())
    assert proc.run(["tar", "-tf", image]).decode().split() == ["web.ovf", "web.mf", "web-disk1.vmdk"]
    proc.run(["tar", "-xf", image, "-C", tmp_path])
    disks.compare(raw, tmp_path / "web-disk1.vmdk", "vmdk")
    for line in (tmp_path / "web.mf").read_text().splitlines():
        name, digest = line.removeprefix("SHA256(").split(")= ")
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    assert len((tmp_path / "web.mf").read_text().splitlines()) == 2


def test_the_description_refers_to_the_disk(tmp_path: Path) -> None:
    text = ova.descriptor(machine(), "web-disk1.vmdk", file_bytes=1234, disk_bytes=40 * MIB)
    root = ElementTree.fromstring(text)
    (file,) = root.iter(f"{OVF}File")
    (disk,) = root.iter(f"{OVF}Disk")
    assert file.attrib == {f"{OVF}href": "web-disk1.vmdk", f"{OVF}id": "file1", f"{OVF}size": "1234"}
    assert disk.attrib[f"{OVF}fileRef"] == "file1"
    assert disk.attrib[f"{OVF}capacity"] == str(40 * MIB)
    items = {item.findtext(f"{RASD}ResourceType"): item for item in root.iter(f"{OVF}Item")}
    assert items["17"].findtext(f"{RASD}HostResource") == f"ovf:/disk/{disk.attrib[f'{OVF}diskId']}"
    assert items["17"].findtext(f"{RASD}Parent") == items["6"].findtext(f"{RASD}InstanceID")
    assert items["10"].findtext(f"{RASD}Connection") == next(root.iter(f"{OVF}Network")).attrib[f"{OVF}name"]
    assert items["3"].findtext(f"{RASD}VirtualQuantity") == "2"
    assert items["4"].findtext(f"{RASD}VirtualQuantity") == "1024"


def test_the_elements_of_an_item_are_in_the_order_of_the_schema() -> None:
    root = ElementTree.fromstring(ova.descriptor(machine(), "d", file_bytes=1, disk_bytes=1))
    for item in root.iter(f"{OVF}Item"):
        names = [each.tag.removeprefix(RASD) for each in item]
        assert names == sorted(names)


@pytest.mark.parametrize(("efi", "firmware"), [(True, "efi"), (False, "bios")])
def test_the_firmware_is_named(efi: bool, firmware: str) -> None:
    root = ElementTree.fromstring(ova.descriptor(machine(efi=efi), "d", file_bytes=1, disk_bytes=1))
    (config,) = root.iter(f"{VMW}Config")
    assert config.attrib == {f"{OVF}required": "false", f"{VMW}key": "firmware", f"{VMW}value": firmware}


def test_any_name_can_be_a_machine_s(tmp_path: Path) -> None:
    name = "größe <&\"'> " + "n" * 200
    _, image = appliance(tmp_path, machine(name))
    listed = proc.run(["tar", "-tf", image]).decode().split()
    assert [each[:8] for each in listed] == ["gr--e---"] * 3
    assert max(map(len, listed)) < 100
    root = ElementTree.fromstring(ova.descriptor(machine(name), "d", file_bytes=1, disk_bytes=1))
    assert root.findtext(f"{OVF}VirtualSystem/{OVF}Name") == name


def test_the_description_is_readable(golden: Callable[[str, str], None]) -> None:
    golden("ova/web.ovf", ova.descriptor(machine(), "web-disk1.vmdk", file_bytes=1234, disk_bytes=40 * MIB))


def test_a_disk_that_changed_its_size_is_refused() -> None:
    with pytest.raises(IntegrityError, match=r"web-disk1\.vmdk: 5 bytes announced, 4 given"):
        ova.write(machine(), Content(5, lambda: io.BytesIO(b"1234")), io.BytesIO(), disk_bytes=MIB)
