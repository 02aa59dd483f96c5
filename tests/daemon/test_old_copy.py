"""An old copy of the catalog is put back: a daemon brings it up to its journal before it does anything else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storaged.catalog.engine import Catalog, open_catalog
from storaged.catalog.schema import objects
from storaged.cli.catalog import describe
from storaged.work.recover.backup import backup
from storaged.work.recover.restore import choose, find, restore, tiers_of
from tests.daemon.farm import DAY, HOUR, Daemon, Farm, content

NAMES = [f"{n}.csv" for n in range(6)]


@pytest.fixture
def dialect() -> str:
    """Copies of both databases are restored in tests/backup; what a daemon makes of one is the same."""
    return "sqlite"


@pytest.fixture
def farm(new_farm: Callable[..., Farm]) -> Iterator[Farm]:
    made = new_farm()
    made.policy(schedule="0 * * * *")
    yield made
    made.catalog.close()


def lives(farm: Farm, daemon: Daemon, hours: int) -> None:
    for _ in range(hours * 60):
        farm.clock.advance(60)
        daemon.turns()


def database(catalog: Catalog) -> Path:
    return Path(catalog.url.removeprefix("sqlite:///"))


def copied(farm: Farm) -> Callable[[], None]:
    """A plain copy of the file, made while nobody writes; it knows nothing of being one."""
    farm.catalog.engine.dispose()
    old = farm.place / "old.db"
    shutil.copyfile(database(farm.catalog), old)

    def put_back() -> None:
        shutil.copyfile(old, database(farm.catalog))

    return put_back


def backed_up(farm: Farm) -> Callable[[], None]:
    """A backup of ours in a tier, put back where nothing is left."""
    backup(farm.context(), "warm", 2)

    def put_back() -> None:
        database(farm.catalog).unlink()
        tiers = tiers_of(farm.load()[0], farm.clock)
        restore(farm.load()[0], farm.catalog.url, choose(find(tiers), None), tiers, farm.clock)

    return put_back


@pytest.mark.parametrize("copy", [copied, backed_up], ids=["a plain copy", "a backup"])
def test_an_old_copy_is_brought_up_to_its_journal_before_anything_is_done(
    farm: Farm, copy: Callable[[Farm], Callable[[], None]]
) -> None:
    first = farm.daemon()
    farm.write(*NAMES[:3])
    lives(farm, first, 2)
    put_back = copy(farm)
    farm.write(*NAMES[3:])
    lives(farm, first, 4)
    assert not list((farm.place / "lake").glob("*.csv")), "all are released, some where the copy knows of nothing"
    first.generations.close()
    farm.catalog.close()

    put_back()
    farm.clock.advance(HOUR)  # the copy's leases are over
    farm.catalog = open_catalog(farm.catalog.url)
    assert farm.count(objects) == 3
    assert describe(farm.context())["old_copy"]  # as `status` says
    heir = farm.daemon()
    assert heir.take() is None
    assert not heir.step()
    heir.wakes()
    assert heir.problem is None
    assert not describe(farm.context())["old_copy"]
    assert farm.count(objects) == len(NAMES)
    assert heir.heard.said("caught up") == ["caught up"]
    lives(farm, heir, 2)
    farm.clock.advance(8 * DAY)
    lives(farm, heir, 2)
    for name in NAMES:
        assert farm.read(name) == content(name)
    assert heir.heard.said("fault") == []
