"""Columns as texts: many rows are compared with what is known elsewhere without becoming Python objects."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from storaged.stores.listed import BETWEEN


def joined(conn: sa.Connection, rows: sa.Select[Any], columns: int) -> tuple[int, *tuple[str, ...]]:
    """How many rows there are, and of each of so many first columns, of texts, all values with BETWEEN between them.

    They are in the order of `rows` as a rule, which neither database promises: equal texts tell that all is equal,
    other ones do not tell that something differs.
    """
    texts = [sa.func.coalesce(sa.func.aggregate_strings(c, BETWEEN), "") for c in [*rows.subquery().c][:columns]]
    return tuple(conn.execute(sa.select(sa.func.count(), *texts)).one())
