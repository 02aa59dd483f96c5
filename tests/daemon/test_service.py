"""The daemon as a process: starting, being watched, reloading, and every way of stopping."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import closing

import pytest

from storaged.catalog.schema import blobs, jobs
from storaged.catalog.schema_attempts import attempts
from storaged.catalog.schema_daemon import daemons, leases
from storaged.daemon.pages.site import PAGES
from storaged.errors import CatalogLocked
from storaged.model import JobState
from storaged.reader import open_reader
from tests.daemon.farm import HOUR
from tests.daemon.processes import Process, wait_for
from tests.daemon.site import Site

pytestmark = pytest.mark.timeout(1_200)


def test_a_second_daemon_on_sqlite_is_refused_with_a_clear_word(site: Site) -> None:
    first = site.ready(site.start())
    code, said = site.ctl("run")
    assert code == CatalogLocked.exit_code == 11
    assert "another daemon works with the catalog" in said
    assert f"process {first.pid}" in said
    assert first.stops() == 0
    assert site.ready(site.start()).stops() == 0, "the lock ended with its process"


def test_a_daemon_that_was_killed_leaves_no_lock_and_its_lead_lapses(site: Site) -> None:
    site.ready(site.start()).dies()
    second = site.ready(site.start())
    second.hears("leads")
    assert second.stops() == 0


def test_a_daemon_is_watched_by_pages_and_people_work_beside_it(site: Site) -> None:
    site.write("a.csv")
    daemon = site.ready(site.start())
    assert daemon.get("/healthz") == (200, "ok\n")
    assert daemon.get("/readyz") == (200, "ready\n")
    assert daemon.get("/nothing")[0] == 404
    daemon.hears("task done", task="scan:lake")
    wait_for(lambda: daemon.metric("storaged_leads") == 1.0, "it leads, say the metrics")
    code, told = site.ctl("status", "--json")
    assert code == 0
    assert str(daemon.pid) in told
    assert site.ctl("scan", "lake")[0] == 0
    assert "a.csv" in site.ctl("ls", "lake")[1]
    site.policy(schedule="0 2 * * *")
    code, told = site.ctl("plan", "--json")
    assert code == 0
    assert site.ctl("apply", str(json.loads(told)["plan"]), "--yes")[0] in (0, 3)
    wait_for(lambda: site.moved() == 1, "a plan that a person applied is carried out")
    status, page = daemon.get("/object?name=lake/a.csv")
    assert (status, "<td>swap</td>" in page) == (200, True)
    assert [daemon.get(path)[0] for path in PAGES if path != "/objects"] == [200] * (len(PAGES) - 1)
    assert daemon.stops() == 0
    assert site.count(daemons) == site.count(leases) == 0, "it leaves in good order"


def test_policies_are_loaded_anew_when_their_files_change_and_on_sighup(site: Site) -> None:
    daemon = site.ready(site.start())
    site.policy("one")
    daemon.hears("configuration loaded")
    wait_for(lambda: "plan:one" in site.tasks(), "the new policy has a task")
    before = len(daemon.said("configuration loaded"))
    daemon.signal(signal.SIGHUP)
    daemon.hears("configuration loaded", times=before + 1)
    assert daemon.stops() == 0


def test_a_broken_edit_is_said_everywhere_and_what_was_there_before_stays(site: Site) -> None:
    path = site.policy("one")
    good = path.read_text()
    daemon = site.ready(site.start())
    path.write_text(good.replace("cold", "nowhere"))
    line = daemon.hears("problem in the configuration")
    assert line["file"] == str(path)
    assert "nowhere" in line["note"]
    daemon.hears("configuration not loaded, the one before stays")
    wait_for(lambda: daemon.metric("storaged_config_valid") == 0.0, daemon.get("/metrics")[1])
    wait_for(lambda: "nowhere" in site.ctl("status")[1], "status says so")
    assert "plan:one" in site.tasks()
    path.write_text(good)
    daemon.hears("configuration loaded")
    wait_for(lambda: daemon.metric("storaged_config_valid") == 1.0, "metrics say that it is well")
    assert daemon.stops() == 0


SLOW = ", budget: {bytes_per_second: 250KiB}"  # some ten seconds for a job
ENDLESS = ", budget: {bytes_per_second: 8KiB}"  # some five minutes


def in_mid_job(site: Site, *, cold: str = SLOW, **more: str) -> Process:
    """A daemon that is at a job which takes it a while."""
    site.configure(cold=cold, **more)
    for n in range(4):
        (site.place / f"lake/{n}.bin").write_bytes(os.urandom(600_000))
        os.utime(site.place / f"lake/{n}.bin", (1, 1))
    site.policy()
    daemon = site.ready(site.steered())
    daemon.hears("task done", task="scan:lake")
    site.steering.advance(2 * HOUR)
    daemon.hears("job started")
    return daemon


def test_sigterm_waits_for_what_runs(site: Site) -> None:
    daemon = in_mid_job(site)
    daemon.signal(signal.SIGTERM)
    daemon.hears("draining")
    wait_for(lambda: daemon.get("/readyz")[0] == 503, "it is not ready any more")
    assert daemon.ends() == 0
    assert daemon.said("stopped")
    assert daemon.said("job done")
    assert site.count(jobs, jobs.c.state == JobState.DONE.value) == 1
    assert site.moved() == 4
    assert site.leftovers() == []
    assert site.count(daemons) == 0


@pytest.mark.parametrize("how", ["twice", "after its bound"])
def test_what_a_stop_does_not_wait_for_is_given_back_and_nothing_is_left_half(site: Site, how: str) -> None:
    daemon = in_mid_job(site, cold=ENDLESS, daemon="" if how == "twice" else "drain: 1s\n")
    daemon.signal(signal.SIGTERM)
    daemon.hears("draining")
    if how == "twice":
        daemon.signal(signal.SIGTERM)
    assert daemon.ends() == 0
    daemon.hears("abandoned")
    assert daemon.said("job done") == []
    assert (site.count(jobs, jobs.c.state == JobState.QUEUED.value), site.moved()) == (1, 0)
    assert site.count(attempts, attempts.c.state == "staged") == 0
    site.configure()
    second = site.ready(site.steered())
    second.hears("job done")
    assert site.moved() == 4
    for _ in range(3):
        before = len(second.said("task done", task="sweep"))
        site.steering.advance(2 * HOUR)
        second.hears("task done", task="sweep", times=before + 1)
    assert second.stops() == 0
    assert site.leftovers() == []
    assert site.count(blobs, blobs.c.state != "live") == site.count(attempts) == 0


def test_what_is_just_being_counted_is_waited_for(site: Site) -> None:
    """A thread that still counts reads when Python ends cannot start what it needs."""
    site.write("a.csv")
    site.ctl("scan", "lake")
    slow = site.steering.place / "slow-spool"
    slow.touch()
    daemon = site.ready(site.steered())
    with closing(open_reader(site.config)) as reader, reader.open("lake/a.csv") as content:
        content.read_at(0, 1)
    wait_for((site.steering.place / "waits").exists, "it counts what was read")
    daemon.signal(signal.SIGTERM)
    daemon.hears("draining")
    time.sleep(2)  # in which it would have come to its end
    assert daemon.said("stopped") == []
    slow.unlink()
    assert daemon.ends() == 0
    assert daemon.said("fault in storaged") == []
    assert daemon.said("stopped", left_behind=False)
