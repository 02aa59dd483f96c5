"""Columns as texts: many rows are compared with what is known elsewhere without becoming Python objects."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from storaged.stores.listed import BETWEEN


def joined(conn: sa.Connection, rows: sa.Select[Any], columns: int) -> tuple[int, list[str], list[int]]:
    """How many rows there are; of each of so many first columns, of texts, all values with BETWEEN between them; and
    the sums of the others, of numbers.

    They are in the order of `rows` as a rule, which neither database promises: equal texts tell that all is equal,
    other ones do not tell that something differs.
    """
    of = [*rows.subquery().c]
    texts = [sa.func.coalesce(sa.func.aggregate_strings(c, BETWEEN), "") for c in of[:columns]]
    sums = [sa.func.coalesce(sa.func.sum(c), 0) for c in of[columns:]]
    number, *found = conn.execute(sa.select(sa.func.count(), *texts, *sums)).one()
    return number, found[:columns], found[columns:]
