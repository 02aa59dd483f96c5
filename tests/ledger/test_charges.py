"""Every try is charged once, before it is made; what is not tried is paid back; and nothing is lost on the way."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from storaged.catalog import control, ledger
from storaged.catalog.engine import Catalog
from storaged.catalog.schema import jobs
from storaged.catalog.schema_money import ledger_items
from storaged.errors import RefusedByGuard
from storaged.work.money.spending import charge_plan
from storaged.work.plan.make import discard_plan
from storaged.work.rewrite.worker import Worker
from tests.daemon.farm import Sundial
from tests.ledger.mint import SPEND, USD, Mint, names

SEPTEMBER, OCTOBER = "2026-09", "2026-10"


def test_a_plan_is_charged_whole_when_it_is_applied_and_no_more_when_it_is_done(mint: Mint) -> None:
    mint.fill(*names(5))
    mint.apply(mint.plan())
    assert mint.charges() == [("apply", SEPTEMBER, 10)]
    assert mint.work().done == 5
    assert mint.charges() == [("apply", SEPTEMBER, 10)]
    mint.conserved(over=True)


def test_what_changed_since_it_was_planned_is_not_tried_and_is_paid_back(mint: Mint) -> None:
    mint.fill(*names(3))
    plan = mint.plan()
    mint.apply(plan)
    mint.write("1.csv", size=5_000)
    mint.fill()
    assert mint.work().skipped == 1
    assert mint.charges() == [("apply", SEPTEMBER, 6), ("refund", SEPTEMBER, -2)]
    mint.conserved(over=True)


def test_what_is_skipped_while_it_is_worked_on_is_paid_back(mint: Mint) -> None:
    mint.fill(*names(2))
    mint.apply(mint.plan())
    mint.config.write_text(mint.config.read_text().replace("readers: storaged", "readers: raw"))
    assert mint.work().skipped == 2
    assert mint.spent() == 0
    mint.conserved(over=True)


def test_what_another_job_holds_is_paid_back_as_soon_as_all_else_is_queued(mint: Mint) -> None:
    mint.fill(*names(3))
    first, second = mint.plan("0.csv", "1.csv"), mint.plan("1.csv", "2.csv")
    mint.apply(first)
    assert [name for name, _ in mint.apply(second).left_out] == ["lake/1.csv"]
    assert mint.charges() == [("apply", SEPTEMBER, 4), ("apply", SEPTEMBER, 4), ("refund", SEPTEMBER, -2)]
    mint.work()
    mint.conserved(over=True)


def test_a_further_try_is_charged_again(mint: Mint) -> None:
    mint.fill(*names(2))
    mint.apply(mint.plan())
    mint.die()
    mint.conserved()
    assert mint.spent() == 4
    assert mint.work().done == 2
    assert mint.charges() == [("apply", SEPTEMBER, 4), ("try", SEPTEMBER, 4)]
    mint.conserved(over=True)


def test_a_cancelled_job_that_nobody_tried_is_paid_back_and_charged_again_when_it_is_retried(mint: Mint) -> None:
    mint.fill(*names(2))
    (job,) = mint.apply(mint.plan()).jobs
    with mint.catalog.begin() as conn:
        control.cancel(conn, job, now_us=mint.clock.now_us(), reason="not now")
    assert mint.spent() == 0
    with mint.catalog.begin() as conn:
        control.retry(conn, job, now_us=mint.clock.now_us())
    assert mint.work().done == 2
    assert [amount for _, _, amount in mint.charges()] == [4, -4, 4]
    mint.conserved(over=True)


def test_what_was_tried_before_it_was_cancelled_stays_charged(mint: Mint) -> None:
    mint.fill(*names(2))
    (job,) = mint.apply(mint.plan()).jobs
    mint.die()
    with mint.catalog.begin() as conn:
        control.cancel(conn, job, now_us=mint.clock.now_us(), reason="not now")
    assert mint.charges() == [("apply", SEPTEMBER, 4)]
    mint.conserved(over=True)


def test_waiting_for_a_readable_copy_is_no_try(mint: Mint) -> None:
    """What an archive class must restore first comes back to the same charge."""
    mint.fill(*names(1))
    plan = mint.plan()
    (job,) = mint.apply(plan).jobs
    mint.die()
    with mint.catalog.begin() as conn:
        (object_id,) = conn.execute(sa.select(ledger_items.c.object_id)).scalars()
        ledger.tried(conn, plan, job, done=[], untried=[object_id], now_us=mint.clock.now_us())
    mint.conserved()
    assert mint.work().done == 1
    assert mint.charges() == [("apply", SEPTEMBER, 2)]
    mint.conserved(over=True)


def test_money_goes_back_to_the_month_that_it_was_charged_to(mint: Mint) -> None:
    mint.fill(*names(2))
    (job,) = mint.apply(mint.plan()).jobs
    mint.days(10)
    with mint.catalog.begin() as conn:
        control.cancel(conn, job, now_us=mint.clock.now_us(), reason="not now")
    assert mint.charges() == [("apply", SEPTEMBER, 4), ("refund", SEPTEMBER, -4)]
    with mint.catalog.begin() as conn:
        control.retry(conn, job, now_us=mint.clock.now_us())
    mint.work()
    assert (mint.spent(SEPTEMBER), mint.spent(OCTOBER)) == (0, 4)


def test_an_apply_that_died_after_its_charge_is_repeated_without_another(mint: Mint) -> None:
    mint.fill(*names(3))
    plan = mint.plan()
    charge_plan(mint.context(), plan, mint.load()[1])  # and no more: the process is gone
    assert mint.spent() == 6
    assert mint.apply(plan).objects == 3
    assert mint.work().done == 3
    assert mint.charges() == [("apply", SEPTEMBER, 6)]
    mint.conserved(over=True)


def test_a_plan_that_was_charged_and_discarded_is_paid_back_before_the_next_is_charged(mint: Mint) -> None:
    mint.fill(*names(3))
    plan = mint.plan("0.csv", "1.csv")
    charge_plan(mint.context(), plan, mint.load()[1])
    discard_plan(mint.catalog, plan)
    mint.apply(mint.plan("2.csv"))
    assert mint.charges() == [("apply", SEPTEMBER, 4), ("refund", SEPTEMBER, -4), ("apply", SEPTEMBER, 2)]


def cancel_all(mint: Mint) -> None:
    """As if nothing had been applied, for the next round."""
    with mint.catalog.begin() as conn:
        for job in conn.execute(sa.select(jobs.c.id).where(jobs.c.state == "queued")).scalars().all():
            control.cancel(conn, job, now_us=mint.clock.now_us(), reason="for the next round")


class Mortal(Sundial):
    """A clock whose process is killed when it asks for the time once more."""

    def __init__(self, start_us: int, left: int) -> None:
        super().__init__(start_us)
        self.left = left

    def now_us(self) -> int:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().now_us()


def test_an_apply_that_dies_anywhere_is_repeated_and_every_object_is_charged_and_queued_once(mint: Mint) -> None:
    mint.fill(*names(7))
    died = 0
    for left in range(1, 30):
        plan = mint.plan()
        before = len(mint.charges())
        try:
            mint.apply(plan, clock=Mortal(mint.clock.now_us(), left))
        except KeyboardInterrupt:
            died += 1
            mint.apply(plan)
        assert mint.charges()[before:] == [("apply", SEPTEMBER, 14)], left
        assert mint.items() == {"pending": 7} | ({"failed": 7 * (left - 1)} if left > 1 else {})
        mint.conserved()
        cancel_all(mint)
    assert 4 < died < 29


class Interleaved(Catalog):
    """A catalog before whose n-th transaction somebody else acts."""

    def __init__(self, catalog: Catalog, n: int, act: Callable[[], object]) -> None:
        self.__dict__.update(catalog.__dict__)
        self.left = n
        self.act = act

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        self.left -= 1
        if self.left == 0:
            self.act()
        with super().begin() as conn:
            yield conn


@pytest.mark.on_both
def test_two_who_apply_the_same_plan_at_once_charge_and_queue_it_once(mint: Mint) -> None:
    mint.fill(*names(7))
    refused: list[str] = []
    for n in range(1, 8):
        plan, before = mint.plan(), len(mint.charges())
        try:
            mint.apply(plan, catalog=Interleaved(mint.catalog, n, lambda plan=plan: mint.apply(plan)))
        except RefusedByGuard as error:
            refused.append(error.message)
        assert mint.charges()[before:] == [("apply", SEPTEMBER, 14)], n
        assert mint.items()["pending"] == 7
        mint.conserved()
        cancel_all(mint)
    assert refused
    assert all("applied by somebody else" in message for message in refused)


def test_what_is_discarded_while_it_is_applied_comes_no_further_and_is_paid_back(mint: Mint) -> None:
    mint.fill(*names(7))
    plan = mint.plan()
    with pytest.raises(RefusedByGuard, match="was discarded"):
        mint.apply(plan, catalog=Interleaved(mint.catalog, 4, lambda: discard_plan(mint.catalog, plan)))
    assert mint.items() == {"pending": 4}
    with mint.catalog.begin() as conn:
        ledger.settle_abandoned(conn, now_us=mint.clock.now_us())
    assert mint.charges() == [("apply", SEPTEMBER, 14), ("refund", SEPTEMBER, -6)]
    mint.conserved()


def test_objects_without_prices_are_moved_and_nothing_is_charged(new_mint: Callable[..., Mint]) -> None:
    mint = new_mint(prices=False)
    mint.fill(*names(2))
    mint.apply(mint.plan(spend=None))
    assert mint.work().done == 2
    assert mint.charges() == []


def test_sums_are_exact_beyond_what_a_database_adds_up(mint: Mint) -> None:
    """SQLite's own sum of integers ends at nine million dollars."""
    mint.fill(*names(3))
    plan = mint.plan(spend=4_000_000 * USD + 1)
    with mint.catalog.read() as conn:
        (needed,) = ledger.parts_of(conn, plan)
    assert needed.amount == 12_000_000 * USD + 3
    with pytest.raises(RefusedByGuard, match="more than the ledger holds"):
        mint.apply(plan)


