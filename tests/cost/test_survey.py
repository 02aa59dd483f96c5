"""A survey tells what the bill, the savings and every object tell, and is kept by day."""

from __future__ import annotations

import sqlalchemy as sa

from storaged.catalog.schema import blobs, objects, tiers
from storaged.clock import DAY
from storaged.heat import score
from storaged.work.show.make_survey import make_survey, of_cell
from storaged.work.show.survey import (
    AGE_NAMES,
    HEAT_NAMES,
    NEVER,
    UNKNOWN,
    PackLine,
    Survey,
    keep,
    newest,
    newest_money,
    past_months,
)
from tests.cost.conftest import GB, Priced


def cells(survey: Survey) -> dict[tuple[str, str, str], tuple[int, int]]:
    named = ((c.dataset, AGE_NAMES[c.age], HEAT_NAMES[c.heat]) for c in survey.cells)
    return dict(zip(named, ((c.objects, c.bytes) for c in survey.cells), strict=True))


def aged(world: Priced, days: dict[str, int]) -> None:
    with world.catalog.begin() as conn:
        for name, n in days.items():
            created = world.clock.now_us() - n * DAY
            conn.execute(sa.update(objects).where(objects.c.name == name).values(created_us=created))


def test_a_surveys_money_is_the_bills_whichever_way_it_is_added_up(world: Priced) -> None:
    world.fill(a=3, b=5, c=2)
    world.fill_web("w", 7)
    world.move("b")
    world.cover(20)
    world.touch("a", reads=9, kilobytes=30)
    bill, found = world.bill, make_survey(world.context).money
    assert found.total == bill.total.total > 0
    for what in ("dataset", "tier", "kind"):
        assert sum(found.by(what).values()) == found.total
    assert found.by("tier")["cold"] == world.costs("tier")["cold"].cost.total
    assert list(found.by("tier").values()) == sorted(found.by("tier").values(), reverse=True)
    assert found.grace == world.costs()["total"].grace.total > 0
    assert found.unread == ("web",)


def test_every_object_is_of_one_age_and_heat_and_found_again_by_them(world: Priced) -> None:
    world.fill(young=1, idle=2, cool=3, warm=4, hot=5)
    world.fill_web("w", 7)
    aged(world, {"idle": 31, "cool": 91, "warm": 365, "hot": 400})
    world.cover(500)
    now, half_life = world.clock.now_us(), world.settings.half_life
    with world.catalog.begin() as conn:
        for name, reads in (("cool", 1), ("warm", 10), ("hot", 5_000)):
            heat = score([(now // DAY - 1, reads)], half_life)
            conn.execute(sa.update(objects).where(objects.c.name == name).values(heat_reads=heat))
    survey = make_survey(world.context)
    assert cells(survey) == {
        ("lake", "under 30 days", NEVER): (1, GB),
        ("lake", "30 to 90 days", NEVER): (1, 2 * GB),
        ("lake", "90 days to a year", "under one a month"): (1, 3 * GB),
        ("lake", "over a year", "under one a day"): (1, 4 * GB),
        ("lake", "over a year", "one a day or more"): (1, 5 * GB),
        ("web", "under 30 days", UNKNOWN): (1, 7 * GB),
    }
    with world.catalog.read() as conn:
        ids = {row.name: row.dataset_id for row in conn.execute(sa.select(objects.c.name, objects.c.dataset_id))}
        for cell in survey.cells:
            of_dataset = ids["w"] if cell.dataset == "web" else ids["hot"]
            alike = of_cell(world.context, of_dataset, survey.money.at_us, cell.age, cell.heat)
            counted = sa.select(sa.func.count(), sa.func.sum(objects.c.stored_bytes))
            row = conn.execute(counted.where(objects.c.dataset_id == of_dataset, alike)).one()
            assert (row[0], row[1]) == (cell.objects, cell.bytes)


def test_packs_are_told_by_tier(world: Priced) -> None:
    world.fill(a=1)
    with world.catalog.begin() as conn:
        cold = conn.execute(sa.select(tiers.c.id).where(tiers.c.name == "cold")).scalar_one()
        for name, live in (("p1", 30), ("p2", 0)):
            row = {"id": name, "key": name, "state": "live", "size": 10, "packed_bytes": 40, "live_bytes": live}
            conn.execute(sa.insert(blobs).values(tier_id=cold, created_us=0, **row))
    assert make_survey(world.context).money.packs == (PackLine("cold", 2, 20, 80, 30),)


def test_the_last_survey_of_a_day_is_kept_and_of_a_month_the_last_day(world: Priced) -> None:
    with world.catalog.read() as conn:
        assert (newest(conn), newest_money(conn), past_months(conn)) == (None, None, {})
    made = []
    for name, hours in (("a", 1), ("b", 24), ("c", 31 * 24), ("d", 1)):
        world.fill(**{name: 1})
        made.append(make_survey(world.context))
        keep(world.catalog, made[-1])
        world.clock.advance(hours * 3_600)
    with world.catalog.read() as conn:
        assert newest(conn) == made[-1]
        months = past_months(conn)
        assert [m.at_us for m in months.values()] == [made[-2].money.at_us, made[-1].money.at_us]
        assert list(past_months(conn, 1)) == [list(months)[-1]]
    world.clock.advance(401 * 86_400)
    keep(world.catalog, make_survey(world.context))
    with world.catalog.read() as conn:
        assert len(past_months(conn)) == 1
