"""A machine that lives dataset lives at random, beside a model of what the user may expect to read.

Hypothesis writes the lives: writes, deletes, jobs, undo, sweeps, write-backs, lost and restored catalogs, processes
that die at any step (their last request may land days later), other processes that act between two steps of one, and
workers that sleep through their lease and wake up to swap. `truth` is the model: for every name the set of contents
that may be read once a scan has seen the root; None is "gone". It is the model of docs/design.md, "What a delete
means": a delete counts while the catalog holds the original key as current or superseded; one that meets a release,
comes after it, or removes what no scan saw may end either way. Objects are moved by themselves and in packs, which
are swapped, told and released in pages of two; one is held by a court, or verify finds its slice rotten.

What is checked after every step: whatever can be read is the content that the catalog holds for that generation; the
user's files are as the user left them, or released with the same content readable, and not at all while the object is
held or its other place is damaged; no blob is unknown. After a scan: what is read is in `truth`. At the end of each
life, when late requests have landed, all jobs are run and all windows are over: the same, and each object is stored
exactly once, with no key in a tier that nobody needs and nothing left beside it.
"""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, currently_in_test_context, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from storaged.catalog import placements
from storaged.catalog.attempts import known_ids
from storaged.catalog.engine import Catalog
from storaged.catalog.items import IntoPack, NewItem, ToTier
from storaged.catalog.placements import Seen
from storaged.catalog.queue import ClaimedJob
from storaged.clock import DAY, Timings
from storaged.codecs.base import InMemory
from storaged.codecs.registry import CODECS
from storaged.digest import digest_of
from storaged.errors import CatalogBehind, ForeignClaim, LeaseLost, ObjectNotFound, SourceChanged, StoragedError
from storaged.model import PACK, CodecSpec, Fidelity, JobKind, RawState, ReplicaState
from storaged.testing import FakeClock
from storaged.testing.contents import ORIGIN
from storaged.testing.faults import Fault, Faults, FaultyStore
from storaged.work import journal, targets
from storaged.work.content import open_current
from storaged.work.context import Context
from storaged.work.doctor.verify import verify
from storaged.work.recover.rebuild import lost_catalog, reconcile
from storaged.work.release import blobs as release_of_blobs
from storaged.work.release.sweep import sweep
from storaged.work.rewrite import swap as swapping
from storaged.work.rewrite.derive import derive, derives
from storaged.work.rewrite.enqueue import Enqueued, enqueue_batches, enqueue_pack
from storaged.work.rewrite.overwritten import let_go
from storaged.work.rewrite.pointers import hold_objects, remove_objects, undo_objects
from storaged.work.rewrite.returns import to_root
from storaged.work.rewrite.stage import Staged, stage
from storaged.work.rewrite.swap import swap
from storaged.work.rewrite.worker import Worker
from storaged.work.scan.run import scan
from tests import memory
from tests.codecs.parquet_files import written
from tests.life.crashes import Crash
from tests.life.databases import Databases
from tests.life.interleave import ANY, STEPS, InterleavedCatalog, InterleavedStore, Landing, Process
from tests.life.places import NewPlaces, directories
from tests.life.test_guards import GUARDS, Guard
from tests.life.world import World, text

LONG = bool(os.environ.get("STORAGED_LONG"))  # `make campaign`
# Guards whose absence the machine finds by itself. The other scenes of test_guards.py need more luck than is to be had.
MISSED = (
    "read if match",
    "intent row",
    "list unknown",
    "release intent",
    "undo needs it",
    "journaled intent",
    "absent is delete",
    "delete if match",
    "catalog identity",
    "facts first",
)
NAMES = ("a.csv", "d/b.parquet", "d/c.csv")
LATE_DAYS = 6.5  # within late_put_window: what lands later is excluded by assumption
TIERS = ("hot", "warm", "cold")
TABLE = "parquet, fidelity: table"  # a codec of ops,
ANEW = "parquet, fidelity: table, reencode"  # and another one
OTHERS = {TABLE: CodecSpec("parquet", 3, Fidelity.TABLE), ANEW: CodecSpec("parquet", 3, Fidelity.TABLE, reencode=True)}


