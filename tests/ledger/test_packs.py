"""Packs and money: a pack is applied, charged and billed as one, and its members share what it costs."""

from __future__ import annotations

from decimal import Decimal

import pytest
import sqlalchemy as sa

from storaged.catalog import ledger as charged
from storaged.catalog import members, queue
from storaged.catalog.items import IntoPack
from storaged.catalog.schema import blobs, job_items, jobs, objects, plan_items, replicas
from storaged.catalog.schema_money import charges, ledger_items
from storaged.clock import SECOND
from storaged.model import PACK, CodecSpec
from storaged.work.money.cost import make_bill
from storaged.work.plan.make import Plan, make_plan, plan_rows
from storaged.work.rewrite.enqueue import Enqueued
from tests.ledger.mint import BOOK, SIZE, Mint

POLICY = """\
name: move
target: {dataset: lake, tier: hot}
when: {size_over: 1}
to: {tier: cold, codec: {pack: {target: 1MiB, level: 7}}}
group_by: {depth: 1}
keep_source: 0d
mode: active
"""
NAMES = [f"{folder}/{n}.csv" for folder in ("a", "b") for n in range(5)]
MINIMUM = 100_000  # bytes that cold bills at least: $25 a month


@pytest.fixture
def packed(mint: Mint) -> Mint:
    """Ten files of 4,000 bytes in two folders, and a policy that packs each folder."""
    book = BOOK.replace("PUT", "1000").replace(
        "retrieval: {standard", f"minimum: {{days: 0, bytes: {MINIMUM}}}\n        retrieval: {{standard"
    )
    (mint.place / "prices/own.yaml").write_text(book)
    (mint.place / "policies/move.yaml").write_text(POLICY)
    mint.fill(*NAMES)
    return mint


def planned(mint: Mint) -> Plan:
    settings, policies = mint.load()
    return make_plan(mint.catalog, settings, policies, mint.clock, ratios={("lake", "csv", PACK): 0.5})


def applied(mint: Mint) -> tuple[Plan, Enqueued]:
    plan = planned(mint)
    return plan, mint.apply(plan.id)


def test_every_pack_is_one_job_of_its_members(packed: Mint) -> None:
    """Whatever a batch may have: two objects here. The worker is told tier and level."""
    plan, result = applied(packed)
    assert (len(result.jobs), result.objects) == (2, 10)
    assert plan.summary.policies[0].packs == 2
    with packed.catalog.begin() as conn:
        named = conn.execute(sa.select(jobs.c.id, jobs.c.pack).order_by(jobs.c.id)).all()
        assert [row.pack for row in named] == ["a/0001", "b/0001"]
        for row in named:
            claimed = queue.claim(conn, "w", now_us=packed.clock.now_us(), lease_us=60 * SECOND, only=[row.id])
            assert claimed is not None
            assert claimed.pack == row.pack
            assert claimed.members is not None
            items, _ = members.page(conn, row.id, claimed.members.attempt_at, members.in_order(conn, row.id))
            assert {i.seen.placement.name for i in items} == {n for n in NAMES if n[0] == row.pack[0]}
            assert {i.to for i in items} == {IntoPack("cold", CodecSpec(PACK, 7), 0)}
            assert len({(i.attempt, i.key) for i in items}) == 1


def test_an_apply_that_died_is_repeated_pack_by_pack(packed: Mint) -> None:
    """What has its job is not asked for again, and charged once."""
    plan, first = applied(packed)
    with packed.catalog.begin() as conn:
        conn.execute(sa.text("UPDATE plans SET state = 'saved'"))
        conn.execute(sa.delete(ledger_items).where(ledger_items.c.job_id == first.jobs[1]))
        conn.execute(sa.delete(jobs).where(jobs.c.id == first.jobs[1]))
    again = packed.apply(plan.id)
    assert (len(again.jobs), again.objects, again.left_out) == (1, 5, [])
    with packed.catalog.read() as conn:
        assert list(conn.execute(sa.select(jobs.c.pack).order_by(jobs.c.pack)).scalars()) == ["a/0001", "b/0001"]
        spends = charged.total(conn, plan_items.c.spend, plan_items.c.plan_id == plan.id)
        assert charged.total(conn, charges.c.amount, charges.c.plan_id == plan.id) == spends


