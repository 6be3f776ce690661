from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby.config import fields
from moby.config.fields import CAPABILITIES, Bind, Limit, Tmpfs, image_name
from moby.errors import ConfigError
from moby.oci.reference import Reference

PART = st.text("abc/._-", min_size=1, max_size=8)
OPTIONS = st.lists(st.text("abcdr=01", min_size=1, max_size=6), min_size=1, max_size=4).map(tuple)
NAMES = st.lists(st.sampled_from(CAPABILITIES), max_size=5).map(tuple)


@given(PART, PART, st.none() | OPTIONS)
def test_binds_round_trip(source: str, destination: str, options: tuple[str, ...] | None) -> None:
    bind = Bind(source, destination, options)
    assert Bind.parse(str(bind)) == bind


@given(st.text("a:,/", max_size=10))
def test_a_bind_has_one_or_two_colons_and_both_ends(text: str) -> None:
    parts = text.split(":")
    good = len(parts) in (2, 3) and parts[0] and parts[1]
    try:
        Bind.parse(text)
    except ConfigError:
        assert not good
    else:
        assert good


def test_a_bind_knows_its_volume() -> None:
    assert Bind.parse("data:/x").volume == "data"
    assert Bind.parse("/data:/x").volume is None


def test_tmpfs() -> None:
    assert Tmpfs.parse("/tmp") == Tmpfs("/tmp", None)
    assert Tmpfs.parse("/tmp:rw,size=1m") == Tmpfs("/tmp", ("rw", "size=1m"))


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("nofile,1024,4096", Limit("RLIMIT_NOFILE", 1024, 4096)),
        (" RLIMIT_core , unlimited , 0", Limit("RLIMIT_CORE", fields.UNLIMITED, 0)),
        ("AS,18446744073709551615,unlimited", Limit("RLIMIT_AS", fields.UNLIMITED, fields.UNLIMITED)),
    ],
)
def test_limits(text: str, limit: Limit) -> None:
    assert Limit.parse(text) == limit


@pytest.mark.parametrize(
    "text", ["", "nofile", "nofile,1", "nofile,1,2,3", "nofile,-1,2", "nofile,1,1e3", f"nofile,1,{1 << 64}"]
)
def test_bad_limits(text: str) -> None:
    with pytest.raises(ConfigError):
        Limit.parse(text)


def test_all_and_none_stand_alone_in_any_case() -> None:
    assert fields.capabilities(["All"]) == CAPABILITIES
    assert len(CAPABILITIES) == 41
    assert fields.capabilities(["NONE"]) == ()
    with pytest.raises(ConfigError, match="unknown capability 'all'"):
        fields.capabilities(["all", "CAP_KILL"])


@given(NAMES, NAMES)
def test_joined_capabilities_keep_order_and_repetitions(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    assert fields.join_capabilities(first, second) == first + second


@given(NAMES)
def test_everything_and_more_is_everything(names: tuple[str, ...]) -> None:
    assert fields.join_capabilities(["all"], names) == CAPABILITIES
    assert fields.join_capabilities(names, ["all"]) == CAPABILITIES
    assert fields.join_capabilities(["none"], names) == names


@given(st.integers(0, 0o7777))
def test_modes_round_trip(mode: int) -> None:
    assert fields.octal(f"{mode:o}") == fields.octal(f"{mode:04o}") == fields.octal(f"0o{mode:o}") == mode


@pytest.mark.parametrize("text", ["8", "rw", "-1", "10000", "0x1", "0644 ", "०६४४"])
def test_bad_modes(text: str) -> None:
    with pytest.raises(ConfigError):
        fields.octal(text)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("etc/x", "etc/x"),
        ("/abs/path", "abs/path"),
        ("a/./b//c/", "a/b/c"),
        ("a/../b", "b"),
        ("//a/../b", "b"),
        ("ü", "ü"),
    ],
)
def test_file_paths_are_cleaned(text: str, path: str) -> None:
    assert fields.file_path(text) == path


