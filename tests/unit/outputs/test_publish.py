"""All files get their names, or every name keeps what it had."""

from __future__ import annotations

from pathlib import Path

import pytest

from moby.outputs.publish import publish


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    folder = tmp_path / ".moby-x"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True, params=["exchanged", "replaced"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways in which a file takes the place of another."""
    if request.param == "replaced":
        monkeypatch.setattr("moby.outputs.publish._exchange", lambda path, final: False)


def made(kept: Path, name: str) -> Path:
    path = kept / f"made-{name}"
    path.write_text(f"new {name}")
    return path


def shown(folder: Path) -> dict[str, str]:
    return {each.name: each.read_text() for each in folder.iterdir() if each.is_file()}


def test_files_come_and_what_is_obsolete_goes(tmp_path: Path, kept: Path) -> None:
    for name in ("a", "c"):
        (tmp_path / name).write_text(f"old {name}")
    files = {made(kept, name): tmp_path / name for name in ("a", "b")}
    publish(files, [tmp_path / "c", tmp_path / "d"], kept)
    assert shown(tmp_path) == {"a": "new a", "b": "new b"}


@pytest.mark.shows("When one of several outputs cannot be renamed, all names keep what they had", by="fault")
def test_a_rename_that_fails_takes_back_those_before_it(tmp_path: Path, kept: Path) -> None:
    (tmp_path / "a").write_text("old a")
    (tmp_path / "c").write_text("old c")
    files = {made(kept, "a"): tmp_path / "a", made(kept, "b"): tmp_path / "b", kept / "missing": tmp_path / "c"}
    with pytest.raises(FileNotFoundError):
        publish(files, [], kept)
    assert shown(tmp_path) == {"a": "old a", "c": "old c"}


def test_a_directory_in_the_way_is_noticed_before_anything_is_renamed(tmp_path: Path, kept: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(IsADirectoryError, match="directory"):
        publish({made(kept, "a"): tmp_path / "a", made(kept, "b"): tmp_path / "b"}, [], kept)
    assert shown(tmp_path) == {}


def test_a_symbolic_link_is_replaced_and_comes_back(tmp_path: Path, kept: Path) -> None:
    (tmp_path / "target").write_text("target")
    (tmp_path / "a").symlink_to("target")
    with pytest.raises(FileNotFoundError):
        publish({made(kept, "a"): tmp_path / "a", kept / "missing": tmp_path / "b"}, [], kept)
    assert (tmp_path / "a").is_symlink()
    publish({made(kept, "a"): tmp_path / "a"}, [], kept)
    assert not (tmp_path / "a").is_symlink()
    assert (tmp_path / "target").read_text() == "target"
