"""A real process under SIGKILL, again and again, at random moments of copying, swapping, journaling and releasing."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import Catalog, open_catalog
from storaged.catalog.schema_attempts import attempts
from storaged.clock import SystemClock
from storaged.config.settings import load_settings
from storaged.model import AttemptState
from storaged.testing import FakeClock
from storaged.work.context import Context
from storaged.work.release.sweep import sweep
from storaged.work.rewrite.worker import Worker
from tests.life.places import NewPlaces
from tests.life.world import World, noise, text

SEED = 20261123
LONG = bool(os.environ.get("STORAGED_LONG"))  # `make campaign`


@dataclass(frozen=True)
class Kills:
    """How often, and of what: `big` bytes must take several writes of a part."""

    rounds: int
    big: int = 3_000_000
    noise: int = 300_000


@pytest.fixture
def kills(dialect: str) -> Kills:
    return Kills(({"sqlite": 50, "postgres": 12} if LONG else {"sqlite": 12, "postgres": 4})[dialect])


class ShiftedClock(SystemClock):
    """The machine's clock, some time ahead, so that graces and leases of earlier rounds are over."""

    def __init__(self, ahead_us: int) -> None:
        self.ahead_us = ahead_us

    def now_us(self) -> int:
        return super().now_us() + self.ahead_us


def _live(config: str, url: str, ahead_us: int) -> None:
    """The process that is killed: works through the queue and sweeps, for ever."""
    settings = load_settings(Path(config))
    with open_catalog(url) as catalog:
        context = Context(settings, catalog, ShiftedClock(ahead_us), actor="victim")
        while True:
            with Worker(context) as worker:
                worker.run()
            sweep(context)


def kill(victim: multiprocessing.process.BaseProcess) -> None:
    """At once; it was still at work."""
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    assert victim.exitcode == -signal.SIGKILL, "it ended by itself: it met an error"


def test_a_process_killed_at_any_moment_loses_nothing(
    tmp_path: Path, catalog: Catalog, catalog_url: str, kills: Kills, new_places: NewPlaces
) -> None:
    chance = random.Random(SEED)
    clock = FakeClock(start_us=SystemClock().now_us())
    place = tmp_path / "world"
    place.mkdir()
    world = World(place, catalog, clock, new_places=new_places)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.life.test_kill"])
    expected: dict[str, bytes] = {}
    in_mid_copy = 0
    for n in range(kills.rounds):
        fresh = {f"r{n}/big{i}.csv": text(f"{n}{i}", kills.big) for i in range(2)}
        fresh |= {f"r{n}/small{i}.csv": text(f"{n}s{i}", 5_000) for i in range(10)}
        fresh[f"r{n}/noise.bin"] = noise(str(n), kills.noise)
        for name, content in fresh.items():
            world.write(name, content)
        expected |= fresh
        world.scan()
        world.enqueue(fresh, chance.choice(["warm", "cold"]))
        victim = processes.Process(
            target=_live,
            args=(str(place / "storaged.yaml"), catalog_url, clock.now_us() - SystemClock().now_us()),
            daemon=True,
        )
        victim.start()
        if n % 2:  # every other time when a part is seen growing, else at any moment
            _wait_for_a_part(world, victim)
            time.sleep(chance.uniform(0, 0.02))
        else:
            time.sleep(chance.uniform(0.02, 0.45))
        kill(victim)
        in_mid_copy += bool(_staged(catalog)) or bool(world.leftovers())
        world.days(8)
        world.context = world.new_context(actor="survivor")
        if chance.random() < 0.5:
            world.scan()
        world.work()
        world.sweep()
        for name, content in fresh.items():
            assert world.read(name) == content, (n, name)
    world.days(8)
    world.sweep()
    world.scan()
    for name, content in expected.items():
        assert world.read(name) == content, name
        assert world.raw(name) is None, name
    world.days(8)
    world.sweep()
    assert world.unknown_blobs() == []
    assert world.leftovers() == []
    assert sum(len(world.stored(tier)) for tier in ("hot", "warm", "cold")) == len(expected)
    assert in_mid_copy >= kills.rounds // 5, f"only {in_mid_copy} kills hit a copy: the test missed its mark"


def _wait_for_a_part(world: World, victim: multiprocessing.process.BaseProcess) -> None:
    for _ in range(20_000):
        if world.leftovers() or not victim.is_alive():
            return
        time.sleep(0.001)


def _staged(catalog: Catalog) -> int:
    with catalog.read() as conn:
        query = sa.select(sa.func.count()).where(attempts.c.state == AttemptState.STAGED.value)
        return int(conn.execute(query).scalar_one())


pytestmark = pytest.mark.timeout(600)
