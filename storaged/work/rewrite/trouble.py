"""What is to blame when jobs fail: a tier that is full, a place that is away or forbids us. It is suspended, and tried
again later; what does not touch it goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from storaged.catalog import ledger, queue, refused, suspensions
from storaged.catalog.items import Item, ToRoot, codec_of
from storaged.catalog.queue import ClaimedJob, ItemOutcome
from storaged.catalog.refused import Refused
from storaged.catalog.suspensions import Kind, Suspension
from storaged.codecs.registry import after, not_taken_words
from storaged.errors import (
    AlreadyExists,
    MarkerLost,
    NotTaken,
    ObjectNotFound,
    OtherPlace,
    PermissionDenied,
    PlaceAway,
    RefusedByGuard,
    StoragedError,
    StoreError,
    StoreFull,
    StoreUnavailable,
    Transient,
)
from storaged.model import ItemState, RawState
from storaged.work import places, suspension
from storaged.work.content import is_there
from storaged.work.context import Context
from storaged.work.location import original
from storaged.work.rewrite.swap import lies_so

PROBE: Final = "probe"  # the note that is written to see whether a place takes one
TAKEN: Final = ": its user wrote there since the last scan; scan, and see `storagectl overwritten`"
LONGEST: Final = 12  # tries after which the wait grows no more, as a factor of the first

_OF_THE_MOMENT: Final = (Transient, StoreFull, PlaceAway)  # an answer may be lost of what was done all the same
_OF_PLACES: Final = frozenset(
    error.__name__
    for error in (PermissionDenied, StoreFull, StoreUnavailable, ObjectNotFound, PlaceAway, MarkerLost, OtherPlace)
)


def may_pass(error: StoragedError) -> bool:
    """Whether what failed is to be tried again: all of these are of places."""
    return isinstance(error, (Transient, StoreFull, PermissionDenied, PlaceAway))


def blame(context: Context, claimed: ClaimedJob, outcomes: Iterable[ItemOutcome]) -> list[Suspension]:
    """After a job: suspend the places that its failures are due to. Those are looked at, not guessed from errors.

    Then it was no try: however long a place is full or away, its jobs wait and do not fail.
    """
    found = list(_to_blame(context, claimed, outcomes))
    if found:
        with context.catalog.begin() as conn:
            if queue.forgive(conn, claimed):
                ledger.no_try(conn, claimed.id)
    return found


def _to_blame(context: Context, claimed: ClaimedJob, outcomes: Iterable[ItemOutcome]) -> Iterator[Suspension]:
    if claimed.dataset not in context.datasets or not any(o.error in _OF_PLACES for o in outcomes):
        return
    into = {tier for tier, _ in claimed.into() if tier in context.tiers}
    no_room = {o.object_id for o in outcomes if o.error == StoreFull.__name__}
    full = {tier for tier, ids in claimed.into() if no_room and (ids is None or no_room & ids)}
    out_of = {place.name for place in places.out_of(claimed) if place.kind == "tier"} & set(context.tiers)
    for name in sorted(into & full):
        yield suspend(context, "tier", name, "no room is left", writes=True)
    if None in full:  # back to their original keys
        yield suspend(context, "dataset", claimed.dataset, "no room is left at its root")
    for name in sorted((into | out_of) - full):
        if wrong := ailing(context, name):
            yield suspend(context, "tier", name, wrong)
    if wrong := vanished(context, claimed.dataset):
        yield suspend(context, "dataset", claimed.dataset, wrong)


def vanished(context: Context, dataset: str) -> str:
    """Why nothing can be read at a dataset's root, at which there was something; empty: something is there."""
    try:
        context.confirm_root(dataset)
        seen = next(iter(context.root(dataset).list()), None)
    except StoragedError as error:
        return error.message
    return "" if seen is not None else "its root shows nothing: is it mounted?"


def untold(what: str, number: int, name: str, dataset: str, error: StoragedError) -> ItemOutcome:
    """What becomes of an object of which something (`what`) cannot be told. Where its user put a link or something else
    in a folder's place that is no failure."""
    note, kind = f"{what} cannot be told: {error.message}", type(error).__name__
    if type(error) is StoreError:
        return ItemOutcome(number, name, ItemState.SKIPPED, f"{note}; `storagectl scan {dataset}` looks", error=kind)
    return ItemOutcome(number, name, ItemState.FAILED, note, again=may_pass(error), error=kind)


