from __future__ import annotations

import os
from pathlib import Path

import pytest

from moby.rootfs.cache import Cache, Facts


def writing(data: bytes = b"data", **facts: object) -> object:
    def maker(folder: Path) -> Facts:
        (folder / "file").write_bytes(data)
        return dict(facts)

    return maker


def keep(cache: Cache, key: str, data: bytes = b"data") -> Path:
    with cache.using():
        kept = cache.make(key, writing(data))  # type: ignore[arg-type]  # a maker
    path = kept.folder / "file"
    return path


def test_what_was_made_is_found_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    with cache.using():
        assert cache.find("key") is None
        made = cache.make("key", writing(b"abc", linked=["a"], size=3))  # type: ignore[arg-type]  # a maker
        found = cache.find("key")
    assert made.new
    assert found is not None
    assert (found.new, found.facts, dict(found.files)) == (False, {"linked": ["a"], "size": 3}, {"file": 3})
    assert (found.folder / "file").read_bytes() == b"abc"


def test_a_failed_maker_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> Facts:
        (folder / "half").write_bytes(b"h")
        raise OSError("disk full")

    cache = Cache(tmp_path)
    with pytest.raises(OSError, match="disk full"), cache.using():
        cache.make("key", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"dat4"),
        lambda path: path.write_bytes(b"dat"),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: (path.parent / "facts.json").write_bytes(b""),
        lambda path: (path.parent / "facts.json").unlink(),
        lambda path: (path.parent / "facts.json").write_bytes((path.parent / "facts.json").read_bytes() + b" "),
    ],
)
def test_a_damaged_entry_is_not_there_and_can_be_made_again(tmp_path: Path, damage: object) -> None:
    cache = Cache(tmp_path)
    damage(keep(cache, "key"))  # type: ignore[operator]  # one of the functions above
    with cache.using():
        assert cache.find("key") is None
    assert keep(cache, "key").read_bytes() == b"data"
    with cache.using():
        assert cache.find("key") is not None


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit_bytes=2500)
    for age, key in ((30, "old"), (20, "older but used"), (10, "new")):
        folder = keep(cache, key, bytes(1000)).parent
        os.utime(folder, (1000 - age, 1000 - age))
    with cache.using():
        assert cache.find("older but used") is not None
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["new", "older but used"]


def test_nothing_goes_while_somebody_else_uses_the_cache(tmp_path: Path) -> None:
    other = Cache(tmp_path)
    with other.using():
        path = keep(Cache(tmp_path, limit_bytes=0), "key")
        assert path.exists()
    keep(Cache(tmp_path, limit_bytes=0), "another")
    assert not path.exists()


def test_what_a_killed_build_left_is_swept_up(tmp_path: Path) -> None:
    (tmp_path / "making-x").mkdir()
    (tmp_path / "making-x" / "half").write_bytes(b"h")
    keep(Cache(tmp_path), "key")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "key"]


def test_two_that_make_the_same_both_have_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.using():
        first = cache.make("key", writing())  # type: ignore[arg-type]  # a maker
        second = cache.make("key", writing())  # type: ignore[arg-type]  # a maker
        assert (first.folder / "file").read_bytes() == (second.folder / "file").read_bytes() == b"data"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "key"]
