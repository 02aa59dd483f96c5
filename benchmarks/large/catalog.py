"""Makes a catalog of as many objects as one likes: names, sizes, ages and reads as lakes have them.

The schema, the registration of tiers and datasets and the URLs are the real ones; rows are written in bulk, without
any store behind them. The same number and seed give the same rows on SQLite and Postgres.
"""

from __future__ import annotations

import math
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np
import psycopg
import sqlalchemy as sa
from numpy.typing import NDArray

from storaged.catalog.engine import Catalog, create_catalog
from storaged.catalog.schema import access, blobs, datasets, heat_coverage, objects, replicas, tiers
from storaged.clock import DAY, SystemClock
from storaged.config.settings import load_settings
from storaged.heat import decay_rate
from storaged.work.context import Context

BATCH: Final = 250_000
COVERED_DAYS: Final = 200  # that the access logs tell of
_SEED: Final = 20_261_124


@dataclass(frozen=True, slots=True)
class Kind:
    """One dataset: its share of the objects, their middle size (bytes) and how names end; how much of it was read
    within the covered time, and how much was moved to the cold tier as zstd."""

    share: float
    middle: float
    spread: float
    ending: str
    read: float
    moved: float


KINDS: Final = {
    "logs": Kind(0.45, 20e3, 1.5, "log", 0.15, 0.3),
    "events": Kind(0.25, 200e3, 1.2, "json", 0.4, 0.2),
    "images": Kind(0.20, 60e3, 0.8, "jpg", 0.6, 0.0),
    "tables": Kind(0.05, 32e6, 1.0, "parquet", 0.8, 0.0),
    "exports": Kind(0.04, 4e6, 1.8, "csv", 0.3, 0.1),
    "checkpoints": Kind(0.01, 400e6, 0.7, "pt", 0.1, 0.0),
}
CONFIG: Final = """\
catalog: "{url}"
policies: policies
tiers:
  hot:  {{rank: 0, url: "file://{place}/hot", prices: aws/us-east-1/standard}}
  warm: {{rank: 1, url: "file://{place}/warm", prices: aws/us-east-1/standard-ia}}
  cold: {{rank: 2, url: "file://{place}/cold", prices: aws/us-east-1/glacier-ir}}
datasets:
{datasets}
heat:
  - {{name: day, format: jsonl, path: "{place}/day.jsonl", lag: 1h}}
"""


def configured(place: Path, url: str) -> Path:
    """Directories, and the storaged.yaml of a catalog at a URL."""
    lines = []
    for folder in ("state", "policies", "hot", "warm", "cold", *(f"lake/{name}" for name in KINDS)):
        (place / folder).mkdir(parents=True, exist_ok=True)
    for name in KINDS:
        partitions = ', partitions: "dt={dt}/hour={hour}"' if name in ("logs", "events") else ""
        lines.append(f'  {name}: {{root: "file://{place}/lake/{name}", tier: hot, readers: storaged{partitions}}}')
    config = place / "storaged.yaml"
    config.write_text(CONFIG.format(url=url, place=place, datasets="\n".join(lines)))
    return config


def make(place: Path, url: str, number: int) -> Path:
    """A catalog of so many objects; returns the path of its storaged.yaml."""
    config = configured(place, url)
    settings = load_settings(config)
    clock = SystemClock()
    with create_catalog(settings.catalog) as catalog:
        Context(settings, catalog, clock, actor="bench").register()
        with catalog.read() as conn:
            ids = dict(conn.execute(sa.select(datasets.c.name, datasets.c.id)).all())
            cold = conn.execute(sa.select(tiers.c.id).where(tiers.c.name == "cold")).scalar_one()
            hot = conn.execute(sa.select(tiers.c.id).where(tiers.c.name == "hot")).scalar_one()
        now_us = clock.now_us()
        chance, numbers = np.random.default_rng(_SEED), count(1)
        with _bulk(catalog) as bulk:
            for name, kind in KINDS.items():
                left = round(number * kind.share)
                offset = 0
                while offset < left:
                    n = min(BATCH, left - offset)
                    rows = _rows(name, kind, ids[name], (hot, cold), offset, n, left, now_us, chance, numbers,
                                 decay_rate(settings.half_life))  # fmt: skip
                    for table, columns, values in rows:
                        bulk.write(table, columns, values)
                    offset += n
        with catalog.begin() as conn:
            covered = [
                {"source": "bench", "dataset_id": i, "from_us": now_us - COVERED_DAYS * DAY, "until_us": now_us}
                for i in ids.values()
            ]
            conn.execute(sa.insert(heat_coverage), covered)
            conn.execute(sa.update(datasets).values(scanned_us=now_us))
            if conn.dialect.name == "postgresql":
                conn.execute(
                    sa.text("SELECT setval(pg_get_serial_sequence('objects', 'id'), :last)"), {"last": number + 1}
                )
        with catalog.begin() as conn:
            conn.execute(sa.text("ANALYZE"))
    return config


Rows = tuple[str, tuple[str, ...], list[tuple[Any, ...]]]


