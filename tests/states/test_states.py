"""Every row of docs/states.md is brought about, its commands are typed, and they lead where it says."""

from __future__ import annotations

import os
import random
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa

from storaged.catalog import placements
from storaged.catalog.items import IntoPack, NewItem, ToTier
from storaged.catalog.schema import blobs, job_items, jobs, objects
from storaged.catalog.schema_attempts import attempts
from storaged.catalog.suspensions import suspended
from storaged.cli.context import opened
from storaged.cli.options import Options
from storaged.clock import SystemClock
from storaged.errors import PermissionDenied, StoreFull
from storaged.model import PACK, AttemptState, CodecSpec, Fidelity, ItemState, JobKind, JobState, RawState, ReplicaState
from storaged.stores.base import Store
from storaged.testing import Crash, Fault, Faults, FaultyStore
from storaged.work import suspension, targets
from storaged.work.context import Context
from storaged.work.doctor.verify import verify
from storaged.work.release.sweep import sweep
from storaged.work.rewrite.enqueue import Enqueued, enqueue_batches, enqueue_pack
from storaged.work.rewrite.worker import Worker
from tests.cli.lake import OLD, Lake
from tests.codecs.parquet_files import written

PAGE = Path(__file__).resolve().parents[2] / "docs/states.md"
NAME = "a.csv"
AT_ONCE = "late_put_window: 0s\n"


@dataclass(frozen=True)
class Row:
    """A row of the page."""

    of: str
    state: str
    how: str
    commands: tuple[str, ...]
    then: str

    def __str__(self) -> str:
        return f"{self.of}: {self.state}: {'; '.join(self.commands)}"


def rows() -> Iterator[Row]:
    of = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            of = line.removeprefix("## ")
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 4 and "`storagectl" in cells[2]:
            yield Row(of, cells[0], cells[1], tuple(re.findall(r"`storagectl ([^`]+)`", cells[2])), cells[3])


# -- what there is ----------------------------------------------------------------------------------------------------


class Place(Lake):
    """A lake, and what goes on in processes that meet trouble."""

    @contextmanager
    def context(self, wrap: Callable[[Store], Store] = lambda store: store) -> Iterator[Context]:
        with opened(Options(config=self.config)) as here:
            yield Context(here.settings, here.catalog, SystemClock(), actor="test", wrap=wrap)

    @contextmanager
    def troubled(self, place: str, *faults: Fault) -> Iterator[Context]:
        """A process that meets these faults at a tier or the root, all of which must fire."""
        plan = Faults(*faults)
        url = f"file://{self.place}/{place}"
        with self.context(lambda store: FaultyStore(store, plan) if store.url == url else store) as context:
            yield context
        plan.assert_all_hit()

    def at_once(self) -> None:
        self.configure(grace="0s", more=AT_ONCE)

    def change(self, *statements: sa.Update) -> None:
        with self.context() as context, context.catalog.begin() as conn:
            for statement in statements:
                conn.execute(statement)

    def blob(self) -> Path:
        [path] = [p for p in (self.place / "cold/lake").rglob("*") if p.is_file()]
        return path


def original(lake: Place) -> str:
    """The state of the object's original key, in the words of the page."""
    with lake.context() as context:
        seen = targets.one(context, f"lake/{NAME}")
        p = seen.placement
        with context.catalog.read() as conn:
            stuck = conn.execute(sa.select(objects.c.stuck).where(objects.c.id == seen.id)).scalar()
        words = [p.raw.state.value]
        if p.raw.state is RawState.SUPERSEDED and not stuck and (p.raw.until_us or 0) <= context.now_us():
            words.append("due")
        if p.raw.state is RawState.RELEASING:
            there = lake.root / NAME
            if not there.exists():
                words.append("gone")
            elif context.root("lake").head(NAME).identity != p.raw.identity:
                words.append("changed")
        elif stuck:
            words.append("stuck")
        if p.in_doubt:
            words.insert(1, "in doubt")
        if p.raw.state is RawState.CURRENT and p.raw.damaged:
            words.append("damaged")
        if p.raw.state is RawState.RELEASED and not p.exists:
            words.append("removed")
        return ", ".join(words)


def replica(lake: Place) -> str:
    """The state of the oldest replica there is."""
    with lake.context() as context:
        seen = targets.one(context, f"lake/{NAME}")
        with context.catalog.read() as conn:
            order = {r.id: r.created_us for r in conn.execute(sa.select(blobs.c.id, blobs.c.created_us))}
    oldest = min(seen.placement.replicas, key=lambda r: order[r.blob], default=None)
    if oldest is None:
        return "gone"
    packed = ["in a pack"] if seen.blobs[oldest.blob].packed_bytes else []
    kept = ["kept"] if oldest.overwritten else []
    damaged = ["damaged"] if oldest.damaged else []
    return ", ".join([oldest.state.value, *packed, *damaged, *kept])


