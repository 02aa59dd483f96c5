"""Each guard of the protocol: a scene that breaks without it, and the proof that the scene notices.

Every scene runs on the code as it is, and once more with its guard taken away on purpose: then it must fail. Where
two guards overlap in our code, so that one alone is not missed, both are taken away:

guard              taken away by                              what else is in the way of the same harm
release intent     no transaction before the delete           -
undo needs it      undo of what is being released             -
doubt              a way back without doubt                   -
way back told      a way back is not told to the journal      -
journaled intent   the intent is not made durable             -
absent is delete   an absent source counts as right           -
catalog identity   any identity at open, no re-check          either of the two alone: both are taken away
read if match      any identity at open                       -
re-check           no re-check                                the local reader looks at every read: taken away too
scan guard         row version not compared                   -
facts first        facts applied before they are durable      -
eject first        the same for a write-back                  -
eject tag          write-backs not told from the user's       -
tag is absence     a dead write-back is ignored               -
list unknown       tiers are not listed                       -
journal head       the number is not compared                 -
unique attempts    ids from a sequence of the catalog         a claim asks whose ids they are, create-only keys: a
                                                              crash instead of a loss, noticed all the same
undurable back     what was never told stays                  -
whole replay       an entry is skipped if the row is older    -
intent row         no row before the blob                     -
delete if match    the store ignores the identity             -
lease              renewal never fails                        the attempt must be `staged`: taken away too
damage in tx       the intent's transaction asks no damage    verify counts the version up: taken away too
damage told        damage is not told to the journal          -
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
import sqlalchemy as sa

from storaged.catalog import attempts, facts, members, placements, queue
from storaged.catalog.entries import Entry
from storaged.catalog.items import NewItem, ToTier
from storaged.catalog.placements import Change, Seen
from storaged.catalog.schema import jobs, objects
from storaged.clock import DAY
from storaged.errors import CatalogBehind, CatalogError, LeaseLost, ObjectNotFound
from storaged.model import JobKind, Placement, RawState
from storaged.stores.base import Deleted, Reader, Store
from storaged.stores.local import LocalStore
from storaged.stores.local_files import LocalReader
from storaged.stores.s3.reader import S3Reader
from storaged.stores.s3.store import S3Store
from storaged.work.journal import Journal
from storaged.work.recover import rebuild
from storaged.work.recover.rebuild import reconcile
from storaged.work.release import tombstones
from storaged.work.release.guarded import Guarded
from storaged.work.release.sources import Sources
from storaged.work.release.strays import Strays
from storaged.work.release.sweep import sweep
from storaged.work.rewrite import pointers as undoing
from storaged.work.rewrite import stage as rewrite
from storaged.work.rewrite.enqueue import Enqueued, enqueue_batches
from storaged.work.rewrite.stage import stage
from storaged.work.rewrite.swap import swap
from storaged.work.rewrite.worker import Worker
from storaged.work.scan.run import scan
from storaged.work.scan.suspects import Suspects, rescan_key
from tests.life.stage import NAME, NEW, OLD, Stage
from tests.life.world import PLAIN, text

Take = pytest.MonkeyPatch


# -- release -------------------------------------------------------------------------------------------------------


# MUST 7
def a_crash_after_the_delete_is_no_removal(lake: Stage) -> None:
    lake.due()
    lake.dies(sweep, "deleted")
    assert lake.raw(NAME) is None
    lake.rescan()
    assert lake.look() == OLD


def without_release_intent(take: Take) -> None:
    take.setattr(Guarded, "_take_intent", lambda _self, judged, _kind, _change: judged)


# MUST 7
def an_undo_never_points_at_what_is_being_deleted(lake: Stage) -> None:
    lake.due()
    lake.meets(sweep, "delete", lambda: lake.undo(f"lake/{NAME}"))
    assert lake.look() == OLD


def with_undo_of_releasing(take: Take) -> None:
    honest = undoing.undo

    def undo(p: Placement, *, now_us: int, doubt_us: int) -> Placement:
        superseded = replace(p.raw, state=RawState.SUPERSEDED)
        taken = replace(p, raw=superseded) if p.raw.state is RawState.RELEASING else p
        return honest(taken, now_us=now_us, doubt_us=doubt_us)

    take.setattr(undoing, "undo", undo)


# MUST 7
def a_delete_under_way_outlives_the_way_back_and_loses_nothing(lake: Stage) -> None:
    lake.due()
    lake.meets(sweep, "delete", lambda: lake.undo(f"lake/{NAME}"))
    lake.days(1)
    lake.sweep()
    lake.rescan()
    lake.days(30)
    lake.sweep()
    assert lake.look() == OLD
    assert lake.eject().done == 1
    assert lake.raw(NAME) == OLD


def without_doubt(take: Take) -> None:
    honest = undoing.undo

    def undo(p: Placement, *, now_us: int, doubt_us: int) -> Placement:
        back = honest(p, now_us=now_us, doubt_us=doubt_us)
        return replace(back, raw=replace(back.raw, until_us=None))

    take.setattr(undoing, "undo", undo)


# MUST 7
def a_way_back_survives_the_loss_of_the_catalog(lake: Stage) -> None:
    lake.due()
    sweeper = lake.dies(sweep, "delete", in_flight=True)
    lake.undo(f"lake/{NAME}")
    lake.is_rebuilt()
    assert lake.seen(NAME).placement.in_doubt
    lake.days(1)
    lake.sweep()
    assert [landing.land() for landing in sweeper.under_way] == [True]
    lake.rescan()
    lake.days(30)
    lake.sweep()
    assert lake.look() == OLD


def with_a_way_back_that_is_not_journaled(take: Take) -> None:
    honest = placements.change

    def change(conn: sa.Connection, changes: Sequence[Change], *, now_us: int, why: placements.Why) -> None:
        kept = [c for c in changes if c.kind == "undo"]
        placements.quietly(conn, kept, now_us=now_us, why=why)
        honest(conn, [c for c in changes if c.kind != "undo"], now_us=now_us, why=why)

    take.setattr(placements, "change", change)


# MUST 7
def a_release_survives_the_loss_of_the_catalog(lake: Stage) -> None:
    lake.due()
    lake.dies(sweep, "deleted")
    lake.is_rebuilt()
    assert lake.look() == OLD


def without_journaled_intent(take: Take) -> None:
    honest = Guarded._take_intent

    def intent(self: Guarded, *args: Any) -> Any:
        taken = honest(self, *args)
        take.setattr(self.context.journal, "flush", lambda: 0)
        return taken

    take.setattr(Guarded, "_take_intent", intent)


# MUST 7
def what_its_user_deleted_is_not_released(lake: Stage) -> None:
    lake.due()
    lake.delete(NAME)
    lake.sweep()
    lake.rescan()
    assert lake.look() is None


def absent_counts_as_right(take: Take) -> None:
    take.setattr(Sources, "_source_is_right", lambda _self, _held: True)


# MUST 7
def new_bytes_of_the_user_outlive_a_release(lake: Stage) -> None:
    lake.due()
    lake.meets(sweep, "delete", lambda: lake.write(NAME, NEW))
    assert lake.raw(NAME) == NEW
    lake.rescan()
    assert lake.look() == NEW


def deletes_whatever_is_there(take: Take) -> None:
    def without(honest: Callable[..., Deleted]) -> Callable[..., Deleted]:
        def delete(self: Store, key: str, *, identity: str, versions: bool = False) -> Deleted:
            del identity
            return honest(self, key, identity=self.head(key).identity, versions=versions)

        return delete

    for kind in (LocalStore, S3Store):
        take.setattr(kind, "delete", without(kind.delete))


# MUST 7
def damage_found_in_mid_release_stops_it(lake: Stage) -> None:
    lake.due()
    lake.meets(sweep, "head", lambda: lake.find_damage("cold"), 2)
    assert lake.raw(NAME) == OLD


def without_a_last_look_at_damage(take: Take) -> None:
    honest = Guarded._take_intent

    def intent(self: Guarded, judged: list[Seen], kind: str, change: Any) -> Any:
        with self.context.catalog.read() as conn:
            now = placements.load(conn, [h.id for h in judged])
        take.setattr(Placement, "damaged", False)
        return honest(self, list(now.values()), kind, change)

    take.setattr(Guarded, "_take_intent", intent)


# MUST 7
def damage_outlives_the_catalog(lake: Stage) -> None:
    lake.due()
    lake.find_damage("cold")
    lake.is_rebuilt()
    lake.days(8)
    lake.sweep()
    assert lake.raw(NAME) == OLD


def damage_is_not_told(take: Take) -> None:
    honest = placements.change

    def change(conn: sa.Connection, changes: Sequence[Change], **more: Any) -> None:
        (placements.quietly if any(c.kind == "damaged" for c in changes) else honest)(conn, changes, **more)

    take.setattr(placements, "change", change)


# -- rewrite -------------------------------------------------------------------------------------------------------


# MUST 5
def a_generation_reads_as_what_it_was(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "cold", PLAIN)
    lake.meets(lake.work, "open", lambda: lake.write(NAME, NEW))
    assert lake.seen(NAME).placement.generation == 1
    assert lake.look() in (OLD, "SourceChanged")


def any_identity(take: Take) -> None:
    def without(honest: Callable[..., Reader]) -> Callable[..., Reader]:
        return lambda self, key, *, identity=None: honest(self, key)

    for kind in (LocalStore, S3Store):
        take.setattr(kind, "open", without(kind.open))


def any_identity_and_no_recheck(take: Take) -> None:
    any_identity(take)
    take.setattr(rewrite, "recheck", lambda *_: None)


# MUST 5
def a_read_before_the_scan_never_gives_the_next_generation(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.write(NAME, NEW)
    assert lake.look() == "SourceChanged"
    lake.rescan()
    assert lake.look() == NEW


# MUST 5
def a_file_written_into_while_it_is_copied_is_not_taken_for_whole(lake: Stage) -> None:
    old, new = text("old", 5 << 20), text("new", 5 << 20)  # more than one piece
    lake.write_untold(NAME, old)
    lake.scan()
    lake.enqueue([NAME], "cold", PLAIN)
    lake.meets(lake.work, "write", lambda: lake.places.by_name["lake"].write_into(NAME, new))
    assert lake.look() in (old, new, "SourceChanged")


def _read_anything(self: S3Reader, offset: int, length: int) -> bytes:
    if offset >= self.stat.size:
        return b""
    key, part = self._session.key(self.stat.key), f"bytes={offset}-{offset + length - 1}"
    found: bytes = self._session.call("get_object", Key=key, Range=part)["Body"]
    return found


def no_recheck(take: Take) -> None:
    take.setattr(rewrite, "recheck", lambda *_: None)
    take.setattr(LocalReader, "read_at", lambda self, offset, length: os.pread(self._fd, length, offset))
    take.setattr(S3Reader, "read_at", _read_anything)


# MUST 1
def a_dead_attempt_leaves_nothing_unknown(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "cold")
    lake.dies(lake.work, "head", 1)  # staged; the re-check would be next
    assert len(lake.stored("cold")) == 1
    assert lake.unknown_blobs() == []
    lake.days(0.01)
    lake.sweep()
    assert lake.stored("cold") == {}


def without_intent_row(take: Take) -> None:
    take.setattr(queue, "begin", lambda *_args: None)


# MUST 6
def a_worker_that_slept_through_its_lease_changes_nothing(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "cold")
    sleeper = lake.new_context(actor="sleeper")
    with Worker(sleeper, name="sleeper") as worker:
        claimed = worker.claim()
    assert claimed is not None
    staged = [stage(sleeper, item) for item in claimed.items]
    lake.days(0.01)
    lake.sweep()  # its lease is over, its blob is cleared away
    assert lake.stored("cold") == {}
    told = False
    try:
        swap(sleeper, claimed, staged, [])
    except LeaseLost:
        told = True
    assert lake.look() == OLD
    assert told, "the sleeper does not know"


def without_lease(take: Take) -> None:
    take.setattr(queue, "hold", lambda *_args, **_kwargs: None)
    take.setattr(attempts, "STAGED", sa.true())


# MUST 2
def an_attempt_never_takes_the_id_of_a_live_blob(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    copy = lake.databases.copy(lake.catalog)
    lake.migrate(NAME)
    lake.days(8)
    lake.sweep()
    lake.takes_over(copy())
    reconcile(lake.context)
    lake.rescan()
    lake.sweep()
    assert lake.eject().done == 1
    lake.days(8)
    lake.sweep()
    assert lake.look() == OLD


def ids_from_a_sequence(take: Take) -> None:
    honest = queue.claim

    def claim(conn: sa.Connection, *args: Any, **kwargs: Any) -> Any:
        number = conn.execute(sa.select(sa.func.count()).select_from(jobs)).scalar_one()
        take.setattr(members, "new_id", lambda: f"{number:032x}")
        return honest(conn, *args, **kwargs)

    take.setattr(queue, "claim", claim)


# -- scan ----------------------------------------------------------------------------------------------------------


# MUST 8
def a_look_older_than_a_release_is_not_applied(lake: Stage) -> None:
    lake.due()
    lake.meets(lambda context: rescan_key(context, "lake", NAME), "head", lake.sweep)
    assert lake.raw(NAME) is None
    assert lake.look() == OLD


def without_row_version(take: Take) -> None:
    honest = Suspects._record

    def record(self: Suspects, judged: Any) -> None:
        with self.context.catalog.read() as conn:
            now = placements.load(conn, [j.seen.id for j in judged])
        honest(self, [dataclasses.replace(j, seen=now[j.seen.id]) for j in judged])

    take.setattr(Suspects, "_record", record)


# MUST 8
def what_was_shown_as_adopted_and_deleted_does_not_come_back(lake: Stage) -> None:
    lake.due()
    lake.dies(sweep, "delete")  # the intent is durable, the source still there
    lake.write(NAME, NEW)
    lake.dies(lambda context: scan(context, "lake"), "write_note")
    may = lake.may_end_as()
    lake.delete(NAME)
    lake.is_rebuilt()
    assert lake.look() in may


# MUST 8
def what_was_shown_as_returned_and_deleted_does_not_come_back(lake: Stage) -> None:
    lake.released()
    lake.dies(lake.eject_by, "write_note")
    assert lake.raw(NAME) == OLD
    may = lake.may_end_as()
    lake.delete(NAME)
    lake.is_rebuilt()
    assert lake.look() in may


def facts_at_once(take: Take) -> None:
    take.setattr(placements, "propose", placements.change)


# MUST 2
def a_late_write_back_is_no_new_generation(lake: Stage) -> None:
    lake.released()
    [late] = lake.dies(lake.eject_by, "upload", in_flight=True).under_way
    lake.write(NAME, NEW)
    lake.rescan()
    assert lake.look() == NEW
    lake.delete(NAME)
    assert late.land()
    assert lake.raw(NAME) == OLD
    lake.rescan()
    assert lake.look() is None
    lake.days(0.01)
    lake.sweep()
    assert lake.raw(NAME) is None


def write_backs_look_like_the_users(take: Take) -> None:
    take.setattr(Suspects, "is_leftover", lambda _self, _stat: False)


def dead_write_backs_are_ignored(take: Take) -> None:
    honest = Suspects._judge

    def judge(self: Suspects, seen: Seen, intents: Any) -> Any:
        with suppress(ObjectNotFound):
            if self.is_leftover(self.store.head(seen.placement.name)):
                return None
        return honest(self, seen, intents)

    take.setattr(Suspects, "_judge", judge)


# -- disasters -----------------------------------------------------------------------------------------------------


# MUST 1
def an_unswapped_blob_is_found_when_the_catalog_is_lost(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "cold")
    lake.dies(lake.work, "head", 1)
    lake.is_rebuilt()
    assert lake.unknown_blobs() == []
    lake.sweep()
    assert lake.stored("cold") == {}


def without_listing(take: Take) -> None:
    for module in (rebuild, tombstones):
        take.setattr(module, "bury_strays", lambda _context: Strays())


# MUST 8
def an_old_copy_replays_before_it_acts(lake: Stage) -> None:
    lake.due()
    copy = lake.databases.copy(lake.catalog)
    lake.sweep()
    lake.takes_over(copy())
    try:
        lake.rescan()
    except CatalogBehind:
        reconcile(lake.context)
        lake.rescan()
    assert lake.look() == OLD


def appends_after_what_is_there(take: Take) -> None:
    def forget(self: Journal) -> None:
        with self._catalog.begin() as conn:
            number = facts.journal_number(conn)
            while self.read(number) is not None:
                number += 1
            facts.put(conn, "journal_number", str(number))

    take.setattr(Journal, "check_head", forget)


# MUST 8
def replay_does_not_depend_on_what_the_journal_never_told(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    copy = lake.databases.copy(lake.catalog)
    for content_ in (text("between"), NEW):  # objects without replicas: told by the root alone
        lake.write(NAME, content_)
        lake.rescan()
    lake.migrate(NAME)
    lake.days(8)
    lake.sweep()
    lake.takes_over(copy())
    reconcile(lake.context)
    lake.rescan()
    assert lake.look() == NEW


def skips_entries_that_do_not_follow(take: Take) -> None:
    honest = facts.apply_entries

    def apply_entries(conn: sa.Connection, entries: Sequence[Entry]) -> None:
        for entry in entries:
            told = entry["placement"]
            row = conn.execute(sa.select(objects.c.generation).where(objects.c.name == told["name"])).scalar()
            if row is None or told["generation"] - row in (0, 1):
                honest(conn, [entry])

    take.setattr(facts, "apply_entries", apply_entries)


# MUST 8
def what_was_never_told_is_taken_back(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "cold")
    lake.dies(lake.work, "write_note")  # swapped, and nobody was told
    copy = lake.databases.copy(lake.catalog)
    lake.is_rebuilt()
    lake.sweep()
    assert lake.stored("cold") == {}
    lake.takes_over(copy())
    reconcile(lake.context)
    lake.rescan()
    assert lake.look() == OLD


def what_was_never_told_stays(take: Take) -> None:
    take.setattr(rebuild, "take_back", lambda _context: 0)


@dataclass(frozen=True)
class Guard:
    """A guard's name, the scene that needs it, and how to take it away."""

    name: str
    scene: Callable[[Stage], None]
    without: Callable[[Take], None]
    noticed_as: tuple[type[BaseException], ...] = (AssertionError,)

    def __str__(self) -> str:
        return self.name.replace(" ", "-")

    def is_missed(self, lake: Stage, take: Take) -> None:
        """The scene notices that the guard is taken away."""
        self.without(take)
        with pytest.raises(self.noticed_as) as noticed:
            self.scene(lake)
        if noticed.type is AssertionError:
            assert noticed.traceback[-1].name == self.scene.__name__, "it failed, but not for what the scene is about"


