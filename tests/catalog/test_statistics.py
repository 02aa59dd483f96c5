"""What Postgres knows of how many rows there are, without its autovacuum."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from storaged.catalog import statistics
from storaged.catalog.engine import Catalog
from storaged.catalog.schema import objects
from tests.catalog.test_totals import prepared, row


def known(catalog: Catalog) -> int:
    """How many objects it thinks there are; -1: it never looked."""
    with catalog.read() as conn:
        return int(conn.execute(sa.text("SELECT reltuples FROM pg_class WHERE oid = 'objects'::regclass")).scalar_one())


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
def test_it_looks_once_many_rows_came(catalog: Catalog) -> None:
    prepared(catalog)
    with catalog.begin() as conn:
        conn.execute(objects.insert(), [row(number) for number in range(500)])
    statistics.learn(catalog, statistics.MANY - 1)
    assert known(catalog) <= 0
    statistics.learn(catalog, statistics.MANY)
    assert known(catalog) == 500


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_sqlite_is_left_alone(catalog: Catalog) -> None:
    statistics.learn(catalog, statistics.MANY)
