"""What happens to a daemon's machine: no room, no file descriptors, a database that goes away, an editor gone mad."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storaged.catalog.schema import job_items, jobs
from storaged.config.settings import load_settings
from storaged.decide.load import load_policies
from storaged.model import ItemState, JobState
from tests.daemon.farm import HOUR, content
from tests.daemon.processes import Process, wait_for
from tests.daemon.site import Site
from tests.postgres import PostgresServer

pytestmark = pytest.mark.timeout(1_200)
NAMES = tuple(f"{n}.csv" for n in range(20))


def all_moved(site: Site) -> bool:
    return site.moved() == len(NAMES)


def reads_well(site: Site) -> None:
    """Every file is there, and nothing failed or was left behind."""
    for name in NAMES:
        assert site.read(name) == content(name)
    assert site.count(job_items, job_items.c.state == ItemState.FAILED.value) == 0
    assert site.count(jobs, jobs.c.state != JobState.DONE.value) == 0
    assert site.leftovers() == []


def at_work(site: Site, **options: object) -> Process:
    """A daemon that has scanned the lake; its policy is due in two hours of its clock."""
    site.configure(retry="1s")
    site.write(*NAMES)
    site.policy()
    daemon = site.ready(site.steered(**options))
    daemon.hears("task done", task="scan:lake")
    return daemon


def test_a_tier_without_room_is_said_and_left_alone_until_there_is_some(site: Site) -> None:
    daemon = at_work(site)
    with site.steering.full("cold"):
        site.steering.advance(2 * HOUR)
        line = daemon.hears("suspended")
        assert (line["tier"], line["only"]) == ("cold", "writes")
        wait_for(lambda: "tier:cold" in site.ctl("status")[1] or "cold" in site.ctl("status")[1], "status says so")
        assert site.moved() == 0
    wait_for(lambda: all_moved(site), "it goes on by itself")
    reads_well(site)
    assert daemon.stops() == 0


def limit(process: Process, files: int) -> None:
    resource.prlimit(
        process.pid, resource.RLIMIT_NOFILE, (files, resource.prlimit(process.pid, resource.RLIMIT_NOFILE)[1])
    )


def test_without_file_descriptors_it_says_so_does_no_harm_and_recovers(site: Site) -> None:
    daemon = at_work(site)
    before = len(os.listdir(f"/proc/{daemon.pid}/fd"))
    limit(daemon, before - 5)  # not one more, and some that are open would not be opened again
    lines = len(daemon.lines())
    site.steering.advance(2 * HOUR)
    wait_for(
        lambda: [x for x in daemon.lines()[lines:] if "many open files" in str(x) or "unable to open" in str(x)],
        f"it says why\n{daemon.log.read_text()[-3000:]}",
    )
    time.sleep(2)
    assert daemon.process.poll() is None
    assert len(daemon.lines()) < lines + 200, "and not a thousand times"
    limit(daemon, 1024)
    wait_for(lambda: all_moved(site), f"it recovers\n{daemon.log.read_text()[-3000:]}")
    wait_for(lambda: daemon.get("/readyz")[0] == 200, "and is ready")
    reads_well(site)
    assert daemon.stops() == 0


def test_a_file_that_may_not_become_so_large_fails_alone_and_is_moved_when_it_may(site: Site) -> None:
    daemon = at_work(site)
    large = os.urandom(3_000_000)
    (site.place / "lake/large.bin").write_bytes(large)
    os.utime(site.place / "lake/large.bin", (1, 1))
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
    site.steering.advance(HOUR)
    daemon.hears("task done", task="scan:lake", times=2)
    site.steering.advance(HOUR)
    daemon.hears("job failed")
    assert [line["object"] for line in daemon.said("object failed")] == ["large.bin"]
    assert all_moved(site)
    assert site.leftovers() == []
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    site.steering.advance(24 * HOUR)
    wait_for(lambda: site.moved() == len(NAMES) + 1, "the next night's plan takes it up")
    assert site.read("large.bin") == large
    assert daemon.stops() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_catalog_without_room_is_said_and_goes_on_when_there_is_some(tmp_path: Path, sqlite_template: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        shutil.copyfile(sqlite_template, disk / "catalog.db")
        (tmp_path / "place").mkdir()
        site = Site(tmp_path / "place", f"sqlite:///{disk / 'catalog.db'}")
        try:
            _fills_up(site, disk)
        finally:
            site.close()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def _fills_up(site: Site, disk: Path) -> None:
    daemon = at_work(site)
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4_096)
        except OSError:
            pass
    site.steering.advance(2 * HOUR)
    lines = len(daemon.lines())
    line = daemon.hears("waits")
    assert "no space left for the catalog" in line["note"]
    wait_for(lambda: daemon.get("/readyz")[0] == 503, "it is not ready")
    time.sleep(3)
    assert daemon.process.poll() is None
    assert len(daemon.lines()) < lines + 30, "it says so once, not at every try"
    ballast.unlink()
    wait_for(lambda: all_moved(site), f"it recovers\n{daemon.log.read_text()[-3000:]}")
    wait_for(lambda: daemon.get("/readyz")[0] == 200, "and is ready")
    reads_well(site)
    assert daemon.stops() == 0


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that the test may stop."""
    server = PostgresServer()
    try:
        server.start()
        yield server
        server.stop()
    finally:
        server.remove()


def test_a_postgres_that_is_stopped_and_started_again_is_waited_for(tmp_path: Path, own_server: PostgresServer) -> None:
    from storaged.catalog.engine import create_catalog

    url = own_server.url(own_server.make_database())
    create_catalog(url).close()
    site = Site(tmp_path, url)
    try:
        daemon = at_work(site)
        own_server.stop()
        daemon.hears("waits")
        wait_for(lambda: daemon.get("/readyz")[0] == 503, "it is not ready")
        assert daemon.get("/healthz")[0] == 200
        site.steering.advance(2 * HOUR)
        time.sleep(3)
        own_server.restart()
        wait_for(lambda: daemon.get("/readyz")[0] == 200, f"it is ready\n{daemon.log.read_text()[-3000:]}")
        wait_for(lambda: all_moved(site), f"it recovers\n{daemon.log.read_text()[-3000:]}")
        reads_well(site)
        assert daemon.said("fault in storaged") == []
        assert daemon.stops() == 0
    finally:
        site.close()


EDITS = 1_000


def test_a_policy_edited_a_thousand_times_ends_as_its_last_text(site: Site) -> None:
    daemon = at_work(site)
    path = site.place / "policies/move.yaml"
    resident = []
    for n in range(EDITS):
        text = path.read_text()
        if n % 7 == 3:
            path.write_text(text.replace("tier: cold", "tier: nowhere"))
            time.sleep(0.002)
            path.write_text(text)
        site.policy(schedule=f"{n % 60} 2 * * *", more=f"# edit {n}\n")
        if n % 100 == 99:
            resident.append(daemon.resident_kib())
            time.sleep(0.2)
        time.sleep(0.005)
    site.policy(schedule="17 3 * * *", more="# the last\n")
    wait_for(lambda: site.tasks().get("plan:move") == "17 3 * * *", "the last text runs")
    wait_for(lambda: daemon.metric("storaged_config_valid") == 1.0, "and holds")
    settings = load_settings(site.config)
    assert [p.text for p in load_policies(settings.policies, settings)] == [path.read_text()]
    assert daemon.said("fault in storaged") == []
    assert resident[-1] < resident[2] * 1.1 + 4_096, resident
    assert daemon.stops() == 0
