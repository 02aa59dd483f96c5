"""First and repeated scan of many small files into SQLite, against a bare os.scandir + stat walk of the same tree, in
seconds of the processor."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from storaged.catalog.engine import create_catalog
from storaged.clock import SystemClock
from storaged.config.settings import load_settings
from storaged.work.context import Context
from storaged.work.scan.run import scan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--content", default="", help="of each file; what is empty is not looked into")
    args = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="storaged-bench-"))
    try:
        tree(place / "lake", args.files, args.content.encode())
        walk, first, again = [], [], []
        for n in range(args.rounds):
            walk.append(_timed(lambda: _walk(str(place / "lake"))))
            context = world(place, n)
            first.append(_timed(lambda context=context: _expect(scan(context, "lake").added, args.files)))
            while scan(context, "lake").not_looked_into:
                pass
            again.append(_timed(lambda context=context: _expect(scan(context, "lake").unchanged, args.files)))
            context.catalog.close()
        for name, seconds, aim in (("first scan", first, 0.35), ("unchanged scan", again, 0.5)):
            ratios = [w / s for w, s in zip(walk, seconds, strict=True)]
            print(
                f"{name:15} {args.files / statistics.median(seconds):9,.0f} files/s   "
                f"{statistics.median(ratios):.2f} of a bare walk ({min(ratios):.2f}-{max(ratios):.2f}), aim {aim}"
            )
        print(f"{'bare walk':15} {args.files / statistics.median(walk):9,.0f} files/s")
    finally:
        shutil.rmtree(place)


def tree(root: Path, files: int, content: bytes = b"") -> None:
    """So many files of this content in 200 folders."""
    for d in range(200):
        folder = root / f"dt=2026-{d // 28 + 1:02}-{d % 28 + 1:02}" / f"part{d}"
        folder.mkdir(parents=True)
        for i in range(files // 200):
            (folder / f"events-{i:06}.json").write_bytes(content)


def _walk(path: str) -> int:
    total = 0
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                total += _walk(entry.path)
            else:
                total += entry.stat(follow_symlinks=False).st_size
    return total


def world(place: Path, n: int, *, readers: str = "raw") -> Context:
    """A context on `place/lake` with one tier and a fresh SQLite catalog."""
    shutil.rmtree(place / "lake" / ".storaged", ignore_errors=True)
    return fresh(place, n, f'root: "file://{place}/lake", readers: {readers}')


def fresh(place: Path, n: int, lake: str, more: str = "") -> Context:
    """A context on the dataset that `lake` tells of, with one tier in a directory and a fresh SQLite catalog. `more`:
    further sections of its configuration."""
    for name in (f"hot{n}", f"state{n}", "policies"):
        (place / name).mkdir(exist_ok=True)
    config = place / f"storaged{n}.yaml"
    config.write_text(
        f"catalog: sqlite:///{place}/catalog{n}.db\nstate_dir: {place}/state{n}\npolicies: policies\n"
        f'tiers:\n  hot: {{rank: 0, url: "file://{place}/hot{n}"}}\n'
        f'datasets:\n  lake: {{{lake}, partitions: "dt={{dt}}"}}\n{more}'
    )
    settings = load_settings(config)
    context = Context(settings, create_catalog(settings.catalog), SystemClock(), actor="bench")
    context.register()
    return context


def _expect(found: int, wanted: int) -> None:
    assert found == wanted, (found, wanted)


def _timed(run: Callable[[], object]) -> float:
    """Seconds of the processor."""
    start = time.process_time()
    run()
    return time.process_time() - start


if __name__ == "__main__":
    main()
