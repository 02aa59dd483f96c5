"""A farm whose hot and cold tiers have prices that can be reckoned in the head: a GB of its book is 1,000 bytes.

A file of 4,000 bytes costs $4 a month in hot and $1 in cold, and reading it whole from cold costs $2. What a move costs
once is set by hand here (`SPEND`): how plans come to it is told by tests of plans.
"""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from pathlib import Path

import sqlalchemy as sa

from storaged.catalog import ledger as charged
from storaged.catalog.engine import Catalog
from storaged.catalog.placements import find
from storaged.catalog.schema import job_items, plan_items, plans
from storaged.catalog.schema_money import charges, ledger, ledger_items
from storaged.clock import SECOND, Clock
from storaged.decide.money import PlanMoney
from storaged.decide.summary import Summary
from storaged.prices.amount import Amount
from storaged.work.context import Context
from storaged.work.ingest.sources import ingest_source
from storaged.work.money.savings import AppliedPart, savings
from storaged.work.plan.make import make_plan
from storaged.work.rewrite.apply import apply_plan
from storaged.work.rewrite.enqueue import Enqueued
from storaged.work.rewrite.worker import Report, Worker
from storaged.work.scan.run import scan
from tests.daemon.farm import Farm, Sundial

USD = 10**12  # picodollars
SPEND = 2 * USD
SIZE = 4_000
BOOK = """\
provider: own
title: "round figures"
gb: 1000
sources:
  made: {text: "made for tests", date: 2026-11-23}
regions:
  here:
    source: made
    egress: {internet: 0, regions: 0}
    classes:
      hot:
        storage_class: STANDARD
        storage: [{per_gb: 1}]
        requests: {put: 0, get: 0, list: 0, transition_in: 0}
      cold:
        storage_class: STANDARD
        storage: [{per_gb: 0.25}]
        requests: {put: PUT, get: 0, list: 0, transition_in: 0}
        retrieval: {standard: {per_gb: 0.5}}
"""
POLICY = """\
name: {name}
target: {{dataset: lake, tier: hot}}
when: {{size_over: 1}}
to: {{tier: {tier}}}
schedule: "0 2 * * *"
mode: active
"""


