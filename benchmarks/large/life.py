"""What reads and writes content, on real files: scan, apply, sweep, and a rebuild of the catalog from the journal.

    python -m benchmarks.large.life [--objects 100000] [--packs SIZE] [--keep DIRECTORY]

A directory of so many small logs is scanned twice, moved to another directory as zstd, its originals are swept after
their grace of no time, and then the catalog is lost. With `--packs` they go into packs of so much content, and that is
all. Each command is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.large.command import show

OLD_S: Final = 1_700_000_000  # since 1970: quiet for long enough
CONFIG: Final = """\
catalog: sqlite:///catalog.db
grace: 0s
tiers:
  hot: {{rank: 0, url: "file://{place}/hot"}}
  cold: {{rank: 1, url: "file://{place}/cold"}}
datasets:
  logs: {{root: "file://{place}/logs", readers: storaged}}
"""
POLICY: Final = """\
name: logs
mode: active
target: {{dataset: logs}}
when: {{age_over: 1d}}
to: {{tier: cold, codec: {codec}}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--packs", metavar="SIZE", help="of their content, such as 256MiB")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY")
    args = parser.parse_args()
    place = (args.keep or Path(tempfile.mkdtemp(prefix="storaged-large-"))).resolve()
    try:
        codec = f"{{pack: {{target: {args.packs}}}}}" if args.packs else "zstd"
        (pack if args.packs else measure)(world(place, args.objects, codec), args.objects)
    finally:
        if not args.keep:
            shutil.rmtree(place)


def world(place: Path, number: int, codec: str) -> Path:
    for name in ("hot", "cold", "logs", "policies"):
        (place / name).mkdir(parents=True)
    (place / "policies" / "logs.yaml").write_text(POLICY.format(codec=codec))
    line = "GET /index.html 200 some words that compress as those of logs do\n"
    for n in range(number):
        folder = place / "logs" / f"{n // 1_000:05}"
        if n % 1_000 == 0:
            folder.mkdir()
        file = folder / f"{n:09}.log"
        file.write_text(f"{n} {line}" * 30)  # 2 KiB
        os.utime(file, (OLD_S, OLD_S))
    config = place / "storaged.yaml"
    config.write_text(CONFIG.format(place=place))
    return config


def measure(config: Path, number: int) -> None:
    """One life, from the first scan to the rebuild."""
    show("catalog create", config, "catalog", "create")
    show("first scan", config, "scan", "--json")
    show("unchanged scan", config, "scan", "--json")
    plan = json.loads(show("plan", config, "plan", "--json"))
    assert plan["actions"] == number, plan
    show("apply", config, "apply", str(plan["plan"]), "--yes", "--json")
    swept = json.loads(show("sweep of the originals", config, "sweep", "--yes", "--json"))
    assert not list((config.parent / "logs").rglob("*.log")), swept
    for file in config.parent.glob("catalog.db*"):
        file.unlink()
    rebuilt = show("rebuild from the journal", config, "catalog", "rebuild", "--yes", "--json")
    print(rebuilt.strip()[:300])
    told = json.loads(show("status", config, "status", "--json"))
    held = [d for d in told["datasets"] if d["dataset"] == "logs"]
    assert held[0]["objects"] == number, held


def pack(config: Path, number: int) -> None:
    """From the first scan to the packs, and what the catalog takes of each object before and after."""
    show("catalog create", config, "catalog", "create")
    show("first scan", config, "scan", "--json")
    catalog = config.parent / "catalog.db"
    scanned = catalog.stat().st_size
    plan = json.loads(show("plan", config, "plan", "--json"))
    assert plan["actions"] == number, plan
    show("apply --no-wait", config, "apply", str(plan["plan"]), "--yes", "--no-wait", "--json")
    print(show("work", config, "work", "--json").strip()[:300])
    packs = [file.stat().st_size for file in (config.parent / "cold").rglob("*.tar.zst*")]
    print(f"{len(packs)} packs of {sum(packs):,} bytes")
    print(f"catalog: {scanned / number:.0f} bytes an object after the scan, {catalog.stat().st_size / number:.0f} now")


if __name__ == "__main__":
    main()
