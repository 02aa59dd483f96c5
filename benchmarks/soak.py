"""A daemon left alone for half an hour while files come, are read, move and go: `make soak`, `make soak SOAK=5`.

It samples the daemon's memory, threads, open files and queue each second, draws them into soak.svg, and fails where
memory still grows after the first third, where a file does not read back, or where the daemon complained.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from storaged.catalog.engine import create_catalog
from storaged.config.settings import load_settings
from storaged.filesystem import StoragedFileSystem

FILES_PER_S = 20
KEPT_S = 240  # a batch is removed when it is so old, sooner in a short run; all figures are to be flat after it
BATCH_S = 10
GROWTH = 0.05  # of the memory at the end of the warm-up, over the rest of the run: more is a leak
SEED = 20261123

CONFIG = """\
catalog: sqlite:///{place}/catalog.db
state_dir: {place}/state
policies: {place}/policies
quiet_for: 1s
grace: 1m
tiers:
  hot: {{rank: 0, url: "file://{place}/hot"}}
  cold: {{rank: 1, url: "file://{place}/cold"}}
datasets:
  lake: {{root: "file://{place}/lake", readers: storaged}}
heat:
  - {{name: reads, format: jsonl, path: "{place}/logs/*.jsonl"}}
daemon:
  poll: 1s
  listen: 127.0.0.1:0
  scan: "* * * * *"
  ingest: "* * * * *"
  sweep: "* * * * *"
  verify: {{schedule: "* * * * *", sample: 5%}}
  retention: {{schedule: "* * * * *"}}
  backup: {{schedule: "*/2 * * * *", tier: cold, keep: 2}}
"""
POLICY = """\
name: move
target: {dataset: lake, tier: hot}
when: {age_over: 20s}
to: {tier: cold, codec: zstd}
schedule: "* * * * *"
mode: active
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """The daemon at an instant: seconds since the start, MiB, threads, descriptors, CPU seconds, files in all."""

    at_s: float
    resident_mib: float
    threads: int
    descriptors: int
    cpu_s: float
    files: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--plot", type=Path, default=Path("soak.svg"))
    args = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="storaged-soak-"))
    try:
        samples, complaints = soak(place, args.minutes * 60)
    finally:
        shutil.rmtree(place)
    draw(args.plot, samples)
    verdict(samples, complaints, args.plot)


def soak(place: Path, seconds: float) -> tuple[list[Sample], list[str]]:
    """Run it. Returns the samples and the daemon's warnings."""
    for name in ("lake", "logs", "policies", "hot", "cold"):
        (place / name).mkdir()
    config = place / "storaged.yaml"
    config.write_text(CONFIG.format(place=place))
    (place / "policies" / "move.yaml").write_text(POLICY)
    create_catalog(load_settings(config).catalog).close()
    log = place / "log"
    command = [sys.executable, "-c", "from storaged.cli import main; main()", "--config", str(config)]
    with log.open("w") as out:
        daemon = subprocess.Popen([*command, "run", "--log", "json", "--log-level", "warning"], stderr=out, stdout=out)
    try:
        samples = _live(place, command, daemon.pid, seconds)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(120)
    return samples, [line for line in log.read_text().splitlines() if line.strip()]


