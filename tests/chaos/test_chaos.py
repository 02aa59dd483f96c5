"""A real daemon, users, commands, and machines that go wrong: whatever happens, every path holds what it must.

STORAGED_CHAOS_SEED    the first round's seed; each round has one of its own, which is in its name
STORAGED_CHAOS_ROUNDS  how many
STORAGED_CHAOS_KINDS   which kinds of faults, by name and comma; all but those after a minus: -tier-full
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.faults import KINDS, Kind
from tests.chaos.places import DIRECTORY, DISK, MEMORY, unavailable, unmount_all
from tests.chaos.rounds import Round, planned
from tests.chaos.world import Database
from tests.postgres import PostgresServer

pytestmark = pytest.mark.timeout(1_800)
ROUNDS = int(os.environ.get("STORAGED_CHAOS_ROUNDS") or (300 if os.environ.get("STORAGED_LONG") else 2))
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


def left_out() -> set[str]:
    """Kinds of faults that this machine cannot make."""
    return {kind.name for kind in KINDS.values() if all(unavailable(thing) for thing in kind.needs)}


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
def place() -> Iterator[Path]:
    """Apart from the directories of other tests: if this process is killed, mounts stay. Kept where a round fails."""
    made = Path(tempfile.mkdtemp(prefix="storaged-chaos-")) / "world"
    made.mkdir()
    yield made
    unmount_all(made)
    if (made / "passed").exists():
        shutil.rmtree(made.parent)


@pytest.fixture
def database(seed: int, place: Path, request: pytest.FixtureRequest) -> Iterator[Database]:
    if seed % 5 == 3:
        made = Postgres(request.getfixturevalue("postgres"))
        yield made
        made.drop()
    else:
        yield Sqlite(place / "catalog.db", request.getfixturevalue("sqlite_template"))


@pytest.mark.parametrize("thing", [MEMORY, DISK])
def test_this_machine_can_make_every_kind_of_place(thing: str) -> None:
    """Where it cannot, the kinds of faults that need it are left out, and this says so."""
    if why := unavailable(thing):
        pytest.skip(f"no places in {thing} here: {why}; faults left out: {sorted(left_out())}")


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS), ids=lambda n: f"seed-{n}")
def test_whatever_happens_every_path_holds_what_it_must(
    seed: int, place: Path, database: Database, record_property: Callable[[str, object], None]
) -> None:
    things = [thing for thing in (DIRECTORY, MEMORY, DISK) if not unavailable(thing)]
    kinds = [kind for kind in wanted() if kind.name not in left_out()]
    one = Round(place, database, planned(seed, kinds, things))
    wrong = ""
    try:
        one.run()
    except AssertionError as error:
        wrong = "\n".join([*(c for c in one.world.complaints if c not in str(error)), str(error) or repr(error)])
    finally:
        one.world.close()
        counts = one.world.counts | Counter({"rounds": 1, "paths checked": one.world.oracle.checked})
        counts |= Counter({f"skipped {name}": 1 for name in left_out()})
        record_property("chaos", dict(counts))
    if wrong:
        one.world.tell(wrong)
        one.world.keep()
        told = "\n".join(one.world.told)
        pytest.fail(f"seed {seed}, kept in {place}\n{told}", pytrace=False)
    (place / "passed").touch()
