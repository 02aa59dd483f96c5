"""What tables keep and nothing needs any more: told, with what it costs, and never removed by us."""

from __future__ import annotations

from collections.abc import Collection as Names
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog import collections, placements
from storaged.catalog.collections import KnownCollection
from storaged.catalog.schema import datasets, objects
from storaged.errors import ObjectNotFound
from storaged.prices.amount import ZERO
from storaged.work.content import Slice, open_current
from storaged.work.context import Context
from storaged.work.money.cost import BillPart, make_bill
from storaged.work.money.cuts import Some
from storaged.work.scan.roots import Roots
from storaged.work.show import delta, iceberg
from storaged.work.show.unneeded import Needs, NotRead

TABLES: Final = ("delta", "iceberg")  # kinds whose books are read
SAMPLES: Final = 10  # names of each that are told


@dataclass(frozen=True, slots=True)
class Kept:
    """Some files of a table. `stored`: USD per month; None: their prices are not known. `leaving`: USD once, for early
    deletion, if they went today."""

    objects: int = 0
    bytes: int = 0
    stored: Decimal | None = None
    leaving: Decimal = ZERO
    samples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Removable:
    """A table with what no live snapshot refers to, and what only older ones do. `needs` None: its books cannot be
    read, and `error` says why."""

    table: KnownCollection
    needs: Needs | None = None
    error: str = ""
    unneeded: Kept = field(default_factory=Kept)
    aged: Kept = field(default_factory=Kept)


def removable(context: Context, names: Names[str] = (), prefix: str | None = None) -> list[Removable]:
    """The Delta and Iceberg tables of these datasets (none named: of all), or the one with this prefix, each with what
    it keeps and does not need. Raises UsageError where the library that reads one is not installed, ConfigError."""
    with context.catalog.read() as conn:
        tables = [one for one in collections.listed(conn, names, TABLES) if prefix in (None, one.prefix)]
    found, labels = list[tuple[KnownCollection, Needs | str]](), list[tuple[str, tuple[int, ...]]]()
    sizes: dict[str, tuple[int, tuple[str, ...]]] = {}
    for number, table in enumerate(tables):
        rows = _objects(context, table)
        try:
            needs = _needs(context, table, {row.name: row.mtime_us for row in rows})
        except NotRead as error:
            found.append((table, error.message))
            continue
        found.append((table, needs))
        for kind, keys in (("unneeded", needs.unneeded), ("aged", needs.aged)):
            mine = [row for row in rows if row.name in keys]
            label = f"{kind} {number}"
            labels.append((label, tuple(row.id for row in mine)))
            sizes[label] = len(mine), tuple(row.name for row in mine[:SAMPLES])
    priced = _costs(context, labels)
    return [
        Removable(table, error=needs)
        if isinstance(needs, str)
        else Removable(
            table,
            needs,
            unneeded=_kept(priced.get(f"unneeded {number}", []), *sizes[f"unneeded {number}"]),
            aged=_kept(priced.get(f"aged {number}", []), *sizes[f"aged {number}"]),
        )
        for number, (table, needs) in enumerate(found)
    ]


def _objects(context: Context, table: KnownCollection) -> Sequence[sa.Row[Any, Any, Any]]:
    o = objects.c
    query = (
        sa.select(o.id, o.name, o.mtime_us)
        .join(datasets, datasets.c.id == o.dataset_id)
        .where(datasets.c.name == table.dataset, o.name >= table.prefix, o.name < table.until, o.removed_us.is_(None))
    )
    with context.catalog.read() as conn:
        return conn.execute(query.order_by(o.name)).all()


def _needs(context: Context, table: KnownCollection, keys: dict[str, int]) -> Needs:
    if table.dataset not in context.datasets:
        raise NotRead("its dataset is not in the configuration")
    if table.kind == "delta":
        return delta.needs(context.settings, context.dataset(table.dataset).root, table.prefix, keys)
    with context.catalog.read() as conn:
        number = context.dataset_id(conn, table.dataset)
    roots = Roots(context, {table.dataset: number})

    def key_of(location: str) -> str:
        if location in keys:
            return location
        return next((found.key for found in roots.targets(location, number, "") if not found.guess), "")

    def opened(key: str) -> Slice:
        with context.catalog.read() as conn:
            seen = placements.find(conn, table.dataset, key)
        if seen is None:
            raise ObjectNotFound(f"the catalog has no {key}", key=key)
        return open_current(context, seen)

    return iceberg.needs(table.prefix, keys, opened, key_of, context.now_us())


def _costs(context: Context, labels: list[tuple[str, tuple[int, ...]]]) -> dict[str, list[BillPart]]:
    """The bill's parts of these objects, by label."""
    wanted = tuple((label, ids) for label, ids in labels if ids)
    found: dict[str, list[BillPart]] = {}
    if wanted:
        for part in make_bill(context, Some("", context.now_us(), wanted)).parts:
            found.setdefault(part.label, []).append(part)
    return found


def _kept(parts: list[BillPart], number: int, samples: tuple[str, ...]) -> Kept:
    """`stored` is of what has prices; None: nothing of it has."""
    priced = [part.cost for part in parts if part.cost is not None]
    stored = sum((cost.storage + cost.monitoring + cost.overhead for cost in priced), ZERO) if priced else None
    leaving = sum((part.leaving_today for part in parts), ZERO)
    return Kept(number, sum(part.bytes for part in parts), stored, leaving, samples)


def totals(found: list[Removable]) -> Iterator[Kept]:
    """What all of them have that is not needed, and what only older snapshots need."""
    for some in ([one.unneeded for one in found], [one.aged for one in found]):
        known = [kept.stored for kept in some if kept.stored is not None]
        stored = sum(known, ZERO) if known else None
        yield Kept(
            sum(k.objects for k in some), sum(k.bytes for k in some), stored, sum((k.leaving for k in some), ZERO)
        )
