from __future__ import annotations

import contextlib
import datetime
import struct
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moby.errors import ConfigError, IntegrityError
from moby.formats import efivars
from moby.formats.authenticode import Signer
from moby.formats.efivars import Variable

WHEN = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
OWNER = uuid.UUID(int=5)
VENDORS = st.sampled_from([efivars.GLOBAL, efivars.IMAGE_SECURITY, uuid.UUID(int=9)])
VARIABLES = st.builds(
    Variable,
    name=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
    vendor=VENDORS,
    data=st.binary(max_size=300),
    attributes=st.integers(0, 0xFF),
    time_s=st.none() | st.integers(0, 4_000_000_000),
)


def template(size: int = 0x10000, store: int = 0x8000, spare: bytes = b"spare") -> bytes:
    """An empty store as firmware is delivered with."""

    def volume(checksum: int) -> bytes:
        fields = (bytes(16), uuid.UUID("fff12b8d-7696-4c8b-a985-2747075b4f50").bytes_le, size, b"_FVH", 0x4FEFF)
        head = struct.pack("<16s16sQ4sIHHHBB", *fields, 0x48, checksum, 0, 0, 2)
        return head + struct.pack("<IIII", size // 0x1000, 0x1000, 0, 0)

    checksum = -sum(struct.unpack("<36H", volume(0))) & 0xFFFF
    kind = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le
    head = volume(checksum) + struct.pack("<16sIBBHI", kind, store - 0x48, 0x5A, 0xFE, 0, 0)
    return head.ljust(store, b"\xff") + spare.ljust(size - store, b"\xff")


def unique(variables: list[Variable]) -> dict[tuple[uuid.UUID, str], Variable]:
    return {(each.vendor, each.name): each for each in variables}


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer.create("Moby test", valid_from=WHEN)


@given(st.lists(VARIABLES, max_size=8), st.lists(VARIABLES, max_size=8))
def test_what_is_put_in_is_read_back_and_later_values_win(first: list[Variable], second: list[Variable]) -> None:
    store = efivars.update(efivars.update(template(), first), second)
    assert unique(list(efivars.read(store))) == unique(first) | unique(second)
    assert len(store) == len(template()) and store[0x8000:] == template()[0x8000:]


def test_an_update_with_nothing_changes_nothing() -> None:
    assert efivars.update(template(), []) == template()


def test_deleted_variables_do_not_count() -> None:
    store = bytearray(efivars.update(template(), [Variable(name="a", vendor=OWNER, data=b"1")]))
    for state, count in ((0x3F, 1), (0x3E, 1), (0x3D, 0), (0x3C, 0), (0xFF, 0)):
        store[0x64 + 2] = state
        assert len(efivars.read(bytes(store))) == count


def test_secure_boot_needs_five_variables(signer: Signer) -> None:
    made = efivars.secure_boot(
        platform_key=signer.certificate,
        exchange_keys=[signer.certificate],
        trusted=[signer.certificate, signer.certificate],
        owner=OWNER,
        time_s=1_577_836_800,
    )
    store = efivars.update(template(), made)
    found = {each.name: each for each in efivars.read(store)}
    assert found["SecureBootEnable"].data == b"\1" and found["CustomMode"].data == b"\0"
    assert [found[name].attributes for name in ("PK", "KEK", "db")] == [0x27] * 3
    assert (found["db"].vendor, found["PK"].vendor) == (efivars.IMAGE_SECURITY, efivars.GLOBAL)
    assert efivars.certificates(found["PK"].data) == (signer.certificate,)
    assert efivars.certificates(found["db"].data) == (signer.certificate,) * 2
    assert efivars.update(template(), made) == store


def test_signature_lists_of_other_kinds_are_passed_over(signer: Signer) -> None:
    hashes = uuid.UUID("c1c41626-504c-4092-aca9-41f936934328").bytes_le + struct.pack("<III", 76, 0, 48) + bytes(48)
    lists = hashes + efivars.signature_lists([signer.certificate], OWNER)
    assert efivars.certificates(lists) == (signer.certificate,)
    for damaged in (lists[:100], hashes[:16] + struct.pack("<III", 5, 0, 48)):
        with pytest.raises(IntegrityError):
            efivars.certificates(damaged)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="do not fit"):
        efivars.update(template(), [Variable(name="a", vendor=OWNER, data=bytes(0x8000))])


@pytest.mark.parametrize(
    ("store", "message"),
    [
        (b"", "not believable"),
        (bytes(0x10000), "not a store"),
        (template().replace(b"_FVH", b"_FVX"), "not a store"),
        (template()[:0x2C] + b"\1" + template()[0x2D:], "checksum"),
        (template()[:0x48] + bytes(16) + template()[0x58:], "authenticated"),
        (template()[:0x58] + b"\xff\xff\xff\0" + template()[0x5C:], "in a volume of"),
        (template()[:0x2000], "not a store"),
    ],
)
def test_what_is_no_store_is_refused(store: bytes, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        efivars.read(store)


STORE = efivars.update(template(), [Variable(name=name, vendor=OWNER, data=b"x" * 50) for name in "abc"])


@settings(max_examples=200)
@given(st.integers(0, 0x200), st.binary(min_size=1, max_size=8))
def test_damage_gives_variables_or_an_integrity_error(at: int, noise: bytes) -> None:
    with contextlib.suppress(IntegrityError):
        efivars.read(STORE[:at] + noise + STORE[at + len(noise) :])
