"""Room in tiers with a capacity: promised to jobs when they are made, and looked at once more when they run.

Whoever asks for a job, what a tier has no room for is left out of it, in the transaction that promises the room: no
number of daemons and people can together promise more than a tier's capacity. By the time a job runs, its tier may hold
more than was known: a plan's ratio was too good, users wrote to a root there, the capacity was lowered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

import sqlalchemy as sa
from humanize import naturalsize

from storaged.catalog import rooms
from storaged.catalog.among import among
from storaged.catalog.items import Item, NewItem, tier_of
from storaged.catalog.placements import chunks, paged, tier_ids
from storaged.catalog.queue import ClaimedJob
from storaged.catalog.schema import job_items, objects
from storaged.catalog.schema_moves import promises
from storaged.config.settings import Settings
from storaged.decide.rooms import Room
from storaged.work.context import Context


def fitting(
    conn: sa.Connection, context: Context, wanted: list[NewItem]
) -> tuple[list[NewItem], list[tuple[str, str]]]:
    """Those for which there is room, and why not of the others, by name. No other process promises any until the
    transaction ends."""
    free = _free(conn, context, {tier_of(i.to) for i in wanted})
    if not free:
        return wanted, []
    takes = _takes(conn, wanted)
    fits: list[NewItem] = []
    over: list[tuple[str, str]] = []
    for item in wanted:
        size, tier = takes.get(item.object_id, 0), tier_of(item.to)
        if tier is None or tier not in free or not size:
            fits.append(item)
        elif size <= free[tier]:
            free[tier] -= size
            fits.append(item)
        else:
            over.append((item.name, _no_room(tier, free[tier], size)))
    return fits, over


def lacking(conn: sa.Connection, context: Context, tier: str, wanted: Iterable[NewItem]) -> str:
    """Why there is no room in a tier for all of these that go there; empty: there is. As for `fitting`."""
    free = _free(conn, context, {tier})
    if not free:
        return ""
    size = sum(sum(_takes(conn, part).values()) for part in paged(wanted))
    return _no_room(tier, free[tier], size) if size > max(free[tier], 0) else ""


def _free(conn: sa.Connection, context: Context, into: Set[str | None]) -> dict[str, int]:
    """Of these tiers those with a capacity, and how many bytes of it are neither taken nor promised. Nobody else
    promises any until the transaction ends."""
    bounded = _capacities(context, into)
    if not bounded:
        return {}
    rooms.serialised(conn)
    stored, promised, known = rooms.stored(conn), rooms.promised(conn), tier_ids(conn)
    return {n: size - stored.get(known[n], 0) - promised.get(known[n], 0) for n, size in bounded.items()}


def take(conn: sa.Connection, job_id: int, items: Iterable[NewItem]) -> None:
    """Promise a new job the room of these items, in the transaction that found that they fit."""
    known = tier_ids(conn)
    found: dict[int, int] = {}
    for part in paged(items):
        takes = _takes(conn, part)
        for item in part:
            if (tier := tier_of(item.to)) is not None:
                found[known[tier]] = found.get(known[tier], 0) + takes.get(item.object_id, 0)
    rooms.promise(conn, job_id, found)


class Left:
    """What a job that runs may still take of its tiers."""

    def __init__(self, conn: sa.Connection, context: Context, claimed: ClaimedJob) -> None:
        self._free: dict[str, int] = {}
        self._part: dict[str, tuple[int, int]] = {}  # of what was promised, by content
        bounded = _capacities(context, (tier for tier, _ in claimed.into()))
        if not bounded:
            return
        stored, known = rooms.stored(conn), tier_ids(conn)
        for tier, size in bounded.items():
            free = size - stored.get(known[tier], 0)
            mine = sa.and_(promises.c.job_id == claimed.id, promises.c.tier_id == known[tier])
            expected = conn.execute(sa.select(promises.c.bytes).where(mine)).scalar() or 0
            if expected <= free:
                continue
            theirs = sa.and_(job_items.c.job_id == claimed.id, job_items.c.tier_id == known[tier])
            content = conn.execute(sa.select(sa.func.sum(job_items.c.size)).where(theirs)).scalar() or 0
            self._free[tier], self._part[tier] = free, (expected, int(content))

    def unfit(self, items: Iterable[Item]) -> dict[int, str]:
        """The next of its objects (by id) for which there is no room any more, and why."""
        found = {}
        for item in items:
            tier = tier_of(item.to)
            if tier is None or tier not in self._free:
                continue
            free, (expected, content) = self._free[tier], self._part[tier]
            part = item.seen.placement.size * expected // content if content else 0
            if part and part > free:
                found[item.seen.id] = _no_room(tier, free, part)
            else:
                self._free[tier] -= part
        return found


def _capacities(context: Context, tiers: Iterable[str | None]) -> dict[str, int]:
    """Of these tiers, those with a capacity, and how many bytes it is."""
    found = {}
    for name in {name for name in tiers if name is not None}:
        size = context.tiers[name].capacity_bytes
        if size is not None:
            found[name] = size
    return found


def _takes(conn: sa.Connection, items: Sequence[NewItem]) -> dict[int, int]:
    """By object id what each takes of the tier that it goes to; of one that it is in, what it grows by."""
    known = tier_ids(conn)
    wanted = {i.object_id: (i, tier) for i in items if (tier := tier_of(i.to)) is not None}
    found = {}
    for part in chunks(list(wanted)):
        query = sa.select(objects.c.id, objects.c.tier_id, objects.c.stored_bytes).where(among(objects.c.id, part))
        for row in conn.execute(query):
            item, tier = wanted[row.id]
            after = item.size if item.expected is None else item.expected
            within = row.tier_id == known[tier]
            found[row.id] = max(after - row.stored_bytes, 0) if within else after
    return found


def _no_room(tier: str, free: int, size: int) -> str:
    left = f"{naturalsize(free, binary=True)} of its capacity are free" if free > 0 else "it is at its capacity"
    return f"no room in {tier}: {left}, and this takes {naturalsize(size, binary=True)}"


def rooms_of(conn: sa.Connection, settings: Settings, tier_ids: Mapping[str, int]) -> dict[int, Room]:
    """The tiers with a capacity that the catalog knows, by id."""
    known = {name: tier for name, tier in settings.tier_values.items() if name in tier_ids}
    if not any(tier.capacity_bytes for tier in known.values()):
        return {}
    stored, promised, leaving = rooms.stored(conn), rooms.promised(conn), rooms.leaving(conn)
    return {
        (number := tier_ids[name]): Room(
            tier.capacity_bytes,
            tier.high_watermark or 1.0,
            tier.low_watermark or 0.0,
            stored.get(number, 0),
            promised.get(number, 0),
            leaving.get(number, 0),
            frozenset(tier_ids[n] for n, t in known.items() if t.rank > tier.rank),
        )
        for name, tier in known.items()
        if tier.capacity_bytes
    }