@given(st.text("ab./", max_size=12))
def test_a_file_path_never_leaves_the_root(text: str) -> None:
    try:
        parts = fields.file_path(text).split("/")
    except ConfigError:
        return
    assert parts
    assert not {"", ".", ".."} & set(parts)


@pytest.mark.parametrize("text", ["", "/", ".", "..", "a/../..", "a\0b"])
def test_bad_file_paths(text: str) -> None:
    with pytest.raises(ConfigError):
        fields.file_path(text)


@pytest.mark.parametrize(
    ("given_", "complete"),
    [
        (("", "proc", ""), ("proc", "proc", "/proc")),
        (("", "mqueue", ""), ("mqueue", "mqueue", "/dev/mqueue")),
        (("", "", "/dev"), ("tmpfs", "tmpfs", "/dev")),
        (("devpts", "", ""), ("devpts", "devpts", "/dev/pts")),
        (("cgroup", "", ""), ("cgroup", "cgroup", "/sys/fs/cgroup")),
        (("sysfs", "none", "/x"), ("sysfs", "none", "/x")),
        (("", "proc", "/dev"), ("proc", "proc", "/dev")),
    ],
)
def test_mounts_are_completed(given_: tuple[str, str, str], complete: tuple[str, str, str]) -> None:
    assert fields.complete_mount(*given_) == complete


@pytest.mark.parametrize(
    ("value", "name"), [(2097152, "2MB"), (1 << 30, "1GB"), (65536, "64KB"), ("2MB", "2MB"), (100, "100B")]
)
def test_page_sizes(value: int | str, name: str) -> None:
    assert fields.page_size(value) == name


IDS = {"web": 100, "db": 101, "root": 102}


@given(st.integers())
def test_numbers_are_ids_modulo_32_bits(number: int) -> None:
    assert fields.user_id(number, {}) == number % (1 << 32)


@pytest.mark.parametrize(("value", "number"), [(None, 0), ("", 0), ("root", 0), ("web", 100), ("db", 101)])
def test_ids_by_name(value: str | None, number: int) -> None:
    assert fields.user_id(value, IDS) == number


@given(st.text(max_size=6).filter(lambda text: text not in ("", *IDS)))
def test_unknown_ids_are_refused_also_quoted_numbers(value: str) -> None:
    with pytest.raises(ConfigError, match="cannot find id"):
        fields.user_id(value, IDS)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        (
            "docker-archive:web.tar",
            "docker-archive:./web.tar; the image's full name is docker.io/library/docker-archive:web.tar",
        ),
        (
            f"docker-archive:x@sha256:{64 * '0'}",
            f"docker-archive:./x; the image's full name is docker.io/library/docker-archive:x@sha256:{64 * '0'}",
        ),
        ("oci-archive:dir/web.tar:web:1", "oci-archive:./dir/web.tar:web:1"),
        ("oci-archive:a@b", "oci-archive:./a"),
        ("oci-archive:@b", "oci-archive:./PATH"),
        ("oci:latest", "oci:./latest; the image's full name is docker.io/library/oci:latest"),
        ("oci:~/layout", "oci:/PATH"),
    ],
)
def test_a_file_whose_path_does_not_look_like_one_is_no_image_of_a_registry(text: str, fix: str) -> None:
    with pytest.raises(ConfigError, match="is no file, but the name of an image in a registry") as caught:
        image_name(text)
    assert caught.value.fix.endswith(f" with / or ./: {fix}")


@pytest.mark.parametrize(
    "text", ["oci", "oci@sha256:" + 64 * "0", "oci:./dir", "oci:/dir:name", "oci-archive:../x", "oci:5000/x", "a/oci:1"]
)
def test_other_names_are_references(text: str) -> None:
    assert image_name(text) == Reference.parse(text)
