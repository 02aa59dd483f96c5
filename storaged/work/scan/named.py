"""What names tell of objects that the catalog has already: read again where it was not read, or otherwise."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog import facts
from storaged.catalog.schema import objects
from storaged.model import Dataset
from storaged.work.context import Context
from storaged.work.scan.partitions import READ_AS, format_of, partition_reader

PAGE: Final = 50_000  # rows and keys that a scan deals with at once; bounds memory


def read_again(context: Context, dataset: Dataset, dataset_id: int, known: int) -> None:
    """Read partitions from the names of objects that have none, as those of a rebuilt catalog; of all, where the
    pattern is not the one that they were read by. Where an earlier version read the names, formats too. Objects after
    the id `known` have them."""
    o, partition = objects.c, partition_reader(dataset.partitions)
    query = sa.select(o.name, o.id, o.partition, o.format).where(o.dataset_id == dataset_id, o.id <= known)
    fact, pattern = facts.partitions_of(dataset.name), f"{READ_AS}:{dataset.partitions}"
    with context.catalog.read() as conn:
        told_by = facts.get(conn, fact)
    same, earlier = told_by == pattern, told_by is not None and not told_by.startswith(f"{READ_AS}:")
    if dataset.partitions is None and not earlier:
        query = query.where(o.partition.is_not(None))
    elif same:
        query = query.where(o.partition.is_(None))
    low = ""
    while True:
        with context.catalog.read() as conn:
            rows = conn.execute(query.where(o.name > low).order_by(o.name).limit(PAGE)).all()
        changed = [
            {"row": number, "now": now, "form": form}
            for name, number, *told in rows
            if [now := partition(name), form := format_of(name) if earlier else told[1]] != told
        ]
        if changed:
            with context.catalog.begin() as conn:
                update = sa.update(objects).where(o.id == sa.bindparam("row"))
                values: dict[str, Any] = {"partition": sa.bindparam("now"), "format": sa.bindparam("form")}
                conn.execute(update.values(values), changed)
        if len(rows) < PAGE:
            break
        low = rows[-1].name
    if not same:
        with context.catalog.begin() as conn:
            facts.put(conn, fact, pattern)
