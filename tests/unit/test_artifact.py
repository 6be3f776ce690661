from __future__ import annotations

import platform

import pytest

from moby.artifact import Architecture, host_architecture


@pytest.mark.parametrize(
    ("name", "found"),
    [("amd64", "amd64"), ("x86_64", "amd64"), ("aarch64", "arm64"), ("riscv64", "riscv64"), ("mips", None), ("", None)],
)
def test_architectures_are_known_by_both_names(name: str, found: str | None) -> None:
    assert Architecture.named(name) == found


def test_this_host_has_an_architecture_if_we_know_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    for machine, found in (("AMD64", "amd64"), ("arm64", "arm64"), ("sparc64", None)):
        monkeypatch.setattr(platform, "machine", lambda name=machine: name)
        assert host_architecture() == found
