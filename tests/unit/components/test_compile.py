"""Commands of the compiler, and programs that a recipe compiles."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from moby.artifact import Architecture
from moby.components import compile as compiling
from moby.components.compile import DriverCompiler, PackagedGcc
from moby.components.recipe import Recipe
from moby.components.slim import TRIPLETS
from moby.errors import ConfigError, PlatformError

ROOT = Path("/tool")


def gcc(root: Path, architecture: Architecture) -> PackagedGcc:
    return PackagedGcc(
        architecture=architecture,
        root=root,
        cc1=root / "wrappers/cc1",
        assembler=root / "wrappers/as",
        linker=root / "wrappers/ld",
    )


@pytest.mark.parametrize("architecture", list(Architecture))
def test_commands_of_the_packaged_compiler(
    architecture: Architecture, tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    (tmp_path / f"usr/lib/gcc/{TRIPLETS[architecture]}/14").mkdir(parents=True)
    made = gcc(tmp_path, architecture)
    words = [
        made.compile_argv("src/init.c", ("-O2", "-Isrc"), Path("0.s")),
        made.assemble_argv(Path("0.s"), Path("0.o")),
        made.link_argv([Path("0.o"), Path("1.o")], Path("init")),
    ]
    text = "".join(" \\\n    ".join(shlex.quote(str(word)) for word in line) + "\n" for line in words)
    golden(f"components/cc-{architecture}.txt", text.replace(str(tmp_path), "/tool"))


def write_tool(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\nset -eu\n{script}")
    path.chmod(0o755)
    return path


def recipe(directory: Path, output: str = "sbin/init") -> Recipe:
    directory.mkdir()
    (directory / "main.c").write_text("int main(void) { return 0; }\n")
    (directory / "build.yml").write_text(
        f"image: x\ncompile: [{{output: {output}, sources: [main.c], flags: [-O2], mode: '0700'}}]\n"
    )
    return Recipe.load(directory)


def test_another_compiler_may_be_named(tmp_path: Path) -> None:
    tool = write_tool(tmp_path / "cc", 'for out; do :; done; echo "$@" >"$out"; echo "$SOURCE_DATE_EPOCH" >>"$out"\n')
    named = compiling.from_environment({"MOBY_CC": f"{tool} --target={{arch}}-x"}, Architecture.ARM64)
    assert named is not None
    made = recipe(tmp_path / "recipe")
    entry = compiling.program(made, made.spec.compile[0], named)
    assert (entry.path, entry.mode) == ("sbin/init", 0o700)
    assert isinstance(entry.data, bytes)
    first, epoch = entry.data.decode().splitlines()
    assert first.startswith("--target=aarch64-x ")
    assert " -static " in first
    assert " -O2 main.c -o " in first
    assert epoch == "0"


def test_no_other_compiler_is_named_by_default() -> None:
    assert compiling.from_environment({}, Architecture.AMD64) is None


def test_messages_of_the_compiler_reach_the_user(tmp_path: Path) -> None:
    tool = write_tool(tmp_path / "cc", "echo 'main.c:1:5: error: no' >&2; exit 1\n")
    made = recipe(tmp_path / "recipe")
    with pytest.raises(ConfigError, match=r"main\.c:1:5: error: no") as caught:
        compiling.program(made, made.spec.compile[0], DriverCompiler(command=(str(tool),)))
    assert caught.value.where.endswith("build.yml")


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    made = recipe(tmp_path / "recipe")
    (made.directory / "main.c").unlink()
    with pytest.raises(ConfigError, match=r"main\.c does not exist"):
        compiling.program(made, made.spec.compile[0], DriverCompiler(command=("false",)))


def test_zig_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PlatformError) as caught:
        compiling.zig(Architecture.AMD64)
    assert "MOBY_CC" in caught.value.fix


def test_the_packaged_compiler_runs_its_three_programs(tmp_path: Path) -> None:
    root = tmp_path / "tool"
    (root / "wrappers").mkdir(parents=True)
    (root / "usr/lib/gcc/x86_64-linux-gnu/14").mkdir(parents=True)
    record = 'for out; do case "$last" in -o) file=$out;; esac; last=$out; done; echo "$(basename "$0")" >>'
    script = f'last=; file=\n{record}"{tmp_path}/ran"; echo made >"$file"\n'
    for name in ("cc1", "as", "ld"):
        write_tool(root / "wrappers" / name, script)
    made = recipe(tmp_path / "recipe")
    entry = compiling.program(made, made.spec.compile[0], gcc(root, Architecture.AMD64))
    assert entry.data == b"made\n"
    assert (tmp_path / "ran").read_text().split() == ["cc1", "as", "ld"]
