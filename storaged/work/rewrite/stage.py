"""Write one attempt's blob from an object's current place and prove it. (docs/design.md has the order and its MUSTs.)

The intent of the attempt exists before `stage` is called (storaged.catalog.queue.claim), and nothing is deleted here: a
discarded attempt's row becomes a tombstone and the sweeper looks after its key.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

from storaged.catalog import placements
from storaged.catalog.items import Aim, Item, ToRoot, ToTier, codec_of, tier_of
from storaged.catalog.placements import Seen
from storaged.catalog.queue import ItemOutcome
from storaged.clock import timed
from storaged.codecs.base import Content, Encoded, InMemory, in_order
from storaged.codecs.registry import codec, compresses
from storaged.errors import RefusedByGuard, SourceChanged, VerificationFailed
from storaged.model import (
    IDENTITY,
    Origin,
    RawState,
)
from storaged.stores.base import New, Reader, Stat, Store
from storaged.stores.checksums import algorithm_of
from storaged.stores.copies import CopySource
from storaged.stores.locks import locked_words
from storaged.work import places
from storaged.work.claims import Place
from storaged.work.content import Slice, known_digest, open_current, original, stored_digest, summed
from storaged.work.context import Context
from storaged.work.location import current
from storaged.work.packs import OpenPacks, in_pack

T = TypeVar("T")

NOT_RECORDED: Final = "its content is not what the catalog recorded; nothing was changed"
MEANWHILE: Final = "changed while it was copied"
AT_ONCE: Final = 64 << 10  # bytes of content that are held
PARALLEL_FROM: Final = 4 << 20  # bytes of content; below that one thread encodes the object by itself


@dataclass(frozen=True, slots=True)
class Staged:
    """An object in a proven blob, which waits for its swap. `encoded` tells of the whole blob, and `form` how that is
    read. `another`: what it holds is another file of the object's table, a new edition, and not its content."""

    aim: Aim
    form: str
    stat: Stat
    encoded: Encoded
    metadata: Mapping[str, str]  # of the original
    digest: str  # of the object's content
    note: str = ""  # what is worth telling, in words: of what came back what the original has otherwise now
    offset: int = 0  # of the object's content in the blob's
    packed_bytes: int = 0  # of a pack, content of all objects in it
    packed_before: int = 0  # of a pack, of those before this one
    another: bool = False
    opened: str = ""  # the identity that its source has to have once more; empty: it was looked at


@dataclass(frozen=True, slots=True)
class Transitioned:
    """An original key in another storage class, that waits to be recorded (storaged.work.rewrite.transition)."""

    aim: Aim
    stat: Stat
    was: str  # the identity before


class Tried(Protocol):
    """What an act made of an item, or what became of the item instead."""

    def __call__(self, item: Item, act: Callable[[], T]) -> T | ItemOutcome: ...


@dataclass(frozen=True, slots=True)
class Written:
    """What an attempt wrote, to be proven. `source`: the identity under which its source was opened. `proven`: its
    store told that all of it is there."""

    stat: Stat
    encoded: Encoded
    metadata: Mapping[str, str]  # of the original
    source: str
    proven: bool


def stage(
    context: Context,
    item: Item,
    *,
    executor: Executor | None = None,
    packs: OpenPacks | None = None,
    reader: Reader | None = None,
) -> Staged:
    """Write the attempt's blob into its tier from the object's current place and prove it. Changes nothing in the
    catalog. `packs`: those of its job; `reader`: of the original, where that is open. Its source is to be looked at
    once more: see `rechecked`.

    Raises SourceChanged or ObjectNotFound if the source is not the one in the catalog, and VerificationFailed if what
    was stored is not what was read, RefusedByGuard where it could not be proven.
    """
    may_go(context, item)
    with contextlib.ExitStack() as held:
        written = write(context, item, held, executor=executor, packs=packs, reader=reader)
    return prove(context, item, written)


def target(context: Context, item: Item) -> Store:
    """Where an item is written to."""
    tier = tier_of(item.to)
    return context.tier(tier) if tier else context.root(item.seen.placement.dataset)


