"""Another storage class in place: the one change at a user's key, by the store itself and on condition.

The order (docs/design.md): the intent's row, with the source's identity and the target class, stands since the claim;
the store's checksum of the source is added to it; then the store changes the class if the key still has that identity,
and tells what is there now; then the swap's transaction records it and removes the intent. After a crash in between,
whoever meets the changed key asks the intent whose doing it is (storaged.work.scan.leftovers.is_transition).
"""

from __future__ import annotations

from collections.abc import Iterable

from storaged.catalog import placements
from storaged.catalog.items import InPlace, Item
from storaged.catalog.queue import ItemOutcome
from storaged.errors import SourceChanged
from storaged.model import ItemState, RawState
from storaged.stores.base import Store
from storaged.stores.locks import Versioning
from storaged.work.content import is_there
from storaged.work.context import Context
from storaged.work.location import original
from storaged.work.rewrite.stage import Transitioned
from storaged.work.scan.suspects import rescan_key


def in_place(items: Iterable[Item]) -> list[tuple[Item, InPlace]]:
    """Those of which the class is changed where they are."""
    return [(item, item.to) for item in items if isinstance(item.to, InPlace)]


def look(context: Context, item: Item, to: InPlace) -> str | ItemOutcome:
    """What the store says of all bytes at the key, which has the identity that the catalog holds; empty where it says
    nothing. Or what became of the item, where there is nothing to change (any more). Raises ObjectNotFound."""
    p = item.seen.placement
    store = context.root(p.dataset)
    if p.raw.state is not RawState.CURRENT:
        return ItemOutcome(
            item.seen.id, item.seen.placement.name, ItemState.SKIPPED, "it is not at its original key any more"
        )
    if p.raw.storage_class == to.storage_class:
        return ItemOutcome(
            item.seen.id, item.seen.placement.name, ItemState.SKIPPED, f"it is in {to.storage_class} already"
        )
    if not is_there(context, original(p)):
        return _met(context, item, to)
    return store.checksum(p.name)


def change(context: Context, item: Item, to: InPlace, checksum: str) -> Transitioned | ItemOutcome:
    """Change the class, and see that the bytes are the same. `checksum`: what `look` said of them.

    Raises StoreError where the store cannot do it on condition, ObjectNotFound, ObjectCold.
    """
    p = item.seen.placement
    store = context.root(p.dataset)
    try:
        stat = store.transition(p.name, identity=p.raw.identity, storage_class=to.storage_class)
        same = stat.size == p.size and checksum in ("", store.checksum(p.name))
    except SourceChanged:
        same = False
    return Transitioned(item.aim, stat, p.raw.identity) if same else _met(context, item, to)


def refusal(store: Store) -> str:
    """Why nothing can be changed in place on this root; empty: it can."""
    if store.protection.versioning is not Versioning.OFF:
        return "the bucket keeps versions, so the bytes in the old class would stay"
    if store.traits.transitions:
        return ""
    missing = [trait for trait in ("copy_source", "copy_target") if not getattr(store.traits, trait)]
    why = f" ({store.traits.lacking(*missing)})" if missing else ""
    return f"{store.url} does not change storage classes on condition{why}"


def _met(context: Context, item: Item, to: InPlace) -> ItemOutcome:
    """The key is not what the catalog holds: record what it is. An earlier attempt may have changed its class."""
    p = item.seen.placement
    rescan_key(context, p.dataset, p.name)
    with context.catalog.read() as conn:
        now = placements.load(conn, [item.seen.id])[item.seen.id].placement
    if now.generation == p.generation and now.raw.storage_class == to.storage_class:
        return ItemOutcome(
            item.seen.id, item.seen.placement.name, ItemState.DONE, before_bytes=p.size, after_bytes=p.size
        )
    return ItemOutcome(item.seen.id, item.seen.placement.name, ItemState.SKIPPED, "changed since it was planned")
