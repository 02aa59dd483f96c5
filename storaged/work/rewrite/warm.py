"""Readable copies of what is in an archive class: ask for them, and look how far they are. Nothing here ever waits.

A request is written down before it is made, so that a crash leaves a row that says more than the store and never less:
a later `warm` makes the request again under the same row, a later `refresh` finds out that it never came. What the
store says of an object is the truth; the rows are what `storagectl restores` shows and what keeps its promises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog import placements
from storaged.catalog.placements import Held
from storaged.catalog.schema import restores
from storaged.clock import DAY, SECOND
from storaged.errors import ObjectNotFound, SourceChanged, StoragedError, StoreError, Transient, UsageError
from storaged.stores.archives import Warmed, Warmth
from storaged.stores.base import Store
from storaged.stores.schemes import check_speed, terms_of
from storaged.work.context import Context
from storaged.work.location import Location, current

THREADS: Final = 16  # requests at once: they wait for the store, not for a processor
PAGE: Final = 1_000
SETTLED_US: Final = 900 * SECOND  # a request that was written down is made within seconds, or its process is dead
LONGEST_DAYS: Final = 3_650

LIVE: Final = ("warming", "readable")


class State(StrEnum):
    """What `warm` found or did of one object."""

    ASKED = "asked"
    UNDER_WAY = "under way"  # asked for before
    READABLE = "readable"
    LEFT = "left"  # it could not be asked for, or not looked at


@dataclass(frozen=True, slots=True)
class Copy:
    """One object of a `warm`. `bytes` are stored bytes; instants in microseconds, None where there is none."""

    object: str  # DATASET/NAME
    state: State
    bytes: int = 0
    storage_class: str = ""
    expected_us: int | None = None  # when it should be readable
    until_us: int | None = None  # when the copy goes; None: it stays readable, or nobody knows yet
    billed: str = ""  # for what, where it is asked for
    why: str = ""


@dataclass(slots=True)
class Warming:
    """What became of each object of a `warm`; with a dry run, what would."""

    days: int
    speed: str
    copies: list[Copy] = field(default_factory=list)

    def of(self, state: State) -> list[Copy]:
        """The objects in this state."""
        return [copy for copy in self.copies if copy.state is state]

    @property
    def bytes(self) -> int:
        """Stored bytes of what is asked for."""
        return sum(copy.bytes for copy in self.of(State.ASKED))

    @property
    def ready_us(self) -> int | None:
        """When all that is asked for or under way should be readable; None if nothing is."""
        pending = (*self.of(State.ASKED), *self.of(State.UNDER_WAY))
        return max((copy.expected_us for copy in pending if copy.expected_us is not None), default=None)


@dataclass(slots=True)
class Refreshed:
    """How many live rows were looked at and what they became."""

    looked: int = 0
    readable: int = 0
    expired: int = 0
    failed: int = 0
    errors: list[tuple[str, str]] = field(default_factory=list)  # (object, why it could not be looked at)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What shall be asked for."""

    held: Held
    location: Location
    copy: Copy
    row: int = 0


def warm(
    context: Context,
    pages: Iterable[list[Held]],
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
    for page in pages:
        result.copies += _ask(context, page, days=days, speed=speed, dry_run=dry_run)
        progress(len(result.copies))
    return result


def ask(context: Context, held: Held, *, days: int, speed: str) -> int:
    """Ask for a readable copy of one object's current place, and say when it is worth to look again (microseconds):
    now, if it can be read. For jobs that met a cold object. Raises StoreError if it cannot be asked for."""
    [copy] = _ask(context, [held], days=days, speed=speed, dry_run=False) or [
        Copy("", State.LEFT, why="it was removed")
    ]
    if copy.state is State.LEFT:
        raise StoreError(copy.why, key=held.placement.name)
    now = context.now_us()
    if copy.state is State.READABLE or copy.until_us is not None:
        return now
    return max(copy.expected_us or now, now + SETTLED_US)


def refresh(context: Context, *, progress: Callable[[int], None] = lambda _done: None) -> Refreshed:
    """Look at the stores for what is on its way and for copies whose time is over, and write down what they are."""
    result = Refreshed()
    after = 0
    query = sa.select(restores).where(restores.c.state.in_(LIVE)).order_by(restores.c.id).limit(PAGE)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="restore") as pool:
        while True:
            with context.catalog.read() as conn:
                rows = conn.execute(query.where(restores.c.id > after)).all()
                held = placements.load(conn, [row.object_id for row in rows])
            if not rows:
                return result
            after = rows[-1].id
            found = pool.map(lambda row, known=held: _look(context, row, known.get(row.object_id)), rows)
            with context.catalog.begin() as conn:
                for row, values in zip(rows, list(found), strict=True):
                    _move(conn, row, values)
                    _count(result, row, values, held.get(row.object_id))
            progress(result.looked)


