"""Schema 0010: what was marked whole as a table is one collection until the next scan, and plans speak of it so."""

from __future__ import annotations

import json

import sqlalchemy as sa

from storaged.catalog import collections, totals, views
from storaged.catalog.engine import create_catalog, open_catalog, parse_url, upgrade_catalog
from storaged.catalog.schema import datasets, objects, plan_items, plans
from storaged.decide.guards import TABLES, words
from storaged.decide.kinds import LAST
from storaged.decide.kinds import TABLES as TABLE_FORMATS
from tests.catalog.earlier import without_attempts
from tests.catalog.test_totals import WITHOUT_COLLECTIONS, prepared, row

TALLY = {"objects": 1, "bytes_now": 3, "bytes_after": 3, "samples": ["one: 00001"]}


# MUST 11
def test_a_mark_on_a_dataset_becomes_a_collection_of_all_of_it(empty_url: str) -> None:
    with create_catalog(empty_url) as catalog:
        prepared(catalog)
        with catalog.begin() as conn:
            conn.execute(objects.insert(), [row(1, dataset_id=1), row(2, dataset_id=2)])
            part = {"name": "p", "mode": "active", "sentence": "s", "held": {"table": TALLY, "hold": TALLY}}
            summary = json.dumps({"policies": [part | {"held_money": {}}]})
            made = {"id": 1, "state": "saved", "made_us": 1, "policies": '["p"]', "summary": summary}
            conn.execute(plans.insert().values(made))
            item = {"plan_id": 1, "policy": "p", "version": 1, "identity": "", "size": 3, "stored_bytes": 3}
            item |= {"after_bytes": 3, "tier_id": 1, "codec": "identity", "grace_us": 0, "reason": ""}
            held = [item | {"object_id": 1, "held": "table"}, item | {"object_id": 2, "held": "hold"}]
            conn.execute(plan_items.insert(), held)
    engine = sa.create_engine(parse_url(empty_url))
    with engine.begin() as conn:
        views.drop(conn)
        totals.drop(conn)
        without_attempts(conn)
        later = (
            "DROP INDEX ix_objects_stuck",
            *(f"ALTER TABLE objects DROP COLUMN {c}" for c in ("stuck", "not_taken")),
        )
        for statement in (*WITHOUT_COLLECTIONS, *later):
            conn.execute(sa.text(statement))
        conn.execute(sa.text("UPDATE datasets SET table_format = 'iceberg', scanned_us = 7 WHERE id = 1"))
        conn.execute(sa.text("UPDATE alembic_version SET version_num = '0009'"))
    engine.dispose()
    upgrade_catalog(empty_url)
    with open_catalog(empty_url) as catalog, catalog.read() as conn:
        [one] = collections.listed(conn)
        assert (one.prefix, one.until, one.kind, one.found_us, one.objects) == ("", LAST, "iceberg", 7, 1)
        kinds = sa.select(objects.c.id, collections.of_object("kind").label("kind")).select_from(TABLES)
        found = [tuple(r) for r in conn.execute(kinds.order_by(objects.c.id))]
        assert found == [(1, "iceberg"), (2, None)]
        assert "table_format" not in datasets.c
        codes = conn.execute(sa.select(plan_items.c.held).order_by(plan_items.c.object_id)).scalars().all()
        assert codes == ["collection", "hold"]
        assert words(codes[0])
        [policy] = json.loads(conn.execute(sa.select(plans.c.summary)).scalar_one())["policies"]
        assert policy["held"] == {"collection": TALLY, "hold": TALLY}
        assert all(f"'{kind}'" in views.selects("sqlite")["v_datasets"] for kind in TABLE_FORMATS)
        view = conn.execute(sa.text("SELECT dataset, table_format, collections FROM v_datasets ORDER BY dataset"))
        assert [tuple(r)[1:] for r in view] == [("iceberg", 1), (None, 0)]
