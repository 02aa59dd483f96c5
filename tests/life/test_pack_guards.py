"""Each rule that a shared blob adds to the protocol: a scene that breaks without it, and the proof that it notices.

As in test_guards.py: every scene runs on the code as it is, and once more with its guard taken away on purpose. Pages
and notes are of one object each here, so that whatever can end half-way may. Where two guards overlap in our code, so
that one alone is not missed, both are taken away:

guard              taken away by                              what else is in the way of the same harm
last member        one member's release takes the key         -
intent each        nobody asks what waits for the journal     undo within its grace only: the clock of who undoes
                                                              is behind
forget durable     who leaves does not tell the journal       the same
forget in tx       others are looked for before               blobs without rows are swept too: taken away
undo superseded    undo of what is being released             -
hold each          the intent's transaction asks nothing      the row's version: taken away too
member guard       the version is not compared                -
member identity    any identity at open                       -
member re-check    no re-check                                the local reader looks at every read: taken away too
way                it is not looked at again                  -
member digest      it is not compared by the packer           nor by the swap: taken away too
swap live          renewal never fails, any state will do     -
swap live, paged   a later page does not ask for the blob     -
none left          what nobody is in is recorded all the same blobs without rows are swept too: taken away
toc no claim       a table of contents gives places           -
journal over toc   the same                                   -
stray all          one member that nobody knows keeps it      -
window anew        tiers are not listed again                 -
undurable back     what was never told stays                  -
damage in tx       the intent's transaction asks nothing      the row's version: taken away too
damage told        damage is not told to the journal          -
damage each        what verify finds is said of the blob      -
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Final

import pytest
import sqlalchemy as sa

from storaged.catalog import blobs, changes, entries, facts, placements
from storaged.catalog.attempts import Proven
from storaged.catalog.items import Item
from storaged.catalog.placements import Change, Seen
from storaged.catalog.queue import ClaimedJob
from storaged.catalog.replay import apply_entries
from storaged.catalog.schema import outbox, replicas
from storaged.clock import DAY, Timings
from storaged.codecs.pack import PACK, Member
from storaged.errors import LeaseLost, ObjectNotFound, SourceChanged, StoragedError
from storaged.model import Origin, Placement, Raw, RawState, Replica, ReplicaState
from storaged.stores.base import Stat
from storaged.stores.local_files import LocalReader
from storaged.stores.local_way import Way
from storaged.stores.s3.reader import S3Reader
from storaged.testing import FakeClock
from storaged.testing.faults import Fault, Faults, FaultyStore
from storaged.work import journal, targets
from storaged.work.context import Context
from storaged.work.doctor import verify as verifying
from storaged.work.doctor.verify import verify
from storaged.work.recover import rebuild
from storaged.work.recover.rebuild import lost_catalog, reconcile
from storaged.work.release import blobs as release_of_blobs
from storaged.work.release import sources as release_of_sources
from storaged.work.release.blobs import Blobs
from storaged.work.release.guarded import Guarded
from storaged.work.release.strays import describe
from storaged.work.release.sweep import sweep
from storaged.work.rewrite import pack, read_ahead
from storaged.work.rewrite import pointers as undoing
from storaged.work.rewrite import swap as swapping
from storaged.work.rewrite.pointers import hold_objects, remove_objects
from storaged.work.rewrite.stage import Staged, Transitioned
from storaged.work.rewrite.worker import Worker
from tests.life.conftest import LONG
from tests.life.crashes import Crash
from tests.life.interleave import InterleavedCatalog, InterleavedStore, Process
from tests.life.stage import Stage, a_stage
from tests.life.test_guards import Guard, Take, _read_anything, any_identity, damage_is_not_told, without_lease
from tests.life.world import PLAIN, text

A, B, C = NAMES = ("a.csv", "b.csv", "c.csv")
CONTENTS: Final[Mapping[str, bytes]] = {name: text(name, 3_000) for name in NAMES}
NEW: Final = text("new", 3_000)  # of the same size
ONE: Final = 1  # object of a page


def pages_of_one(monkeypatch: Take) -> None:
    """What can be half-way is half-way after one object."""
    monkeypatch.setattr(swapping, "PAGE", ONE)
    monkeypatch.setattr(journal, "BATCH", ONE)
    for module in (release_of_blobs, release_of_sources):
        monkeypatch.setattr(module, "BATCH", ONE)


_pages_of_one = pytest.fixture(autouse=True)(pages_of_one)


@pytest.fixture
def dialect() -> str:
    """Another database would show the same, but for what its transactions keep apart: see ON_POSTGRES."""
    return "sqlite"


# -- what there is -----------------------------------------------------------------------------------------------------


def scanned(lake: Stage, contents: Mapping[str, bytes] = CONTENTS) -> None:
    for name, content in contents.items():
        lake.write(name, content)
    lake.scan()


def packed(lake: Stage) -> None:
    """All in one pack, their sources in grace."""
    scanned(lake)
    assert lake.pack(*NAMES).done == len(NAMES)


def released(lake: Stage) -> None:
    """All in one pack and nowhere else."""
    packed(lake)
    lake.days(8)
    assert lake.sweep().sources == len(NAMES)


def left(lake: Stage, first: str, days: float, then: str) -> None:
    """Two share a pack that both have left for blobs of their own, the second one so many days after the first. The
    grace of the first is over."""
    scanned(lake, {name: CONTENTS[name] for name in (first, then)})
    assert lake.pack(first, then).done == 2
    lake.days(8)
    assert lake.sweep().sources == 2
    assert lake.migrate(first, tier="warm").done == 1
    lake.days(days)
    assert lake.migrate(then, tier="warm").done == 1
    lake.days(8 - days)


def removed(lake: Stage, *names: str) -> None:
    for name in names:
        assert remove_objects(lake.context, targets.pages(lake.context, f"lake/{name}")).refused == []


def look(lake: Stage, name: str) -> bytes | str | None:
    """What a reader gets: content, None for gone, or why it cannot be read."""
    try:
        return lake.read(name)
    except (SourceChanged, ObjectNotFound) as error:
        return type(error).__name__


def rot(lake: Stage, name: str) -> None:
    """Verify finds the object's slice damaged, and looks at no other."""
    faults = Faults(Fault("read_at", 0, damage=lambda data: data[:-1] + b"?" if data else data))
    context = lake.new_context(wrap=lambda s: FaultyStore(s, faults) if s.url.endswith("/cold") else s)
    assert verify(context, [[lake.seen(name)]], chance=random.Random(1)).damaged


