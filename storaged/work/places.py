"""The places that something touches, looked at before each batch of it: is each what the catalog calls it?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from storaged.catalog.placements import Seen
from storaged.catalog.queue import ClaimedJob
from storaged.errors import ForeignClaim, PermissionDenied, StoreError
from storaged.model import JobKind
from storaged.stores.base import Store
from storaged.work.claims import Place
from storaged.work.context import Context
from storaged.work.location import current, of_blob, original

UNCLAIMED = "its root does not carry our claim"


def touched(claimed: ClaimedJob) -> list[Place]:
    """What a job reads from and writes to, each once."""
    root = Place("dataset", claimed.dataset)
    to = [Place("tier", tier) if tier else root for tier, _ in claimed.into()]
    return list(dict.fromkeys([*to, *out_of(claimed)]))


def out_of(claimed: ClaimedJob) -> list[Place]:
    """Where the objects of a job are, each place once."""
    if claimed.many is not None:
        root = [Place("dataset", claimed.dataset)] if claimed.many.at_root else []
        return [*root, *(Place("tier", tier) for tier in claimed.many.tiers)]
    return list(dict.fromkeys(current(i.seen).place for i in claimed.items))


def holding(seen: Iterable[Seen]) -> list[Place]:
    """Where these objects are, in any form: their roots, and the tiers of their replicas."""
    found: dict[Place, None] = {}
    for h in seen:
        found[original(h.placement).place] = None
        found.update((of_blob(blob).place, None) for blob in h.blobs.values())
    return list(found)


@dataclass(frozen=True, slots=True)
class Looked:
    """What places showed. `wrong`: those that are not there, or not what the configuration calls them, and why;
    `unclaimed`: roots that never carried our marker."""

    wrong: Mapping[Place, str] = field(default_factory=dict)
    unclaimed: frozenset[Place] = frozenset()


def look(context: Context, places: Iterable[Place]) -> Looked:
    """Look at these places now; of those that are right, their stores work on what was looked at from here on. What the
    configuration does not name is left out."""
    wrong: dict[Place, str] = {}
    unclaimed = set()
    for place in places:
        try:
            if place.kind == "tier" and place.name in context.tiers:
                context.confirm_tier(place.name)
            elif place.kind == "dataset" and place.name in context.datasets and not context.confirm_root(place.name):
                unclaimed.add(place)
        except (ForeignClaim, StoreError) as error:
            wrong[place] = error.message
    return Looked(wrong, frozenset(unclaimed))


def wrong(context: Context, places: Iterable[Place]) -> Mapping[Place, str]:
    """Of these places those that are not what they should be now, and why (see `look`)."""
    return look(context, places).wrong


def unwritable(context: Context, claimed: ClaimedJob) -> str:
    """Why a job may write nothing back to its root; empty: it may, or means to write nothing there. Raises as
    `confirm_root` does."""
    return UNCLAIMED if claimed.kind is JobKind.RETURN and not context.confirm_root(claimed.dataset) else ""


def expiry(store: Store) -> str:
    """Why what is put into a tier would be deleted by its place; empty: it would not, as far as we may ask. Where we
    may not, the doctor says so."""
    try:
        return store.expiry()
    except PermissionDenied:
        return ""