def _rows(
    name: str,
    kind: Kind,
    dataset_id: int,
    tier_ids: tuple[int, int],
    offset: int,
    n: int,
    whole: int,
    now_us: int,
    chance: np.random.Generator,
    numbers: Iterator[int],
    decay: float,
) -> Iterator[Rows]:
    hot, cold = tier_ids
    today = now_us // DAY
    ids = [next(numbers) for _ in range(n)]
    at = np.arange(offset, offset + n)
    age = 1 + ((whole - 1 - at) * 1_000 // max(1, whole))  # days, the oldest names first
    names, partitions = _names(name, kind.ending, at, today - age)
    size = np.maximum(1, chance.lognormal(math.log(kind.middle), kind.spread, n)).astype(np.int64)
    created = (today - age) * DAY + chance.integers(0, DAY, n)
    moved = (chance.random(n) < kind.moved) & (age > 60)
    read = chance.random(n) < kind.read
    idle = np.minimum(np.floor(chance.exponential(60, n)).astype(np.int64), np.minimum(age - 1, COVERED_DAYS - 1))
    reads = chance.geometric(0.3, n)
    last = (today - idle) * DAY - 1
    score = decay * (today - idle + 0.5) + np.log(reads)
    stored = np.where(moved, np.maximum(1, size // 4), size)
    columns = (
        "id", "dataset_id", "name", "size", "mtime_us", "created_us", "format", "partition", "raw_state",
        "raw_identity", "tier_id", "codec", "stored_bytes", "last_read_us", "heat_reads", "heat_bytes", "purge",
        "raw_class",
    )  # fmt: skip
    values = []
    for i, object_name, partition, nbytes, born, is_moved, is_read, seen, heat, kept in zip(
        ids, names, partitions, _list(size), _list(created), _list(moved), _list(read), _list(last), _list(score),
        _list(stored), strict=True,
    ):  # fmt: skip
        hot_reads, hot_bytes = (heat, heat + math.log(nbytes)) if is_read else (None, None)
        values.append(
            (
                i,
                dataset_id,
                object_name,
                nbytes,
                born,
                born,
                kind.ending,
                partition,
                "released" if is_moved else "current",
                f"{nbytes}-{born}",
                cold if is_moved else hot,
                "zstd" if is_moved else "identity",
                kept,
                seen if is_read else None,
                hot_reads,
                hot_bytes,
                False,
                "STANDARD",
            )
        )
    yield objects.name, columns, values
    attempts = [
        (f"{i:026}", i, s, t) for i, s, t, m in zip(ids, _list(stored), _list(created), _list(moved), strict=True) if m
    ]
    columns = ("id", "dataset_id", "tier_id", "key", "state", "codec", "size", "identity", "digest", "index",
               "created_us")  # fmt: skip
    yield (
        blobs.name,
        columns,
        [
            (a, dataset_id, cold, f"{name}/{a[:2]}/{a}", "live", "zstd", s, f"{s}-{t}", "0" * 64, b"", t)
            for a, _, s, t in attempts
        ],
    )
    columns = ("object_id", "blob_id", "length", "generation", "state")
    yield replicas.name, columns, [(i, a, s, 1, "current") for a, i, s, _ in attempts]
    columns = ("object_id", "day", "reads", "read_bytes", "last_us")
    yield (
        access.name,
        columns,
        [
            (i, int(seen // DAY), int(r), int(r * s), int(seen))
            for i, is_read, seen, r, s in zip(ids, _list(read), _list(last), _list(reads), _list(size), strict=True)
            if is_read
        ],
    )


def _names(name: str, ending: str, at: NDArray[np.int64], day: NDArray[np.int64]) -> tuple[list[str], list[str | None]]:
    """In the order of their bytes, and what partitions they tell."""
    dates = np.datetime_as_string(day.astype("datetime64[D]")).tolist()
    numbers = at.tolist()
    if name in ("logs", "events"):
        hours = [f"{n // 97 % 24:02}" for n in numbers]
        return (
            [
                f"dt={d}/hour={h}/host-{n % 97:03}-{n:09}.{ending}"
                for d, h, n in zip(dates, hours, numbers, strict=True)
            ],
            [f'{{"dt": "{d}", "hour": "{h}"}}' for d, h in zip(dates, hours, strict=True)],
        )
    if name == "images":
        return [f"{n:09x}"[:4] + f"/{n:09x}.{ending}" for n in numbers], [None] * len(numbers)
    return [f"{d}/run-{n // 64:07}/part-{n:09}.{ending}" for d, n in zip(dates, numbers, strict=True)], [None] * len(
        numbers
    )


def _list(values: NDArray[Any]) -> list[Any]:
    return values.tolist()  # type: ignore[no-any-return]  # of plain Python numbers


class _Sqlite:
    """One transaction, the indexes in step."""

    def __init__(self, path: str) -> None:
        self._conn = sqlite3.connect(path, isolation_level=None)
        self._conn.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-1000000")

    def __enter__(self) -> _Sqlite:
        self._conn.execute("BEGIN")
        return self

    def write(self, table: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
        marks = ",".join("?" * len(columns))
        names = ",".join(f'"{c}"' for c in columns)
        self._conn.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)

    def __exit__(self, *_: object) -> None:
        self._conn.execute("COMMIT")
        self._conn.execute("PRAGMA journal_mode=DELETE")
        self._conn.close()


class _Postgres:
    """COPY."""

    def __init__(self, url: sa.URL) -> None:
        self._conn = psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))

    def __enter__(self) -> _Postgres:
        return self

    def write(self, table: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
        names = ",".join(f'"{c}"' for c in columns)
        with self._conn.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def __exit__(self, *_: object) -> None:
        self._conn.commit()
        self._conn.close()


def _bulk(catalog: Catalog) -> _Sqlite | _Postgres:
    if catalog.dialect == "postgresql":
        return _Postgres(catalog.engine.url)
    return _Sqlite(str(catalog.engine.url.database))


if __name__ == "__main__":
    make(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
