"""The views that people and dashboards read: as documented, right, and plain enough for any client."""

from __future__ import annotations

import math
import sqlite3

import psycopg
import pytest
import sqlalchemy as sa

from storaged import heat
from storaged.catalog import schema
from storaged.catalog.engine import Catalog
from storaged.catalog.views import VIEWS
from storaged.clock import DAY, SystemClock, iso, to_datetime

T = 1_790_000_000_000_000  # 2026-09-21T14:13:20Z
RATES = (None, 1e-30, 1e-9, 1 / 365, 0.25, 1.0, 3.0, 1e6, 1e12)


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    with catalog.begin() as connection:
        insert(connection, schema.tiers, id=1, name="hot", rank=0, url="file:///hot", storage_class="STANDARD")
        insert(connection, schema.tiers, id=2, name="cold", rank=1, url="file:///cold", storage_class="STANDARD")
        dataset = {
            "id": 1,
            "name": "events",
            "root": "file:///data",
            "tier_id": 1,
            "registered_us": T,
            "pin_tier_id": 2,
        }
        insert(connection, schema.datasets, **dataset, hold="court")
        insert(connection, schema.datasets, id=2, name="empty", root="file:///no", tier_id=1, registered_us=T)
        thing = {"dataset_id": 1, "mtime_us": T - DAY, "created_us": T}
        insert(connection, schema.objects, id=1, name="raw", size=10, stored_bytes=10, tier_id=1, **thing)
        moved = {"raw_state": "superseded", "raw_until_us": T + DAY, "codec": "zstd", "hold": "mine", "pin_tier_id": 1}
        insert(connection, schema.objects, id=2, name="moved", size=100, stored_bytes=5, tier_id=2, **thing, **moved)
        gone = {"raw_state": "absent", "removed_us": T + 5, "last_read_us": T - 5}
        insert(connection, schema.objects, id=3, name="removed", size=1000, stored_bytes=0, **thing, **gone)
        blob = {"tier_id": 1, "key": "k", "state": "live", "created_us": T}
        for name in ("b1", "b2"):
            insert(connection, schema.blobs, id=name, **blob)
        twice = {"raw_state": "released", "codec": "zstd"}
        insert(connection, schema.objects, id=4, name="twice", size=7, stored_bytes=3, tier_id=2, **thing, **twice)
        place = {"object_id": 4, "length": 7, "generation": 1}
        insert(connection, schema.replicas, blob_id="b1", state="superseded", until_us=T + 2 * DAY, **place)
        insert(connection, schema.replicas, blob_id="b2", state="current", **place)
    return catalog


def insert(connection: sa.Connection, table: sa.Table, **values: object) -> None:
    connection.execute(table.insert().values(**values))


def ask(catalog: Catalog, query: str) -> list[dict[str, object]]:
    with catalog.read() as connection:
        return [dict(row) for row in connection.execute(sa.text(query)).mappings()]


def at(catalog: Catalog, us: int) -> object:
    """An instant as the catalog's views show it."""
    return iso(us) if catalog.dialect == "sqlite" else to_datetime(us)


def test_every_view_has_the_documented_columns_in_order(catalog: Catalog) -> None:
    with catalog.read() as connection:
        inspector = sa.inspect(connection)
        assert sorted(inspector.get_view_names()) == sorted(VIEWS)
        for view, (description, columns) in VIEWS.items():
            assert [column["name"] for column in inspector.get_columns(view)] == [name for name, _ in columns]
            assert description.endswith(".")
            assert all(text for _, text in columns)


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
def test_postgres_carries_the_documentation(catalog: Catalog) -> None:
    rows = ask(catalog, "SELECT col_description('v_jobs'::regclass, 6) AS c, obj_description('v_jobs'::regclass) AS v")
    assert rows == [{"c": dict(VIEWS["v_jobs"][1])["reason"], "v": VIEWS["v_jobs"][0]}]


def test_objects_tell_where_they_are_and_since_when(filled: Catalog) -> None:
    rows = {row["object"]: row for row in ask(filled, "SELECT * FROM v_objects")}
    assert {name: row["state"] for name, row in rows.items()} == {
        "raw": "raw",
        "moved": "moved",
        "removed": "removed",
        "twice": "moved",
    }
    raw, moved, removed, twice = (rows[name] for name in ("raw", "moved", "removed", "twice"))
    assert (raw["tier"], raw["hold"], raw["pin"], raw["in_grace_until"]) == ("hot", "court", "cold", None)
    assert (moved["tier"], moved["codec"], moved["hold"], moved["pin"]) == ("cold", "zstd", "mine", "hot")
    assert moved["in_grace_until"] == at(filled, T + DAY)
    assert twice["in_grace_until"] == at(filled, T + 2 * DAY)
    assert (raw["created_at"], raw["modified_at"]) == (at(filled, T), at(filled, T - DAY))
    assert (removed["tier"], removed["removed_at"] is None, removed["last_access"] is None) == (None, False, False)


def test_datasets_sum_up_what_exists(filled: Catalog) -> None:
    events, empty = ask(filled, "SELECT * FROM v_datasets ORDER BY dataset DESC")
    assert (events["objects"], events["moved_objects"], events["size"], events["stored_bytes"]) == (3, 2, 117, 18)
    assert (empty["objects"], empty["moved_objects"], empty["size"], empty["stored_bytes"]) == (0, 0, 0, 0)
    assert (events["tier"], events["pin"], events["registered_at"]) == ("hot", "cold", at(filled, T))
    assert all(isinstance(events[name], int) for name in ("objects", "moved_objects", "size", "stored_bytes"))


