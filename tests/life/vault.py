"""A dataset in a bucket whose owner archives things, on a server that keeps restores on their way until told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.items import IntoPack, NewItem, ToTier
from storaged.catalog.placements import Seen
from storaged.catalog.schema_restores import restores
from storaged.clock import DAY
from storaged.config.settings import load_settings
from storaged.model import PACK, CodecSpec, JobKind
from storaged.reader import CatalogReader
from storaged.stores.base import Store
from storaged.stores.s3.session import S3Session
from storaged.testing import FakeClock
from storaged.work import targets
from storaged.work.context import Context
from storaged.work.release.sweep import Swept, sweep
from storaged.work.rewrite.enqueue import Enqueued, enqueue_batches, enqueue_pack
from storaged.work.rewrite.warm import Warming, warm
from storaged.work.rewrite.warming import Refreshed, refresh
from storaged.work.rewrite.worker import Report, Worker
from storaged.work.scan.run import scan
from tests.life.places import Lent


class Vault:
    """A dataset `lake` in a bucket, a tier in DEEP_ARCHIVE there, and a hot tier in a directory."""

    def __init__(self, place: Path, catalog: Catalog, clock: FakeClock, lent: Lent) -> None:
        self.catalog, self.clock, self.moto, self.bucket = catalog, clock, lent.server, lent.name
        self._clients = lent.clients
        self.ahead_us = 0  # of the store's clock before ours
        for name in ("state", "hot"):
            (place / name).mkdir()
        config = place / "storaged.yaml"
        moto, bucket = lent.server, lent.name
        access = f"{{endpoint: {moto.access.endpoint}, region: {moto.access.region}, path_style: true}}"
        config.write_text(
            f"""\
catalog: sqlite:///{place}/catalog.db
state_dir: {place}/state
grace: 7d
tiers:
  hot: {{rank: 0, url: "file://{place}/hot"}}
  deep: {{rank: 1, url: "s3://{bucket}/deep", storage_class: DEEP_ARCHIVE}}
datasets:
  lake: {{root: "s3://{bucket}/lake", readers: storaged}}
buckets:
  {bucket}: {access}
"""
        )
        self.settings = load_settings(config)
        self.user = S3Session(f"s3://{bucket}/lake", moto.access)
        self.context = self.new_context()
        self.reader = CatalogReader(self.context)
        self.later(0)
        self.context.register()

    def new_context(self, wrap: Callable[[Store], Store] = lambda store: store) -> Context:
        return Context(
            self.settings, self.catalog, self.clock, actor="test", wrap=lambda store: wrap(self._shared(store))
        )

    def _shared(self, store: Store) -> Store:
        return self._clients.setdefault(store.url, store) if store.url.startswith("s3://") else store

    def later(self, hours: float) -> None:
        """Time passes, here and at the store."""
        self.clock.advance(hours * 3_600)
        self.moto.set_time(self.clock.now_us() + self.ahead_us)

    def put(self, *names: str, storage_class: str = "GLACIER") -> None:
        """The user's objects, which a rule of the bucket has archived; storaged has seen them."""
        for name in names:
            self.user.call("put_object", Key=f"lake/{name}", Body=content(name), StorageClass=storage_class)
        scan(self.context, "lake")

    def move(self, *names: str, tier: str) -> Report:
        result = Enqueued()
        items = [
            NewItem(h.id, h.version, h.placement.size, ToTier(tier, CodecSpec("zstd", 3), 7 * DAY))
            for h in map(self.seen, names)
        ]
        enqueue_batches(self.context, JobKind.REWRITE, "lake", items, reason="test", result=result)
        return self.work()

    def pack(self, *names: str, tier: str) -> Report:
        result = Enqueued()
        to = IntoPack(tier, CodecSpec(PACK, 3), 7 * DAY)
        items = [NewItem(h.id, h.version, h.placement.size, to) for h in map(self.seen, names)]
        enqueue_pack(self.context, "lake", items, pack="0001", reason="test", result=result)
        return self.work()

    def work(self) -> Report:
        with Worker(self.context, name="worker") as worker:
            return worker.run()

    def sweep(self) -> Swept:
        return sweep(self.context)

    def seen(self, name: str) -> Seen:
        return targets.one(self.context, f"lake/{name}")

    def warm(self, target: str = "lake", *, context: Context | None = None, **options: Any) -> Warming:
        context = context or self.context
        return warm(context, targets.pages(context, target), **{"days": 3, "speed": "Standard", **options})

    def refresh(self) -> Refreshed:
        return refresh(self.context)

    def arrive(self) -> None:
        """What was asked for is there."""
        assert self.moto.finish_restores(self.bucket)

    def read(self, name: str) -> bytes:
        with self.reader.open(f"lake/{name}") as opened:
            return opened.read_at(0, opened.shown.size)

    def rows(self) -> list[Any]:
        with self.catalog.read() as conn:
            return list(conn.execute(sa.select(restores).order_by(restores.c.id)))

    def states(self) -> list[str]:
        return [row.state for row in self.rows()]

    def requests(self) -> int:
        return sum(request.operation == "RestoreObject" for request in self.moto.log())


def content(name: str) -> bytes:
    return f"{name},the same words\n".encode() * 500