def attempt(lake: Place) -> str:
    """The state of what is no replica of anything."""
    with lake.context() as context, context.catalog.read() as conn:
        return conn.execute(sa.select(attempts.c.state)).scalar() or "gone"


def job(lake: Place) -> str:
    """The state of the newest job."""
    with lake.context() as context, context.catalog.read() as conn:
        row = conn.execute(sa.select(jobs).order_by(jobs.c.id.desc()).limit(1)).one()
        items = conn.execute(sa.select(job_items).where(job_items.c.job_id == row.id)).all()
        at_its_key = conn.execute(sa.select(objects.c.raw_state)).scalars().first()
    words = [row.state]
    if row.state == JobState.QUEUED.value and any(i.note for i in items):
        words.append("waits")
    if row.state == JobState.RUNNING.value:
        words.append("dead")
    if row.state == JobState.DONE.value:
        if {i.state for i in items} == {ItemState.SKIPPED.value}:
            words.append("skipped")
        elif at_its_key == RawState.CURRENT.value:
            words = ["undone"]
    return ", ".join(words)


def suspension_of(lake: Place) -> str:
    with lake.context() as context, context.catalog.read() as conn:
        return next((what.kind for what in suspended(conn)), "none")


# -- how it comes about -----------------------------------------------------------------------------------------------


def moved(lake: Place) -> None:
    lake.moved(NAME)


def due(lake: Place) -> None:
    lake.at_once()
    lake.moved(NAME)


def denied(lake: Place) -> None:
    """The intent is durable, and the store lets nothing be deleted."""
    due(lake)
    with lake.troubled(
        "lake", Fault("delete", 0, error=PermissionDenied("not yours", hint="ask the owner"))
    ) as context:
        assert sweep(context).errors


def denied_with_a_late_window(lake: Place) -> None:
    denied(lake)
    lake.configure()


def note_stuck(lake: Place) -> None:
    with lake.context() as context, context.catalog.begin() as conn:
        placements.note_stuck(conn, {1: "it was immutable"})


def fresh(lake: Place) -> None:
    lake.fill(NAME)


def fresh_and_stuck(lake: Place) -> None:
    fresh(lake)
    note_stuck(lake)


def due_and_stuck(lake: Place) -> None:
    """As a sweep found it."""
    due(lake)
    note_stuck(lake)


def damaged_original(lake: Place) -> None:
    fresh(lake)
    lake.good("verify", "lake")
    with lake.troubled("lake", Fault("read_at", 0, damage=lambda data: data[:-1] + b"?" if data else data)) as context:
        found(context)
    (lake.root / NAME).touch()


def found(context: Context) -> None:
    """Verify finds damage."""
    assert verify(context, targets.pages(context, "lake"), chance=random.Random(1)).damaged


def in_doubt(lake: Place) -> None:
    denied(lake)
    lake.good("undo", f"lake/{NAME}")
    with lake.context() as context, context.catalog.begin() as conn:
        placements.note_stuck(conn, {1: ""})


def died_after_the_delete(lake: Place) -> None:
    due(lake)
    with lake.troubled("lake", Fault("delete", 1, error=Crash(), late=True)) as context, pytest.raises(Crash):
        sweep(context)


def denied_and_written(lake: Place) -> None:
    denied(lake)
    lake.write(NAME, rows=9)


def released(lake: Place) -> None:
    lake.released(NAME)


def removed(lake: Place) -> None:
    released(lake)
    lake.good("rm", f"lake/{NAME}", "--yes")


def deleted_in_grace(lake: Place) -> None:
    moved(lake)
    lake.write("b.csv")  # a root that shows nothing would be a question
    (lake.root / NAME).unlink()
    lake.good("scan")


def rotten(lake: Place) -> None:
    """While its original is kept."""
    moved(lake)
    with lake.troubled("cold", Fault("read_at", 0, damage=lambda data: data[:-1] + b"?" if data else data)) as context:
        found(context)


def lost_and_brought_back(lake: Place) -> None:
    released(lake)
    blob = lake.blob()
    blob.rename(lake.place / "away")
    with lake.context() as context:
        found(context)
    (lake.place / "away").rename(blob)


def undone(lake: Place) -> None:
    moved(lake)
    lake.good("undo", f"lake/{NAME}")


