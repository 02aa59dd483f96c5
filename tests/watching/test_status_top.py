"""`storagectl status` and `storagectl top` tell what goes on, to people and to programs."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog import schema_daemon
from storaged.catalog.engine import open_catalog
from storaged.cli import live as shown
from storaged.cli.table import Table
from storaged.cli.top import _blocks
from storaged.clock import DAY, SystemClock
from storaged.work.context import Context
from storaged.work.show.live import Live, live
from tests.cli.lake import Lake
from tests.cli.test_terminal import Terminal
from tests.watching.scene import HOUR, insert

STATUS_KEYS = {
    "catalog", "tiers", "datasets", "queue", "policies", "grace", "damaged", "saved_bytes", "heat", "restores",
    "leader", "daemons", "tasks", "due_since", "suspended_jobs", "running", "suspensions", "failures", "overwritten",
    "stuck",
}  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake that a daemon works on: it leads, one task is overdue, another daemon does not act."""
    place = tmp_path / "place"
    place.mkdir()
    made = Lake(place).fill("a.csv", "b.csv")
    made.configure(more="daemon: {lease: 1d}\n")
    now = SystemClock().now_us()
    daemon = {"host": "h", "pid": 1, "version": "1", "started_us": now, "seen_us": now + DAY}
    with open_catalog(f"sqlite:///{place}/catalog.db") as catalog, catalog.begin() as conn:
        insert(conn, schema_daemon.daemons, name="h:1:x", state="running", **daemon)
        problem = "the new policy does not hold"
        insert(conn, schema_daemon.daemons, name="h:2:y", state="waiting", problem=problem, **daemon)
        insert(conn, schema_daemon.leases, name="leader", holder="h:1:x", until_us=now + DAY)
        insert(conn, schema_daemon.tasks, name="scan:lake", schedule="0 * * * *", due_us=now - HOUR)
        insert(conn, schema_daemon.tasks, name="sweep", schedule="0 * * * *", due_us=now + 9 * DAY)
    return made


def rows(blocks: Sequence[str | Table], first: str) -> list[list[str | int | None]]:
    """The rows of the table whose first column is called so."""
    [table] = [b for b in blocks if isinstance(b, Table) and b.columns[0] == first]
    return [list(row) for row in table.rows]


def test_status_says_who_leads_what_is_wrong_and_what_is_late(lake: Lake) -> None:
    said = lake.good("status").out
    assert "2 daemons, h:1:x leads" in said
    assert "the new policy does not hold" in said
    assert "scan:lake  overdue" in said
    assert "sweep" not in said  # it is not late
    facts = lake.good("status", "--json").json
    assert set(facts) == STATUS_KEYS
    assert facts["leader"] == "h:1:x"
    assert [t["name"] for t in facts["tasks"]] == ["scan:lake", "sweep"]
    assert 3_600 <= facts["tasks"][0]["overdue_seconds"] < 7_200


def test_status_and_top_name_what_is_suspended_and_why(lake: Lake) -> None:
    assert lake.good("status", "--json").json["suspensions"] == []
    lake.good("suspend", "tier:cold", "--reason", "the array is rebuilt")
    for command in (("status",), ("top", "--once")):
        assert "tier:cold  " in lake.good(*command).out
        assert "the array is rebuilt" in lake.good(*command).out
        [found] = lake.good(*command, "--json").json["suspensions"]
        assert (found["kind"], found["name"], found["tried_again"]) == ("tier", "cold", None)


def test_status_shows_what_policies_wait_for(lake: Lake) -> None:
    lake.good("plan")
    [proposed] = lake.good("status", "--json").json["policies"]
    assert (proposed["policy"], proposed["proposed"], proposed["pending"]) == ("shrink", 2, 0)
    lake.good("apply", "1", "--yes", "--no-wait")
    lake.good("suspend", "policy:shrink")
    facts = lake.good("status", "--json").json
    assert (facts["policies"][0]["proposed"], facts["policies"][0]["pending"]) == (0, 2)
    assert (facts["queue"]["queued"], facts["suspended_jobs"], facts["due_since"]) == (1, 1, None)
    assert "1 queued; 1 job suspended" in lake.good("status").out
    lake.good("resume", "policy:shrink")
    assert "the oldest is due since 20" in lake.good("status").out
    lake.good("work")
    facts = lake.good("status", "--json").json
    assert facts["policies"] == []
    assert facts["saved_bytes"] > 0