# -- asking ----------------------------------------------------------------------------------------------------------


def _ask(context: Context, page: Sequence[Held], *, days: int, speed: str, dry_run: bool) -> list[Copy]:
    """Look, write down, ask, write down what came of it. One copy for each object that exists."""
    there = [held for held in page if held.placement.exists]
    with context.catalog.read() as conn:
        rows = _live(conn, [held.id for held in there])
    with ThreadPoolExecutor(THREADS, thread_name_prefix="restore") as pool:
        looked = list(pool.map(lambda h: _see(context, h, rows.get(h.id), days=days, speed=speed), there))
        copies = [one for one in looked if isinstance(one, Copy)]
        wanted = [one for one in looked if isinstance(one, _Wanted)]
        if dry_run or not wanted:
            return copies + [one.copy for one in wanted]
        wanted, left = _intend(context, wanted, days=days, speed=speed)
        answers = list(pool.map(lambda one: _request(context, one.location, days=days, speed=speed), wanted))
    return copies + left + _record(context, wanted, answers)


def _see(context: Context, held: Held, row: Any, *, days: int, speed: str) -> Copy | _Wanted:
    """Whether an object can be read now, and what shall be asked for if not (or not for long enough)."""
    name, now = held.path, context.now_us()
    try:
        here = current(held)
        store = context.store(here.place)
        terms = terms_of(store.url)
        storage_class = here.original_class or context.tiers[here.place.name].storage_class
        found = store.warmth(here.key)
        copy = Copy(name, State.READABLE, here.bytes, storage_class, None, found.until_us)
        enough = found.until_us is None or found.until_us >= terms.until_us(_told_us(context, found), days)
        if found.warmth is Warmth.READABLE and enough:
            return copy
        if not terms.may_be_cold(storage_class):  # changed behind our back, perhaps by its owner's rule
            copy = replace(copy, storage_class=store.head(here.key).storage_class)
        takes = terms.takes_us(copy.storage_class, speed)
        copy = replace(copy, billed=terms.billing(copy.storage_class, speed, days))
    except StoragedError as error:
        return Copy(name, State.LEFT, why=error.message)
    if found.warmth is Warmth.WARMING:
        known = row is not None and _same(row, here)
        if known and terms.speeds.index(row.speed) <= terms.speeds.index(speed):
            return replace(copy, state=State.UNDER_WAY, expected_us=row.expected_us)
        state = State.ASKED if known else State.UNDER_WAY  # a faster one; or somebody else asked: now we follow it too
        return _Wanted(held, here, replace(copy, state=state, expected_us=now + takes))
    expected = now if found.warmth is Warmth.READABLE else now + takes
    return _Wanted(held, here, replace(copy, state=State.ASKED, expected_us=expected))


def _intend(context: Context, wanted: Sequence[_Wanted], *, days: int, speed: str) -> tuple[list[_Wanted], list[Copy]]:
    """Write down what will be asked for: in the live row of the same stored thing, or in a new one."""
    now = context.now_us()
    made: list[_Wanted] = []
    left: list[Copy] = []
    ids = [one.held.id for one in wanted]
    with context.catalog.begin() as conn:
        held = placements.load(conn, ids, lock=True)  # one process at a time decides about an object's live row
        rows = _live(conn, ids)
        for one in wanted:
            if held[one.held.id].version != one.held.version:
                left.append(replace(one.copy, state=State.LEFT, why="it is being changed by somebody else; try again"))
                continue
            row = rows.get(one.held.id)
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
            if row is not None and _same(row, one.location) and (kept or row.state == "warming"):
                conn.execute(sa.update(restores).where(restores.c.id == row.id).values(asked))
                made.append(replace(one, row=row.id))
                continue
            if row is not None:
                conn.execute(sa.update(restores).where(restores.c.id == row.id).values(state="expired"))
            of = {"object_id": one.held.id, "blob_id": _blob(one.location), "identity": one.location.identity}
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
                values = _readable(answer, now) | {"ready_us": sa.func.coalesce(restores.c.ready_us, now)}
                if copy.until_us is None:
                    copy = replace(copy, state=State.READABLE)
                copy = replace(copy, expected_us=None, until_us=answer.until_us)
            else:
                values = {"looked_us": now}
            conn.execute(sa.update(restores).where(restores.c.id == one.row).values(values))
            copies.append(copy)
    return copies


