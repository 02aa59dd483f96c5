"""Things of many files, by dataset: what the scans found, which of them an object is in, and what else was seen since.

No two of one dataset overlap, and a key that is in one is behind its `prefix` and before those behind it. So which one
a key is in is told by the last one that begins at or before it.
"""

from __future__ import annotations

from collections.abc import Collection as Names
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.among import among
from storaged.catalog.schema import datasets, objects, tiers
from storaged.catalog.schema_collections import collections
from storaged.model import RawState

PAGE: Final = 10_000  # rows that are read or written at once


@dataclass(frozen=True, slots=True)
class KnownCollection:
    """A collection of a dataset. `objects` and `bytes`: what exists of it, whatever its place; `last_read_us`: of any
    of it (None: no read is known); `tiers`: where it is."""

    dataset: str
    prefix: str
    until: str
    kind: str
    marker: str
    found_us: int
    objects: int
    bytes: int
    last_read_us: int | None
    tiers: tuple[str, ...]


def of_object(column: str) -> ColumnElement[Any]:
    """A column (`kind`, `prefix`) of the collection that an object is in; NULL: it is in none."""
    c = collections.c
    inside = sa.case((objects.c.name < c.until, c[column]))
    query = sa.select(inside).where(c.dataset_id == objects.c.dataset_id, c.prefix <= objects.c.name)
    return query.order_by(c.prefix.desc()).limit(1).correlate(objects).scalar_subquery()


def of_kinds(kinds: Names[str]) -> ColumnElement[bool]:
    """Whether an object is in a collection of one of these kinds; never NULL."""
    return sa.func.coalesce(of_object("kind").in_(sorted(kinds)), sa.false())


def inside(conn: sa.Connection, dataset_id: int, name: str) -> ColumnElement[bool] | None:
    """Which objects are in the collection of this name, a folder's with or without a `/` behind it; None: there is no
    such collection."""
    c = collections.c
    named = c.prefix.in_([name, f"{name.removesuffix('/')}/"])
    row = conn.execute(sa.select(collections).where(c.dataset_id == dataset_id, named)).first()
    return None if row is None else sa.and_(objects.c.name >= row.prefix, objects.c.name < row.until)


def named(conn: sa.Connection, dataset: str, name: str) -> tuple[str, str] | None:
    """The prefix of a dataset's collection of this name, as `inside` takes it, and its first part that is there; None:
    there is none."""
    c, o = collections.c, objects.c
    prefixes = c.prefix.in_([name, f"{name.removesuffix('/')}/"])
    of_it = sa.and_(o.dataset_id == c.dataset_id, o.name >= c.prefix, o.name < c.until, o.removed_us.is_(None))
    query = sa.select(c.prefix, o.name).join(datasets, datasets.c.id == c.dataset_id).join(objects, of_it)
    row = conn.execute(query.where(datasets.c.name == dataset, prefixes).order_by(o.name).limit(1)).first()
    return None if row is None else (row.prefix, row.name)


def by_name(conn: sa.Connection, dataset_id: int, names: Iterable[str]) -> dict[str, Any]:
    """Of these objects of a dataset id, state and identity of their originals."""
    o = objects.c
    query = sa.select(o.id, o.name, o.raw_state, o.raw_identity).where(o.dataset_id == dataset_id)
    return {row.name: row for row in conn.execute(query.where(among(o.name, names), o.removed_us.is_(None)))}


def at_root(conn: sa.Connection, dataset_id: int, prefix: str, until: str) -> Iterator[tuple[int, str]]:
    """The objects of a collection that are at their original keys, by id and name, in the order of their names."""
    o = objects.c
    inside = (o.dataset_id == dataset_id, o.name >= prefix, o.name < until, o.raw_state == RawState.CURRENT.value)
    query = sa.select(o.id, o.name).where(*inside).order_by(o.name).execution_options(yield_per=PAGE)
    yield from ((row.id, row.name) for row in conn.execute(query))