def test_without_a_daemon_status_says_so(tmp_path: Path) -> None:
    said = Lake(tmp_path).fill("a.csv").good("status").out
    assert "none runs: recurring tasks and queued jobs wait" in said
    assert "overdue" not in said


def test_top_prints_once_where_nobody_watches(lake: Lake) -> None:
    said = lake.good("top").out
    assert "2 daemons, h:1:x leads" in said
    assert "journal: up to date" in said
    assert "\x1b" not in said
    assert "8 days from now" in said  # and some hours
    facts = lake.good("top", "--json").json
    assert facts["jobs"] == {}
    assert facts["leader"] == "h:1:x"


@pytest.mark.parametrize(
    ("interval", "hint"), [("5", "such as"), ("1ms", "at least"), ("soon", "such as"), ("-1s", "such as")]
)
def test_an_interval_that_is_none_is_a_plain_error(lake: Lake, interval: str, hint: str) -> None:
    answer = lake.ctl("top", f"--interval={interval}")
    assert answer.code == 2
    assert hint in answer.err


def test_looking_changes_nothing(lake: Lake) -> None:
    before = lake.state()
    for command in (("status",), ("top",), ("status", "--json")):
        lake.good(*command)
    assert lake.state() == before


def test_top_shows_what_changes_while_somebody_watches_and_ctrl_c_ends_it_well(lake: Lake) -> None:
    watched = Terminal(lake, "top", "--interval", "100ms", COLUMNS="200", LINES="60")
    watched.wait_for(b"h:1:x leads")
    lake.good("suspend", "dataset:lake", "--reason", "esc \x1b[31m red")
    watched.wait_for(b"dataset:lake")
    lake.good("resume", "dataset:lake")
    watched.process.send_signal(signal.SIGINT)
    code, said = watched.end()
    assert code == 0
    assert "\x1b[31m red" not in said
    assert said.rindex("\x1b[?1049l") > said.rindex("\x1b[?1049h"), "the terminal is as it was"
    assert "Traceback" not in said
    assert "interrupted" not in said


def test_top_ends_with_a_plain_error_when_the_catalog_goes_away(lake: Lake) -> None:
    watched = Terminal(lake, "top", "--interval", "100ms")
    watched.wait_for(b"leads")
    (lake.place / "catalog.db").write_bytes(b"not a database any more" * 1_000)
    code, said = watched.end()
    assert code == 10
    assert "error:" in said
    assert "Traceback" not in said


def test_running_jobs_show_how_far_and_how_fast_they_are(scene: Context) -> None:
    before = live(scene)
    [five, six] = rows(_blocks(before, None), "job")
    assert five[:8] == [5, "rewrite", "events", "shrink", "2/3", "0.0/s", "140 B/210 B", "2 B/s"]
    assert five[-1] == "a:1:x"
    assert six[-1] == "dead (its lease is over)"
    scene.clock.sleep(10)
    detail = '{"jobs": [{"job": 5, "done": 2, "objects": 2, "bytes": 130}]}'
    with scene.catalog.begin() as conn:
        conn.execute(
            sa.update(schema_daemon.daemons).where(schema_daemon.daemons.c.name == "a:1:x").values(detail=detail)
        )
    now = live(scene)
    assert shown.rates(now, before)[5] == (0.1, 7.0)
    assert shown.rates(now, None)[5] == (3 / 70, 3.0)
    assert shown.rates(before, now)[5][0] == 2 / 60, "it was taken up anew: counted since it started"


def test_tables_have_the_newest_first_and_say_when_for_people(scene: Context) -> None:
    blocks = _blocks(live(scene), None)
    assert rows(blocks, "failed")[0] == ["job 7", "an hour ago", "no room is left"]
    assert [row[:3] for row in rows(blocks, "task")] == [
        ["backup", "overdue", "2 hours ago"],
        ["scan:events", "", "an hour from now"],
        ["sweep", "runs", "an hour from now"],
    ]
    assert rows(blocks, "daemon")[2][1] == "silent"
    assert blocks[1] == "jobs: 4 queued, 2 running; 1 job suspended; the oldest is due since 3 hours ago"
    assert blocks[2] == "journal: 2 entries wait"


def test_a_task_that_is_due_this_minute_is_not_called_overdue(scene: Context) -> None:
    scene.clock.sleep(3_600 + 30)
    now: Live = live(scene)
    late = shown.task_table(now, str, only_late=True)
    assert [row[0] for row in late.rows] == ["backup"]
    assert [row[1] for row in shown.task_table(now, str).rows] == ["overdue", "", ""]
