"""What plans say that packs cost is what the store's log says: made, left, worn out and packed anew, moved, sampled."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import pytest

from storaged.codecs.pack import HELD
from storaged.decide import money as money_of
from storaged.decide.money import PlanMoney
from storaged.stores.s3.together import WORTH
from storaged.testing.servers import LoggedRequest
from storaged.work.rewrite import read_ahead
from tests.life.test_what_moves_cost import (
    FREE,
    MIB,
    STANDARD,
    WARM,
    Priced,
    billed,
    dialect,
    in_gb,
    new_places,
    through,
)
from tests.life.test_what_moves_cost import lake as bare
from tests.life.world import noise

__all__ = ["bare", "dialect", "new_places"]

SMALL = {f"a/{number:02}.csv": 2_000 for number in range(38)}  # two groups: one is listed, of the other are too few
LARGE = {"b/0.csv": 1_500_000, "b/1.csv": 300_000, "b/2.csv": 5 * MIB, "b/3.csv": 400_000, "b/4.csv": 400_000}


@pytest.fixture
def lake(bare: Priced) -> Priced:
    """With one thread: of several each may fetch once more what others of a pack have fetched in part."""
    made = bare
    workers = made.settings.workers.model_copy(update={"threads": 1})
    made.settings = made.settings.model_copy(update={"workers": workers})
    made.context = made.new_context()
    made.server.set_time(made.clock.now_us())
    return made


def put(lake: Priced, sizes: Mapping[str, int]) -> None:
    for name, size in sizes.items():
        lake.user.put_object(Bucket=lake.bucket, Key=f"lake/{name}", Body=noise(name, size))
    lake.days(40)
    lake.scan()


PICO = 10**12
ROUNDED = 100  # picodollars: each of a plan's rows is rounded by itself


def told_is_made(lake: Priced, made: list[LoggedRequest], money: PlanMoney) -> None:
    pages = [r for r in lake.server.log() if r.query.get("start-after", "").startswith("lake/")]
    asked = [r for r in made if r.operation not in FREE]
    assert len(asked) + len(pages) == money.requests
    assert billed(made) + len(pages) * STANDARD.list_ == money.one_time.requests + money.one_time.proof
    with lake.catalog.read() as conn:
        newest = "SELECT SUM(spend) FROM plan_items WHERE plan_id = (SELECT MAX(id) FROM plans) AND held IS NULL"
        assert abs(money.one_time.total * PICO - conn.exec_driver_sql(newest).scalar_one()) < ROUNDED


def test_whatever_happens_to_packs_makes_the_requests_that_its_plan_counts(lake: Priced) -> None:
    """In dollars, too. And a plan's rows add up to what it says."""
    put(lake, SMALL | LARGE)
    steps = (
        ("cut by a limit", "hot", "warm", "pack", "limits: {max_objects: 40}"),
        ("packed", "hot", "warm", "pack", ""),
        ("some leave as they are", "warm", "cold", "identity", "where: name < 'a/03.csv'"),
        ("some are sampled: less than is kept", "warm", "cold", "zstd", "where: name < 'a/12.csv'"),
        ("most leave", "warm", "cold", "identity", "where: name > 'b/1.csv'"),
        ("it is worn", "warm", "warm", "{pack: {repack_below: 100%}}", ""),
        ("it moves", "warm", "cold", "pack", "where: name > 'a/12'"),
    )
    for step, tier, to, codec, where in steps:
        made, money = through(lake, tier=tier, to=to, codec=codec, where=where)
        try:
            told_is_made(lake, made, money)
        except AssertionError as error:
            raise AssertionError(f"{step}: {error}") from error
        if step == "packed":
            with lake.catalog.read() as conn:
                stored = conn.exec_driver_sql("SELECT SUM(stored_bytes) FROM v_packs").scalar_one()
                shares = conn.exec_driver_sql("SELECT SUM(stored_bytes) FROM v_objects").scalar_one()
                charged = conn.exec_driver_sql("SELECT SUM(after_bytes) FROM ledger_items").scalar_one()
                assert shares == charged == stored


def test_more_than_a_pack_keeps_open_is_read_twice_where_it_is_sampled(lake: Priced) -> None:
    """And billed so, by its class for each byte."""
    put(lake, {f"{number}.csv": 3 * MIB // 2 for number in range(9)})
    told_is_made(lake, *through(lake, tier="hot", to="warm", codec="pack"))
    made, money = through(lake, tier="warm", to="cold", codec="zstd")
    told_is_made(lake, made, money)
    ranges = [r.headers["range"].removeprefix("bytes=").split("-") for r in made if r.operation == "GetObject"]
    read = sum(int(last) + 1 - int(first) for first, last in ranges)
    assert read > 2 * 9 * 3 * MIB // 2
    billable = in_gb(read) * WARM.retrieval["standard"].per_gb
    assert money.one_time.retrieval == pytest.approx(billable, rel=Decimal("0.001"))


def test_the_planner_knows_which_members_workers_read_together() -> None:
    """Its figures are theirs, by another floor of the program."""
    assert (money_of.NEIGHBOURS, money_of.NEIGHBOURS_BYTES) == (read_ahead.TOGETHER, read_ahead.TOGETHER_BYTES)
    assert (money_of.NEIGHBOUR, money_of.WORTH_LISTING) == (HELD, WORTH)