def packed(lake: Place) -> None:
    """With two others."""
    names = (NAME, "b.csv", "c.csv")
    lake.fill(*names)
    with lake.context() as context, Worker(context) as worker:
        seen = [targets.one(context, f"lake/{name}") for name in names]
        to = IntoPack("cold", CodecSpec(PACK, 3), context.settings.grace)
        items = [NewItem(h.id, h.version, h.placement.size, to, name=h.placement.name) for h in seen]
        enqueue_pack(context, "lake", items, pack="0001", reason="test", result=Enqueued())
        assert worker.run().done == len(names)


def packed_and_released(lake: Place) -> None:
    lake.at_once()
    packed(lake)
    lake.good("sweep", "--yes")


def undone_of_a_pack(lake: Place) -> None:
    packed(lake)
    lake.good("undo", f"lake/{NAME}")


def overwritten(lake: Place) -> None:
    released(lake)
    (lake.root / NAME).write_text("one more line\n")
    lake.at_once()
    lake.good("scan")


def blob_denied(lake: Place) -> None:
    undone(lake)
    with lake.troubled("cold", Fault("delete", 0, error=PermissionDenied("not yours"))) as context:
        assert sweep(context).errors


def abandoned(lake: Place) -> None:
    """A worker stages its blob and dies; its lease is over."""
    lake.at_once()
    lake.fill(NAME)
    lake.good("restage", f"lake/{NAME}", "--tier", "cold", "--no-wait")
    with lake.troubled("cold", Fault("commit", 1, error=Crash())) as context, Worker(context) as worker:
        claimed = worker.claim()
        assert claimed is not None
        with pytest.raises(Crash):
            worker.work(claimed)
    lake.change(sa.update(jobs).values(lease_until_us=1))


def just_abandoned(lake: Place) -> None:
    abandoned(lake)
    lake.configure()


def proposed(lake: Place) -> None:
    lake.fill(NAME)
    table = pa.table({"n": [n % 97 for n in range(4_000)]})
    (lake.root / "t.parquet").write_bytes(written(table, compression="none", use_dictionary=False))
    os.utime(lake.root / "t.parquet", (OLD, OLD))
    lake.good("scan")
    with lake.troubled("hot", Fault("write_note", 1, error=Crash())) as context, Worker(context) as worker:
        seen = targets.one(context, "lake/t.parquet")
        to = ToTier("cold", CodecSpec("parquet", 3, Fidelity.TABLE), context.settings.grace)
        items = [NewItem(seen.id, seen.version, seen.placement.size, to)]
        enqueue_batches(context, JobKind.REWRITE, "lake", items, reason="test", result=Enqueued())
        with pytest.raises(Crash):
            worker.run()


def tombstone(lake: Place) -> None:
    abandoned(lake)
    lake.good("job", "cancel", "1")


def queued(lake: Place) -> None:
    fresh(lake)
    lake.good("restage", f"lake/{NAME}", "--tier", "cold", "--no-wait")


def full(lake: Place) -> None:
    queued(lake)
    with (
        lake.troubled("cold", Fault("write", 0, error=StoreFull("no space left"))) as context,
        Worker(context) as worker,
    ):
        worker.run()
    lake.change(sa.update(jobs).values(not_before_us=0))


def refused(lake: Place) -> None:
    queued(lake)
    taken = lake.place / "cold/lake"
    taken.write_bytes(b"")  # a file where the folder of its blobs belongs
    assert lake.ctl("work").code == 3
    taken.unlink()


def cancelled(lake: Place) -> None:
    queued(lake)
    lake.good("job", "cancel", "1")


def churned(lake: Place) -> None:
    queued(lake)
    lake.write(NAME, rows=9)
    os.utime(lake.root / NAME, (OLD + 9, OLD + 9))
    lake.good("work")


def suspend(kind: str, name: str) -> Callable[[Place], None]:
    def act(lake: Place) -> None:
        fresh(lake)
        with lake.context() as context:
            suspension.suspend(context, kind, name, "something is wrong")  # type: ignore[arg-type]

    return act