def test_the_ledger_charges_a_pack_once(packed: Mint) -> None:
    """A PUT to cold costs a dollar, and five to read it back: two packs cost twelve, shared by what members store."""
    plan, _ = applied(packed)
    rows = list(plan_rows(packed.catalog, plan.id))
    for folder in ("a", "b"):
        mine = [r.spend or 0 for r in rows if r.name[0] == folder]
        assert sum(mine) == 6 * 10**12
        assert set(mine) == {6 * 10**12 // 5}
    assert plan.summary.money is not None
    assert plan.summary.money.one_time.total == 12
    assert packed.spent() == 12
    packed.conserved()


def done(mint: Mint, plan: Plan) -> None:
    """Both packs as a worker leaves them: one blob of 10,000 bytes each, of which every member has a fifth."""
    with mint.catalog.begin() as conn:
        for job in conn.execute(sa.select(jobs)).all():
            blob = f"{job.id:032x}"
            items = conn.execute(sa.select(job_items).where(job_items.c.job_id == job.id)).all()
            tier = items[0].tier_id
            row = {"id": blob, "tier_id": tier, "key": job.pack, "state": "live", "codec": PACK, "size": 10_000}
            now = mint.clock.now_us()
            dataset = conn.execute(sa.select(objects.c.dataset_id).limit(1)).scalar_one()
            row |= {"dataset_id": dataset, "created_us": now, "index": b""}
            row |= {"packed_bytes": len(items) * SIZE, "live_bytes": len(items) * SIZE}
            conn.execute(sa.insert(blobs).values(row))
            for n, item in enumerate(items):
                place = {"object_id": item.object_id, "blob_id": blob, "offset": n * SIZE, "length": SIZE}
                conn.execute(sa.insert(replicas).values(place | {"generation": 1, "state": "current"}))
                moved = {"raw_state": "released", "tier_id": tier, "codec": PACK, "stored_bytes": 2_000}
                conn.execute(sa.update(objects).where(objects.c.id == item.object_id).values(moved))
            conn.execute(
                sa.update(ledger_items)
                .where(ledger_items.c.job_id == job.id)
                .values(done_us=now, blob_id=blob, after_bytes=2_000)
            )
        conn.execute(sa.update(job_items).values(state="done"))


def test_savings_bill_a_pack_once(packed: Mint) -> None:
    """Ten files cost $4 each in hot; two packs cost $25 each in cold, for they are smaller than what is billed."""
    plan, _ = applied(packed)
    done(packed, plan)
    (part,) = packed.savings()
    assert (part.outcome.done, part.outcome.here) == (10, 10)
    assert (part.outcome.before.total, part.outcome.after.total) == (40, 50)
    assert part.expected is not None
    assert part.expected.after.total == 50
    assert part.error == 0


def test_a_pack_is_billed_to_those_who_stay_in_it(packed: Mint) -> None:
    """Whoever leaves: nothing of it goes along, as it is there whole until the last has left."""
    plan, _ = applied(packed)
    done(packed, plan)
    with packed.catalog.begin() as conn:
        first = conn.execute(sa.select(sa.func.min(ledger_items.c.object_id))).scalar_one()
        conn.execute(sa.delete(replicas).where(replicas.c.object_id == first))
    (part,) = packed.savings()
    assert (part.outcome.done, part.outcome.here) == (10, 9)
    assert (part.outcome.before.total, part.outcome.after.total) == (36, 50)


def test_the_bill_has_a_pack_once(packed: Mint) -> None:
    """Not the least size of its class for every member."""
    plan, _ = applied(packed)
    done(packed, plan)
    assert make_bill(packed.context()).total.storage == Decimal(50)
