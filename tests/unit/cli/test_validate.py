from __future__ import annotations

import io
import json
import platform
import sys
from pathlib import Path

import pytest

from moby import proc
from moby.artifact import host_architecture
from moby.cli.main import main
from moby.config.decode import LABEL
from moby.oci.store import Store
from tests.support.images import image


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_valid_file_is_said_to_be_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.yml").write_text('init: ["@pkg:init"]\n')
    (here / "b.yml").write_text("services: [{name: s, image: nginx}]\n")
    assert main(["validate", "a.yml", "b.yml"]) == 0
    assert capsys.readouterr().out == "a.yml b.yml: valid\n"


def test_every_fault_comes_once_on_stderr(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.yml").write_text("kernl: {}\nservices: [{name: s, image: x, binds: [a]}]\n")
    assert main(["validate", "a.yml"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "moby: error: a.yml:1:1: unknown key 'kernl'",
        "  fix: did you mean 'kernel'?",
        "moby: error: a.yml:2:40 (services[0] 's': binds[0]): bind 'a' has no ':'",
        "  fix: write where it goes: a:/a",
    ]


def test_editors_get_places(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"services: [{name: s, image: x, binds: [a]}]\nfoo: 1\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert main(["validate", "--json", "-", "missing.yml"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "valid": False,
        "faults": [
            {
                "file": "stdin",
                "line": 1,
                "column": 40,
                "path": "services[0] 's': binds[0]",
                "what": "bind 'a' has no ':'",
                "fix": "write where it goes: a:/a",
            },
            {
                "file": "stdin",
                "line": 2,
                "column": 1,
                "path": None,
                "what": "unknown key 'foo'",
                "fix": "the keys known here are kernel, init, onboot, onshutdown, services, files, volumes, "
                "trust, verity",
            },
            {
                "file": "missing.yml",
                "line": None,
                "column": None,
                "path": None,
                "what": "cannot read it: No such file or directory",
                "fix": "check the path",
            },
        ],
        "notices": [],
        "warnings": [],
    }


def test_notices_of_an_old_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.yml").write_text("init: x\n")
    assert main(["validate", "--json", "a.yml"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["valid"], told["notices"][0]) == (True, "a.yml:1:1: init is a list now: init: [x]")
    assert main(["validate", "a.yml"]) == 0
    said = capsys.readouterr()
    assert said.out == "a.yml: valid\n"
    assert said.err.startswith("notice: a.yml:1:1: init is a list now")


@pytest.mark.parametrize(("host", "meant"), [("riscv64", "riscv64"), ("aarch64", "arm64"), ("s390x", "amd64")])
def test_labels_are_those_of_this_hosts_images(
    host: str, meant: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: host)
    made = image([{"a": "1"}], config={"Labels": {LABEL: "pids: host"}}, architecture=meant)
    made.save(Store(here / "store"), "docker.io/library/known:1")
    (here / "a.yml").write_text("services: [{name: s, image: 'known:1'}]\n")
    assert main(["validate", "--cache", str(here / "store"), "a.yml"]) == 1
    assert "unknown key 'pids'" in capsys.readouterr().err


def test_labels_of_images_in_the_store_are_checked_and_others_not_asked_for(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = here / "store"
    architecture = host_architecture() or "amd64"
    image([{"a": "1"}], config={"Labels": {LABEL: "pids: host"}}, architecture=architecture).save(
        Store(store), "docker.io/library/known:1"
    )
    (here / "a.yml").write_text(
        "services: [{name: s, image: 'known:1', binds: [a]}, {name: t, image: 127.0.0.1:1/other}]\n"
        "files: [{path: etc/x, source: made-later}]\n"
    )
    assert main(["validate", "--cache", str(store), "--json", "a.yml"]) == 1
    first, second = json.loads(capsys.readouterr().out)["faults"]
    assert (first["line"], first["column"], first["path"]) == (1, 29, "services[0] 's': image")
    assert first["what"] == "image docker.io/library/known:1, label org.mobyproject.config:1:1: unknown key 'pids'"
    assert second["what"] == "bind 'a' has no ':'"
    (here / "a.yml").write_text("services: [{name: t, image: 127.0.0.1:1/other}]\nfiles: [{path: x, source: later}]\n")
    assert main(["validate", "--cache", str(store), "a.yml"]) == 0


def test_what_is_hardly_meant_is_a_warning(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.yml").write_text("services: [{name: s, image: x, net: bridge}]\n")
    assert main(["validate", "a.yml"]) == 0
    said = capsys.readouterr()
    assert said.out == "a.yml: valid\n"
    warning = "a.yml:1:37 (services[0] 's': net): 'bridge' is taken for the path of a namespace"
    assert said.err == f"warning: {warning}\n"
    assert main(["validate", "--json", "a.yml"]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == [warning]


def test_a_format_of_2017_that_is_not_made_is_a_fault(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.yml").write_text("init: [A]\noutputs: [{format: gce}, {format: vhdd}, {format: floppy}]\n")
    assert main(["validate", "a.yml"]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if "moby: error" in line]
    assert said == [
        "moby: error: a.yml:1:8 (init[0]): 'A' is not an image reference: 'library/A' has upper-case letters",
        "moby: error: a.yml:2:35 (outputs[1].format): format 'vhdd' is not one that can be made",
        "moby: error: a.yml:2:51 (outputs[2].format): format 'floppy' is not one that can be made",
    ]


def test_an_unknown_component_is_a_fault(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.yml").write_text('init: ["@pkg:iniit"]\n')
    assert main(["validate", "a.yml"]) == 1
    assert "did you mean init?" in capsys.readouterr().err


def test_it_starts_without_what_it_does_not_need(here: Path) -> None:
    (here / "a.yml").write_text('init: ["@pkg:init", nginx]\n')
    code = "import sys; from moby.cli.main import main; main(['validate', 'a.yml']); print(*sys.modules)"
    loaded = set(proc.run([sys.executable, "-c", code]).decode().split())
    assert "pydantic" in loaded
    assert not {"httpx", "ruamel.yaml", "cryptography", "rich", "zstandard", "moby.plan"} & loaded


def test_nothing_is_written(here: Path) -> None:
    (here / "a.yml").write_text('init: ["@pkg:init", nginx]\n')
    assert main(["validate", "a.yml"]) == 0
    assert [path.name for path in here.iterdir()] == ["a.yml"]


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert "services" in json.loads(capsys.readouterr().out)["properties"]


def test_a_dry_run_prints_the_merged_file_and_an_empty_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.yml").write_text("init: [a]\n")
    (here / "b.yml").write_text("init: [b]\nfiles: [{path: x, contents: y}]\n")
    assert main(["build", "--dry-run", "a.yml", "b.yml"]) == 0
    assert capsys.readouterr().out == (
        'kernel:\n    image: ""\ninit:\n    - a\n    - b\nonboot: []\nonshutdown: []\nservices: []\nfiles:\n'
        '    - path: x\n      directory: false\n      contents: "y"\n      optional: false\nvolumes: []\n\n'
    )
    assert sorted(path.name for path in here.iterdir()) == ["a.yml", "b.yml"]


def test_a_dry_run_still_checks_the_options(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.yml").write_text("init: [a]\n")
    assert main(["build", "--dry-run", "-f", "tra", "a.yml"]) == 1
    assert "did you mean tar?" in capsys.readouterr().err


def test_a_dry_run_as_json_is_the_plan(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.yml").write_text("files: [{path: x, contents: y}]\n")
    assert main(["build", "--dry-run", "--json", "--arch", "arm64", "a.yml"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["architecture"], plan["kernel"]) == ("arm64", None)
    assert plan["files"] == [{"path": "x", "kind": "file", "mode": "0600", "uid": 0, "gid": 0, "contents": "y"}]
