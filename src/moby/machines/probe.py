"""Does the host's accelerator work? Answered by starting a tiny kernel with the very QEMU, machine and CPU to be used.

``/dev/kvm`` can be there and open, and single instructions run, while every guest hangs or aborts (nested
virtualization done badly). So the probe kernel has three seconds to say its line and power off; a wrong word, an abort
or silence means no. The answer is kept until the host boots again or QEMU changes; silence, for five minutes only.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from moby import log, proc
from moby.artifact import Architecture, host_architecture
from moby.context import Context
from moby.errors import CommandError
from moby.machines.commandline import TCG, Virtual
from moby.machines.probe_kernel import LINE, PROBES
from moby.machines.toolset import Toolset

LIMIT_S = 3.0
_SILENCE_KEPT_S = 300
_KVM = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whether the accelerator works, and if not, why; ``certain`` unless time ran out, which a busy host may do too."""

    works: bool
    why: str = ""
    certain: bool = True


def choose(architecture: Architecture, toolset: Toolset, context: Context, *, asked: str | None = None) -> str:
    """The accelerator to use: the host's own when it works, else ``tcg`` with one line of notice.

    One that is ``asked`` for by name is taken untried; a choice such as ``kvm:tcg`` is left to the probe.
    """
    if asked is not None and ":" not in asked:
        return asked
    host = host_architecture()
    if architecture is not host:
        log.info(f"Emulating {architecture} on {host or 'another processor'}: slower than the real thing")
        return TCG
    name, answer = _candidate(architecture, toolset, context)
    if not answer.works:
        log.info(f"{name} {answer.why}: emulating, several times slower")
        return TCG
    return name


def _candidate(architecture: Architecture, toolset: Toolset, context: Context) -> tuple[str, Answer]:
    if sys.platform == "darwin":
        return "hvf", cached_probe(Virtual(architecture=architecture, accelerator="hvf"), toolset, context)
    if not _KVM.exists():
        return "kvm", Answer(works=False, why="is not there (no /dev/kvm)")
    if not os.access(_KVM, os.R_OK | os.W_OK):
        return "kvm", Answer(works=False, why="may not be used by you (add yourself to the group kvm)")
    return "kvm", cached_probe(Virtual(architecture=architecture, accelerator="kvm"), toolset, context)


def cached_probe(virtual: Virtual, toolset: Toolset, context: Context, *, limit_s: float = LIMIT_S) -> Answer:
    """``probe``, asked once per host boot, QEMU, machine and CPU; kept under ``context.work``."""
    path = context.work / "probes" / f"{_key(virtual, toolset)}.json"
    kept = _kept(path)
    if kept is not None:
        return kept
    answer = probe(virtual, toolset, limit_s=limit_s)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(asdict(answer)))
    beside.replace(path)
    return answer


def _kept(path: Path) -> Answer | None:
    """The answer in ``path``; None when there is none, it is not readable, or it was a silence of long ago."""
    try:
        fields = json.loads(path.read_text())
        answer = Answer(works=bool(fields["works"]), why=str(fields["why"]), certain=bool(fields["certain"]))
        age_s = time.time() - path.stat().st_mtime
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return answer if answer.certain or 0 <= age_s < _SILENCE_KEPT_S else None


def probe(virtual: Virtual, toolset: Toolset, *, limit_s: float = LIMIT_S) -> Answer:
    """Start the probe kernel of the architecture and see whether it finishes within ``limit_s``."""
    if virtual.architecture not in PROBES:
        return Answer(works=False, why=f"cannot be tried for {virtual.architecture}")
    with tempfile.TemporaryDirectory(prefix="moby-probe-") as directory:
        kernel = Path(directory) / "kernel"
        kernel.write_bytes(PROBES[virtual.architecture]())
        words = [*toolset.system, *virtual.words, "-m", "128", "-nodefaults", "-no-user-config", "-no-reboot"]
        words += ["-display", "none", "-serial", "stdio", "-kernel", str(kernel)]
        try:
            said = proc.run(words, timeout_s=limit_s, stdin=b"", die_with_parent=True)
        except CommandError as error:
            log.debug(f"probe of {virtual.accelerator}: {error}")
            if error.status == proc.TIMED_OUT:
                return Answer(works=False, why="did not answer in time", certain=False)
            return Answer(works=False, why="does not work here")
    return Answer(works=said.endswith(LINE), why="" if said.endswith(LINE) else "does not work here")


def _key(virtual: Virtual, toolset: Toolset) -> str:
    """What the answer depends on. A program's size and time stand for its version: asking it would cost more."""
    programs = []
    for word in toolset.system:
        found = shutil.which(word)
        if found is not None:
            status = Path(found).stat()
            programs.append(f"{found} {status.st_size} {status.st_mtime_ns}")
    text = "\n".join([_boot_id(), *programs, *toolset.system, *virtual.words, *map(str, PROBES)])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _boot_id() -> str:
    if _BOOT_ID.exists():
        return _BOOT_ID.read_text().strip()
    return proc.run(["sysctl", "-n", "kern.boottime"]).decode().strip()
