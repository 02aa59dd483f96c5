"""A plan's own rows, read once: their digest, and what they come to by policy and by what holds them back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog.among import among
from storaged.catalog.engine import Catalog
from storaged.catalog.placements import chunks
from storaged.catalog.schema import datasets, objects, plan_items
from storaged.decide.policy import LoadedPolicy
from storaged.decide.summary import SAMPLES, Tally

PAGE: Final = 10_000  # rows read at a time

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_TALLIED: Final = ("object_id", "policy", "held", "stored_bytes", "after_bytes")
_COLUMNS: Final = (*_TALLIED, *(c.name for c in plan_items.c if c.name not in {*_TALLIED, "plan_id"}))

By = tuple[str, str | None]  # policy, and what holds back; None: nothing, these are actions


@dataclass(slots=True)
class _Sums:
    objects: int = 0
    now: int = 0
    after: int = 0
    most: list[tuple[int, int]] = field(default_factory=list)  # largest savings in bytes and whose, the largest first
    least: int | None = None  # of these, once there are SAMPLES

    def keep(self, saving: int, object_id: int) -> None:
        """Among the largest. Of equal ones those that came first stay."""
        place = next((n for n, (other, _) in enumerate(self.most) if other < saving), len(self.most))
        self.most.insert(place, (saving, object_id))
        del self.most[SAMPLES:]
        if len(self.most) == SAMPLES:
            self.least = self.most[-1][0]


def read_rows(
    catalog: Catalog, policies: Iterable[LoadedPolicy], grace_us: int, tier_ids: Mapping[str, int], plan_id: int
) -> tuple[str, Mapping[By, Tally]]:
    """SHA-256 over what the plan rests on (its policies, the `grace` of storaged.yaml, the tiers) and every row, in the
    order of the objects' ids, as lines of JSON; and the tallies, whose samples are what saves most bytes."""
    header = [[p.name, p.digest] for p in policies], grace_us, sorted(tier_ids.items())
    digest = hashlib.sha256(_line(header))

    def digested() -> Iterator[Sequence[tuple[Any, ...]]]:
        for rows in _pages(catalog, plan_id, _COLUMNS):
            digest.update(_line(rows))
            yield rows

    tallies = _tallied(catalog, digested())
    return digest.hexdigest(), tallies


def tally_rows(catalog: Catalog, plan_id: int) -> Mapping[By, Tally]:
    """The tallies alone, in a third of the time."""
    return _tallied(catalog, _pages(catalog, plan_id, _TALLIED))


def _tallied(catalog: Catalog, pages: Iterable[Sequence[tuple[Any, ...]]]) -> Mapping[By, Tally]:
    sums: dict[By, _Sums] = {}
    for rows in pages:
        for object_id, policy, held, now, after, *_ in rows:
            found = sums.get((policy, held))
            if found is None:
                found = sums[policy, held] = _Sums()
            found.objects += 1
            found.now += now
            found.after += after
            if found.least is None or now - after > found.least:
                found.keep(now - after, object_id)
    names = _names(catalog, [number for found in sums.values() for _, number in found.most])
    return {
        by: Tally(found.objects, found.now, found.after, tuple(names[number] for _, number in found.most))
        for by, found in sums.items()
    }


def _pages(catalog: Catalog, plan_id: int, names: Iterable[str]) -> Iterator[Sequence[tuple[Any, ...]]]:
    """The driver's own rows: SQLAlchemy's take as long again."""
    named = (plan_items.c[name] for name in names)
    columns = (sa.cast(c, sa.Integer) if isinstance(c.type, sa.Boolean) else c for c in named)  # SQLite has 0 and 1
    query = sa.select(*columns).where(plan_items.c.plan_id == plan_id).order_by(plan_items.c.object_id).limit(PAGE)
    last = 0
    while True:  # pages: a read transaction that stays open would keep writers waiting
        with catalog.read() as conn:
            found = conn.execute(query.where(plan_items.c.object_id > last)).cursor
            rows: Sequence[tuple[Any, ...]] = [] if found is None else found.fetchall()
        yield rows
        if len(rows) < PAGE:
            return
        last = rows[-1][0]


def _names(catalog: Catalog, ids: list[int]) -> dict[int, str]:
    """Of objects, `dataset: object`."""
    query = sa.select(objects.c.id, datasets.c.name, objects.c.name).join(
        datasets, datasets.c.id == objects.c.dataset_id
    )
    with catalog.read() as conn:
        parts = (conn.execute(query.where(among(objects.c.id, part))) for part in chunks(sorted(ids)))
        return {number: f"{dataset}: {name}" for rows in parts for number, dataset, name in rows}


def _line(value: object) -> bytes:
    return _ENCODER.encode(value).encode() + b"\n"
