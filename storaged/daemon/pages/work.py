"""/tiers, /jobs and /findings: how full tiers are, what goes on, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog.schema import datasets, jobs, objects, replicas
from storaged.catalog.schema_daemon import tasks
from storaged.daemon.pages.view import ROWS, Query, View, WebPage
from storaged.work.doctor.base import Finding
from storaged.work.doctor.examination import Examination, newest
from storaged.work.show.done import of_jobs
from storaged.work.show.live import live

ENDED: Final = ("done", "failed", "cancelled")


def tiers(view: View, _query: Query) -> WebPage:
    measured = view.measured
    rooms = {room.tier: room for room in measured.rooms} if measured else {}
    rows: list[dict[str, Any]] = []
    for tier in sorted(view.context.tiers.values(), key=lambda t: t.rank):
        current = [p for p in (measured.places if measured else ()) if p.tier == tier.name]
        room = rooms.get(tier.name)
        rows.append(
            {
                "tier": tier,
                "objects": sum(p.objects for p in current),
                "stored": sum(p.stored_bytes for p in current),
                "used": room.used_bytes if room else None,
                "capacity": tier.capacity_bytes,
                "high": tier.high_watermark,
                "free": room.free_bytes if room else None,
                "full": room.used_bytes / tier.capacity_bytes if room and tier.capacity_bytes else None,
            }
        )
    return WebPage("tiers.html", "Tiers", {"rows": rows, "measured": measured})


def running(view: View, _query: Query) -> WebPage:
    now = live(view.context)
    query = (
        sa.select(jobs.c.id, jobs.c.kind, jobs.c.state, jobs.c.policy, jobs.c.finished_us, jobs.c.error, jobs.c.reason)
        .add_columns(datasets.c.name.label("dataset"))
        .join(datasets, datasets.c.id == jobs.c.dataset_id)
        .where(jobs.c.finished_us.is_not(None))
        .order_by(jobs.c.finished_us.desc())
        .limit(ROWS // 2)
    )
    with view.context.catalog.read() as conn:
        ended = conn.execute(query).all()
        became = of_jobs(conn, [row.id for row in ended])
    return WebPage("jobs.html", "Jobs", {"live": now, "ended": ended, "became": became})


def findings(view: View, _query: Query) -> WebPage:
    now = live(view.context)
    query = (
        sa.select(datasets.c.name.label("dataset"), objects.c.name, replicas.c.damaged, replicas.c.state)
        .join(objects, objects.c.id == replicas.c.object_id)
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .where(sa.text("replicas.damaged IS NOT NULL"))  # the index's words, that SQLite takes it
        .order_by(replicas.c.object_id)
        .limit(ROWS)
    )
    with view.context.catalog.read() as conn:
        damaged = conn.execute(query).all()
        examined = newest(conn)
        due = conn.execute(sa.select(tasks.c.due_us).where(tasks.c.name == "doctor")).scalar()
    found = list(_told(examined)) if examined else []
    values: dict[str, Any] = {"live": now, "damaged": damaged, "measured": view.measured}
    values |= {"examined": examined, "found": found, "due_us": due}
    return WebPage("findings.html", "Findings", values)


def _told(examined: Examination) -> Iterator[tuple[Finding, bool, int]]:
    """Each finding, whether it is the first of its kind, and after the last one how many more there are."""
    counts = Counter(finding.check for finding in examined.findings)
    seen: Counter[str] = Counter()
    for finding in examined.findings:
        seen[finding.check] += 1
        last = seen[finding.check] == counts[finding.check]
        yield finding, seen[finding.check] == 1, examined.numbers[finding.check] - counts[finding.check] if last else 0
