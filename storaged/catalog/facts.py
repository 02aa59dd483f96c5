"""Small truths of a catalog that are no table of their own: who it is and how far it is in its journal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import sqlalchemy as sa

from storaged.catalog.among import among
from storaged.catalog.entries import Entry
from storaged.catalog.homes import settle
from storaged.catalog.inserts import into
from storaged.catalog.placements import dataset_ids
from storaged.catalog.replay import apply_entries
from storaged.catalog.schema import datasets, meta, outbox, tiers
from storaged.model import Dataset, Tier

T = TypeVar("T")

# Made once: to make one takes longer than to run it, and they are asked before every batch of effects.
_VALUE: Final = sa.select(meta.c.value).where(meta.c.key == sa.bindparam("wanted"))
_LOCKED: Final = _VALUE.with_for_update()
_OLDEST: Final = (
    sa.select(outbox.c.id, outbox.c.entry).order_by(outbox.c.seq).limit(sa.bindparam("most", type_=sa.Integer))
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which catalog this is. A rebuild takes the id over with a higher epoch."""

    catalog: str
    epoch: int


def get(conn: sa.Connection, key: str) -> str | None:
    return conn.execute(_VALUE, {"wanted": key}).scalar()


def put(conn: sa.Connection, key: str, value: str) -> None:
    row = into(meta, conn.dialect.name).values(key=key, value=value)
    conn.execute(row.on_conflict_do_update(index_elements=["key"], set_={"value": value}))


def drop(conn: sa.Connection, key: str) -> None:
    conn.execute(sa.delete(meta).where(meta.c.key == key))


def moved_to(tier: str) -> str:
    """The name of the fact that tells where a tier was moved."""
    return f"moved:{tier}"


def partitions_of(dataset: str) -> str:
    """The name of the fact that tells by which pattern the partition values of a dataset were read."""
    return f"partitions:{dataset}"


def identity(conn: sa.Connection) -> Identity:
    return Identity(get(conn, "catalog_id") or "", int(get(conn, "epoch") or 0))


def journal_number(conn: sa.Connection, *, lock: bool = False) -> int:
    """The number of the next journal entry that this catalog has not seen. `lock` keeps others from moving it."""
    return int(conn.execute(_LOCKED if lock else _VALUE, {"wanted": "journal_number"}).scalar() or 0)


def journal_waiting(conn: sa.Connection) -> int:
    """How many entries of the outbox are not in the journal yet."""
    return int(conn.execute(sa.select(sa.func.count()).select_from(outbox)).scalar_one())


def waiting(conn: sa.Connection, limit: int) -> list[tuple[str, str]]:
    """The oldest entries of the outbox: of each its id and its line in the journal."""
    return [(row.id, row.entry) for row in conn.execute(_OLDEST, {"most": limit})]


def in_outbox(conn: sa.Connection, ids: Sequence[str]) -> dict[str, bool]:
    """Which of these entries wait in the outbox, and whether each is a fact."""
    rows = conn.execute(sa.select(outbox.c.id, outbox.c.fact).where(among(outbox.c.id, ids)))
    return {row.id: row.fact for row in rows}


def advance(conn: sa.Connection, number: int, entries: Sequence[Entry]) -> bool:
    """Entry `number` is durable: pop what of it waits, apply its facts, replay what this catalog never saw.

    False (and nothing changed) if another process did it first.
    """
    return _advance(conn, number, [(e["id"], e) for e in entries], lambda entry: entry)


def advance_waiting(conn: sa.Connection, number: int, lines: Sequence[tuple[str, str]]) -> bool:
    """The same of entries as `waiting` gives them: facts are the only ones that are read."""
    return _advance(conn, number, lines, json.loads)


def _advance(
    conn: sa.Connection, number: int, entries: Sequence[tuple[str, T]], entry_of: Callable[[T], Entry]
) -> bool:
    moved = conn.execute(
        sa.update(meta).where(meta.c.key == "journal_number", meta.c.value == str(number)).values(value=str(number + 1))
    )
    if moved.rowcount == 0:
        return False
    theirs = among(outbox.c.id, [entry for entry, _ in entries])
    popped = conn.execute(sa.delete(outbox).where(theirs).returning(outbox.c.id, outbox.c.fact))
    ours = {row.id: row.fact for row in popped}
    unseen = [entry_of(told) for entry, told in entries if ours.get(entry, True)]  # facts of ours, what we never saw
    apply_entries(conn, unseen)
    return True


def register(
    conn: sa.Connection, known_tiers: Mapping[str, Tier], known_datasets: Mapping[str, Dataset], *, now_us: int
) -> None:
    """Write what the configuration says of tiers and datasets into the catalog. Rows that are gone there stay."""
    if conn.dialect.name == "postgresql":  # daemons start together, and each would write the same rows
        conn.execute(sa.text("LOCK TABLE tiers IN SHARE ROW EXCLUSIVE MODE"))
    have = {row.name: row.id for row in conn.execute(sa.select(tiers.c.id, tiers.c.name))}
    for tier in known_tiers.values():
        values = {
            "rank": tier.rank,
            "url": tier.url,
            "storage_class": tier.storage_class,
            "capacity_bytes": tier.capacity_bytes,
        }
        if tier.name in have:
            conn.execute(sa.update(tiers).where(tiers.c.id == have[tier.name]).values(values))
        else:
            made = conn.execute(sa.insert(tiers).values(name=tier.name, **values).returning(tiers.c.id))
            have[tier.name] = made.scalar_one()
    stored = dataset_ids(conn)
    for dataset in known_datasets.values():
        row = {
            "root": dataset.root,
            "tier_id": have[dataset.tier],
            "partitions": dataset.partitions,
            **_words(dataset),
            "pin_tier_id": have[dataset.pin] if dataset.pin else None,
        }
        if dataset.name in stored:
            conn.execute(sa.update(datasets).where(datasets.c.name == dataset.name).values(row))
            settle(conn, stored[dataset.name])
        else:
            conn.execute(sa.insert(datasets).values(name=dataset.name, registered_us=now_us, **row))


def reworded(conn: sa.Connection, known_datasets: Mapping[str, Dataset]) -> dict[str, dict[str, object]]:
    """What the configuration says otherwise of datasets that the catalog knows, by name: all but where they are and how
    their names are read, which `register` and scans find out there. A pin to a tier that is not known yet is left out.
    """
    numbers = {row.name: row.id for row in conn.execute(sa.select(tiers.c.id, tiers.c.name))}
    found: dict[str, dict[str, object]] = {}
    for row in conn.execute(sa.select(datasets)).mappings():
        if (dataset := known_datasets.get(row["name"])) is None:
            continue
        said = _words(dataset)
        if dataset.pin is None or dataset.pin in numbers:
            said["pin_tier_id"] = numbers[dataset.pin] if dataset.pin else None
        if other := {name: value for name, value in said.items() if row[name] != value}:
            found[dataset.name] = other
    return found


def reword(conn: sa.Connection, said: Mapping[str, Mapping[str, object]]) -> None:
    """Write down what `reworded` found."""
    for name, values in said.items():
        conn.execute(sa.update(datasets).where(datasets.c.name == name).values(values))


def _words(dataset: Dataset) -> dict[str, object]:
    return {
        "owner": dataset.owner,
        "tags": json.dumps(dict(dataset.tags), sort_keys=True),
        "readers": dataset.readers.value,
        "hold": dataset.hold,
    }
