"""Jobs that a person asks for: restage to another tier, back to the original key, eject a whole dataset."""

from __future__ import annotations

from collections.abc import Iterable

from storaged.catalog.placements import Held
from storaged.catalog.queue import NewItem
from storaged.errors import RefusedByGuard
from storaged.model import IDENTITY, JobKind, RawState, Readers
from storaged.placement import settled
from storaged.stores.base import Store, lacking
from storaged.work.context import Context
from storaged.work.enqueue import Enqueued, enqueue_batches


def restage(context: Context, pages: Iterable[list[Held]], tier: str, *, reason: str) -> Enqueued:
    """Jobs that bring objects to a tier as plain bytes. Raises UsageError for no such tier."""
    context.tier(tier)
    return _ask(context, pages, JobKind.REWRITE, tier, reason)


def to_root(context: Context, pages: Iterable[list[Held]], *, reason: str) -> Enqueued:
    """Jobs that put objects back under their original keys."""
    return _ask(context, pages, JobKind.RETURN, None, reason)


def refusal(context: Context, held: Held, tier: str | None) -> str:
    """Why an object cannot be brought to a tier (None: its original key) now; empty if it can."""
    p = held.placement
    dataset = context.dataset(p.dataset)
    if not p.exists:
        return "it was removed"
    if tier is None:
        match p.raw.state:
            case RawState.CURRENT:
                return "it is at its original key already"
            case RawState.SUPERSEDED:
                return "its source is still there: `storagectl undo` brings it back at once"
            case RawState.RELEASING:
                return "its source is being released: run `storagectl sweep`, then try again"
        return no_return(context.root(p.dataset), p.size)
    if dataset.readers is Readers.RAW:
        return "readers: raw (others read its paths, so it stays where it is)"
    if not settled(p):
        return "its last change is still in grace: undo that, or wait"
    hold = p.hold or dataset.hold
    return f"held: {hold}" if hold else ""


def no_return(root: Store, size: int = 0) -> str:
    """Why an object of so many bytes (0: any) may not be written to a root, where a user may write at the same moment;
    empty: it may."""
    traits = root.traits
    if not traits.create_put:
        return f"{root.url} cannot create on condition, so nothing is written there ({lacking('create_put')})"
    if not traits.creates(size):
        return (
            f"{root.url} cannot create on condition what is larger than {traits.one_step:,} bytes, and it has {size:,} "
            f"({lacking('create_parts')})"
        )
    return ""


def _ask(
    context: Context,
    pages: Iterable[list[Held]],
    kind: JobKind,
    tier: str | None,
    reason: str,
) -> Enqueued:
    context.ready()
    context.journal.flush()
    result = Enqueued()
    for page in pages:
        fit = []
        for h in page:
            why = refusal(context, h, tier)
            if why:
                result.left_out.append((f"{h.placement.dataset}/{h.placement.name}", why))
            else:
                fit.append(h)
        if not fit:
            continue
        dataset = fit[0].placement.dataset
        if kind is JobKind.RETURN and not context.owns_root(dataset):
            raise RefusedByGuard(
                f"the root of dataset {dataset!r} does not carry our claim, so nothing is written there"
            )
        items = [
            NewItem(
                h.id,
                h.version,
                h.placement.size,
                tier,
                IDENTITY,
                context.settings.grace,
                name=f"{dataset}/{h.placement.name}",
            )
            for h in fit
        ]
        enqueue_batches(context, kind, dataset, items, reason=reason, result=result)
    return result
