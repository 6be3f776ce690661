from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moby.config.load import parse
from moby.config.merge import merge
from moby.config.model import Config, KernelSpec
from moby.config.places import Mark

NAMES = st.lists(st.sampled_from(("a", "b/c:1", "d.e/f")), max_size=3).map(tuple)
TEXT = st.sampled_from(("", "x", "y"))
KERNELS = st.builds(KernelSpec, image=TEXT, cmdline=TEXT, binary=TEXT, tar=st.none() | TEXT, ucode=st.none() | TEXT)
CONFIGS = st.builds(Config, kernel=st.none() | KERNELS, init=st.none() | NAMES)


def test_lists_are_joined_and_nothing_is_overridden_by_name() -> None:
    first = parse("onboot: [{name: a, image: x}]\nfiles: [{path: p, contents: '1'}]\ninit: [i]")
    second = parse("onboot: [{name: a, image: y}]\nfiles: [{path: p, contents: '2'}]\nservices: [{name: s, image: z}]")
    merged = merge(first, second)
    assert [(each.name, each.image) for each in merged.onboot or ()] == [("a", "x"), ("a", "y")]
    assert [each.contents for each in merged.files or ()] == ["1", "2"]
    assert merged.init == ("i",)
    assert len(merged.services or ()) == 1


def test_a_later_kernel_text_replaces_only_when_not_empty() -> None:
    merged = merge(parse("kernel: {image: a, cmdline: b, binary: c}"), parse("kernel: {image: '', cmdline: d}"))
    assert merged.kernel == KernelSpec(image="a", cmdline="d", binary="c")


def test_tar_and_ucode_can_be_reset_by_an_empty_text() -> None:
    merged = merge(parse("kernel: {tar: t, ucode: u}"), parse("kernel: {tar: '', image: k}"))
    assert merged.kernel == KernelSpec(image="k", tar="", ucode="u")


def test_trust_is_joined() -> None:
    merged = merge(parse("trust: {image: [a], keys: [k]}"), parse("trust: {image: [b], org: [o]}"))
    assert merged.trust
    assert (merged.trust.image, merged.trust.org, merged.trust.keys) == (("a", "b"), ("o",), ("k",))


def test_places_follow_their_values() -> None:
    first = parse("kernel:\n  image: k\n  cmdline: x\ninit:\n  - a\ntrust: {keys: [k]}\n", file="a.yml")
    second = parse(
        "kernel:\n  cmdline: y\ninit:\n  - b\nfiles:\n  - {path: f, contents: c}\ntrust: {keys: [l]}\n", file="b.yml"
    )
    places = merge(first, second).places
    assert places.values["init", 0] == Mark("a.yml", 5, 5)
    assert places.values["init", 1] == Mark("b.yml", 4, 5)
    assert places.values["kernel", "image"] == Mark("a.yml", 2, 10)
    assert places.values["kernel", "cmdline"] == Mark("b.yml", 2, 12)
    assert places.keys["kernel", "cmdline"] == Mark("b.yml", 2, 3)
    assert places.values["trust", "keys", 1] == Mark("b.yml", 7, 16)
    assert places.where(("files", 0)) == "b.yml:6:5 (files[0] 'f')"


@given(CONFIGS)
def test_an_empty_configuration_changes_nothing(config: Config) -> None:
    for merged in (merge(config, Config()), merge(Config(), config)):
        assert (merged.kernel, merged.init) == (config.kernel, config.init)


@given(CONFIGS, CONFIGS, CONFIGS)
def test_merging_is_associative(a: Config, b: Config, c: Config) -> None:
    left, right = merge(merge(a, b), c), merge(a, merge(b, c))
    assert (left.kernel, left.init) == (right.kernel, right.init)


@given(CONFIGS, CONFIGS)
def test_absent_lists_stay_absent_and_lengths_add_up(a: Config, b: Config) -> None:
    merged = merge(a, b)
    assert (merged.init is None) == (a.init is None and b.init is None)
    assert len(merged.init or ()) == len(a.init or ()) + len(b.init or ())
