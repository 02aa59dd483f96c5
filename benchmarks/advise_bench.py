"""What advice expects against what comes of it, on the demo's lake.

    python -m benchmarks.advise_bench [--days 365] [--dir DIR]

Two lakes of real flight data, read through storaged. On the first `codec: auto` takes everything: for each object its
own sample (`storagectl advise OBJECT`), and its kind's ratio, which is what a plan's row says, are compared with what
was stored. On the second the policies that advice writes are applied as they are, and each one's bytes are
compared. An object is met where it is within a tenth of what was stored.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from demo.lake import Lake
from demo.story import prepare
from demo.tiers import directories
from storaged.catalog.engine import open_catalog
from storaged.clock import SystemClock
from storaged.config.settings import load_settings
from storaged.work.advise.one import advise_object
from storaged.work.context import Context

PROGRAM = str(Path(sys.executable).parent / "storagectl")
WITHIN = 0.10
WISHED = 0.90  # of objects, by their own samples
AUTO = "name: auto\ntarget: {dataset: '*'}\nwhen: {size_over: 0}\nto: {codec: auto}\n"
STORED = "SELECT dataset || '/' || object AS name, codec, stored_bytes FROM v_objects WHERE codec <> 'identity'"


def ctl(place: Path, *words: str) -> str:
    """Run storagectl in the lake's directory; returns what it printed."""
    return subprocess.run([PROGRAM, *words], cwd=place, check=True, capture_output=True, text=True).stdout


def made(place: Path, days: int) -> None:
    """A lake whose readers are storaged's, scanned, with its access log read, and without policies."""
    with directories(place / "tiers") as tiers:
        prepare(Lake(place, tiers), days=days)
    (place / "policies" / "lake.yaml").unlink()
    config = place / "storaged.yaml"
    config.write_text(config.read_text().replace("readers: raw", "readers: storaged"))
    for words in (("catalog", "create"), ("scan",), ("ingest",)):
        ctl(place, *words)


def planned(place: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """A plan's number and its rows by name."""
    number = json.loads(ctl(place, "plan", "--json"))["plan"]
    rows = json.loads(ctl(place, "plan", "show", str(number), "--limit", "0", "--json"))["objects"]
    return number, {f"{row['dataset']}/{row['name']}": row for row in rows}


def applied(place: Path, number: int) -> dict[str, dict[str, Any]]:
    """What is stored of each object once the plan is done, by name."""
    ctl(place, "apply", str(number), "--yes")
    return {row["name"]: row for row in map(json.loads, ctl(place, "sql", STORED, "--format", "jsonl").splitlines())}


def share(pairs: Iterable[tuple[int, int]]) -> float:
    """Of pairs of expected and stored bytes the share that lies within WITHIN of what was stored."""
    known = list(pairs)
    return sum(abs(expected - stored) <= WITHIN * stored for expected, stored in known) / len(known)


def objects(place: Path, days: int) -> float:
    """The share of objects that their own samples meet."""
    made(place, days)
    (place / "policies" / "auto.yaml").write_text(AUTO)
    number, rows = planned(place)
    settings = load_settings(place / "storaged.yaml")
    own: dict[str, dict[str, int]] = {}
    with open_catalog(settings.catalog) as catalog:
        context = Context(settings, catalog, SystemClock(), actor="benchmark")
        for name, row in rows.items():
            told = advise_object(context, row["dataset"], row["name"])
            own[name] = {c.codec: c.stored_bytes for c in told.candidates}
    stored = applied(place, number)
    met = share((own[name][row["codec"]], row["stored_bytes"]) for name, row in stored.items())
    by_kind = share((rows[name]["after_bytes"], row["stored_bytes"]) for name, row in stored.items())
    print(f"codec: auto: {len(stored):,} of {len(rows):,} objects became smaller")
    print(f"  by its own sample   {met:6.1%} of objects within {WITHIN:.0%}")
    print(f"  by its kind's ratio {by_kind:6.1%}")
    whole = sum(row["after_bytes"] for row in rows.values())
    total = sum(stored[n]["stored_bytes"] if n in stored else row["size"] for n, row in rows.items())
    print(f"  all bytes           {whole:,} expected, {total:,} stored: {whole / total - 1:+.1%}")
    return met


def policies(place: Path, days: int) -> None:
    """What the policies of advice come to."""
    made(place, days)
    ctl(place, "advise", "--write", "policies")
    number, rows = planned(place)
    stored = applied(place, number)
    for name in sorted({row["policy"] for row in rows.values()}):
        mine = [n for n, row in rows.items() if row["policy"] == name and n in stored]
        expected, found = (
            sum(of[n][key] for n in mine) for of, key in ((rows, "after_bytes"), (stored, "stored_bytes"))
        )
        print(
            f"{name}: {len(mine):,} objects, {expected:,} bytes expected, {found:,} stored: {expected / found - 1:+.1%}"
        )


def main() -> int:
    """Both lakes; returns 1 where fewer objects are met than wished."""
    parser = argparse.ArgumentParser(description="Advice against what comes of it.")
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--dir", type=Path, default=None)
    given = parser.parse_args()
    place = Path(tempfile.mkdtemp(dir=given.dir))
    try:
        met = objects(place / "auto", given.days)
        policies(place / "advice", given.days)
    finally:
        shutil.rmtree(place)
    return 0 if met >= WISHED else 1


if __name__ == "__main__":
    sys.exit(main())