def write(
    context: Context,
    item: Item,
    held: contextlib.ExitStack,
    *,
    executor: Executor | None,
    packs: OpenPacks | None,
    ready: Callable[[], None] = lambda: None,
    reader: Reader | None = None,
) -> Written:
    """Write what an attempt makes, from the object's current place. The upload ends with `held`. `ready`: is asked
    right before it becomes visible, and may raise. Raises as `stage` does."""
    seen, store = item.seen, target(context, item)
    p = seen.placement
    tier, spec = tier_of(item.to), codec_of(item.to)
    encoder = codec(spec.name)
    given_back = p.metadata if tier is None else None
    origin = origin_of(context, item)
    with opened(context, item, packs, reader) as source:
        metadata = metadata_of(context, item, source)
        if tier is not None and (copied := _copied(store, item, source, origin)):
            stat, encoded = copied
            return Written(stat, encoded, metadata, source.identity, proven=True)
        with timed("write"):
            upload = held.enter_context(
                store.create(
                    item.key,
                    New(
                        item.attempt,
                        mtime_us=p.mtime_us,
                        size=encoder.at_most(p.size),
                        origin=origin,
                        metadata=given_back,
                        later=tier is not None,
                    ),
                )
            )

        written: list[bytes] = []

        def put(data: bytes) -> None:
            with timed("write"):
                upload.write(data)

        with timed("compress" if compresses(spec) else "digest"):
            small = source.size <= AT_ONCE
            encoded = encoder.encode(
                at_once(source) if small else Timed(source, source.size),
                written.append if small else put,
                spec=spec,
                origin=origin,
                executor=executor if p.size >= PARALLEL_FROM else None,
            )
        if small:
            put(b"".join(written))
        source.settle()
        if encoded.size != p.size or (p.digest and encoded.digest != p.digest):
            raise VerificationFailed(f"{p.name}: {NOT_RECORDED}")
        ready()
        with timed("write"):
            stat = upload.commit(encoded.origin, metadata=given_back)
    return Written(stat, encoded, metadata, source.identity, upload.proven)


def prove(context: Context, item: Item, written: Written) -> Staged:
    """What was stored is what was handed over. Its source is to be looked at once more: see `rechecked`. Raises as
    `stage` does."""
    if not written.proven:
        read_back(target(context, item), item.key, written.stat, written.encoded)
    form, encoded = codec_of(item.to).name, written.encoded
    return Staged(item.aim, form, written.stat, encoded, written.metadata, encoded.digest, opened=written.source)


def origin_of(context: Context, item: Item) -> Origin:
    """What a blob says of itself."""
    p = item.seen.placement
    return Origin(
        context.identity.catalog,
        item.attempt,
        p.dataset,
        p.name,
        p.generation,
        current(item.seen).identity,
        p.size,
        p.mtime_us,
        p.digest,
    )


def _copied(store: Store, item: Item, source: Slice, origin: Origin) -> tuple[Stat, Encoded] | None:
    """What the store made of the object's content by itself, and proved by its own checksums of both: its bytes do not
    come through here, so that no digest of theirs becomes known. None: it goes through here. Raises as `Store.copy`."""
    of = copy_source(item, source)
    if of is None:
        return None
    with timed("copy"):
        stat = store.copy(item.key, New(item.attempt, size=of.size, origin=origin), of)
    return None if stat is None else (stat, encoded_as(item, of, origin))


def copy_source(item: Item, source: Slice) -> CopySource | None:
    """What a server may copy, where the object is to be stored as it is; None: nothing."""
    p, of = item.seen.placement, source.copy_source
    if codec_of(item.to) != IDENTITY or of is None:
        return None
    known = known_digest(item.seen, p.current or p.raw)
    if algorithm_of(known) and known != of.checksum:  # nobody of ours has read it since it was copied before
        return None
    return of


def encoded_as(item: Item, of: CopySource, origin: Origin) -> Encoded:
    """What is known of content that a server copied."""
    p = item.seen.placement
    return Encoded(p.size, p.digest, p.size, p.digest or of.checksum, b"", origin)


def at_once(source: Content) -> InMemory:
    """Small content, read: to go through a store for each piece of it takes longer than to copy it."""
    with timed("read"):
        return InMemory(b"".join(in_order(source)))


@dataclass(frozen=True, slots=True)
class Timed:
    """Content, the reading of which counts as a stage of its own."""

    content: Content
    size: int

    def read_at(self, offset: int, length: int) -> bytes:
        with timed("read"):
            return self.content.read_at(offset, length)


def opened(context: Context, item: Item, packs: OpenPacks | None = None, reader: Reader | None = None) -> Slice:
    """The content of an item's object at its current place; `reader`: of its original, where that is open. Raises
    RefusedByGuard where moving it would free nothing, SourceChanged where it has another size than the catalog holds,
    and as `open_current` does."""
    p = item.seen.placement
    with timed("source"):
        _not_locked(context, item)
        if reader is not None:
            source = original(reader)
        else:
            source = packs.current(item.seen) if packs else open_current(context, item.seen)
    if source.size != p.size:
        source.close()
        raise SourceChanged(f"{p.name} has {source.size} bytes, the catalog holds {p.size}", key=p.name)
    return summed(item.seen, source)


def metadata_of(context: Context, item: Item, source: Slice) -> Mapping[str, str]:
    """The metadata of the original of an object that was opened. Raises RefusedByGuard if some of it, that no policy
    allows to be lost, could not be given back."""
    p = item.seen.placement
    if p.current:
        return p.metadata
    with timed("source"):
        return restorable(context.root(p.dataset), item, source.reader.metadata())