@dataclass(frozen=True)
class Op:
    """Something that a process does, or the user. A pack is of all objects but the one that is named."""

    kind: str
    name: str = ""
    tier: str = "cold"
    codec: str = "zstd"
    grace: float = 7  # days


@dataclass(frozen=True)
class Asleep:
    """A worker that has staged its blobs and not swapped yet."""

    context: Context
    claimed: ClaimedJob
    staged: list[Staged]


names = st.sampled_from([*NAMES, NAMES[0]])
outside = st.sampled_from(["write", "write same size", 0.02, 0.2, 3.0, 8.0])
usually = st.sampled_from([True, True, True, False])
ops = st.one_of(
    st.builds(
        Op,
        st.just("work"),
        names,
        st.sampled_from(TIERS),
        st.sampled_from(["zstd", "identity", "parquet", TABLE, ANEW]),
        st.sampled_from([7.0, 7.0, 0.1]),
    ),
    st.just(Op("scan")),
    st.just(Op("sweep")),
    st.just(Op("drain")),
    st.builds(Op, st.just("undo"), names),
    st.builds(Op, st.just("eject"), names),
    st.builds(Op, st.just("pack"), st.sampled_from(["", *NAMES]), st.sampled_from(["warm", "cold", "cold"])),
    st.builds(Op, st.just("rm"), names),
)
others = st.one_of(
    ops,
    st.builds(Op, st.just("write"), names),
    st.builds(Op, st.just("write same size"), names),
    st.builds(Op, st.just("delete"), names),
    st.just(Op("overtake")),
)
moments = st.one_of(  # most jobs and sweeps take 20 to 50 steps
    st.tuples(st.just(ANY), st.integers(1, 50)),
    st.tuples(st.sampled_from(STEPS), st.integers(1, 2)),
)


