"""A world whose stores charge by the kilobyte, so that the dollars of a few small files can be worked out by hand."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import access, datasets, heat_coverage, objects
from storaged.clock import DAY
from storaged.config.settings import load_settings
from storaged.testing import FakeClock
from storaged.work.money.cost import Bill, Group, grouped, line, make_bill
from storaged.work.scan.run import scan
from tests.life import places
from tests.life.world import PLAIN, World, noise

GB = 1024  # bytes, in this book
BOOK = """\
provider: here
title: A store that charges by the kilobyte
gb: 1024
sources: {us: {text: ourselves, date: 2026-11-23}, memory: {text: remembered, date: 2026-11-23}}
regions:
  home:
    source: us
    egress: {internet: 0, regions: 0}
    classes:
      standard:
        storage_class: STANDARD
        storage: [{up_to_gb: 50, per_gb: 0.02}, {per_gb: 0.01}]
        requests: {put: 5, get: 0.4, list: 5, transition_in: 5}
      moving:
        storage_class: MOVING
        storage: [{per_gb: 0.02}]
        requests: {put: 5, get: 0.4, list: 5, transition_in: 10}
        monitoring: {per_1000: 2.5, from_bytes: 2048}
        inner: [{name: seldom, idle_days: 30, per_gb: 0.012}, {name: never, idle_days: 90, per_gb: 0.004}]
      rare:
        storage_class: RARE
        storage: [{per_gb: 0.01}]
        requests: {put: 10, get: 1, list: 5, transition_in: 10}
        retrieval: {standard: {per_gb: 0.03}}
        minimum: {days: 30, bytes: 4096}
        sources: {requests.get: memory}
        unverified: [requests.get]
      deep:
        storage_class: DEEP
        storage: [{per_gb: 0.001}]
        requests: {put: 50, get: 0.4, list: 5, transition_in: 50}
        retrieval: {standard: {per_gb: 0.02, per_1000: 100, hours: 12}}
        minimum: {days: 180}
        overhead: {bytes: 2048, standard_bytes: 1024}
        archived: true
"""
PRICES = {"hot": "here/home/standard", "cold": "here/home/deep"}


class Priced(World):
    """The dataset `lake` of team growth, and `web` of nobody. Tier warm has no prices."""

    def charge(self, prices: dict[str, str]) -> None:
        """From now on these tiers have these prices, and no others have any."""
        file = self.place / "storaged.yaml"
        told = yaml.safe_load(file.read_text())
        for name, tier in told["tiers"].items():
            tier.pop("prices", None)
            tier |= {"prices": prices[name]} if name in prices else {}
        told["datasets"]["lake"] |= {"owner": "ann", "tags": {"team": "growth", "a b": "ü"}}
        told["datasets"]["web"] = {"root": f"file://{self.place}/web", "readers": "storaged"}
        file.write_text(yaml.safe_dump(told))
        self.settings = load_settings(file)
        self.context = self.new_context()

    def fill(self, **kilobytes: int) -> None:
        """The user writes files of so many KiB into the lake, and they are found."""
        for name, size in kilobytes.items():
            self.write(name, noise(name, size * GB))
        self.scan()

    def fill_web(self, name: str, size: int) -> None:
        (self.place / "web").mkdir(exist_ok=True)
        (self.place / "web" / name).write_bytes(noise(name, size * GB))
        self.context.register()
        scan(self.context, "web")

    def move(self, *names: str, tier: str = "cold") -> None:
        assert self.migrate(*names, tier=tier, codec=PLAIN).done == len(names)

    def cover(self, days: float, dataset: str = "lake", *, ended: float = 0) -> None:
        """A log tells of a dataset's reads in the days up to now, or up to so many days ago."""
        end = self.clock.now_us() - round(ended * DAY)
        with self.catalog.begin() as conn:
            found = conn.execute(sa.select(datasets.c.id).where(datasets.c.name == dataset)).scalar_one()
            row = {"source": "log", "dataset_id": found, "from_us": end - round(days * DAY), "until_us": end}
            conn.execute(sa.insert(heat_coverage).values(row))

    def touch(self, name: str, *, reads: int = 0, kilobytes: int = 0, writes: int = 0, ago: int = 1) -> None:
        """What a log told of an object on a day so many days ago."""
        now = self.clock.now_us() - ago * DAY
        with self.catalog.begin() as conn:
            found = conn.execute(sa.select(objects.c.id).where(objects.c.name == name)).scalar_one()
            row = {"day": now // DAY, "reads": reads, "read_bytes": kilobytes * GB, "writes": writes, "last_us": now}
            conn.execute(sa.insert(access).values(object_id=found, **row))
            if reads:
                conn.execute(sa.update(objects).where(objects.c.id == found).values(last_read_us=now))

    def reclass(self, name: str, storage_class: str) -> None:
        """As a scan of a store with such classes would note it."""
        with self.catalog.begin() as conn:
            conn.execute(sa.update(objects).where(objects.c.name == name).values(raw_class=storage_class))

    @property
    def bill(self) -> Bill:
        return make_bill(self.context)

    def costs(self, by: str = "dataset") -> dict[str, Group]:
        """The bill's lines by their names, and all of it as `total`."""
        bill = self.bill
        return {g.name: g for g in [*grouped(bill, by), line("total", bill.parts)]}


def exactly(group: Group, **kinds: str) -> None:
    """That a line of the bill is these dollars by kind, to the picodollar, and nothing else."""
    told = {kind: Decimal(value) for kind, value in group.cost.as_json().items() if Decimal(value) and kind != "total"}
    assert told == {kind: Decimal(value) for kind, value in kinds.items()}


@pytest.fixture
def world(tmp_path: Path, catalog: Catalog, clock: FakeClock) -> Priced:
    place = tmp_path / "world"
    (place / "prices").mkdir(parents=True)
    (place / "prices/here.yaml").write_text(BOOK)
    made = Priced(place, catalog, clock, new_places=places.directories)
    made.charge(PRICES)
    return made
