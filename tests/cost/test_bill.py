"""The bill of a small lake, worked out by hand: what is stored, what is read, and what is not known."""

from __future__ import annotations

from decimal import Decimal

import pytest
import sqlalchemy as sa

from storaged.catalog.schema import audit, datasets
from storaged.clock import DAY
from storaged.errors import ConfigError, UsageError
from storaged.work.money.cost import grouped
from tests.cost.conftest import GB, Priced, exactly


def test_volume_steps_are_climbed_once_by_all_and_shared_by_bytes(world: Priced) -> None:
    world.fill(a=10, b=30)
    world.fill_web("c", 20)
    lines = world.costs()
    exactly(lines["total"], storage="1.1")  # 50 GB at 0.02 and 10 GB at 0.01, not 60 GB at 0.02
    exactly(lines["lake"], storage="0.733333333333")  # 40 of 60 GB
    exactly(lines["web"], storage="0.366666666667")
    assert (lines["lake"].objects, lines["lake"].bytes) == (2, 40 * GB)


def test_a_move_costs_double_through_grace_and_then_no_more(world: Priced) -> None:
    world.fill(a=10, b=30)
    world.move("b")
    lines = world.costs("tier")
    exactly(lines["hot"], storage="0.8")
    assert lines["hot"].grace.storage == Decimal("0.6")
    exactly(lines["cold"], storage="0.03", overhead="0.022")  # 30 GB; 2 GB there and 1 GB at Standard's price
    assert lines["cold"].grace.total == 0
    assert [lines[name].places for name in ("hot", "cold", "total")] == [2, 1, 3]
    assert [lines[name].objects for name in ("hot", "cold", "total")] == [1, 1, 2]
    world.days(8)
    assert world.sweep().sources == 1
    lines = world.costs("tier")
    exactly(lines["hot"], storage="0.2")
    exactly(lines["cold"], storage="0.03", overhead="0.022")
    assert lines["total"].grace.total == 0


def test_what_an_undo_leaves_in_the_other_tier_is_billed_in_grace(world: Priced) -> None:
    world.fill(a=10)
    world.move("a")
    world.undo("lake/a")
    lines = world.costs("tier")
    exactly(lines["hot"], storage="0.2")
    assert lines["hot"].grace.total == 0
    exactly(lines["cold"], storage="0.01", overhead="0.022")
    assert lines["cold"].grace == lines["cold"].cost


def test_what_its_users_removed_is_billed_while_our_copy_is_kept(world: Priced) -> None:
    world.fill(a=10, b=10)
    world.move("a")
    for name in ("a", "b"):
        world.delete(name)
    world.scan(confirm_empty=True)
    lines = world.costs("tier")
    assert set(lines) == {"cold", "total"}
    exactly(lines["cold"], storage="0.01", overhead="0.022")
    assert lines["cold"].grace == lines["cold"].cost


def test_small_objects_are_billed_as_the_minimum(world: Priced) -> None:
    world.charge({"hot": "here/home/rare"})
    world.fill(a=1, b=4, c=5)
    exactly(world.costs()["lake"], storage="0.13")  # 4 + 4 + 5 GB


def test_an_object_in_another_class_of_the_region_takes_its_prices(world: Priced) -> None:
    world.fill(a=10, b=10, c=10)
    world.reclass("b", "RARE")
    world.reclass("c", "UNHEARD_OF")
    lines = world.costs("class")
    exactly(lines["here/home/standard"], storage="0.2")
    exactly(lines["here/home/rare"], storage="0.1")
    unheard = lines["UNHEARD_OF in tier hot"]
    assert (unheard.priced, unheard.unpriced_objects, unheard.unpriced_bytes) == (False, 1, 10 * GB)


def test_a_tier_without_prices_is_not_free(world: Priced) -> None:
    world.fill(a=10, b=20)
    world.move("b", tier="warm")
    lines = world.costs("tier")
    assert not lines["warm"].priced
    exactly(lines["total"], storage="0.6")
    assert world.bill.unpriced == {("warm", "STANDARD"): (1, 20 * GB)}


