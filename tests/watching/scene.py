"""A catalog in which everything that can be measured is there, and the metrics that come of it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from storaged.catalog import schema, schema_approvals, schema_daemon, schema_surveys, surveys
from storaged.catalog.engine import Catalog
from storaged.catalog.queue import ClaimedJob, ItemOutcome
from storaged.catalog.schema_attempts import attempts
from storaged.catalog.tasks import Run
from storaged.clock import DAY, SECOND
from storaged.config.settings import load_settings
from storaged.daemon import events
from storaged.daemon.jobs import Ran
from storaged.daemon.metrics import Meters
from storaged.decide.money import PlanMoney
from storaged.decide.summary import PolicySummary, Summary, Tally
from storaged.errors import StoragedError
from storaged.model import ItemState, JobKind, JobState
from storaged.prices.amount import Amount
from storaged.testing import FakeClock
from storaged.testing.clock import START_US as NOW
from storaged.work.context import Context
from storaged.work.doctor import FindingKind, Severity
from storaged.work.doctor.examination import KEPT, as_json, gathered
from storaged.work.show.measure import measure
from storaged.work.show.survey import BillLine, Cell, MoneySurvey, PackLine, SavingLine, Survey, as_kept

HOUR = 3_600 * SECOND
CONFIG = """\
catalog: {url}
tiers:
  hot: {{rank: 0, url: "file://{place}/hot"}}
  cold: {{rank: 1, url: "file://{place}/cold", capacity: {{size: 1GiB, high: 90%, low: 80%}}}}
  away: {{rank: 2, url: "file://{place}/nowhere"}}
datasets:
  events: {{root: "file://{place}/events", readers: storaged}}
heat:
  - {{name: nginx, format: jsonl, path: "{place}/*.log"}}
