"""Ask for readable copies of what is in an archive class. Nothing here ever waits.

A request is written down before it is made, so that a crash leaves a row that says more than the store and never less:
a later `warm` makes the request again under the same row, a later `refresh` finds out that it never came. What the
store says of an object is the truth; the rows are what `storagectl restores` shows and what keeps its promises. A pack
is asked for once, for all its members (storaged.work.rewrite.warming has the rows).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog import blobs, placements
from storaged.catalog.items import Item
from storaged.catalog.placements import Seen
from storaged.catalog.queue import ItemOutcome
from storaged.catalog.schema_restores import restores
from storaged.clock import iso
from storaged.errors import SourceChanged, StoragedError, StoreError, Transient, UsageError
from storaged.model import ItemState
from storaged.stores.archives import Warmed, Warmth
from storaged.stores.base import Store
from storaged.stores.schemes import check_speed, terms_of
from storaged.work.context import Context
from storaged.work.location import Location, current
from storaged.work.rewrite.trouble import met
from storaged.work.rewrite.warming import SETTLED_US, THREADS, LiveRows, blob_of, pack_of, part, readable, same, told_us

LONGEST_DAYS: Final = 3_650


class State(StrEnum):
    """What `warm` found or did of one object."""

    ASKED = "asked"
    UNDER_WAY = "under way"  # asked for before
    READABLE = "readable"
    LEFT = "left"  # it could not be asked for, or not looked at


@dataclass(frozen=True, slots=True)
class Copy:
    """One object of a `warm`. `bytes` are stored bytes, of a pack its share; instants in microseconds, None where there
    is none."""

    object: str  # DATASET/NAME
    state: State
    bytes: int = 0
    storage_class: str = ""
    expected_us: int | None = None  # when it should be readable
    until_us: int | None = None  # when the copy goes; None: it stays readable, or nobody knows yet
    billed: str = ""  # for what, where it is asked for
    pack: str = ""  # the blob that it is asked for with; empty: none
    whole: int = 0  # stored bytes of what is asked for
    why: str = ""


@dataclass(slots=True)
class Warming:
    """What became of each object of a `warm`; with a dry run, what would."""

    days: int
    speed: str
    copies: list[Copy] = field(default_factory=list)

    def of(self, state: State) -> list[Copy]:
        return [copy for copy in self.copies if copy.state is state]

    @property
    def requests(self) -> int:
        """How many stored things are asked for."""
        return len(self._things())

    @property
    def bytes(self) -> int:
        """Stored bytes of what is asked for: of a pack once, and all of it."""
        return sum(self._things().values())

    def _things(self) -> dict[str, int]:
        return {copy.pack or copy.object: copy.whole for copy in self.of(State.ASKED)}

    @property
    def ready_us(self) -> int | None:
        """When all that is asked for or under way should be readable; None if nothing is."""
        pending = (*self.of(State.ASKED), *self.of(State.UNDER_WAY))
        return max((copy.expected_us for copy in pending if copy.expected_us is not None), default=None)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What shall be asked for. `members`: objects in it, the first of which was looked at."""

    members: Sequence[Seen]
    location: Location
    copy: Copy
    asked: tuple[int, int] | None = None  # the row that there was then, and when it was asked for
    row: int = 0


def warm(
    context: Context,
    pages: Iterable[list[Seen]],
    *,
    days: int,
    speed: str,
    dry_run: bool = False,
    progress: Callable[[int], None] = lambda _done: None,
) -> Warming:
    """Ask for readable copies of the current places of objects, for so many days (for more, where there is a copy).

    Removed objects are passed over. `progress` is told how many were dealt with. A dry run looks at the stores and asks
    for nothing. Raises UsageError, CatalogBehind, ForeignClaim.
    """
    check_speed(speed)
    if not 1 <= days <= LONGEST_DAYS:
        raise UsageError(f"a copy cannot be kept for {days} days", hint=f"from 1 to {LONGEST_DAYS:,}")
    if not dry_run:
        context.ready()
    result = Warming(days, speed)
    packs: dict[str, Copy] = {}
    for page in pages:
        result.copies += _ask(context, page, packs, days=days, speed=speed, dry_run=dry_run)
        progress(len(result.copies))
    return result


