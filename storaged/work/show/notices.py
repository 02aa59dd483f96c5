"""What people are told of without asking: worked out from what was measured, and noted in the catalog."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from humanize import naturalsize

from storaged.catalog import notices
from storaged.catalog.notices import Notice
from storaged.clock import DAY, iso
from storaged.prices.amount import usd
from storaged.work.context import Context
from storaged.work.show.measure import SPOOL, Backlog, Measured, MeasuredRoom

QUIET_US: Final = 2 * DAY  # a log that tells nothing for so long is told of


def note(context: Context, measured: Measured) -> int:
    """Note what is so now: how many notices are new. Raises CatalogError."""
    with context.catalog.begin() as conn:
        found = list(due(context, measured, notices.open_ones(conn)))
        receivers = {receiver.name: receiver.on for receiver in context.settings.notify}
        return notices.note(conn, found, receivers, context.now_us())


def due(context: Context, measured: Measured, known: Collection[tuple[str, str]]) -> Iterator[Notice]:
    """All that people are told of as long as it is so. `known`: kind and `about` of what they were told of already."""
    for backlog in measured.backlog:
        if backlog.proposed:
            yield _plan(backlog)
    for s in measured.live.suspensions:
        how = f"It is tried again at {iso(s.retry_us)}." if s.retry_us else f"To go on: storagectl resume {s}"
        yield Notice("suspended", str(s), f"{s.kind} {s.name} is suspended", f"{s.reason}. {how}")
    if damaged := (measured.damaged_objects, measured.damaged_blobs) if _hurt(measured) else None:
        words = f"{damaged[0]:,} originals and {damaged[1]:,} blobs are damaged"
        text = "Nothing of them is released. storagectl doctor names each, and what mends it."
        yield Notice("damage", f"{damaged[0]} originals, {damaged[1]} blobs", words, text)
    for room in measured.rooms:
        if (full := _full(room)) is not None:
            mark = room.low if ("full", room.tier) in known else room.high
            if mark is not None and full >= mark:
                yield Notice("full", room.tier, *_filled(room, full))
    sources = {source.name for source in context.settings.heat}
    for c in measured.coverage:
        if c.configured and c.source in sources and c.source != SPOOL and c.until_us < measured.at_us - QUIET_US:
            text = f"It tells of reads up to {iso(c.until_us)}; nothing is known to be idle later than that."
            yield Notice("quiet", f"{c.source}:{c.dataset}", f"the log {c.source} tells nothing of {c.dataset}", text)


def _hurt(measured: Measured) -> bool:
    return bool(measured.damaged_objects or measured.damaged_blobs)


def _plan(backlog: Backlog) -> Notice:
    """Another one as soon as what waits is something else: for other objects, or for other money."""
    what = f"{backlog.proposed:,} objects"
    if backlog.proposed_once is not None and backlog.proposed_saving is not None:
        what += f", {usd(backlog.proposed_once)} once, saves {usd(backlog.proposed_saving)} a month"
    number = backlog.proposed_plan
    text = f"Plan {number}, made {iso(backlog.proposed_us)}: {what}. `storagectl plan show {number}` lists them, "
    text += f"`storagectl apply {number}` does it."
    return Notice("plan", f"{backlog.policy}: {what}", f"a plan of {backlog.policy} waits", text)


def _full(room: MeasuredRoom) -> float | None:
    return room.used_bytes / room.capacity_bytes if room.capacity_bytes else None


def _filled(room: MeasuredRoom, full: float) -> tuple[str, str]:
    held, capacity = (naturalsize(n, binary=True) for n in (room.used_bytes, room.capacity_bytes or 0))
    mark = f"{room.high:.0%}" if room.high is not None else "none"
    return f"tier {room.tier} is {full:.0%} full", f"It holds {held} of {capacity}; its high mark is {mark}."