"""


def seeded(catalog: Catalog, place: Path, *, surveyed: bool = True) -> Context:
    """A context on a catalog that holds one of everything, as it is at NOW."""
    for name in ("hot", "cold", "events"):
        (place / name).mkdir()
    config = place / "storaged.yaml"
    config.write_text(CONFIG.format(url=catalog.url, place=place))
    with catalog.begin() as conn:
        _things(conn)
        _jobs(conn)
        _daemons(conn)
        _told(conn)
        if surveyed:
            _surveyed(conn)
            _examined(conn)
    return Context(load_settings(config), catalog, FakeClock(), actor="test")


def insert(conn: sa.Connection, table: sa.Table, **values: Any) -> None:
    conn.execute(table.insert().values(**values))


def _things(conn: sa.Connection) -> None:
    for number, name in enumerate(("hot", "cold", "away"), start=1):
        insert(conn, schema.tiers, id=number, name=name, rank=number, url=f"file:///{name}", storage_class="STANDARD")
    for number, name in ((1, "events"), (2, "forgotten")):
        insert(conn, schema.datasets, id=number, name=name, root="file:///data", tier_id=1, registered_us=NOW - DAY)
    thing = {"dataset_id": 1, "mtime_us": NOW - DAY, "created_us": NOW - DAY}
    kept = {"raw_state": "superseded", "codec": "zstd", "tier_id": 2}
    objects = schema.objects
    insert(conn, objects, id=1, name="raw", size=10, stored_bytes=10, tier_id=1, **thing)
    insert(conn, objects, id=2, name="moved", size=100, stored_bytes=5, raw_until_us=NOW + DAY, **kept, **thing)
    insert(conn, objects, id=9, name="later", size=200, stored_bytes=6, raw_until_us=NOW + 2 * DAY, **kept, **thing)
    insert(conn, objects, id=11, name="gone", size=1000, stored_bytes=0, raw_state="absent", removed_us=NOW, **thing)
    insert(conn, objects, id=12, name="hurt", size=20, stored_bytes=20, tier_id=1, damaged="digest", **thing)
    blob = {"key": "k", "created_us": NOW}
    insert(conn, schema.blobs, id="b1", tier_id=2, state="live", size=5, **blob)
    insert(conn, schema.blobs, id="b2", tier_id=2, state="live", size=6, **blob)
    slice_ = {"object_id": 9, "length": 200, "generation": 1, "state": "current"}
    insert(conn, schema.replicas, blob_id="b2", damaged="digest", **slice_)
    insert(conn, attempts, id="b3", kind="return", state="tombstone", size=7, sign_us=NOW, **blob)
    for source, dataset, until in (("nginx", 1, NOW - HOUR), ("nginx", 2, NOW), ("retired", 1, NOW - 99 * DAY)):
        window = {"from_us": NOW - 100 * DAY, "until_us": until}
        insert(conn, schema.heat_coverage, source=source, dataset_id=dataset, **window)
    for name in ("e1", "e2"):
        insert(conn, schema.outbox, id=name, object_id=1, fact=False, entry="{}")


def _plan(conn: sa.Connection, number: int, state: str, **actions: int) -> None:
    money = PlanMoney(Amount(requests=Decimal(2)), Amount(storage=Decimal(9)), Amount(storage=Decimal(4)))
    parts = tuple(PolicySummary(name, "dry-run", "s", Tally(count), money=money) for name, count in actions.items())
    insert(
        conn, schema.plans, id=number, state=state, made_us=NOW - DAY + number * HOUR, policies=json.dumps([*actions]),
        summary=Summary(parts).to_json(),
    )  # fmt: skip


def _job(conn: sa.Connection, number: int, state: str, items: dict[int, str], **more: Any) -> None:
    row = {"kind": "rewrite", "dataset_id": 1, "reason": "r", "created_us": NOW - 3 * HOUR} | more
    insert(conn, schema.jobs, id=number, state=state, **row)
    for object_id, became in items.items():
        item = {"job_id": number, "object_id": object_id, "version": 1, "codec": "zstd", "grace_us": 0, "tier_id": 2}
        insert(conn, schema.job_items, **item, size=object_id * 10, state=became)


def _jobs(conn: sa.Connection) -> None:
    _plan(conn, 1, "applied", shrink=3, tidy=4)
    _plan(conn, 2, "saved", tidy=7)
    _plan(conn, 3, "saved", idle=0)
    _job(conn, 1, "queued", {1: "pending", 2: "pending"}, policy="shrink", plan_id=1)
    _job(conn, 2, "queued", {3: "pending"}, policy="shrink", plan_id=1, not_before_us=NOW + HOUR)
    _job(conn, 3, "queued", {4: "pending"}, policy="stopped", plan_id=1, created_us=NOW - 9 * HOUR)
    _job(conn, 4, "queued", {5: "pending"}, created_us=NOW - 5 * HOUR, not_before_us=NOW - 1 * HOUR, kind="return")
    running = {"started_us": NOW - 60 * SECOND, "lease": "l", "tries": 1}
    alive = running | {"worker": "a:1:x", "lease_until_us": NOW + SECOND}
    _job(conn, 5, "running", {6: "pending", 7: "pending", 8: "done"}, policy="shrink", plan_id=1, **alive)
    _job(conn, 6, "running", {9: "pending"}, **running, worker="dead", lease_until_us=NOW - SECOND)
    over = {"state": "failed", "error": "no room is left", "policy": "shrink", "plan_id": 1}
    _job(conn, 7, items={10: "failed", 11: "failed", 12: "done"}, finished_us=NOW - HOUR, **over)
    _job(conn, 8, items={10: "failed"}, finished_us=NOW - 2 * DAY, **over)
    _job(conn, 9, "done", {13: "done"}, finished_us=NOW - HOUR)


def _daemons(conn: sa.Connection) -> None:
    daemon = {"host": "a", "pid": 1, "version": "1", "started_us": NOW - DAY}
    at = json.dumps({"jobs": [{"job": 5, "done": 1, "objects": 2, "bytes": 60, "since_us": NOW}], "tasks": ["sweep"]})
    lies = json.dumps({"jobs": [{"job": 6, "done": 1, "objects": 1, "since_us": NOW}]})
    table = schema_daemon.daemons
    insert(conn, table, name="a:1:x", seen_us=NOW - SECOND, state="running", detail=at, **daemon)
    insert(conn, table, name="b:2:y", seen_us=NOW - 2 * SECOND, state="waiting", problem="no journal", **daemon)
    insert(conn, table, name="c:3:z", seen_us=NOW - HOUR, state="running", problem="old", detail=lies, **daemon)
    insert(conn, schema_daemon.leases, name="leader", holder="a:1:x", until_us=NOW + SECOND)
    tasks, runs = schema_daemon.tasks, schema_daemon.runs
    held = {"lease": "l", "lease_until_us": NOW + SECOND}
    insert(conn, tasks, name="backup", schedule="0 5 * * *", due_us=NOW - 2 * HOUR, failures=2)
    insert(conn, tasks, name="scan:events", schedule="0 * * * *", due_us=NOW + HOUR)
    insert(conn, tasks, name="sweep", schedule="45 * * * *", due_us=NOW + HOUR, **held)
    ended = {
        1: ("backup", "done", NOW - 30 * HOUR),
        2: ("backup", "failed", NOW - 5 * HOUR),
        3: ("backup", "abandoned", NOW - 3 * HOUR),
        4: ("scan:events", "done", NOW - HOUR),
        5: ("sweep", "running", None),
    }
    for number, (task, state, finished) in ended.items():
        row = {"task": task, "due_us": 0, "daemon": "a", "state": state, "finished_us": finished}
        started = NOW if finished is None else finished - 60 * SECOND
        insert(conn, runs, id=number, **row, started_us=started, message="it went wrong" if state == "failed" else "")
    for kind, name in (("policy", "stopped"), ("dataset", "elsewhere")):
        stop = {"reason": "too many failed", "since_us": NOW - HOUR, "actor": "daemon"}
        insert(conn, schema_daemon.suspensions, kind=kind, name=name, **stop)


def _told(conn: sa.Connection) -> None:
    """A log that told nothing once, of which one receiver was told."""
    quiet = {"kind": "quiet", "about": "nginx:events", "subject": "quiet", "text": "quiet"}
    insert(conn, schema_surveys.notices, since_us=NOW - 9 * DAY, over_us=NOW - 8 * DAY, **quiet)
    number = conn.execute(sa.select(schema_surveys.notices.c.id)).scalar_one()
    for receiver, state in (("ops", "delivered"), ("chat", "failed")):
        insert(conn, schema_surveys.deliveries, notice_id=number, receiver=receiver, state=state, due_us=NOW - 9 * DAY)


def _surveyed(conn: sa.Connection) -> None:
    """A survey of two hours ago, and of the last day of the month before, when it cost a dollar more."""
    saved = (
        SavingLine("2026-09", "tidy", 2, Decimal(4), Decimal(5), Decimal(8), Decimal(7), Decimal("12.5")),
        SavingLine("2026-10", "tidy", 1, Decimal(1), Decimal(1), Decimal(2), Decimal(2), Decimal("0.5")),
    )
    packs = (PackLine("cold", 2, 500, 1_000, 400),)
    cells = (Cell("events", 0, 1, 3, 36), Cell("events", 3, 4, 1, 5))
    for at_us, usd in ((NOW - 30 * DAY, 4), (NOW - 2 * HOUR, 3)):
        bill = (
            BillLine("events", "cold", "storage", Decimal(usd)),
            BillLine("events", "hot", "requests", Decimal("0.25")),
        )
        money = MoneySurvey(at_us, bill, Decimal("0.1"), 77, ("events",), saved, packs)
        surveys.keep(conn, at_us, *as_kept(Survey(money, cells)))


def _examined(conn: sa.Connection) -> None:
    """Of one kind of finding more than are kept, and of a worse kind one."""
    late = FindingKind("no-backup", Severity.INFO, "No copies are made.", "Add `backup:`.")
    worse = FindingKind("unreadable", Severity.ERROR, "Nothing is known of it.", "Mount it.")
    found = [*(late.found(f"catalog{n}", "none") for n in range(KEPT + 5)), worse.found("tier:away", "it is away")]
    row = {"at_us": NOW - HOUR, "findings": as_json(gathered(found, NOW - HOUR))}
    insert(conn, schema_approvals.examinations, **row)


def busy_meters(context: Context) -> Meters:
    """Meters that have seen one of everything."""
    meters = Meters()
    meters.show(measure(context))
    run = Run(1, "scan:events", NOW, "l", 1)
    meters.hear(events.TaskEnded(run, "done", "", 2.0))
    claimed = ClaimedJob(1, JobKind.REWRITE, "l", "events", "shrink", 1, "r", 1, (), 2)
    outcomes = (
        ItemOutcome(1, "a", ItemState.DONE, before_bytes=100, after_bytes=10),
        ItemOutcome(2, "b", ItemState.FAILED, "full", error="StoreFull"),
        ItemOutcome(3, "c", ItemState.FAILED, "odd"),
    )
    meters.hear(events.JobEnded(Ran(claimed, JobState.FAILED, outcomes, 7.0, ())))
    meters.hear(events.JobEnded(Ran(claimed, None, (), 1.0, ())))
    meters.hear(events.Leads(True))
    meters.hear(events.Waits(None))
    meters.hear(events.Reloaded(()))
    meters.hear(events.ReloadFailed(StoragedError("no")))
    meters.hear(events.Faulted(ValueError()))
    return meters
