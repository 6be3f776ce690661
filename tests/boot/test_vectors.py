"""The original's own container configuration, unmodified, runs under our crun."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

import moby
from moby.components.build import Components
from moby.context import Context
from moby.machines.options import RunOptions
from moby.oci import layers
from moby.oci.manifest import Platform
from moby.oci.store import Store
from tests.support.images import VECTORS, Node, image, symlink

pytestmark = pytest.mark.boot

VECTOR = VECTORS / "v06-files"
IMAGE = "127.0.0.1:5000/tiny:1"
YAML = f"""\
kernel: {{image: "@pkg:kernel", cmdline: console=ttyS0}}
init: ["@pkg:init", "@pkg:crun"]
onboot:
  - {{name: one, image: "{IMAGE}"}}
"""
CONFIG = "containers/onboot/000-one/config.json"


def busybox(context: Context, store: Store) -> bytes:
    """The program of the busybox component."""
    platform = Platform(os="linux", architecture="amd64")
    components = Components(context, store)
    made = components.image(components.recipe("busybox"), platform)
    for entry in layers.entries(store, made):
        if entry.path.endswith("bin/busybox") and entry.size:
            return entry.data if isinstance(entry.data, bytes) else entry.data.read()
    raise AssertionError("no busybox in it")


@pytest.mark.shows("A container configuration written by the original runs unmodified", by="boot")
def test_the_originals_configuration_runs(tmp_path: Path) -> None:
    context = replace(Context.from_environment(), store=tmp_path / "store")
    store = Store(context.store)
    config = json.loads((VECTORS / "images.json").read_text())["tiny:1"]["config"]["config"]
    real = image(
        [{"bin/busybox": Node(data=busybox(context, store), mode=0o755), "bin/sh": symlink("busybox")}], config
    )
    real.save(store, IMAGE)
    (tmp_path / "vector.yml").write_text(YAML)
    moby.build(tmp_path / "vector.yml", formats=["tar"], output=str(tmp_path / "v.tar"), context=context)
    with tarfile.open(tmp_path / "v.tar") as archive:
        written = archive.extractfile(CONFIG)
        assert written is not None
        assert written.read() == (VECTOR / CONFIG.replace("/", "__")).read_bytes()
    artifacts = moby.build(tmp_path / "vector.yml", directory=tmp_path, context=context)
    with moby.run(artifacts, options=RunOptions(accelerator="tcg"), context=context) as machine:
        machine.wait_console("onboot 000-one done")