def undo_by_a_clock_that_is_behind(lake: Stage, name: str, days: float) -> None:
    """After a rebuild: what was released counts as releasing until a sweep has looked."""
    ours, lake.clock = lake.clock, FakeClock(lake.clock.now_us() - round(days * DAY))
    try:
        lake.sweep(lake.new_context())
        lake.undo(f"lake/{name}", lake.new_context())
    finally:
        lake.clock = ours


@dataclass(frozen=True)
class Asleep:
    """A worker that has staged a pack and not swapped it yet."""

    claimed: ClaimedJob
    staged: Sequence[Staged | Transitioned]


def asleep(lake: Stage, *names: str) -> Asleep:
    lake.enqueue_pack(names)
    context = lake.new_context(actor="sleeper")
    with Worker(context, name="sleeper") as worker:
        claimed = worker.claim()
        assert claimed is not None
        assert claimed.members is not None
        made, _ = worker._pack(claimed, claimed.members, Timings(), lambda: True, lambda _item, _note: None)
    staged = list(made)
    assert len(staged) == len(names)
    return Asleep(claimed, staged)


def wake_up(lake: Stage, one: Asleep, context: Context | None = None) -> bool:
    """The swap of what it staged. Whether it found its lease lost."""
    context = context or lake.new_context(actor="sleeper")
    try:
        swapping.swap(context, one.claimed, one.staged, [])
    except LeaseLost:
        return True
    context.journal.flush()
    return False


