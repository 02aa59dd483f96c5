"""Jobs on a real Dask cluster, whose processes are killed: the catalog alone says what is done, and by whom."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from distributed import Client

from storaged.catalog import facts
from storaged.catalog.engine import create_catalog
from storaged.catalog.schema import audit, blobs, jobs, objects
from storaged.catalog.schema_attempts import attempts
from storaged.daemon.station import Order, Reply, settings_digest, work_one
from storaged.model import AttemptState, BlobState, JobState
from storaged.stores.base import Stat
from storaged.version import __version__
from tests.daemon.dask_cluster import DaskCluster
from tests.daemon.farm import content
from tests.daemon.processes import Process, wait_for
from tests.daemon.site import Site
from tests.postgres import PostgresServer

pytestmark = pytest.mark.timeout(1_200)
JOBS = 4  # at a time


class Works(Site):
    """A farm on Postgres, and a cluster at which its daemon's jobs run. Time is the machine's."""

    def __init__(self, place: Path, server: PostgresServer) -> None:
        url = server.url(server.make_database())
        create_catalog(url).close()
        super().__init__(place, url)
        (place / "dask").mkdir()
        self.cluster = DaskCluster(place / "dask")
        self.configured()
        self.policy("out", tier="cold")
        self.clock.set((time.time_ns() // 1_000 - self.clock.now_us()) / 1_000_000)

    def configured(self, batch: int = 20, *, slow: bool = False) -> None:
        cold = ", budget: {requests_per_second: 40}" if slow else ""
        self.configure(daemon=f"jobs: {JOBS}\n", lease="3s", cold=cold)
        engine = f"workers: {{engine: dask, address: '{self.cluster.address}', batch_objects: {batch}, "
        self.config.write_text(self.config.read_text().replace("workers: {", engine))

    def files(self, number: int, size: int) -> None:
        self.write(*(f"{n:04}.csv" for n in range(number)), size=size)
        self.expected = {f"{n:04}.csv": content(f"{n:04}.csv", size) for n in range(number)}

    def queued(self) -> None:
        """A plan of all of it, applied: its jobs wait, since nobody works here."""
        for command in (("scan", "lake"), ("plan",), ("apply", "1", "--yes", "--no-wait")):
            code, text = self.ctl(*command)
            assert code == 0, text

    def workers(self) -> set[str]:
        """Who was last at each job, in the catalog."""
        with self.catalog.read() as conn:
            return {row.worker for row in conn.execute(sa.select(jobs.c.worker)) if row.worker}

    def settled(self) -> bool:
        waiting = jobs.c.state.in_([JobState.QUEUED.value, JobState.RUNNING.value])
        return self.count(jobs) > 0 and not self.count(jobs, waiting)

    def done(self, daemon: Process) -> None:
        """All jobs are over and nothing was lost, done twice or left over."""
        try:
            wait_for(self.settled, "all jobs are over")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{daemon.log.read_text()[-3_000:]}\n{self.cluster.logs()}") from error
        with self.catalog.read() as conn:
            states = Counter(conn.execute(sa.select(jobs.c.state)).scalars())
            swaps = Counter(conn.execute(sa.select(audit.c.object).where(audit.c.kind == "swap")).scalars())
            live = set(conn.execute(sa.select(blobs.c.key).where(blobs.c.state == BlobState.LIVE.value)).scalars())
            known = set(conn.execute(sa.select(blobs.c.key).union(sa.select(attempts.c.key))).scalars())
        assert set(states) == {JobState.DONE.value}, states
        assert set(swaps) == set(self.expected)
        assert set(swaps.values()) == {1}, "each generation is swapped once"
        assert len(live) == len(self.expected) == self.count(objects)
        stored = {e.key for e in self.context().tier("cold").list() if isinstance(e, Stat)}
        assert live <= stored <= known, "what a dead attempt wrote is a tombstone's"
        for name, data in self.expected.items():
            assert self.read(name) == data
        assert daemon.said("fault in storaged") == []

    def close(self) -> None:
        self.cluster.close()
        super().close()


@pytest.fixture
def works(tmp_path: Path, postgres: PostgresServer) -> Iterator[Works]:
    made = Works(tmp_path, postgres)
    yield made
    made.close()


def pid(worker: str) -> int:
    """Of the process that claimed: HOST:PID:NAME."""
    return int(worker.split(":")[1])


def test_jobs_run_on_every_worker_and_each_generation_is_swapped_once(works: Works) -> None:
    works.cluster.schedules()
    for _ in range(2):
        works.cluster.works()
    works.cluster.all_there()
    works.files(300, 20_000)
    works.queued()
    daemon = works.start()
    works.done(daemon)
    assert {pid(w) for w in works.workers()} == set(works.cluster.workers), works.workers()
    assert daemon.said("job done")
    assert any(worker in works.ctl("job", "show", "1", "--json")[1] for worker in works.workers())
    assert daemon.stops() == 0


def test_a_worker_killed_in_mid_job_loses_nothing_and_another_takes_its_job_over(works: Works) -> None:
    works.configured(batch=10, slow=True)
    works.cluster.schedules()
    for _ in range(2):
        works.cluster.works()
    works.cluster.all_there()
    works.files(40, 4_000)
    works.queued()
    daemon = works.start()
    running = sa.select(jobs.c.id, jobs.c.worker, jobs.c.lease).where(jobs.c.state == JobState.RUNNING.value)

    def at_work() -> sa.Row[Any] | None:
        with works.catalog.read() as conn:
            return conn.execute(running.order_by(jobs.c.id)).first()

    found = wait_for(at_work, "a worker is at a job")
    victim = works.cluster.workers.pop(pid(found.worker))
    victim.kill()
    victim.wait()
    with works.catalog.read() as conn:
        left = conn.execute(sa.select(jobs).where(jobs.c.id == found.id)).one()
    assert (left.state, left.worker, left.lease) == ("running", found.worker, found.lease), "it died in mid-job"
    works.done(daemon)
    with works.catalog.read() as conn:
        job = conn.execute(sa.select(jobs).where(jobs.c.id == found.id)).one()
        mine = sa.and_(attempts.c.job_id == found.id, attempts.c.state == AttemptState.TOMBSTONE.value)
        notes = set(conn.execute(sa.select(attempts.c.note).where(mine)).scalars())
    assert pid(job.worker) in works.cluster.workers, "another took it over"
    assert job.tries == 2
    assert notes == {"its worker's lease ran out"}
    assert daemon.stops() == 0


@pytest.mark.campaign
def test_a_scheduler_that_is_killed_and_started_again_delays_jobs_and_nothing_else(works: Works) -> None:
    works.configured(batch=10, slow=True)
    works.cluster.schedules()
    works.cluster.works()
    works.cluster.all_there()
    works.files(40, 4_000)
    works.queued()
    daemon = works.ready(works.start())
    wait_for(lambda: works.count(jobs, jobs.c.state == JobState.RUNNING.value), "a job runs")
    works.cluster.schedules_no_more()
    daemon.hears("jobs wait")
    wait_for(lambda: "cannot be reached" in works.ctl("status")[1], "the status says why")
    assert daemon.get("/readyz")[0] == 200, "it scans and sweeps"
    works.cluster.schedules()
    works.cluster.works()
    works.done(daemon)
    daemon.hears("jobs run again")
    assert daemon.stops() == 0


def test_a_worker_with_another_configuration_or_without_a_tier_claims_nothing(works: Works) -> None:
    works.cluster.schedules()
    works.cluster.works()
    works.cluster.all_there()
    works.files(20, 4_000)
    works.queued()
    marker = works.place / "cold/.storaged/claim.json"
    daemon = works.ready(works.start())
    works.done(daemon)
    assert daemon.stops() == 0
    settings = works.load()[0]
    with works.catalog.read() as conn:
        catalog = facts.identity(conn)
    good = Order(str(works.config), settings_digest(settings), __version__, catalog, 1.0)
    client = Client(works.cluster.address, set_as_default=False)
    try:

        def answer(order: Order) -> Reply:
            return client.submit(work_one, order, pure=False, retries=0).result(timeout=240)

        assert answer(good) == Reply()
        for wrong, why in (
            (replace(good, settings="0"), "differs from the daemon's"),
            (replace(good, version="0"), "the daemon 0"),
            (replace(good, catalog=replace(catalog, catalog="other")), "its catalog is"),
        ):
            assert why in str(answer(wrong).refused)
        aside = marker.with_name("aside.json")
        marker.rename(aside)
        assert "has lost its marker: is it mounted?" in str(answer(good).refused)
        assert works.suspended() == {}, "what other machines reach is not suspended"
        aside.rename(marker)
        assert answer(good) == Reply()
    finally:
        client.close()
