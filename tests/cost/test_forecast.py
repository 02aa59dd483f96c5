"""The months ahead, by bills as `cost` makes them, of datasets whose pasts are made."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
import sqlalchemy as sa
import yaml

from storaged.catalog.schema import datasets, objects, scans, tiers
from storaged.clock import DAY
from storaged.config.settings import load_settings
from storaged.decide.growth import LEAST
from storaged.errors import UsageError
from storaged.work.money.ahead import Ahead, LineAhead, look_ahead, tried_before
from storaged.work.money.arrivals import WEEK_US, arrivals
from storaged.work.money.cost import grouped, line
from tests.cost.conftest import GB, PRICES, Priced

WEEKS = 80


def past(world: Priced, weekly: list[int], *, dataset: str = "lake", watched: int = WEEKS) -> None:
    """One object of so many KiB came in the middle of each week (0: none did), the newest week last, and one long
    before; scans have told what went for so many weeks."""
    now = world.clock.now_us()
    world.context.register()
    with world.catalog.begin() as conn:
        row = conn.execute(sa.select(datasets).where(datasets.c.name == dataset)).one()
        sizes = [1, *weekly]
        weeks = [len(weekly), *range(len(weekly) - 1, -1, -1)]
        rows = []
        for n, (size, ago) in enumerate(zip(sizes, weeks, strict=True)):
            at = now - ago * WEEK_US - WEEK_US // 2
            its = {"size": size * GB, "stored_bytes": size * GB, "mtime_us": at, "created_us": at}
            rows += [{"dataset_id": row.id, "tier_id": row.tier_id, "name": f"past/{n:04}", **its}] if size else []
        conn.execute(sa.insert(objects), rows)
        conn.execute(sa.update(datasets).where(datasets.c.id == row.id).values(scanned_us=now))
        at = now - watched * WEEK_US
        conn.execute(sa.insert(scans).values(dataset_id=row.id, started_us=at, finished_us=at))


def noisy(weeks: int = WEEKS, mean: int = 8) -> list[int]:
    return [1 + int(n) for n in np.random.default_rng(4).poisson(mean, weeks)]


def places(ahead: Ahead) -> dict[tuple[str | None, str | None], LineAhead]:
    return {(one.dataset, one.tier): one for one in ahead.places}


def usd(one: LineAhead, month: int) -> Decimal:
    found = one.months[month].usd
    assert found is not None
    return found.mean


def test_month_0_is_the_bill_of_cost_to_the_digit(world: Priced) -> None:
    world.fill(a=3, b=5, c=60)
    world.fill_web("w", 7)
    world.move("b")
    world.cover(20)
    world.touch("a", reads=9, kilobytes=30)
    past(world, noisy())
    bill, ahead = world.bill, look_ahead(world.context, 3)
    assert ahead.bill == bill
    assert usd(ahead.total, 0) == bill.total.total > 0
    for one in ahead.tiers:
        [group] = [group for group in grouped(bill, "tier") if group.name == one.tier]
        assert (usd(one, 0), one.months[0].bytes.mean) == (group.cost.total, group.bytes)
    for (dataset, tier), one in places(ahead).items():
        its = line("", (part for part in bill.parts if (part.dataset, part.tier) == (dataset, tier)))
        now = one.months[0]
        assert (usd(one, 0), now.bytes.mean, now.objects.mean) == (its.cost.total, its.bytes, its.objects)
        assert now.bytes.low == now.bytes.mean == now.bytes.high
    assert ("lake", "cold") in places(ahead)


def test_what_comes_every_week_goes_on_to_come_at_the_price_of_its_home(world: Priced) -> None:
    past(world, [10] * WEEKS)
    ahead = look_ahead(world.context, 12)
    months = ahead.total.months
    for month in months:
        grown = 10 * GB * month.month * 30.4375 / 7
        assert abs(float(month.bytes.mean - months[0].bytes.mean) - grown) < 1
        assert month.bytes.low <= month.bytes.mean <= month.bytes.high
        assert abs(float(month.objects.mean - months[0].objects.mean) - grown / 10 / GB) <= 1
    more = (usd(ahead.total, 12) - usd(ahead.total, 0)) / (months[12].bytes.mean - months[0].bytes.mean) * GB
    assert abs(more - Decimal("0.01")) < Decimal("0.0001")  # a KiB and month beyond the first 50


def test_parts_add_up_and_the_interval_of_all_is_no_wider_than_those_of_the_parts_together(world: Priced) -> None:
    world.fill(a=3, b=500)
    world.fill_web("w", 7)
    world.move("b")
    past(world, noisy())
    past(world, noisy()[::-1], dataset="web")
    ahead = look_ahead(world.context, 12)
    assert len(ahead.places) == 3
    for month, whole in enumerate(ahead.total.months):
        for parts in (ahead.places, ahead.tiers):
            assert sum(one.months[month].bytes.mean for one in parts) == whole.bytes.mean
            assert sum(one.months[month].objects.mean for one in parts) == whole.objects.mean
            assert sum(usd(one, month) for one in parts) == usd(ahead.total, month)
            width = sum(one.months[month].bytes.high - one.months[month].bytes.low for one in parts)
            assert whole.bytes.high - whole.bytes.low <= width * Decimal("1.1") + len(parts)
        assert whole.usd is not None
        assert whole.usd.low <= whole.usd.mean <= whole.usd.high
    last = places(ahead)
    assert last["lake", "cold"].months[12] == replaced(last["lake", "cold"].months[0], 12)  # nothing comes there


def replaced(month: object, number: int) -> object:
    import dataclasses

    return dataclasses.replace(month, month=number)  # type: ignore[type-var]


def test_what_goes_goes_from_every_place_and_never_more_than_is_there(world: Priced) -> None:
    world.fill(a=400, b=400)
    world.move("b")
    past(world, [40] * 40 + [0] * 40)
    now = world.clock.now_us()
    with world.catalog.begin() as conn:
        conn.execute(sa.update(objects).where(objects.c.name.in_(("a", "b"))).values(created_us=now - 90 * WEEK_US))
        for n in range(30):  # one a week
            gone = {"removed_us": now - n * WEEK_US - WEEK_US // 2, "tier_id": None, "raw_state": "absent"}
            conn.execute(sa.update(objects).where(objects.c.name == f"past/{40 - n:04}").values(gone))
    ahead = look_ahead(world.context, 24)
    for place in (("lake", "hot"), ("lake", "cold")):
        one = places(ahead)[place]
        sizes = [month.bytes.mean for month in one.months]
        assert sizes[0] > sizes[1] > sizes[3]
        assert all(month.bytes.low >= 0 for month in one.months)
        assert usd(one, 3) < usd(one, 0)


def test_a_short_past_says_nothing_and_a_longer_one_not_further_than_it_reaches_back(world: Priced) -> None:
    past(world, noisy(LEAST - 1))
    short = look_ahead(world.context, 6)
    assert short.known_months["lake"] == 0
    assert [month.standing for month in short.total.months] == [(), *[("lake",)] * 6]
    assert short.total.months[6].bytes == short.total.months[0].bytes
    with world.catalog.begin() as conn:
        conn.execute(sa.delete(objects))
    past(world, noisy(27))
    longer = look_ahead(world.context, 8).total.months
    assert [bool(month.standing) for month in longer] == [False] * 7 + [True] * 2
    assert longer[6].bytes.mean > longer[5].bytes.mean
    assert longer[8].bytes == longer[6].bytes


def test_where_removals_are_not_known_the_interval_reaches_down_to_what_is_there(world: Priced) -> None:
    past(world, noisy(), watched=1)
    months = look_ahead(world.context, 12).total.months
    assert all(month.bytes.low == months[0].bytes.mean for month in months)
    assert months[12].bytes.mean > months[0].bytes.mean
    with world.catalog.begin() as conn:
        at = world.clock.now_us() - LEAST * WEEK_US
        conn.execute(sa.update(scans).values(started_us=at, finished_us=at))
    months = look_ahead(world.context, 12).total.months
    assert months[12].bytes.low > months[0].bytes.mean


def test_what_is_written_anew_or_later_than_now_is_no_growth(world: Priced) -> None:
    past(world, [10] * WEEKS)
    expected = look_ahead(world.context, 12).total.months[12].bytes.mean
    now = world.clock.now_us()
    with world.catalog.begin() as conn:
        row = conn.execute(sa.select(datasets).where(datasets.c.name == "lake")).one()
        common = {"dataset_id": row.id, "tier_id": row.tier_id, "size": GB, "stored_bytes": GB}
        late = {"name": "late", "mtime_us": now + DAY, "created_us": now + DAY, "generation": 1}
        anew = {"name": "anew", "mtime_us": now - DAY, "created_us": now - DAY, "generation": 3}
        conn.execute(sa.insert(objects), [common | late, common | anew])
    ahead = look_ahead(world.context, 12)
    [one] = [one for one in ahead.datasets if one.dataset == "lake"]
    assert (one.overwritten, one.from_the_future) == (1, 1)
    assert ahead.total.months[12].bytes.mean == expected + 2 * GB


def test_a_last_scan_in_the_future_counts_as_now(world: Priced) -> None:
    past(world, [10] * WEEKS)
    with world.catalog.begin() as conn:
        conn.execute(sa.update(datasets).values(scanned_us=world.clock.now_us() + 400 * DAY))
        [one] = [its for its in arrivals(conn, world.clock.now_us()) if its.dataset == "lake"]
    assert one.clock_jumped
    assert one.scanned_us == world.clock.now_us()
    assert one.bytes.tolist() == [10 * GB] * WEEKS


def test_a_dataset_whose_objects_are_all_gone_is_nothing_and_stays_so(world: Priced) -> None:
    past(world, [10] * WEEKS)
    with world.catalog.begin() as conn:
        gone = {"removed_us": world.clock.now_us() - DAY, "tier_id": None, "raw_state": "absent"}
        conn.execute(sa.update(objects).values(gone))
    ahead = look_ahead(world.context, 12)
    assert (ahead.total.months[12].bytes.high, ahead.known_months["lake"]) == (0, 0)


def test_places_without_prices_have_bytes_and_no_dollars(world: Priced) -> None:
    world.fill(a=4)
    world.move("a")
    world.charge({})
    past(world, [10] * WEEKS)
    months = look_ahead(world.context, 12).total.months
    assert all(month.usd is None for month in months)
    assert months[12].bytes.mean == months[12].unpriced_bytes > months[0].bytes.mean
    world.charge({"cold": PRICES["cold"]})
    last = look_ahead(world.context, 12).total.months[12]
    assert last.usd is not None
    assert 0 < last.unpriced_bytes < last.bytes.mean


def test_small_objects_are_billed_at_the_minimum_of_the_class(world: Priced) -> None:
    world.charge({"hot": "here/home/rare"})
    with world.catalog.begin() as conn:
        conn.execute(sa.update(tiers).where(tiers.c.name == "hot").values(storage_class="RARE"))
    past(world, [1] * WEEKS)
    with world.catalog.begin() as conn:
        conn.execute(sa.update(objects).values(raw_class="RARE"))
    total = look_ahead(world.context, 12).total
    assert abs(usd(total, 12) - total.months[12].objects.mean * 4 * Decimal("0.01")) < Decimal("0.05")


def capacity(world: Priced, kilobytes: int) -> None:
    file = world.place / "storaged.yaml"
    told = yaml.safe_load(file.read_text())
    told["tiers"]["hot"]["capacity"] = {"size": f"{kilobytes}KiB", "high": "80%", "low": "70%"}
    file.write_text(yaml.safe_dump(told))
    world.settings = load_settings(file)
    world.context = world.new_context()


def test_a_tier_meets_its_marks_when_so_much_has_come(world: Priced) -> None:
    past(world, [10] * WEEKS)
    capacity(world, 1250)  # 801 KiB are there, and 10 more come each week
    high, full = look_ahead(world.context, 12).marks
    now = world.clock.now_us()
    assert (high.mark, high.bytes, high.used_bytes) == ("high", 1000 * GB, 801 * GB)
    assert (full.mark, full.bytes) == ("capacity", 1250 * GB)
    for mark, weeks in ((high, 19.9), (full, 44.9)):
        assert mark.expected_us is not None
        assert abs((mark.expected_us - now) / WEEK_US - weeks) < 0.2
    assert look_ahead(world.context, 6).marks[1].earliest_us is None
    capacity(world, 900)
    assert look_ahead(world.context, 6).marks[0].latest_us == now


def test_the_ways_to_a_mark_differ_as_weeks_do(world: Priced) -> None:
    past(world, noisy())
    capacity(world, 1200)
    mark = look_ahead(world.context, 24).marks[0]
    assert mark.earliest_us is not None
    assert mark.expected_us is not None
    assert mark.latest_us is not None
    assert mark.earliest_us < mark.expected_us < mark.latest_us


def test_only_the_datasets_that_are_asked_for(world: Priced) -> None:
    world.fill_web("w", 7)
    past(world, noisy())
    every, ahead = look_ahead(world.context, 12), look_ahead(world.context, 12, ["web"])
    assert [one.dataset for one in ahead.places] == ["web"]
    assert ahead.total.months[0].bytes.mean == 7 * GB
    assert set(ahead.known_months) == {"web"}
    lake = look_ahead(world.context, 12, ["lake"])
    assert lake.places[0] == every.places[0]
    with pytest.raises(UsageError, match="no dataset 'none'"):
        look_ahead(world.context, 12, ["none"])


def test_fewer_months_say_the_same_of_them(world: Priced) -> None:
    past(world, noisy())
    assert look_ahead(world.context, 3).total.months == look_ahead(world.context, 12).total.months[:4]


def test_earlier_forecasts_are_tried_on_what_came(world: Priced) -> None:
    past(world, noisy())
    found = tried_before(look_ahead(world.context, 1).datasets)
    assert [(one.weeks, one.forecasts) for one in found] == [(4, 8), (13, 7), (26, 4), (52, 0)]
    assert sum(one.inside for one in found) >= 10