# -- release of the shared blob ----------------------------------------------------------------------------------------


# MUST 17
def one_that_goes_leaves_the_others_their_copy(lake: Stage) -> None:
    released(lake)
    removed(lake, A)
    lake.days(8)
    lake.sweep()
    assert (look(lake, B), look(lake, C)) == (CONTENTS[B], CONTENTS[C])


def one_member_takes_the_key(take: Take) -> None:
    take.setattr(Blobs, "_leave", lambda _self, taken, blob_of: sorted({blob_of[h.id] for h in taken}))


# MUST 17
def a_delete_waits_until_the_journal_has_the_intent_of_each(lake: Stage) -> None:
    left(lake, A, 2, B)
    ends = Process("delete", 1, in_flight=True)

    def another_takes_an_intent_and_dies() -> None:
        lake.days(2)  # the grace of the other is over now
        lake.dies(sweep, "write_note")

    meanwhile = Process("begin", 4, act=another_takes_an_intent_and_dies)  # leases, the intent, the journal; the row
    sweeper = lake.new_context(
        catalog=InterleavedCatalog(lake.catalog, meanwhile), wrap=lambda s: InterleavedStore(s, ends)
    )
    with contextlib.suppress(Crash):
        sweep(sweeper)
    assert meanwhile.happened
    lake.is_rebuilt()
    undo_by_a_clock_that_is_behind(lake, B, 3)
    for landing in ends.under_way:
        landing.land()
    assert look(lake, B) == CONTENTS[B]


def nothing_waits_for_the_journal(take: Take) -> None:
    honest = Blobs._leave

    def leave(self: Blobs, taken: list[Seen], blob_of: Mapping[int, str]) -> list[str]:
        empty = sa.select(outbox).where(sa.false()).subquery()
        take.setattr(release_of_blobs, "outbox", empty)
        return honest(self, taken, blob_of)

    take.setattr(Blobs, "_leave", leave)


# MUST 17
def who_left_before_never_goes_back_to_a_key_that_is_deleted(lake: Stage) -> None:
    left(lake, B, 2, A)
    lake.sweep()  # B leaves
    with lake.catalog.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(replicas)).scalar_one() == 3
    lake.days(2)
    [late] = lake.dies(sweep, "delete", in_flight=True).under_way
    lake.is_rebuilt()
    undo_by_a_clock_that_is_behind(lake, B, 4)
    late.land()
    assert look(lake, B) == CONTENTS[B]


def who_leaves_tells_nobody(take: Take) -> None:
    honest = placements.change

    def change(conn: sa.Connection, made: Sequence[Change], **more: Any) -> None:
        others = sa.select(sa.func.count()).where(replicas.c.state == ReplicaState.SUPERSEDED.value)
        leaves = made and made[0].kind == "release-blob" and conn.execute(others).scalar_one() > len(made)
        (placements.quietly if leaves else honest)(conn, made, **more)

    take.setattr(placements, "change", change)


# MUST 17
def of_two_that_leave_at_once_one_takes_the_key(lake: Stage) -> None:
    left(lake, B, 2, A)

    def the_other_leaves_and_its_sweeper_dies() -> None:
        lake.days(2)
        with contextlib.suppress(Crash):
            sweep(lake.seen_by(Process("committed", 4)))  # leases, the intent, the journal; the row

    lake.meets(sweep, "begin", the_other_leaves_and_its_sweeper_dies, 4)
    for _ in range(2):
        lake.days(8)
        lake.sweep()
    assert lake.stored("cold") == {}


