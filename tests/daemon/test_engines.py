"""What every engine does, wherever its jobs run; and what a configuration may say of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storaged.catalog.queue import ClaimedJob
from storaged.catalog.schema import jobs
from storaged.clock import SystemClock
from storaged.config.settings import load_settings
from storaged.daemon.engine import Engine, engine_of
from storaged.daemon.generations import Generations
from storaged.errors import ConfigError
from storaged.model import JobState
from storaged.work.context import Context
from tests.daemon.test_dask import Works
from tests.postgres import PostgresServer

pytestmark = pytest.mark.timeout(1_200)


class EngineContract:
    """`works` has a catalog with two jobs in its queue; `engine` is by its configuration."""

    on_cluster: bool

    @pytest.fixture
    def works(self, tmp_path: Path, postgres: PostgresServer) -> Iterator[Works]:
        made = Works(tmp_path, postgres)
        if self.on_cluster:
            made.cluster.schedules()
            made.cluster.works()
            made.cluster.all_there()
        else:
            text = made.config.read_text().replace(
                f"engine: dask, address: '{made.cluster.address}'", "engine: threads"
            )
            made.config.write_text(text)
        made.files(40, 500)
        made.queued()
        yield made
        made.close()

    @pytest.fixture
    def generations(self, works: Works) -> Iterator[Generations]:
        made = Generations(
            works.load,
            lambda s: Context(s, works.catalog, SystemClock(), actor="test", tolerant=True),
            "test",
        )
        yield made
        made.close()

    @pytest.fixture
    def engine(self, generations: Generations) -> Iterator[Engine]:
        made = engine_of(generations.now.settings)
        yield made
        made.close()

    def test_jobs_run_one_by_one_and_are_told(self, works: Works, generations: Generations, engine: Engine) -> None:
        told: list[int] = []
        started: Callable[[ClaimedJob], None] = lambda claimed: told.append(claimed.id)  # noqa: E731  one line, typed
        for number in (1, 2):
            with generations.using() as now:
                ran = engine.job(now, started)
            assert ran is not None
            assert (ran.state, len(ran.outcomes), ran.suspended) == (JobState.DONE, 20, ())
            assert len(told) == number == works.count(jobs, jobs.c.state == JobState.DONE.value)
        with generations.using() as now:
            assert engine.job(now, started) is None, "none is due"
        assert sorted(told) == [1, 2]
        assert (engine.problem, engine.at(), engine.abandon()) == (None, [], [])


class TestThreads(EngineContract):
    on_cluster = False


class TestCluster(EngineContract):
    on_cluster = True

    def test_after_a_drain_no_job_is_asked_for(self, works: Works, generations: Generations, engine: Engine) -> None:
        engine.drain()
        with generations.using() as now:
            assert engine.job(now, lambda _: None) is None
        assert works.count(jobs, jobs.c.state == JobState.QUEUED.value) == 2


CONFIG = """\
catalog: {catalog}
tiers:
  hot: {{rank: 0, url: "memory://hot"}}
workers: {workers}
"""
POSTGRES = "postgresql://user@host/lake"


@pytest.mark.parametrize(
    ("catalog", "workers", "told"),
    [
        (
            "sqlite:///a.db",
            "{engine: dask, address: 'tcp://host:8786'}",
            "4 at workers.engine: a Dask cluster cannot work with an SQLite catalog, which is of one machine "
            "(catalog: postgresql://user@host/database)",
        ),
        (
            POSTGRES,
            "{engine: dask}",
            "4 at workers: engine is dask, and no address is given (such as address: tcp://host:8786)",
        ),
        (
            POSTGRES,
            "{address: 'tcp://host:8786'}",
            "4 at workers: an address is given, and engine is threads (write engine: dask, or no address)",
        ),
        (
            POSTGRES,
            "{engine: dask, address: 'host:8786'}",
            "4 at workers.address: 'host:8786' is no address of a scheduler (such as tcp://scheduler.example.org:8786)",
        ),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(tmp_path: Path, catalog: str, workers: str, told: str) -> None:
    file = tmp_path / "storaged.yaml"
    file.write_text(CONFIG.format(catalog=catalog, workers=workers))
    with pytest.raises(ConfigError) as refused:
        load_settings(file)
    assert [str(p) for p in refused.value.problems] == [f"{file}:{told}"]


def test_without_its_package_the_engine_says_how_to_install_it() -> None:
    """In a process in which it cannot be imported."""
    code = "import sys; sys.modules['distributed'] = None; import storaged.daemon.cluster"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "UsageError" in ended.stderr
    assert "`workers.engine` is dask, and its package cannot be loaded" in ended.stderr
