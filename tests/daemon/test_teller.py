"""What a daemon does, read back from its log: objects, jobs and tasks with their reasons."""

from __future__ import annotations

import io
import json
import logging
import os
import random
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import pytest

from storaged.catalog.schema import job_items
from storaged.catalog.suspensions import Suspension
from storaged.codecs import registry
from storaged.codecs.registry import CODECS
from storaged.daemon import events
from storaged.daemon.logs import configure
from storaged.daemon.teller import Teller
from storaged.errors import StoreUnavailable, UsageError
from storaged.testing import Fault, Faults, FaultyStore
from tests.daemon.farm import HOUR, Daemon, Farm
from tests.life.choosy import Choosy


class Log:
    """The lines that a teller wrote since they were last read."""

    def __init__(self, farm: Farm) -> None:
        self._stream = io.StringIO()
        self.teller = Teller(configure("json", self._stream, "debug", farm.clock, {}))

    def read(self, event: str = "") -> list[dict[str, Any]]:
        """Those whose event begins so. All are taken."""
        lines = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        self._stream.seek(0)
        self._stream.truncate()
        return [line for line in lines if line["event"].startswith(event)]


@pytest.fixture
def log(farm: Farm) -> Iterator[Log]:
    before = list(logging.getLogger().handlers)
    yield Log(farm)
    for handler in [h for h in logging.getLogger().handlers if h not in before]:
        logging.getLogger().removeHandler(handler)


@pytest.fixture
def dialect() -> str:
    """What is told is not the database's business."""
    return "sqlite"


def telling(daemon: Daemon, log: Log) -> Daemon:
    """A daemon whose log it is."""
    daemon.tell = log.teller.hear
    return daemon


def night(farm: Farm, log: Log, faults: Faults | None = None) -> Daemon:
    """A daemon to the end of a night in which it moves two objects, or meets faults while it does so."""
    farm.write("a.csv", "b\n<0>forged.csv")
    farm.policy()
    daemon = telling(farm.daemon(wrap=lambda store: FaultyStore(store, faults or Faults())), log)
    daemon.turns()
    farm.clock.advance(2 * HOUR)
    daemon.turns()
    return daemon


def test_every_object_that_is_moved_is_a_line_with_policy_plan_job_and_reason(farm: Farm, log: Log) -> None:
    night(farm, log)
    lines = log.read()
    moved = [line for line in lines if line["event"] == "object moved"]
    assert [line["object"] for line in moved] == ["a.csv", "b\n<0>forged.csv"]
    (job,) = [line for line in lines if line["event"] == "job done"]
    for line in moved:
        assert (line["level"], line["policy"], line["dataset"], line["tier"]) == ("info", "move", "lake", "cold")
        assert line["codec"].startswith("zstd")
        assert line["before_bytes"] == 4_000 > line["after_bytes"] > 0
        assert (line["plan"], line["job"], line["reason"]) == (job["plan"], job["job"], job["reason"])
        assert line["reason"]
    assert (job["done"], job["skipped"], job["failed"], job["before_bytes"]) == (2, 0, 0, 8_000)
    assert job["after_bytes"] == sum(line["after_bytes"] for line in moved)
    assert farm.count(job_items, job_items.c.job_id == job["job"]) == 2
    (started,) = [line for line in lines if line["event"] == "job started"]
    assert (started["job"], started["objects"]) == (job["job"], 2)


