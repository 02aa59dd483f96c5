"""A world for one scene: one object, processes that die or are interrupted, a catalog to lose and to copy."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from storaged.catalog.engine import Catalog
from storaged.errors import ObjectNotFound, SourceChanged
from storaged.model import RawState
from storaged.testing import FakeClock
from storaged.testing.faults import Fault, Faults, FaultyStore
from storaged.work.context import Context
from storaged.work.doctor.verify import verify
from storaged.work.recover.rebuild import lost_catalog, reconcile
from storaged.work.rewrite.returns import to_root
from storaged.work.scan.run import scan
from tests import memory
from tests.life.crashes import Crash
from tests.life.databases import Databases, databases
from tests.life.interleave import InterleavedCatalog, InterleavedStore, Process
from tests.life.places import NewPlaces
from tests.life.world import World, text

OLD, NEW = text("old"), text("new")  # of the same size
NAME = "a.csv"


class Stage(World):
    """A world whose catalog can be lost and copied."""

    databases: Databases

    def seen_by(self, process: Process) -> Context:
        return self.new_context(
            catalog=InterleavedCatalog(self.catalog, process), wrap=lambda s: InterleavedStore(s, process)
        )

    def dies(self, act: Callable[[Context], object], step: str, nth: int = 1, *, in_flight: bool = False) -> Process:
        """`act` in a process that dies before its nth such step."""
        process = Process(step, nth, in_flight=in_flight)
        with pytest.raises(Crash):
            act(self.seen_by(process))
        return process

    def meets(self, act: Callable[[Context], object], step: str, other: Callable[[], object], nth: int = 1) -> None:
        """`act` in a process; `other` happens before its nth such step."""
        process = Process(step, nth, act=other)
        act(self.seen_by(process))
        assert process.happened

    def moved(self) -> None:
        self.write(NAME, OLD)
        self.scan()
        assert self.migrate(NAME).done == 1

    def due(self) -> None:
        self.moved()
        self.days(8)

    def released(self) -> None:
        self.due()
        assert self.sweep().sources == 1

    def find_damage(self, tier: str) -> None:
        """The object is read from a tier whose bytes rot under an unchanged identity."""
        faults = Faults(Fault("read_at", 0, damage=lambda data: data[:-1] + b"?" if data else data))
        context = self.new_context(wrap=lambda s: FaultyStore(s, faults) if s.url.endswith(f"/{tier}") else s)
        assert verify(context, [[self.seen(NAME)]], chance=random.Random(1)).damaged

    def eject_by(self, context: Context) -> None:
        to_root(context, [[self.seen(NAME)]], reason="test")
        self.work(context)

    def takes_over(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.context = self.new_context()

    def is_rebuilt(self) -> None:
        """The catalog is lost; another is made from the stores."""
        self.takes_over(self.databases.heir(lost_catalog(self.context.tier("hot"))))
        reconcile(self.context)
        scan(self.context, "lake", confirm_empty=True)

    def look(self) -> bytes | str | None:
        """What a reader gets: content, None for gone, or why it cannot be read."""
        try:
            return self.read(NAME)
        except (SourceChanged, ObjectNotFound) as error:
            return type(error).__name__

    def may_end_as(self) -> set[bytes | None]:
        """What a user's delete may lead to now: see docs/design.md, What a delete means."""
        p = self.seen(NAME).placement
        ours = p.in_doubt or (p.current and p.raw.state is not RawState.SUPERSEDED)
        return {None, self.read(NAME)} if ours else {None}

    def rescan(self) -> None:
        scan(self.context, "lake", confirm_empty=True)


@contextmanager
def a_stage(dialect: str, clock: FakeClock, request: Any) -> Iterator[Stage]:
    """A stage on this kind of database, in memory."""
    new_places: NewPlaces = request.getfixturevalue("new_places")
    with memory.directory() as place, databases(dialect, place, request) as made:
        world = Stage(place, made.make(), clock, more="workers: {threads: 1}\n", new_places=new_places)
        world.databases = made
        yield world
        world.places.give_back()