SECTIONS = {
    "The original key of an object": original,
    "The replica that an object has, or had": replica,
    "What an attempt left": attempt,
    "A job": job,
    "A suspension": suspension_of,
}
HOW: dict[tuple[str, str, str], Callable[[Place], None]] = {
    ("original", "current", "its user wrote it"): fresh,
    ("original", "current, stuck", "it could not be deleted"): fresh_and_stuck,
    ("original", "current, damaged", "`verify` found"): damaged_original,
    ("original", "current, in doubt", "its release was taken back"): in_doubt,
    ("original", "superseded", "it was moved"): moved,
    ("original", "superseded, due", "its grace is over"): due,
    ("original", "superseded, stuck", "it came to stay"): due_and_stuck,
    ("original", "releasing", "the store denied"): denied_with_a_late_window,
    ("original", "releasing, gone", "the sweeper died"): died_after_the_delete,
    ("original", "releasing, changed", "its user wrote there"): denied_and_written,
    ("original", "released", "its grace is over"): released,
    ("original", "released, removed", "a person removed"): removed,
    ("original", "absent", "its user deleted it"): deleted_in_grace,
    ("replica", "current", "it was moved and released"): released,
    ("replica", "current, damaged", "its bytes rotted while"): rotten,
    ("replica", "current, damaged", "its bytes rotted; they"): rotten,
    ("replica", "current, damaged", "its tier lost it"): lost_and_brought_back,
    ("replica", "superseded", "it was undone"): undone,
    ("replica", "current, in a pack", "it was packed"): packed_and_released,
    ("replica", "superseded, in a pack", "it was undone"): undone_of_a_pack,
    ("replica", "superseded, kept", "a program wrote over"): overwritten,
    ("replica", "releasing", "its tier denied"): blob_denied,
    ("attempt", "staged", "its worker died, the lease"): just_abandoned,
    ("attempt", "staged", "its worker died, lease and"): abandoned,
    ("attempt", "proposed", "another file of a table"): proposed,
    ("attempt", "tombstone", "an attempt was discarded"): tombstone,
    ("job", "queued", "`apply --no-wait`"): queued,
    ("job", "queued, waits", "its tier was full"): full,
    ("job", "running, dead", "its worker died"): abandoned,
    ("job", "failed", "something at the place"): refused,
    ("job", "cancelled", "a person stopped it"): cancelled,
    ("job", "done", "it ran to its end"): moved,
    ("job", "done, skipped", "its users changed"): churned,
    ("suspension_of", "policy", "too many"): suspend("policy", "shrink"),
    ("suspension_of", "tier", "it was full"): suspend("tier", "cold"),
    ("suspension_of", "dataset", "its root was away"): suspend("dataset", "lake"),
}


def how(row: Row) -> Callable[[Place], None]:
    """What brings a row about."""
    of = SECTIONS[row.of].__name__
    mine = {why: act for (what, state, why), act in HOW.items() if (what, state) == (of, row.state)}
    [act] = [act for why, act in mine.items() if row.how.startswith(why)]
    return act


@pytest.mark.parametrize("row", list(rows()), ids=str)
def test_what_leads_out_of_a_state_does(row: Row, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    lake = Place(tmp_path / "place")
    look = SECTIONS[row.of]
    how(row)(lake)
    assert look(lake) == row.state
    content = (lake.root / NAME).read_text() if (lake.root / NAME).exists() else None
    for command in row.commands:
        names = {"OBJECT": f"lake/{NAME}", "DATASET": "lake", "JOB": "1"}
        lake.good(*(names.get(word, word) for word in shlex.split(command)))
    assert look(lake) == row.then
    if row.state != "released, removed" and "rm" not in row.commands[-1]:
        seen = lake.good("cat", f"lake/{NAME}").out
        assert content is None or seen == content


# MUST Nothing gets stuck
def test_every_way_has_its_row_and_every_state_its_way() -> None:
    told = list(rows())
    used = {(SECTIONS[row.of].__name__, row.state, how(row).__name__) for row in told}
    assert {(what, state, act.__name__) for (what, state, _), act in HOW.items()} == used
    states = {of: {row.state.partition(",")[0] for row in told if row.of == of} for of in SECTIONS}
    assert states["The original key of an object"] == {state.value for state in RawState}
    assert states["The replica that an object has, or had"] == {state.value for state in ReplicaState}
    assert states["What an attempt left"] == {state.value for state in AttemptState}
    assert states["A job"] == {state.value for state in JobState}
    assert states["A suspension"] == {"policy", "tier", "dataset"}
    for row in told:
        assert row.commands, row


def test_what_cannot_be_released_is_told_by_status_and_doctor_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    lake = Place(tmp_path / "place")
    denied(lake)
    status = lake.good("status")
    assert "cannot be released" in status.out
    assert "ask the owner" in status.out.replace("\n", " ")
    [told] = lake.good("status", "--json").json["stuck"]
    assert (told["dataset"], told["example"], told["objects"], told["waiting"]) == ("lake", NAME, 1, True)
    doctor = lake.ctl("doctor", "--json")
    [finding] = [f for f in doctor.json["findings"] if f["check"] == "cannot-be-released"]
    assert "not yours: ask the owner" in finding["says"]
    assert f"`storagectl undo lake/{NAME}`" in finding["mend"]
    lake.good("undo", f"lake/{NAME}")
    assert lake.good("status", "--json").json["stuck"] == []