def others_are_looked_for_before(take: Take) -> None:
    honest = Blobs._leave
    take.setattr(Blobs, "_unused", lambda _self, _after: [])

    def leave(self: Blobs, taken: list[Seen], blob_of: Mapping[int, str]) -> list[str]:
        """Whether another one has a row is seen before the transaction in which one's own is dropped."""
        with self.context.catalog.read() as conn:
            query = sa.select(replicas.c.blob_id, replicas.c.object_id)
            rows = [(row.blob_id, row.object_id) for row in conn.execute(query)]
        shared = {blob for blob, number in rows if number not in {h.id for h in taken}}
        if not shared:
            return honest(self, taken, blob_of)
        with self.context.catalog.begin() as conn:
            page = changes.Page(conn, taken, any_version=True)
            gone = page.judge(
                lambda h: Change(
                    h,
                    replace(h.placement, replicas=tuple(r for r in h.placement.replicas if r.blob != blob_of[h.id])),
                    "replica-released",
                )
            )
            changes.record(conn, gone, now_us=self.context.now_us(), why=self.context.why())
        return []

    take.setattr(Blobs, "_leave", leave)


# MUST 17
def an_undo_never_goes_back_to_a_slice_that_is_being_released(lake: Stage) -> None:
    left(lake, A, 0, B)
    [late] = lake.dies(sweep, "delete", in_flight=True).under_way
    lake.undo(f"lake/{B}")
    assert late.land()
    assert look(lake, B) == CONTENTS[B]


def with_undo_of_releasing(take: Take) -> None:
    honest = undoing.undo

    def undo(p: Placement, *, now_us: int, doubt_us: int) -> Placement:
        as_if = tuple(
            replace(r, state=ReplicaState.SUPERSEDED, until_us=now_us + 1) if r.state is ReplicaState.RELEASING else r
            for r in p.replicas
        )
        return honest(replace(p, replicas=as_if), now_us=now_us, doubt_us=doubt_us)

    take.setattr(undoing, "undo", undo)


# MUST 17
def one_that_is_held_in_mid_release_stays_and_the_key_with_it(lake: Stage) -> None:
    left(lake, A, 0, B)

    def a_court_speaks() -> None:
        hold_objects(lake.context, targets.pages(lake.context, f"lake/{A}"), "a court")

    lake.meets(sweep, "begin", a_court_speaks, 2)  # leases; the intent
    lake.sweep()
    assert len(lake.stored("cold")) == 1
    assert len(lake.seen(A).placement.replicas) == 2


def the_intent_asks_nothing_again(take: Take) -> None:
    def intent(self: Guarded, judged: list[Seen], kind: str, change: Any) -> list[Seen]:
        now = self.context.now_us()
        with self.context.catalog.begin() as conn:
            page = changes.Page(conn, judged, any_version=True)
            made = page.judge(lambda h: Change(h, change(h, now), kind))
            changes.record(conn, made, now_us=now, why=self.context.why())
        return [replace(c.seen, placement=c.placement, version=c.seen.version + 1) for c in made]

    take.setattr(Guarded, "_take_intent", intent)


# -- making a pack -----------------------------------------------------------------------------------------------------


# MUST 17
def a_member_written_before_the_swap_drops_out_and_the_others_go_on(lake: Stage) -> None:
    scanned(lake)
    lake.enqueue_pack(NAMES)

    def it_is_written_and_seen() -> None:
        lake.write(A, NEW)
        lake.rescan()

    lake.meets(lake.work, "upload", it_is_written_and_seen)
    assert look(lake, A) == NEW
    assert lake.seen(B).placement.current


def whatever_version_it_has(take: Take) -> None:
    class Page(changes.Page):
        def __init__(self, conn: sa.Connection, read: Any) -> None:
            super().__init__(conn, read, any_version=True)

    take.setattr(swapping, "changes", SimpleNamespace(Page=Page, record=changes.record))


# MUST 17
def a_member_is_what_it_was_when_its_turn_comes(lake: Stage) -> None:
    scanned(lake)
    lake.enqueue_pack(NAMES)
    lake.meets(lake.work, "open", lambda: lake.write(B, NEW), 2)
    assert lake.seen(A).placement.current
    assert lake.seen(B).placement.generation == 1
    assert look(lake, B) in (CONTENTS[B], "SourceChanged")


