"""A real process under SIGKILL while it packs, swaps page by page, journals and releases: then another one takes over,
or the catalog is lost with it."""

from __future__ import annotations

import multiprocessing
import random
import time

import pytest

from storaged.clock import SystemClock
from storaged.model import RawState
from storaged.testing import FakeClock
from storaged.work.rewrite import swap
from tests.life.conftest import LONG
from tests.life.stage import Stage, a_stage
from tests.life.test_kill import SEED, _live, _staged, _wait_for_a_part, kill
from tests.life.test_pack_crashes import all_is_well
from tests.life.world import noise, text

ROUNDS = 60 if LONG else 6
PAGE = 3  # members that are swapped in one transaction

pytestmark = pytest.mark.timeout(900)


def _live_in_pages(config: str, url: str, ahead_us: int) -> None:
    """The process that is killed."""
    swap.PAGE = PAGE  # type: ignore[misc]  # of this process alone
    _live(config, url, ahead_us)


@pytest.fixture
def dialect() -> str:
    return "sqlite"


def test_a_process_killed_while_it_packs_loses_nothing(dialect: str, request: pytest.FixtureRequest) -> None:
    chance = random.Random(SEED)
    clock = FakeClock(start_us=SystemClock().now_us())
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.life.test_pack_kill"])
    expected: dict[str, bytes] = {}
    met = 0
    with a_stage(dialect, clock, request) as lake:
        lake.write("stranger.txt", b"of nobody's plan")
        for n in range(ROUNDS):
            fresh = {f"r{n}/{i}.csv": text(f"{n} {i}", 4_000) for i in range(13)}
            fresh[f"r{n}/large.bin"] = noise(str(n), 12_000_000)  # written while it is read
            for name, content in fresh.items():
                lake.write(name, content)
            expected |= fresh
            lake.scan()
            lake.enqueue_pack(fresh, pack=f"r{n}/0001")
            url = lake.catalog.engine.url.render_as_string(hide_password=False)
            victim = processes.Process(
                target=_live_in_pages,
                args=(str(lake.place / "storaged.yaml"), url, clock.now_us() - SystemClock().now_us()),
                daemon=True,
            )
            victim.start()
            if n % 4:
                _wait_for_a_part(lake, victim)
                time.sleep(chance.uniform(0, 0.15))
            else:
                time.sleep(chance.uniform(0.02, 0.45))
            kill(victim)
            met += bool(_staged(lake.catalog)) or bool(lake.leftovers()) or _half_swapped(lake, fresh)
            _another_goes_on(lake, fresh, lost=n % 2 == 1)
            assert {name: lake.read(name) == content for name, content in fresh.items()} == dict.fromkeys(fresh, True)
            assert lake.unknown_blobs() == []
        all_is_well(lake, expected)
        assert all(lake.raw(name) is None for name in expected)
    assert met >= ROUNDS // 4, f"only {met} kills hit a pack: the test missed its mark"


def _half_swapped(lake: Stage, names: dict[str, bytes]) -> bool:
    return len({lake.seen(name).placement.current is None for name in names}) == 2


def _another_goes_on(lake: Stage, names: dict[str, bytes], *, lost: bool) -> None:
    lake.days(8)
    if lost:
        lake.is_rebuilt()
        left = [name for name in names if lake.seen(name).placement.raw.state is RawState.CURRENT]
        lake.enqueue_pack(left, pack="again")  # its job went with the catalog
    lake.context = lake.new_context(actor="survivor")
    lake.scan()
    lake.work()
    lake.days(8)
    assert lake.sweep().errors == []