def test_without_any_prices_nothing_is_priced(world: Priced) -> None:
    world.charge({})
    world.fill(a=10)
    world.cover(40)
    world.touch("a", reads=1, kilobytes=10)
    assert not world.costs()["total"].priced
    assert world.bill.unpriced == {("hot", "STANDARD"): (1, 10 * GB)}


def test_an_empty_catalog_costs_nothing_and_says_so(world: Priced) -> None:
    world.context.register()
    assert world.bill.parts == ()
    assert world.costs().keys() == {"total"}


def test_prices_that_no_book_knows_are_an_error_with_its_line(world: Priced) -> None:
    world.charge({"hot": "here/home/standart"})
    with pytest.raises(ConfigError) as raised:
        _ = world.bill
    assert "standart" in str(raised.value.problems[0])


# -- what moves by itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("covered", "storage"),
    [
        (0, "0.6"),  # unknown is not cold
        (29, "0.6"),
        (31, "0.52"),  # read 5 days ago; never read; small: 20 at 0.02, 10 at 0.012
        (95, "0.44"),
    ],
)
def test_the_tier_inside_a_class_is_by_the_idle_days_that_logs_tell_of(
    world: Priced, covered: int, storage: str
) -> None:
    world.charge({"hot": "here/home/moving"})
    world.fill(a=10, b=10, **dict.fromkeys("cdefghijkl", 1))
    world.days(100)
    world.touch("a", reads=1, ago=5)
    if covered:
        world.cover(covered)
    lines = world.costs()
    assert lines["lake"].cost.storage == Decimal(storage)
    assert lines["lake"].cost.monitoring == Decimal("0.005")  # of two objects, the others are too small


def test_a_rewritten_object_is_not_idle_for_longer_than_it_is_there(world: Priced) -> None:
    world.charge({"hot": "here/home/standard", "cold": "here/home/moving"})
    world.fill(a=10)
    world.days(100)
    world.move("a")
    world.days(40)
    world.cover(140)
    world.sweep()
    lines = world.costs("class")
    exactly(lines["here/home/moving, seldom"], storage="0.12", monitoring="0.0025")


# -- reads and writes --------------------------------------------------------------------------------------------------


def test_the_last_months_reads_and_writes_are_scaled_and_priced_where_it_is_now(world: Priced) -> None:
    world.charge({"hot": "here/home/standard", "cold": "here/home/rare"})
    world.fill(a=10, b=10)
    world.days(60)
    world.move("b")
    world.cover(15)
    world.touch("a", reads=150, kilobytes=600, ago=3)
    world.touch("b", reads=30, kilobytes=300, writes=15, ago=14)
    lines = world.costs("tier")
    month = Decimal("30.4375") / 15
    writes = 15 * Decimal("0.005") * month  # at the original key, wherever the object is now
    assert lines["hot"].cost.requests == (150 * Decimal("0.0004") * month + writes).quantize(Decimal("1e-12"))
    assert lines["cold"].cost.requests == (30 * Decimal("0.001") * month).quantize(Decimal("1e-12"))
    assert lines["cold"].cost.retrieval == (300 * Decimal("0.03") * month).quantize(Decimal("1e-12"))
    assert lines["total"].reads_known


def test_a_read_from_an_archive_class_is_a_restore_too(world: Priced) -> None:
    world.charge({"hot": "here/home/deep"})
    world.fill(a=10)
    world.days(10)
    world.cover(30)
    world.touch("a", reads=30, kilobytes=300)
    month = Decimal("30.4375") * DAY / world.bill.months["lake"].length_us
    line = world.costs()["lake"].cost
    assert line.requests == (30 * Decimal("0.0004") * month).quantize(Decimal("1e-12"))
    assert line.retrieval == ((300 * Decimal("0.02") + 30 * Decimal("0.1")) * month).quantize(Decimal("1e-12"))


