"""After every single effect of a pack's life the process dies; another one goes on, or the catalog is lost as well.

Pages and notes are of two objects here, so that a swap, a release and what the journal has of them can end half-way.
Then: every member reads, or is gone as its user said, nothing of ours is unknown to the catalog, and when all windows
are over every key in the tiers is needed by somebody and nothing else is left.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa

from storaged.catalog import facts
from storaged.catalog.schema import blobs, outbox, replicas
from storaged.catalog.schema_attempts import attempts
from storaged.errors import StoreFull
from storaged.model import RawState, ReplicaState
from storaged.testing import FakeClock, Fault, Faults, FaultyStore
from storaged.work import journal, targets
from storaged.work.recover.rebuild import lost_catalog, reconcile
from storaged.work.release import blobs as release_of_blobs
from storaged.work.release import sources as release_of_sources
from storaged.work.rewrite import swap
from storaged.work.rewrite.overwritten import let_go
from storaged.work.rewrite.pointers import remove_objects
from storaged.work.scan.run import scan
from tests.life.conftest import LONG
from tests.life.crashes import Effects
from tests.life.deaths import dies
from tests.life.stage import Stage, a_stage
from tests.life.world import World, noise, text

A, B, C, D, E = NAMES = ("d/a.json", "d/b.json", "d/c.bin", "e/d.json", "e/e.json")
CONTENTS = {name: noise(name, 2_000) if name.endswith(".bin") else text(name, 3_000) for name in NAMES}
NEW = text("new", 2_500)
TWO = 2  # objects of a page
Step = Callable[[Stage], object]


def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be half-way is half-way after two objects."""
    monkeypatch.setattr(swap, "PAGE", TWO)
    monkeypatch.setattr(journal, "BATCH", TWO)
    for module in (release_of_blobs, release_of_sources):
        monkeypatch.setattr(module, "BATCH", TWO)


_small_pages = pytest.fixture(autouse=True)(small_pages)


@pytest.fixture
def deaths(dialect: str, request: pytest.FixtureRequest) -> Iterable[tuple[int, bool]]:
    """After which effect the process dies, and whether the catalog is lost then. In a campaign after each of them, with
    and without the loss; else some, from another one on in each scene."""
    if LONG:
        return itertools.product(range(1, 300), [False, True])
    every = 17 if dialect == "postgres" or "rebuild" in request.node.name else 11
    return zip(range(1 + len(request.node.name) % every, 300, every), itertools.cycle([False, True]))


# -- what is done ------------------------------------------------------------------------------------------------------


def _begun(lake: Stage) -> None:
    for name, content in CONTENTS.items():
        lake.write(name, content)
    lake.write("stranger.txt", b"of nobody's plan")
    lake.scan()


def _queued(lake: Stage) -> None:
    lake.enqueue_pack(NAMES)


def _changed_while_queued(lake: Stage) -> None:
    """One is written anew, one is deleted: they drop out."""
    _queued(lake)
    lake.write(B, NEW)
    lake.delete(C)


def _packed(lake: Stage) -> None:
    assert lake.pack(*NAMES).done == len(NAMES)


def _due(lake: Stage) -> None:
    _packed(lake)
    lake.days(8)


def _released(lake: Stage) -> None:
    _due(lake)
    assert lake.sweep().sources == len(NAMES)


def _undone(lake: Stage) -> None:
    _packed(lake)
    lake.undo("lake")


def _one_undone(lake: Stage) -> None:
    _packed(lake)
    lake.undo(f"lake/{B}")
    lake.days(8)


def _ejected(lake: Stage) -> None:
    _released(lake)
    assert lake.eject().done == len(NAMES)
    lake.days(8)


def _remove(lake: Stage, *names: str) -> None:
    for name in names:
        remove_objects(lake.context, targets.pages(lake.context, f"lake/{name}"))


def _some_removed(lake: Stage) -> None:
    _released(lake)
    _remove(lake, A, B, D)
    lake.days(8)


def _last_removed(lake: Stage) -> None:
    """The others have left already."""
    _some_removed(lake)
    assert lake.sweep().errors == []
    _remove(lake, C, E)
    lake.days(8)


def _overwritten(lake: Stage) -> None:
    _released(lake)
    lake.write(B, NEW)


