from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from moby.artifact import Architecture, host_architecture
from moby.context import Context
from moby.machines.commandline import Virtual
from moby.machines.probe import cached_probe, choose, probe
from moby.machines.probe_kernel import LINE, PROBES
from moby.machines.toolset import Toolset
from tests.support import fake_qemu

KVM = Virtual(architecture=Architecture.AMD64, accelerator="kvm")
GOOD = f"printf {LINE.decode().strip()}'\\n'"


@pytest.fixture
def tools(tmp_path: Path) -> Callable[[str], Toolset]:
    def make(script: str) -> Toolset:
        program = tmp_path / "qemu-system-fake"
        program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{script}\n')
        program.chmod(0o755)
        return fake_qemu.toolset(program)

    return make


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines()


@pytest.mark.parametrize(
    ("script", "works"),
    [
        (GOOD, True),
        ("echo 'warning: feature'; " + GOOD, True),
        ("printf 'moby-pro'", False),
        (GOOD + "; exit 1", False),
        ("kill -ABRT $$", False),
        ("sleep 5", False),
    ],
)
def test_only_the_whole_line_and_a_clean_end_count(tools: Callable[[str], Toolset], script: str, works: bool) -> None:
    answer = probe(KVM, tools(script), limit_s=0.3)
    assert answer.works is works
    assert bool(answer.why) is not works


def test_probe_uses_the_machine_and_cpu_of_the_run(tmp_path: Path, tools: Callable[[str], Toolset]) -> None:
    probe(KVM, tools(GOOD))
    assert "-M q35 -accel kvm -cpu host" in calls(tmp_path)[0]


def test_answer_is_kept_until_qemu_or_the_cpu_changes(tmp_path: Path, tools: Callable[[str], Toolset]) -> None:
    context = Context(store=tmp_path / "store", work=tmp_path / "work")
    good = tools(GOOD)
    for _ in range(3):
        assert cached_probe(KVM, good, context).works
    assert len(calls(tmp_path)) == 1
    cached_probe(Virtual(architecture=Architecture.AMD64), good, context)
    assert len(calls(tmp_path)) == 2
    assert not cached_probe(KVM, tools("exit 1"), context).works  # another program in its place
    assert len(calls(tmp_path)) == 3


@pytest.mark.parametrize(("script", "asked_again"), [("sleep 5", True), ("exit 1", False), (GOOD, False)])
def test_only_silence_is_asked_again_later(
    tmp_path: Path, tools: Callable[[str], Toolset], script: str, asked_again: bool
) -> None:
    context = Context(store=tmp_path / "store", work=tmp_path / "work")
    toolset = tools(script)
    limit_s = 0.3 if asked_again else 5
    first = cached_probe(KVM, toolset, context, limit_s=limit_s)
    assert cached_probe(KVM, toolset, context, limit_s=limit_s) == first
    assert len(calls(tmp_path)) == 1
    (kept,) = (tmp_path / "work" / "probes").iterdir()
    long_ago = time.time() - 301
    os.utime(kept, (long_ago, long_ago))
    assert cached_probe(KVM, toolset, context, limit_s=limit_s) == first
    assert len(calls(tmp_path)) == 1 + asked_again


def test_unreadable_answer_is_asked_again(tmp_path: Path, tools: Callable[[str], Toolset]) -> None:
    context = Context(store=tmp_path / "store", work=tmp_path / "work")
    good = tools(GOOD)
    cached_probe(KVM, good, context)
    (kept,) = (tmp_path / "work" / "probes").iterdir()
    kept.write_text("[]")
    assert cached_probe(KVM, good, context).works
    assert len(calls(tmp_path)) == 2


def test_foreign_guests_are_emulated_unasked(tmp_path: Path, tools: Callable[[str], Toolset]) -> None:
    context = Context(store=tmp_path / "store", work=tmp_path / "work")
    foreign = next(each for each in Architecture if each is not host_architecture())
    assert choose(foreign, tools("exit 1"), context) == "tcg"
    assert not (tmp_path / "calls").exists()


def test_accelerator_asked_for_is_taken_untried(tmp_path: Path, tools: Callable[[str], Toolset]) -> None:
    context = Context(store=tmp_path / "store", work=tmp_path / "work")
    assert choose(Architecture.AMD64, tools("exit 1"), context, asked="kvm") == "kvm"
    assert not (tmp_path / "calls").exists()
    foreign = next(each for each in Architecture if each is not host_architecture())
    assert choose(foreign, tools("exit 1"), context, asked="kvm:tcg") == "tcg"


def test_architecture_without_a_probe_kernel_is_not_accelerated(tools: Callable[[str], Toolset]) -> None:
    assert not probe(Virtual(architecture=Architecture.RISCV64, accelerator="kvm"), tools(GOOD)).works


def test_probe_kernels_end_with_their_line() -> None:
    for make in PROBES.values():
        assert make().endswith(LINE + b"\0")