GUARDS = [
    Guard("release intent", a_crash_after_the_delete_is_no_removal, without_release_intent),
    Guard("undo needs it", an_undo_never_points_at_what_is_being_deleted, with_undo_of_releasing),
    Guard("doubt", a_delete_under_way_outlives_the_way_back_and_loses_nothing, without_doubt),
    Guard("way back told", a_way_back_survives_the_loss_of_the_catalog, with_a_way_back_that_is_not_journaled),
    Guard("journaled intent", a_release_survives_the_loss_of_the_catalog, without_journaled_intent),
    Guard("absent is delete", what_its_user_deleted_is_not_released, absent_counts_as_right),
    Guard("delete if match", new_bytes_of_the_user_outlive_a_release, deletes_whatever_is_there),
    Guard("damage in tx", damage_found_in_mid_release_stops_it, without_a_last_look_at_damage),
    Guard("damage told", damage_outlives_the_catalog, damage_is_not_told),
    Guard("catalog identity", a_generation_reads_as_what_it_was, any_identity_and_no_recheck),
    Guard("read if match", a_read_before_the_scan_never_gives_the_next_generation, any_identity),
    Guard("re-check", a_file_written_into_while_it_is_copied_is_not_taken_for_whole, no_recheck),
    Guard("intent row", a_dead_attempt_leaves_nothing_unknown, without_intent_row),
    Guard("lease", a_worker_that_slept_through_its_lease_changes_nothing, without_lease),
    Guard(
        "unique attempts",
        an_attempt_never_takes_the_id_of_a_live_blob,
        ids_from_a_sequence,
        (AssertionError, CatalogError),
    ),
    Guard("scan guard", a_look_older_than_a_release_is_not_applied, without_row_version),
    Guard("facts first", what_was_shown_as_adopted_and_deleted_does_not_come_back, facts_at_once),
    Guard("eject first", what_was_shown_as_returned_and_deleted_does_not_come_back, facts_at_once),
    Guard("eject tag", a_late_write_back_is_no_new_generation, write_backs_look_like_the_users),
    Guard("tag is absence", a_late_write_back_is_no_new_generation, dead_write_backs_are_ignored),
    Guard("list unknown", an_unswapped_blob_is_found_when_the_catalog_is_lost, without_listing),
    Guard("journal head", an_old_copy_replays_before_it_acts, appends_after_what_is_there),
    Guard("undurable back", what_was_never_told_is_taken_back, what_was_never_told_stays),
    Guard("whole replay", replay_does_not_depend_on_what_the_journal_never_told, skips_entries_that_do_not_follow),
]