def _waits_to_move_on(lake: Stage) -> None:
    _released(lake)
    lake.enqueue_pack(NAMES, pack="0002")


def _moved_on(lake: Stage) -> None:
    """All are in a second pack."""
    _waits_to_move_on(lake)
    assert lake.work().done == len(NAMES)
    lake.days(8)


def _some_moved_on(lake: Stage) -> None:
    """Three are in a second pack, two stay in the first."""
    _released(lake)
    assert lake.pack(A, C, E, pack="0002").done == 3
    lake.days(8)


def _work(lake: Stage) -> None:
    lake.work()


def _sweep(lake: Stage) -> None:
    lake.sweep()


def _scan(lake: Stage) -> None:
    lake.scan()


@dataclass(frozen=True)
class Scene:
    """What was done before, what the process is at that dies, and what its users have made of the objects."""

    before: Step
    act: Step
    users: Mapping[str, bytes | None] = field(default_factory=dict)  # None: deleted


SCENES = {
    "pack": Scene(_queued, _work),
    "pack of some that changed": Scene(_changed_while_queued, _work, {B: NEW, C: None}),
    "release of sources": Scene(_due, _sweep),
    "undo": Scene(_packed, lambda lake: lake.undo("lake")),
    "release of an undone pack": Scene(_undone, _sweep),
    "release of one that was undone": Scene(_one_undone, _sweep),
    "eject": Scene(_released, lambda lake: lake.eject()),
    "release of an ejected pack": Scene(_ejected, _sweep),
    "rm": Scene(_released, lambda lake: _remove(lake, A, B, D), {A: None, B: None, D: None}),
    "release of members": Scene(_some_removed, _sweep, {A: None, B: None, D: None}),
    "release of the last": Scene(_last_removed, _sweep, dict.fromkeys(NAMES)),
    "overwrite": Scene(_overwritten, _scan, {B: NEW}),
    "repack": Scene(_waits_to_move_on, _work),
    "release of the old pack": Scene(_moved_on, _sweep),
    "release from the old pack": Scene(_some_moved_on, _sweep),
}


# -- what happens ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", SCENES)
def test_a_crash_after_every_effect_of_a_pack_loses_nothing(
    scene: str, dialect: str, clock: FakeClock, deaths: Iterable[tuple[int, bool]], request: pytest.FixtureRequest
) -> None:
    it, effects = SCENES[scene], Effects()
    for n, lost in deaths:
        with a_stage(dialect, clock, request) as lake:
            _begun(lake)
            it.before(lake)
            effects = Effects(stop_after=n)
            dies(lake, effects, it.act)
            if not effects.dead:
                break
            lake.days(0.01)  # its lease is over
            if lost:
                _is_lost(lake)
                lake.sweep()  # what was released is releasing again until a sweep has looked
            lake.scan()
            it.act(lake)
            lake.work()
            lake.scan()
            all_is_well(lake, {**CONTENTS, **it.users})
    else:
        pytest.fail("the scene has no end")
    assert len(effects.log) >= 3, effects.log


# MUST 8
@pytest.mark.parametrize("lost", [False, True], ids=["goes on", "lost"])
def test_a_crash_between_two_pages_of_a_swap_leaves_what_the_journal_has_of_the_first(
    lost: bool, dialect: str, clock: FakeClock, request: pytest.FixtureRequest
) -> None:
    """The first page is swapped, told to the journal, and taken out of the outbox, before the second is."""
    told = ["commit", "write_note", "commit"]  # a page of the swap, and its flush
    for n in (4, 5, 6) if dialect == "sqlite" else (5,):
        with a_stage(dialect, clock, request) as lake:
            _begun(lake)
            _queued(lake)
            effects = Effects(stop_after=n)
            dies(lake, effects, _work)
            assert [what.split()[0] for what in effects.log[3:]] == told[: n - 3]
            with lake.catalog.read() as conn:
                assert facts.journal_waiting(conn) == (0 if n == 6 else TWO)
            lake.days(0.01)
            if lost:
                _is_lost(lake)
            assert len([n for n in NAMES if lake.seen(n).placement.replicas]) == (0 if lost and n == 4 else TWO)
            if lost:
                _queued(lake)
            lake.work()
            lake.scan()
            all_is_well(lake, CONTENTS)


