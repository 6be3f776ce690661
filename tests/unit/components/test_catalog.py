"""Names and directories of recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from moby.components import catalog
from moby.errors import ConfigError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("pkg/nginx", "pkg/sshd", "kernel/6.12", "kernel/6.1", "own"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "build.yml").write_text("image: x\n")
    return tmp_path


def test_a_bare_name_is_shipped(root: Path) -> None:
    assert catalog.directory("nginx", root=root) == root / "pkg/nginx"


def test_kernel_is_the_default_series(root: Path) -> None:
    assert catalog.directory("kernel", root=root) == root / "kernel/6.12"
    assert catalog.directory("kernel-6.1", root=root) == root / "kernel/6.1"


def test_a_path_is_relative_to_the_yaml_file(root: Path) -> None:
    assert catalog.directory("./own", root, root=root) == root / "own"
    assert catalog.directory(f"{root}/own", Path("/elsewhere"), root=root) == root / "own"


def test_a_mistyped_name_gets_a_suggestion(root: Path) -> None:
    with pytest.raises(ConfigError, match="no component 'nginks'") as caught:
        catalog.directory("nginks", root=root)
    assert caught.value.fix == "did you mean nginx?"


@pytest.mark.parametrize("name", ["", ".", "..", "./nothing"])
def test_refuses(root: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        catalog.directory(name, root, root=root)


def test_lists_packages_and_kernels(root: Path) -> None:
    assert catalog.names(root) == ("kernel", "kernel-6.1", "kernel-6.12", "nginx", "sshd")
