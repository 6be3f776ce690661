"""The selection has all that a program loads, and a missing part is an error that names it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from moby.artifact import Architecture, host_architecture
from moby.components import slim
from moby.components.tree import Tree
from moby.errors import ConfigError
from moby.formats.entry import directory, file, symlink
from tests.support.elfs import dynamic

LIB = "usr/lib/x86_64-linux-gnu"
LOADER = "/lib64/ld-linux-x86-64.so.2"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    with Tree(tmp_path) as made:
        made.add([directory("usr/lib64"), symlink("lib64", "usr/lib64")])
        made.add([symlink("usr/lib64/ld-linux-x86-64.so.2", f"../lib/{LIB.rpartition('/')[2]}/ld-linux-x86-64.so.2")])
        made.add([file(f"{LIB}/ld-linux-x86-64.so.2", dynamic())])
        made.add([file(f"{LIB}/libc.so.6", dynamic(["ld-linux-x86-64.so.2"]))])
        yield made


def select(tree: Tree, *programs: str, files: tuple[str, ...] = ()) -> set[str]:
    kept = slim.select(tree, programs, files, Architecture.AMD64, where="build.yml")
    return {path for path in kept if path in tree}


def program(*needed: str, rpath: str = "", runpath: str = "") -> bytes:
    return dynamic([*needed, "libc.so.6"], interpreter=LOADER, rpath=rpath, runpath=runpath)


def test_takes_libraries_links_and_the_loader(tree: Tree) -> None:
    tree.add([file("usr/bin/a", program("libx.so.1"), mode=0o755), file("usr/bin/other", b"")])
    tree.add([file(f"{LIB}/libx.so.1.2", dynamic(["liby.so.3"])), symlink(f"{LIB}/libx.so.1", "libx.so.1.2")])
    tree.add([file(f"{LIB}/liby.so.3", dynamic()), file(f"{LIB}/libz.so.1", dynamic())])
    assert select(tree, "usr/bin/a") == {
        "usr/bin/a",
        "lib64",
        "usr/lib64/ld-linux-x86-64.so.2",
        f"{LIB}/ld-linux-x86-64.so.2",
        f"{LIB}/libc.so.6",
        f"{LIB}/libx.so.1",
        f"{LIB}/libx.so.1.2",
        f"{LIB}/liby.so.3",
    }


def test_a_missing_library_is_named_with_who_needs_it(tree: Tree) -> None:
    tree.add([file("usr/bin/a", program("libx.so.1")), file(f"{LIB}/libx.so.1", dynamic(["libgone.so.9"]))])
    with pytest.raises(ConfigError, match=rf"{LIB}/libx.so.1 needs libgone.so.9") as caught:
        select(tree, "usr/bin/a")
    assert caught.value.where == "build.yml"


def test_a_library_for_another_machine_does_not_count(tree: Tree) -> None:
    tree.add([file("usr/bin/a", program("libx.so.1")), file(f"{LIB}/libx.so.1", dynamic(machine=183))])
    with pytest.raises(ConfigError, match=r"needs libx\.so\.1"):
        select(tree, "usr/bin/a")


@pytest.mark.parametrize("key", ["rpath", "runpath"])
@pytest.mark.parametrize("where", ["$ORIGIN/../lib/private", "${ORIGIN}/../lib/private", "/usr/lib/private"])
def test_searches_the_paths_of_the_program_first(tree: Tree, key: str, where: str) -> None:
    tree.add([file("usr/bin/a", program("libx.so.1", **{key: where}))])
    tree.add([file("usr/lib/private/libx.so.1", dynamic()), file(f"{LIB}/libx.so.1", dynamic())])
    assert "usr/lib/private/libx.so.1" in select(tree, "usr/bin/a")
    assert f"{LIB}/libx.so.1" not in select(tree, "usr/bin/a")


def test_rpath_is_inherited_and_runpath_is_not(tree: Tree) -> None:
    tree.add([file("usr/lib/p/libx.so.1", dynamic(["liby.so.1"])), file("usr/lib/p/liby.so.1", dynamic())])
    tree.add([file("usr/bin/old", program("libx.so.1", rpath="/usr/lib/p"))])
    tree.add([file("usr/bin/new", program("libx.so.1", runpath="/usr/lib/p"))])
    assert "usr/lib/p/liby.so.1" in select(tree, "usr/bin/old")
    with pytest.raises(ConfigError, match=r"needs liby\.so\.1"):
        select(tree, "usr/bin/new")


def test_libraries_among_the_files_bring_theirs(tree: Tree) -> None:
    tree.add([file("usr/lib/mods/m.so", dynamic(["libx.so.1"])), file(f"{LIB}/libx.so.1", dynamic())])
    assert select(tree, files=("usr/lib/mods/*.so",)) == {"usr/lib/mods/m.so", f"{LIB}/libx.so.1"}


def test_a_script_brings_its_interpreter(tree: Tree) -> None:
    tree.add([file("usr/bin/dash", program(), mode=0o755), symlink("usr/bin/sh", "dash"), symlink("bin", "usr/bin")])
    tree.add([file("usr/bin/run", b"#! /bin/sh -e\n", mode=0o755)])
    assert {"usr/bin/run", "usr/bin/sh", "usr/bin/dash", f"{LIB}/libc.so.6"} <= select(tree, "usr/bin/run")


def test_env_in_a_script_brings_two_programs(tree: Tree) -> None:
    tree.add([file("usr/bin/env", program(), mode=0o755), file("usr/bin/python3", program(), mode=0o755)])
    tree.add([file("usr/bin/run", b"#!/usr/bin/env python3\n", mode=0o755)])
    assert {"usr/bin/env", "usr/bin/python3"} <= select(tree, "usr/bin/run")


def test_a_missing_interpreter_is_named(tree: Tree) -> None:
    tree.add([file("usr/bin/run", b"#!/usr/bin/perl\n", mode=0o755)])
    with pytest.raises(ConfigError, match="usr/bin/run needs /usr/bin/perl"):
        select(tree, "usr/bin/run")


def test_a_missing_program_gets_a_suggestion(tree: Tree) -> None:
    tree.add([file("usr/sbin/nginx", program())])
    with pytest.raises(ConfigError, match="usr/bin/nginx") as caught:
        select(tree, "usr/bin/nginx")
    assert caught.value.fix == "did you mean usr/sbin/nginx?"


def test_a_glob_without_a_match_is_an_error(tree: Tree) -> None:
    with pytest.raises(ConfigError, match=r"nothing matches etc/nginx/\*\*"):
        select(tree, files=("etc/nginx/**",))


def test_links_the_loader_and_the_program_directories(tree: Tree) -> None:
    tree.add([directory("usr/bin")])
    found = {entry.path: entry.target for entry in slim.links(tree, Architecture.AMD64)}
    assert found == {"bin": "usr/bin", "lib64/ld-linux-x86-64.so.2": f"../usr{LOADER}"}


def test_a_real_program_runs_from_its_selection(tmp_path: Path) -> None:
    """``ls`` of this host and what it loads, selected, written out and started with nothing else."""
    host = host_architecture()
    assert host is not None
    source = Path(shutil.which("ls") or "/bin/ls").resolve()
    loaded = subprocess.run(["ldd", source], capture_output=True, check=True, text=True).stdout
    paths = [word for line in loaded.splitlines() for word in line.split() if word.startswith("/")]
    triplet = slim.TRIPLETS[host]
    with Tree(tmp_path) as tree:
        tree.add([file("usr/bin/ls", source.read_bytes(), mode=0o755)])
        for path in map(Path, paths):
            tree.add([file(f"usr/lib/{triplet}/{path.name}", path.read_bytes(), mode=0o755)])
        loader = slim.LOADERS[host]
        tree.add([symlink(loader, f"/usr/lib/{triplet}/{Path(loader).name}")])
        tree.keep(slim.select(tree, ("usr/bin/ls",), (), host, where="x"))
        out = tmp_path / "root"
        for entry in tree.entries():
            if isinstance(entry.data, bytes) and entry.size:
                (out / entry.path).parent.mkdir(parents=True, exist_ok=True)
                (out / entry.path).write_bytes(entry.data)
            elif not isinstance(entry.data, bytes):
                (out / entry.path).parent.mkdir(parents=True, exist_ok=True)
                (out / entry.path).write_bytes(entry.data.read())
    start = out / f"usr/lib/{triplet}/{Path(loader).name}"
    start.chmod(0o755)
    words = ["--inhibit-cache", "--library-path", str(out / f"usr/lib/{triplet}"), str(out / "usr/bin/ls"), "--version"]
    done = subprocess.run(
        [start, *words], capture_output=True, check=True, text=True, env={**os.environ, "LC_ALL": "C"}
    )
    assert "coreutils" in done.stdout
