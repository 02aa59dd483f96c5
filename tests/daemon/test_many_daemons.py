"""Three daemons on one Postgres, killed at random moments, and so is Postgres itself: nothing is lost, nothing twice.

Time runs sixty times as fast for the daemons, so that a schedule of a minute is one of a second.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog import facts
from storaged.catalog.engine import create_catalog, open_catalog
from storaged.catalog.schema import audit, blobs, jobs, objects, outbox
from storaged.catalog.schema_attempts import attempts
from storaged.catalog.schema_daemon import runs
from storaged.clock import new_id
from storaged.errors import CatalogError
from storaged.model import BlobState, JobState
from storaged.stores.base import Stat
from storaged.work import targets
from storaged.work.content import open_current
from storaged.work.context import Context
from storaged.work.recover.rebuild import lost_catalog, reconcile
from tests.daemon.farm import content
from tests.daemon.processes import Process, wait_for
from tests.daemon.site import Site
from tests.postgres import PostgresServer

LONG = bool(os.environ.get("STORAGED_LONG"))  # `make campaign`
pytestmark = pytest.mark.timeout(7_200 if LONG else 1_200)
ROUNDS = 100 if LONG else 3
SPEED = 60.0
DAEMONS = 3
SEED = 20261123
EVERY_MINUTE = "* * * * *"
VERIFY = '{schedule: "*/7 * * * *", sample: 20%}'


class Cluster(Site):
    """A lake whose files are moved as soon as they are seen, and whose originals are released two minutes later."""

    def __init__(self, place: Path, server: PostgresServer) -> None:
        url = server.url(server.make_database())
        create_catalog(url).close()
        self.server = server
        super().__init__(place, url)
        self.configure(
            grace="2m",
            lease="120s",
            retry="1m",
            daemon=f'scan: "{EVERY_MINUTE}"\nsweep: "{EVERY_MINUTE}"\nverify: {VERIFY}\n',
        )
        text = self.config.read_text().replace("late_put_window: 1h", "late_put_window: 3m")
        self.config.write_text(text.replace(f"127.0.0.1:{self.port}", "127.0.0.1:0"))
        self.policy("out", schedule=EVERY_MINUTE, tier="cold")
        self.steering.set(time.time_ns() // 1_000, speed=SPEED)
        self.expected: dict[str, bytes] = {}
        self.crew: list[Process] = []

    def manned(self) -> None:
        """As many daemons as there should be. None ends by itself, but one that found no server when it began."""
        for daemon in self.crew:
            if daemon.process.poll() not in (None, -signal.SIGKILL):
                told = daemon.log.read_text()
                assert "cannot be reached" in told, told[-4_000:]
                assert daemon.said("started") == [], told[-4_000:]
        self.crew = [daemon for daemon in self.crew if daemon.process.poll() is None]
        while len(self.crew) < DAEMONS:
            self.crew.append(self.steered())

    def all_at_work(self) -> bool:
        """Whether all have begun; one that met the server while it started has ended, and another takes its place."""
        self.manned()
        return all(daemon.said("started") for daemon in self.crew)

    def some_files(self, number: int, chance: random.Random) -> None:
        """A user writes some, and replaces one of those before."""
        for n in range(6):
            size = chance.choice([100, 4_000, 4_000, 1_500_000])
            self.file(f"r{number}/{n}.csv", content(f"{number} {n}", size))
        if number:
            self.file(f"r{number - 1}/0.csv", content(f"{number} again", 5_000))

    def file(self, name: str, data: bytes) -> None:
        path = self.place / "lake" / name
        path.parent.mkdir(exist_ok=True)
        aside = self.place / f"user-{new_id()}"
        aside.write_bytes(data)
        aside.replace(path)
        self.expected[name] = data


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """On a server of its own, that may be killed, and that keeps what it has acknowledged."""
    server = PostgresServer()
    try:
        server.start()
        server.stop()
        server.restart(fsync=True)
        made = Cluster(tmp_path, server)
        yield made
        made.close()
        server.stop()
    finally:
        server.remove()


def kill_postgres(server: PostgresServer) -> None:
    """SIGKILL to all of it. What it had not acknowledged is lost."""
    data = server.directory / "data"
    for pid in (int((data / "postmaster.pid").read_text().split()[0]), *_working_in(data)):
        with suppress(ProcessLookupError):  # it ended with its server
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not _working_in(data), "all of its processes are gone")
    for left in (data / "postmaster.pid", server.directory / ".s.PGSQL.5432.lock"):
        left.unlink()  # its process stays a zombie where nobody waits for it, and looks alive


def _working_in(place: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended, or is not ours
            if (process / "cwd").readlink() == place:
                found.append(int(process.name))
    return found


def test_nothing_is_lost_and_nothing_done_twice_whoever_is_killed(cluster: Cluster) -> None:
    chance = random.Random(SEED)
    killed: Counter[str] = Counter()
    for number in range(ROUNDS):
        cluster.manned()
        cluster.some_files(number, chance)
        time.sleep(chance.uniform(1.0, 4.0))
        for victim in chance.sample(cluster.crew, chance.choice([0, 1, 1, 2, 3])):
            victim.dies()
            killed["daemon"] += 1
        if number % 3 == 2:
            kill_postgres(cluster.server)
            killed["postgres"] += 1
            time.sleep(chance.uniform(0, 1.5))
            cluster.server.restart(fsync=True)
    assert killed["daemon"] >= ROUNDS // 2
    assert killed["postgres"] == ROUNDS // 3
    wait_for(cluster.all_at_work)
    try:
        wait_for(lambda: settled(cluster), patience_s=900)
    except AssertionError:
        pytest.fail(f"it does not settle: {unsettled(cluster)}\n{cluster.crew[0].log.read_text()[-4_000:]}")
    for daemon in cluster.crew:
        assert daemon.stops() == 0, daemon.log.read_text()[-4_000:]
        assert daemon.said("fault in storaged") == []
    for process in cluster.processes:
        assert process.said("fault in storaged") == []
    nothing_is_lost(cluster)
    nothing_is_left_over(cluster)
    no_task_ran_twice_at_once(cluster)
    nothing_was_swapped_twice(cluster)
    the_journal_knows_it_all(cluster)


def unsettled(cluster: Cluster) -> dict[str, int]:
    """What is not done yet, by kind."""
    waiting = jobs.c.state.in_([JobState.QUEUED.value, JobState.RUNNING.value])
    crew = [line["daemon"] for daemon in cluster.crew for line in daemon.said("started")]
    return {
        "files not in the catalog": len(cluster.expected) - cluster.count(objects, objects.c.removed_us.is_(None)),
        "originals not released": cluster.count(objects, objects.c.raw_state != "released"),
        "jobs": cluster.count(jobs, waiting),
        "blobs that are not live": cluster.count(blobs, blobs.c.state != BlobState.LIVE.value),
        "attempts": cluster.count(attempts),
        "outbox": cluster.count(outbox),
        "runs of the dead": cluster.count(runs, runs.c.state == "running", runs.c.daemon.not_in(crew)),
    }


def settled(cluster: Cluster) -> bool:
    try:
        return not any(unsettled(cluster).values())
    except CatalogError:
        return False


def nothing_is_lost(cluster: Cluster) -> None:
    for name, data in cluster.expected.items():
        assert cluster.read(name) == data, name
        assert not (cluster.place / "lake" / name).exists(), name


def nothing_is_left_over(cluster: Cluster) -> None:
    with cluster.catalog.read() as conn:
        known = set(conn.execute(sa.select(blobs.c.key)).scalars())
    stored = [e.key for e in cluster.context().tier("cold").list() if isinstance(e, Stat)]
    assert set(stored) == known
    assert len(stored) == len(cluster.expected)
    assert cluster.leftovers() == []


def no_task_ran_twice_at_once(cluster: Cluster) -> None:
    with cluster.catalog.read() as conn:
        found = conn.execute(sa.select(runs).order_by(runs.c.task, runs.c.id)).all()
    assert {r.state for r in found} <= {"done", "failed", "abandoned"}, "none is left standing as running"
    assert all(r.message for r in found)
    for before, after in pairwise(found):
        if before.task == after.task:
            assert before.finished_us <= after.started_us, (before, after)
            assert before.due_us < after.due_us, (before, after)
    assert Counter(r.state for r in found)["done"] > len(found) // 2


def nothing_was_swapped_twice(cluster: Cluster) -> None:
    """Each generation of each object was swapped once, and each released once."""
    with cluster.catalog.read() as conn:
        swapped = sa.select(audit.c.object, audit.c.detail).where(audit.c.kind.in_(["swap", "source-released"]))
        rows = conn.execute(swapped.add_columns(audit.c.kind)).all()
        generations = dict(conn.execute(sa.select(objects.c.name, objects.c.generation)).all())
    found = Counter((row.kind, row.object) for row in rows)
    assert len(found) >= 2 * len(cluster.expected)
    for (kind, name), times in found.items():
        assert times <= generations[name], (kind, name, times)


def the_journal_knows_it_all(cluster: Cluster) -> None:
    """Another catalog that is made of the journal alone holds the same content."""
    lost = lost_catalog(cluster.context().tier("hot"))
    url = cluster.server.url(cluster.server.make_database())
    create_catalog(url).close()
    with open_catalog(url, wait_s=10) as heir:
        with heir.begin() as conn:
            facts.put(conn, "catalog_id", lost.catalog)
            facts.put(conn, "epoch", str(lost.epoch))
        context = Context(cluster.load()[0], heir, cluster.clock, actor="heir")
        found = reconcile(context)
        assert found.entries > 0
        assert (found.strays, found.kept) == (0, [])
        for name, data in cluster.expected.items():
            with open_current(context, targets.one(context, f"lake/{name}")) as read:
                assert b"".join(read.chunks()) == data, name