# MUST 17
def a_member_written_into_while_it_is_copied_is_not_taken_for_whole(lake: Stage) -> None:
    old, new = text("old", 10 << 20), text("new", 10 << 20)  # more than waits to be written
    scanned(lake, {**CONTENTS, "d.csv": old})
    lake.enqueue_pack([*NAMES, "d.csv"])
    lake.meets(lake.work, "write", lambda: lake.places.by_name["lake"].write_into("d.csv", new), 2)
    assert lake.seen(A).placement.current
    assert look(lake, "d.csv") in (old, "SourceChanged")


def no_recheck(take: Take) -> None:
    take.setattr(pack, "recheck", lambda *_: None)
    take.setattr(read_ahead, "recheck", lambda *_: None)
    take.setattr(LocalReader, "read_at", lambda self, offset, length: os.pread(self._fd, length, offset))
    take.setattr(S3Reader, "read_at", _read_anything)


# MUST 17
def a_folder_exchanged_while_its_files_are_read_is_noticed(lake: Stage) -> None:
    names = ("d/a.csv", "d/b.csv")
    scanned(lake, dict.fromkeys(names, CONTENTS[A]))
    lake.enqueue_pack(names)
    folder = lake.place / "lake" / "d"

    def exchanged() -> None:
        shutil.copytree(folder, aside := folder.with_name("other"))
        folder.rename(folder.with_name("moved"))
        aside.rename(folder)

    lake.meets(lake.work, "head", exchanged)  # all of them were read
    assert [lake.seen(name).placement.current for name in names] == [None, None]


def what_leads_there_is_not_looked_into_again(take: Take) -> None:
    take.setattr(Way, "end", Way.let_go)
    take.setattr(Way, "_leave", Way.let_go)


# MUST 17
def a_rotten_slice_is_not_packed_anew(lake: Stage) -> None:
    scanned(lake)
    assert lake.migrate(*NAMES, tier="warm", codec=PLAIN).done == len(NAMES)
    lake.days(8)
    lake.sweep()
    mark = CONTENTS[A][:64]  # of every line of it, and of no other's
    faults = Faults(Fault("read_at", 0, damage=lambda data: data.replace(mark, bytes(64))))
    rotten = lake.new_context(wrap=lambda s: FaultyStore(s, faults) if s.url.endswith("/warm") else s)
    lake.enqueue_pack(NAMES, context=rotten)
    lake.work(rotten)
    lake.days(8)
    lake.sweep()
    assert {look(lake, name) == CONTENTS[name] for name in NAMES} == {True}
    assert lake.seen(B).placement.current
    assert len(lake.stored("warm")) == 1


def its_digest_is_not_compared(take: Take) -> None:
    as_it_is, move = pack._member, swapping.swapped

    def member(item: Item, metadata: Mapping[str, str]) -> Member:
        return as_it_is(item, metadata)._replace(digest="")

    def moved(p: Placement, new: Replica, *, digest: str, **more: Any) -> Placement:
        return move(p, new, digest=p.digest or digest, **more)

    take.setattr(pack, "_member", member)
    take.setattr(swapping, "swapped", moved)


# MUST 17
def a_sleepers_pack_that_was_cleared_away_is_nobodys(lake: Stage) -> None:
    scanned(lake)
    sleeper = asleep(lake, *NAMES)
    lake.days(0.01)
    lake.sweep()  # its lease is over, its pack is cleared away
    assert lake.stored("cold") == {}
    told = wake_up(lake, sleeper)
    assert {name: look(lake, name) for name in NAMES} == CONTENTS
    assert told, "the sleeper does not know"


