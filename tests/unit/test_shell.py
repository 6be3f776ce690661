"""Every shell script, those inside of recipes too, is one that ShellCheck has nothing to say of."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
_FOLDERS = (".ci", "scripts", "pkg", "kernel", "tests")
_SHELLS = ("#!/bin/sh\n", "#!/bin/bash\n")


def files() -> Iterator[tuple[str, str]]:
    """Name and text of what a shell runs."""
    for path in sorted(path for folder in _FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()):
        with path.open("rb") as stream:
            first = stream.readline(80).decode(errors="replace")
        if first in _SHELLS or path.suffix == ".sh":
            yield str(path.relative_to(ROOT)), path.read_text()
        elif path.name == "build.yml":
            recipe = yaml.safe_load(path.read_text())
            for file in recipe.get("files", ()):
                if str(file.get("contents", "")).startswith(_SHELLS):
                    yield f"{path.relative_to(ROOT)}:{file['path']}", file["contents"]


SCRIPTS = dict(files())


def test_the_scripts_are_found() -> None:
    assert {"scripts/test", "scripts/setup.sh", ".ci/run", "pkg/sshd/ssh.sh"} <= SCRIPTS.keys()
    assert any(":" in name for name in SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_has_nothing_to_say(name: str) -> None:
    done = subprocess.run(
        ["shellcheck", "--external-sources", "-"],
        cwd=ROOT,
        input=SCRIPTS[name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