@pytest.mark.every(2)
@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_charges_and_tries_agree(mint: Mint, seed: int) -> None:
    chance = random.Random(seed)
    mint.fill(*names(6))
    for step in range(25):
        act = chance.choice(["apply", "apply", "die", "work", "cancel", "retry", "undo", "rewrite", "month"])
        with mint.catalog.read() as conn:
            states = {row.id: row.state for row in conn.execute(sa.select(jobs.c.id, jobs.c.state))}
        waiting = [job for job, state in states.items() if state in ("queued", "running")]
        over = [job for job, state in states.items() if state in ("failed", "cancelled")]
        if act == "apply":
            mint.apply(mint.plan(spend=chance.choice([0, SPEND, 3 * SPEND])))
        elif act == "die" and waiting:
            with_due(mint)
        elif act == "work":
            mint.work()
        elif act == "cancel" and waiting:
            with mint.catalog.begin() as conn:
                control.cancel(conn, chance.choice(waiting), now_us=mint.clock.now_us(), reason="no")
        elif act == "retry" and over:
            try:
                with mint.catalog.begin() as conn:
                    control.retry(conn, chance.choice(over), now_us=mint.clock.now_us())
            except RefusedByGuard:
                continue  # another job has its objects
        elif act == "rewrite":
            mint.write(f"{chance.randrange(6)}.csv", size=4_000 + step, age_s=120)
            mint.fill()
        elif act == "month":
            mint.days(chance.choice([1, 20]))
        mint.conserved()
    mint.days(1)
    mint.work()
    mint.conserved(over=True)


def with_due(mint: Mint) -> None:
    """A worker dies at a job, if one is due."""
    with Worker(mint.context(), name="dies") as worker:
        worker.claim()
    mint.clock.advance(31)
