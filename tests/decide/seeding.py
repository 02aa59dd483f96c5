"""A catalog with one of everything, seeded straight into the tables; instants count back from `NOW`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from storaged.catalog import collections, facts
from storaged.catalog.engine import Catalog
from storaged.catalog.schema import (
    access,
    blobs,
    datasets,
    heat_coverage,
    job_items,
    jobs,
    objects,
    replicas,
    tiers,
)
from storaged.clock import DAY, SECOND
from storaged.config.settings import Settings
from storaged.decide.kinds import whole
from storaged.decide.load import load_policies
from storaged.decide.policy import PolicySet
from storaged.heat import DAYS, YEAR, score
from storaged.stores.locks import FOREVER
from storaged.testing.clock import START_US

NOW = START_US
HOUR = 3600 * SECOND
MIB = 1 << 20
ASKED = " zstd zstd:9 parquet+table "  # by policies here, and did not take it

SETTINGS = """
catalog: sqlite:///catalog.db
tiers:
  hot: {rank: 0, url: memory://hot, capacity: {size: 1GiB, high: 80%, low: 60%}}
  warm: {rank: 1, url: memory://warm}
  cold: {rank: 2, url: memory://cold}
  standard: {rank: 3, url: s3://tiers/standard}
  rare: {rank: 4, url: s3://tiers/rare, storage_class: STANDARD_IA}
  deep: {rank: 5, url: s3://tiers/deep, storage_class: DEEP_ARCHIVE}
datasets:
  events/web: {root: memory://web, readers: storaged, owner: ann, tags: {team: growth, class: A}}
  events/app: {root: memory://app, readers: storaged, owner: bob, tags: {team: core}, partitions: "dt={dt}/hour={hour}"}
  logs/raw: {root: memory://raw}
  unseen: {root: memory://unseen, readers: storaged}
  table: {root: memory://table, readers: storaged}
  kept: {root: memory://kept, readers: storaged, hold: lawsuit}
  pinned: {root: memory://pinned, readers: storaged, pin: hot}
  s3/plain: {root: s3://lake/plain, tier: standard}
  s3/versions: {root: s3://versions, tier: standard, readers: storaged}
  s3/careless: {root: s3://careless, tier: standard, readers: storaged}
"""


def remembered(days: Mapping[int, int], size: int) -> dict[str, float | None]:
    """What is remembered of so many whole reads by day (since 1970) of an object of so many bytes."""
    found: dict[str, float | None] = {}
    for name, scale in (("reads", 1), ("bytes", size)):
        counts = [(day, count * scale) for day, count in days.items()]
        found |= {f"year_{name}": score(counts, YEAR), f"days_{name}": score(counts, DAYS)}
        by_day = [one for of_day in counts if (one := score([of_day], DAYS)) is not None]
        found[f"day_{name}"] = max(by_day, default=None)
    return found


class Seeder:
    """Puts rows into a catalog; every object gets sensible columns for what is not said."""

    def __init__(self, conn: sa.Connection) -> None:
        self.conn = conn
        self.tiers = {r.name: r.id for r in conn.execute(sa.select(tiers.c.name, tiers.c.id))}
        self.datasets = {r.name: r.id for r in conn.execute(sa.select(datasets.c.name, datasets.c.id))}
        self.ids = itertools.count(1)

    def cover(self, dataset: str, from_us: int, until_us: int, source: str = "log") -> None:
        """A heat source tells of a dataset's reads."""
        row = {"source": source, "dataset_id": self.datasets[dataset], "from_us": from_us, "until_us": until_us}
        self.conn.execute(sa.insert(heat_coverage).values(row))

    def object(
        self,
        dataset: str,
        name: str,
        *,
        size: int = 4 * MIB,
        age: int = 400 * DAY,
        tier: str = "hot",
        reads: dict[int, int] | None = None,
        partition: dict[str, str] | None = None,
        pin: str | None = None,
        **columns: Any,
    ) -> int:
        """One object; `age` in microseconds, `reads`: days ago → how many whole reads."""
        number = next(self.ids)
        days = {NOW // DAY - ago: count for ago, count in (reads or {}).items()}
        row = {
            "id": number,
            "dataset_id": self.datasets[dataset],
            "name": name,
            "size": size,
            "stored_bytes": size,
            "mtime_us": NOW - age,
            "created_us": NOW - age,
            "format": name.rpartition(".")[2] if "." in name else "",
            "raw_identity": f"id-{number}",
            "tier_id": self.tiers[tier],
            "partition": None if partition is None else json.dumps(partition),
            "pin_tier_id": None if pin is None else self.tiers[pin],
            "last_read_us": max(days) * DAY + 12 * HOUR if days else None,
            "heat_reads": score(days.items(), 30 * DAY),
            "heat_bytes": score(((day, count * size) for day, count in days.items()), 30 * DAY),
            **remembered(days, size),
        } | columns
        self.conn.execute(sa.insert(objects).values(row))
        for day, count in days.items():
            at = {"object_id": number, "day": day, "reads": count, "read_bytes": count * size, "last_us": day * DAY}
            self.conn.execute(sa.insert(access).values(at))
        return number

    def replica(
        self,
        number: int,
        tier: str,
        *,
        state: str = "current",
        codec: str = "zstd",
        damaged: str | None = None,
        **columns: Any,
    ) -> None:
        """A blob of ours with a replica of this object in it."""
        blob = f"{number:032x}"
        row = {
            "id": blob,
            "tier_id": self.tiers[tier],
            "key": f"key-{number}",
            "state": "live",
            "codec": codec,
            "size": MIB,
            "identity": f"blob-{number}",
            "index": b"",
            "created_us": NOW - 50 * DAY,
        }
        self.conn.execute(sa.insert(blobs).values(row | columns))
        self.conn.execute(
            sa.insert(replicas).values(
                object_id=number,
                blob_id=blob,
                offset=0,
                length=4 * MIB,
                generation=1,
                state=state,
                damaged=damaged,
            )
        )

    def job(self, number: int, state: str = "pending") -> None:
        """A job has this object."""
        made = {"kind": "rewrite", "dataset_id": 1, "state": "queued", "reason": "test", "created_us": NOW}
        job_id = self.conn.execute(sa.insert(jobs).values(made).returning(jobs.c.id)).scalar_one()
        item = {"job_id": job_id, "object_id": number, "version": 1, "codec": "identity", "grace_us": 0, "size": 1}
        self.conn.execute(sa.insert(job_items).values(item | {"state": state}))


def register(catalog: Catalog, settings: Settings) -> None:
    """Tiers and datasets as the daemon writes them."""
    with catalog.begin() as conn:
        facts.register(conn, settings.tier_values, settings.dataset_values, now_us=NOW - 500 * DAY)


def seed(catalog: Catalog, settings: Settings) -> None:
    """One of everything that the planner tells apart."""
    register(catalog, settings)
    with catalog.begin() as conn:
        s = Seeder(conn)
        s3 = ("s3/plain", "s3/versions", "s3/careless")
        for dataset in ("events/web", "events/app", "logs/raw", "table", "kept", "pinned", *s3):
            s.cover(dataset, NOW - 90 * DAY, NOW - 2 * HOUR)
        s.cover("events/web", NOW - 10 * DAY, NOW, source="spool")
        one = whole("", "delta", "_delta_log/00000000000000000000.json")
        collections.replace(conn, s.datasets["table"], [one], now_us=NOW)

        s.object("events/web", "never-read.csv", size=9 * MIB)
        s.object("events/web", "read-41-days-ago.csv", size=30 * MIB, reads={41: 3})
        s.object("events/web", "read-yesterday.csv", reads={1: 20, 2: 20, 3: 20, 10: 20})
        s.object("events/web", "barely-read.json", size=600 * MIB, reads={20: 1})
        s.object("events/web", "tiny.json", size=900)
        s.object("events/web", "empty", size=0)
        s.object("events/web", "new.csv", age=3 * DAY)
        s.object("events/web", "just-written.csv", mtime_us=NOW - 60 * SECOND)
        s.object("events/web", "O'Brien \\ 100%_\".csv", size=2 * MIB, reads={80: 1})
        s.object("events/web", "Ünïcode/ÄÖ.CSV", size=3 * MIB, format="csv")
        s.object("events/web", "removed.csv", removed_us=NOW - DAY, raw_state="absent", tier_id=None)
        s.object("events/web", "no-gain.csv", no_gain=1, no_gain_by=ASKED)
        s.object("events/web", "no-gain-of-an-old-generation.csv", no_gain=1, no_gain_by=ASKED, generation=2)
        s.object("events/web", "held.csv", hold="court")
        s.object("events/web", "pinned-hot.csv", pin="hot")
        s.object("events/web", "pinned-cold.csv", pin="cold")
        s.object("events/web", "damaged.csv", damaged="digest differs")
        s.object("events/web", "fact-waits.csv", fact_id="f" * 32)
        s.object("events/web", "just-moved.csv", raw_state="superseded", raw_until_us=NOW + DAY, tier="warm")
        s.job(s.object("events/web", "busy.csv"))
        s.job(s.object("events/web", "was-busy.csv"), state="failed")
        moved = {"raw_state": "released", "codec": "zstd", "stored_bytes": MIB}
        s.replica(s.object("events/web", "compressed.csv", tier="cold", **moved), "cold")
        s.replica(s.object("events/web", "compressed-in-warm.csv", tier="warm", **moved), "warm")
        s.replica(s.object("events/web", "damaged-blob.csv", tier="warm", **moved), "warm", damaged="cut short")
        back = s.object("events/web", "moved-back.csv")
        s.replica(back, "warm", state="superseded")
        for hour in ("00", "05", "12", "x"):
            for day in ("2025-01-31", "2026-07-01"):
                name = f"dt={day}/hour={hour}/part.parquet"
                s.object("events/app", name, size=MIB // 2, age=60 * DAY, partition={"dt": day, "hour": hour})
        s.object("logs/raw", "old.log", reads={41: 12})
        s.object("logs/raw", "older.log", size=8 * MIB)
        s.object("unseen", "nobody-knows.csv")
        s.object("table", "part-0.parquet")
        s.object("kept", "evidence.csv")
        s.object("pinned", "dashboard.csv")
        seed_s3(s)


def seed_s3(s: Seeder) -> None:
    """Roots on S3: a plain one, one that keeps versions and locks objects, and one whose server ignores conditions."""
    known = {
        "s3/plain": {"transitions": True},
        "s3/versions": {"versioning": "enabled", "locks": True},
        "s3/careless": {"conditional": False},
    }
    for name, values in known.items():
        s.conn.execute(sa.update(datasets).where(datasets.c.name == name).values(values))
    s.object("s3/plain", "old.csv", tier="standard")
    s.object("s3/plain", "rare-already.csv", tier="rare", raw_class="STANDARD_IA")
    s.object("s3/plain", "one-zone.csv", tier="standard", raw_class="ONEZONE_IA")
    s.object("s3/plain", "new.csv", tier="standard", age=3 * DAY)
    s.object("s3/plain", "moved.csv", tier="cold", raw_state="released")
    s.object("s3/versions", "free.csv", tier="standard")
    s.object("s3/versions", "was-locked.csv", tier="standard", locked_until_us=NOW - DAY)
    s.object("s3/versions", "locked.csv", tier="standard", locked_until_us=NOW + 365 * DAY)
    s.object("s3/versions", "legal-hold.csv", tier="standard", locked_until_us=FOREVER)
    s.object("s3/careless", "old.csv", tier="standard")


def policies(directory: Path, settings: Settings, text: str, name: str = "policies.yaml") -> PolicySet:
    """Policies from YAML text."""
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(text, "utf-8")
    return load_policies(directory, settings)
