"""What is measured is what the catalog holds, on both databases."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog import schema, schema_daemon
from storaged.catalog.engine import Catalog
from storaged.clock import DAY, SECOND
from storaged.model import JobState
from storaged.testing.clock import START_US as NOW
from storaged.work.context import Context
from storaged.work.show.live import Failure, live
from storaged.work.show.measure import Backlog, Coverage, Grace, JobCount, Placed, Stored, measure
from tests.watching.scene import HOUR, insert, seeded

PLACES = (Placed("cold", "zstd", 2, 300, 11), Placed("hot", "identity", 2, 30, 30))


def test_objects_are_counted_where_they_are_now_and_those_that_users_removed_nowhere(scene: Context) -> None:
    found = measure(scene)
    assert found.places == PLACES
    assert found.saved_bytes == 289
    assert found.grace == Grace(2, 300, NOW + DAY)
    assert (found.damaged_objects, found.damaged_blobs) == (1, 1)
    assert found.stored == (Stored("", "tombstone", 1, 7), Stored("cold", "live", 2, 11))


def test_of_many_formats_those_with_the_least_content_are_told_together(
    scene: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lake of part.000001 has as many formats as objects, and each would be a series of metrics for ever."""
    thing = {"dataset_id": 1, "tier_id": 1, "stored_bytes": 1, "mtime_us": NOW, "created_us": NOW}
    rows = [{"id": 100 + n, "name": f"part.{n:03}", "format": f"{n:03}", "size": 900 + n, **thing} for n in range(9)]
    with scene.catalog.begin() as conn:
        conn.execute(sa.insert(schema.objects), rows)
    whole = measure(scene).forms
    monkeypatch.setattr("storaged.work.show.measure.FORMATS", 2)
    found = measure(scene).forms
    assert [f.format for f in found] == ["(others)", "(others)", "007", "008"]
    assert len(whole) > len(rows)
    for what in ("objects", "bytes", "stored_bytes"):
        assert sum(getattr(f, what) for f in found) == sum(getattr(f, what) for f in whole)


def test_jobs_are_counted_by_state_and_kind(scene: Context) -> None:
    found = measure(scene)
    assert found.jobs == (
        JobCount("done", "rewrite", 1),
        JobCount("failed", "rewrite", 2),
        JobCount("queued", "return", 1),
        JobCount("queued", "rewrite", 3),
        JobCount("running", "rewrite", 2),
    )
    assert found.live.jobs == {"queued": {"return": 1, "rewrite": 3}, "running": {"rewrite": 2}}
    assert found.live.count(JobState.QUEUED) == 4
    assert found.live.suspended_jobs == 1


@pytest.mark.on_both
def test_a_job_waits_since_it_could_run_and_not_while_it_is_suspended_or_waits_for_a_retry(scene: Context) -> None:
    assert live(scene).due_since_us == NOW - 3 * HOUR  # job 1; job 3 is older and suspended, job 4 was put off
    with scene.catalog.begin() as conn:
        conn.execute(sa.update(schema.jobs).where(schema.jobs.c.id == 1).values(not_before_us=NOW + 1))
    assert live(scene).due_since_us == NOW - HOUR  # job 4
    with scene.catalog.begin() as conn:
        conn.execute(sa.update(schema.jobs).values(not_before_us=NOW + 1))
    assert live(scene).due_since_us is None


def test_a_policys_backlog_is_what_it_has_not_got_and_what_nobody_applied(scene: Context) -> None:
    planned = NOW - DAY + HOUR
    assert measure(scene).backlog == (
        Backlog("", 2, 140, NOW - 5 * HOUR),
        Backlog("shrink", 5, 190, planned, failed=2),
        Backlog("stopped", 1, 40, planned),
        Backlog(
            "tidy",
            proposed=7,
            proposed_us=NOW - DAY + 2 * HOUR,
            proposed_once=Decimal(2),
            proposed_saving=Decimal(5),
            proposed_plan=2,
        ),
    )


def test_coverage_of_what_is_not_configured_any_more_is_marked(scene: Context) -> None:
    since = NOW - 100 * DAY
    assert measure(scene).coverage == (
        Coverage("nginx", "events", since, NOW - HOUR, True),
        Coverage("nginx", "forgotten", since, NOW, False),
        Coverage("retired", "events", since, NOW - 99 * DAY, False),
    )


