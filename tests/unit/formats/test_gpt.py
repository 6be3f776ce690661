from __future__ import annotations

import io
import json
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moby import proc
from moby.errors import ConfigError, IntegrityError
from moby.formats import gpt
from moby.formats.gpt import Partition, Table

DISK_BYTES = 8 << 20
SECTORS = DISK_BYTES // 512
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=18)


def part(first: int, last: int, *, id: int = 1, name: str = "EFI System", attributes: int = 0) -> Partition:
    return Partition(
        type=gpt.EFI_SYSTEM,
        id=uuid.UUID(int=id),
        first_sector=first,
        last_sector=last,
        name=name,
        attributes=attributes,
    )


def table(*partitions: Partition, boot_code: bytes = b"") -> Table:
    return Table(partitions=partitions, disk_id=uuid.UUID(int=0xD15C), boot_code=boot_code)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    ends = sorted(draw(st.lists(st.integers(34, SECTORS - 34), max_size=12, unique=True)))
    parts = [
        part(first, last, id=index + 1, name=draw(NAMES), attributes=draw(st.integers(0, (1 << 64) - 1)))
        for index, (first, last) in enumerate(zip(ends[::2], ends[1::2], strict=False))
    ]
    return table(*draw(st.permutations(parts)), boot_code=draw(st.binary(max_size=440)).rstrip(b"\0"))


def written(made: Table, disk_bytes: int = DISK_BYTES) -> io.BytesIO:
    disk = io.BytesIO()
    gpt.write(made, disk, disk_bytes=disk_bytes)
    assert len(disk.getvalue()) == disk_bytes
    return disk


def on_disk(made: Table, path: Path) -> Path:
    with path.open("wb") as out:
        gpt.write(made, out, disk_bytes=DISK_BYTES)
    return path


@settings(max_examples=30, deadline=None)
@given(tables())
def test_what_is_written_is_read_back(made: Table) -> None:
    disk = written(made)
    assert gpt.read(disk) == made
    gpt.validate(disk)


def test_sgdisk_and_sfdisk_accept_it(tmp_path: Path) -> None:
    made = table(
        part(2048, 4 * 2048 - 1, id=1, attributes=gpt.LEGACY_BOOTABLE),
        replace(part(4 * 2048, 6 * 2048 - 1, id=2, name="größe 日本"), type=gpt.LINUX),
        boot_code=b"\x90" * 440,
    )
    disk = on_disk(made, tmp_path / "disk")
    assert "No problems found" in proc.run(["sgdisk", "-v", disk]).decode()
    assert "No errors detected" in proc.run(["sfdisk", "--verify", disk]).decode()
    seen = json.loads(proc.run(["sfdisk", "--json", disk]))["partitiontable"]
    assert uuid.UUID(seen["id"]) == made.disk_id
    assert (seen["firstlba"], seen["lastlba"]) == (34, SECTORS - 34)
    assert [
        (each["start"], each["start"] + each["size"] - 1, uuid.UUID(each["type"]), uuid.UUID(each["uuid"]))
        for each in seen["partitions"]
    ] == [(each.first_sector, each.last_sector, each.type, each.id) for each in made.partitions]
    assert [each["name"] for each in seen["partitions"]] == ["EFI System", "größe 日本"]
    assert seen["partitions"][0]["attrs"] == "LegacyBIOSBootable"


@settings(max_examples=8, deadline=None)
@given(tables())
def test_sgdisk_finds_nothing_wrong_with_any(made: Table) -> None:
    with tempfile.TemporaryDirectory() as folder:
        disk = on_disk(made, Path(folder) / "disk")
        assert "No problems found" in proc.run(["sgdisk", "-v", disk]).decode()


def test_a_disk_of_many_tebibytes_has_a_table(tmp_path: Path) -> None:
    last = (20 << 40) // 512 - 34
    head, tail = gpt.pack(table(part(2048, last)), disk_bytes=20 << 40)
    assert (len(head), len(tail)) == (34 * 512, 33 * 512)
    assert head[446 + 12 : 446 + 16] == b"\xff\xff\xff\xff"
    assert gpt.read(io.BytesIO(head)).partitions[0].last_sector == last


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (table(part(34, 50), part(50, 60, id=2)), "overlap at sector 50"),
        (table(part(33, 50)), "sectors 33 to 50 are not between 34 and"),
        (table(part(50, 49)), "sectors 50 to 49 are not between"),
        (table(part(2048, SECTORS - 33)), "are not between 34 and 16350"),
        (table(part(34, 50), part(51, 60)), "have the same id"),
        (table(part(34, 50, id=0xD15C)), "have the same id"),
        (table(part(34, 50, name="n" * 37)), "longer than 36"),
        (table(part(34, 50, name="\udc80")), "is not text"),
        (table(part(34, 50, name="a\0b")), "is not text"),
        (table(part(34, 50, attributes=1 << 64)), "64 attributes"),
        (table(replace(part(34, 50), type=uuid.UUID(int=0))), "means that there is none"),
        (table(*(part(34 + n, 34 + n, id=n + 1) for n in range(129))), "129 partitions, 128 fit"),
        (table(boot_code=bytes(441)), "441 bytes of boot code, 440 fit"),
    ],
)
def test_a_table_that_cannot_be_is_refused(made: Table, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        gpt.pack(made, disk_bytes=DISK_BYTES)


def test_a_disk_without_room_is_refused() -> None:
    gpt.validate(written(table(), disk_bytes=67 * 512))
    with pytest.raises(ConfigError, match="66 sectors has no room"):
        gpt.pack(table(), disk_bytes=66 * 512)


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (446 + 8, "protective MBR"),
        (512, "no GUID partition table in sector 1"),
        (512 + 60, "sector 1 does not match its checksum"),
        (1024 + 56, "entries in sector 2 do not match"),
        (DISK_BYTES - 512 + 60, f"sector {SECTORS - 1} does not match its checksum"),
        (DISK_BYTES - 33 * 512, f"entries in sector {SECTORS - 33} do not match"),
        (DISK_BYTES - 512, f"no GUID partition table in sector {SECTORS - 1}"),
    ],
)
def test_a_changed_byte_is_seen(at: int, message: str) -> None:
    disk = written(table(part(2048, 4095)))
    disk.seek(at)
    byte = disk.read(1)[0]
    disk.seek(at)
    disk.write(bytes([byte ^ 0xFF]))
    with pytest.raises(IntegrityError, match=message):
        gpt.validate(disk)


def test_a_backup_of_another_table_is_seen() -> None:
    disk, other = written(table(part(2048, 4095))), written(table(part(2048, 4096)))
    disk.seek(DISK_BYTES - 33 * 512)
    disk.write(other.getvalue()[-33 * 512 :])
    with pytest.raises(IntegrityError, match="backup of the partition table differs"):
        gpt.validate(disk)


@given(st.binary(max_size=80), st.integers(0, 80))
def test_a_hostile_header_is_refused(noise: bytes, at: int) -> None:
    disk = bytearray(written(table(part(34, 40)), disk_bytes=100 * 512).getvalue())
    disk[512 + at : 512 + at + len(noise)] = noise
    try:
        gpt.validate(io.BytesIO(bytes(disk)))
    except IntegrityError as error:
        assert str(error)
