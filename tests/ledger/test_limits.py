"""What may be spent in a month is a hard limit, for each policy and for all together, whoever spends."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog import ledger
from storaged.catalog.engine import open_catalog
from storaged.catalog.schema import jobs, plans
from storaged.clock import from_datetime, iso, to_datetime
from storaged.errors import OverSpending
from storaged.work.context import Context
from storaged.work.money.spending import charge_plan, next_month_us, picodollars
from tests.ledger.mint import USD, Mint, names

SPENDER = Path(__file__).with_name("spender.py")
NewMint = Callable[..., Mint]
OF_EACH = "limits: {max_spend_per_month: %d USD}\n"
OF_ALL = "max_spend_per_month: %d USD\n"


def test_money_is_read_to_the_cent() -> None:
    assert picodollars("50 USD") == 50 * USD
    assert picodollars("0.01 USD") * 100 == USD


@pytest.mark.parametrize(
    ("now", "ends"),
    [
        ("2026-01-31T23:59:59", "2026-02-01"),
        ("2028-02-01T00:00:00", "2028-03-01"),
        ("2026-12-15T07:00:00", "2027-01-01"),
    ],
)
def test_months_are_calendar_months_in_utc(now: str, ends: str) -> None:
    us = from_datetime(to_datetime(0).fromisoformat(f"{now}+00:00"))
    assert iso(next_month_us(us)) == f"{ends}T00:00:00Z"
    assert ledger.month_of(next_month_us(us) - 1) == ledger.month_of(us) != ledger.month_of(next_month_us(us))


def test_what_fits_exactly_is_applied_and_a_cent_more_is_not(new_mint: NewMint) -> None:
    mint = new_mint(limits=OF_EACH % 10)
    mint.fill(*names(6))
    mint.apply(mint.plan(*names(5)))
    with pytest.raises(OverSpending):
        mint.apply(mint.plan("5.csv", spend=USD // 100))
    assert mint.spent() == 10


def test_a_refusal_says_limit_spent_needed_and_when_the_month_ends_and_changes_nothing(new_mint: NewMint) -> None:
    mint = new_mint(limits=OF_EACH % 5)
    mint.fill(*names(3))
    mint.apply(mint.plan("0.csv"))
    plan = mint.plan("1.csv", "2.csv")
    with pytest.raises(OverSpending) as refused:
        mint.apply(plan)
    assert refused.value.message == (
        f"plan {plan} is not applied: policy move may spend $5.00 a month, $2.00 is charged to 2026-09 and this takes "
        "$4.00; the month ends 2026-10-01T00:00:00Z"
    )
    assert refused.value.exit_code == 5
    assert mint.charges() == [("apply", "2026-09", 2)]
    assert mint.items() == {"pending": 1}
    mint.days(10)
    assert mint.apply(plan).objects == 2
    assert mint.charges()[1:] == [("apply", "2026-10", 4)]


def test_a_policy_may_have_its_own_limit_and_all_together_another(new_mint: NewMint) -> None:
    mint = new_mint(limits=OF_ALL % 5 + OF_EACH % 100)
    mint.policy(more="limits: {max_spend_per_month: 3 USD}\n")
    mint.fill(*names(4))
    with pytest.raises(OverSpending, match=r"policy move may spend \$3.00 a month"):
        mint.apply(mint.plan("0.csv", "1.csv"))
    mint.policy(more="limits: {max_spend_per_month: 6 USD}\n")
    mint.apply(mint.plan("0.csv", "1.csv"))
    with pytest.raises(OverSpending, match=r"all policies together may spend \$5.00 a month, \$4.00 is charged"):
        mint.apply(mint.plan("2.csv"))


def test_what_is_paid_back_may_be_spent_again(new_mint: NewMint) -> None:
    mint = new_mint(limits=OF_ALL % 4)
    mint.fill(*names(4))
    mint.apply(mint.plan("0.csv", "1.csv"))
    mint.write("0.csv", "1.csv", size=5_000)
    mint.fill()
    assert mint.work().skipped == 2
    assert mint.apply(mint.plan("2.csv", "3.csv")).objects == 2


@pytest.mark.parametrize("limit", [OF_EACH % 100, OF_ALL % 100, "limits: {max_spend: 100 USD}\n"])
def test_what_nobody_knows_the_price_of_is_refused_while_a_limit_holds(new_mint: NewMint, limit: str) -> None:
    mint = new_mint(limits=limit)
    mint.fill(*names(2))
    with pytest.raises(OverSpending, match="what 2 of its 2 objects cost is not known") as refused:
        mint.apply(mint.plan(spend=None))
    assert "`prices:`" in str(refused.value.hint)


def test_a_further_try_that_does_not_fit_waits_for_the_next_month_and_says_why(new_mint: NewMint) -> None:
    mint = new_mint(limits=OF_EACH % 6)
    mint.fill(*names(2))
    mint.apply(mint.plan())
    mint.die()
    assert mint.work().jobs == {}
    with mint.catalog.read() as conn:
        job = conn.execute(sa.select(jobs)).one()
    assert (job.state, job.tries, iso(job.not_before_us)) == ("queued", 1, "2026-10-01T00:00:00Z")
    assert job.error == (
        "another try has to wait: policy move may spend $6.00 a month, $4.00 is charged to 2026-09 and this takes "
        "$4.00; the month ends 2026-10-01T00:00:00Z"
    )
    mint.days(10)
    assert mint.work().done == 2
    assert (mint.spent("2026-09"), mint.spent("2026-10")) == (4, 4)
    mint.conserved(over=True)


def test_a_job_that_must_wait_holds_up_no_other(new_mint: NewMint) -> None:
    mint = new_mint(limits=OF_EACH % 5)
    mint.fill(*names(3))
    mint.apply(mint.plan("0.csv", "1.csv"))
    mint.die()
    mint.apply(mint.plan("2.csv", spend=USD))
    assert mint.work().done == 1
    assert mint.items() == {"done": 1, "pending": 2}
    assert mint.spent() == 5


def test_the_daemon_keeps_a_plan_that_does_not_fit_says_so_and_plans_again_when_it_is_due(new_mint: NewMint) -> None:
    """The cold tier asks $0.50 for a PUT."""
    mint = new_mint(limits=OF_EACH % 0, put=500)
    mint.fill(*names(1))
    daemon = mint.daemon()
    daemon.turns()
    mint.clock.advance(2 * 3_600)
    daemon.turns()
    (told,) = daemon.heard.said("task plan:move")
    assert told.startswith("task plan:move done: plan 1 is not applied: policy move may spend $0.00 a month")
    assert mint.items() == {}
    mint.limits = OF_EACH % 10
    mint.configure()
    mint.days(1)
    assert daemon.reload()
    daemon.turns()
    assert mint.items() == {"done": 1}
    with mint.catalog.read() as conn:
        states = conn.execute(sa.select(plans.c.state).order_by(plans.c.id)).scalars().all()
    assert states == ["saved", "applied"]


def test_a_daemon_that_died_while_it_applied_is_followed_by_one_that_goes_on_with_that_plan(mint: Mint) -> None:
    mint.fill(*names(3))
    plan = mint.plan()
    settings, policies = mint.load()
    charge_plan(Context(settings, mint.catalog, mint.clock, actor="daemon:dead"), plan, policies)
    daemon = mint.daemon()
    daemon.turns()
    mint.clock.advance(2 * 3_600)
    daemon.wakes()
    daemon.does_tasks()
    assert f"task plan:move done: plan {plan}: 3 objects in 2 jobs" in daemon.heard.words
    assert mint.charges() == [("apply", "2026-09", 6)]


def test_processes_that_apply_at_the_same_time_spend_no_more_than_the_limit_together(
    new_mint: NewMint, catalog_url: str
) -> None:
    mint = new_mint(limits=OF_ALL % 14)
    mint.fill(*names(12))
    plans_made = [str(mint.plan(f"{n}.csv")) for n in range(12)]
    crew = []
    for n in range(3):
        now = str(mint.clock.now_us())  # the same for all, or some might spend in another month
        command = [sys.executable, str(SPENDER), str(mint.config), catalog_url, now, *plans_made[n::3]]
        crew.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for one in crew:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in crew:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    said = [one.communicate(timeout=240)[0].split() for one in crew]
    assert [one.returncode for one in crew] == [0, 0, 0]
    answers = [word for words in said for word in words]
    assert len(answers) == 12
    assert len([word for word in answers if word != "-"]) == 7
    month = ledger.month_of(mint.clock.now_us())
    assert mint.spent(month) == 14
    with mint.catalog.read() as conn:
        applied = sa.select(sa.func.count()).select_from(plans).where(plans.c.state == "applied")
        assert conn.execute(applied).scalar_one() == 7


def test_threads_that_charge_at_the_same_time_spend_no_more_than_the_limit_together(
    new_mint: NewMint, catalog_url: str
) -> None:
    """Each on a connection of its own; all begin at once, ten times."""
    mint = new_mint(limits=OF_ALL % 6)
    mint.fill(*names(8))
    settings, policies = mint.load()
    made = [mint.plan(f"{n}.csv") for n in range(8)]
    gate, refused = threading.Barrier(len(made)), []

    def spend(plan: int) -> None:
        with open_catalog(catalog_url, wait_s=60) as catalog:
            gate.wait()
            try:
                charge_plan(Context(settings, catalog, mint.clock, actor="test"), plan, policies)
            except OverSpending:
                refused.append(plan)

    threads = [threading.Thread(target=spend, args=(plan,)) for plan in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 5
    assert mint.spent() == 6


def test_a_try_again_and_an_apply_never_take_the_last_dollar_both(new_mint: NewMint) -> None:
    """Whichever comes first has it."""
    mint = new_mint(limits=OF_ALL % 6)
    mint.fill(*names(3))
    mint.apply(mint.plan("0.csv", "1.csv"))
    mint.die()
    mint.apply(mint.plan("2.csv"))
    mint.work()
    assert mint.spent() == 6
    assert mint.items() == {"done": 1, "pending": 2}
