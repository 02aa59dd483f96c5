"""Daemons and their tasks, backups, and access logs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog import tasks
from storaged.catalog.engine import Catalog
from storaged.catalog.schema_daemon import daemons
from storaged.clock import DAY, SECOND, iso, to_datetime
from storaged.config.schedules import next_fire
from storaged.model import AccessEvent
from storaged.testing import FakeClock
from storaged.work.context import Context
from storaged.work.doctor import examine, mend
from storaged.work.ingest.reads import Spool, ingest_spool
from storaged.work.ingest.sources import ingest_source
from storaged.work.recover.backup import backup
from tests.doctor.findings import checks, commands, findings, found, names, one_catalog
from tests.life.world import World, text

LEASE = 30 * SECOND
Lives = Callable[..., None]


@pytest.fixture
def lives(world: World) -> Lives:
    """A daemon says that it lives."""

    def say(name: str = "host:1:a", problem: str | None = None) -> None:
        row = {"host": "host", "pid": 1, "version": "1", "state": "running", "problem": problem}
        with world.catalog.begin() as conn:
            tasks.sign_of_life(conn, name, world.clock.now_us(), row)

    return say


def arrange(world: World, **wanted: str) -> None:
    with world.catalog.begin() as conn:
        tasks.arrange(conn, wanted, world.clock.now_us(), next_fire)


def test_work_that_no_daemon_does_is_found(world: World, lives: Lives) -> None:
    world.scan()
    passed = to_datetime(world.clock.now_us() - 2 * DAY)
    arrange(world, sweep="0 * * * *", verify=f"0 4 {passed.day} {passed.month} *")
    lives()
    assert findings(world) == []
    world.clock.advance(3 * 3600)
    assert names(findings(world)) == ["daemon-silent daemon:host:1:a", "no-daemon daemon"]
    lives("host:2:b")
    assert names(findings(world)) == ["daemon-silent daemon:host:1:a", "task-late task:sweep"]
    with world.catalog.begin() as conn:
        tasks.depart(conn, "host:1:a")
        run = tasks.take(conn, "host:2:b", world.clock.now_us(), LEASE, next_fire)
    assert run is not None
    assert findings(world) == []


@one_catalog
def test_a_catalog_without_recurring_work_needs_no_daemon(world: World) -> None:
    world.scan()
    world.days(2)
    assert findings(world) == []


def test_a_daemon_that_is_gone_for_a_day_is_forgotten_and_no_other(world: World, lives: Lives) -> None:
    world.scan()
    lives("old")
    world.days(0.5)
    lives("younger")
    world.days(0.6)
    lives("alive", problem="policies/a.yaml: 2 problems")
    assert names(findings(world)) == [
        "daemon-troubled daemon:alive",
        "daemon-gone daemon:old",
        "daemon-silent daemon:younger",
    ]
    assert mend(world.context).daemons == 1
    assert mend(world.context).daemons == 0
    with world.catalog.read() as conn:
        assert sorted(conn.execute(sa.select(daemons.c.name)).scalars()) == ["alive", "younger"]


@one_catalog
@pytest.mark.parametrize(
    ("task", "command"),
    [
        ("scan:lake", "scan lake"),
        ("plan:it's mine", "plan --policy 'it'\"'\"'s mine'"),
        ("sweep", "sweep --yes"),
        ("backup", "catalog backup"),
        ("retention", "status"),
    ],
)
def test_a_task_that_failed_is_told_with_its_reason_and_its_command(
    world: World, lives: Lives, task: str, command: str
) -> None:
    world.scan()
    lives()
    arrange(world, **{task: "* * * * *"})
    world.clock.advance(61)
    lives()
    with world.catalog.begin() as conn:
        run = tasks.take(conn, "host:1:a", world.clock.now_us(), LEASE, next_fire)
        assert run is not None
        tasks.end(conn, run, "failed", "the root is away", world.clock.now_us())
    failed = found(world, "run-failed")
    assert "failures in a row: 1: the root is away" in failed.says
    assert commands(failed.mend) == [command]
    world.clock.advance(120)
    lives()
    with world.catalog.begin() as conn:
        again = tasks.take(conn, "host:1:a", world.clock.now_us(), LEASE, next_fire)
        assert again is not None
        tasks.end(conn, again, "done", "", world.clock.now_us())
    assert findings(world) == []


@one_catalog
def test_backups_are_told_when_none_is_wanted_or_made_and_when_they_are_late(
    tmp_path: Path, catalog: Catalog, clock: FakeClock
) -> None:
    place = tmp_path / "copied"
    place.mkdir()
    world = World(place, catalog, clock, more="daemon: {backup: {tier: warm}}")
    world.scan()
    assert commands(found(world, "backup-late").mend) == ["catalog backup"]
    backup(world.context, "warm", 7)
    assert [f.check for f in examine(world.context)] == []
    world.days(2.1)
    assert found(world, "backup-late").says.startswith("the newest was made at")
    made = backup(world.context, "warm", 7)
    assert findings(world) == []
    folder = place / "warm/.storaged/backup" / world.context.identity.catalog / made.backup.name
    (folder / "manifest.json").write_text("{}")
    assert checks(world) == ["backup-late", "backup-unreadable"]


@one_catalog
def test_no_backup_is_only_worth_knowing(world: World) -> None:
    world.scan()
    assert [(f.check, f.severity) for f in examine(world.context)] == [("no-backup", "info")]


# -- access logs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def logged(tmp_path: Path, catalog: Catalog, clock: FakeClock) -> World:
    """A scanned world with a log of reads, `reads`."""
    place = tmp_path / "logged"
    place.mkdir()
    world = World(place, catalog, clock, more='heat: [{name: reads, format: jsonl, path: "logs/*"}]')
    (place / "logs").mkdir()
    world.write("a.csv", text("a"))
    world.scan()
    return world


def read_once(world: World) -> None:
    """Somebody reads now, and the log says so."""
    told = {"ts": iso(world.clock.now_us()), "op": "GET", "url": f"{world.places.by_name['lake'].url}/a.csv"}
    with (world.place / "logs/today").open("a") as log:
        log.write(json.dumps(told | {"bytes": 10}) + "\n")


def test_a_log_that_was_never_read_or_not_for_long_is_found_and_ingest_mends_it(logged: World) -> None:
    assert commands(found(logged, "log-unread").mend) == ["ingest reads"]
    read_once(logged)
    logged.clock.advance(2 * 3600)
    ingest_source(logged.context, "reads")
    assert findings(logged) == []
    logged.days(1.1)
    logged.scan()
    stopped = found(logged, "log-stopped")
    assert commands(stopped.mend) == ["ingest reads"]
    ingest_source(logged.context, "reads")
    assert findings(logged) == []


@one_catalog
def test_a_log_in_which_nothing_happens_any_more_is_worth_knowing(logged: World) -> None:
    read_once(logged)
    logged.days(5)
    ingest_source(logged.context, "reads")
    assert findings(logged) == []
    logged.days(3)
    logged.scan()
    ingest_source(logged.context, "reads")
    assert found(logged, "log-silent").severity == "info"
    read_once(logged)
    ingest_source(logged.context, "reads")
    assert findings(logged) == []


@one_catalog
def test_a_log_of_which_too_much_is_malformed_is_told_with_the_reason(logged: World) -> None:
    read_once(logged)
    log = logged.place / "logs/today"
    whole = log.read_text()
    log.write_text(whole + '{"time": 1}\n')
    ingest_source(logged.context, "reads")
    told = found(logged, "log-garbled")
    assert "line 2: it has no `ts`" in told.says
    assert commands(told.mend) == ["ingest reads"]
    log.write_text(whole)
    ingest_source(logged.context, "reads")
    assert "log-garbled" not in str(names(findings(logged)))


@one_catalog
def test_a_log_that_the_configuration_forgot_is_told(logged: World) -> None:
    read_once(logged)
    logged.clock.advance(2 * 3600)
    ingest_source(logged.context, "reads")
    settings = logged.settings.model_copy(update={"heat": []})
    without = Context(settings, logged.catalog, logged.clock, actor="test")
    assert names(findings(logged, context=without)) == ["log-gone log:reads"]


@one_catalog
def test_our_own_spool_is_late_like_any_log(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    spool = Spool(world.settings.state_dir)
    spool.append(AccessEvent("lake", "a.csv", world.clock.now_us(), "read", 10))
    spool.close()
    world.clock.advance(3600)

    def ingest() -> None:
        now_us = world.clock.now_us()
        ingest_spool(world.catalog, world.settings.state_dir, now_us=now_us, half_life_us=30 * DAY)

    ingest()
    assert findings(world) == []
    world.days(1.1)
    assert commands(found(world, "log-stopped").mend) == ["ingest spool"]
    ingest()
    assert findings(world) == []