def test_a_journal_that_takes_nothing_between_two_pages_stops_no_swap(world: World) -> None:
    """What it did not get then it gets at the end."""
    for name, content in CONTENTS.items():
        world.write(name, content)
    world.scan()
    faults = Faults(Fault("write_note", call=1, error=StoreFull("the tier is full")))
    world.enqueue_pack(NAMES)
    report = world.work(world.new_context(wrap=lambda s: FaultyStore(s, faults) if s.url.endswith("/hot") else s))
    faults.assert_all_hit()
    assert report.done == len(NAMES)
    with world.catalog.read() as conn:
        assert facts.journal_waiting(conn) == 0
    note = world.context.journal.read(0)
    assert note is not None
    assert len(note.entries) == TWO


STANDS: Mapping[str, tuple[Step, Mapping[str, bytes | None]]] = {
    "packed": (_packed, {}),
    "members left": (lambda lake: (_some_removed(lake), lake.sweep()), {A: None, B: None, D: None}),
    "the last left": (lambda lake: (_last_removed(lake), lake.sweep()), dict.fromkeys(NAMES)),
    "moved on": (_some_moved_on, {}),
    "ejected": (_ejected, {}),
}


# MUST 17
@pytest.mark.parametrize("stands", STANDS)
def test_a_crash_after_every_effect_of_a_rebuild_loses_no_member(
    stands: str, dialect: str, clock: FakeClock, deaths: Iterable[tuple[int, bool]], request: pytest.FixtureRequest
) -> None:
    before, users = STANDS[stands]
    effects = Effects()
    for n, lost in deaths:
        with a_stage(dialect, clock, request) as lake:
            _begun(lake)
            before(lake)
            _lose(lake)
            effects = Effects(stop_after=n)
            dies(lake, effects, _come_back)
            if lost:
                _is_lost(lake)
            else:
                _come_back(lake)
            all_is_well(lake, {**CONTENTS, **users})
        if not effects.dead:
            break
    else:
        pytest.fail("the rebuild has no end")
    assert len(effects.log) >= 10, effects.log


def _lose(lake: Stage) -> None:
    lake.takes_over(lake.databases.heir(lost_catalog(lake.context.tier("hot"))))


def _is_lost(lake: Stage) -> None:
    _lose(lake)
    _come_back(lake)


def _come_back(lake: Stage) -> None:
    reconcile(lake.context)
    scan(lake.context, "lake", confirm_empty=True)


def all_is_well(lake: World, expected: Mapping[str, bytes | None]) -> None:
    """Now, and when all windows are over."""
    _reads(lake, expected)
    for _ in range(4):
        # A person confirms: what was overwritten, or was gone after a rebuild, is kept for a year otherwise.
        let_go(lake.context, targets.pages(lake.context, "lake"))
        lake.days(8)
        assert lake.sweep().errors == []
        lake.scan()
    _reads(lake, expected)
    assert lake.leftovers() == []
    with lake.catalog.read() as conn:
        current = replicas.c.state == ReplicaState.CURRENT.value
        needed = set(
            conn.execute(sa.select(blobs.c.key).join(replicas, replicas.c.blob_id == blobs.c.id).where(current))
            .scalars()
            .all()
        )
        known = set(conn.execute(sa.select(blobs.c.key)).scalars())
        rest = [conn.execute(sa.select(sa.func.count()).select_from(t)).scalar_one() for t in (attempts, outbox)]
    stored = {key for tier in ("hot", "warm", "cold") for key in lake.stored(tier)}
    assert stored == needed == known, "a key is kept that nobody needs, or one is gone that somebody needs"
    assert rest == [0, 0]
    for name, content in expected.items():
        p = lake.seen(name).placement if content is not None else None
        at_root = p is not None and p.raw.state is RawState.CURRENT
        assert (lake.raw(name) is not None) == at_root, name
        assert p is None or len(p.replicas) == (0 if at_root else 1), name


def _reads(lake: World, expected: Mapping[str, bytes | None]) -> None:
    assert {name: lake.read(name) for name in expected} == dict(expected)
    assert lake.raw("stranger.txt") == b"of nobody's plan"
    assert lake.unknown_blobs() == []
    assert lake.packs_add_up()
