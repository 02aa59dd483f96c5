"""What the catalog forgets when it is over, and what it keeps whatever its age."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from storaged.catalog.schema import audit, job_items, jobs, objects, plan_items, plans, scans
from storaged.catalog.schema_approvals import approvals
from storaged.catalog.schema_attempts import attempts
from storaged.catalog.schema_daemon import daemons, runs
from storaged.catalog.schema_restores import restores
from storaged.catalog.schema_surveys import deliveries, notices
from storaged.clock import DAY
from storaged.work.release import retention
from storaged.work.release.retention import Forgotten, forget
from tests.backup.vaults import Vault

OLD, YOUNG = 100, 10  # days, with 90 kept; of audit 400 days are
_JOB = {"kind": "rewrite", "dataset_id": 1, "reason": "", "created_us": 0}


@pytest.fixture
def lake(vault: Vault) -> Vault:
    """With one dataset and nothing to forget."""
    vault.write("a.csv", b"x")
    vault.scan()
    vault.days(1_000)
    assert forget(vault.context) == Forgotten()
    return vault


def _ago(lake: Vault, days: float) -> int:
    return lake.clock.now_us() - round(days * DAY)


def _add(lake: Vault, table: sa.Table, *rows: dict[str, object]) -> list[int]:
    with lake.catalog.begin() as conn:
        key = next(iter(table.primary_key))
        return [conn.execute(sa.insert(table).values(row).returning(key)).scalar_one() for row in rows]


def _left(lake: Vault, table: sa.Table) -> list[int]:
    with lake.catalog.read() as conn:
        key = next(iter(table.primary_key))
        return list(conn.execute(sa.select(key).order_by(key)).scalars())


def _job(lake: Vault, days: float, state: str = "done", **more: object) -> dict[str, object]:
    return {**_JOB, "state": state, "finished_us": _ago(lake, days), **more}


def _items(lake: Vault, job: int, number: int, *, state: str = "done", grace_days: float = 7) -> None:
    item = {"job_id": job, "version": 1, "codec": "zstd", "grace_us": round(grace_days * DAY), "size": 1}
    with lake.catalog.begin() as conn:
        conn.execute(
            sa.insert(job_items), [{**item, "object_id": job * 100 + n, "state": state} for n in range(number)]
        )


def test_ended_jobs_go_with_their_items_and_all_others_stay(lake: Vault) -> None:
    states = ("done", "failed", "cancelled", "queued", "running")
    old = dict(zip(states, _add(lake, jobs, *(_job(lake, OLD, state) for state in states)), strict=True))
    young = _add(lake, jobs, _job(lake, YOUNG))
    for job in (*old.values(), *young):
        _items(lake, job, 3)
    assert forget(lake.context).jobs == 3
    kept = [old["queued"], old["running"], *young]
    assert _left(lake, jobs) == kept
    with lake.catalog.read() as conn:
        assert (
            conn.execute(sa.select(job_items.c.job_id).distinct().order_by(job_items.c.job_id)).scalars().all() == kept
        )


def test_a_job_stays_while_its_blobs_are_made_or_undo_may_need_it(lake: Vault) -> None:
    making, in_grace, failed, over, _newest = _add(lake, jobs, *[_job(lake, OLD)] * 5)
    attempt = {"id": "b" * 32, "tier_id": 1, "key": "k", "kind": "blob", "created_us": 0, "sign_us": 0}
    dead = {**attempt, "id": "c" * 32, "state": "tombstone", "job_id": over}
    _add(lake, attempts, {**attempt, "state": "staged", "job_id": making}, dead)
    _items(lake, in_grace, 1, grace_days=OLD + 1)
    _items(lake, failed, 1, grace_days=OLD + 1, state="failed")
    _items(lake, over, 1, grace_days=OLD - 1)
    assert forget(lake.context).jobs == 2
    assert set(_left(lake, jobs)) == {making, in_grace, _newest}


def test_the_number_of_what_was_forgotten_is_given_to_nothing_else(lake: Vault) -> None:
    before = _add(lake, jobs, *[_job(lake, OLD)] * 3)
    forget(lake.context)
    assert _left(lake, jobs) == before[-1:]
    assert _add(lake, jobs, _job(lake, 0))[0] > before[-1]


def _plan(lake: Vault, days: float, state: str) -> dict[str, object]:
    return {"state": state, "made_us": _ago(lake, days), "policies": "[]"}


def test_plans_go_with_their_rows_unless_a_job_came_from_them(lake: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "ROWS", 2)
    states = ("saved", "applied", "discarded")
    old = _add(lake, plans, *(_plan(lake, OLD, state) for state in states))
    of_live, of_kept, of_old, draft, young = _add(
        lake, plans, *[_plan(lake, OLD, "applied")] * 3, _plan(lake, OLD, "draft"), _plan(lake, YOUNG, "saved")
    )
    _add(
        lake,
        jobs,
        _job(lake, OLD, "queued", plan_id=of_live),
        _job(lake, YOUNG, plan_id=of_kept),
        _job(lake, OLD, plan_id=of_old),
        _job(lake, 0),
    )
    item = {"policy": "p", "version": 1, "identity": "", "size": 1, "stored_bytes": 1, "after_bytes": 1, "tier_id": 1}
    item |= {"codec": "zstd", "grace_us": 1, "reason": ""}
    everyone = [*old, of_live, of_kept, of_old, draft, young]
    with lake.catalog.begin() as conn:
        rows = [{**item, "plan_id": plan, "object_id": n} for plan in everyone for n in range(5)]
        conn.execute(sa.insert(plan_items), rows)
    assert forget(lake.context).plans == 4
    kept = [of_live, of_kept, draft, young]
    assert _left(lake, plans) == kept
    with lake.catalog.read() as conn:
        counts = conn.execute(sa.select(plan_items.c.plan_id, sa.func.count()).group_by(plan_items.c.plan_id)).all()
        states_left = conn.execute(sa.select(plans.c.state).order_by(plans.c.id)).scalars().all()
    assert sorted(map(tuple, counts)) == [(plan, 5) for plan in kept]
    assert states_left == ["applied", "applied", "draft", "saved"], "what stays is as it was"


def test_runs_go_except_the_newest_of_each_task_and_what_is_under_way(lake: Vault) -> None:
    def run(task: str, days: float, state: str = "done") -> dict[str, object]:
        finished = None if state == "running" else _ago(lake, days)
        row = {"task": task, "due_us": 0, "started_us": _ago(lake, days), "daemon": "d", "state": state}
        return {**row, "finished_us": finished}

    rows = [run("sweep", OLD), run("backup", OLD), run("sweep", OLD, "failed"), run("sweep", OLD, "running")]
    ids = _add(lake, runs, *rows, run("backup", OLD + 1), run("sweep", YOUNG))
    assert forget(lake.context).runs == 3
    assert _left(lake, runs) == [ids[3], ids[4], ids[5]]


def test_scans_go_except_the_newest_finished_of_each_dataset_and_unfinished_ones(lake: Vault) -> None:
    begun = {"dataset_id": 1, "started_us": 0}
    first = _left(lake, scans)  # of the fixture, a thousand days ago
    rows = [{**begun, "finished_us": _ago(lake, OLD)}, begun, {**begun, "finished_us": _ago(lake, OLD)}, begun]
    ids = _add(lake, scans, *rows)
    assert forget(lake.context).scans == len(first) + 1
    assert _left(lake, scans) == ids[1:]
    assert lake.scan().unchanged == 1


def test_audit_goes_after_its_own_time(lake: Vault) -> None:
    with lake.catalog.begin() as conn:
        conn.execute(sa.delete(audit))
    row = {"kind": "swap", "actor": "a"}
    ids = _add(lake, audit, *({**row, "at_us": _ago(lake, days)} for days in (500, 401, 399, OLD)))
    assert forget(lake.context).audit == 2
    assert _left(lake, audit) == ids[2:]


def test_restores_go_when_they_ended_long_ago(lake: Vault) -> None:
    def asked(state: str, days: float, looked: float | None = None, number: int = 1) -> dict[str, object]:
        row = {"object_id": number, "identity": "i", "state": state, "speed": "Bulk", "days": 1, "actor": "a"}
        looked_us = None if looked is None else _ago(lake, looked)
        return {**row, "asked_us": _ago(lake, days), "expected_us": 0, "looked_us": looked_us}

    rows = [asked("expired", OLD), asked("failed", OLD), asked("expired", OLD, YOUNG), asked("readable", OLD)]
    ids = _add(lake, restores, *rows, asked("warming", OLD, number=2))
    assert forget(lake.context).restores == 2
    assert _left(lake, restores) == ids[2:]


def test_daemons_that_died_are_forgotten_after_a_day(lake: Vault) -> None:
    row = {"host": "h", "pid": 1, "version": "1", "started_us": 0, "state": "running"}
    _add(
        lake,
        daemons,
        {**row, "name": "dead", "seen_us": _ago(lake, 1.1)},
        {**row, "name": "alive", "seen_us": _ago(lake, 0.9)},
    )
    assert forget(lake.context).daemons == 1
    assert _left(lake, daemons) == ["alive"]


def test_a_dry_run_counts_the_same_and_deletes_nothing(lake: Vault) -> None:
    old = _add(lake, plans, _plan(lake, OLD, "saved"), *[_plan(lake, OLD, "applied")] * 2)
    young = _add(lake, plans, _plan(lake, YOUNG, "saved"))
    queued = _job(lake, 0, "queued", plan_id=old[2], finished_us=None)
    _add(lake, jobs, *[_job(lake, OLD, plan_id=old[1])] * 25, queued, _job(lake, YOUNG))

    def rows() -> list[object]:
        with lake.catalog.read() as conn:
            return [conn.execute(sa.select(table)).all() for table in objects.metadata.sorted_tables]

    before = rows()
    told = forget(lake.context, dry_run=True)
    assert rows() == before
    assert (told.jobs, told.plans) == (25, 2)
    assert str(told) == "forgotten: jobs 25, plans 2"
    assert forget(lake.context) == told
    assert _left(lake, plans) == [old[2], *young]


def test_no_transaction_is_large_and_other_writers_get_in_between(lake: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "ROWS", 10)
    row = {"kind": "swap", "actor": "a", "at_us": _ago(lake, 500)}
    with lake.catalog.begin() as conn:
        conn.execute(sa.delete(audit))
        conn.execute(sa.insert(audit), [row] * 35)
    counted: list[int] = []
    sa.event.listen(lake.catalog.engine, "commit", lambda _conn: counted.append(1))
    assert forget(lake.context).audit == 34
    assert len(counted) >= 5
    assert str(forget(lake.context)) == "nothing is old enough to be forgotten"


def test_what_was_released_reads_on_after_its_job_is_forgotten(vault: Vault) -> None:
    vault.write("a.csv", b"words " * 5_000)
    vault.write("b.csv", b"words " * 6_000)
    vault.scan()
    vault.migrate("a.csv")
    vault.migrate("b.csv")
    vault.days(8)
    vault.sweep()
    vault.days(500)
    vault.scan()
    assert forget(vault.context).jobs == 1
    assert forget(vault.context) == Forgotten()
    assert vault.read("a.csv") == b"words " * 5_000
    assert vault.eject().done == 2
    assert vault.raw("a.csv") == b"words " * 5_000


def test_notices_go_when_they_were_over_long_ago_with_what_became_of_them(lake: Vault) -> None:
    notice = {"kind": "plan", "about": "a", "subject": "", "text": "", "since_us": 0}
    over = [_ago(lake, OLD), _ago(lake, YOUNG), None]
    ids = _add(lake, notices, *({**notice, "over_us": at} for at in over))
    _add(lake, deliveries, *({"notice_id": number, "receiver": "ops", "due_us": 0} for number in ids))
    assert forget(lake.context).notices == 1
    assert _left(lake, notices) == _left(lake, deliveries) == ids[1:]


def test_what_was_said_of_a_plan_goes_after_it(lake: Vault) -> None:
    said = {"verb": "apply", "hash": "", "approver": "ann", "asked_us": 0}
    there, newest = _add(lake, plans, *[_plan(lake, YOUNG, "applied")] * 2)
    over = {"state": "done", "ended_us": _ago(lake, OLD)}
    _add(lake, approvals, *({"plan_id": number, **said, **over} for number in (there, newest + 1, newest + 2)))
    _add(lake, approvals, {"plan_id": newest + 3, **said})
    assert forget(lake.context).approvals == 2
    assert _left(lake, approvals) == [there, newest + 3]
