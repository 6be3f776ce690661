"""What builds cost, beside zstd, gzip and cp of the same bytes, and beside ``linuxkit`` where it is on PATH.

usage: python -m benchmarks.builds [--sets SET,…] [--formats F,…] [--rounds N] [--generated] [--boot]

Sets are minimal, big, manyN (N services with an image each) and sizeN (one image of N megabytes of text).

Prints Markdown tables. For each set and format: cold store (components are made from packages that are there), cold
segments (the store is warm), nothing changed, one line of ``files:``, one line of a service, one file of a component,
one package of the largest component (which is made again from all of them). Wall and CPU are the best of ``--rounds``;
memory is the sum over all processes at its highest. The ratio is of the median round: before each, zstd packs the same
bytes again, since shared machines change their pace from minute to minute. With ``--boot`` also from the edit to the
page. At the end, with several sets, how the cost grows from one to the next.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import zstandard
from benchmarks import sets
from benchmarks.boot import Boot
from benchmarks.cost import Cost, best, measure, timed

from moby.context import Context
from moby.errors import MobyError

MOBY = Path(sys.executable).with_name("moby")
BLOCK_BYTES = 1 << 20
GZIP_MB = 1000  # of more it takes a minute to say the same


class Bench:
    """One set in a working directory of its own."""

    def __init__(self, chosen: sets.Set, work: Path, *, generated: bool, rounds: int) -> None:
        self.rounds = rounds
        self.folder = work / chosen.name
        self.cache = work / "cache"
        self.environment = {**os.environ, "XDG_CACHE_HOME": str(self.cache)}
        # As everywhere but in test runs, the program's modules are compiled once.
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.context = Context.from_environment(self.environment)
        self.generated = generated or chosen.text_only
        self.chosen = chosen
        self.yaml = sets.write(chosen, self.folder, self.context, generated=generated)
        self.tar = self.folder / "yardstick.tar"
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
            **({} if self.generated else {"one package of the largest component": self.bump}),
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
        """As after an update of a package: the component is made again from all of its, its one layer is another."""
        self.edit(self.folder / f"{self.chosen.name}-0/build.yml", 'contents: "', '"}')

    def costs(self, format: str) -> Iterator[tuple[str, Cost, float]]:
        """Each case, the best of the rounds, and the ratio of its CPU time to zstd's in the median round."""
        for name, prepare in self.cases().items():
            found, ratios = [], []
            for _ in range(1 if name == "cold store" else self.rounds):
                beside = timed(lambda: zstd(self.tar), rounds=1)
                prepare()
                found.append(self.build(format))
                ratios.append(found[-1].cpu_s / beside.cpu_s)
            yield name, best(found), statistics.median(ratios)

    def yardsticks(self) -> tuple[float, dict[str, Cost]]:
        """Megabytes of the root as a tar, and what other programs take for it."""
        self.build("tar")
        path = (self.folder / f"{self.chosen.name}.tar").rename(self.tar)
        found = {"`zstd -3`": timed(lambda: zstd(path)), "`cp`": timed(lambda: copy(path))}
        size = path.stat().st_size / 1e6
        if size <= GZIP_MB:
            found["`gzip -6`"] = timed(lambda: gzip(path), rounds=1)  # slow enough to be exact
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


# Megabytes of a set's root as a tar; by format (or ``yardsticks``) and case what it costs.
Results = tuple[float, dict[str, dict[str, Cost]]]


def report(bench: Bench, formats: list[str]) -> Results:
    """Measure one set and print its tables."""
    size, sticks = bench.yardsticks()
    print(f"\n### {bench.chosen.name}: {size:.0f} MB as a tar\n\n| Yardstick | Wall s | CPU s |\n|---|---:|---:|")
    for name, cost in sticks.items():
        print(f"| {name} | {cost.wall_s:.2f} | {cost.cpu_s:.2f} |", flush=True)
    results = {"yardsticks": sticks}
    for format in formats:
        print(f"\n| {format} | Wall s | CPU s | CPU / `zstd -3` | Memory MiB |\n|---|---:|---:|---:|---:|")
        rows = results[format] = {}
        for name, cost, ratio in bench.costs(format):
            print(f"| {name} | {cost.wall_s:.2f} | {cost.cpu_s:.2f} | {ratio:.2f} | {cost.peak_mib:.0f} |", flush=True)
            rows[name] = cost
    if (original := bench.linuxkit()) is not None:
        print(f"| linuxkit | {original.wall_s:.2f} | {original.cpu_s:.2f} | | {original.peak_mib:.0f} |")
    bench.tar.unlink()
    return size, results


def inner_loop(bench: Bench) -> None:
    """From an edit to the page that shows it."""
    from benchmarks import boot

    print(f"\n| {bench.chosen.name}: edit to page | Build s | Boot s | Together s |\n|---|---:|---:|---:|")
    for case in ("one line of `files:`", "one file of a component"):
        least: tuple[float, Boot] | None = None
        for _ in range(bench.rounds):
            bench.cases()[case]()
            built = bench.build("kernel+initrd").wall_s
            try:
                booted = boot.boot(bench.folder / bench.chosen.name, memory_mib=2048)
            except MobyError as error:
                raise SystemExit(str(error)) from error
            if least is None or built + booted.wall_s < least[0] + least[1].wall_s:
                least = built, booted
        assert least is not None
        built, booted = least
        print(f"| {case} | {built:.1f} | {booted.wall_s:.1f} | {built + booted.wall_s:.1f} |", flush=True)


def growth(results: dict[str, Results], format: str) -> None:
    """The sets beside each other: where cost grows with megabytes or with images, and memory does not."""
    print(f"\n| {format} | Tar MB | Cold segments CPU s | One line wall s | One line CPU s | Memory MiB |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, (size, costs) in results.items():
        cold, line = costs[format]["cold segments"], costs[format]["one line of `files:`"]
        peak = max(each.peak_mib for each in costs[format].values())
        print(f"| {name} | {size:.0f} | {cold.cpu_s:.2f} | {line.wall_s:.2f} | {line.cpu_s:.2f} | {peak:.0f} |")


def main(given: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/benchmarks"))
    parser.add_argument("--sets", default="minimal,big", help="of minimal, big, manyN and sizeN")
    parser.add_argument("--formats", default="kernel+initrd,tar,raw-efi")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--generated", action="store_true", help="images of text made here: no packages of Debian")
    parser.add_argument("--boot", action="store_true", help="also from the edit to the page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    arguments = parser.parse_args(given)
    results: dict[str, Results] = {}
    formats = arguments.formats.split(",")
    for name in arguments.sets.split(","):
        chosen = sets.named(name)
        work = arguments.work.resolve() / ("generated" if arguments.generated else "packages")
        bench = Bench(chosen, work, generated=arguments.generated, rounds=arguments.rounds)
        results[name] = report(bench, formats)
        if arguments.boot:
            inner_loop(bench)
    for format in formats if len(results) > 1 else ():
        growth(results, format)
    if arguments.json:
        told = {
            name: {
                "tar_mb": size,
                **{format: {case: asdict(cost) for case, cost in rows.items()} for format, rows in costs.items()},
            }
            for name, (size, costs) in results.items()
        }
        arguments.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
