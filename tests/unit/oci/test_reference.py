from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby.errors import ConfigError
from moby.oci.digest import Digest
from moby.oci.reference import Reference

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("alpine", "docker.io/library/alpine"),
        ("alpine:3.20", "docker.io/library/alpine:3.20"),
        ("linuxkit/init:v1", "docker.io/linuxkit/init:v1"),
        ("localhost/x", "localhost/x"),
        ("my_host:5000/x", "my_host:5000/x"),
        ("localhost/moby/nginx:0123", "localhost/moby/nginx:0123"),
        ("quay.io/x", "quay.io/x"),
        ("host:5000/x:1", "host:5000/x:1"),
        ("127.0.0.1:5000/tiny:1", "127.0.0.1:5000/tiny:1"),
        ("[::1]:5000/a/b", "[::1]:5000/a/b"),
        ("a/b/c", "a/b/c"),
        (f"alpine@{DIGEST}", f"docker.io/library/alpine@{DIGEST}"),
        (f"org/x:1@{DIGEST}", f"docker.io/org/x:1@{DIGEST}"),
    ],
)
def test_expands_by_the_number_of_parts(text: str, expanded: str) -> None:
    assert str(Reference.parse(text)) == expanded


def test_knows_its_parts() -> None:
    reference = Reference.parse(f"ghcr.io/org/deep/name:v1@{DIGEST}")
    assert (reference.registry, reference.repository, reference.tag) == ("ghcr.io", "org/deep/name", "v1")
    assert reference.digest == Digest.parse(DIGEST)
    assert reference.locator == DIGEST


def test_no_tag_and_latest_are_looked_for_as_one() -> None:
    assert Reference.parse("a").names == ("docker.io/library/a", "docker.io/library/a:latest")
    assert Reference.parse("a:latest").names == ("docker.io/library/a:latest", "docker.io/library/a")
    assert Reference.parse("a:1").names == ("docker.io/library/a:1",)
    assert Reference.parse("a").locator == "latest"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a part of the name is empty"),
        ("x/", "a part of the name is empty"),
        ("Alpine", "upper-case"),
        ("a:", "'' is not a tag"),
        ("a:x y", "is not a tag"),
        ("a:" + "x" * 129, "is not a tag"),
        ("a@", "is not a digest"),
        ("a@sha256:12", "is not a digest"),
        ("a@md5:" + "0" * 32, "is not a digest"),
        ("../../etc/passwd", "is not a registry host"),
        ("host/../x/y", "may hold lower-case"),
        ("host//x", "a part of the name is empty"),
        ("a..b", "may hold lower-case"),
        ("a\nb", "may hold lower-case"),
        ("a\n", "may hold lower-case"),
        ("user@host/a/b", "is not a registry host"),
        ("http://host/a", "is not a registry host"),
        ("host:port/a/b", "is not a registry host"),
        ("h/" + "a" * 300, "longer than 255"),
        ("a" * 2000, "longer than 1024"),
        ("é", "may hold lower-case"),
    ],
)
def test_says_which_part_is_wrong(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match="is not an image reference") as caught:
        Reference.parse(text)
    assert why in str(caught.value)
    assert len(str(caught.value)) < 1000


_part = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}", fullmatch=True)
_host = st.one_of(
    st.from_regex(r"[a-z0-9]{1,6}(\.[a-z0-9]{1,6}){1,2}(:[0-9]{1,5})?", fullmatch=True),
    st.just("localhost"),
    st.just("localhost:5000"),
)
_tag = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
_digest = st.binary(max_size=8).map(lambda data: str(Digest.of(data)))


@given(_host, st.lists(_part, min_size=1, max_size=4), st.none() | _tag, st.none() | _digest)
def test_an_expanded_reference_parses_to_itself(
    host: str, parts: list[str], tag: str | None, digest: str | None
) -> None:
    text = f"{host}/{'/'.join(parts)}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    reference = Reference.parse(text)
    assert str(reference) == text
    assert Reference.parse(reference.expanded) == reference
    assert (reference.registry, reference.tag) == (host, tag)


@given(st.text(max_size=60))
def test_any_text_gives_a_reference_or_a_config_error(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except ConfigError:
        return
    assert Reference.parse(str(reference)) == reference
    assert str(reference).endswith(text)
