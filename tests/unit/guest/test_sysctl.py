"""pkg/sysctl against a scratch directory in place of /proc/sys."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.unit.guest import programs

RECIPE = Path(__file__).parents[3] / "pkg/sysctl"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("sysctl") / "sysctl"
    programs.compile_sources(output, ["sysctl.c"], RECIPE)
    return output


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Settings as empty files, and an empty configuration directory beside."""
    for name in ("kernel/kptr_restrict", "net/ipv4/conf/eth0.1/rp_filter", "vm/max_map_count"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True)
        path.touch()
    (tmp_path / "config").mkdir()
    return tmp_path / "tree"


def apply(program: Path, tree: Path, **files: str) -> subprocess.CompletedProcess[str]:
    config = tree.parent / "config"
    for name, text in files.items():
        (config / f"{name}.conf").write_text(text)
    words: list[str | Path] = [program, "-configDir", config, "-sysctlDir", tree]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_sets_values_in_the_order_of_file_names(program: Path, tree: Path) -> None:
    done = apply(program, tree, b="kernel.kptr_restrict = 2\n", a="kernel.kptr_restrict=1\nvm.max_map_count =  7 \n")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tree / "kernel/kptr_restrict").read_text() == "2"
    assert (tree / "vm/max_map_count").read_text() == "7"


@pytest.mark.parametrize("key", ["net.ipv4.conf.eth0/1.rp_filter", "net/ipv4/conf/eth0.1/rp_filter"])
def test_first_separator_decides_what_the_other_one_means(program: Path, tree: Path, key: str) -> None:
    apply(program, tree, a=f"{key} = 1\n")
    assert (tree / "net/ipv4/conf/eth0.1/rp_filter").read_text() == "1"


def test_comments_and_empty_lines_say_nothing(program: Path, tree: Path) -> None:
    assert apply(program, tree, a="# kernel.a = 1\n; kernel.b = 1\n\n   \n").stderr == ""


def test_unknown_setting_is_a_warning_with_its_place_and_the_rest_is_applied(program: Path, tree: Path) -> None:
    done = apply(program, tree, a="kernel.nothing = 1\nno equals sign\nvm.max_map_count = 8\n")
    assert done.returncode == 0
    assert "a.conf:1: kernel.nothing" in done.stderr
    assert "a.conf:2: expected key = value" in done.stderr
    assert (tree / "vm/max_map_count").read_text() == "8"


def test_a_line_that_is_too_long_is_left_out_whole(program: Path, tree: Path) -> None:
    line = f"kernel.kptr_restrict = {'1 ' * 2048}vm.max_map_count = 9\n"
    done = apply(program, tree, a=line + "vm.max_map_count = 8\n" + "kernel.kptr_restrict = 3")
    assert done.stderr == "sysctl: a.conf:1: the line is too long\n"
    assert (tree / "vm/max_map_count").read_text() == "8"
    assert (tree / "kernel/kptr_restrict").read_text() == "3"


def test_dash_silences_what_cannot_be_set(program: Path, tree: Path) -> None:
    assert apply(program, tree, a="-kernel.nothing = 1\n").stderr == ""


@pytest.mark.parametrize("key", ["../outside", "kernel/../../outside", "/"])
def test_nothing_outside_the_tree_is_written(program: Path, tree: Path, key: str) -> None:
    (tree.parent / "outside").touch()
    assert "not set" in apply(program, tree, a=f"{key} = 1\n").stderr
    assert (tree.parent / "outside").read_text() == ""


def test_missing_directory_and_unknown_flag_are_errors(program: Path, tmp_path: Path) -> None:
    missing = subprocess.run([program, "-configDir", tmp_path / "none"], capture_output=True, text=True, check=False)
    assert missing.returncode == 1 and "none" in missing.stderr
    assert subprocess.run([program, "-x"], capture_output=True, check=False).returncode == 2


def test_shipped_defaults_are_well_formed(program: Path, tree: Path) -> None:
    text = (RECIPE / "00-moby.conf").read_text()
    assert "expected" not in apply(program, tree, a=text).stderr
