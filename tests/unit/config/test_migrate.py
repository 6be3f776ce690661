"""``moby migrate``: the modern file means what the old one meant, and its comments are still there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings

from moby.cli.main import main
from moby.config.legacy import is_legacy
from moby.config.load import parse
from moby.config.migrate import migrate
from moby.config.source import read
from moby.errors import ConfigError
from moby.metadata import dry_run
from tests.unit.config.test_legacy import FILES

CASES = Path(__file__).parents[2] / "golden" / "migrate"


def assert_means_the_same(old: str, new: str) -> None:
    assert not is_legacy(read(new, file="new.yml").data)
    assert dry_run(parse(new)) == dry_run(parse(old))


@pytest.mark.parametrize("name", ["first", "flow", "anchors", "indented"])
def test_files_of_the_time(name: str, golden: Callable[[str, str], None]) -> None:
    old = (CASES / f"{name}.old.yml").read_text()
    new = migrate(old, file=f"{name}.yml")
    golden(f"migrate/{name}.new.yml", new)
    assert_means_the_same(old, new)
    for comment in (line.partition("#")[2].strip() for line in old.splitlines() if "#" in line):
        assert comment in new


@pytest.mark.parametrize(
    "text",
    [
        "services: [ {name:   s, image: x} ]   # odd spacing\n\n\n",
        "init:\n    - a\n  # shifted\n\nfiles: []",
        "# nothing but\ninit: []\r\n",
        "kernel: {}\n---\nsystem: []\n",
    ],
)
def test_a_file_of_today_stays_as_it_is(text: str) -> None:
    assert migrate(text, file="f.yml") == text


def test_migrating_again_changes_nothing() -> None:
    new = migrate((CASES / "first.old.yml").read_text(), file="f.yml")
    assert migrate(new, file="f.yml") == new


def test_what_cannot_be_said_today_is_refused_with_its_place() -> None:
    with pytest.raises(ConfigError) as caught:
        migrate("system:\n- name: a\n  image: x\n  network_mode: bridge0\n", file="f.yml")
    assert caught.value.where == "f.yml:4:17 (system[0] 'a': network_mode)"


def block(document: dict[str, object]) -> str:
    """The document as people write it, each line with a comment of its own."""
    lines = yaml.dump(document, sort_keys=False).splitlines()
    return "".join(f"{line}  # c{index}\n# above c{index}\n" for index, line in enumerate(lines))


@settings(max_examples=150, deadline=None)
@given(FILES.filter(is_legacy))
@example({"outputs": [{"format": "gce"}]})
@example({"system": [{"name": "a", "image": "x", "binds": ["/a:/b"], "capabilities": ["all", "CHOWN"]}]})
def test_every_file_keeps_its_meaning_and_its_comments(document: dict[str, object]) -> None:
    for old in (block(document), json.dumps(document) + "\n"):
        try:
            parse(old)
        except ConfigError:
            return
        new = migrate(old, file="f.yml")
        assert_means_the_same(old, new)
        if old.startswith("{"):
            continue
        for line in old.splitlines():
            assert line.rpartition("# ")[2] in new


def test_the_command_prints_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("moby.yaml").write_text("init: a # one\n")
    assert main(["migrate", "moby.yaml"]) == 0
    assert capsys.readouterr().out == "init: [a] # one\n"
    assert main(["migrate", "none.yaml"]) == 1
    assert "none.yaml: cannot read it" in capsys.readouterr().err


def test_unknown_keys_go_and_text_gets_quotes() -> None:
    old = "system:\n- name: a\n  image: x\n  environment: 1\n  command: [sleep, 10]\n  read_only: yes\ntop: 1\n"
    new = migrate(old, file="f.yml")
    assert "environment" not in new
    assert "top" not in new
    assert_means_the_same(old, new)
