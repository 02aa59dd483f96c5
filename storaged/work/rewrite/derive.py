"""Write another file of the same table as an attempt's blob, and prove that it is one. As `stage` does, this changes
nothing in the catalog.

The proof knows nothing of the writer: what lies in the tier is read again, and compared with the source page by page.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import replace
from typing import Final

from storaged.catalog import summaries
from storaged.catalog.items import Item, codec_of, tier_of
from storaged.clock import timed
from storaged.codecs.base import Derives
from storaged.codecs.registry import codec, form
from storaged.errors import RefusedByGuard, UsageError, VerificationFailed
from storaged.model import IDENTITY, Fidelity, Origin
from storaged.stores.base import New
from storaged.work.context import Context
from storaged.work.location import current
from storaged.work.packs import OpenPacks
from storaged.work.rewrite.stage import (
    NOT_RECORDED,
    Staged,
    Timed,
    may_be_kept,
    metadata_of,
    opened,
    read_back,
    recheck,
)

ARCHIVED: Final = "another file of its table is read back before it counts, which an archive class does not allow"


def derives(item: Item) -> bool:
    """Whether an item becomes another file of its table."""
    return codec_of(item.to).fidelity is Fidelity.TABLE


def derive(context: Context, item: Item, *, executor: Executor | None = None, packs: OpenPacks | None = None) -> Staged:
    """Make another file of an object's table in the attempt's blob. `digest` of what is staged is the source's, and
    `encoded` tells of the new file what is stored.

    Raises as `stage` does; VerificationFailed also where the new file is not of the same table, NotTaken where the
    codec makes none of it.
    """
    p, tier, spec = item.seen.placement, tier_of(item.to), codec_of(item.to)
    maker = codec(spec.name)
    if tier is None or not isinstance(maker, Derives):
        raise UsageError(f"{spec} makes no other file of a table")
    store = context.tier(tier)
    with context.catalog.read() as conn:
        told = summaries.above(conn, item.seen.dataset_id, p.name)
    if told:
        raise RefusedByGuard(f"{p.name} stays as it is: {told} tells where in its bytes each row group is")
    if item.to.grace_us <= 0:
        raise RefusedByGuard(f"{p.name} stays as it is: its bytes would be kept for no time, and nothing undone")
    if not store.traits.at_once:
        raise RefusedByGuard(f"{p.name} stays as it is: {ARCHIVED}")
    may_be_kept(store, p.name)
    origin = Origin(
        context.identity.catalog, item.attempt, p.dataset, p.name, p.generation, current(item.seen).identity
    )
    with opened(context, item, packs) as source:
        metadata = metadata_of(context, item, source)
        new = New(item.attempt, mtime_us=p.mtime_us, size=p.size, origin=origin)
        with store.create(item.key, new) as upload:
            with timed("compress"):
                encoded = maker.derive(
                    Timed(source, source.size), upload.write, spec=spec, origin=origin, executor=executor
                )
            source.settle()
            if encoded.size != p.size or (p.digest and encoded.digest != p.digest):
                raise VerificationFailed(f"{p.name}: {NOT_RECORDED}")
            with timed("write"):
                made = replace(origin, size=encoded.stored_size, digest=encoded.stored_digest, mtime_us=p.mtime_us)
                stat = upload.commit(made)
            proven = upload.proven
        if not proven:
            read_back(store, item.key, stat, encoded)
        with timed("prove"), store.open(item.key, identity=stat.identity) as reader:
            maker.require_same(source, form(IDENTITY.name).open(reader), spec=spec)
        with timed("re-check"):
            recheck(context, item.seen, source.identity)
    return Staged(item.aim, IDENTITY.name, stat, encoded, metadata, encoded.digest, note=encoded.note, another=True)
