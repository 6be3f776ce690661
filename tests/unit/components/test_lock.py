"""Locks are text that diffs well; what is in them is not trusted."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby.components.lock import Lock, Package
from moby.errors import ConfigError
from tests.support.debs import deb, lock

WORD = st.from_regex(r"[a-z0-9][a-z0-9.+~-]{0,20}", fullmatch=True)
PACKAGES = st.builds(
    Package,
    package=WORD,
    architecture=st.sampled_from(["amd64", "arm64", "all"]),
    version=st.from_regex(r"[0-9][A-Za-z0-9.+:~-]{0,20}", fullmatch=True),
    suite=WORD,
    archive=st.sampled_from(["debian", "debian-security"]),
    size_bytes=st.integers(1, 1 << 31),
    sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    path=st.from_regex(r"pool(/[a-z0-9._+~-]*[a-z0-9]){1,5}", fullmatch=True),
)


@given(st.lists(PACKAGES, max_size=5), st.from_regex(r"[0-9a-f]{64}", fullmatch=True))
def test_text_gives_the_same_lock_back(packages: list[Package], request_digest: str) -> None:
    made = Lock(request=request_digest, packages=tuple(sorted(packages)), resolved="20260101T000000Z")
    assert Lock.parse(made.text, where="x") == made


def test_digest_covers_rows_and_not_the_time() -> None:
    made = lock(deb("a"))
    later = Lock(request=made.request, packages=made.packages, resolved="20270101T000000Z")
    assert made.digest == later.digest
    assert made.digest != lock(deb("a", version="2")).digest


@pytest.mark.parametrize(
    "row",
    [
        "trixie debian a 1 amd64 10",
        "trixie elsewhere a 1 amd64 10 {sha} pool/a.deb",
        "trixie debian a 1 amd64 -1 {sha} pool/a.deb",
        "trixie debian a 1 amd64 99999999999 {sha} pool/a.deb",
        "trixie debian a 1 amd64 10 {sha}0 pool/a.deb",
        "trixie debian a 1 amd64 10 {sha} /etc/passwd",
        "trixie debian a 1 amd64 10 {sha} pool/../../x",
        "trixie debian ../a 1 amd64 10 {sha} pool/a.deb",
    ],
)
def test_refuses_a_bad_row_with_its_place(row: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Lock.parse("# head\n" + row.format(sha="a" * 64), where="lock/amd64.lock")
    assert caught.value.where == "lock/amd64.lock:2"


def test_writes_only_when_rows_change(tmp_path: Path) -> None:
    path = tmp_path / "lock" / "amd64.lock"
    assert lock(deb("a")).write(path)
    before = path.read_bytes()
    assert not Lock(request="", packages=lock(deb("a")).packages, resolved="20300101T000000Z").write(path)
    assert path.read_bytes() == before
    assert lock(deb("b")).write(path)
    assert [each.name for each in path.parent.iterdir()] == ["amd64.lock"]