# MUST 17
def a_pack_released_between_two_pages_of_its_swap_is_nobodys(lake: Stage) -> None:
    scanned(lake)
    sleeper = asleep(lake, *NAMES)
    late = []

    def its_only_member_leaves() -> None:
        lake.undo(f"lake/{A}")
        late.extend(lake.dies(sweep, "delete", in_flight=True).under_way)

    between = Process("committed", 1, act=its_only_member_leaves)
    assert not wake_up(lake, sleeper, lake.seen_by(between))
    assert between.happened
    assert [landing.land() for landing in late] == [True]
    assert {name: look(lake, name) for name in NAMES} == CONTENTS


def a_later_page_asks_nothing(take: Take) -> None:
    take.setattr(blobs, "lock", lambda _conn, ids: set(ids))


# MUST 17
def a_pack_of_nobody_is_discarded(lake: Stage) -> None:
    scanned(lake)
    sleeper = asleep(lake, *NAMES)
    for name in NAMES:
        lake.write(name, NEW + name.encode())
    lake.rescan()
    wake_up(lake, sleeper)
    for _ in range(2):
        lake.days(8)
        lake.sweep()
    assert lake.stored("cold") == {}


def a_pack_of_nobody_is_recorded(take: Take) -> None:
    page, proven = swapping._swap_page, swapping._proven
    take.setattr(Blobs, "_unused", lambda _self, _after: [])

    def all_of_them(*args: Any) -> Any:
        of: list[Proven] = proven(args[3])
        take.setattr(swapping, "_proven", lambda _done: of)
        return page(*args)

    take.setattr(swapping, "_swap_page", all_of_them)


# -- loss of the catalog -----------------------------------------------------------------------------------------------


# MUST 17
def what_a_pack_lists_gives_nobody_a_place(lake: Stage) -> None:
    scanned(lake)
    sleeper = asleep(lake, *NAMES)
    lake.delete(A)
    lake.rescan()
    wake_up(lake, sleeper)  # A drops out; its bytes are in the pack
    assert look(lake, A) is None
    lake.is_rebuilt()
    with lake.catalog.read() as conn:
        assert placements.find(conn, "lake", A) is None
    assert look(lake, B) == CONTENTS[B]


# MUST 17
def what_the_journal_says_is_gone_no_pack_brings_back(lake: Stage) -> None:
    scanned(lake)
    lake.migrate(B, tier="warm")
    lake.days(8)
    lake.sweep()
    asleep(lake, *NAMES)
    lake.write(B, NEW)
    lake.rescan()
    lake.delete(B)
    lake.rescan()
    assert look(lake, B) is None
    lake.is_rebuilt()
    assert look(lake, B) is None


def what_a_pack_lists_is_believed(take: Take) -> None:
    honest = rebuild.bury_strays

    def bury(context: Context) -> Any:
        _believe(context)
        return honest(context)

    take.setattr(rebuild, "bury_strays", bury)


def _believe(context: Context) -> None:
    """Every member that a pack of the cold tier lists, and that has no place, has its place there."""
    store = context.tier("cold")
    for stat in [entry for entry in store.list() if isinstance(entry, Stat)]:
        told = describe(store, stat.key)
        assert told is not None
        with store.open(stat.key) as reader:
            listed = list(PACK.contents(reader))
        row = {"id": told.attempt, "tier": "cold", "key": stat.key, "codec": "pack", "size": stat.size}
        row |= {"identity": stat.identity, "digest": "", "packed_bytes": told.size}
        for member, offset in listed:
            with context.catalog.begin() as conn:
                seen = placements.find(conn, "lake", member.name)
                if seen is not None and seen.placement.exists:
                    continue
                p = Placement(
                    "lake",
                    member.name,
                    member.generation,
                    member.size,
                    member.mtime_us,
                    member.mtime_us,
                    Raw(RawState.RELEASED),
                    member.digest,
                    (Replica(told.attempt, offset, member.size, member.generation, ReplicaState.CURRENT),),
                )
                apply_entries(conn, [{"placement": entries.told(p), "blobs": [row], "at_us": context.now_us()}])


