"""What the completion script offers, asked as bash asks it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from moby import proc
from moby.cli import main as cli

_ASK = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_moby 2>/dev/null; echo "${COMPREPLY[@]}"'
_PS = """\
#!/bin/sh
case $* in '-q ps' | '-q ps --all') ;; *) exit 1 ;; esac
echo 'moby: error: something else' >&2
cat <<'END'
NAME                      PID       UP  PORTS
web                         7       1s  127.0.0.1:8080->80/tcp
else                        8       2s 
$(touch${IFS}hostile)        9       3s 
`touch${IFS}hostile`         9       3s 
${x:=$(touch${IFS}hostile)}        9       3s 
two words                  10       4s 
--all                      11       5s 
naïve                      12       6s 
END
[ "$*" = '-q ps' ] || cat <<'END'
db                          -    ended  
$(touch${IFS}hostile)       -    ended  
--past                      -    ended  
END
"""


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["build", ""], ["a.yml", "b.yaml", "sub"]),
        (["validate", "b"], ["b.yaml"]),
        (["lock", "sub/"], ["sub/d.yml"]),
        (["verify", "web", ""], ["a.yml", "b.yaml", "sub"]),
        (["build", "-f", "qcow2-"], ["qcow2-bios", "qcow2-efi"]),
        (["build", "--format", "tar,qcow2-"], ["tar,qcow2-bios", "tar,qcow2-efi"]),
        (["verify", "-f", "kernel+i"], ["kernel+initrd", "kernel+iso"]),
        (["build", "-f", "tar", "a"], ["a.yml"]),
        (["logs", ""], ["web", "else", "db"]),
        (["logs", "-f", "d"], ["db"]),
        (["stop", ""], ["web", "else"]),
        (["stop", "web", "e"], ["else"]),
        (["build", "--root", "sq"], ["squashfs"]),
        (["build", "--for"], ["--format"]),
        (["run", ""], []),
    ],
    ids=lambda words: " ".join(words),
)
def test_values_are_completed(
    words: list[str], offered: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "moby.bash").write_text(script("bash", capsys))
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/moby"
    program.write_text(_PS)
    program.chmod(0o755)
    here = tmp_path / "here"
    (here / "sub").mkdir(parents=True)
    for name in ("a.yml", "b.yaml", "c.txt", "sub/d.yml"):
        (here / name).touch()
    asked = f'PATH="{program.parent}:$PATH"; cd "{here}"; {_ASK}'
    said = proc.run(["bash", "-c", asked, "bash", tmp_path / "moby.bash", "moby", *words])
    assert said.decode().split() == offered
    assert not (here / "hostile").exists(), "bash reads names once more"


@pytest.mark.parametrize(("command", "offered"), [("logs", "web else db\n"), ("stop", "web else\n")])
def test_tcsh_offers_names_that_it_does_not_expand(
    command: str, offered: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "moby"
    program.write_text(_PS)
    program.chmod(0o755)
    (listed,) = re.findall(rf"'n/{command}/(`.*`)/'", script("tcsh", capsys))
    asked = f"set path = ({tmp_path} $path:q); cd {tmp_path}; set names = ({listed}); echo $names:q"
    assert proc.run(["tcsh", "-f", "-c", asked]).decode() == offered
    assert not (tmp_path / "hostile").exists()


@pytest.mark.parametrize(
    ("shell", "parts"),
    [
        (
            "zsh",
            [
                ":_values -s , format aws azure ",
                ":_moby_machines",
                "_moby_machines() {",
                ":_moby_machines_kept",
                "_moby_machines_kept() {",
                "_files -g '(*.yml|*.yaml)'",
            ],
        ),
        ("tcsh", ["'n/--format/(aws azure ", "f:{*.yml,*.yaml}", "moby -q ps |& ", "moby -q ps --all |& "]),
    ],
)
def test_other_shells_get_the_same_values(shell: str, parts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    made = script(shell, capsys)
    assert [part for part in parts if part not in made] == []
