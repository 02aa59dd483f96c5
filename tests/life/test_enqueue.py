"""Into the queue from two sides at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from storaged.catalog import queue
from storaged.catalog.items import NewItem, ToTier
from storaged.catalog.schema import job_items, jobs
from storaged.model import IDENTITY, JobKind
from tests.life.world import World, text
from tests.postgres import waits_for_a_lock

NAMES = ("a.csv", "b.csv", "c.csv")


def put(conn: sa.Connection, world: World, *names: str) -> tuple[int | None, dict[int, int]]:
    items = [NewItem(h.id, h.version, h.placement.size, ToTier("cold", IDENTITY, 0)) for h in map(world.seen, names)]
    dataset = world.context.dataset_id(conn, "lake")
    return queue.enqueue(conn, JobKind.REWRITE, dataset, items, reason="test", now_us=world.context.now_us())


@pytest.mark.parametrize("second", [("c.csv", "b.csv"), ("c.csv", "b.csv", "a.csv")], ids=["some", "all"])
def test_what_another_enqueues_between_our_look_and_our_insert_is_left_to_him(
    world: World, second: tuple[str, ...]
) -> None:
    """On Postgres the second insert waits for the first transaction, and then meets its rows."""
    for name in NAMES:
        world.write(name, text(name))
    world.scan()
    ids = {name: world.seen(name).id for name in NAMES}
    began = threading.Event()

    def other() -> tuple[int | None, dict[int, int]]:
        began.set()
        with world.catalog.begin() as conn:
            return put(conn, world, *second)

    with ThreadPoolExecutor(1) as pool:
        with world.catalog.begin() as conn:
            first, busy = put(conn, world, "a.csv", "b.csv")
            assert busy == {}
            answer = pool.submit(other)
            assert began.wait(60)
            if world.catalog.dialect == "postgresql":
                waits_for_a_lock(world.catalog)
        job, busy = answer.result(60)
    assert busy == {ids[name]: first for name in second if name != "c.csv"}
    with world.catalog.read() as conn:
        seen = {row.object_id: row.job_id for row in conn.execute(sa.select(job_items))}
        assert conn.execute(sa.select(sa.func.count()).select_from(jobs)).scalar() == 2
    assert seen == {ids["a.csv"]: first, ids["b.csv"]: first, ids["c.csv"]: job}