class Lives(RuleBasedStateMachine):
    """One root, three names, three tiers, one catalog after another."""

    place: Path
    make: Callable[[Path], Databases]
    new_places: NewPlaces = staticmethod(directories)

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(dir=self.place))
        self.databases = self.make(self.home)
        self.clock = FakeClock()
        more = "workers: {threads: 1}\n"
        self.world = World(self.home, self.databases.make(), self.clock, more=more, new_places=self.new_places)
        self.world.scan()
        self.writes = 0
        self.truth: dict[str, set[bytes | None]] = {n: {None} for n in NAMES}
        self.files: dict[str, bytes | None] = dict.fromkeys(NAMES)
        self.sizes = dict.fromkeys(NAMES, 0)  # of the files, in bytes of text or rows of a table
        self.told: dict[tuple[str, str], bytes] = {}  # identities of the user's files, and what is in them
        self.contents: dict[tuple[str, str], bytes] = {}  # digests of everything that was ever written or made of it
        self.made_of: dict[bytes, bytes] = {}  # another file of the same table -> the user's
        self.late: list[tuple[int, Landing]] = []
        self.asleep: list[Asleep] = []
        self.copies: list[Callable[[], Catalog]] = []
        self.ending = "alive"
        self.kept: set[str] = set()  # blobs that may be the only copy of something
        self.unlisted = False  # something landed that only the next listing of the tiers can find
        self.places: dict[str, set[str]] = {}  # blobs that a held object has something in, for as long as it is held
        self.rotten: dict[str, str] = {}  # objects whose slice of that blob verify found damaged

    @initialize(
        ending=st.sampled_from(["alive", "lost", "restored"]),
        start=st.sampled_from(["fresh", "moved", "released", "packed", "packed and released", "derived", "derived"]),
    )
    def begin(self, ending: str, start: str) -> None:
        self.ending = ending
        for name in NAMES if "packed" in start else NAMES[:1]:
            self._write(name, same=False)
        scan(self.world.context, "lake")
        if "packed" in start:
            self._do(Op("pack"), self.world.context)
        elif start == "derived":
            self._write(NAMES[1], same=False)
            self._do(Op("scan"), self.world.context)
            self._do(Op("work", NAMES[1], "warm", TABLE), self.world.context)
            held = self._held(NAMES[1])
            assert held is not None
            assert held.placement.edition
        elif start != "fresh":
            self.move(NAMES[0], "cold")
        if "released" in start:
            self.a_week_passes()

    # -- the user --------------------------------------------------------------------------------------------------

    @rule(what=outside, name=names)
    def something_happens(self, what: str | float, name: str) -> None:
        if isinstance(what, str):
            self._write(name, what != "write")
        else:
            self.world.days(what)
        self._check()

    @precondition(lambda self: any(self.world.raw(n) is not None for n in NAMES))
    @rule(name=names)
    def delete(self, name: str) -> None:
        there = [n for n in NAMES if self.world.raw(n) is not None]
        self._delete(name if name in there else there[0], racing=False)
        self._check()

    def _write(self, name: str, same: bool) -> None:
        self.writes += 1
        size = self.sizes[name] if same and self.files[name] is not None else 2_000 + self.writes
        self.sizes[name] = size
        content = text(f"{name} {self.writes}", size) if name.endswith(".csv") else numbers(self.writes, size)
        self.world.write(name, content)
        self.truth[name] = {content}
        self.files[name] = content
        self.told[name, self.world.context.root("lake").head(name).identity] = content
        self.contents[name, digest_of([content])] = content
        if name.endswith(".parquet"):
            for spec in OTHERS.values():
                made = another(content, spec)
                self.contents[name, digest_of([made])] = made
                self.made_of[made] = content

    def _delete(self, name: str, *, racing: bool) -> None:
        if self.world.raw(name) is None:
            return
        truth: set[bytes | None] = {None}
        seen = self._held(name)
        moved = seen and seen.placement.current and (racing or seen.placement.raw.state is not RawState.SUPERSEDED)
        if seen and (moved or seen.placement.in_doubt):
            truth.add(self._content(seen))
        self.world.delete(name)
        self.truth[name] = truth
        self.files[name] = None

    # -- storaged --------------------------------------------------------------------------------------------------

    @rule(op=ops, useful=usually)
    def do(self, op: Op, useful: bool) -> None:
        self._prepare(op, useful)
        self._do(op, self.world.context)
        if op.kind == "scan":
            self._expect(f"after {op}")
        self._check()

    @rule(name=names, tier=st.sampled_from(TIERS))
    def move(self, name: str, tier: str) -> None:
        self._do(Op("scan"), self.world.context)
        self._expect("before the move")
        self._do(Op("work", name, tier), self.world.context)
        self._check()

    @rule()
    def a_week_passes(self) -> None:
        self.world.days(8)
        self._do(Op("sweep"), self.world.context)
        self._check()

    @rule(name=names, on=st.booleans())
    def a_court_speaks(self, name: str, on: bool) -> None:
        seen = self._held(name)
        if seen is None:
            return
        if hold_objects(self.world.context, [[seen]], "a court" if on else None).done:
            if on:
                kept = [r.blob for r in seen.placement.replicas if r.state is not ReplicaState.RELEASING]
                self.places[name] = set(kept)
            else:
                self.places.pop(name, None)
        self._check()

    @rule(name=names)
    def a_slice_rots(self, name: str) -> None:
        """Verify reads one object, and finds other bytes under an unchanged identity."""
        seen = self._held(name)
        if seen is None or not seen.placement.current:
            return
        tier = seen.blobs[seen.placement.current.blob].tier
        faults = Faults(Fault("read_at", 0, damage=lambda data: data[:-1] + b"?" if data else data))
        rotten = self.world.new_context(wrap=lambda s: FaultyStore(s, faults) if s.url.endswith(f"/{tier}") else s)
        if verify(rotten, [[seen]], chance=random.Random(1)).damaged:
            self.rotten[name] = seen.placement.current.blob
        self._check()

    @rule()
    def all_reads_right_again(self) -> None:
        found = verify(self.world.context, targets.pages(self.world.context, "lake"), chance=random.Random(1))
        assert found.damaged == []
        self.rotten = {n: b for n, b in self.rotten.items() if (h := self._held(n)) and h.placement.damaged}
        self._check()

    @rule(op=ops, useful=usually, moment=moments, in_flight=st.booleans())
    def die(self, op: Op, useful: bool, moment: tuple[str, int], in_flight: bool) -> None:
        """The process dies before a step, whose request may land later."""
        self._prepare(op, useful)
        process = Process(*moment, in_flight=in_flight)
        try:
            self._do(op, self._seen_by(process))
        except Crash:
            _say(f"died in {op} before {moment}")
            if op.kind == "rm":
                self.truth[op.name].add(None)
        self.late += [(self.clock.now_us(), landing) for landing in process.under_way]
        self._check()

    @rule(op=ops, useful=usually, moment=moments, other=others)
    def meet(self, op: Op, useful: bool, moment: tuple[str, int], other: Op) -> None:
        """Another process, or the user, acts before a step."""
        self._prepare(op, useful)
        process = Process(*moment, act=lambda: self._meanwhile(other, racing=op.kind == "sweep"))
        self._do(op, self._seen_by(process))
        self._check()

    def _meanwhile(self, other: Op, *, racing: bool) -> None:
        _say(f"meanwhile {other}")
        match other.kind:
            case "write" | "write same size":
                self._write(other.name, other.kind != "write")
            case "delete":
                self._delete(other.name, racing=racing)
            case "overtake":
                self.world.days(0.02)
                self._do(Op("drain"), self.world.new_context(actor="other"))
            case _:
                self._do(other, self.world.new_context(actor="other"))

    @rule(name=names, tier=st.sampled_from(TIERS), back=st.booleans(), together=st.booleans())
    def fall_asleep(self, name: str, tier: str, back: bool, together: bool) -> None:
        """A worker stages its blob, or a pack of all, and is not heard of for a while."""
        context = self.world.new_context(actor="sleeper")
        seen = self._held(name)
        if seen is None:
            return
        if back:
            if not context.confirm_root("lake"):
                return
            to_root(context, [[seen]], reason="test")
        elif together:
            self._enqueue_pack(context, Op("pack", tier=tier))
        else:
            self._enqueue(context, Op("work", name, tier))
        with Worker(context, name="sleeper") as worker:
            claimed = worker.claim()
            if claimed is None:
                return
            self.asleep.append(Asleep(context, claimed, self._staged(worker, claimed)))
        self._check()

    def _staged(self, worker: Worker, claimed: ClaimedJob) -> list[Staged]:
        if claimed.members is not None:
            made, _ = worker._pack(claimed, claimed.members, Timings(), lambda: True, lambda _item, _note: None)
            return list(made)
        staged = []
        for item in claimed.items:
            try:
                staged.append((derive if derives(item) else stage)(worker.context, item))
            except StoragedError as error:
                _say(f"{item.key}: {error.message}")
        return staged

    @precondition(lambda self: self.asleep)
    @rule(which=st.integers(0, 9))
    def wake_up(self, which: int) -> None:
        one = self.asleep.pop(which % len(self.asleep))
        self._wake(one)
        self._check()

    def _wake(self, one: Asleep) -> None:
        try:
            swap(one.context, one.claimed, one.staged, [])
            one.context.journal.flush()
        except LeaseLost:
            _say("found its lease lost")
        except (ForeignClaim, CatalogBehind):
            assert one.context.catalog is not self.world.catalog
            _say("found another catalog in its place")

    # -- disasters -------------------------------------------------------------------------------------------------

    @rule(copy=st.none() | st.integers(0, 9), moment=st.none() | moments, in_flight=st.booleans())
    def the_catalog_is_gone(self, copy: int | None, moment: tuple[str, int] | None, in_flight: bool) -> None:
        """It is lost, or an old copy is restored in its place."""
        self._forget_attempts()
        shown = {n: self._shown(n) for n in NAMES}
        if copy is not None and self.copies:
            self.world.catalog = self.copies[copy % len(self.copies)]()
        else:
            self.world.catalog = self.databases.heir(lost_catalog(self.world.context.tier("hot")))
        self._come_back(moment, in_flight)
        for name, (was, waits) in shown.items():
            now, _ = self._shown(name)
            if was is not None and now is not None and not waits and self._written(was) == self._written(now):
                assert now == was, f"{name} is another edition than was shown before the catalog was lost"

    def _written(self, content: bytes) -> bytes:
        """What its user wrote, of which it is the same table."""
        return self.made_of.get(content, content)

    def _shown(self, name: str) -> tuple[bytes | None, bool]:
        """What its name reads as, if that can be read, and whether a fact is under way."""
        seen = self._held(name)
        try:
            return self._read(name), seen is not None and seen.fact_id is not None
        except (SourceChanged, ObjectNotFound):
            return None, False

    @precondition(lambda self: len(self.copies) < 2)
    @rule()
    def back_up(self) -> None:
        self.copies.append(self.databases.copy(self.world.catalog))

    def _forget_attempts(self) -> None:
        """An attempt at an original key that is not in the journal counts as the user's file from now on."""
        for name in NAMES:
            raw, seen = self.world.raw(name), self._held(name)
            if raw is None:
                continue
            origin = self.world.context.root("lake").origin(name)
            if origin is not None and (seen is None or seen.placement.raw.attempt != origin.attempt):
                self.truth[name].add(raw)

    def _come_back(self, moment: tuple[str, int] | None, in_flight: bool) -> None:
        """Reconcile and scan; a process that dies doing so is followed by another."""
        self.world.context = self.world.new_context()
        if moment is not None:
            process = Process(*moment, in_flight=in_flight)
            try:
                reconcile(self._seen_by(process))
            except Crash:
                _say(f"reconcile died before {moment}")
            self.late += [(self.clock.now_us(), landing) for landing in process.under_way]
            self.world.context = self.world.new_context()
        reconcile(self.world.context)
        scan(self.world.context, "lake", confirm_empty=True)
        self._expect("after the catalog came back")
        self._check()

    @precondition(lambda self: self.late)
    @rule(which=st.integers(0, 9))
    def a_request_lands(self, which: int) -> None:
        sent, landing = self.late.pop(which % len(self.late))
        if self.clock.now_us() - sent < LATE_DAYS * DAY:
            self._land(landing)
        self._check()

    def _land(self, landing: Landing) -> None:
        landed = landing.land()
        _say(f"{landing.what} {landing.key} {'lands' if landed else 'finds nothing to do'}")
        if not landed or landing.what != "upload":
            return
        with self.world.catalog.read() as conn:
            known = bool(known_ids(conn, [landing.attempt]))
        if known:
            return
        if landing.store == self.world.context.root("lake").url:
            self.truth[landing.key].add(self.world.raw(landing.key))
        else:
            self.unlisted = True

    def _prepare(self, op: Op, useful: bool) -> None:
        """Bring about a state in which there is something to do."""
        if not useful:
            return
        if op.name and self.world.raw(op.name) is None and None in self.truth[op.name]:
            self._write(op.name, same=False)
        if op.kind == "pack":
            for name in NAMES:
                if self.world.raw(name) is None and None in self.truth[name]:
                    self._write(name, same=False)
        if op.kind in ("work", "undo", "eject", "pack"):
            self._do(Op("scan"), self.world.context)
        seen = self._held(op.name)
        if op.kind in ("undo", "eject") and seen is not None and seen.placement.raw.state is RawState.CURRENT:
            self._do(Op("work", op.name, "warm", "identity"), self.world.context)
        if op.kind in ("sweep", "eject", "rm"):
            self.world.days(8)
        if op.kind in ("eject", "rm"):
            self._do(Op("sweep"), self.world.context)
            self._check()

    # -- how ---------------------------------------------------------------------------------------------------------

    def _seen_by(self, process: Process) -> Context:
        return self.world.new_context(
            catalog=InterleavedCatalog(self.world.catalog, process), wrap=lambda s: InterleavedStore(s, process)
        )

    def _do(self, op: Op, context: Context) -> None:
        match op.kind:
            case "scan":
                scan(context, "lake", confirm_empty=True)
            case "sweep":
                swept = sweep(context)
                assert [e for e in swept.errors if "only copy" not in e] == []
                self.unlisted = False
            case "drain":
                self._drain(context)
            case "work":
                self._enqueue(context, op)
                self._drain(context)
            case "pack":
                self._enqueue_pack(context, op)
                self._drain(context)
            case "undo":
                self._undo(context, op.name)
            case "rm":
                self._remove(context, op.name)
            case "eject":
                if self._held(op.name) is not None:
                    to_root(context, targets.pages(context, f"lake/{op.name}"), reason="test")
                    self._drain(context)

    def _drain(self, context: Context) -> None:
        with Worker(context, name="worker") as worker:
            worker.run()

    def _enqueue(self, context: Context, op: Op) -> None:
        seen = self._held(op.name)
        if seen is not None and seen.placement.exists:
            spec = OTHERS.get(op.codec) or CodecSpec(op.codec, None if op.codec == "identity" else 3)
            item = NewItem(seen.id, seen.version, seen.placement.size, ToTier(op.tier, spec, round(op.grace * DAY)))
            enqueue_batches(context, JobKind.REWRITE, "lake", [item], reason="test", result=Enqueued())

    def _enqueue_pack(self, context: Context, op: Op) -> None:
        found = [seen for n in NAMES if n != op.name and (seen := self._held(n)) is not None and seen.placement.exists]
        to = IntoPack(op.tier, CodecSpec(PACK, 3), round(op.grace * DAY))
        items = [NewItem(h.id, h.version, h.placement.size, to, name=h.placement.name) for h in found]
        enqueue_pack(context, "lake", items, pack="0001", reason="test", result=Enqueued())

    def _remove(self, context: Context, name: str) -> None:
        """What is at its original key is removed there and not here."""
        seen = self._held(name)
        if seen is None:
            return
        done = remove_objects(context, [[seen]]).done
        if done and self.world.raw(name) is None:  # else its user has written it anew
            self.truth[name] = {None}
            self.files[name] = None

    def _undo(self, context: Context, name: str) -> None:
        """An undo may bring back what was removed, as the newest content that the catalog knew, and nothing else."""
        seen = self._held(name)
        if seen is None:
            return
        if not seen.placement.exists and seen.placement.digest:
            self.truth[name].add(self.contents[name, seen.placement.digest])
        undo_objects(context, targets.pages(context, f"lake/{name}"))

    @precondition(lambda self: any(self._undoable(name) for name in NAMES))
    @rule()
    def an_edition_is_undone(self) -> None:
        """Where what was changed last is that a name reads as another file of its table, it reads as it was written."""
        name = next(name for name in NAMES if self._undoable(name))
        seen = self._held(name)
        assert seen is not None
        made = self._read_or_gone(name)
        undone = undo_objects(self.world.context, targets.pages(self.world.context, f"lake/{name}"))
        if undone.done:
            now = self._held(name)
            assert now is not None
            assert now.placement.edition != seen.placement.edition
            assert self._read_or_gone(name) in (None, self.made_of.get(made or b"")), (
                f"undo of {name} brought something else back"
            )
        self._check()

    def _undoable(self, name: str) -> bool:
        """Whether a name reads as another file, and the only other place is its user's original, which is kept."""
        seen = self._held(name)
        if seen is None or not seen.placement.edition or len(seen.placement.replicas) != 1:
            return False
        raw = seen.placement.raw
        return raw.state is RawState.SUPERSEDED and raw.edition == "" and (raw.until_us or 0) > self.clock.now_us()

    def _read_or_gone(self, name: str) -> bytes | None:
        """Its user may have changed the original that it is at by now."""
        try:
            return self._read(name)
        except (SourceChanged, ObjectNotFound):
            return None

    # -- what must hold ------------------------------------------------------------------------------------------------

    def _held(self, name: str) -> Seen | None:
        with self.world.catalog.read() as conn:
            return placements.find(conn, "lake", name)

    def _content(self, seen: Seen) -> bytes:
        """The content as the catalog resolves it: it must be that of the generation that the catalog holds."""
        p = seen.placement
        with open_current(self.world.context, seen) as source:
            content = b"".join(source.chunks())
        assert len(content) == p.size, f"{p.name} reads with another size than the catalog holds"
        if p.digest:
            assert content == self.contents[p.name, p.digest], f"{p.name} reads another generation"
        if p.raw.identity:
            told = self.told.get((p.name, p.raw.identity))
            assert told in (None, content, self.made_of.get(content)), f"{p.name} reads another generation"
            assert content != told or not p.edition, (
                f"{p.name} reads as its user wrote it, and the catalog says otherwise"
            )
        return content

    def _read(self, name: str) -> bytes | None:
        """The content, None where the object is gone. A raw key that its user changed raises; a blob never does."""
        seen = self._held(name)
        return self._content(seen) if seen is not None and seen.placement.exists else None

    def _check(self) -> None:
        for name in NAMES:
            seen = self._held(name)
            content = None
            if seen is not None and seen.placement.exists:
                try:
                    content = self._content(seen)
                except (SourceChanged, ObjectNotFound):
                    assert seen.placement.current is None, f"the blob of {name} is not there"
            raw, file = self.world.raw(name), self.files[name]
            if raw is None and file is not None:
                assert file in (content, self.made_of.get(content or b"")), f"{name} is gone and not stored elsewhere"
                assert not self._is_kept(name, seen), f"{name} was released though it is held, or its slice damaged"
                self.files[name] = None  # released
            elif raw is not None and raw != file:
                assert self.world.context.root("lake").origin(name) is not None, f"the user's {name} was changed"
                assert raw in [c for (n, _), c in self.contents.items() if n == name], f"half a file at {name}"
            if name in self.places and seen is not None:
                has = {r.blob for r in seen.placement.replicas if r.state is not ReplicaState.RELEASING}
                assert self.places[name] <= has, f"{name} is held, and lost a place"
        unknown = set(self.world.unknown_blobs())
        # Of an object that neither catalog nor root know, a blob may be the only copy: it is reported and left alone.
        # A pack never is: the journal is whole.
        alone = {k for k in unknown if not k.endswith(".tar.zst")}
        self.kept |= {k for k in alone if not any(self._is_known(n) for n in NAMES if _is_of(n, k))}
        if not self.unlisted:
            assert unknown <= self.kept
        assert self.world.packs_add_up()

    def _is_kept(self, name: str, seen: Seen | None) -> bool:
        """Whether nothing of an object may be deleted now by us, as far as we were told before its release began."""
        current = seen.placement.current if seen is not None else None
        return name in self.places or (current is not None and self.rotten.get(name) == current.blob)

    def _is_known(self, name: str) -> bool:
        return self._held(name) is not None or self.world.raw(name) is not None

    def _expect(self, when: str) -> None:
        for name in NAMES:
            got = self._read(name)
            as_written = got if got is None else self._written(got)
            truth = {c if c is None else self._written(c) for c in self.truth[name]}
            assert as_written in truth, f"{when}: {name} reads {_short(got)}, not one of " + ", ".join(
                map(_short, self.truth[name])
            )

    # -- the end -----------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            self._end()
        finally:
            self.databases.close()
            self.world.places.give_back()
            shutil.rmtree(self.home)

    def _end(self) -> None:
        if self.ending != "alive":
            self.the_catalog_is_gone(0 if self.ending == "restored" else None, None, False)
        self._settle()
        while self.late:
            self.a_request_lands(0)
        self._settle()
        while self.asleep:
            self.wake_up(0)
        for name in list(self.places):
            self.a_court_speaks(name, False)
        self.all_reads_right_again()
        for _ in range(4):
            # A person confirms: what was overwritten, or was gone after a rebuild, is kept for a year otherwise.
            let_go(self.world.context, targets.pages(self.world.context, "lake"))
            self.world.days(8)
            self._do(Op("drain"), self.world.context)
            self._do(Op("sweep"), self.world.context)
            self._settle()
        assert self.world.leftovers() == []
        existing = [seen for n in NAMES if (seen := self._held(n)) is not None and seen.placement.exists]
        stored = {(t, k) for t in TIERS for k in self.world.stored(t) if k not in self.kept}
        stored |= {("", n) for n in NAMES if self.world.raw(n) is not None}
        assert stored == {_place(seen) for seen in existing}, "a key that nobody needs, or one is missing"

    def _settle(self) -> None:
        scan(self.world.context, "lake", confirm_empty=True)
        self._expect("at the end")
        self._check()


