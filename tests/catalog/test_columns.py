"""A change of a placement writes the columns in which it differs, and the row is the one that all of it would make."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from storaged.catalog import columns, each, placements
from storaged.catalog.engine import Catalog
from storaged.catalog.placements import Row
from storaged.catalog.schema import audit, objects, replicas
from storaged.model import Placement
from tests.catalog.test_together import lake, placed
from tests.laws import tries

FIRST, SECOND = 1_000_001, 1_000_002  # beyond what a sequence gives meanwhile
__all__ = ["lake"]  # the fixture


def _rows(conn: sa.Connection, number: int) -> Any:
    row = conn.execute(sa.select(objects).where(objects.c.id == number)).one()._asdict()
    theirs = conn.execute(sa.select(replicas).where(replicas.c.object_id == number).order_by(replicas.c.blob_id)).all()
    return {k: v for k, v in row.items() if k not in ("id", "name", "version")}, [r[1:] for r in theirs]


@tries(25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=placed(), after=placed(), sized=st.booleans())
def test_a_change_leaves_the_row_that_all_of_the_placement_would_make(
    lake: Catalog, before: Placement, after: Placement, sized: bool
) -> None:
    after = replace(after, removed_us=7 if sized else None)
    with lake.begin() as conn:
        for number in (FIRST, SECOND):
            row = {"id": number, "dataset_id": 1, "name": f"o{number}", "size": 0, "mtime_us": 0, "created_us": 0}
            conn.execute(sa.insert(objects).values(row | {"stored_bytes": 0}))
            placements.write(conn, [Row(number, 1, 1, replace(before, name=f"o{number}"))])
        seen = placements.load(conn, [FIRST])[FIRST]
        assert seen.placement == replace(before, name=f"o{FIRST}")
        placements.write(conn, [Row(FIRST, 2, 1, replace(after, name=f"o{FIRST}"), seen.placement)])
        placements.write(conn, [Row(SECOND, 2, 1, replace(after, name=f"o{SECOND}"))])
        assert _rows(conn, FIRST) == _rows(conn, SECOND)
        placements.make(conn, [(1, replace(after, name="o3"))])
        made = conn.execute(sa.select(objects.c.id).where(objects.c.name == "o3")).scalar_one()
        assert _rows(conn, made) == _rows(conn, SECOND)
        conn.rollback()


@given(placed())
def test_what_does_not_differ_is_not_written(p: Placement) -> None:
    assert columns.told(p, {}, p) == {}
    assert columns.told(replace(p, hold="why"), {}, replace(p, hold=None)) == {"hold": "why"}
    assert columns.stays(replace(p, hold="why"), p)
    assert not columns.stays(p, None)


def _audited(number: int) -> dict[str, Any]:
    return {"at_us": number, "kind": "k", "dataset": "d", "object": f"é{number}", "actor": "a", "detail": "{}"}


def test_many_rows_are_written_as_few_are(lake: Catalog) -> None:
    many = [_audited(n) for n in range(3 * each.FEW)]
    with lake.begin() as conn:
        assert each.execute(conn, sa.insert(audit), []) == 0
        each.execute(conn, sa.insert(audit), many)
        each.execute(conn, sa.insert(audit), [_audited(n) for n in range(-1, 0)])
        found = conn.execute(sa.select(audit.c.at_us, audit.c.object).order_by(audit.c.at_us)).all()
        assert found == [(n, f"é{n}") for n in range(-1, 3 * each.FEW)]
        named = sa.update(audit).where(audit.c.at_us == sa.bindparam("b_at"), audit.c.kind == "k")
        rows = [{"b_at": n, "b_actor": f"b{n}"} for n in range(5, 100)]  # more than there are
        assert each.execute(conn, named.values(actor=sa.bindparam("b_actor")), rows) == len(many) - 5
        told = conn.execute(sa.select(audit.c.at_us, audit.c.actor).where(audit.c.actor != "a")).all()
        assert sorted(told) == [(n, f"b{n}") for n in range(5, len(many))]
