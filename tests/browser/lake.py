"""Catalogs whose pages a browser looks at: one like those that people have, and one with names that mean harm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import sqlalchemy as sa
from prometheus_client import CollectorRegistry

from storaged.catalog import schema, surveys
from storaged.catalog.engine import create_catalog
from storaged.clock import DAY
from storaged.daemon.approving import Approving
from storaged.daemon.web import Web
from storaged.testing.clock import START_US as NOW
from storaged.work.show.survey import BillLine, Cell, MoneySurvey, SavingLine, Survey, as_kept
from tests.watching.scene import insert, seeded
from tests.watching.test_approving import ANN, LOOKS, with_approvers
from tests.watching.test_site import HOSTILE, site_of

DATASETS = {"logs": 900, "events": 610, "images": 420, "tables": 300, "checkpoints": 1300, "exports": 120, "mail": 60}
GB = 10**9


@contextmanager
def served(place: Path, *, hostile: bool) -> Iterator[Web]:
    """The pages over such a catalog, on this machine."""
    place.mkdir()
    with create_catalog(f"sqlite:///{place}/catalog.db") as catalog:
        context = with_approvers(seeded(catalog, place))
        with catalog.begin() as conn:
            _years(conn, {HOSTILE: 5, **DATASETS} if hostile else DATASETS)
            if hostile:
                conn.execute(sa.update(schema.objects).where(schema.objects.c.id == 1).values(name=HOSTILE))
            audit = {"at_us": NOW - DAY, "dataset": "events", "object": "moved", "actor": "daemon:lake-1"}
            insert(conn, schema.audit, kind="swap", job_id=7, plan_id=1, detail='{"to_tier": "cold"}', **audit)
            item = {"version": 1, "identity": "", "size": 10, "stored_bytes": 10, "after_bytes": 4, "tier_id": 2}
            row = {"held": None, "policy": "tidy", "codec": "zstd", "grace_us": 0, "reason": "idle for 90 days"}
            insert(conn, schema.plan_items, plan_id=2, object_id=1, **row, **item)

        def well() -> tuple[bool, str]:
            return True, "ok"

        meters = CollectorRegistry()
        site = site_of(context, approves=True)
        approving = Approving({"ann": ANN}, site, context.clock, others=LOOKS)
        web = Web("127.0.0.1:0", None, healthy=well, ready=well, registry=meters, site=site, approving=approving)
        web.start()
        try:
            yield web
        finally:
            web.stop()


def _years(conn: sa.Connection, datasets: dict[str, int]) -> None:
    """A survey for each of the last twelve months: the bill falls as plans are applied."""
    for ago in reversed(range(12)):
        at_us = NOW - ago * 30 * DAY
        bill, cells = [], []
        for n, (name, size) in enumerate(datasets.items()):
            whole = Decimal(size) * (100 + 6 * ago) / 100
            kept = whole * (4 + ago) / 18
            bill += [
                BillLine(name, "hot", "storage", kept),
                BillLine(name, "cold", "storage", (whole - kept) / 6),
                BillLine(name, "hot", "requests", Decimal(size) / 40),
            ]
            for age, heat, part in ((0, 4, 10), (0, 3, 8), (1, 3, 12), (1, 2, 9), (2, 2, 18), (2, 1, 14), (3, 1, 29)):
                heat_of = 0 if n == 5 else heat
                cells.append(Cell(name, age, heat_of, size * part, size * part * GB // (1 + n % 3)))
        saved = [
            SavingLine(f"2026-{month:02}", "cool-idle-logs", 1 + month % 3, Decimal(9 * month), Decimal(9 * month),
                       Decimal(40 + 11 * month), Decimal(36 + 12 * month), Decimal(30 * (10 - month) * month))
            for month in range(2, 9)
        ]  # fmt: skip
        money = MoneySurvey(at_us, tuple(bill), Decimal("41.20"), 0, ("exports",), tuple(saved))
        surveys.keep(conn, at_us, *as_kept(Survey(money, tuple(cells))))
