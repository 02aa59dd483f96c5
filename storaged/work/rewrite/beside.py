"""What stores do side by side for neighbours that one thread works on: they open originals, and a server copies what
goes as it is from one of its places to another. Whatever they leave out is done by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from storaged.catalog.items import Item, codec_of, tier_of
from storaged.catalog.queue import ItemOutcome
from storaged.clock import timed
from storaged.model import IDENTITY
from storaged.stores.base import Reader
from storaged.stores.copies import Copy
from storaged.work.context import Context
from storaged.work.location import current
from storaged.work.rewrite.derive import derives
from storaged.work.rewrite.stage import (
    Staged,
    Tried,
    copy_source,
    encoded_as,
    may_go,
    metadata_of,
    opened,
    origin_of,
)

ByItself = Callable[[Item, Reader | None], Staged | ItemOutcome]


class _Ready(NamedTuple):
    """An item that its server may copy, and the metadata of its original."""

    item: Item
    copy: Copy
    metadata: Mapping[str, str]
    opened: str  # the identity of the source


def side_by_side(
    context: Context, items: Sequence[Item], tried: Tried, by_itself: ByItself
) -> list[Staged | ItemOutcome]:
    """What was made of each item, or what became of it instead, in their order. `by_itself` is told of its original
    where that is open."""
    readers = _opened(context, items)
    try:
        made = _copied(context, items, readers, tried)
        return [made.get(item.seen.id) or by_itself(item, readers.get(item.seen.id)) for item in items]
    finally:
        for reader in readers.values():
            reader.close()


def _opened(context: Context, items: Sequence[Item]) -> Mapping[int, Reader]:
    """Of originals, by the object's id."""
    of = {i.seen.placement.name: i for i in items if i.seen.placement.current is None and not derives(i)}
    if len(of) < 2:
        return {}
    root = context.root(items[0].seen.placement.dataset)
    with timed("source"):
        found = root.opened({name: current(item.seen).identity for name, item in of.items()})
    return {of[name].seen.id: reader for name, reader in found.items()}


def _copied(
    context: Context, items: Sequence[Item], readers: Mapping[int, Reader], tried: Tried
) -> Mapping[int, Staged | ItemOutcome]:
    """What was copied, or what became of it instead, by the object's id."""
    made: dict[int, Staged | ItemOutcome] = {}
    ready: dict[str, list[_Ready]] = {}
    for item in items:
        reader, tier = readers.get(item.seen.id), tier_of(item.to)
        if reader is None or tier is None or codec_of(item.to) != IDENTITY or item.seen.locks:
            continue  # of a lock each is asked by itself
        found = tried(item, partial(_readied, context, item, reader))
        if isinstance(found, ItemOutcome):
            made[item.seen.id] = found
        elif found is not None:
            ready.setdefault(tier, []).append(found)
    for tier, those in ready.items():
        with timed("copy"):
            stats = context.tier(tier).copies([one.copy for one in those]) if len(those) > 1 else {}
        for one in those:
            if stat := stats.get(one.copy.key):
                encoded = encoded_as(one.item, one.copy.source, one.copy.origin)
                made[one.item.seen.id] = Staged(
                    one.item.aim, IDENTITY.name, stat, encoded, one.metadata, encoded.digest, opened=one.opened
                )
    return made


def _readied(context: Context, item: Item, reader: Reader) -> _Ready | None:
    """None: it goes through here. Raises as `stage` does."""
    may_go(context, item)
    source = opened(context, item, reader=reader)
    of = copy_source(item, source)
    if of is None:
        return None
    copy = Copy(item.key, origin_of(context, item), of)
    return _Ready(item, copy, metadata_of(context, item, source), source.identity)