def test_jobs_count_their_objects_by_state(filled: Catalog) -> None:
    with filled.begin() as connection:
        job = {"kind": "rewrite", "dataset_id": 1, "state": "running", "reason": "because", "created_us": T}
        insert(connection, schema.jobs, id=1, **job, lease_until_us=T + DAY)
        insert(connection, schema.jobs, id=2, **job)
        for number, state in enumerate(("pending", "done", "done", "skipped", "failed")):
            done = {"before_bytes": 10, "after_bytes": 4} if state == "done" else {}
            item = {"job_id": 1, "object_id": number, "version": 1, "codec": "zstd", "grace_us": 0, "size": 10}
            insert(connection, schema.job_items, state=state, **item, **done)
    busy, idle = ask(filled, "SELECT * FROM v_jobs ORDER BY job")
    counts = ("objects", "pending", "done", "skipped", "failed", "size", "before_bytes", "after_bytes")
    assert [busy[name] for name in counts] == [5, 1, 2, 1, 1, 50, 20, 8]
    assert [idle[name] for name in counts] == [0] * 8
    assert (busy["created_at"], busy["lease_until"], busy["not_before"]) == (at(filled, T), at(filled, T + DAY), None)


def test_plans_count_actions_and_what_is_held_apart(filled: Catalog) -> None:
    with filled.begin() as connection:
        insert(connection, schema.plans, id=1, state="saved", made_us=T, policies='["p"]', hash="h")
        for number, held in enumerate((None, None, "max_objects")):
            figures = {"size": 10, "stored_bytes": 10, "after_bytes": 4, "tier_id": 1, "codec": "zstd", "grace_us": 0}
            item = {"plan_id": 1, "object_id": number, "policy": "p", "version": 1, "identity": "", "reason": "r"}
            insert(connection, schema.plan_items, held=held, **figures, **item)
        insert(connection, schema.audit, at_us=T, kind="swap", dataset="events", object="x", actor="me", plan_id=1)
    (plan,) = ask(filled, "SELECT * FROM v_plans")
    sums = [plan[name] for name in ("actions", "held", "size", "stored_bytes", "after_bytes")]
    assert sums == [2, 1, 20, 20, 8]
    (entry,) = ask(filled, "SELECT * FROM v_audit")
    assert (entry["at"], entry["kind"], entry["plan"], entry["actor"]) == (at(filled, T), "swap", 1, "me")


@pytest.mark.parametrize("half_life_days", [None, 7])
def test_rates_are_those_of_the_heat_module_now(filled: Catalog, half_life_days: int | None) -> None:
    half_life_us = (half_life_days or 30) * DAY
    before = SystemClock().now_us()
    scores = [None if rate is None else heat.threshold(rate, before, half_life_us) for rate in RATES]
    with filled.begin() as connection:
        if half_life_days is not None:
            insert(connection, schema.meta, key="half_life_us", value=str(half_life_us))
        for number, score in enumerate(scores):
            values: dict[str, object] = {"dataset_id": 1, "size": 1, "mtime_us": T, "created_us": T, "stored_bytes": 1}
            values |= {"id": 100 + number, "name": f"r{number:02d}", "heat_reads": score, "heat_bytes": score}
            insert(connection, schema.objects, **values)
    rows = ask(filled, "SELECT * FROM v_objects WHERE object LIKE 'r0%' ORDER BY object")
    after = SystemClock().now_us()
    assert len(rows) == len(RATES)
    for score, row in zip(scores, rows, strict=True):
        shown = row["reads_per_day"]
        assert isinstance(shown, float)
        assert row["bytes_read_per_day"] == shown
        highest, lowest = (heat.rate(score, us, half_life_us) for us in (before, after))
        if highest < 1e-17:  # SQLite shows such rates as none
            assert 0 <= shown <= highest * (1 + 1e-9)
        else:
            assert lowest * (1 - 1e-9) <= shown <= highest * (1 + 1e-9)


def test_rates_beyond_any_sense_break_nothing(filled: Catalog) -> None:
    with filled.begin() as connection:
        objects = sa.update(schema.objects)
        connection.execute(objects.where(schema.objects.c.id == 1).values(heat_reads=1e9, heat_bytes=-1e9))
    (row,) = ask(filled, "SELECT reads_per_day AS high, bytes_read_per_day AS low FROM v_objects WHERE object = 'raw'")
    assert isinstance(row["high"], float)
    assert row["high"] > 1e290 or math.isinf(row["high"])
    assert row["low"] == pytest.approx(0, abs=1e-300)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_the_views_need_no_function_that_some_builds_of_sqlite_lack(filled: Catalog, catalog_url: str) -> None:
    used: set[str] = set()

    def watch(action: int, _first: str | None, second: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_FUNCTION:
            used.add(str(second))
        return sqlite3.SQLITE_OK

    plain = sqlite3.connect(catalog_url.removeprefix("sqlite:///"))
    plain.set_authorizer(watch)
    for view in VIEWS:
        plain.execute(f"SELECT * FROM {view}").fetchall()
    plain.close()
    assert used <= {"strftime", "julianday", "round", "coalesce", "nullif", "count", "sum", "max"}


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
def test_the_views_show_utc_instants_to_any_postgres_client(filled: Catalog, catalog_url: str) -> None:
    with psycopg.connect(catalog_url) as plain:
        plain.execute("SET TimeZone = 'Asia/Kolkata'")
        shown = plain.execute("SELECT created_at FROM v_objects WHERE object = 'raw'").fetchone()
    assert shown == (to_datetime(T),)
