"""What commands and daemons that died left behind: the next command takes it up, or says what leads on."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys

import pytest

from tests.cli.lake import Lake

DIES_BEFORE_IT = """\
import os, signal
from storaged.work.rewrite.worker import Worker

def dies(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

Worker.run = dies
from storaged.cli import main
main()
"""


@pytest.mark.parametrize("asked", [("eject", "lake", "--yes"), ("restage", "lake/2026/01.csv", "--to-root")])
def test_what_was_asked_for_by_a_command_that_died_is_done_when_asked_for_again(
    lake: Lake, asked: tuple[str, ...]
) -> None:
    lake.released()
    killed = subprocess.run([sys.executable, "-c", DIES_BEFORE_IT, "--config", str(lake.config), *asked], check=False)
    assert killed.returncode == -signal.SIGKILL
    [left] = [job for job in lake.good("jobs", "--json").json["jobs"] if job["state"] == "queued"]
    other = lake.ctl("restage", "lake/2026/01.csv", "--tier", "cold")
    assert other.code == 5, "that is not what was asked for"
    assert f"job {left['job']} has it, which `storagectl work` or the daemon runs" in other.err
    queued = lake.good(*asked, "--no-wait", "--json").json
    assert (queued["jobs"], queued["left_out"]) == ([left["job"]], [])
    done = lake.good(*asked, "--json").json
    assert (done["jobs"], done["done"], done["left_out"]) == ([left["job"]], queued["objects"], [])
    assert (lake.root / "2026/01.csv").is_file()


def suspended_by_a_daemon(lake: Lake, kind: str, name: str, *, retry_us: int | None) -> None:
    with sqlite3.connect(lake.place / "catalog.db") as connection:
        connection.execute(
            "INSERT INTO suspensions (kind, name, reason, since_us, actor, retry_us, writes, tries)"
            " VALUES (?, ?, 'is it mounted?', 1, 'daemon:that is gone', ?, 0, 0)",
            (kind, name, retry_us),
        )
    connection.close()


def test_what_a_daemon_that_is_gone_suspended_for_a_while_is_tried_by_whoever_works(lake: Lake) -> None:
    """A tier before work, a dataset by its scan; until then the command says what its objects wait for."""
    lake.released()
    suspended_by_a_daemon(lake, "tier", "cold", retry_us=2)
    suspended_by_a_daemon(lake, "dataset", "lake", retry_us=2)
    waits = lake.ctl("eject", "lake", "--yes")
    assert waits.code == 3
    assert "hint: job 2: what it touches is suspended: `storagectl suspensions`" in waits.err
    assert [s["name"] for s in lake.good("suspensions", "--json").json["suspensions"]] == ["lake"]
    lake.good("scan")
    assert lake.good("suspensions", "--json").json["suspensions"] == []
    assert lake.good("eject", "lake", "--yes", "--json").json["waiting"] == 0
    assert (lake.root / "2026/01.csv").is_file()


def test_what_waits_for_a_person_is_not_resumed_by_a_place_that_is_well(lake: Lake) -> None:
    lake.released()
    suspended_by_a_daemon(lake, "tier", "cold", retry_us=None)
    suspended_by_a_daemon(lake, "dataset", "lake", retry_us=None)
    lake.good("scan")
    lake.good("work")
    assert len(lake.good("suspensions", "--json").json["suspensions"]) == 2


def test_what_waits_in_another_job_is_taken_out_of_it_as_the_message_says(lake: Lake) -> None:
    lake.released()
    lake.good("restage", "lake/2026/01.csv", "--tier", "warm", "--no-wait")
    left = lake.ctl("eject", "lake", "--yes")
    assert left.code == 3
    assert "job 2 has it, which `storagectl work` or the daemon runs; `storagectl job cancel 2` takes it" in left.err
    lake.good("job", "cancel", "2")
    lake.good("eject", "lake", "--yes")
    assert (lake.root / "2026/01.csv").is_file()