class Mint(Farm):
    """See above. `limits`: lines for the top of storaged.yaml. `put`: USD for a thousand PUTs to the cold tier."""

    def __init__(
        self, place: Path, catalog: Catalog, clock: Sundial, *, limits: str = "", prices: bool = True, put: int = 0
    ) -> None:
        self.limits = limits
        self.priced = prices
        for name in ("prices", "logs", "state"):
            (place / name).mkdir()
        (place / "prices/own.yaml").write_text(BOOK.replace("PUT", str(put)))
        super().__init__(place, catalog, clock)
        self.policy()

    def configure(self, **options: str) -> None:
        heat = 'heat:\n  - {name: reads, format: jsonl, path: "logs/*.jsonl", lag: 0s, since: 2026-09-01T00:00:00Z}\n'
        super().configure(**{"grace": "30d", "more": heat, **options})
        text = self.config.read_text()
        for tier in ("hot", "cold"):
            if self.priced:
                text = text.replace(f'/{tier}"}}', f'/{tier}", prices: own/here/{tier}}}')
        text = text.replace("workers: {threads: 2,", "workers: {threads: 2, batch_objects: 2,")
        self.config.write_text(f"{self.limits}\n{text}")

    def policy(self, name: str = "move", *, tier: str = "cold", more: str = "", **_options: str) -> Path:
        path = self.place / f"policies/{name}.yaml"
        path.write_text(POLICY.format(name=name, tier=tier) + more)
        return path

    # -- what storaged does --------------------------------------------------------------------------------------------

    def fill(self, *names: str) -> None:
        """Files of SIZE bytes that the catalog knows."""
        self.write(*names, size=SIZE)
        context = self.context()
        context.register()
        scan(context, "lake")

    def plan(self, *names: str, spend: int | None = SPEND) -> int:
        """A saved plan of the policy `move`, of these objects (none: all it takes); `spend` each."""
        settings, policies = self.load()
        plan = make_plan(self.catalog, settings, policies, self.clock, only=["move"])
        with self.catalog.begin() as conn:
            mine = plan_items.c.plan_id == plan.id
            if names:
                wanted = [self.object_id(conn, name) for name in names]
                conn.execute(sa.delete(plan_items).where(mine, plan_items.c.object_id.not_in(wanted)))
            conn.execute(sa.update(plan_items).where(mine).values(spend=spend))
            count = conn.execute(sa.select(sa.func.count()).select_from(plan_items).where(mine)).scalar_one()
            (part,) = plan.summary.policies
            money = None if spend is None else expected(count, spend)
            summary = Summary((dataclasses.replace(part, money=money),)).to_json()
            conn.execute(sa.update(plans).where(plans.c.id == plan.id).values(summary=summary))
        return plan.id

    def object_id(self, conn: sa.Connection, name: str) -> int:
        found = find(conn, "lake", name)
        assert found is not None, name
        return found.id

    def apply(self, plan: int, *, catalog: Catalog | None = None, clock: Clock | None = None) -> Enqueued:
        settings, policies = self.load()
        context = Context(settings, catalog or self.catalog, clock or self.clock, actor="test")
        return apply_plan(context, plan, policies)

    def work(self) -> Report:
        with Worker(self.context(), name="worker") as worker:
            return worker.run()

    def die(self) -> None:
        """A worker takes the next job and is never heard of again; its lease lapses."""
        with Worker(self.context(), name="dies") as worker:
            assert worker.claim() is not None
        self.clock.advance(31)

    def savings(self, plan: int | None = None) -> list[AppliedPart]:
        return savings(self.context(), plan=plan)

    def days(self, n: float) -> None:
        self.clock.advance(n * 86_400)

    def log(self, *lines: dict[str, object]) -> None:
        """Reads of the lake, which the catalog hears of."""
        path = self.place / f"logs/{len(list((self.place / 'logs').iterdir()))}.jsonl"
        path.write_text("".join(json.dumps({"dataset": "lake", "op": "read", **line}) + "\n" for line in lines))
        report = ingest_source(self.context(), "reads")
        assert report.problems == []

    def now_s(self) -> float:
        return self.clock.now_us() / SECOND

    # -- what the ledger says ------------------------------------------------------------------------------------------

    def charges(self) -> list[tuple[str, str, int]]:
        """(kind, month, dollars) of every charge, oldest first."""
        with self.catalog.read() as conn:
            rows = conn.execute(sa.select(charges).order_by(charges.c.id)).all()
        assert all(row.amount % USD == 0 for row in rows)
        return [(row.kind, row.month, row.amount // USD) for row in rows]

    def spent(self, month: str = "2026-09", policy: str | None = None) -> int:
        with self.catalog.read() as conn:
            return charged.spent(conn, month, policy) // USD

    def conserved(self, *, over: bool = False) -> None:
        """What every settled part is charged is what its objects are charged for; `over`: and were tried."""
        with self.catalog.read() as conn:
            for part in conn.execute(sa.select(ledger).where(ledger.c.settled_us.is_not(None))).all():
                mine = [table.c.plan_id == part.plan_id for table in (charges, ledger_items)]
                items = conn.execute(sa.select(ledger_items).where(mine[1])).all()
                total = charged.total(conn, charges.c.amount, mine[0])
                assert total == sum(i.spend * i.charged for i in items)
                assert all(i.charged >= i.tries for i in items)
                if over:
                    assert all(i.charged == i.tries for i in items)

    def items(self) -> dict[str, int]:
        """How many items of jobs are in which state."""
        with self.catalog.read() as conn:
            counted = sa.select(job_items.c.state, sa.func.count().label("number")).group_by(job_items.c.state)
            return {row.state: row.number for row in conn.execute(counted)}


def expected(objects: int, spend: int) -> PlanMoney:
    """Of so many files that go from hot to cold without being read."""
    return PlanMoney(
        Amount(requests=Decimal(objects * spend) / USD),
        Amount(storage=Decimal(4 * objects)),
        Amount(storage=Decimal(objects)),
    )


def names(n: int) -> list[str]:
    """Of so many files."""
    return [f"{i}.csv" for i in range(n)]