def _is_of(name: str, key: str) -> bool:
    """Whether a blob's key was made of this name: an attempt stands between its stem and its suffix."""
    stem, _, suffix = name.rpartition(".")
    return re.fullmatch(rf"lake/{re.escape(stem)}\.[0-9a-f]{{16}}\.{suffix}(\.zst)?", key) is not None


def _place(seen: Seen) -> tuple[str, str]:
    """Tier ("": none) and key of an object's only place."""
    p = seen.placement
    if p.current is None:
        assert p.replicas == (), f"{p.name} is at its root and elsewhere"
        return "", p.name
    assert len(p.replicas) == 1, f"{p.name} is in several blobs"
    blob = seen.blobs[p.current.blob]
    return str(blob.tier), blob.key


def another(content: bytes, spec: CodecSpec) -> bytes:
    """The other file of a table that storaged makes."""
    made = io.BytesIO()
    CODECS["parquet"].derive(  # type: ignore[attr-defined]  # of this codec
        InMemory(content), made.write, spec=spec, origin=ORIGIN
    )
    return made.getvalue()


def numbers(seed: int, rows: int) -> bytes:
    """A Parquet file of so many rows, as large as any other of so many, that differs by its seed."""
    table = pa.table({"n": [seed, *(n * seed % 97 for n in range(1, rows))]})
    return written(table, compression="none", use_dictionary=False, write_statistics=False)


