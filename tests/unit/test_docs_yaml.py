"""docs/yaml.md and docs/tutorial.md say what is so: tables are the models', files are valid, commands print that."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from moby.cli.main import main
from moby.config.decode import keys
from moby.config.model import Config
from moby.config.spec import Spec
from tests.support.tables import filled

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "yaml.md"
_BLOCK = re.compile(r"^```([\w-]+)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def all_models(model: type[Spec] = Config) -> Iterator[tuple[str, type[Spec]]]:
    yield model.__name__, model
    for inner in keys(model).values():
        if inner:
            yield from all_models(inner)


def test_the_tables_are_those_of_the_models(request: pytest.FixtureRequest) -> None:
    page = PAGE.read_text()
    if request.config.getoption("--update-golden"):
        PAGE.write_text(filled(page, dict(all_models())))
    assert PAGE.read_text() == filled(page, dict(all_models())), "run pytest --update-golden"


def test_every_model_has_a_table_and_every_link_a_heading() -> None:
    page = PAGE.read_text()
    assert {f"<!-- keys {name} -->" for name, _ in all_models()} <= set(page.splitlines())
    headings = {line.strip("# ").lower().replace(" ", "-") for line in page.splitlines() if line.startswith("#")}
    links = set(re.findall(r"\]\(#([a-z-]+)\)", page)) - {"imageentry"}
    assert links <= headings


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", ["yaml.md", "tutorial.md"])
def test_every_snippet_is_valid_and_every_command_prints_what_is_shown(
    page: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "bad.yml").write_text("kernel:\n  cmdlin: x\nservices:\n  - name: web\n    image: x\n    binds: [/srv]\n")
    for language, name, text in blocks((DOCS / page).read_text()):
        if language == "yaml":
            path = here / (name or "snippet.yml")
            path.write_text(text)
            assert main(["validate", str(path)]) == 0, capsys.readouterr().err
            assert main(["build", "--dry-run", str(path)]) == 0
            capsys.readouterr()
        elif language == "yaml-wrong":
            (here / name).write_text(text)
        elif language == "console":
            for command, expected in session(text):
                assert printed(command, capsys) == expected, command


def blocks(page: str) -> list[tuple[str, str, str]]:
    """The fenced blocks of a page: language, file name or nothing, text."""
    return _BLOCK.findall(page)


def session(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block and what is shown below each."""
    for part in text.split("$ ")[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def printed(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    words = shlex.split(command)
    assert words[0] == "moby", command
    with contextlib.suppress(SystemExit):
        main(words[1:])
    said = capsys.readouterr()
    return said.out + said.err
