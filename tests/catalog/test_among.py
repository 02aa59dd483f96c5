"""Ids that go into a statement as one parameter."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from storaged.catalog.among import IDS, among
from storaged.catalog.engine import Catalog
from storaged.catalog.schema import meta, scans, tiers

ODD = ["it's", 'a "b"', "%s ?:x", "é\n\\", ""]


@pytest.fixture
def lake(catalog: Catalog) -> Catalog:
    with catalog.begin() as conn:
        more = {"rank": 0, "url": "", "storage_class": ""}
        conn.execute(sa.insert(tiers), [{"id": n, "name": name, **more} for n, name in enumerate(ODD)])
    return catalog


@pytest.mark.parametrize("wanted", [[], [1, 3], [4, 4, 2**40], range(5)], ids=str)
def test_those_are_found_that_are_asked_for(lake: Catalog, wanted: list[int]) -> None:
    once = sa.select(tiers.c.id).where(among(tiers.c.id, sa.bindparam("ids", type_=IDS))).order_by(tiers.c.id)
    with lake.read() as conn:
        found = list(
            conn.execute(sa.select(tiers.c.id).where(among(tiers.c.id, wanted)).order_by(tiers.c.id)).scalars()
        )
        assert found == sorted({*wanted} & {*range(5)})
        assert list(conn.execute(once, {"ids": wanted}).scalars()) == found


@pytest.mark.parametrize("wanted", [[], ODD, ["nobody", ODD[0]]], ids=["none", "all", "one"])
def test_texts_are_found_whatever_is_in_them(lake: Catalog, wanted: list[str]) -> None:
    query = sa.select(tiers.c.name).where(among(tiers.c.name, wanted))
    with lake.read() as conn:
        assert set(conn.execute(query).scalars()) == {*wanted} & {*ODD}


def test_what_is_asked_for_is_looked_up_and_not_looked_for(lake: Catalog) -> None:
    """By the table's key: of a list that is compared with each row it would be the whole table."""
    if lake.dialect != "sqlite":
        pytest.skip("Postgres reads a table of no size as a whole")
    query = sa.select(scans).where(among(scans.c.id, [1, 2])).compile(lake.engine)
    with lake.read() as conn:
        plan = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", ("[1, 2]",)).all()
        assert any("SEARCH scans USING INTEGER PRIMARY KEY" in row.detail for row in plan), plan
        assert conn.execute(sa.select(meta.c.value).where(among(meta.c.key, ["epoch"]))).scalar_one() == "1"
