"""A plan's own rows, read once: their digest, and what they come to by policy and by what holds them back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from storaged.catalog.among import among
from storaged.catalog.engine import Catalog
from storaged.catalog.placements import chunks
from storaged.catalog.schema import datasets, objects, plan_items
from storaged.decide.policy import LoadedPolicy
from storaged.decide.summary import SAMPLES, Tally

PAGE: Final = 10_000  # rows read at a time

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_FIRST: Final = ("object_id", "policy", "held", "stored_bytes", "after_bytes")
_COLUMNS: Final = (*_FIRST, *(c.name for c in plan_items.c if c.name not in {*_FIRST, "plan_id"}))
_SAVING: Final = plan_items.c.stored_bytes - plan_items.c.after_bytes

By = tuple[str, str | None]  # policy, and what holds back; None: nothing, these are actions


@dataclass(slots=True)
class _Sums:
    objects: int = 0
    now: int = 0
    after: int = 0
    most: list[tuple[int, int]] = field(default_factory=list)  # largest savings in bytes and whose, the largest first

    @property
    def least(self) -> int | None:
        """The saving that one of the largest has more than; None: there are too few."""
        return self.most[-1][0] if len(self.most) == SAMPLES else None


def read_rows(
    catalog: Catalog, policies: Iterable[LoadedPolicy], grace_us: int, tier_ids: Mapping[str, int], plan_id: int
) -> tuple[str, Mapping[By, Tally]]:
    """SHA-256 over what the plan rests on (its policies, the `grace` of storaged.yaml, the tiers) and every row, in the
    order of the objects' ids, as lines of JSON; and the tallies, whose samples are what saves most bytes."""
    header = [[p.name, p.digest] for p in policies], grace_us, sorted(tier_ids.items())
    digest = hashlib.sha256(_ENCODER.encode(header).encode() + b"\n")
    tallies = _tallied(catalog, plan_id, lambda page: digest.update(f"[{','.join(page)}]\n".encode()))
    return digest.hexdigest(), tallies


def tally_rows(catalog: Catalog, plan_id: int) -> Mapping[By, Tally]:
    """The tallies alone."""
    return _tallied(catalog, plan_id, None)


def _tallied(catalog: Catalog, plan_id: int, see: Callable[[Iterable[str]], object] | None) -> Mapping[By, Tally]:
    """`see` gets the rows, page by page: the database writes them down, in a quarter of the time of reading them."""
    sums: dict[By, _Sums] = {}
    low = 0
    while True:  # pages: a read transaction that stays open would keep writers waiting
        with catalog.read() as conn:
            rows, high = _page(conn, plan_id, low, written=see is not None)
            page = sa.and_(plan_items.c.plan_id == plan_id, plan_items.c.object_id.between(low + 1, high))
            _add(conn, page, sums)
        if see is not None:
            see(rows)
        if len(rows) < PAGE:
            break
        low = high
    names = _names(catalog, [number for found in sums.values() for _, number in found.most])
    return {
        by: Tally(found.objects, found.now, found.after, tuple(names[number] for _, number in found.most))
        for by, found in sums.items()
    }


def _page(conn: sa.Connection, plan_id: int, low: int, *, written: bool) -> tuple[Sequence[str], int]:
    """The next rows behind an object's id, each as JSON where it is to be `written`, and the last one's id."""
    named = (plan_items.c[name] for name in _COLUMNS)
    columns = [sa.cast(c, sa.Integer) if isinstance(c.type, sa.Boolean) else c for c in named]  # SQLite has 0 and 1
    as_json = sa.func.json_array(*columns)
    if conn.dialect.name != "sqlite":
        from sqlalchemy.dialects import postgresql  # here: it loads every driver of Postgres that there is

        # as SQLite writes it; what builds arrays puts spaces into them
        as_json = sa.func.array_to_json(postgresql.array([sa.func.to_json(c) for c in columns]))
    query = sa.select(plan_items.c.object_id, sa.cast(as_json, sa.Text) if written else sa.literal(""))
    query = query.where(plan_items.c.plan_id == plan_id, plan_items.c.object_id > low)
    found = conn.execute(query.order_by(plan_items.c.object_id).limit(PAGE)).cursor  # SQLAlchemy's rows take longer
    rows: Sequence[tuple[int, str]] = [] if found is None else found.fetchall()
    return [row for _, row in rows], rows[-1][0] if rows else low


def _add(conn: sa.Connection, page: sa.ColumnElement[bool], sums: dict[By, _Sums]) -> None:
    """Add up a page. Of what saves most those that are among the most so far; of equal ones those that came first."""
    c = plan_items.c
    added = (sa.func.count(), *(sa.cast(sa.func.sum(x), sa.BigInteger) for x in (c.stored_bytes, c.after_bytes)))
    query = sa.select(c.policy, c.held, *added, sa.func.max(_SAVING)).where(page).group_by(c.policy, c.held)
    for policy, held, objects_, now, after, most in conn.execute(query).all():
        found = sums.setdefault((policy, held), _Sums())
        found.objects += objects_
        found.now += now
        found.after += after
        if found.least is None or most > found.least:
            mine = sa.and_(page, c.policy == policy, c.held.is_not_distinct_from(held))
            more = mine if found.least is None else sa.and_(mine, found.least < _SAVING)
            largest = sa.select(_SAVING, c.object_id).where(more).order_by(_SAVING.desc(), c.object_id).limit(SAMPLES)
            told = [(saving, number) for saving, number in conn.execute(largest)]
            found.most = sorted([*found.most, *told], key=lambda one: (-one[0], one[1]))[:SAMPLES]


def _names(catalog: Catalog, ids: list[int]) -> dict[int, str]:
    """Of objects, `dataset: object`."""
    query = sa.select(objects.c.id, datasets.c.name, objects.c.name).join(
        datasets, datasets.c.id == objects.c.dataset_id
    )
    with catalog.read() as conn:
        parts = (conn.execute(query.where(among(objects.c.id, part))) for part in chunks(sorted(ids)))
        return {number: f"{dataset}: {name}" for rows in parts for number, dataset, name in rows}