def ask(context: Context, cold: Sequence[Item], *, days: int, speed: str) -> Iterator[ItemOutcome]:
    """Ask for readable copies of the current places of items that a job met cold: it never waits, and comes back when
    they should be there."""
    copies = {c.object: c for c in _ask(context, [i.seen for i in cold], {}, days=days, speed=speed, dry_run=False)}
    now = context.now_us()
    for item in cold:
        copy = copies.get(item.seen.path) or Copy("", State.LEFT, why="it was removed")
        if copy.state is State.LEFT:
            yield met(context, item, StoreError(copy.why, key=item.seen.placement.name))
            continue
        there = copy.state is State.READABLE or copy.until_us is not None
        expected = now if there else max(copy.expected_us or now, now + SETTLED_US)
        note = f"in an archive class; a copy was asked for, to be readable by {iso(expected)}"
        yield ItemOutcome(item.seen.id, item.seen.placement.name, ItemState.PENDING, note, not_before_us=expected)


# -- asking ----------------------------------------------------------------------------------------------------------


def _ask(
    context: Context, page: Sequence[Seen], packs: dict[str, Copy], *, days: int, speed: str, dry_run: bool
) -> list[Copy]:
    """Look, write down, ask, write down what came of it. One copy for each object that exists. `packs`: what became of
    those that were met before, to which those of this page are added."""
    there = [seen for seen in page if seen.placement.exists]
    things: dict[str | int, list[Seen]] = {}
    for seen in there:
        things.setdefault(pack_of(seen) or seen.id, []).append(seen)
    new = [members for thing, members in things.items() if thing not in packs]
    with context.catalog.read() as conn:
        rows = LiveRows(conn, [members[0] for members in new])
    with ThreadPoolExecutor(THREADS, thread_name_prefix="restore") as pool:
        looked = list(pool.map(lambda m: _see(context, m, rows.of(m[0]), days=days, speed=speed), new))
        copies = [one for one in looked if isinstance(one, Copy)]
        wanted = [one for one in looked if isinstance(one, _Wanted)]
        if dry_run or not wanted:
            copies += [one.copy for one in wanted]
        else:
            wanted, left = _intend(context, wanted, days=days, speed=speed)
            answers = list(pool.map(lambda one: _request(context, one.location, days=days, speed=speed), wanted))
            copies += left + _record(context, wanted, answers)
    packs.update((copy.pack, copy) for copy in copies if copy.pack)
    alone = {copy.object: copy for copy in copies if not copy.pack}
    return [_of(seen, packs[pack]) if (pack := pack_of(seen)) else alone[seen.path] for seen in there]


def _of(seen: Seen, copy: Copy) -> Copy:
    """What became of an object, from what became of the pack that it is in."""
    return replace(copy, object=seen.path, bytes=current(seen).bytes)


def _see(context: Context, members: Sequence[Seen], row: Any, *, days: int, speed: str) -> Copy | _Wanted:
    """Whether objects in one stored thing can be read now, and what shall be asked for if not (or not for long
    enough)."""
    seen, now = members[0], context.now_us()
    name, pack = seen.path, pack_of(seen) or ""
    try:
        here = current(seen)
        store = context.store(here.place)
        terms = terms_of(store.url)
        storage_class = here.original_class or context.tiers[here.place.name].storage_class
        found = store.warmth(here.key)
        whole = here.blob.size if here.blob else here.bytes
        copy = Copy(name, State.READABLE, here.bytes, storage_class, None, found.until_us, pack=pack, whole=whole)
        enough = found.until_us is None or found.until_us >= terms.until_us(told_us(context, found), days)
        if found.warmth is Warmth.READABLE and enough:
            return copy
        if not terms.may_be_cold(storage_class):  # changed behind our back, perhaps by its owner's rule
            copy = replace(copy, storage_class=store.head(here.key).storage_class)
        takes = terms.takes_us(copy.storage_class, speed)
        copy = replace(copy, billed=terms.billing(copy.storage_class, speed, days))
    except StoragedError as error:
        return Copy(name, State.LEFT, why=error.message, pack=pack)
    asked = None if row is None else (row.id, row.asked_us)
    if found.warmth is Warmth.WARMING:
        known = row is not None and same(row, here)
        if known and terms.speeds.index(row.speed) <= terms.speeds.index(speed):
            return replace(copy, state=State.UNDER_WAY, expected_us=row.expected_us)
        state = State.ASKED if known else State.UNDER_WAY  # a faster one; or somebody else asked: now we follow it too
        return _Wanted(members, here, replace(copy, state=state, expected_us=now + takes), asked)
    expected = now if found.warmth is Warmth.READABLE else now + takes
    return _Wanted(members, here, replace(copy, state=State.ASKED, expected_us=expected), asked)