def _not_locked(context: Context, item: Item) -> None:
    """What is locked at its original key cannot be released, so moving it would free nothing. Raises RefusedByGuard."""
    p = item.seen.placement
    if isinstance(item.to, ToRoot) or p.raw.state is not RawState.CURRENT or not item.seen.locks:
        return
    until = context.root(p.dataset).locked_until(p.name)
    if until is not None:
        with context.catalog.begin() as conn:
            placements.lock(conn, {item.seen.id: until})  # so that no plan picks it before that
        raise RefusedByGuard(f"{p.name} is {locked_words(until)}: nothing would be freed")


def restorable(root: Store, item: Item, metadata: Mapping[str, str]) -> Mapping[str, str]:
    """The metadata of an item's original. Raises RefusedByGuard as `metadata_of` does."""
    if not (told := root.not_restorable(metadata)):
        return metadata
    name, allowed = item.seen.placement.name, item.to.allow_loss if isinstance(item.to, ToTier) else frozenset()
    if lost := {what: words for what, words in told.items() if what not in allowed}:
        raise RefusedByGuard(
            f"{name} would lose {' and '.join(lost.values())}; `allow_loss: [{', '.join(lost)}]` lets it go"
        )
    return metadata


def may_go(context: Context, item: Item) -> None:
    """Raises RefusedByGuard where what an attempt makes could not be proven, or would not stay."""
    store, name = target(context, item), item.seen.placement.name
    may_be_proven(store, name)
    if tier_of(item.to):
        may_be_kept(store, name)


def may_be_proven(store: Store, name: str) -> None:
    """Raises RefusedByGuard where what is written to a tier could not be proven. `name`: what stays where it is."""
    if not store.traits.at_once and not store.traits.checksums:
        raise RefusedByGuard(
            f"{name} stays where it is: what is in an archive class cannot be read back at once, and {store.url} "
            "tells no checksum of what it stored",
            hint="give the tier another storage class, or put it on a store that has checksums",
        )


def may_be_kept(store: Store, name: str) -> None:
    """Raises RefusedByGuard where a tier's place would delete what is put there. `name`: what stays where it is."""
    if why := places.expiry(store):
        raise RefusedByGuard(
            f"{name} stays where it is: {why}",
            hint="leave the tier out of that rule: what is in it may be the only copy",
        )


def read_back(store: Store, key: str, stat: Stat, encoded: Encoded) -> None:
    """What is stored is what was handed over: size and digest of the stored bytes, read again from the store. Raises
    VerificationFailed, also where it is in an archive class."""
    if not store.traits.at_once:
        raise VerificationFailed(f"{key}: {store.url} told no checksum of it; the attempt is discarded")
    with timed("prove"), store.open(key, identity=stat.identity) as reader:
        if reader.stat.size != encoded.stored_size or stored_digest(reader) != encoded.stored_digest:
            raise VerificationFailed(f"{key}: what {store.url} stored is not what was sent; the attempt is discarded")


def rechecked(
    context: Context, items: Sequence[Item], made: Sequence[Staged | ItemOutcome], tried: Tried
) -> list[Staged | ItemOutcome]:
    """What was made of neighbours, where their sources are what they were: `recheck` of each that was not looked at, by
    one look at many of them where their store has such a thing. Raises StoreError where that look fails."""

    def again(item: Item, staged: Staged) -> Staged:
        recheck(context, item.seen, staged.opened, told.get(item.seen.id, ""))
        return staged

    pairs = list(zip(items, made, strict=True))
    with timed("re-check"):
        told = _identities(context, [i.seen for i, one in pairs if isinstance(one, Staged) and one.opened])
        return [
            tried(item, partial(again, item, one)) if isinstance(one, Staged) and one.opened else one
            for item, one in pairs
        ]


def _identities(context: Context, those: Sequence[Seen]) -> Mapping[int, str]:
    """Those that the sources of these objects have now, so far as their stores tell them of many at once."""
    keys: dict[Place, dict[str, int]] = {}
    for seen in those:
        here = current(seen)
        keys.setdefault(here.place, {})[here.key] = seen.id
    told: dict[int, str] = {}
    for place, of in keys.items():
        now = context.store(place).identities(list(of)) if len(of) > 1 else {}
        told |= {of[key]: identity for key, identity in now.items()}
    return told


def recheck(context: Context, seen: Seen, opened: str, told: str = "") -> None:
    """Right before the swap: the source still has the identity that it was opened under. `told`: the one that it has
    now, where that is known. A member of a pack is its recorded content, or it was not staged: nobody writes there,
    and there may be a million of them."""
    if (told and told == opened) or (in_pack(seen) and seen.placement.digest):
        return
    here, name = current(seen), seen.placement.name
    if (told or context.store(here.place).identity(here.key)) != opened:
        raise SourceChanged(f"{name} was changed while it was copied; the attempt is discarded", key=name)
