"""Compiler, QEMU and package index as a host has them where nothing is installed: from the real mirror."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import pytest

from moby.artifact import Architecture, host_architecture
from moby.components.build import Components
from moby.components.packages import Packages
from moby.components.recipe import Recipe
from moby.components.tools import Tools
from moby.context import Context
from moby.formats import cpio
from moby.formats.entry import Entry, directory
from moby.oci import layers
from moby.oci.manifest import Platform
from moby.oci.store import Store

pytestmark = [pytest.mark.network, pytest.mark.boot]

INIT = """\
#include <stdio.h>
#include <linux/reboot.h>
#include <sys/reboot.h>

int main(void)
{
    printf("compiled %s, %.1Lf\\n", __FILE__, (long double)1.5);
    fflush(stdout);
    reboot(RB_POWER_OFF);
    return 0;
}
"""
# What direct booting needs of each machine: QEMU's machine and processor, the kernel's console.
MACHINES = {
    Architecture.AMD64: ("x86_64", "q35", "max", "ttyS0"),
    Architecture.ARM64: ("aarch64", "virt", "cortex-a57", "ttyAMA0"),
}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """The user's own cache of packages, and an environment that names no compiler."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MOBY_CC")}
    return Context.from_environment(environment, store=tmp_path_factory.mktemp("store"))


def compiled(context: Context, directory: Path, architecture: Architecture) -> Entry:
    directory.mkdir()
    (directory / "init.c").write_text(INIT)
    (directory / "build.yml").write_text("image: hello\ncompile: [{output: init, sources: [init.c], flags: [-O2]}]\n")
    store = Store(context.store)
    components = Components(context, store)
    image = components.image(components.recipe(str(directory)), Platform(os="linux", architecture=architecture.value))
    (entry,) = layers.entries(store, image)
    return entry


def kernel(context: Context, architecture: Architecture) -> bytes:
    store = Store(context.store)
    components = Components(context, store)
    image = components.image(components.recipe("kernel"), Platform(os="linux", architecture=architecture.value))
    for entry in layers.entries(store, image):
        if entry.path == "kernel":
            return entry.data if isinstance(entry.data, bytes) else entry.data.read()
    raise AssertionError("no kernel")


@pytest.mark.shows("QEMU and the compiler from Debian packages, without root", by="boot")
@pytest.mark.parametrize("architecture", list(MACHINES))
def test_a_compiled_program_boots_in_the_packaged_qemu(
    context: Context, tmp_path: Path, architecture: Architecture
) -> None:
    (tmp_path / "kernel").write_bytes(kernel(context, architecture))
    archive = io.BytesIO()
    cpio.write([directory("dev"), compiled(context, tmp_path / "recipe", architecture)], archive)
    (tmp_path / "initrd").write_bytes(archive.getvalue())
    name, machine, cpu, console = MACHINES[architecture]
    tools = Tools(context, Packages(context)).qemu(architecture, packaged=True)
    words = ["-M", machine, "-cpu", cpu, "-m", "256", "-nodefaults", "-no-reboot", "-display", "none"]
    words += ["-serial", "stdio", "-kernel", str(tmp_path / "kernel"), "-initrd", str(tmp_path / "initrd")]
    words += ["-append", f"console={console} panic=-1 quiet"]
    # Nothing of this host's environment: not its PATH, not its libraries.
    done = subprocess.run(
        [tools.program(f"qemu-system-{name}"), *words], capture_output=True, timeout=120, check=True, env={}
    )
    assert b"compiled init.c, 1.5" in done.stdout


def test_a_packaged_program_takes_no_library_of_the_host(context: Context) -> None:
    host = host_architecture()
    assert host is not None
    tools = Tools(context, Packages(context)).qemu(host, packaged=True)
    assert tools.root is not None
    script = tools.program("qemu-img").read_text()
    loader = script.split('exec "')[1].split('"')[0].replace("$root", str(tools.root))
    libraries = script.split('"--library-path" "')[1].split('"')[0].replace("$root", str(tools.root))
    listed = subprocess.run(
        [loader, "--library-path", libraries, "--list", tools.root / "usr/bin/qemu-img"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    paths = [line.split("=>")[1].split("(")[0].strip() for line in listed.splitlines() if "=>" in line]
    assert paths
    assert all(path.startswith(str(tools.root)) for path in paths)


def test_firmware_of_every_architecture_is_there(context: Context) -> None:
    tools = Tools(context, Packages(context))
    for architecture in Architecture:
        found = tools.firmware(architecture, packaged=True)
        assert found.code.stat().st_size == found.variables.stat().st_size or architecture is Architecture.AMD64
        if architecture is not Architecture.RISCV64:
            assert "secboot" in tools.firmware(architecture, secure=True, packaged=True).code.name


@pytest.mark.parametrize("suite", ["trixie", "bookworm"])
def test_real_suites_resolve_with_checked_signatures(context: Context, tmp_path: Path, suite: str) -> None:
    (tmp_path / "build.yml").write_text(f"image: x\nsuite: {suite}\npackages: [busybox-static]\n")
    recipe = Recipe.load(tmp_path)
    assert Packages(context).update(recipe, Architecture.ARM64)
    lock = Recipe.load(tmp_path).lock(Architecture.ARM64)
    assert lock is not None
    assert [package.package for package in lock.packages] == ["busybox-static"]