def _intend(context: Context, wanted: Sequence[_Wanted], *, days: int, speed: str) -> tuple[list[_Wanted], list[Copy]]:
    """Write down what will be asked for: in the live row of the same stored thing, or in a new one."""
    now = context.now_us()
    made: list[_Wanted] = []
    left: list[Copy] = []
    with context.catalog.begin() as conn:
        # one process at a time decides about a live row
        seen = placements.load(conn, [m.id for one in wanted for m in one.members], lock=True)
        packs = [one.copy.pack for one in wanted if one.copy.pack]
        blobs.lock(conn, packs)
        rows = LiveRows(conn, seen.values())
        for one in wanted:
            here = next((m for m in one.members if seen[m.id].version == m.version), None)
            if here is None:
                left.append(replace(one.copy, state=State.LEFT, why="it is being changed by somebody else; try again"))
                continue
            row = rows.of(here)
            if one.copy.pack and row is not None and one.asked != (row.id, row.asked_us) and same(row, one.location):
                left.append(replace(one.copy, state=State.UNDER_WAY, expected_us=row.expected_us))
                continue
            asked = {
                "speed": speed,
                "days": days,
                "asked_us": now,
                "expected_us": one.copy.expected_us,
                "looked_us": None,
                "actor": context.actor,
                "error": None,
            }
            kept = one.copy.until_us is not None
            if row is not None and same(row, one.location) and (kept or row.state == "warming"):
                conn.execute(sa.update(restores).where(restores.c.id == row.id).values(asked))
                made.append(replace(one, row=row.id))
                continue
            for old in {r.id: r for r in (row, rows.under(here)) if r is not None}.values():
                if same(old, one.location):
                    conn.execute(sa.update(restores).where(restores.c.id == old.id).values(state="expired"))
                else:
                    part(conn, old)
            of = {"object_id": here.id, "blob_id": blob_of(one.location), "identity": one.location.identity}
            new = sa.insert(restores).values(**of, **asked, state="warming").returning(restores.c.id)
            made.append(replace(one, row=conn.execute(new).scalar_one()))
    return made, left


def _request(context: Context, location: Location, *, days: int, speed: str) -> Warmed | StoragedError:
    try:
        return _warm(context.store(location.place), location, days, speed)
    except StoragedError as error:
        return error


def _warm(store: Store, of: Location, days: int, speed: str) -> Warmed:
    """A blob that its store tells another identity of cannot be proven before it is warm, and warming changes nothing:
    it is asked for as it is."""
    try:
        return store.warm(of.key, identity=of.identity, days=days, speed=speed)
    except SourceChanged:
        if of.blob is None:
            raise
        now = store.head(of.key)
        if now.size != of.bytes:
            raise
        return store.warm(of.key, identity=now.identity, days=days, speed=speed)


def _record(context: Context, wanted: Sequence[_Wanted], answers: Sequence[Warmed | StoragedError]) -> list[Copy]:
    """Write down what the store answered."""
    now = context.now_us()
    copies: list[Copy] = []
    with context.catalog.begin() as conn:
        for one, answer in zip(wanted, answers, strict=True):
            copy = one.copy
            if isinstance(answer, StoragedError):
                values: dict[str, Any] = {"error": answer.message}
                # Whether a request without an answer came through, nobody knows: the row lives until a refresh tells.
                # A copy that is there stays there, whatever was said about more days.
                if not isinstance(answer, Transient) and copy.until_us is None:
                    values["state"] = "failed"
                copy = replace(copy, state=State.LEFT, why=answer.message)
            elif answer.warmth is Warmth.READABLE:
                values = readable(answer, now) | {"ready_us": sa.func.coalesce(restores.c.ready_us, now)}
                if copy.until_us is None:
                    copy = replace(copy, state=State.READABLE)
                copy = replace(copy, expected_us=None, until_us=answer.until_us)
            else:
                values = {"looked_us": now}
            conn.execute(sa.update(restores).where(restores.c.id == one.row).values(values))
            copies.append(copy)
    return copies
