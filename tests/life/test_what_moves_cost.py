"""What a plan says that a move costs is what the store's own log of requests says that it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from storaged.catalog.engine import Catalog
from storaged.codecs import sample
from storaged.config.settings import load_settings
from storaged.decide import money as money_of
from storaged.decide.load import load_policies
from storaged.decide.money import PlanMoney
from storaged.prices.book import ClassPrices
from storaged.prices.load import load_prices
from storaged.stores.base import RESERVED
from storaged.stores.s3 import copying, parts, upload
from storaged.stores.s3.together import WORTH
from storaged.testing import FakeClock
from storaged.testing.servers import LoggedRequest, MotoServer
from storaged.work import content
from storaged.work.plan.make import make_plan
from storaged.work.rewrite import worker
from storaged.work.rewrite.apply import apply_plan
from tests.life.places import NewPlaces, Prefix
from tests.life.test_transition import remote_root
from tests.life.world import World, noise, text

MIB = 1 << 20
BOOK = load_prices()
STANDARD = BOOK.classes["aws/us-east-1/standard"]
WARM = BOOK.classes["aws/us-east-1/standard-ia"]
COLD = BOOK.classes["aws/us-east-1/glacier-ir"]
SIZES = (0, 1, 700_000, 4 * MIB, 4 * MIB + 1, 8 * MIB, 8 * MIB + 1, 17 * MIB)
PUTS = frozenset({"PutObject", "CopyObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"})
GETS = frozenset({"GetObject", "HeadObject", "GetObjectAcl"})
FREE = frozenset({"DeleteObject", "AbortMultipartUpload"})


@pytest.fixture
def dialect() -> str:
    """Requests are the stores' matter; the databases are compared in tests/decide."""
    return "sqlite"


@pytest.fixture
def new_places(s3_user: Any, request: pytest.FixtureRequest) -> NewPlaces:
    return remote_root("priced", s3_user, request)


class Priced(World):
    """Root, warm and cold in one bucket, each in a class of its own, with prices."""

    def __init__(self, place: Path, catalog: Catalog, clock: FakeClock, new_places: NewPlaces) -> None:
        super().__init__(place, catalog, clock, new_places=new_places)
        lake = self.places.by_name["lake"]
        assert isinstance(lake, Prefix)
        assert isinstance(lake.server, MotoServer)
        self.server, self.user, self.bucket = lake.server, lake.user, lake.bucket
        enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}  # as buckets are made today: without ACLs
        lake.user.put_bucket_ownership_controls(Bucket=lake.bucket, OwnershipControls=enforced)
        config = place / "storaged.yaml"
        config.write_text(
            config.read_text()
            .replace("{rank: 0,", f"{{rank: 0, prices: {STANDARD.id},")
            .replace("{rank: 1,", f"{{rank: 1, prices: {WARM.id}, storage_class: STANDARD_IA,")
            .replace("{rank: 2,", f"{{rank: 2, prices: {COLD.id}, storage_class: GLACIER_IR,")
        )
        self.settings = load_settings(config)
        self.context = self.new_context()
        self.sizes: Sequence[int] = SIZES

    def days(self, n: float) -> None:
        super().days(n)
        self.server.set_time(self.clock.now_us())

    def fill(self, content: Callable[[str, int], bytes], *, untold: bool = False, **more: str) -> None:
        """An object of each size, old enough. `untold`: that its server could not prove a copy of."""
        self.server.set_time(self.clock.now_us())
        for number, size in enumerate(self.sizes):
            if untold and size:
                self.write_untold(f"{number}.csv", content("x", size))
            else:
                self.user.put_object(Bucket=self.bucket, Key=f"lake/{number}.csv", Body=content("x", size), **more)
        self.days(40)
        self.scan()

    def planned(self, to: str) -> tuple[int, PlanMoney]:
        """A plan for everything, and what it says that it comes to."""
        policy = f"name: p\ntarget: {{dataset: lake}}\nwhen: {{age_over: 1d}}\nto: {to}\n"
        (self.place / "policies" / "p.yaml").write_text(policy)
        loaded = load_policies(self.place / "policies", self.settings)
        ratios = {("lake", "csv", "zstd"): 0.01}
        plan = make_plan(self.catalog, self.settings, loaded, self.clock, ratios=ratios)
        money = plan.summary.money
        assert money is not None
        assert (plan.summary.actions, money.unpriced) == (len(self.sizes), 0)
        return plan.id, money

    def done(self, plan_id: int) -> list[LoggedRequest]:
        """The requests about objects from the plan's first to the release of their sources, batches' own aside."""
        policies = load_policies(self.place / "policies", self.settings)
        self.context.ready()
        self.server.clear_log()
        apply_plan(self.context, plan_id, policies)
        assert self.work().done == len(self.sizes)
        self.days(8)
        swept = self.sweep()
        assert swept.sources + swept.blobs == len(self.sizes)
        log = [r for r in self.server.log() if ".csv" in r.key or "/uploads/" in r.key]
        trials = [r for r in log if r.operation == "GetObjectTagging"]
        assert len(trials) <= 1  # for all objects of the root, now and then: see stores/s3/questions.py
        return [r for r in log if r not in trials]


