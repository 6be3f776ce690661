from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby import proc
from moby.errors import ConfigError, IntegrityError
from moby.formats import mbr
from moby.formats.mbr import Partition, Table

MIB = 2048
DISK_BYTES = 64 << 20


def table(*partitions: Partition, disk_id: int = 0x6D6F6279, boot_code: bytes = b"") -> Table:
    return Table(partitions=partitions, disk_id=disk_id, boot_code=boot_code)


def part(first: int, sectors: int, *, type: int = mbr.FAT32_LBA, active: bool = False) -> Partition:
    return Partition(type=type, first_sector=first, sectors=sectors, active=active)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    ends = sorted(draw(st.lists(st.integers(1, mbr.MAX_SECTORS), max_size=8, unique=True)))
    starts = list(zip(ends[::2], ends[1::2], strict=False))
    active = draw(st.integers(-1, 3))
    parts = [
        part(first, last - first, type=draw(st.integers(1, 255)), active=index == active)
        for index, (first, last) in enumerate(starts)
    ]
    return table(*draw(st.permutations(parts)), boot_code=draw(st.binary(max_size=440)).rstrip(b"\0"))


@given(tables())
def test_what_is_packed_is_read_back(made: Table) -> None:
    sector = mbr.pack(made, disk_bytes=1 << 41)
    assert len(sector) == 512
    assert mbr.read(sector) == made
    mbr.validate(sector, disk_bytes=1 << 41)


def test_sfdisk_accepts_it_and_sees_the_same(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    made = table(part(2048, 10 * MIB, active=True), part(20 * MIB, 44 * MIB, type=mbr.LINUX), boot_code=b"\x90" * 440)
    with disk.open("wb") as out:
        out.write(mbr.pack(made, disk_bytes=DISK_BYTES))
        out.truncate(DISK_BYTES)
    assert "No errors detected" in proc.run(["sfdisk", "--verify", disk]).decode()
    seen = json.loads(proc.run(["sfdisk", "--json", disk]))["partitiontable"]
    assert seen["id"] == "0x6d6f6279"
    assert [(each["start"], each["size"], each["type"], each.get("bootable")) for each in seen["partitions"]] == [
        (2048, 10 * MIB, "c", True),
        (20 * MIB, 44 * MIB, "83", None),
    ]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (table(part(1, 10), part(5, 10)), "overlap at sector 5"),
        (table(part(0, 10)), "sectors 0 to 10 are not on"),
        (table(part(1, 0)), "sectors 1 to 1 are not on"),
        (table(part(1, 1 << 20)), "are not on a disk of 131072"),
        (table(*(part(start, 1) for start in range(1, 6))), "5 partitions, four fit"),
        (table(part(1, 1, active=True), part(2, 1, active=True)), "more than one partition is active"),
        (table(boot_code=bytes(441)), "441 bytes of boot code, 440 fit"),
    ],
)
def test_a_table_that_cannot_be_is_refused(made: Table, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mbr.pack(made, disk_bytes=DISK_BYTES)


def test_more_than_two_tebibytes_need_another_table() -> None:
    with pytest.raises(ConfigError, match="ends after 2 TiB: use a GPT"):
        mbr.pack(table(part(1 << 31, (1 << 31) + 1)), disk_bytes=1 << 42)


def test_a_broken_table_is_seen() -> None:
    sound = mbr.pack(table(part(2048, 10), part(4096, 10)), disk_bytes=DISK_BYTES)
    for at, byte, message in [
        (510, b"\0", "55 AA"),
        (446, b"\x01", "boot indicator 0x01"),
        (446 + 12, b"\xff\xff", "overlap"),
        (446 + 16 + 11, b"\xff", "not on a disk"),
    ]:
        with pytest.raises(IntegrityError, match=message):
            mbr.validate(sound[:at] + byte + sound[at + len(byte) :], disk_bytes=DISK_BYTES)
    with pytest.raises(IntegrityError, match="shorter than a sector"):
        mbr.read(sound[:511])


@given(st.binary(min_size=512, max_size=512))
def test_any_sector_is_read_or_refused(sector: bytes) -> None:
    for tail in (b"", b"\x55\xaa"):
        try:
            mbr.validate(sector[: 512 - len(tail)] + tail, disk_bytes=DISK_BYTES)
        except IntegrityError as error:
            assert str(error)