# -- looking ---------------------------------------------------------------------------------------------------------


def _look(context: Context, row: Any, held: Held | None) -> dict[str, Any]:
    """What a live row becomes: columns to change, none where there is nothing to look at yet."""
    now = context.now_us()
    if held is None or not held.placement.exists:
        return {"state": "expired", "error": "the object was removed"}
    try:
        here = current(held)
        if not _same(row, here):
            return {"state": "expired", "error": "the object is elsewhere now"}
        if row.state == "readable":  # once a day, and when its copy should have gone if the store's clock is ours
            due = (row.looked_us or 0) + DAY
            if now < (due if row.until_us is None else min(due, row.until_us)):
                return {}
        found = context.store(here.place).warmth(here.key)
    except ObjectNotFound as error:
        return {"state": "failed", "looked_us": now, "error": error.message}
    except StoragedError as error:
        return {"error": error.message}
    gone = found.until_us is not None and found.until_us <= _told_us(context, found)
    if found.warmth is Warmth.READABLE and not gone:
        return _readable(found, now) | ({} if row.ready_us else {"ready_us": now})
    if found.warmth is Warmth.WARMING and row.state == "warming":
        return {"looked_us": now, "error": None}
    if row.state == "readable" or gone:
        return {"state": "expired", "looked_us": now}
    if row.looked_us is not None:  # the store had taken the request
        over = now >= terms_of(context.store(here.place).url).until_us(row.asked_us, row.days)
        return {"looked_us": now} | (
            {"state": "expired"} if over else {"state": "failed", "error": "the store does not know of it any more"}
        )
    if now < row.asked_us + SETTLED_US:
        return {}
    return {"state": "failed", "looked_us": now, "error": "the request did not reach the store: ask again"}


def _move(conn: sa.Connection, row: Any, values: dict[str, Any]) -> None:
    """Change a row if nobody asked again meanwhile."""
    if values:
        mine = (restores.c.id == row.id, restores.c.state == row.state, restores.c.asked_us == row.asked_us)
        conn.execute(sa.update(restores).where(*mine).values(values))


def _count(result: Refreshed, row: Any, values: dict[str, Any], held: Held | None) -> None:
    result.looked += bool(values)
    match values.get("state"):
        case "readable" if row.state != "readable":
            result.readable += 1
        case "expired":
            result.expired += 1
        case "failed":
            result.failed += 1
        case None if values.get("error") and held is not None:
            result.errors.append((held.path, values["error"]))


def _readable(found: Warmed, now: int) -> dict[str, Any]:
    return {"state": "readable", "looked_us": now, "until_us": found.until_us, "error": None}


def _told_us(context: Context, found: Warmed) -> int:
    """When a store said so, by its own clock: the one that ends its copies. By ours where it tells none."""
    return context.now_us() if found.now_us is None else found.now_us


# -- rows -----------------------------------------------------------------------------------------------------------


def _same(row: Any, location: Location) -> bool:
    """Whether a row speaks of this very stored thing."""
    return (row.blob_id, row.identity) == (_blob(location), location.identity)


def _blob(location: Location) -> str | None:
    return None if location.blob is None else location.blob.id


def _live(conn: sa.Connection, ids: Sequence[int]) -> dict[int, Any]:
    """The live rows of objects, by object."""
    query = sa.select(restores).where(restores.c.state.in_(LIVE), restores.c.object_id.in_(ids))
    return {row.object_id: row for row in conn.execute(query)}
