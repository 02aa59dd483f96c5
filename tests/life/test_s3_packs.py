"""Packs on S3: their lives, crashes and guards once more, servers that answer late or wrongly or not at all, versions,
locks, and a tier in an archive class."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from storaged.catalog.engine import Catalog
from storaged.errors import ObjectCold, StoragedError
from storaged.model import JobState
from storaged.testing import FakeClock
from storaged.testing.servers import ENVIRONMENT, MotoServer
from storaged.work import targets
from storaged.work.rewrite.pointers import remove_objects
from tests.life import test_pack_crashes, test_pack_guards, test_packs, vault
from tests.life.conftest import LONG
from tests.life.places import Lent
from tests.life.stage import Stage, a_stage
from tests.life.test_guards import Guard, Take
from tests.life.test_pack_crashes import SCENES, all_is_well
from tests.life.test_pack_guards import GUARDS
from tests.life.test_packs import packed, released
from tests.life.test_s3_trouble import ANSWERS, BLIP
from tests.life.test_versions import Kept, locking, versioned
from tests.life.vault import Vault
from tests.life.world import World, noise, text

__all__ = ["locking", "packed", "released", "versioned"]

LIVES = (
    "test_a_pack_is_one_blob_and_each_object_answers_to_its_name",
    "test_the_last_member_takes_the_key_with_it_and_no_other",
    "test_an_ejected_dataset_is_as_it_was",
    "test_who_changes_meanwhile_drops_out_alone",
    "test_a_rebuilt_catalog_has_the_members_of_the_journal_only",
)
FEW_CRASHES = ("pack",)
FEW_GUARDS = ("member identity", "member re-check")
FEW_ANSWERS = ("lost answer to the completion", "cut source")
CONTENTS = {f"d/{n}.csv": text(str(n), 3_000) for n in range(4)} | {"big.bin": noise("big", 9 << 20)}  # in two parts


@pytest.fixture
def layout() -> str:
    return "s3"


@pytest.fixture
def dialect() -> str:
    return "sqlite"


# -- what directories had to show already ------------------------------------------------------------------------------


@pytest.fixture
def world(dialect: str, clock: FakeClock, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with a_stage(dialect, clock, request) as made:
        yield made


globals().update({name: vars(test_packs)[name] for name in LIVES})


@pytest.fixture
def deaths(request: pytest.FixtureRequest) -> Iterable[tuple[int, bool]]:
    if LONG:
        return itertools.product(range(1, 300), [False, True])
    return zip(range(3, 300, 8), itertools.cycle([False, True]))


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    test_pack_crashes.small_pages(monkeypatch)


def test_a_small_member_is_one_request_and_all_of_them_one_more(world: Stage, moto: MotoServer) -> None:
    """One is had with its metadata, and looked at again with its neighbours. A large one is opened by itself."""
    names = [f"d/{number:02}.csv" for number in range(14)]
    contents = {name: text(name, 2_000) for name in names} | {"d/big.bin": noise("big", 5 << 20)}
    for name, content in contents.items():
        world.write(name, content)
    world.scan()
    world.enqueue_pack(contents)
    world.write(names[3], b"new")
    moto.clear_log()
    report = world.work()
    assert (report.done, report.skipped) == (14, 1)
    asked = [r for r in moto.log() if r.key.endswith((".csv", ".bin")) and not r.query.keys() & {"acl", "tagging"}]
    small = Counter(r.operation for r in asked if r.key.endswith(".csv") and not r.key.endswith(names[3]))
    assert small == {"GetObject": 13}
    assert {r.operation for r in asked if r.key.endswith(".bin")} == {"HeadObject", "GetObject"}
    world.scan()
    assert {name: world.read(name) for name in contents} == contents | {names[3]: b"new"}


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("scene", SCENES if LONG else FEW_CRASHES)
def test_a_crash_after_every_effect_of_a_pack_on_s3_loses_nothing(
    scene: str, dialect: str, clock: FakeClock, deaths: Iterable[tuple[int, bool]], request: pytest.FixtureRequest
) -> None:
    test_pack_crashes.test_a_crash_after_every_effect_of_a_pack_loses_nothing(scene, dialect, clock, deaths, request)


@pytest.mark.parametrize("guard", [g for g in GUARDS if LONG or g.name in FEW_GUARDS], ids=str)
def test_the_scene_of_a_pack_on_s3_holds_and_fails_without_its_guard(
    guard: Guard, dialect: str, clock: FakeClock, monkeypatch: Take, request: pytest.FixtureRequest
) -> None:
    test_pack_guards.pages_of_one(monkeypatch)
    with a_stage(dialect, clock, request) as stage:
        guard.scene(stage)
    with a_stage(dialect, clock, request) as stage:
        test_pack_guards.test_the_scene_of_a_pack_fails_without_its_guard(guard, stage, monkeypatch)


# -- a server that is no help ------------------------------------------------------------------------------------------


def begun(world: World) -> None:
    for name, content in CONTENTS.items():
        world.write(name, content)
    world.write("stranger.txt", b"of nobody's plan")
    world.scan()


@pytest.mark.parametrize("answer", ANSWERS if LONG else FEW_ANSWERS)
def test_an_answer_that_is_wrong_late_or_cut_costs_a_try_and_no_member(
    answer: str, world: Stage, moto: MotoServer
) -> None:
    fault, transient = ANSWERS[answer]
    begun(world)
    world.enqueue_pack(CONTENTS)
    moto.faults.add(**fault)
    report = world.work()
    moto.faults.assert_all_fired()
    moto.faults.clear()
    if transient:
        assert JobState.FAILED not in report.jobs.values(), report.notes
    for _ in range(4):
        world.days(0.1)
        world.work()
    all_is_well(world, CONTENTS)
    if transient and answer != "cut source":  # then the large one is left over, and is not packed by itself
        assert len(world.stored("cold")) == 1
        assert all(world.raw(name) is None for name in CONTENTS)


# MUST 17
@pytest.mark.parametrize(
    ("scene", "late"),
    [("pack", True), *([("pack", False), ("release of members", True), ("release of the last", True)] if LONG else [])],
    ids=lambda value: {False: "before the effect", True: "after the effect"}.get(value, value),
)
def test_connections_that_break_at_any_request_lose_no_member(
    scene: str, late: bool, clock: FakeClock, moto: MotoServer, dialect: str, request: pytest.FixtureRequest
) -> None:
    it = SCENES[scene]
    nth, turn = 1, 0
    while True:
        with a_stage(dialect, clock, request) as world:
            test_pack_crashes._begun(world)
            it.before(world)
            moto.clear_log()
            fault = moto.faults.add("Reset", nth=nth, times=BLIP, late=late)
            with contextlib.suppress(StoragedError):
                it.act(world)
            requests, fired = len(moto.log()), moto.faults.fired(fault)
            moto.faults.clear()
            world.days(0.1)
            world.scan()
            it.act(world)
            world.work()
            world.scan()
            all_is_well(world, {**test_pack_crashes.CONTENTS, **it.users})
        if not fired:
            break
        turn += 1
        nth += 1 if LONG else max(1, requests // 2)
    assert turn >= 2


# -- versions, locks, archives -----------------------------------------------------------------------------------------


def test_where_versions_are_kept_a_release_frees_the_current_one_of_each_member(versioned: Kept) -> None:
    names = [f"{n}.csv" for n in range(3)]
    for content in ("first", "second"):
        for name in names:
            versioned.write(name, text(f"{content} {name}"))
    versioned.scan()
    assert versioned.pack(*names).done == 3
    versioned.days(8)
    assert versioned.sweep().sources == 3
    assert versioned.scan(confirm_empty=True).vanished == 0
    assert [versioned.raw(name) for name in names] == [None] * 3
    assert set(versioned.versions()) == set(names), "the older ones"
    assert [versioned.read(name) for name in names] == [text(f"second {name}") for name in names]
    assert versioned.eject().done == 3
    versioned.days(8)
    assert versioned.sweep().blobs == 1
    assert [versioned.raw(name) for name in names] == [text(f"second {name}") for name in names]


# MUST 17
def test_a_member_that_is_locked_drops_out_alone(locking: Kept) -> None:
    names = [f"{n}.csv" for n in range(3)]
    for name in names:
        locking.write(name, text(name))
    locking.days(2)
    locking.scan()
    locking.lock(30, names[1])  # which no scan has seen
    report = locking.pack(*names)
    assert (report.done, report.skipped, report.failed) == (2, 1, 0)
    locking.days(8)
    assert locking.sweep().sources == 2
    assert [locking.raw(name) for name in names] == [None, text(names[1]), None]
    assert [locking.read(name) for name in names] == [text(name) for name in names]


@pytest.fixture
def archive(tmp_path: Path, catalog: Catalog, clock: FakeClock, lent: Lent, monkeypatch: pytest.MonkeyPatch) -> Vault:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return Vault(tmp_path, catalog, clock, lent)


def test_a_pack_in_an_archive_class_is_proven_released_and_given_up_member_by_member(archive: Vault) -> None:
    """It cannot be read back: what the store says of all its bytes is the proof, as of single objects."""
    names = [f"{n}.csv" for n in range(3)]
    archive.put(*names, storage_class="STANDARD")
    assert archive.pack(*names, tier="deep").done == 3
    with pytest.raises(ObjectCold, match="DEEP_ARCHIVE"):
        archive.read(names[0])
    archive.later(24 * 8)
    assert archive.sweep().sources == 3
    for name in names[:2]:
        assert remove_objects(archive.context, targets.pages(archive.context, f"lake/{name}")).refused == []
    archive.later(24 * 8)
    assert archive.sweep().errors == []
    archive.warm(f"lake/{names[2]}")
    archive.arrive()
    archive.refresh()
    assert archive.read(names[2]) == vault.content(names[2])
    assert remove_objects(archive.context, targets.pages(archive.context, f"lake/{names[2]}")).refused == []
    archive.later(24 * 8)
    assert archive.sweep().blobs == 1