def _say(what: str) -> None:
    if currently_in_test_context():  # not in a worker's thread
        note(what)


def _short(content: bytes | None) -> str:
    return "nothing" if content is None else f"{content[:6].decode(errors='replace')}… of {len(content)}"


# One life is a second or two of real files and transactions, and most rules need something to have happened first.
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
BUDGET = {
    "sqlite": (600, 50) if LONG else (10, 25),
    "postgres": (100, 40) if LONG else (2, 20),
}  # lives, steps of each


def live(dialect: str, request: pytest.FixtureRequest, budget: tuple[int, int], **other: Any) -> None:
    """So many lives, of so many steps each."""
    template = request.getfixturevalue("sqlite_template") if dialect == "sqlite" else None
    server = request.getfixturevalue("postgres") if dialect == "postgres" else None
    lives, steps = budget
    pages = pytest.MonkeyPatch()
    for module, size in ((swapping, "PAGE"), (journal, "BATCH"), (release_of_blobs, "BATCH")):
        pages.setattr(module, size, 2)
    request.addfinalizer(pages.undo)
    where: NewPlaces = request.getfixturevalue("new_places")
    with memory.directory() as here:

        class Here(Lives):
            place = here
            make = staticmethod(lambda home: Databases(dialect, home, template=template, server=server))
            new_places = staticmethod(where)

        how = settings(
            max_examples=lives,
            stateful_step_count=steps,
            derandomize=not LONG,  # a commit is judged by the same lives each time; the campaign draws new ones
            print_blob=True,
            suppress_health_check=SLOW,
        )
        run_state_machine_as_test(Here, settings=settings(how, **other))


@pytest.mark.timeout(0 if LONG else 600)  # shrinking a failure takes its time, and is worth it
def test_whatever_happens_the_user_reads_what_may_be_expected(dialect: str, request: pytest.FixtureRequest) -> None:
    live(dialect, request, BUDGET[dialect])


@pytest.mark.skipif(not LONG, reason="up to a thousand lives a guard: `make campaign`; CI has scenes")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("guard", [g for g in GUARDS if g.name in MISSED], ids=str)
def test_the_machine_misses_a_guard_that_is_taken_away(
    guard: Guard, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard.without(monkeypatch)
    budget = (1_000, BUDGET["sqlite"][1])
    with pytest.raises((AssertionError, StoragedError)):
        live("sqlite", request, budget, phases=[Phase.generate], database=None, report_multiple_bugs=False)