# MUST 17
def a_pack_that_no_entry_speaks_of_is_cleared_away_whatever_it_lists(lake: Stage) -> None:
    scanned(lake)
    asleep(lake, *NAMES)
    for name in NAMES:
        lake.delete(name)
    lake.is_rebuilt()
    lake.sweep()
    assert lake.stored("cold") == {}


def one_that_nobody_knows_keeps_it(take: Take) -> None:
    take.setattr(Origin, "of_pack", False)


# MUST 17
def a_pack_that_lands_after_the_rebuild_is_found(lake: Stage) -> None:
    scanned(lake)
    lake.enqueue_pack(NAMES)
    [late] = lake.dies(lake.work, "upload", in_flight=True).under_way
    lake.is_rebuilt()
    lake.days(1)
    lake.sweep()
    assert late.land()
    for _ in range(2):
        lake.days(1)
        lake.sweep()
    assert lake.stored("cold") == {}


def the_window_does_not_begin_anew(take: Take) -> None:
    honest = facts.put

    def put(conn: sa.Connection, name: str, value: str) -> None:
        if name != "relist_until_us":
            honest(conn, name, value)

    take.setattr(facts, "put", put)


# MUST 17
def what_was_never_told_is_taken_back_of_every_member(lake: Stage) -> None:
    scanned(lake)
    lake.enqueue_pack(NAMES)
    lake.dies(lake.work, "write_note")  # swapped, and nobody was told
    copy = lake.databases.copy(lake.catalog)
    lake.is_rebuilt()
    lake.sweep()
    assert lake.stored("cold") == {}
    lake.takes_over(copy())
    reconcile(lake.context)
    lake.rescan()
    assert {name: look(lake, name) for name in NAMES} == CONTENTS


def what_was_never_told_stays(take: Take) -> None:
    take.setattr(rebuild, "take_back", lambda _context: 0)


# -- damage ------------------------------------------------------------------------------------------------------------


# MUST 17
def damage_of_one_found_in_mid_release_keeps_its_source_and_no_other(lake: Stage) -> None:
    packed(lake)
    lake.days(8)
    lake.meets(sweep, "begin", lambda: rot(lake, A), 2)  # leases; the intent
    assert lake.raw(A) == CONTENTS[A]
    assert (lake.raw(B), lake.raw(C)) == (None, None)


# MUST 17
def damage_of_one_outlives_the_catalog(lake: Stage) -> None:
    packed(lake)
    rot(lake, A)
    lake.is_rebuilt()
    lake.days(8)
    lake.sweep()
    assert lake.raw(A) == CONTENTS[A]
    assert (lake.raw(B), lake.raw(C)) == (None, None)


# MUST 17
def another_members_good_slice_clears_nothing(lake: Stage) -> None:
    packed(lake)
    rot(lake, A)
    found = verify(lake.context, [[lake.seen(B)]], chance=random.Random(1))
    assert (found.checked, found.healed) == (1, 0)
    lake.days(8)
    lake.sweep()
    assert lake.raw(A) == CONTENTS[A]
    assert lake.raw(B) is None


def what_verify_finds_is_said_of_the_blob(take: Take) -> None:
    honest = verifying._record

    def record(context: Context, seen: Seen, found: str | None, result: Any) -> None:
        honest(context, seen, found, result)
        current = seen.placement.current
        if current is not None:
            with context.catalog.begin() as conn:
                same = replicas.c.blob_id == current.blob
                conn.execute(sa.update(replicas).where(same).values(damaged=found))

    take.setattr(verifying, "_record", record)


