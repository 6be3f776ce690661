"""What builds cost, beside zstd, gzip and cp of the same bytes, and beside ``linuxkit`` where it is on PATH.

usage: python -m benchmarks.builds [--sets minimal,big,many10] [--formats F,…] [--rounds N] [--generated] [--boot]

Prints Markdown tables. For each set and format: cold store (components are made from packages that are there), cold
segments (the store is warm), nothing changed, one line of ``files:``, one line of a service, one file of a component,
all of the largest component. Wall and CPU are the best of ``--rounds``; memory is the sum over all processes at its
highest. With ``--boot`` also from the edit to the page.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import zstandard
from benchmarks import sets
from benchmarks.boot import Boot

from moby.context import Context
from moby.errors import MobyError

MOBY = Path(sys.executable).with_name("moby")
SAMPLE_S = 0.01
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took. ``peak_mib`` is the memory of all its processes together, at its highest."""

    wall_s: float
    cpu_s: float
    peak_mib: float = 0


class Memory(threading.Thread):
    """Adds up the resident memory of a process and those below it, a hundred times a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_mib = 0.0
        self._pid = pid
        self._ended = threading.Event()

    def run(self) -> None:
        """Sample until ``stop``."""
        while not self._ended.wait(SAMPLE_S):
            self.peak_mib = max(self.peak_mib, sum(map(resident_mib, family(self._pid))))

    def stop(self) -> None:
        """End; ``peak_mib`` is final."""
        self._ended.set()
        self.join()


def family(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from family(int(child))


def resident_mib(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    except (OSError, IndexError):
        return 0


def measure(words: list[str], folder: Path, environment: dict[str, str]) -> Cost:
    """Run a command. Raises ``SystemExit`` with what it said when it fails."""
    begin = time.monotonic()
    process = subprocess.Popen(
        words, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    memory = Memory(process.pid)
    memory.start()
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    memory.stop()
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}\n{said}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, max(memory.peak_mib, usage.ru_maxrss / 1024))


class Bench:
    """One set in a working directory of its own."""

    def __init__(self, chosen: sets.Set, work: Path, *, generated: bool, rounds: int) -> None:
        self.rounds = rounds
        self.folder = work / chosen.name
        self.cache = work / "cache"
        self.environment = {**os.environ, "XDG_CACHE_HOME": str(self.cache)}
        self.context = Context.from_environment(self.environment)
        self.generated = generated
        self.chosen = chosen
        self.yaml = sets.write(chosen, self.folder, self.context, generated=generated)
        self._count = 0

    def build(self, format: str) -> Cost:
        """One build in a process of its own."""
        return measure([str(MOBY), "-q", "build", "-f", format, self.yaml.name], self.folder, self.environment)

    def cases(self) -> dict[str, Callable[[], None]]:
        """What is done before each build, by the name of the case."""
        cold_store = {"cold store": lambda: self.forget("store", "segments", "sbom", "outputs")}
        return {
            **({} if self.generated else cold_store),
            "cold segments": lambda: self.forget("segments", "sbom", "outputs"),
            "nothing changed": lambda: None,
            "one line of `files:`": lambda: self.edit(self.yaml, "<h1>Hello", "</h1>"),
            "one line of a service": lambda: self.edit(self.yaml, '"/bin/true", "', '"]'),
            "one file of a component": lambda: self.edit(self.folder / "page/build.yml", 'contents: "', '"}'),
            **({} if self.generated else {"the largest component": self.bump}),
        }

    def forget(self, *names: str) -> None:
        """Drop parts of the cache; packages stay."""
        for name in names:
            shutil.rmtree(self.cache / "moby" / name, ignore_errors=True)

    def edit(self, path: Path, before: str, after: str) -> None:
        """Change what stands between two texts."""
        self._count += 1
        head, _, rest = path.read_text().partition(before)
        path.write_text(f"{head}{before} {self._count}{after}{rest.partition(after)[2]}")
        time.sleep(0.05)  # nobody starts a build within a tick of the clock

    def bump(self) -> None:
        """As after an update of its packages: the component is made again, and its one layer is another."""
        self.edit(self.folder / f"{self.chosen.name}-0/build.yml", 'contents: "', '"}')

    def costs(self, format: str) -> Iterator[tuple[str, Cost]]:
        """Each case, the best of the rounds."""
        for name, prepare in self.cases().items():
            found = []
            for _ in range(1 if name == "cold store" else self.rounds):
                prepare()
                found.append(self.build(format))
            peak = max(each.peak_mib for each in found)
            yield name, Cost(min(each.wall_s for each in found), min(each.cpu_s for each in found), peak)

    def yardsticks(self) -> tuple[float, dict[str, Cost]]:
        """Megabytes of the root as a tar, and what other programs take for it."""
        self.build("tar")
        path = self.folder / f"{self.chosen.name}.tar"
        found = {"`zstd -3`": timed(lambda: zstd(path)), "`cp`": timed(lambda: copy(path))}
        found["`gzip -6`"] = timed(lambda: gzip(path))
        size = path.stat().st_size / 1e6
        path.unlink()
        return size, found

    def linuxkit(self) -> Cost | None:
        """The original's build of the same file, when it is installed and can make it."""
        if shutil.which("linuxkit") is None:
            return None
        words = ["linuxkit", "build", "--format", "kernel+initrd", "--no-sbom", self.yaml.name]
        try:
            return measure(words, self.folder, self.environment)
        except SystemExit as failure:
            print(f"linuxkit cannot: {failure}", file=sys.stderr)
            return None