def test_only_the_last_month_counts_by_whole_days_and_today(world: Priced) -> None:
    world.fill(a=10)
    world.days(100)
    world.cover(90)
    now = world.clock.now_us()
    for ago, reads in ((31, 1_000_000), (30, 300), (0, 7)):
        world.touch("a", reads=reads, ago=ago)
    window = world.bill.months["lake"]
    assert (window.from_us, window.until_us) == ((now // DAY - 30) * DAY, now)
    month = Decimal("30.4375") * DAY / window.length_us
    assert world.costs()["lake"].cost.requests == (307 * Decimal("0.0004") * month).quantize(Decimal("1e-12"))


@pytest.mark.parametrize("covered", [None, (0.9, 0), (300, 40)], ids=["never", "for less than a day", "long ago"])
def test_reads_that_no_log_tells_of_are_unknown_and_not_nothing(
    world: Priced, covered: tuple[float, float] | None
) -> None:
    world.fill(a=10)
    world.days(1)
    if covered:
        world.cover(covered[0], ended=covered[1])
    world.touch("a", reads=5, ago=0)
    assert world.bill.unread == ("lake",)
    lines = world.costs()
    assert not lines["lake"].reads_known
    exactly(lines["lake"], storage="0.2")


def test_reads_of_what_is_gone_are_not_next_months(world: Priced) -> None:
    world.fill(a=10, b=10)
    world.cover(10)
    world.touch("a", reads=5, writes=5)
    world.delete("a")
    world.scan()
    exactly(world.costs()["total"], storage="0.2")


# -- early deletion ----------------------------------------------------------------------------------------------------


def test_what_early_deletion_would_take_is_told_and_not_part_of_the_total(world: Priced) -> None:
    world.charge({"hot": "here/home/rare"})
    world.fill(a=1, b=10)
    world.days(12.5)
    bill = world.bill
    assert bill.total.early_deletion == 0
    exact = Decimal("0.01") * 14 * 18 / Decimal("30.4375")  # 4 + 10 GB, 18 of 30 days left
    assert bill.leaving_today == exact.quantize(Decimal("1e-12"))
    world.days(18)
    assert world.bill.leaving_today == 0


def test_the_minimum_duration_counts_from_the_change_of_class(world: Priced) -> None:
    world.fill(a=10)
    world.days(200)
    world.reclass("a", "DEEP")
    assert world.bill.leaving_today == 0
    with world.catalog.begin() as conn:
        told = {"kind": "transition", "dataset": "lake", "object": "a", "actor": "test"}
        conn.execute(sa.insert(audit).values(at_us=world.clock.now_us() - 50 * DAY, **told))
    per_day = (Decimal("0.001") * (10 + 2) + Decimal("0.02") * 1) / Decimal("30.4375")
    assert world.bill.leaving_today == (130 * per_day).quantize(Decimal("1e-12"))


# -- lines -------------------------------------------------------------------------------------------------------------


def test_lines_are_named_by_owner_and_tag_and_say_where_there_is_none(world: Priced) -> None:
    world.fill(a=10)
    world.fill_web("c", 20)
    assert world.costs("owner").keys() == {"ann", "(no owner)", "total"}
    assert world.costs("tag:team").keys() == {"growth", "(no team)", "total"}
    assert world.costs("tag:a b").keys() == {"ü", "(no a b)", "total"}
    for wrong in ("", "tag", "tag:", "weight"):
        with pytest.raises(UsageError):
            grouped(world.bill, wrong)


def test_what_is_no_longer_configured_is_still_billed(world: Priced) -> None:
    world.fill(a=10)
    with world.catalog.begin() as conn:
        conn.execute(sa.update(datasets).where(datasets.c.name == "lake").values(name="left/behind"))
    exactly(world.costs()["left/behind"], storage="0.2")
