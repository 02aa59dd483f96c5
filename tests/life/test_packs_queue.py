"""Packs in the queue: one job of all members of a pack, one attempt of them all."""

from __future__ import annotations

import sqlalchemy as sa

from storaged.catalog import each, members, queue
from storaged.catalog.items import IntoPack, Item, NewItem
from storaged.catalog.queue import ClaimedJob
from storaged.catalog.schema import job_items, jobs
from storaged.catalog.schema_attempts import attempts
from storaged.clock import DAY, SECOND
from storaged.decide.packs import PACKS
from storaged.model import PACK, AttemptState, CodecSpec, JobState
from storaged.work.rewrite.enqueue import Enqueued, enqueue_pack
from tests.life.rooms import bounded
from tests.life.world import World, noise, text

NAMES = tuple(f"a/{number}.csv" for number in range(9))
NAME = "dt=2026-01-01/hour=03/0001"


def asked(world: World, *names: str) -> Enqueued:
    """What comes of asking for a pack of these."""
    result = Enqueued()
    to = IntoPack("cold", CodecSpec(PACK, 9), 7 * DAY, frozenset({"owner"}))
    seen = [world.seen(name) for name in names]
    members = [NewItem(h.id, h.version, h.placement.size, to, name=h.placement.name) for h in seen]
    enqueue_pack(world.context, "lake", members, pack=NAME, reason="test", result=result)
    return result


def scanned(world: World) -> World:
    for name in NAMES:
        world.write(name, text(name))
    world.scan()
    return world


def claim(world: World, now_us: int | None = None) -> ClaimedJob:
    with world.catalog.begin() as conn:
        found = queue.claim(conn, "w", now_us=now_us or world.context.now_us(), lease_us=60 * SECOND)
    assert found is not None
    return found


def members_of(world: World, claimed: ClaimedJob) -> list[Item]:
    assert claimed.members is not None
    with world.catalog.read() as conn:
        items, stale = members.page(conn, claimed.id, claimed.members.attempt_at, members.in_order(conn, claimed.id))
    assert stale == {}
    return items


def test_a_pack_is_one_job_however_large_batches_may_be(world: World) -> None:
    """Neither the objects nor the bytes of a batch cut it."""
    world = scanned(world)
    workers = world.context.settings.workers.model_copy(update={"batch_objects": 2, "batch_bytes": 1})
    world.context.settings = world.context.settings.model_copy(update={"workers": workers})
    result = asked(world, *NAMES)
    assert (len(result.jobs), result.objects, result.left_out) == (1, len(NAMES), [])
    with world.catalog.read() as conn:
        assert conn.execute(sa.select(jobs.c.pack)).scalars().all() == [NAME]


def test_a_pack_of_a_page_of_many_is_made(world: World) -> None:
    """So many that their rows go to the driver as they are."""
    assert len(NAMES) > each.FEW
    asked(scanned(world), *NAMES)
    assert world.work().done == len(NAMES)
    assert {name: world.read(name) for name in NAMES} == {name: text(name) for name in NAMES}
    assert world.packs_add_up()


def test_all_members_have_one_attempt_one_key_and_one_row(world: World) -> None:
    """The key carries the pack's name and the attempt, and no member's name."""
    asked(scanned(world), *NAMES)
    claimed = claim(world)
    assert claimed.pack == NAME
    items = members_of(world, claimed)
    [attempt] = {item.attempt for item in items}
    [key] = {item.key for item in items}
    assert key == f"lake/dt=2026-01-01/hour=03/0001.{attempt[:16]}.tar.zst"
    assert {item.to for item in items} == {IntoPack("cold", CodecSpec(PACK, 9), 7 * DAY, frozenset({"owner"}))}
    with world.catalog.read() as conn:
        [row] = conn.execute(sa.select(attempts)).all()
        assert (row.id, row.key, row.codec, row.state) == (attempt, key, PACK, AttemptState.STAGED.value)
        assert set(conn.execute(sa.select(job_items.c.attempt_id)).scalars()) == {attempt}


def test_who_takes_a_pack_over_has_an_attempt_of_its_own(world: World) -> None:
    """What the sleeper staged is a tombstone."""
    asked(scanned(world), *NAMES)
    first = claim(world)
    second = claim(world, world.context.now_us() + DAY)
    assert first.id == second.id
    assert first.members is not None
    assert second.members is not None
    with world.catalog.read() as conn:
        states = {row.id: row.state for row in conn.execute(sa.select(attempts.c.id, attempts.c.state))}
    assert states == {
        first.members.attempt: AttemptState.TOMBSTONE.value,
        second.members.attempt: AttemptState.STAGED.value,
    }


def test_a_member_that_changed_since_is_left_out_of_the_attempt(world: World) -> None:
    """The others are claimed."""
    asked(scanned(world), *NAMES)
    world.days(1)
    world.write(NAMES[2], b"something else")
    world.scan()
    claimed = claim(world)
    assert claimed.skipped == 1
    assert {item.seen.placement.name for item in members_of(world, claimed)} == {*NAMES} - {NAMES[2]}


def test_a_pack_of_which_nothing_is_as_it_was_planned_is_over(world: World) -> None:
    """Each member says why, nothing is written, and no attempt was begun."""
    asked(scanned(world), *NAMES[:3])
    world.days(1)
    for name in NAMES[:3]:
        world.write(name, b"something else")
    world.scan()
    report = world.work()
    assert (report.done, report.skipped, [*report.jobs.values()]) == (0, 3, [JobState.DONE])
    with world.catalog.read() as conn:
        assert {*conn.execute(sa.select(job_items.c.note)).scalars()} == {members.CHANGED}
        assert conn.execute(sa.select(attempts.c.id)).all() == []
    assert world.stored("cold") == {}


def test_one_object_alone_is_no_pack(world: World) -> None:
    """Nor is one beside which all others are in another job."""
    world = scanned(world)
    assert asked(world, NAMES[0]).left_out == [(NAMES[0], PACKS["alone"])]
    asked(world, *NAMES[:3])
    second = asked(world, *NAMES[:4])
    assert second.jobs == []
    assert second.left_out[-1] == (NAMES[3], PACKS["alone"])
    with world.catalog.read() as conn:
        assert conn.execute(sa.select(jobs.c.state)).scalars().all() == [JobState.QUEUED.value]


def test_there_is_room_for_a_whole_pack_or_for_none_of_it(world: World) -> None:
    """What would not fit all is left out with the reason, and nothing is promised."""
    bounded(world, cold=20)
    for name in NAMES:
        world.write(name, noise(name, 9 << 10))
    world.scan()
    result = asked(world, *NAMES[:3])
    assert (result.jobs, result.objects) == ([], 0)
    assert {name for name, _ in result.left_out} == {*NAMES[:3]}
    assert all(why.startswith("no room in cold") for _, why in result.left_out)
    assert len(asked(world, *NAMES[:2]).jobs) == 1
