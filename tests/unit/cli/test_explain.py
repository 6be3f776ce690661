"""What ``moby explain`` prints of parts, and what it says to a path that is not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from moby.cli import main as cli
from moby.context import Context
from moby.oci.store import Store
from tests.support.images import Content, image, symlink

Explain = Callable[..., tuple[int, str, str]]
TEXT = """\
init: [base]
services:
  - {name: web, image: "localhost:5000/a/long/name:1"}
files:
  - {path: etc/motd, contents: hello}
"""


@pytest.fixture
def explain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Explain:
    """Runs ``moby explain f.yml``; gives status, stdout and stderr."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("f.yml").write_text(TEXT)
    store = Store(Context.from_environment().store)
    base: dict[str, Content] = {
        "bin": symlink("usr/bin"),
        "usr/bin/busybox": "",
        "loop": symlink("loop"),
        "usr/lib/a": "",
    }
    image([base]).save(store, "docker.io/library/base")
    web: dict[str, Content] = {"usr/sbin/nginx": "", "srv": symlink("/usr"), "usr/up": symlink("../usr/sbin")}
    image([web]).save(store, "localhost:5000/a/long/name:1")

    def run(*words: str) -> tuple[int, str, str]:
        status = cli.main(["explain", "f.yml", *words])
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return run


def test_the_parts_stand_in_columns(explain: Explain) -> None:
    status, out, _ = explain()
    assert status == 0
    lines = out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "f.yml:1:8 (init[0])",
        "f.yml:3:5 (services[0] 'web')",
        "f.yml:5:5 (files[0] 'etc/motd')",
    ]
    assert {line.index(" /") for line in lines} == {len("f.yml:5:5 (files[0] 'etc/motd')") + 1}
    assert lines[0].index("docker.io/library/base ") == lines[1].index("localhost:5000/a/long/name:1 ")
    assert lines[0].index("sha256:") == lines[1].index("sha256:")
    assert lines[2].endswith("  /etc/motd")


@pytest.mark.parametrize(
    ("wanted", "near"),
    [
        ("/usr/bin/busbox", "/usr/bin/busybox"),
        ("/usr/bni/busybx", "/usr/bin/busybox"),
        ("/ussr/bin/busybx", "/usr/bin/busybox"),
        ("/bin/busbox", "/bin/busybox"),
        ("etc/mtod", "/etc/motd"),
        ("/containers/service/web", "/containers/services/web"),
        ("web:/usr/sbin/ngnix", "web:/usr/sbin/nginx"),
        ("web:/srv/sbin/ngnix", "web:/srv/sbin/nginx"),
        ("web:/usr/up/ngnix", "web:/usr/up/nginx"),
        ("wbe:/usr/sbin/ngnix", "web:/usr/sbin/nginx"),
        ("webb:/usr/sbin/nginx", "web:/usr/sbin/nginx"),
        ("webb", "web"),
        ("web:sur", "web:/usr"),
        ("wbe:sur", "web:/usr"),
        ("/loop/x", ""),
        ("/qqq", ""),
    ],
)
def test_a_path_that_is_not_there_gets_the_nearest_that_is(explain: Explain, wanted: str, near: str) -> None:
    status, _, err = explain(wanted)
    assert status == 1
    fix = f"did you mean {near}?" if near else "paths start at the root; a container's begin with its name and ':'"
    assert err == (f"moby: error: there is no '{wanted}' in the image, nor a container of that name\n  fix: {fix}\n")
