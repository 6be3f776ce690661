"""Indexes joined: nobody's entry is lost, whatever the order."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from moby.oci import indexes
from moby.oci.indexes import Entry
from moby.oci.manifest import Index, decode


def entry(digest: str, os: str = "linux", architecture: str = "amd64", **more: str) -> Entry:
    platform = {"os": os, "architecture": architecture, **more}
    return {"mediaType": "m", "digest": digest, "size": 1, "platform": platform}


def attestation(digest: str, about: str) -> Entry:
    annotations = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": about}
    return {**entry(digest, "unknown", "unknown"), "annotations": annotations}


PLATFORMS = st.sampled_from([("linux", "amd64"), ("linux", "arm64"), ("linux", "riscv64"), ("windows", "amd64")])
ENTRIES = st.dictionaries(PLATFORMS, st.text("abc", min_size=1, max_size=2)).map(
    lambda chosen: [entry(digest, *platform) for platform, digest in chosen.items()]
)


@settings(max_examples=200)
@given(ENTRIES, ENTRIES)
def test_every_platform_stays_and_the_new_image_wins(old: list[Entry], new: list[Entry]) -> None:
    joined = {indexes.platform(each): each["digest"] for each in indexes.join(old, new)}
    before = {indexes.platform(each): each["digest"] for each in old}
    after = {indexes.platform(each): each["digest"] for each in new}
    assert joined == before | after
    assert not indexes.missing(indexes.join(old, new), new)
    assert indexes.conflicts(old, new) == sorted(
        each for each in before.keys() & after.keys() if before[each] != after[each]
    )


@settings(max_examples=100)
@given(ENTRIES)
def test_the_order_of_pushes_does_not_matter(entries: list[Entry]) -> None:
    one: list[Entry] = []
    two: list[Entry] = []
    for each in entries:
        one = indexes.join(one, [each])
    for each in reversed(entries):
        two = indexes.join(two, [each])
    assert indexes.encode(one) == indexes.encode(two)


def test_an_attestation_goes_with_its_image() -> None:
    old = [entry("a"), attestation("b", "a"), entry("c", architecture="arm64"), attestation("d", "c")]
    joined = indexes.join(old, [entry("e"), attestation("f", "e")])
    assert [each["digest"] for each in joined] == ["e", "c", "d", "f"]
    assert not indexes.missing(joined, [attestation("x", "e")])


def test_variants_and_versions_are_platforms_of_their_own() -> None:
    old = [entry("a", variant="v1"), entry("b", "windows", **{"os.version": "10.0.1"})]
    new = [
        entry("c", variant="v2"),
        entry("d", "windows", **{"os.version": "10.0.2"}),
        {"digest": "e"},
        {"digest": "f"},
    ]
    assert {each["digest"] for each in indexes.join(old, new)} == set("abcdef")


def test_what_is_unknown_to_us_survives() -> None:
    old = {**entry("a"), "platform": {"os": "linux", "architecture": "amd64", "os.features": ["x"]}, "future": 1}
    document = indexes.encode(indexes.join([old], [entry("b", architecture="arm64")]))
    assert json.loads(document)["manifests"][0] == old
    made = decode(indexes.encode([]), "")
    assert isinstance(made, Index)
    assert made.manifests == ()
