"""Another file of the same table: a scene for each guard that it adds, and the proof that the scene notices.

guard              taken away by
told first         an undo to another edition is true before the journal has it
own content        an original states the size and digest of the current edition
last change        undo goes to the original whatever was changed last
taken back         what was proposed and never told stays proposed
same table         nobody compares the new file with the source
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from storaged.catalog import attempts, changes
from storaged.catalog.schema_attempts import attempts as rows
from storaged.codecs.base import Content, Encoded
from storaged.codecs.parquet.codec import Parquet
from storaged.model import AttemptState, CodecSpec, Fidelity, Placement, RawState, Replica
from storaged.testing.contents import BytesContent
from storaged.work.doctor.stored import abandoned
from storaged.work.recover.rebuild import reconcile
from storaged.work.release.sweep import sweep
from storaged.work.rewrite import pointers
from tests.codecs.parquet_files import written
from tests.life.stage import NAME, Stage
from tests.life.test_guards import Guard
from tests.life.test_journal_holes import notes
from tests.life.world import PLAIN

ANOTHER = CodecSpec("parquet", 3, Fidelity.TABLE)
Take = pytest.MonkeyPatch


def numbers(seed: int, rows: int = 4_000) -> bytes:
    table = pa.table({"n": [seed, *(n * seed % 97 for n in range(1, rows))]})
    return written(table, compression="none", use_dictionary=False, write_statistics=False)


OLD = numbers(5)


def derived(lake: Stage) -> bytes:
    """The user's table becomes another file. What its name reads as from then on."""
    lake.write(NAME, OLD)
    lake.scan()
    assert lake.migrate(NAME, tier="warm", codec=ANOTHER).done == 1
    made = lake.look()
    assert isinstance(made, bytes)
    assert made != OLD
    return made


def half_derived(lake: Stage) -> None:
    """The worker dies before the journal has the fact."""
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "warm", ANOTHER)
    lake.dies(lake.work, "write_note")
    assert lake.look() == OLD, "what nobody was told is not shown"


# -- facts -------------------------------------------------------------------------------------------------------------


# MUST 8
def what_was_shown_as_undone_does_not_come_back(lake: Stage) -> None:
    derived(lake)
    lake.dies(lambda context: lake.undo(f"lake/{NAME}", context), "write_note")
    shown = lake.look()
    lake.is_rebuilt()
    assert lake.look() == shown


def undo_at_once(take: Take) -> None:
    honest = changes._is_fact
    take.setattr(changes, "_is_fact", lambda c: c.kind != "undo" and honest(c))


# MUST 1, 8
def what_was_proposed_and_never_told_is_cleared_away(lake: Stage) -> None:
    half_derived(lake)
    assert len(lake.stored("warm")) == 1
    lake.context = lake.new_context()
    reconcile(lake.context)
    lake.rescan()
    assert lake.look() == OLD
    for _ in range(3):
        lake.days(8)
        lake.sweep()
    assert lake.stored("warm") == {}
    assert lake.unknown_blobs() == []
    assert lake.look() == OLD


def it_stays_proposed(take: Take) -> None:
    take.setattr(attempts, "bury_unfinished", lambda _conn, **_how: None)


# -- places ------------------------------------------------------------------------------------------------------------


# MUST 16
def the_old_bytes_are_known_again_by_what_they_were(lake: Stage) -> None:
    """Their root came back as a copy: the same bytes under other identities."""
    made = derived(lake)
    lake.delete(NAME)
    lake.write(NAME, OLD)
    lake.rescan()
    assert lake.seen(NAME).placement.generation == 1
    assert lake.look() == made
    assert lake.undo(f"lake/{NAME}").done
    assert lake.look() == OLD


def places_are_alike(take: Take) -> None:
    take.setattr(Placement, "size_of", lambda self, place: place.length if isinstance(place, Replica) else self.size)
    take.setattr(Placement, "digest_of", lambda self, _place: self.digest)


# MUST 8
def undo_takes_back_the_last_change_and_no_other(lake: Stage) -> None:
    made = derived(lake)
    assert lake.migrate(NAME, tier="cold", codec=PLAIN).done == 1
    assert lake.undo(f"lake/{NAME}").done
    assert lake.look() == made
    assert lake.undo(f"lake/{NAME}").done
    assert lake.look() == OLD


def undo_goes_to_the_original(take: Take) -> None:
    honest = pointers.undo

    def undo(p: Placement, *, now_us: int, doubt_us: int) -> Placement:
        if p.raw.state is not RawState.SUPERSEDED:
            return honest(p, now_us=now_us, doubt_us=doubt_us)
        others = tuple(replace(r, until_us=now_us) if r is not p.current else r for r in p.replicas)
        return honest(replace(p, replicas=others), now_us=now_us, doubt_us=doubt_us)

    take.setattr(pointers, "undo", undo)


# -- the new file ------------------------------------------------------------------------------------------------------


