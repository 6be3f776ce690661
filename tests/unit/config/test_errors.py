"""The catalogue of ``tests/golden/errors``: each wrong configuration has a message of its own and a mended twin."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from moby.config.decode import LABEL
from moby.config.load import parse
from moby.errors import ConfigError
from moby.formats import tar
from moby.oci.image import Image
from moby.oci.manifest import ImageConfig, Platform
from moby.oci.reference import Reference
from moby.oci.store import Store
from moby.plan import plan
from moby.rootfs.build import entries
from tests.support import errorcases
from tests.support.errorcases import Case, cases
from tests.support.images import Content, image
from tests.support.images import tar as archive

CASES = cases()
CONTENT: dict[str, Content] = {
    "kernel": "k",
    "bzImage": "k",
    "kernel.tar": archive({"lib/m": ""}),
    "true": archive({"lib/m": ""}),
    "f": "",
}


def message(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, file="f.yml")
    return "\n".join(str(each) for each in (caught.value, *caught.value.others))


class Everything:
    """Gives one small image under every name; its label is that of the case under ``x``."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "store")
        self._image = image([CONTENT]).save(self.store, "docker.io/library/x")
        self.label = ""

    def resolve(self, reference: Reference, platform: Platform) -> Image:
        config = ImageConfig(labels={LABEL: self.label} if reference.repository == "library/x" else {})
        return replace(self._image, reference=reference, platform=platform, config=config)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Everything:
    return Everything(tmp_path_factory.mktemp("errors"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_message(case: Case, request: pytest.FixtureRequest) -> None:
    said = case.message_now()
    if request.config.getoption("--update-golden"):
        case.write(said)
    else:
        assert said == case.message


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_mended_twin_builds(case: Case, everything: Everything) -> None:
    assert case.wrong != case.right
    everything.label = case.right.get("label", "")
    decided = plan(errorcases.config(case.right), everything, architecture="amd64")
    assert tar.write(entries(decided, everything.store), io.BytesIO()) >= 0


def test_messages_say_what_where_and_nothing_twice() -> None:
    messages = [case.message for case in CASES]
    assert len(CASES) >= 140
    assert len(set(messages)) == len(messages)
    assert all(messages)
    for case in CASES:
        lines = case.message.splitlines()
        assert len(set(lines)) == len(lines)
        assert all(line.endswith(")") for line in lines), "each has a suggestion"
        assert all(line.split(":")[0] in ("f.yml", "g.yml") for line in lines)


def test_all_faults_come_at_once_in_the_order_of_the_file(golden: Callable[[str, str], None]) -> None:
    text = """\
kernel:
  image: linuxkit/kernel:6.6
  cmdlin: console=ttyS0
services:
  - name: web
    image: nginx
    binds: [web:/x, /b]
    uid: wbe
    pid: none
  - name: db
    image: Postgres
    capabilities: [NET_ADMIN]
  - name: web
    image: nginx
    gid: web
    binds: [data:/x]
files:
  - path: etc/x
    mode: 0644
    contents: x
  - path: etc/y
    contents: y
    uid: ngnix
"""
    golden("config/all-at-once.txt", message(text) + "\n")