@pytest.mark.parametrize("guard", GUARDS, ids=str)
def test_the_scene_holds_with_its_guard(guard: Guard, lake: Stage) -> None:
    guard.scene(lake)


@pytest.mark.parametrize("guard", GUARDS, ids=str)
def test_the_scene_fails_without_its_guard(guard: Guard, lake: Stage, monkeypatch: Take) -> None:
    guard.is_missed(lake, monkeypatch)


def test_undo_never_goes_back_to_another_generation(lake: Stage) -> None:
    lake.moved()  # its blob is kept for 7 days once there is a newer generation
    lake.write(NAME, NEW)
    lake.rescan()
    seen = lake.seen(NAME)
    to = ToTier("cold", PLAIN, DAY // 10)  # keep_source: 2.4 h
    short = NewItem(seen.id, seen.version, seen.placement.size, to)
    enqueue_batches(lake.context, JobKind.REWRITE, "lake", [short], reason="test", result=Enqueued())
    lake.work()
    lake.days(1)
    assert lake.sweep().sources == 1
    lake.undo(f"lake/{NAME}")
    assert lake.look() == NEW


def test_undo_of_a_removal_brings_back_the_generation_that_was_removed_or_nothing(lake: Stage) -> None:
    lake.moved()
    lake.write(NAME, text("newer", 30_000))
    lake.rescan()
    lake.delete(NAME)
    lake.rescan()
    assert lake.look() is None
    lake.undo(f"lake/{NAME}")
    assert lake.look() is None, "the generation before the last came back, with the size of the last"
