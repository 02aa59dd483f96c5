"""A real daemon, users, commands, and machines that go wrong: whatever happens, every path holds what it must.

STORAGED_CHAOS_SEED    the first round's seed; each round has one of its own, which is in its name
STORAGED_CHAOS_ROUNDS  how many
STORAGED_CHAOS_KINDS   which kinds of faults, by name and comma; all but those after a minus: -tier-full
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.chaos.faults import KINDS, Kind
from tests.chaos.places import DIRECTORY, DISK, MEMORY, unavailable, unmount_all
from tests.chaos.rounds import Round, planned
from tests.chaos.world import Database
from tests.conftest import PostgresServer

pytestmark = pytest.mark.timeout(900)
ROUNDS = int(os.environ.get("STORAGED_CHAOS_ROUNDS") or (300 if os.environ.get("STORAGED_LONG") else 10))
SEED = int(os.environ.get("STORAGED_CHAOS_SEED") or 20261128)
WANTED = os.environ.get("STORAGED_CHAOS_KINDS", "")


def wanted() -> list[Kind]:
    """The kinds that were asked for."""
    names = [name for name in WANTED.split(",") if name]
    unknown = {name.removeprefix("-") for name in names} - KINDS.keys()
    assert not unknown, f"no kinds of faults: {sorted(unknown)}; there are {sorted(KINDS)}"
    without = {name[1:] for name in names if name.startswith("-")}
    only = {name for name in names if not name.startswith("-")} or KINDS.keys()
    return [kind for name, kind in KINDS.items() if name in only and name not in without]


class Sqlite:
    """A catalog in a file."""

    def __init__(self, path: Path, template: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        shutil.copyfile(template, path)

    def lose(self) -> None:
        for end in ("", "-wal", "-shm", "-journal"):
            Path(f"{self.path}{end}").unlink(missing_ok=True)


class Postgres:
    """A catalog on the tests' server."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.name = server.make_database("migrated")
        self.url = server.url(self.name)

    def lose(self) -> None:
        self.server.execute(f"DROP DATABASE {self.name} WITH (FORCE)")
        self.server.execute(f"CREATE DATABASE {self.name} TEMPLATE template1")

    def drop(self) -> None:
        self.server.execute(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")


@pytest.fixture
def database(number: int, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Database]:
    if number % 5 == 3:
        made = Postgres(request.getfixturevalue("postgres"))
        yield made
        made.drop()
    else:
        yield Sqlite(tmp_path / "catalog.db", request.getfixturevalue("sqlite_template"))


@pytest.mark.parametrize("thing", [MEMORY, DISK])
def test_this_machine_can_make_every_kind_of_place(thing: str) -> None:
    """Where it cannot, the kinds of faults that need it are left out, and this says so."""
    if why := unavailable(thing):
        lost = sorted(kind.name for kind in KINDS.values() if not set(kind.needs) - {thing})
        pytest.skip(f"no places in {thing} here: {why}; without {lost}")


@pytest.mark.parametrize("number", range(ROUNDS), ids=lambda n: f"seed-{SEED + n}")
def test_whatever_happens_every_path_holds_what_it_must(
    number: int, tmp_path: Path, database: Database, record_property: pytest.RecordProperty
) -> None:
    things = [thing for thing in (DIRECTORY, MEMORY, DISK) if not unavailable(thing)]
    kinds = [kind for kind in wanted() if set(kind.needs) & set(things)]
    place = tmp_path / "world"
    place.mkdir()
    one = None
    try:
        one = Round(place, database, planned(number, SEED + number, kinds, things))
        one.run()
    except AssertionError as error:
        told = "\n".join(one.world.told if one else [])
        pytest.fail(f"seed {SEED + number}, kept in {place}\n{told}\n\n{error}", pytrace=False)
    finally:
        if one is not None:
            one.world.close()
            with suppress(OSError, shutil.Error):
                one.world.keep()
            counts = one.world.counts | {"rounds": 1, "paths checked": one.world.oracle.checked}
            record_property("chaos", dict(counts))
        unmount_all(place)
