"""A small catalog and logs of reads of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import (
    access,
    access_waiting,
    datasets,
    heat_coverage,
    log_blocks,
    log_files,
    log_lines,
    log_sources,
    objects,
    tiers,
)
from storaged.clock import DAY, SECOND, from_datetime, to_datetime
from storaged.work.ingest import IngestReport, LogSource, ingest

NOW_US = 20_600 * DAY
SIZE = 1_000
NAMES = [f"part-{n}.csv" for n in range(20)]


def seed(catalog: Catalog, roots: dict[str, str] | None = None, readers: str = "raw") -> None:
    """Datasets by root (one, `events`, unless given), each with all NAMES."""
    with catalog.begin() as conn:
        conn.execute(sa.insert(tiers).values(id=1, name="hot", rank=0, url="s3://bucket", storage_class="STANDARD"))
        for number, (name, root) in enumerate((roots or {"events": "s3://bucket/events"}).items(), start=1):
            conn.execute(
                sa.insert(datasets).values(id=number, name=name, root=root, tier_id=1, readers=readers, registered_us=0)
            )
            add_objects(conn, number, NAMES)


def add_objects(conn: sa.Connection, dataset_id: int, names: Iterable[str]) -> None:
    common = {"dataset_id": dataset_id, "tier_id": 1, "mtime_us": 0, "created_us": 0}
    conn.execute(sa.insert(objects), [common | {"name": n, "size": SIZE, "stored_bytes": SIZE} for n in names])


def forget(catalog: Catalog) -> None:
    """As if nothing was ever ingested."""
    with catalog.begin() as conn:
        for table in (access, access_waiting, log_sources, log_lines, log_blocks, log_files, heat_coverage):
            conn.execute(sa.delete(table))
        conn.execute(sa.update(objects).values(last_read_us=None, heat_reads=None, heat_bytes=None))


def event(n: int, **more: Any) -> str:
    """The n-th line of a log, unlike any other: one read each 10 minutes, ending before NOW_US."""
    told = {
        "ts": to_datetime(NOW_US - 10 * DAY + n * 600 * SECOND).isoformat(),
        "op": "GET",
        "url": f"s3://bucket/events/{NAMES[n % 7]}",
        "bytes": 100 + n % 3,
    }
    return json.dumps(told | more) + "\n"


def write(path: Path, lines: Iterable[str]) -> Path:
    path.write_text("".join(lines))
    return path


def run(catalog: Catalog, directory: Path, pattern: str = "*", **more: Any) -> IngestReport:
    """Ingest the files of a directory as the source `reads`. The state directory is beside it."""
    source = more.pop("source", LogSource("reads", "jsonl", str(directory / pattern)))
    settings = {"now_us": NOW_US, "half_life_us": 30 * DAY, "state_dir": directory.parent}
    report = ingest(catalog, source, **(settings | more))
    told = report.counted, report.duplicate, report.malformed, report.excluded, report.ignored, report.unknown
    told += (report.late,)
    assert report.lines == sum(told), "each line is in exactly one count"
    return report


def rollups(catalog: Catalog) -> dict[tuple[str, int], tuple[int, int, int]]:
    """(reads, bytes read, writes) by object name and day."""
    query = sa.select(objects.c.name, access.c.day, access.c.reads, access.c.read_bytes, access.c.writes).join(
        access, access.c.object_id == objects.c.id
    )
    with catalog.read() as conn:
        return {(name, day): (reads, nbytes, writes) for name, day, reads, nbytes, writes in conn.execute(query)}


def expected(lines: Iterable[str]) -> dict[tuple[str, int], tuple[int, int, int]]:
    """What `rollups` has if each of these lines (made by `event`) counts once."""
    reads: Counter[tuple[str, int]] = Counter()
    moved: Counter[tuple[str, int]] = Counter()
    for line in lines:
        told = json.loads(line)
        day = from_datetime(datetime.fromisoformat(told["ts"])) // DAY
        key = told["url"].rsplit("/", 1)[1], day
        reads[key] += 1
        moved[key] += told["bytes"]
    return {key: (reads[key], moved[key], 0) for key in reads}
