"""The table that finds what may be the same."""

from __future__ import annotations

import random
import zlib

import pytest

from moby.formats.fingerprints import Fingerprints


def put(table: Fingerprints, fingerprint: int) -> None:
    _, slot = table.find(fingerprint)
    table.add(fingerprint, slot)


def test_finds_members_in_the_order_they_came() -> None:
    source = random.Random(1)
    table, expected = Fingerprints(), dict[int, list[int]]()
    for number in range(20_000):
        fingerprint = source.getrandbits(64) if source.random() < 0.7 else source.randrange(9_000) * 0x9E3779B1
        found, slot = table.find(fingerprint)
        assert found == tuple(expected.get(fingerprint, [])[:4])
        table.add(fingerprint, slot)
        expected.setdefault(fingerprint, []).append(number)
    assert len(table) == 20_000
    assert all(table.find(each)[0] == tuple(members[:4]) for each, members in expected.items())


@pytest.mark.parametrize("step", [0, 1 << 32, 1 << 17], ids=["one", "same low bits", "same middle"])
def test_fingerprints_made_to_collide_cost_no_more_than_others(step: int) -> None:
    """A search goes over all that stand side by side, up to a limit."""
    table = Fingerprints()
    for number in range(30_000):
        put(table, number * step)
    taken = "".join("x" if slot else " " for slot in table._slots)
    assert max(map(len, taken.split())) < 300


def test_good_checksums_are_always_found() -> None:
    table, source = Fingerprints(), random.Random(2)
    fingerprints = [source.randrange(10_000) << 32 | zlib.crc32(b"%d" % number) for number in range(200_000)]
    for fingerprint in fingerprints:
        put(table, fingerprint)
    assert all(number in table.find(fingerprint)[0] for number, fingerprint in enumerate(fingerprints))