def _live(place: Path, command: Sequence[str], pid: int, seconds: float) -> list[Sample]:
    chance = random.Random(SEED)
    begun, samples, kept_s = time.monotonic(), [], max(90, min(KEPT_S, seconds / 4))
    batches: dict[int, dict[str, bytes]] = {}
    reads = (place / "logs" / "reads.jsonl").open("a")
    lake = StoragedFileSystem(config=place / "storaged.yaml", skip_instance_cache=True)
    while (now := time.monotonic() - begun) < seconds:
        number = int(now // BATCH_S)
        for _ in range(FILES_PER_S):
            name = f"b{number}/{len(batches.setdefault(number, {}))}.csv"
            batches[number][name] = _content(chance)
            _write(place / "lake" / name, batches[number][name])
        reads.writelines(_told(chance, batches) for _ in range(FILES_PER_S))
        reads.flush()
        _read_back(lake, chance, {k: v for k, v in batches.items() if k < number - 7})  # found by a scan by then
        samples.append(_sample(pid, now, sum(map(len, batches.values()))))
        old = min(batches)
        if (number - old) * BATCH_S > kept_s:
            del batches[old]
            subprocess.run([*command, "-q", "rm", f"lake/b{old}/*", "--yes"], check=False, capture_output=True)
        time.sleep(max(0.0, 1 - (time.monotonic() - begun - now)))
    reads.close()
    lake.close()
    return samples


def _content(chance: random.Random) -> bytes:
    rows = int(2 ** chance.uniform(3, 13))
    return b"".join(b"%d,%d,some text\n" % (n, chance.randrange(10**6)) for n in range(rows))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def _told(chance: random.Random, batches: dict[int, dict[str, bytes]]) -> str:
    name = chance.choice(list(batches[chance.choice(list(batches))]))
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return json.dumps({"ts": stamp, "op": "read", "dataset": "lake", "object": name, "bytes": 1_000}) + "\n"


def _read_back(lake: StoragedFileSystem, chance: random.Random, batches: dict[int, dict[str, bytes]]) -> None:
    for _ in range(min(5, len(batches))):
        batch = batches[chance.choice(list(batches))]
        name = chance.choice(list(batch))
        if lake.cat_file(f"lake/{name}") != batch[name]:
            raise SystemExit(f"{name} does not read back as it was written")


def _sample(pid: int, at_s: float, files: int) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text()
    told = {
        key: value.split()[0]
        for key, _, value in (line.partition(":") for line in status.splitlines())
        if value.strip()
    }
    cpu = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return Sample(
        at_s,
        int(told["VmRSS"]) / 1024,
        int(told["Threads"]),
        len(os.listdir(f"/proc/{pid}/fd")),
        cpu / os.sysconf("SC_CLK_TCK"),
        files,
    )


def growth(samples: Sequence[Sample]) -> float:
    """How much memory grew after the first third, as a share of what it was then: the slope of a line through it."""
    later = samples[len(samples) // 3 :]
    line = statistics.linear_regression([s.at_s for s in later], [s.resident_mib for s in later])
    return line.slope * (later[-1].at_s - later[0].at_s) / (line.intercept + line.slope * later[0].at_s)


def verdict(samples: Sequence[Sample], complaints: Sequence[str], plot: Path) -> None:
    """Print the figures; exit with 1 where one is not as it should be."""
    grown, last, warm = growth(samples), samples[-1], samples[len(samples) // 3]
    print(
        f"{last.at_s / 60:.1f} min, {last.files:,} files at the end: memory {warm.resident_mib:.0f} MiB after a third, "
        f"{last.resident_mib:.0f} at the end, at most {max(s.resident_mib for s in samples):.0f}; "
        f"trend {grown:+.1%} (at most {GROWTH:+.0%}); threads {last.threads}, descriptors {last.descriptors}, "
        f"{last.cpu_s / last.at_s:.2f} of a processor; {len(complaints)} warnings; {plot}"
    )
    for line in complaints[:10]:
        print(f"  {line}")
    if grown > GROWTH or complaints:
        raise SystemExit(1)


def draw(plot: Path, samples: Sequence[Sample]) -> None:
    """One curve over time for each figure, each with its own scale."""
    width, height, gap = 900, 110, 36
    names = [f.name for f in fields(Sample)][1:]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{(height + gap) * len(names) + gap}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    end = max(s.at_s for s in samples)
    for n, name in enumerate(names, start=1):
        values = [astuple(s)[n] for s in samples]
        top, y0 = max(values) or 1, gap + (n - 1) * (height + gap)
        at = " ".join(
            f"{60 + (width - 80) * s.at_s / end:.1f},{y0 + height * (1 - v / top):.1f}"
            for s, v in zip(samples, values, strict=True)
        )
        parts.append(
            f'<text x="60" y="{y0 - 6}">{name}, 0 to {top:,.0f}; {end / 60:.1f} minutes</text>'
            f'<path d="M60 {y0}v{height}h{width - 80}" fill="none" stroke="#999"/>'
            f'<polyline points="{at}" fill="none" stroke="#06c"/>'
        )
    plot.write_text("\n".join([*parts, "</svg>\n"]))


if __name__ == "__main__":
    main()
