"""What came true of plans, through the real life: scan, plan, apply, work, logs, undo. A file of 4,000 bytes costs $4 a
month in hot and $1 in cold; reading it whole costs nothing in hot and $2 in cold."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

import pytest
import sqlalchemy as sa

from storaged.catalog.schema_money import charges, ledger, ledger_items
from storaged.errors import UsageError
from storaged.prices.amount import usd
from storaged.prices.book import DAYS_PER_MONTH
from storaged.work import targets
from storaged.work.money.savings import AppliedPart, RealOutcome
from storaged.work.money.spending import spent
from storaged.work.plan.make import make_plan
from storaged.work.release.retention import forget
from storaged.work.release.sweep import sweep
from storaged.work.rewrite.apply import apply_plan
from storaged.work.rewrite.pointers import undo_objects
from storaged.work.rewrite.returns import to_root
from storaged.work.scan.run import scan
from tests.ledger.mint import Mint, names

DAY_S = 86_400
NewMint = Callable[..., Mint]


def moved(mint: Mint, n: int = 3) -> int:
    """A plan of so many files, applied and worked off."""
    mint.fill(*names(n))
    plan = mint.plan()
    mint.apply(plan)
    assert mint.work().done == n
    return plan


def only(mint: Mint) -> AppliedPart:
    (part,) = mint.savings()
    return part


def test_what_was_moved_saves_from_that_day_on_what_was_expected_of_it(mint: Mint) -> None:
    plan = moved(mint)
    part = only(mint)
    assert (part.plan, part.policy, part.objects, part.outcome.done, part.outcome.here) == (plan, "move", 3, 3, 3)
    assert (part.outcome.before.total, part.outcome.after.total) == (12, 3)
    assert part.outcome.saving == 9
    assert part.outcome.one_time == 6
    assert (part.error, part.error_share) == (0, 0)
    assert part.outcome.saved == 0
    assert not part.paid_back
    mint.days(10)
    assert only(mint).outcome.saved == 90 / DAYS_PER_MONTH
    assert not only(mint).paid_back
    mint.days(11)
    assert only(mint).outcome.saved == 9 * 21 / DAYS_PER_MONTH
    assert only(mint).paid_back


def test_what_is_not_moved_yet_saves_nothing_and_is_told(mint: Mint) -> None:
    mint.fill(*names(3))
    mint.apply(mint.plan())
    part = only(mint)
    assert (part.outcome.done, part.outcome.waiting, part.outcome.saving) == (0, 3, 0)
    assert part.outcome.one_time == 6
    assert part.error == -9


def test_further_tries_and_what_was_paid_back_are_in_what_it_really_took(mint: Mint) -> None:
    mint.fill(*names(4))
    mint.apply(mint.plan())
    mint.write("3.csv", size=5_000)
    mint.fill()
    mint.die()
    mint.work()
    outcome = only(mint).outcome
    assert outcome.charged == {"apply": 8, "try": 4, "refund": -2}
    assert outcome.one_time == 10
    assert (outcome.done, outcome.saving) == (3, 9)


def test_what_is_undone_stops_counting_on_that_day(mint: Mint) -> None:
    moved(mint)
    mint.days(10)
    undo_objects(mint.context(), targets.pages(mint.context(), "lake/1.csv"))
    mint.days(10)
    outcome = only(mint).outcome
    assert (outcome.done, outcome.here, outcome.saving) == (3, 2, 6)
    assert outcome.saved == (3 * 10 + 6 * 20) / DAYS_PER_MONTH
    assert only(mint).error == -3


def test_what_goes_back_to_its_original_key_stops_counting_on_that_day(new_mint: NewMint) -> None:
    mint = new_mint()
    mint.configure(grace="1d")
    moved(mint)
    mint.days(2)
    sweep(mint.context())
    context = mint.context()
    to_root(context, targets.pages(context, "lake/0.csv"), reason="eject")
    mint.work()
    mint.days(5)
    outcome = only(mint).outcome
    assert (outcome.here, outcome.saving) == (2, 6)
    assert outcome.saved == (3 * 2 + 6 * 7) / DAYS_PER_MONTH


def test_what_its_user_replaced_stops_counting_when_that_is_seen(mint: Mint) -> None:
    moved(mint)
    mint.days(4)
    mint.write("2.csv", size=9_000)
    scan(mint.context(), "lake")
    mint.days(4)
    outcome = only(mint).outcome
    assert (outcome.here, outcome.saving) == (2, 6)
    assert outcome.saved == (3 * 4 + 6 * 8) / DAYS_PER_MONTH


def test_reads_since_the_move_are_priced_at_both_places_and_scaled_to_a_month(mint: Mint) -> None:
    """Two whole reads of one file in ten whole days: 6.0875 a month, each of which costs $2 in cold."""
    moved(mint)
    begun = mint.now_s()
    mint.days(11)
    mint.log({"ts": begun + 3 * DAY_S, "object": "0.csv"}, {"ts": begun + 5 * DAY_S, "object": "0.csv"})
    outcome = only(mint).outcome
    assert outcome.unread == 0
    assert outcome.after.retrieval == Decimal(4) / 10 * DAYS_PER_MONTH
    assert outcome.before.retrieval == 0
    assert outcome.saving == 9 - Decimal("12.175")
    assert only(mint).error == Decimal("-12.175")


def test_reads_before_the_move_and_on_its_day_do_not_count(mint: Mint) -> None:
    mint.fill(*names(1))
    mint.log({"ts": mint.now_s() - 3 * DAY_S, "object": "0.csv"})
    mint.apply(mint.plan())
    mint.work()
    mint.log({"ts": mint.now_s() + 5, "object": "0.csv"})
    mint.days(6)
    mint.log({"ts": mint.now_s() - DAY_S, "object": "other.csv"})
    outcome = only(mint).outcome
    assert outcome.unread == 0
    assert outcome.saving == 3


def test_what_no_log_tells_of_counts_without_reads_and_says_so(mint: Mint) -> None:
    moved(mint)
    mint.days(3)
    assert only(mint).outcome.unread == 3
    assert only(mint).outcome.saving == 9


def test_what_has_no_prices_is_told_and_never_zero(new_mint: NewMint) -> None:
    mint = new_mint(prices=False)
    mint.fill(*names(2))
    mint.apply(mint.plan(spend=None))
    mint.work()
    part = only(mint)
    assert (part.outcome.done, part.outcome.unpriced) == (2, 2)
    assert not part.priced
    assert part.error is None


def test_a_real_plan_comes_true_to_the_cent(new_mint: NewMint) -> None:
    """Nothing is set by hand here: a PUT to cold is $0.50, reading back what it stored $2, and the source stays in hot
    for 30 days, at $4 a month."""
    mint = new_mint(put=500)
    mint.fill(*names(3))
    settings, policies = mint.load()
    plan = make_plan(mint.catalog, settings, policies, mint.clock, only=["move"])
    apply_plan(mint.context(), plan.id, policies)
    mint.work()
    part = only(mint)
    assert part.expected is not None
    once = 3 * (Decimal("0.50") + 2 + 4 * 30 / DAYS_PER_MONTH)
    assert abs(part.expected.one_time.total - once) < Decimal("1e-11")
    assert abs(part.outcome.one_time - once) < Decimal("1e-11"), "half a picodollar for each object"
    assert part.expected.saving == part.outcome.saving == 9
    assert part.error == 0


def test_plans_and_months_are_told_apart_and_the_newest_comes_first(mint: Mint) -> None:
    mint.fill(*names(2))
    first = mint.plan("0.csv")
    mint.apply(first)
    mint.days(20)
    second = mint.plan("1.csv")
    mint.apply(second)
    assert [p.plan for p in mint.savings()] == [second, first]
    assert [p.plan for p in mint.savings(first)] == [first]
    assert spent(mint.context()).policies == {"move": 2}
    assert spent(mint.context(), "2026-09").total == 2
    assert spent(mint.context(), "2026-08").total == 0
    with pytest.raises(UsageError, match="no plan 99 was applied"):
        mint.savings(99)


def test_parts_whose_objects_are_forgotten_stand_as_they_stood(mint: Mint) -> None:
    moved(mint)
    mint.days(300)
    assert forget(mint.context()).ledger_items == 0
    mint.days(101)
    before = only(mint)
    counted = forget(mint.context(), dry_run=True)
    assert (counted.ledger_items, counted.charges) == (3, 1)
    forgotten = forget(mint.context())
    assert (forgotten.ledger_items, forgotten.charges) == (3, 1)
    for table in (ledger_items, charges):
        assert mint.count(table) == 0
    mint.days(50)
    after = only(mint)
    assert after.outcome == before.outcome
    assert after.closed_us is not None
    assert mint.count(ledger) == 1


def test_what_is_kept_of_a_part_reads_back_as_it_was(mint: Mint) -> None:
    moved(mint)
    mint.days(10)
    outcome = only(mint).outcome
    assert RealOutcome.from_json(outcome.to_json()) == outcome


def test_the_command_shows_expected_and_actual_as_json_and_text(
    mint: Mint, capsys: pytest.CaptureFixture[str], catalog_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from storaged.cli.app import run

    if "postgresql" in catalog_url:
        text = mint.config.read_text().replace(mint.catalog.url, catalog_url)
        mint.config.write_text(text)
    plan = moved(mint)
    assert run(["--config", str(mint.config), "savings", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["plans"]
    assert told["plan"] == plan
    assert told["expected"]["monthly_saving"] == "9"
    assert told["actual"]["one_time"] == "6"
    assert told["actual"]["monthly_before"]["total"] == "12"
    for amounts in (told["actual"]["monthly_before"], told["expected"]["one_time"]):
        assert Decimal(amounts.pop("total")) == sum(map(Decimal, amounts.values()))
    assert run(["--config", str(mint.config), "savings", "--plan", str(plan)]) == 0
    text = capsys.readouterr().out
    assert "$6.00" in text
    assert "3 of 3" in text
    assert "2^30" in text
    (off,) = [line.split() for line in text.splitlines() if "off by" in line]
    error = told["error"]
    assert off == [
        *("off", "by", usd(Decimal(error["one_time"])), usd(Decimal(error["monthly_saving"]))),
        f"{Decimal(error['monthly_saving_percent']):+.1f}%",
    ]
    assert run(["--config", str(mint.config), "savings", "--month", "2026-13"]) == 2
    assert "is no month" in capsys.readouterr().err


def test_the_ledger_is_not_touched_by_looking_at_it(mint: Mint) -> None:
    moved(mint)

    def rows() -> list[object]:
        with mint.catalog.read() as conn:
            return [conn.execute(sa.select(table)).all() for table in (ledger, ledger_items, charges)]

    before = rows()
    mint.savings()
    assert rows() == before