@pytest.fixture
def lake(tmp_path: Path, catalog: Catalog, clock: FakeClock, new_places: NewPlaces) -> Priced:
    place = tmp_path / "world"
    place.mkdir()
    return Priced(place, catalog, clock, new_places)


def billed(requests: list[LoggedRequest]) -> Decimal:
    """USD of these requests by the price list."""
    return sum((_price(r) for r in requests), Decimal(0))


def in_gb(size: int) -> Decimal:
    return Decimal(size) / (1 << 30)


def picodollars(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("1e-12"))


def _price(request: LoggedRequest) -> Decimal:
    prices = _class_of(request.key)
    if request.operation in FREE:
        return Decimal(0)
    assert request.operation in PUTS | GETS, request
    return prices.put if request.operation in PUTS else prices.get


def _class_of(key: str) -> ClassPrices:
    if key.startswith("lake/") or RESERVED in key:
        return STANDARD
    return WARM if key.startswith("warm/") else COLD


@pytest.mark.parametrize("codec", ["identity", "zstd"])
def test_a_move_makes_the_requests_that_its_plan_counts(lake: Priced, codec: str) -> None:
    """GETs by pieces, PUT or parts, and every HEAD until the source is released. What stays as it is its server copies
    by itself, with one request each."""
    lake.fill(noise if codec == "identity" else text)
    plan_id, money = lake.planned(f"{{tier: cold, codec: {codec}}}")
    done = lake.done(plan_id)
    copied = [r for r in done if r.operation == "CopyObject"]
    assert len(copied) == (len(SIZES) if codec == "identity" else 2)
    # Two objects do not shrink, which a plan does not know: the byte of one of them is not read a second time.
    unread = 0 if codec == "identity" else STANDARD.get
    assert billed(done) == money.one_time.requests + money.one_time.proof - unread
    assert codec != "identity" or not {r.operation for r in done} & {"GetObject", "PutObject", "UploadPart"}


@pytest.mark.parametrize(("codec", "content", "size"), [("identity", noise, 7), ("zstd", text, 2_000)])
def test_neighbours_are_looked_at_together_for_less_than_a_plan_counts(
    lake: Priced, codec: str, content: Callable[[str, int], bytes], size: int
) -> None:
    """Two listings in the place of a HEAD of each source and of each copy, or of what was sent."""
    lake.settings = lake.settings.model_copy(
        update={"workers": lake.settings.workers.model_copy(update={"threads": 1})}
    )
    lake.context, lake.sizes = lake.new_context(), [size] * WORTH
    lake.fill(content)
    plan_id, money = lake.planned(f"{{tier: cold, codec: {codec}}}")
    done = lake.done(plan_id)
    saved = WORTH * (STANDARD.get + COLD.get)
    assert billed(done) == money.one_time.requests + money.one_time.proof - saved
    pages = [r for r in lake.server.log() if r.query.get("max-keys") == str(2 * WORTH)]
    assert len(pages) == 2
    assert STANDARD.list_ + COLD.list_ < saved


def test_what_its_user_stored_in_parts_is_counted_as_it_would_be_through_us(lake: Priced) -> None:
    """Of which the store may tell a checksum of all bytes or not: a plan does not ask for each."""
    lake.fill(noise, untold=True)
    plan_id, money = lake.planned("{tier: cold, codec: identity}")
    done = lake.done(plan_id)
    assert [r.key for r in done if r.operation == "CopyObject"] == [
        r.key for r in done if "/0." in r.key and "cold/" in r.key
    ][:1]
    assert billed(done) == money.one_time.requests + money.one_time.proof


def test_a_tier_that_others_credentials_reach_is_counted_as_through_us(lake: Priced) -> None:
    """No plan tries whether they may read there."""
    bucket = lake.settings.buckets[lake.bucket]
    other = {"root": lake.settings.server(f"s3://{lake.bucket}/lake"), "file": lake.settings.server("file:///srv")}
    assert other["file"] is None
    told = lake.settings.model_copy(
        update={"buckets": {"a*": bucket, "b*": bucket.model_copy(update={"profile": "x"})}}
    )
    assert told.server("s3://a1/x") == told.server("s3://a2/y") != told.server("s3://b1/x")


def test_a_blob_of_ours_moves_on_with_fewer_looks(lake: Priced) -> None:
    """It has no metadata of a user to read, and it leaves before its minimum duration."""
    lake.fill(noise)
    lake.done(lake.planned("{tier: warm, codec: identity}")[0])
    lake.days(2)
    plan_id, money = lake.planned("{tier: cold, codec: identity}")
    assert billed(lake.done(plan_id)) == money.one_time.requests + money.one_time.proof
    assert money.one_time.retrieval == picodollars(in_gb(sum(SIZES)) * WARM.retrieval["standard"].per_gb)
    days_left = 30 - 8 - 2 - 7
    billable = in_gb(sum(max(size, WARM.minimum_bytes) for size in SIZES))
    owed = billable * WARM.storage[0].per_gb * days_left / Decimal("30.4375")
    assert money.one_time.early_deletion == picodollars(owed)


