"""An image of 300 MB in 12 layers pulled from docker-registry on loopback: ours beside ``skopeo copy``.

usage: python benchmarks/pull.py [--mebibytes N] [--rounds N] [--json]

Prints the wall and CPU times (best of the rounds, taken in turn), the ratio, and the peak memory of the processes. Ours
is ``moby cache pull``, the whole command. Both write an OCI layout and sync each blob before it gets its name.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from moby import proc
from moby.context import Context
from moby.oci.digest import Digest
from moby.oci.manifest import OCI_LAYER_GZIP, Descriptor, ImageConfig, Platform
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.store import Store
from tests.support.docker_registry import docker_registry
from tests.support.images import tar

_LAYERS = 12
_NAME = "localhost/large:1"
# A process counts what its parent held when it was forked, so the parent is as small as can be.
_LAUNCHER = """
import os, sys, time
begin = time.monotonic()
pid = os.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
_, status, used = os.wait4(pid, 0)
print(time.monotonic() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run of a command cost."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Pull speed and memory beside skopeo's.")
    parser.add_argument("--mebibytes", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = measure(Path(name), arguments.mebibytes, arguments.rounds)
    if arguments.json:
        print(json.dumps(found))
        return
    for key, value in found.items():
        print(f"{key:20} {value:.2f}")


def measure(folder: Path, mebibytes: int, rounds: int) -> dict[str, float]:
    """What both cost, and how ours compares."""
    source = Store(folder / "source")
    fill(source, mebibytes)
    ours: list[Run] = []
    theirs: list[Run] = []
    (folder / "registry").mkdir()
    with docker_registry(folder / "registry") as host:
        with Registry.connect(Context.from_environment()) as registry:
            registry.push(_NAME, Reference.parse(f"{host}/large:1"), source)
        target = folder / "target"
        skopeo = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false"]
        skopeo += [f"docker://{host}/large:1", f"oci:{target}:1"]
        own = [sys.executable, "-m", "moby.cli", "--cache", str(target), "cache", "pull", f"{host}/large:1"]
        for _ in range(rounds):
            ours.append(timed(own, target))
            theirs.append(timed(skopeo, target))
    our_s, their_s = (min(each.wall_s for each in runs) for runs in (ours, theirs))
    return {
        "moby_s": our_s,
        "skopeo_s": their_s,
        "ratio": our_s / their_s,
        "moby_cpu_s": min(each.cpu_s for each in ours),
        "skopeo_cpu_s": min(each.cpu_s for each in theirs),
        "moby_peak_mib": max(each.peak_mib for each in ours),
        "skopeo_peak_mib": max(each.peak_mib for each in theirs),
    }


def fill(store: Store, mebibytes: int) -> None:
    """The image: layers of random bytes, as real layers are compressed already."""
    generator = random.Random(1)
    size = (mebibytes << 20) // _LAYERS
    stored: list[Descriptor] = []
    diff_ids: list[Digest] = []
    for number in range(_LAYERS):
        plain = tar({f"layer{number}": generator.randbytes(size)})
        diff_ids.append(Digest.of(plain))
        stored.append(store.put_blob(gzip.compress(plain, 1, mtime=0), OCI_LAYER_GZIP))
    config = ImageConfig(architecture="amd64", os="linux", diff_ids=tuple(diff_ids))
    store.put_image(_NAME, config.encode(), stored, Platform.parse("amd64"))


def timed(argv: list[str], target: Path) -> Run:
    """Run a command that makes ``target``, which is removed again."""
    said = proc.run([sys.executable, "-I", "-S", "-c", _LAUNCHER, *argv])
    shutil.rmtree(target)
    wall, cpu, peak = said.split()[-3:]
    return Run(wall_s=float(wall), cpu_s=float(cpu), peak_mib=int(peak) / 1024)


if __name__ == "__main__":
    main()
