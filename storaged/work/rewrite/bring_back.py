"""Objects that return to their original keys: neighbours are written one after the other, and what they made visible is
noted for all of them at once. (docs/design.md has the order and its MUSTs.)

A store that can tell what attempts made visible (Store.shown) does so until that is noted: so a process that dies with
some of them visible and none noted leaves nothing that is not known of. Where a store cannot, each is noted by itself,
before the next is made visible.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial

from storaged.catalog import attempts
from storaged.catalog.attempts import Visible
from storaged.catalog.items import Item
from storaged.catalog.queue import ItemOutcome
from storaged.clock import timed
from storaged.errors import RefusedByGuard, StoreError
from storaged.stores.base import Stat, Store
from storaged.stores.losses import differences
from storaged.work.context import Context
from storaged.work.packs import OpenPacks
from storaged.work.rewrite.returns import no_return, no_way_in, room_for
from storaged.work.rewrite.stage import Staged, Tried, Written, prove, target, write


def bring_back(
    context: Context, items: Sequence[Item], tried: Tried, *, executor: Executor, packs: OpenPacks
) -> list[Staged | ItemOutcome]:
    """Write each of these, which have one root, to its original key and prove it; what became of each, in their order.
    Raises CatalogError, and StoreError where their names could not be made durable: then what is visible is not
    noted."""
    ways, root = _Ways(context, items), target(context, items[0])
    together = root.traits.shows
    made: list[Written | ItemOutcome] = []
    with contextlib.ExitStack() as shown:
        with root.near():  # all names are on the medium before any of them is noted
            for item in items:
                made.append(tried(item, partial(_shown, context, item, ways, shown, executor, packs)))
                if not together:
                    _note(context, [item], made[-1:])
        if together:
            _note(context, items, made)
    return [
        tried(item, partial(_proven, context, item, one)) if isinstance(one, Written) else one
        for item, one in zip(items, made, strict=True)
    ]


def _note(context: Context, items: Sequence[Item], made: Sequence[Written | ItemOutcome]) -> None:
    """What is visible of these."""
    visible = [
        Visible(item.attempt, one.stat.identity, one.encoded.digest)
        for item, one in zip(items, made, strict=True)
        if isinstance(one, Written)
    ]
    if visible:
        with timed("catalog"), context.catalog.begin() as conn:
            attempts.made_visible(conn, visible)


class _Ways:
    """What neighbours have in common is asked once: whether their root has room for all of them, and whether anything
    can be put into their directory."""

    def __init__(self, context: Context, items: Sequence[Item]) -> None:
        self._context, self._items = context, items
        self._into: dict[str, str] = {}  # by directory why nothing can be put there
        self._room: bool | None = None  # for all of them

    def look(self, item: Item, store: Store) -> None:
        """Raises RefusedByGuard where a write-back could replace what a user puts there at the same moment, or can put
        nothing there; StoreFull where there is no room."""
        _on_condition(item, store)
        folder = item.key.rpartition("/")[0]
        if folder not in self._into:
            self._into[folder] = no_way_in(store, item.key)
        if why := self._into[folder]:
            raise RefusedByGuard(why)
        if self._room is None:
            free = store.free_bytes()
            self._room = free is None or free >= sum(i.seen.placement.at_root_bytes for i in self._items)
        if not self._room:
            room_for(store, item.seen.placement)


def _on_condition(item: Item, store: Store) -> None:
    """Raises RefusedByGuard where a write-back could replace what a user puts there at the same moment."""
    if why := no_return(store, item.seen.placement.size):
        raise RefusedByGuard(why)


def _shown(
    context: Context, item: Item, ways: _Ways, shown: contextlib.ExitStack, executor: Executor, packs: OpenPacks
) -> Written:
    """It is at its original key. Its upload ends with `shown`."""
    store = target(context, item)
    ways.look(item, store)
    with contextlib.ExitStack() as own:
        written = write(
            context,
            item,
            own,
            executor=executor,
            packs=packs,
            ready=lambda: _on_condition(item, store),  # the bucket may keep versions by now, where other rules hold
        )
        shown.enter_context(own.pop_all())
    return written


def _proven(context: Context, item: Item, written: Written) -> Staged:
    staged = prove(context, item, written)
    with timed("re-check"):
        return replace(staged, note=_came_back_with(target(context, item), item, written.stat))


def _came_back_with(store: Store, item: Item, stat: Stat) -> str:
    """What is beside the bytes now otherwise than when they left, in words. The bytes are back, whatever it is."""
    before = item.seen.placement.metadata
    try:
        with store.open(item.key, identity=stat.identity) as reader:
            found = differences(before, reader.metadata(), store.not_restorable(before))
    except StoreError as error:
        return f"what came back beside the bytes could not be looked at: {error.message}"
    return f"it did not come back as it left: {'; '.join(found)}" if found else ""