def replace(
    conn: sa.Connection, dataset_id: int, found: Iterable[tuple[str, str, str, str]], *, now_us: int
) -> list[str]:
    """Let a dataset have these (prefix, until, kind, marker) and no others. Returns the prefixes of those that are
    new or of another kind."""
    c = collections.c
    mine = c.dataset_id == dataset_id
    _wait_turn(conn, dataset_id)
    known = {row.prefix: row for row in conn.execute(sa.select(collections).where(mine))}
    wanted = {one[0]: one for one in found}
    other = [prefix for prefix, row in known.items() if wanted.get(prefix, ("",) * 4)[:3] != tuple(row)[1:4]]
    for start in range(0, len(other), PAGE):
        part = [{"b_prefix": prefix} for prefix in other[start : start + PAGE]]
        conn.execute(
            sa.delete(collections).where(mine, c.prefix == sa.bindparam("b_prefix")),
            part,
        )
    gone = set(other)
    new = [one for prefix, one in wanted.items() if prefix not in known or prefix in gone]
    _insert(conn, dataset_id, new, now_us)
    return [one[0] for one in new]


def add(conn: sa.Connection, dataset_id: int, found: Iterable[tuple[str, str, str, str]], *, now_us: int) -> None:
    """Let a dataset have these too. What is inside one of them becomes a part of it."""
    c = collections.c
    _wait_turn(conn, dataset_id)
    for one in found:
        prefix, until = one[0], one[1]
        mine = c.dataset_id == dataset_id
        around = sa.select(sa.literal(1)).where(mine, c.prefix <= prefix, c.until >= until)
        if conn.execute(around.limit(1)).first() is None:
            conn.execute(sa.delete(collections).where(mine, c.prefix >= prefix, c.prefix < until))
            _insert(conn, dataset_id, [one], now_us)


def listed(
    conn: sa.Connection, names: Names[str] = (), kinds: Names[str] = (), *, limit: int | None = None
) -> Iterator[KnownCollection]:
    """The collections of these datasets and kinds (none named: of all), by dataset and prefix, with what is in each."""
    c, o = collections.c, objects.c
    known = {row.id: row.name for row in conn.execute(sa.select(tiers.c.id, tiers.c.name))}
    query = sa.select(datasets.c.name.label("dataset"), collections).join(datasets, datasets.c.id == c.dataset_id)
    if names:
        query = query.where(datasets.c.name.in_(sorted(names)))
    if kinds:
        query = query.where(c.kind.in_(sorted(kinds)))
    for row in conn.execute(query.order_by(datasets.c.name, c.prefix).limit(limit)).all():
        inside = (o.dataset_id == row.dataset_id, o.name >= row.prefix, o.name < row.until, o.removed_us.is_(None))
        sums = (o.tier_id, sa.func.count(), sa.func.coalesce(sa.func.sum(o.size), 0), sa.func.max(o.last_read_us))
        found = conn.execute(sa.select(*sums).where(*inside).group_by(o.tier_id)).all()
        yield KnownCollection(
            *(row.dataset, row.prefix, row.until, row.kind, row.marker, row.found_us),
            objects=sum(r[1] for r in found),
            bytes=sum(int(r[2]) for r in found),
            last_read_us=max((r[3] for r in found if r[3] is not None), default=None),
            tiers=tuple(sorted(known[r[0]] for r in found if r[0] is not None)),
        )


def counts(conn: sa.Connection, names: Names[str] = (), kinds: Names[str] = ()) -> dict[str, dict[str, int]]:
    """How many collections of each of these kinds each of these datasets has (none named: all of them)."""
    c = collections.c
    query = sa.select(datasets.c.name, c.kind, sa.func.count()).join(datasets, datasets.c.id == c.dataset_id)
    if names:
        query = query.where(datasets.c.name.in_(sorted(names)))
    if kinds:
        query = query.where(c.kind.in_(sorted(kinds)))
    found: dict[str, dict[str, int]] = {}
    for dataset, kind, count in conn.execute(query.group_by(datasets.c.name, c.kind).order_by(datasets.c.name, c.kind)):
        found.setdefault(dataset, {})[kind] = count
    return found


def _wait_turn(conn: sa.Connection, dataset_id: int) -> None:
    """One at a time, until this transaction's end: two that scan a dataset at once find the same."""
    conn.execute(sa.select(datasets.c.id).where(datasets.c.id == dataset_id).with_for_update(key_share=True))


def _insert(conn: sa.Connection, dataset_id: int, rows: list[tuple[str, str, str, str]], now_us: int) -> None:
    for start in range(0, len(rows), PAGE):
        values = [
            {
                "dataset_id": dataset_id,
                "prefix": prefix,
                "until": until,
                "kind": kind,
                "marker": marker,
                "found_us": now_us,
            }
            for prefix, until, kind, marker in rows[start : start + PAGE]
        ]
        conn.execute(sa.insert(collections), values)
