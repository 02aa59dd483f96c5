"""Rows that two processes write for the first time at once: the second waits, and is content with what is there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from storaged.catalog import collections, facts, suspensions, tasks
from storaged.catalog.engine import Catalog
from storaged.catalog.schema import meta
from storaged.catalog.schema_collections import collections as collections_table
from storaged.catalog.schema_daemon import leases
from storaged.catalog.schema_daemon import suspensions as suspensions_table
from storaged.catalog.schema_daemon import tasks as tasks_table
from storaged.catalog.suspensions import Suspension
from storaged.clock import new_id
from storaged.model import Dataset, Tier
from tests.postgres import waits_for_a_lock

TABLE = ("t/", "t0", "delta", "_delta_log/0.json")
HOT = Tier("hot", 0, "file:///hot")
WAITS_FOR_A_TRY = Suspension("tier", "cold", "it is away", 1, "test", 2)


def a_fact(conn: sa.Connection) -> object:
    return facts.put(conn, "half_life_us", "1")


def a_suspension(conn: sa.Connection) -> object:
    return suspensions.suspend(conn, WAITS_FOR_A_TRY)


def found_by_a_scan(conn: sa.Connection) -> object:
    return collections.replace(conn, 1, [TABLE], now_us=1)


def found_on_the_way(conn: sa.Connection) -> object:
    return collections.add(conn, 1, [TABLE], now_us=1)


def a_task(conn: sa.Connection) -> object:
    return tasks.arrange(conn, {"sweep": "* * * * *"}, 1, lambda schedule, after: after + 1)


def the_lead(conn: sa.Connection) -> object:
    return tasks.lead(conn, new_id(), 1, 1)


WRITERS = (  # and the row that it writes, and what it answers to the first and to the second
    (a_fact, meta.c.key == "half_life_us", None, None),
    (a_suspension, suspensions_table.c.name == "cold", True, False),
    (found_by_a_scan, collections_table.c.prefix == "t/", ["t/"], []),
    (found_on_the_way, collections_table.c.prefix == "t/", None, None),
    (a_task, tasks_table.c.name == "sweep", None, None),
    (the_lead, leases.c.name == tasks.LEADER, True, False),
)


@pytest.mark.parametrize(("write", "row", "first", "second"), WRITERS, ids=[w[0].__name__ for w in WRITERS])
def test_the_second_finds_the_row_of_the_first(
    catalog: Catalog,
    write: Callable[[sa.Connection], object],
    row: sa.ColumnElement[bool],
    first: object,
    second: object,
) -> None:
    with catalog.begin() as conn:
        facts.register(conn, {"hot": HOT}, {"lake": Dataset("lake", "file:///lake", "hot")}, now_us=1)
    began = threading.Event()

    def other() -> object:
        began.set()
        with catalog.begin() as conn:
            return write(conn)

    with ThreadPoolExecutor(1) as pool:
        with catalog.begin() as conn:
            assert write(conn) == first
            answer = pool.submit(other)
            assert began.wait(60)
            if catalog.dialect == "postgresql":
                waits_for_a_lock(catalog)
        assert answer.result(60) == second
    with catalog.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).where(row)).scalar() == 1