def skipped(item: Item, why: str) -> ItemOutcome:
    """An item is left as it is."""
    return ItemOutcome(item.seen.id, item.seen.placement.name, ItemState.SKIPPED, why)


def met(context: Context, item: Item, error: StoragedError) -> ItemOutcome:
    """What became of an item that met an error. What a codec does not take after all is tried with the one after it."""
    p = item.seen.placement
    if why := _churn(context, item, error):
        if isinstance(error, NotTaken):
            asked = codec_of(item.to)
            words = not_taken_words(asked, error.message)
            with context.catalog.begin() as conn:  # the level may be the codec's own choice: none was asked for then
                by = [asked.asked, replace(asked, level=None).asked]
                refused.note(conn, [Refused(item.seen.id, p.generation, name, words) for name in by])
            other = after(asked)
            if not lies_so(context, item, other):
                note = f"{words}: {other.name} is next"
                now = context.now_us()
                return ItemOutcome(item.seen.id, p.name, ItemState.PENDING, note, not_before_us=now, instead=other)
        return ItemOutcome(item.seen.id, p.name, ItemState.SKIPPED, why, error=type(error).__name__)
    taken = isinstance(error, AlreadyExists) and isinstance(item.to, ToRoot)
    note = error.message + (TAKEN if taken else "")
    return ItemOutcome(item.seen.id, p.name, ItemState.FAILED, note, again=may_pass(error), error=type(error).__name__)


def _churn(context: Context, item: Item, error: StoragedError) -> str:
    """Why an item of a rewrite is no longer as it was planned, where that is what `error` met: its user did what users
    do, or a guard holds it. That is no failure. Empty: it is one."""
    p = item.seen.placement
    if isinstance(item.to, ToRoot):  # whoever asked for it must hear of it
        return ""
    if isinstance(error, RefusedByGuard):
        return error.message
    if p.raw.state is not RawState.CURRENT or not isinstance(error, StoreError) or isinstance(error, _OF_THE_MOMENT):
        return ""
    try:
        if is_there(context, original(p)):
            return ""
    except ObjectNotFound:
        return f"deleted since it was planned: `storagectl scan {p.dataset}` records that"
    except StoragedError as now:
        if type(now) is not StoreError or vanished(context, p.dataset):  # of the place, not of the object
            return ""
    return f"changed since it was planned: `storagectl scan {p.dataset}` records that"


def excused(context: Context, dataset: str, outcomes: Iterable[ItemOutcome]) -> Iterable[ItemOutcome]:
    """Objects are not to blame for being missing where all of their root is: they get another try."""
    missing = ObjectNotFound.__name__
    if not any(o.error == missing for o in outcomes) or not (wrong := vanished(context, dataset)):
        return outcomes
    return (o._replace(state=ItemState.FAILED, note=wrong, again=True) if o.error == missing else o for o in outcomes)


def look_again(context: Context) -> Iterator[tuple[Suspension, bool]]:
    """Try the places that were suspended for a while and whose time has come. Yields each, and whether it goes on.

    A dataset is tried by its next scan. A full tier is given another try: only what is written shows whether it fits.
    """
    now = context.now_us()
    with context.catalog.read() as conn:
        found = [s for s in suspensions.suspended(conn) if s.retry_us is not None and s.retry_us <= now]
    for s in found:
        if s.kind != "tier" or s.name not in context.tiers:
            continue
        wrong = context.away.get(s.name) or ailing(context, s.name)
        if wrong:
            yield suspend(context, "tier", s.name, wrong, tries=s.tries + 1, writes=s.writes), False
        elif suspension.resume(context, "tier", s.name, "it is well again", tried=True):
            yield s, True


def ailing(context: Context, tier: str) -> str:
    """Why nothing can be done at a tier now; empty: it carries our marker, and takes a note of ours."""
    try:
        context.confirm_tier(tier)
        context.tier(tier).write_note(PROBE, b"whether this place takes what storaged writes\n", create_only=False)
    except StoragedError as error:
        return error.message
    return ""


def suspend(
    context: Context, kind: Kind, name: str, reason: str, *, tries: int = 0, writes: bool = False
) -> Suspension:
    """Suspend a place until it is tried again: after `daemon.retry`, doubled with each try that found it no better."""
    wait = context.settings.daemon.retry * min(2**tries, LONGEST)
    return suspension.suspend(context, kind, name, reason, retry_us=context.now_us() + wait, writes=writes)
