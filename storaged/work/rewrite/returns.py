"""Jobs that a person asks for: restage to another tier, or back to the original key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from storaged.catalog.items import NewItem, ToRoot, ToTier
from storaged.catalog.placements import Seen, tier_ids
from storaged.decide.guards import AT_THE_QUEUE, Move, held_back
from storaged.errors import ObjectNotFound, RefusedByGuard, StoragedError, StoreFull, UsageError
from storaged.model import IDENTITY, JobKind, Placement, RawState
from storaged.stores.base import Store
from storaged.work.content import is_there
from storaged.work.context import Context
from storaged.work.location import original
from storaged.work.rewrite.enqueue import Enqueued, enqueue_batches
from storaged.work.targets import pack_by_pack

UNDO_AT_ONCE: Final = "its source is still there: `storagectl undo` brings it back at once"


def restage(
    context: Context, pages: Iterable[list[Seen]], tier: str, *, reason: str, dry_run: bool = False
) -> Enqueued:
    """Jobs that bring objects to a tier as plain bytes; what a guard holds is left out (storaged.decide.guards).
    `dry_run`: tells what would be queued and left out by what is there now, and changes nothing. Raises UsageError for
    no such tier."""
    context.tier(tier)
    return _ask(context, pages, JobKind.REWRITE, tier, reason, dry_run)


def to_root(context: Context, pages: Iterable[list[Seen]], *, reason: str, dry_run: bool = False) -> Enqueued:
    """Jobs that put objects back under their original keys. `dry_run`: as `restage` has it."""
    return _ask(context, pages, JobKind.RETURN, None, reason, dry_run)


def _left_out(context: Context, page: Sequence[Seen], tier: str | None, room: dict[str, int | None]) -> dict[int, str]:
    """Those of a page that `refusals` has, and where they return to roots those that have no room beside the others.
    `room`: as `_too_large` has it."""
    refused = refusals(context, page, tier)
    if tier is None:
        refused |= _too_large(context, [h for h in page if h.id not in refused], room)
    return refused


def refusals(context: Context, page: Iterable[Seen], tier: str | None) -> dict[int, str]:
    """Of these objects those that cannot be brought to a tier (None: their original keys) now, by id, and why."""
    found = {h.id: why for h in page if (why := _refusal(context, h, tier))}
    if tier is None:
        return found
    with context.catalog.read() as conn:
        number = tier_ids(conn).get(tier)
        if number is None:
            raise UsageError(f"tier {tier!r} is not in the catalog yet", hint="run `storagectl scan`")
        now = context.guards_now()
        fit = [h for h in page if h.id not in found]
        # What is dated ahead of now is too young for ever, says a plan. A person may name it all the same.
        ahead = {h.id: Move(number) for h in fit if h.placement.mtime_us > now.at_us}
        others = {h.id: Move(number) for h in fit if h.id not in ahead}
        found |= held_back(conn, others, now, asked=AT_THE_QUEUE)
        return found | held_back(conn, ahead, now, asked=AT_THE_QUEUE - {"quiet"})


def _refusal(context: Context, seen: Seen, tier: str | None) -> str:
    p = seen.placement
    context.dataset(p.dataset)
    if not p.exists:
        return "it was removed"
    if tier is not None:
        return ""
    match p.raw.state:
        case RawState.CURRENT:
            return "it is at its original key already"
        case RawState.SUPERSEDED:
            return UNDO_AT_ONCE
        case RawState.RELEASING:
            return _not_released(context, seen)
    return no_return(context.root(p.dataset), p.size) or no_way_in(context.root(p.dataset), p.name)


def no_way_in(root: Store, name: str) -> str:
    """Why nothing can be put at an original key now, as far as that can be seen; empty: nothing speaks against it."""
    try:
        why = root.unwritable(name)
    except StoragedError as error:
        return f"its root cannot be looked at: {error.message}"
    return f"it cannot be put back: {why}" if why else ""


def room_for(root: Store, p: Placement) -> None:
    """Raises StoreFull if a root has no room for an object, as far as that is known. Its holes need none."""
    free = root.free_bytes()
    if free is not None and free < p.at_root_bytes:
        raise StoreFull(
            f"{p.name} needs {p.at_root_bytes:,} bytes at its root, and {free:,} are free there", key=p.name
        )


def _too_large(context: Context, page: Iterable[Seen], left: dict[str, int | None]) -> dict[int, str]:
    """Of these objects, which return to their roots, those for which there is no room beside the others, and why.
    `left`: how many bytes each root has left by now; None: nobody knows."""
    found: dict[int, str] = {}
    for h in page:
        p = h.placement
        if p.dataset not in left:
            left[p.dataset] = context.root(p.dataset).free_bytes()
        room = left[p.dataset]
        if room is not None and p.at_root_bytes > room:
            found[h.id] = (
                f"no room at its root: it needs {p.at_root_bytes:,} bytes, and beside the others {room:,} are left: "
                "make room, then ask again"
            )
        elif room is not None:
            left[p.dataset] = room - p.at_root_bytes
    return found


def _not_released(context: Context, seen: Seen) -> str:
    """What leads out of a release that was begun: its source is there still, or gone and not yet recorded so."""
    p = seen.placement
    try:
        if is_there(context, original(p)):
            return UNDO_AT_ONCE
    except ObjectNotFound:
        return "its source is released: run `storagectl sweep`, which records it, then try again"
    except StoragedError as error:
        return f"its source cannot be looked at: {error.message}"
    return f"its user changed it at its original key: run `storagectl scan {p.dataset}`"


def no_return(root: Store, size: int = 0) -> str:
    """Why an object of so many bytes (0: any) may not be written to a root, where a user may write at the same moment;
    empty: it may."""
    traits = root.traits
    if not traits.create_put:
        return f"{root.url} cannot create on condition, so nothing is written there ({traits.lacking('create_put')})"
    if not traits.creates(size):
        return (
            f"{root.url} cannot create on condition what is larger than {traits.one_step:,} bytes, and it has {size:,} "
            f"({traits.lacking('create_parts')})"
        )
    return ""


def _ask(
    context: Context,
    pages: Iterable[list[Seen]],
    kind: JobKind,
    tier: str | None,
    reason: str,
    dry_run: bool,
) -> Enqueued:
    if not dry_run:
        context.ready()
        context.journal.flush()
    result = Enqueued()
    left: dict[str, int | None] = {}
    for page in pack_by_pack(context, pages):  # so that each job reads few packs, and each pack once
        refused = _left_out(context, page, tier, left)
        fit = [h for h in page if h.id not in refused]
        result.left_out += [(h.path, refused[h.id]) for h in page if h.id in refused]
        if not fit:
            continue
        if dry_run:
            result.ahead += [h.path for h in fit]
            result.objects += len(fit)
            result.bytes += sum(h.placement.size for h in fit)
            continue
        dataset = fit[0].placement.dataset
        if kind is JobKind.RETURN and not context.confirm_root(dataset):
            raise RefusedByGuard(
                f"the root of dataset {dataset!r} does not carry our claim, so nothing is written there"
            )
        grace = context.settings.grace
        to = ToRoot(grace) if tier is None else ToTier(tier, IDENTITY, grace)
        items = [NewItem(h.id, h.version, h.placement.size, to, h.path) for h in fit]
        enqueue_batches(context, kind, dataset, items, reason=reason, result=result)
    return result
