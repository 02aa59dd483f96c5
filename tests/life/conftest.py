"""A fresh world per test, on SQLite and on Postgres."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storaged.catalog.engine import Catalog
from storaged.testing import FakeClock
from storaged.testing.servers import MotoServer, bucket_name
from tests import memory
from tests.life import places
from tests.life.databases import databases
from tests.life.places import Lent, NewPlaces, lend
from tests.life.stage import Stage, a_stage
from tests.life.world import World

LONG = bool(os.environ.get("STORAGED_LONG"))  # `make campaign`
_buckets = itertools.count(1)  # in this process


@pytest.fixture
def layout() -> str:
    """Where worlds are. Files that take tests to other places override it."""
    return "local"


@pytest.fixture
def moments(dialect: str, request: pytest.FixtureRequest) -> range:
    """After which effects the process of a crash test dies, one after another. In a campaign after every one of them.
    For a commit after every fifth one with the quicker database, fewer of a rebuild, which has many, and of the slower
    database, from the first or the second one on by the length of the test's name: a step is odd, as some tests take
    turns."""
    if LONG:
        return range(1, 300)
    many = "rebuild" in request.node.name
    step = (9 if many else 5) if dialect == "sqlite" else (13 if many else 7)
    return range(1 + len(request.node.name) % 2, 300, step)


@pytest.fixture
def new_places(layout: str, request: pytest.FixtureRequest) -> NewPlaces:
    """Makes places for one world after another."""
    return places.new_places(layout, request)


@pytest.fixture
def new_bucket(moto: MotoServer, request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Makes buckets of `moto`, which forgets them afterwards."""
    made: list[str] = []

    def make() -> str:
        made.append(bucket_name(request.node.name, next(_buckets)))
        moto.make_bucket(made[-1])
        return made[-1]

    yield make
    for name in made:
        moto.forget(name)


@pytest.fixture
def lent(moto: MotoServer) -> Iterator[Lent]:
    """An empty bucket for a vault, with the clients of those who had it before."""
    one = lend(moto, "vault")
    moto.clear_log()
    yield one
    moto.forget(one.name)
    one.give_back()


@pytest.fixture
def world(tmp_path: Path, catalog: Catalog, clock: FakeClock, new_places: NewPlaces) -> World:
    place = tmp_path / "world"
    place.mkdir()
    return World(place, catalog, clock, new_places=new_places)


@pytest.fixture
def lake(dialect: str, clock: FakeClock, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with a_stage(dialect, clock, request) as made:
        yield made


@pytest.fixture
def new_catalog(dialect: str, request: pytest.FixtureRequest) -> Iterator[Callable[[], Catalog]]:
    """Makes further fresh catalogs of the same kind; each is closed at the end, if the test did not."""
    with memory.directory() as place, databases(dialect, place, request) as made:
        yield made.make


@pytest.fixture
def new_world(
    memory_place: Path, new_catalog: Callable[[], Catalog], clock: FakeClock, new_places: NewPlaces
) -> Callable[[], World]:
    """Makes one world after another, each with a fresh catalog."""
    numbers = itertools.count(1)

    def make() -> World:
        place = memory_place / f"world{next(numbers)}"
        place.mkdir()
        return World(place, new_catalog(), clock, new_places=new_places)

    return make