def timed(work: Callable[[], None]) -> Cost:
    """A function of this process, the best of three."""
    found = []
    for _ in range(3):
        begin, cpu = time.monotonic(), time.process_time()
        work()
        found.append(Cost(time.monotonic() - begin, time.process_time() - cpu))
    return Cost(min(each.wall_s for each in found), min(each.cpu_s for each in found))


def zstd(path: Path) -> None:
    """One frame, one thread, as the ``zstd`` program without threads."""
    with path.open("rb") as source, path.with_suffix(".out").open("wb") as out:
        zstandard.ZstdCompressor(level=3).copy_stream(source, out, read_size=BLOCK_BYTES)


def gzip(path: Path) -> None:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    with path.open("rb") as source, path.with_suffix(".out").open("wb") as out:
        while block := source.read(BLOCK_BYTES):
            out.write(packer.compress(block))
        out.write(packer.flush())


def copy(path: Path) -> None:
    shutil.copyfile(path, path.with_suffix(".out"))


def report(bench: Bench, formats: list[str]) -> dict[str, object]:
    """Measure one set and print its tables."""
    size, sticks = bench.yardsticks()
    print(f"\n### {bench.chosen.name}: {size:.0f} MB as a tar\n\n| Yardstick | Wall s | CPU s |\n|---|---:|---:|")
    for name, cost in sticks.items():
        print(f"| {name} | {cost.wall_s:.2f} | {cost.cpu_s:.2f} |", flush=True)
    results: dict[str, object] = {"tar_mb": size, "yardsticks": {name: asdict(cost) for name, cost in sticks.items()}}
    for format in formats:
        print(f"\n| {format} | Wall s | CPU s | CPU / `zstd -3` | Memory MiB |\n|---|---:|---:|---:|---:|")
        rows = {}
        for name, cost in bench.costs(format):
            ratio = cost.cpu_s / sticks["`zstd -3`"].cpu_s
            print(f"| {name} | {cost.wall_s:.2f} | {cost.cpu_s:.2f} | {ratio:.2f} | {cost.peak_mib:.0f} |", flush=True)
            rows[name] = asdict(cost)
        results[format] = rows
    if (original := bench.linuxkit()) is not None:
        print(f"| linuxkit | {original.wall_s:.2f} | {original.cpu_s:.2f} | | {original.peak_mib:.0f} |")
    return results


def inner_loop(bench: Bench) -> None:
    """From an edit to the page that shows it."""
    from benchmarks import boot

    print(f"\n| {bench.chosen.name}: edit to page | Build s | Boot s | Together s |\n|---|---:|---:|---:|")
    for case in ("one line of `files:`", "one file of a component"):
        best: tuple[float, Boot] | None = None
        for _ in range(bench.rounds):
            bench.cases()[case]()
            built = bench.build("kernel+initrd").wall_s
            try:
                booted = boot.boot(bench.folder / bench.chosen.name, memory_mib=2048)
            except MobyError as error:
                raise SystemExit(str(error)) from error
            if best is None or built + booted.wall_s < best[0] + best[1].wall_s:
                best = built, booted
        assert best is not None
        built, booted = best
        print(f"| {case} | {built:.1f} | {booted.wall_s:.1f} | {built + booted.wall_s:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/benchmarks"))
    parser.add_argument("--sets", default="minimal,big", help="minimal, big, and manyN for N images")
    parser.add_argument("--formats", default="kernel+initrd,tar,raw-efi")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--generated", action="store_true", help="images of text made here: no packages of Debian")
    parser.add_argument("--boot", action="store_true", help="also from the edit to the page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    arguments = parser.parse_args()
    results = {}
    for name in arguments.sets.split(","):
        chosen = sets.many(int(name.removeprefix("many"))) if name.startswith("many") else sets.SETS[name]
        work = arguments.work.resolve() / ("generated" if arguments.generated else "packages")
        bench = Bench(chosen, work, generated=arguments.generated, rounds=arguments.rounds)
        results[name] = report(bench, arguments.formats.split(","))
        if arguments.boot:
            inner_loop(bench)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
