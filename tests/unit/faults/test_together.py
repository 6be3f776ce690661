"""Several builds at once on one store: each gives what one alone gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.faults import Runner, faults_of
from tests.support.registry import FakeRegistry
from tests.unit.faults.test_killed import TEXT, files, final, kernel, made


@pytest.mark.parametrize("count", [2, 8])
def test_builds_at_once_on_one_empty_store_give_the_same_bytes_as_one(tmp_path: Path, count: int) -> None:
    with FakeRegistry() as fake, Runner(tmp_path) as runner:
        fake.put("x", "1", made())
        fake.put("k", "1", kernel())
        (tmp_path / "a.yml").write_text(TEXT.format(host=fake.host))
        words = ["build", "-f", "kernel+initrd", "--arch", "amd64"]

        def build(store: str, out: str) -> list[str]:
            (tmp_path / out).mkdir()
            return [*words, "--cache", str(tmp_path / store), "--dir", str(tmp_path / out), "a.yml"]

        alone = runner.run(*build("alone", "out"))
        assert alone.status == 0, alone.said
        runs = [runner.start(build("shared", f"out{number}")) for number in range(count)]
        for done in [run.wait() for run in runs]:
            assert done.status == 0, done.said
    wanted = files(tmp_path / "out")
    assert len(wanted) == 3
    for number in range(count):
        assert files(tmp_path / f"out{number}") == wanted
    assert faults_of(tmp_path / "shared") == []
    blobs = {name for name in final(tmp_path / "shared") if name.startswith("blobs/")}
    assert blobs == {name for name in final(tmp_path / "alone") if name.startswith("blobs/")}


def test_builds_at_once_to_the_same_names_leave_one_whole_output(tmp_path: Path) -> None:
    with FakeRegistry() as fake, Runner(tmp_path) as runner:
        fake.put("x", "1", made())
        fake.put("k", "1", kernel())
        (tmp_path / "a.yml").write_text(TEXT.format(host=fake.host))
        words = ["build", "--cache", str(tmp_path / "store"), "-f", "kernel+initrd", "--arch", "amd64", "a.yml"]
        for name in ("alone", "out"):
            (tmp_path / name).mkdir()
        assert runner.run(*words, "--dir", str(tmp_path / "alone")).status == 0
        runs = [runner.start([*words, "--dir", str(tmp_path / "out")]) for _ in range(4)]
        assert [run.wait().status for run in runs] == [0] * 4
    assert files(tmp_path / "out") == files(tmp_path / "alone")