def test_a_tier_that_is_away_has_no_free_bytes_and_ends_nothing(scene: Context) -> None:
    hot, cold, away = measure(scene).rooms
    assert hot.capacity_bytes is None
    assert cold.capacity_bytes == 1 << 30
    assert hot.free_bytes
    assert (away.tier, away.free_bytes) == ("away", None)


def test_daemons_are_alive_while_their_last_sign_is_young_and_one_leads(scene: Context) -> None:
    found = live(scene)
    assert found.leader == "a:1:x"
    assert [(d.name, d.alive, d.leads, d.problem) for d in found.daemons] == [
        ("a:1:x", True, True, None),
        ("b:2:y", True, False, "no journal"),
        ("c:3:z", False, False, "old"),
    ]


@pytest.mark.parametrize("until", [NOW - 1, NOW + DAY], ids=["over", "longer than any lease: the clock was put back"])
def test_a_lead_whose_lease_is_over_is_nobodys(scene: Context, until: int) -> None:
    with scene.catalog.begin() as conn:
        conn.execute(sa.update(schema_daemon.leases).values(until_us=until))
    assert live(scene).leader is None


def test_tasks_tell_their_last_end_their_last_success_and_how_long_they_are_overdue(scene: Context) -> None:
    backup, scan, sweep = live(scene).tasks
    assert (backup.ended, backup.finished_us, backup.done_us) == ("abandoned", NOW - 3 * HOUR, NOW - 30 * HOUR)
    assert (backup.overdue_us, backup.failures, backup.running) == (2 * HOUR, 2, False)
    assert (scan.ended, scan.overdue_us, scan.done_us) == ("done", 0, NOW - HOUR)
    assert (sweep.ended, sweep.running, sweep.done_us) == (None, True, None)


def test_running_jobs_tell_how_far_they_are_as_their_living_daemons_say(scene: Context) -> None:
    five, six = live(scene).running
    assert (five.job, five.dataset, five.objects, five.done, five.bytes, five.done_bytes) == (
        5,
        "events",
        3,
        2,
        210,
        140,
    )
    assert (six.job, six.done, six.done_bytes) == (6, 0, 0)  # its daemon is dead
    assert (five.lapsed, six.lapsed) == (False, True)


def test_failures_are_of_the_last_day_and_newest_first(scene: Context) -> None:
    assert live(scene).failures == (
        Failure("job 7", NOW - HOUR, "no room is left"),
        Failure("backup", NOW - 3 * HOUR, "abandoned"),
        Failure("backup", NOW - 5 * HOUR, "it went wrong"),
    )


def test_only_the_newest_failures_are_listed(scene: Context) -> None:
    with scene.catalog.begin() as conn:
        row = {"task": "sweep", "due_us": 0, "daemon": "a", "state": "failed", "message": "m"}
        for n in range(30):
            insert(conn, schema_daemon.runs, id=100 + n, **row, started_us=NOW - 60 + n, finished_us=NOW - 60 + n)
    found = live(scene).failures
    assert [f.at_us for f in found] == [NOW - 31 - n for n in range(10)]


def test_an_empty_catalog_measures_as_nothing(catalog: Catalog, tmp_path: Path) -> None:
    context = seeded(catalog, tmp_path)
    with catalog.begin() as conn:
        for table in reversed(schema.metadata.sorted_tables):
            conn.execute(sa.delete(table))
    found = measure(context)
    assert (found.places, found.stored, found.grace, found.saved_bytes) == ((), (), Grace(0, 0, None), 0)
    assert (found.jobs, found.backlog, found.coverage) == ((), (), ())
    now = found.live
    assert (now.leader, now.daemons, now.tasks, now.running, now.due_since_us) == (None, (), (), (), None)


def test_measuring_sees_time_pass(scene: Context) -> None:
    scene.clock.sleep(2 * HOUR / SECOND)
    found = live(scene)
    assert [d.alive for d in found.daemons] == [False, False, False]
    assert found.leader is None
    assert [t.overdue_us for t in found.tasks] == [4 * HOUR, HOUR, HOUR]
    assert measure(scene).at_us == NOW + 2 * HOUR