OF_PACKS = """\
name: p
target: {{dataset: lake, tier: {tier}}}
when: {{age_over: 1d}}
{where}
to: {{tier: {to}, codec: {codec}}}
rest: 0d
"""


def through(lake: Priced, **policy: str) -> tuple[list[LoggedRequest], PlanMoney]:
    """A policy planned, applied, and done until its sources are released: its requests, batches' own aside, and what
    its plan said that it comes to."""
    (lake.place / "policies" / "p.yaml").write_text(OF_PACKS.format(**{"where": "", **policy}))
    policies = load_policies(lake.place / "policies", lake.settings)
    plan = make_plan(lake.catalog, lake.settings, policies, lake.clock, ratios={("lake", "csv", "pack"): 1.0})
    lake.context.ready()
    lake.server.clear_log()
    apply_plan(lake.context, plan.id, policies)
    assert lake.work().done == plan.summary.actions > 0
    lake.days(8)
    lake.sweep()
    assert plan.summary.money is not None
    told = [r for r in lake.server.log() if r.key.endswith((".csv", ".zst")) or "/uploads/" in r.key]
    return [r for r in told if r.operation != "GetObjectTagging"], plan.summary.money


def test_a_pack_that_moves_is_billed_and_looked_at_once(lake: Priced) -> None:
    """Not each of its members: its least billed size, what is owed of its minimum duration, its grace, and its own few
    requests. While somebody stays in it, it is not deleted, and nothing of it is owed or saved."""
    lake.server.set_time(lake.clock.now_us())
    for number in range(6):
        lake.user.put_object(Bucket=lake.bucket, Key=f"lake/{number}.csv", Body=noise(str(number), 1_500_000))
    lake.days(40)
    lake.scan()
    through(lake, tier="hot", to="warm", codec="pack")
    with lake.catalog.read() as conn:
        stored = conn.exec_driver_sql("SELECT stored_bytes FROM v_packs").scalar_one()
    made, money = through(lake, tier="warm", to="cold", codec="pack", where="where: name < '2'")
    assert money.before.total == money.one_time.early_deletion == money.one_time.grace == Decimal(0)
    assert not [r for r in made if r.operation == "DeleteObject" and r.key.endswith(".zst")]
    assert billed(made) == money.one_time.requests + money.one_time.proof
    assert len([r for r in made if r.operation not in FREE]) == money.requests
    made, money = through(lake, tier="warm", to="cold", codec="pack")
    billable = in_gb(max(stored, WARM.minimum_bytes)) * WARM.storage[0].per_gb
    assert money.before.storage == picodollars(billable)
    assert money.one_time.grace == picodollars(billable * 7 / Decimal("30.4375"))
    assert money.one_time.early_deletion == picodollars(billable * (30 - 8 - 8 - 7) / Decimal("30.4375"))
    assert billed(made) == money.one_time.requests + money.one_time.proof
    assert len([r for r in made if r.operation not in FREE]) == money.requests


def test_a_change_in_place_makes_the_requests_that_its_plan_counts(lake: Priced) -> None:
    """One COPY into the class, and what is looked at before and after it."""
    lake.fill(noise, ChecksumAlgorithm="CRC32C")
    plan_id, money = lake.planned("{tier: warm, in_place: true}")
    lake.context.ready()
    lake.server.clear_log()
    apply_plan(lake.context, plan_id, load_policies(lake.place / "policies", lake.settings))
    assert lake.work().done == len(SIZES)
    cost = Decimal(0)
    for number in range(len(SIZES)):
        requests = [r for r in lake.server.log() if r.key == f"lake/{number}.csv"]
        copied = next(n for n, r in enumerate(requests) if r.operation == "CopyObject")
        cost += billed(requests[:copied]) + WARM.put + len(requests[copied + 1 :]) * WARM.get
    assert cost == money.one_time.transition + money.one_time.proof
    assert money.one_time.transition == len(SIZES) * WARM.put


def test_the_planner_knows_how_much_stores_and_workers_take_at_once() -> None:
    """Its figures are theirs, by another floor of the program."""
    assert (money_of.PIECE, money_of.PART, money_of.PARTS) == (content.PIECE, parts.PART, upload.PARTS)
    assert money_of.LARGEST_COPY == copying.LARGEST
    sizes = (0, 1, money_of.SAMPLED, money_of.SAMPLED + 1, money_of.SAMPLED_LARGE, money_of.SAMPLED_LARGE + 1)
    gets = (0, 1, 1, money_of.SAMPLE_GETS, money_of.SAMPLE_GETS, money_of.SAMPLE_GETS_LARGE)
    assert tuple(sample.gets(size) for size in sizes) == gets
    assert {sample.gets(size) * sample.slice_of(size) for size in sizes[3:]} == {money_of.SAMPLED}
    assert worker.WARM_DAYS == money_of.WARM_DAYS