GUARDS = [
    Guard("last member", one_that_goes_leaves_the_others_their_copy, one_member_takes_the_key),
    Guard("intent each", a_delete_waits_until_the_journal_has_the_intent_of_each, nothing_waits_for_the_journal),
    Guard("forget durable", who_left_before_never_goes_back_to_a_key_that_is_deleted, who_leaves_tells_nobody),
    Guard("forget in tx", of_two_that_leave_at_once_one_takes_the_key, others_are_looked_for_before),
    Guard("undo superseded", an_undo_never_goes_back_to_a_slice_that_is_being_released, with_undo_of_releasing),
    Guard("hold each", one_that_is_held_in_mid_release_stays_and_the_key_with_it, the_intent_asks_nothing_again),
    Guard(
        "member guard",
        a_member_written_before_the_swap_drops_out_and_the_others_go_on,
        whatever_version_it_has,
    ),
    Guard("member identity", a_member_is_what_it_was_when_its_turn_comes, any_identity),
    Guard("member re-check", a_member_written_into_while_it_is_copied_is_not_taken_for_whole, no_recheck),
    Guard("way", a_folder_exchanged_while_its_files_are_read_is_noticed, what_leads_there_is_not_looked_into_again),
    Guard("member digest", a_rotten_slice_is_not_packed_anew, its_digest_is_not_compared),
    Guard("swap live", a_sleepers_pack_that_was_cleared_away_is_nobodys, without_lease),
    Guard("swap live, paged", a_pack_released_between_two_pages_of_its_swap_is_nobodys, a_later_page_asks_nothing),
    Guard("none left", a_pack_of_nobody_is_discarded, a_pack_of_nobody_is_recorded),
    Guard("toc no claim", what_a_pack_lists_gives_nobody_a_place, what_a_pack_lists_is_believed),
    Guard("journal over toc", what_the_journal_says_is_gone_no_pack_brings_back, what_a_pack_lists_is_believed),
    Guard(
        "stray all", a_pack_that_no_entry_speaks_of_is_cleared_away_whatever_it_lists, one_that_nobody_knows_keeps_it
    ),
    Guard("window anew", a_pack_that_lands_after_the_rebuild_is_found, the_window_does_not_begin_anew),
    Guard("undurable back", what_was_never_told_is_taken_back_of_every_member, what_was_never_told_stays),
    Guard(
        "damage in tx",
        damage_of_one_found_in_mid_release_keeps_its_source_and_no_other,
        the_intent_asks_nothing_again,
    ),
    Guard("damage told", damage_of_one_outlives_the_catalog, damage_is_not_told),
    Guard("damage each", another_members_good_slice_clears_nothing, what_verify_finds_is_said_of_the_blob),
]


@pytest.mark.parametrize("guard", GUARDS, ids=str)
def test_the_scene_of_a_pack_holds_with_its_guard(guard: Guard, lake: Stage) -> None:
    guard.scene(lake)


ON_POSTGRES = ("intent each", "forget in tx", "hold each", "swap live, paged", "none left", "damage in tx")


@pytest.mark.parametrize("guard", [g for g in GUARDS if LONG or g.name in ON_POSTGRES], ids=str)
def test_the_scene_of_a_pack_holds_on_postgres(guard: Guard, clock: FakeClock, request: pytest.FixtureRequest) -> None:
    with a_stage("postgres", clock, request) as lake:
        guard.scene(lake)


@pytest.mark.parametrize("guard", GUARDS, ids=str)
def test_the_scene_of_a_pack_fails_without_its_guard(guard: Guard, lake: Stage, monkeypatch: Take) -> None:
    guard.is_missed(lake, monkeypatch)


# MUST 17
def test_a_pack_that_nobody_knows_is_kept_where_the_journal_has_a_hole(lake: Stage) -> None:
    """The entries that are missing may have been those of its swap."""
    released(lake)
    scanned(lake, {"z.csv": CONTENTS[A]})
    assert lake.migrate("z.csv", tier="warm").done == 1
    *lost, _ = sorted((lake.place / "hot").rglob("*.jsonl"))[-1 - 2 * len(NAMES) :]  # swaps and releases
    for entry in lost:
        entry.unlink()
    lake.takes_over(lake.databases.heir(lost_catalog(lake.context.tier("hot"))))
    found = reconcile(lake.context)
    assert found.holes
    for _ in range(3):
        lake.days(8)
        with contextlib.suppress(StoragedError):
            lake.sweep()
    assert len(lake.stored("cold")) == 1
