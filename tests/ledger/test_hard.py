"""Limits stay hard at the edges: what was forgotten, removed, stopped, or cannot be priced."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from storaged.catalog import control
from storaged.catalog.schema import audit, objects, plan_items, plans
from storaged.config.settings import load_settings
from storaged.errors import ConfigError, OverSpending, RefusedByGuard
from storaged.work.money.spending import charge_plan
from storaged.work.plan.make import discard_plan
from storaged.work.release.retention import forget
from storaged.work.rewrite import trouble
from storaged.work.rewrite.worker import Worker
from tests.ledger.mint import Mint, names

NewMint = Callable[..., Mint]


def kept(mint: Mint, retention: str) -> Mint:
    text, times = re.subn(r"(?m)^daemon: *\n", f"daemon:\n  retention: {{{retention}}}\n", mint.config.read_text())
    assert times == 1
    mint.config.write_text(text)
    return mint


def test_what_was_written_and_then_not_taken_was_a_try(mint: Mint) -> None:
    mint.fill(*names(1))
    mint.apply(mint.plan())

    def meddle(_item: object, _note: str) -> None:
        with mint.catalog.begin() as conn:
            conn.execute(sa.update(objects).values(version=objects.c.version + 1))

    with Worker(mint.context(), name="w") as worker:
        assert worker.run(on_item=meddle).skipped == 1
    assert mint.spent() == 2
    mint.conserved(over=True)


def test_charges_of_this_month_are_not_forgotten(new_mint: NewMint) -> None:
    mint = kept(new_mint(limits="max_spend_per_month: 6 USD"), "ledger: 1d, jobs: 1d")
    mint.fill(*names(6))
    mint.apply(mint.plan("0.csv", "1.csv", "2.csv"))
    mint.work()
    mint.days(3)
    forget(mint.context())
    assert mint.spent() == 6
    with pytest.raises(OverSpending, match=r"6\.00 is charged"):
        mint.apply(mint.plan("3.csv"))


def test_a_job_that_can_be_tried_again_costs_what_it_did_however_old_its_plan_is(new_mint: NewMint) -> None:
    mint = kept(new_mint(), "ledger: 30d, jobs: 4000d")
    mint.fill(*names(2))
    (job,) = mint.apply(mint.plan()).jobs
    mint.die()
    with mint.catalog.begin() as conn:
        control.cancel(conn, job, now_us=mint.clock.now_us(), reason="not now")
    mint.days(401)
    forget(mint.context())
    with mint.catalog.begin() as conn:
        control.retry(conn, job, now_us=mint.clock.now_us())
    assert mint.work().done == 2
    assert mint.spent("2027-10") == 4
    forget(mint.context())
    assert mint.spent("2027-10") == 4


def test_a_limit_beyond_what_the_ledger_holds_limits_as_far_as_it_can(new_mint: NewMint) -> None:
    mint = new_mint(limits="limits: {max_spend_per_month: 10000000 USD}")
    mint.fill(*names(1))
    mint.apply(mint.plan())
    assert mint.spent() == 2


def test_a_plan_of_a_policy_that_is_gone_is_refused(new_mint: NewMint) -> None:
    mint = new_mint()
    mint.policy(more="limits: {max_spend_per_month: 1 USD}\n")
    mint.fill(*names(3))
    plan = mint.plan()
    with pytest.raises(OverSpending):
        mint.apply(plan)
    (mint.place / "policies/move.yaml").rename(mint.place / "policies/moved.txt")
    mint.policy("other")
    with pytest.raises(RefusedByGuard, match="there is no policy move any more"):
        mint.apply(plan)
    assert mint.charges() == []


def test_a_plan_that_is_discarded_or_forgotten_before_it_is_charged_is_refused(mint: Mint) -> None:
    mint.fill(*names(2))
    discarded, forgotten = mint.plan("0.csv"), mint.plan("1.csv")
    discard_plan(mint.catalog, discarded)
    with mint.catalog.begin() as conn:
        conn.execute(sa.delete(plan_items).where(plan_items.c.plan_id == forgotten))
        conn.execute(sa.delete(plans).where(plans.c.id == forgotten))
    for plan in (discarded, forgotten):
        with pytest.raises(RefusedByGuard, match="was discarded"):
            charge_plan(mint.context(), plan, mint.load()[1])
    assert mint.charges() == []


def test_a_job_that_is_given_back_before_it_began_costs_nothing_and_is_not_put_off(new_mint: NewMint) -> None:
    mint = new_mint(limits="max_spend_per_month: 4 USD")
    mint.fill(*names(2))
    mint.apply(mint.plan())
    with Worker(mint.context(), name="w") as worker:
        for _ in range(3):
            claimed = worker.claim()
            assert claimed is not None
            worker.give_back(claimed, begun=False)
        assert worker.run().done == 2
    assert mint.charges() == [("apply", "2026-09", 4)]
    mint.conserved(over=True)


def test_tries_that_met_a_root_that_is_away_cost_nothing(mint: Mint) -> None:
    mint.fill(*names(2))
    mint.apply(mint.plan())
    lake, away = mint.place / "lake", mint.place / "away"
    lake.rename(away)
    lake.mkdir()
    blamed = 0
    for _ in range(4):
        with Worker(mint.context(), name="w") as worker:
            claimed = worker.claim()
            if claimed is not None:
                _, outcomes = worker.work(claimed)
                blamed += len(trouble.blame(mint.context(), claimed, outcomes))
                with mint.catalog.begin() as conn:
                    from storaged.catalog.schema_daemon import suspensions

                    conn.execute(sa.delete(suspensions))
        mint.days(1 / 24)
    assert blamed >= 2
    assert mint.charges() == [("apply", "2026-09", 4)]


def test_what_is_saved_so_far_rests_on_the_audit_which_is_kept_as_long(new_mint: NewMint) -> None:
    mint = kept(new_mint(), "audit: 1d")
    with pytest.raises(ConfigError) as told:
        load_settings(mint.config)
    assert "`audit` is shorter than `ledger`" in str(told.value.problems)
    assert audit.c.at_us is not None
