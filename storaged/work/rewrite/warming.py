"""Readable copies that were asked for: what the rows say of them, and what the stores say now.

A row is of one stored thing: of a pack there is one, whichever of its members it is kept under, and all of them wait
for it. It is kept under another member once that one is elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog import placements
from storaged.catalog.placements import Seen
from storaged.catalog.schema import replicas
from storaged.catalog.schema_restores import restores
from storaged.clock import DAY, SECOND
from storaged.errors import ObjectNotFound, StoragedError
from storaged.model import ReplicaState
from storaged.stores.archives import Warmed, Warmth
from storaged.stores.schemes import terms_of
from storaged.work.context import Context
from storaged.work.location import Location, current
from storaged.work.packs import in_pack

THREADS: Final = 16  # requests at once: they wait for the store, not for a processor
PAGE: Final = 1_000
SETTLED_US: Final = 900 * SECOND  # a request that was written down is made within seconds, or its process is dead

LIVE: Final = ("warming", "readable")


@dataclass(slots=True)
class Refreshed:
    """How many live rows were looked at and what they became."""

    looked: int = 0
    readable: int = 0
    expired: int = 0
    failed: int = 0
    errors: list[tuple[str, str]] = field(default_factory=list)  # (object, why it could not be looked at)


def refresh(context: Context, *, progress: Callable[[int], None] = lambda _done: None) -> Refreshed:
    """Look at the stores for what is on its way and for copies whose time is over, and write down what they are."""
    result = Refreshed()
    after = 0
    query = sa.select(restores).where(restores.c.state.in_(LIVE)).order_by(restores.c.id).limit(PAGE)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="restore") as pool:
        while True:
            with context.catalog.read() as conn:
                rows = conn.execute(query.where(restores.c.id > after)).all()
                seen = placements.load(conn, [row.object_id for row in rows])
                seen |= _stand_ins(conn, rows, seen)
            if not rows:
                return result
            after = rows[-1].id
            found = pool.map(lambda row, known=seen: _look(context, row, known.get(row.object_id)), rows)
            with context.catalog.begin() as conn:
                for row, values in zip(rows, list(found), strict=True):
                    _move(conn, row, values)
                    _rehang(conn, row, seen.get(row.object_id))
                    _count(result, row, values, seen.get(row.object_id))
            progress(result.looked)


def _look(context: Context, row: Any, seen: Seen | None) -> dict[str, Any]:
    """What a live row becomes: columns to change, none where there is nothing to look at yet."""
    now = context.now_us()
    if seen is None or not seen.placement.exists:
        return {"state": "expired", "error": "the object was removed"}
    try:
        here = current(seen)
        if not same(row, here):
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
    gone = found.until_us is not None and found.until_us <= told_us(context, found)
    if found.warmth is Warmth.READABLE and not gone:
        return readable(found, now) | ({} if row.ready_us else {"ready_us": now})
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


def _rehang(conn: sa.Connection, row: Any, found: Seen | None) -> None:
    """Keep a row under the member that was looked at, if that is another one and has none of its own by now."""
    if found is not None and found.id != row.object_id:
        others = restores.alias()
        has = sa.exists().where(others.c.object_id == found.id, others.c.state.in_(LIVE))
        conn.execute(sa.update(restores).where(restores.c.id == row.id, ~has).values(object_id=found.id))


def _count(result: Refreshed, row: Any, values: dict[str, Any], seen: Seen | None) -> None:
    result.looked += bool(values)
    match values.get("state"):
        case "readable" if row.state != "readable":
            result.readable += 1
        case "expired":
            result.expired += 1
        case "failed":
            result.failed += 1
        case None if values.get("error") and seen is not None:
            result.errors.append((seen.path, values["error"]))


# -- rows -----------------------------------------------------------------------------------------------------------


class LiveRows:
    """The live rows about some objects, as they stand now."""

    def __init__(self, conn: sa.Connection, found: Iterable[Seen]) -> None:
        seen = list(found)
        packs = {str(pack_of(h)) for h in seen if in_pack(h)}
        about = sa.or_(restores.c.object_id.in_([h.id for h in seen]), restores.c.blob_id.in_(packs))
        rows = conn.execute(sa.select(restores).where(restores.c.state.in_(LIVE), about)).all()
        self._by_object = {row.object_id: row for row in rows}
        self._by_pack = {row.blob_id: row for row in rows if row.blob_id in packs}

    def of(self, seen: Seen) -> Any | None:
        """The row about what holds an object now, or of one in no pack about what did when it was asked for."""
        return self._by_pack.get(pack_of(seen)) if in_pack(seen) else self._by_object.get(seen.id)

    def under(self, seen: Seen) -> Any | None:
        """The row that is kept under an object, whatever it is about."""
        return self._by_object.get(seen.id)


def pack_of(seen: Seen) -> str | None:
    replica = seen.placement.current
    return replica.blob if replica is not None and in_pack(seen) else None


def same(row: Any, location: Location) -> bool:
    """Whether a row speaks of this very stored thing."""
    return (row.blob_id, row.identity) == (blob_of(location), location.identity)


def blob_of(location: Location) -> str | None:
    """What a row has of a blob; None at an original key."""
    return None if location.blob is None else location.blob.id


def part(conn: sa.Connection, row: Any) -> None:
    """The object that a row is kept under is elsewhere: another member of the same pack takes it, or it is over."""
    other = _another(conn, row)
    values: dict[str, Any] = {"state": "expired"} if other is None else {"object_id": other}
    conn.execute(sa.update(restores).where(restores.c.id == row.id).values(values))


def readable(found: Warmed, now: int) -> dict[str, Any]:
    """What a row says of a copy that is there."""
    return {"state": "readable", "looked_us": now, "until_us": found.until_us, "error": None}


def told_us(context: Context, found: Warmed) -> int:
    """When a store said so, by its own clock: the one that ends its copies. By ours where it tells none."""
    return context.now_us() if found.now_us is None else found.now_us


def _another(conn: sa.Connection, row: Any) -> int | None:
    """An object whose current place is in a row's blob, and under which no live row is kept."""
    taken = sa.select(restores.c.object_id).where(restores.c.state.in_(LIVE))
    here = sa.and_(replicas.c.blob_id == row.blob_id, replicas.c.state == ReplicaState.CURRENT.value)
    query = sa.select(replicas.c.object_id).where(here, replicas.c.object_id.not_in(taken)).limit(1)
    return None if row.blob_id is None else conn.execute(query).scalar()


def _stand_ins(conn: sa.Connection, rows: Iterable[Any], seen: dict[int, Seen]) -> dict[int, Seen]:
    """Of rows about packs whose objects are elsewhere now, other members, by the objects that they are kept under."""
    found: dict[int, int] = {}
    for row in rows:
        now = seen.get(row.object_id)
        if row.blob_id is not None and (now is None or blob_of(current(now)) != row.blob_id):
            other = _another(conn, row)
            if other is not None:
                found[row.object_id] = other
    others = placements.load(conn, found.values())
    return {kept_under: others[other] for kept_under, other in found.items()}