def test_tasks_are_told_with_what_came_of_them(farm: Farm, log: Log) -> None:
    night(farm, log)
    lines = log.read("task")
    assert {line["task"] for line in lines} >= {"scan:lake", "plan:move"}
    for task in {line["task"] for line in lines}:
        events = [line["event"] for line in lines if line["task"] == task]
        assert events == ["task started", "task done"] * (len(events) // 2)
    (planned,) = [line for line in lines if line["task"] == "plan:move" and line["event"] == "task done"]
    assert planned["note"]
    assert planned["seconds"] >= 0


def test_an_object_that_fails_is_a_warning_with_the_error_and_whether_it_is_tried_again(farm: Farm, log: Log) -> None:
    away = StoreUnavailable("the line is cut")
    daemon = night(farm, log, Faults(Fault("write", 0, away)))
    failed = log.read("object failed")
    assert {line["event"] for line in failed} == {"object failed, to be tried again"}
    assert {(line["level"], line["note"], line["error"]) for line in failed} == {
        ("warning", "the line is cut", "StoreUnavailable")
    }
    for _ in range(12):
        farm.clock.advance(HOUR)
        daemon.turns()
    last = log.read()
    assert [line["event"] for line in last if line["event"].startswith("object")][-2:] == ["object failed"] * 2
    (ended,) = [line for line in last if line["event"] == "job failed"]
    assert (ended["level"], ended["done"], ended["failed"]) == ("warning", 0, 2)


def test_an_object_that_is_left_alone_is_a_warning_that_says_why(farm: Farm, log: Log) -> None:
    farm.write("a.csv", "b.csv")
    noise = farm.place / "lake/a.csv"
    at = noise.stat().st_mtime
    noise.write_bytes(random.Random(1).randbytes(4_000))
    os.utime(noise, (at, at))
    farm.policy(tier="hot")
    daemon = telling(farm.daemon(), log)
    daemon.turns()
    farm.clock.advance(2 * HOUR)
    daemon.turns()
    lines = log.read()
    (skipped,) = [line for line in lines if line["event"] == "object skipped"]
    assert (skipped["level"], skipped["object"], skipped["policy"]) == ("warning", "a.csv", "move")
    assert skipped["note"] == "it does not shrink: left alone"
    (job,) = [line for line in lines if line["event"] == "job done"]
    assert (job["level"], job["done"], job["skipped"]) == ("info", 1, 1)


def test_an_object_that_moves_as_it_is_says_why_and_is_no_warning(
    farm: Farm, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "CODECS", MappingProxyType({**CODECS, Choosy.name: Choosy()}))
    farm.write("a.csv", "b.csv")
    secret = farm.place / "lake/a.csv"
    at = secret.stat().st_mtime
    secret.write_bytes(b"secret" * 1_000)
    os.utime(secret, (at, at))
    farm.policy()
    daemon = telling(farm.daemon(), log)
    daemon.turns()
    farm.clock.advance(2 * HOUR)
    daemon.turns()
    told = {line["object"]: (line["level"], line["codec"], line.get("note")) for line in log.read("object moved")}
    assert told == {
        "a.csv": ("info", "identity", "stored as it is: it is encrypted"),
        "b.csv": ("info", "zstd", None),
    }


def test_a_policy_that_changes_and_one_that_is_broken_are_told(farm: Farm, log: Log) -> None:
    path = farm.policy()
    daemon = telling(farm.daemon(), log)
    daemon.turns()
    log.read()
    farm.policy(schedule="0 3 * * *")
    assert daemon.reload()
    assert [(line["event"], line.get("policy")) for line in log.read()] == [
        ("configuration loaded", None),
        ("policy changed", "move"),
    ]
    path.write_text(path.read_text() + "sizes: 3\n")
    assert not daemon.reload()
    *problems, kept = log.read()
    assert [(line["level"], line["file"], line["line"]) for line in problems] == [("error", str(path), 7)]
    assert "sizes" in problems[0]["note"] + problems[0]["at"]
    assert kept["event"] == "configuration not loaded, the one before stays"
    path.unlink()
    assert daemon.reload()
    assert log.read("policy") != []


def test_a_suspension_says_who_must_lift_it_or_when_it_is_tried_again(farm: Farm, log: Log) -> None:
    now = farm.clock.now_us()
    log.teller.hear(events.Suspended(Suspension("policy", "move", "too many fail", now, "daemon:x")))
    log.teller.hear(events.Suspended(Suspension("tier", "cold", "no room", now, "daemon:x", retry_us=now, writes=True)))
    log.teller.hear(events.Resumed(Suspension("tier", "cold", "no room", now, "daemon:x", retry_us=now)))
    policy, tier, resumed = log.read()
    assert (policy["level"], policy["policy"], policy["reason"]) == ("warning", "move", "too many fail")
    assert policy["hint"] == "storagectl resume policy:move"
    assert (tier["tier"], tier["only"], tier["retry"]) == ("cold", "writes", "2026-09-22T00:00:00Z")
    assert "hint" not in tier
    assert (resumed["level"], resumed["tier"], resumed["suspended_for"]) == ("info", "cold", "no room")


def test_its_own_life_is_told_from_the_lead_to_what_it_leaves_behind(farm: Farm, log: Log) -> None:
    farm.write("a.csv")
    daemon = telling(farm.daemon(), log)
    daemon.wakes()
    run = daemon.take()
    assert run is not None
    daemon.drain()
    daemon.abandon()
    assert [line["event"] for line in log.read()] == ["leads", "acts", "task started", "draining", "abandoned"]
    log.teller.hear(events.Waits("the journal is away"))
    log.teller.hear(events.Leads(False))
    log.teller.hear(events.ReloadFailed(UsageError("`catalog` has changed", hint="start it again")))
    log.teller.hear(events.Undelivered("ops", "a plan waits", "503", 2, False))
    waits, _, refused, undelivered = log.read()
    assert (undelivered["level"], undelivered["receiver"], undelivered["error"]) == ("warning", "ops", "503")
    assert (waits["level"], waits["note"]) == ("warning", "the journal is away")
    assert (refused["level"], refused["note"], refused["hint"]) == ("error", "`catalog` has changed", "start it again")


def test_a_fault_of_ours_is_told_with_where_it_was(farm: Farm, log: Log) -> None:
    try:
        raise ZeroDivisionError("of ours")
    except ZeroDivisionError as error:
        log.teller.hear(events.Faulted(error))
    (line,) = log.read("fault")
    assert line["level"] == "error"
    assert "test_teller.py" in line["exception"]
