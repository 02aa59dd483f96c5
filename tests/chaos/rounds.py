"""One round: a storm, then rest, then every path is read and compared with what it must hold."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from storaged.errors import ObjectNotFound, StoragedError
from storaged.reader import CatalogReader, open_reader
from tests.chaos.faults import KINDS, Faults, Kind
from tests.chaos.oracle import Name
from tests.chaos.places import DIRECTORY, DISK, MEMORY
from tests.chaos.users import Users
from tests.chaos.world import ROOTS, TIERS, Database, World

STEPS = 70
EMPTY, SOME_LEFT = 6, 3  # exit codes: a root shows none of its objects; some objects were left as they were
FAULTS = 5  # of kinds that take turns; one more is always a kill
COMMANDS: tuple[tuple[tuple[str, ...], int], ...] = (
    (("scan",), 4),
    (("scan", "alpha"), 1),
    (("apply",), 5),
    (("sweep", "--yes"), 4),
    (("eject", "alpha", "--yes"), 1),
    (("eject", "beta", "--yes"), 1),
    (("restage", "alpha/*", "--tier", "hot"), 1),
    (("restage", "beta/a/*", "--to-root"), 1),
    (("undo", "alpha/a/*"), 1),
    (("undo", "beta/*"), 1),
    (("verify",), 1),
    (("doctor",), 1),
    (("doctor", "--fix"), 1),
    (("work",), 1),
)


@dataclass(frozen=True)
class Plan:
    """What a round will be, all of it from its seed."""

    seed: int
    kinds: Mapping[str, str]  # of things, by place
    faults: Sequence[tuple[Kind, tuple[str, ...]]]
    steered: bool
    rebuild: bool
    interrupted: bool  # the last eject is killed once; only where its lease can be waited for


def planned(seed: int, kinds: Sequence[Kind], things: Sequence[str]) -> Plan:
    """All of it follows from the seed. Kinds take turns, so that each fires every few rounds; their places are chosen
    by chance. `things`: the kinds of things that this machine can make."""
    chance = random.Random(f"plan {seed}")
    places = {name: chance.choice((DIRECTORY, DIRECTORY, *things)) for name in (*TIERS, *ROOTS)}
    turn = [kinds[(seed * FAULTS + n) % len(kinds)] for n in range(min(FAULTS, len(kinds)))] if kinds else []
    faults: list[tuple[Kind, tuple[str, ...]]] = []
    fixed: dict[str, tuple[str, ...]] = {}  # which things a place may be
    for kind in turn:
        fit = [name for name in kind.among if set(kind.needs) & set(fixed.get(name, (DIRECTORY, MEMORY, DISK)))]
        names = tuple(chance.sample(fit, kind.count)) if kind.among else ()
        for name in names:
            may = tuple(t for t in fixed.get(name, (DIRECTORY, MEMORY, DISK)) if t in kind.needs and t in things)
            fixed[name] = may
            if places[name] not in may:
                places[name] = chance.choice(may)
        faults.append((kind, names))
    if KINDS["killed"] in kinds:
        faults.append((KINDS["killed"], ()))
    chance.shuffle(faults)
    return Plan(seed, places, faults, seed % 3 != 2, seed % 3 == 1, seed % 3 != 2 and seed % 4 == 2)


class Round:
    """One round in a directory of its own."""

    def __init__(self, place: Path, database: Database, plan: Plan) -> None:
        self.plan = plan
        self.chance = random.Random(f"storm {plan.seed}")
        self.world = World(place, database, plan.kinds, steered=plan.steered, chance=self.chance)
        self.users = Users(self.world)
        self.faults = Faults(self.world, plan.faults)

    def run(self) -> None:
        """All of it. Raises AssertionError."""
        world = self.world
        world.tell(f"seed {self.plan.seed}, {'steered' if self.plan.steered else 'real'} clock, {self.plan.kinds}")
        for _ in range(12):
            self.users.create()
        world.comes_up()
        world.ctl("scan")
        self.storm()
        self.rest()
        world.complaints += self.wrong("at rest")
        assert not world.complaints, "\n".join(world.complaints)
        self.deletes_in_quiet()
        if self.plan.rebuild:
            self.rebuild()
        self.eject()

    # -- the storm -----------------------------------------------------------------------------------------------------

    def storm(self) -> None:
        """Users, commands and faults, all at once."""
        step = 0
        while step < STEPS or self.faults.waiting or self.faults.running:
            step += 1
            self.faults.end_some()
            lot = self.chance.random()
            if lot < 0.62:
                self.users.act()
            elif lot < 0.80:
                if self.world.has_room():
                    arguments, weights = zip(*COMMANDS, strict=True)
                    self.world.launches(*self.chance.choices(arguments, weights)[0])
            elif lot < 0.94:
                self.faults.begin_next()
            elif not any(r.kind.name == "killed" for r in self.faults.running):
                self.world.starts()  # as systemd does
            time.sleep(self.chance.uniform(0, 0.12))

    def rest(self) -> None:
        """All places back, nothing at work, the catalog up to date by the ways that the documentation tells."""
        world = self.world
        world.tell("-- rest")
        self.faults.end_all()
        world.waits()
        world.recovers()
        world.stops()
        world.calms()
        world.pass_time()
        fired = {kind.name for kind, _ in self.plan.faults}
        missed = [name for name in fired if not world.counts[f"fault {name}"]]
        assert not missed, f"faults that did not fire: {missed}"
        world.ctl("work", good=(0, SOME_LEFT))  # what the queue still holds may not be wanted any more
        self.scan()
        for command in (("verify",), ("sweep", "--yes")):
            done = world.launches(*command)
            if code := world.ends(done):
                world.complaints.append(f"storagectl {' '.join(command)} exits with {code}:\n{done.said[-2_000:]}")
        self.scan()
        world.complaints += world.heard_no_fault()

    def scan(self) -> None:
        """All users' files are there, whatever is gone was deleted on purpose."""
        if self.world.ends(self.world.launches("scan")) != 0:
            self.world.ctl("scan", "--confirm-empty")

    # -- judgement -----------------------------------------------------------------------------------------------------

    def compare(self, when: str) -> None:
        """Raises AssertionError where something is wrong."""
        wrong = self.wrong(when)
        assert not wrong, "\n".join(wrong)

    def wrong(self, when: str) -> list[str]:
        """Complaints about every name as a reader gets it, and as the file that is there. What was shown stays so from
        now on."""
        world, oracle = self.world, self.world.oracle
        world.tell(f"-- compare {when}")
        wrong: list[str] = []
        reader = open_reader(world.config)
        try:
            shown: dict[Name, bytes | None] = {}
            for name in sorted(oracle.names):
                try:
                    shown[name] = read(reader, name)
                except StoragedError as error:
                    wrong.append(f"{'/'.join(name)} cannot be read: {error.message}")
                    continue
                wrong += oracle.under_its_name(name, shown[name])
                found, mode = self.raw(name)
                wrong += oracle.raw(name, found, mode)
                if found is not None and found != shown[name]:
                    wrong.append(f"{'/'.join(name)} reads otherwise than the file that is there")
            wrong += oracle.strangers((s.dataset, s.name) for d in ROOTS for s in reader.under(d))
        finally:
            reader.close()
        wrong += oracle.strangers(self.files())
        for name, content in shown.items():
            oracle.showed(name, content)
        existing = sorted(name for name, content in shown.items() if content is not None)
        for name in self.chance.sample(existing, min(2, len(existing))):
            self.world.ctl("cat", "/".join(name))
        return [f"{when}: {line}" for line in wrong]

    def raw(self, name: Name) -> tuple[bytes | None, int | None]:
        """The file under a name: what it holds, and its mode."""
        path = self.users.path(name)
        if not path.is_file():
            return None, None
        return path.read_bytes(), path.stat().st_mode & 0o7777

    def files(self) -> list[Name]:
        """Every file of users."""
        found = []
        for dataset in ROOTS:
            top = self.world.place / dataset
            for path in top.rglob("*"):
                inner = path.relative_to(top)
                if path.is_file() and inner.parts[0] != ".storaged":
                    found.append((dataset, str(inner)))
        return found

    # -- and then ------------------------------------------------------------------------------------------------------

    def deletes_in_quiet(self) -> None:
        """A delete of a key that the catalog holds counts, and is not taken back by anything that follows."""
        found = sorted(name for name in self.files())
        for name in self.chance.sample(found, min(3, len(found))):
            self.users.path(name).unlink()
            self.world.oracle.deleted_in_quiet(name)
            self.world.tell(f"user: deletes in quiet {'/'.join(name)}")
        self.scan()
        self.compare("after deletes in quiet")

    def rebuild(self) -> None:
        """The catalog is thrown away, and made anew."""
        self.world.tell("-- the catalog is lost")
        self.world.database.lose()
        self.world.ctl("catalog", "rebuild", "--yes", good=(0, EMPTY))
        self.scan()
        self.world.ctl("sweep", "--yes")
        self.world.ctl("verify")
        self.compare("after a rebuild")
        self.world.counts["rebuilds"] += 1

    def eject(self) -> None:
        """Everything goes back under its original key."""
        world = self.world
        world.tell("-- eject")
        if self.plan.interrupted:
            victim = world.launches("eject", "alpha", "--yes")
            time.sleep(self.chance.uniform(0.05, 0.5))
            victim.process.kill()
            world.ends(victim)
            world.counts["kills"] += 1
            world.pass_time()
        for dataset in ROOTS:
            self.eject_all_of(dataset)
        self.compare_files("after eject")
        world.pass_time()
        world.ctl("sweep", "--yes")
        self.scan()
        self.compare_files("after eject and sweep")
        self.compare("after eject and sweep")

    def eject_all_of(self, dataset: str) -> None:
        """Objects may be in jobs that still wait for their next try: the command tells how to get them out of there."""
        done = self.world.launches("eject", dataset, "--yes")
        code = self.world.ends(done)
        jobs = set(re.findall(r"`storagectl job cancel (\d+)`", done.said))
        assert code == (SOME_LEFT if jobs else 0), (
            f"storagectl eject {dataset} exits with {code}:\n{done.said[-3_000:]}"
        )
        for job in sorted(jobs):
            self.world.ctl("job", "cancel", job)
        if jobs:
            self.world.ctl("eject", dataset, "--yes")

    def compare_files(self, when: str) -> None:
        oracle = self.world.oracle
        self.world.tell(f"-- compare files {when}")
        wrong = [line for name in sorted(oracle.names) for line in oracle.returned(name, *self.raw(name))]
        wrong += oracle.strangers(self.files())
        assert not wrong, f"{when}:\n" + "\n".join(wrong)


def read(reader: CatalogReader, name: Name) -> bytes | None:
    """What a reader gets under a name; None where there is no such object."""
    try:
        with reader.open("/".join(name)) as content:
            return content.read_at(0, content.shown.size + 1)
    except ObjectNotFound:
        return None