# MUST 4
def a_writer_that_is_wrong_changes_nothing(lake: Stage) -> None:
    """It makes a sound file, of other rows."""
    honest, other = Parquet.derive, BytesContent(numbers(6))
    with pytest.MonkeyPatch.context() as take:

        def derive(self: Parquet, source: Content, sink: Callable[[bytes], None], **how: object) -> Encoded:
            made = honest(self, other, sink, **how)  # type: ignore[arg-type]  # as it was called
            real = honest(self, source, lambda _: None, **how)  # type: ignore[arg-type]  # likewise
            return replace(made, size=real.size, digest=real.digest)

        take.setattr(Parquet, "derive", derive)
        lake.write(NAME, OLD)
        lake.scan()
        report = lake.migrate(NAME, tier="warm", codec=ANOTHER)
    assert (report.done, report.failed) == (0, 1)
    assert lake.look() == OLD
    assert lake.seen(NAME).placement.replicas == ()


def nobody_compares(take: Take) -> None:
    take.setattr(Parquet, "require_same", lambda _self, _source, _made, spec: None)


GUARDS = [
    Guard("told first", what_was_shown_as_undone_does_not_come_back, undo_at_once),
    Guard("taken back", what_was_proposed_and_never_told_is_cleared_away, it_stays_proposed),
    Guard("own content", the_old_bytes_are_known_again_by_what_they_were, places_are_alike),
    Guard("last change", undo_takes_back_the_last_change_and_no_other, undo_goes_to_the_original),
    Guard("same table", a_writer_that_is_wrong_changes_nothing, nobody_compares),
]


@pytest.mark.parametrize("guard", GUARDS, ids=str)
def test_the_scene_of_an_edition_holds_with_its_guard(guard: Guard, lake: Stage) -> None:
    guard.scene(lake)


@pytest.mark.parametrize("guard", GUARDS, ids=str)
def test_the_scene_of_an_edition_fails_without_its_guard(guard: Guard, lake: Stage, monkeypatch: Take) -> None:
    guard.is_missed(lake, monkeypatch)


# -- other scenes ------------------------------------------------------------------------------------------------------


def test_what_is_proposed_is_no_blob_and_no_rest_of_anything(lake: Stage) -> None:
    half_derived(lake)
    with lake.catalog.read() as conn:
        assert conn.execute(sa.select(rows.c.state)).scalars().all() == [AttemptState.PROPOSED]
    assert list(abandoned(lake.context)) == []
    lake.days(8)
    lake.sweep()
    assert lake.look() != OLD, "the next flush makes it true"
    assert pq.read_table(io.BytesIO(lake.read(NAME) or b"")).equals(pq.read_table(io.BytesIO(OLD)))
    with lake.catalog.read() as conn:
        assert conn.execute(sa.select(rows.c.state)).scalars().all() == []


# MUST 8
def test_what_was_shown_is_shown_after_the_loss_of_the_catalog(lake: Stage) -> None:
    made = derived(lake)
    lake.is_rebuilt()
    assert lake.look() == made
    assert lake.seen(NAME).placement.raw.digest
    assert lake.undo(f"lake/{NAME}").done
    assert lake.look() == OLD
    lake.is_rebuilt()
    assert lake.look() == OLD
    for _ in range(3):
        lake.days(8)
        lake.sweep()
        lake.rescan()
    assert lake.look() == lake.raw(NAME) == OLD
    assert lake.stored("warm") == {}


# MUST 7
def test_a_release_that_went_through_after_all_shows_the_new_file(lake: Stage) -> None:
    """Undo and release race for the original, and the release wins."""
    made = derived(lake)
    lake.days(8)
    lake.meets(sweep, "delete", lambda: lake.undo(f"lake/{NAME}"))
    p = lake.seen(NAME).placement
    assert p.in_doubt
    assert (p.edition, p.size) == ("", len(OLD))
    assert lake.raw(NAME) is None
    lake.rescan()
    assert lake.look() == made
    assert lake.seen(NAME).placement.edition
    lake.is_rebuilt()
    assert lake.look() == made


# MUST 5
def test_a_write_before_the_last_look_keeps_the_users_bytes(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "warm", ANOTHER)
    new = numbers(7)
    lake.meets(lake.work, "upload", lambda: lake.write(NAME, new))
    lake.rescan()
    assert lake.look() == lake.raw(NAME) == new
    assert lake.seen(NAME).placement.edition == ""


def test_an_old_copy_replays_the_edition(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    restore = lake.databases.copy(lake.catalog)
    assert lake.migrate(NAME, tier="warm", codec=ANOTHER).done == 1
    made = lake.look()
    lake.takes_over(restore())
    reconcile(lake.context)
    lake.rescan()
    assert lake.look() == made
    lake.days(8)
    assert lake.sweep().sources == 1
    assert lake.look() == made


# MUST 15
def test_what_a_hole_of_the_journal_may_have_told_of_is_kept(lake: Stage) -> None:
    """An old copy has it proposed; the journal lost that it was made, and that its source was released."""
    lake.write("b.csv", b"some words\n" * 2_000)
    half_derived(lake)
    restore, known = lake.databases.copy(lake.catalog), len(notes(lake))
    lake.context = lake.new_context()
    lake.sweep()
    lake.days(8)
    assert lake.sweep().sources == 1
    assert lake.migrate("b.csv").done == 1
    for note in notes(lake)[known:-1]:
        note.unlink()
    lake.takes_over(restore())
    found = reconcile(lake.context)
    assert found.holes
    assert [place.partition(":")[0] for place in found.kept] == ["warm"]
    for _ in range(3):
        lake.days(8)
        lake.sweep()
    assert len(lake.stored("warm")) == 1, "the only copy"
