"""Blobs whose content is made again by encoders of other libraries: whether those here still make the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema import blobs, datasets, objects, replicas, tiers
from storaged.codecs.base import Codec, Remade
from storaged.codecs.registry import CODECS
from storaged.errors import StoreError, VerificationFailed
from storaged.model import BlobState, ReplicaState
from storaged.stores.base import Store
from storaged.work.context import Context
from storaged.work.doctor.base import Finding, FindingKind, Severity, our_tiers

ASKED: Final = 20  # blobs of a dataset in a tier that are asked what they need; their ids are random

ENCODER_CHANGED = FindingKind(
    "encoder-changed",
    Severity.ERROR,
    "The content of blobs is made again by a library that makes other bytes here than when they were written: reads of "
    "it under its old name are refused. Nothing is lost: other programs read the blobs, and with that version the old "
    "files come back.",
    "Install the version that it names, wherever storaged runs. To need it no more, with that version: "
    "`storagectl restage {object} --tier {tier}` stores plain bytes.",
)
ENCODER_UNLIKE = FindingKind(
    "encoder-unlike",
    Severity.INFO,
    "A library here makes other bytes than the version that storaged is released with: what is written here is read "
    "here, and may not be where the other one is installed.",
    "Nothing, if all machines have the same. Else install what requirements.txt names.",
)


def encoders(context: Context, codecs: Mapping[str, Codec] = CODECS) -> Iterator[Finding]:
    """Some blobs of each dataset, and the libraries here."""
    for name, codec in codecs.items():
        if isinstance(codec, Remade) and (places := _places(context, name)):
            for library in codec.unlike():
                yield ENCODER_UNLIKE.found("installation", f"{library}, which codec {name} uses")
            for tier, store in our_tiers(context):
                for dataset, count in places.get(tier, {}).items():
                    yield from _asked(context, codec, store, (name, tier, dataset), count)


def _asked(context: Context, codec: Remade, store: Store, where: tuple[str, str, str], count: int) -> Iterator[Finding]:
    """A finding for each library that blobs of one codec, tier and dataset lack."""
    name, tier, dataset = where
    lacking: dict[str, list[str]] = {}
    asked = 0
    for key, of in _some(context, name, tier, dataset):
        try:
            with store.open(key) as reader:
                needed = codec.lacks(reader)
        except (StoreError, VerificationFailed):  # gone, in an archive class, or damaged: other checks and verify tell
            continue
        asked += 1
        for library in needed:
            lacking.setdefault(library, []).append(of)
    for library, those in sorted(lacking.items()):
        which = f"{len(those)} of {asked} blobs that were asked, of {count:,} in {tier}"
        says = f"{which}, need {library}; one of them holds {those[0]}"
        yield ENCODER_CHANGED.found(f"dataset:{dataset}", says, object=those[0], tier=tier)


def _some(context: Context, codec: str, tier: str, dataset: str) -> list[tuple[str, str]]:
    """Keys of some live blobs, each with an object whose content it holds."""
    query = (
        sa.select(blobs.c.key, objects.c.name)
        .select_from(blobs)
        .join(tiers, tiers.c.id == blobs.c.tier_id)
        .join(datasets, datasets.c.id == blobs.c.dataset_id)
        .join(replicas, replicas.c.blob_id == blobs.c.id)
        .join(objects, objects.c.id == replicas.c.object_id)
        .where(blobs.c.codec == codec, blobs.c.state == BlobState.LIVE.value)
        .where(tiers.c.name == tier, datasets.c.name == dataset, replicas.c.state == ReplicaState.CURRENT.value)
        .order_by(blobs.c.id)
        .limit(ASKED)
    )
    with context.catalog.read() as conn:
        return [(row.key, f"{dataset}/{row.name}") for row in conn.execute(query)]


def _places(context: Context, codec: str) -> dict[str, dict[str, int]]:
    """How many live blobs of a codec each dataset has in each tier."""
    query = (
        sa.select(tiers.c.name.label("tier"), datasets.c.name.label("dataset"), sa.func.count().label("blobs"))
        .select_from(blobs)
        .join(tiers, tiers.c.id == blobs.c.tier_id)
        .join(datasets, datasets.c.id == blobs.c.dataset_id)
        .where(blobs.c.codec == codec, blobs.c.state == BlobState.LIVE.value)
        .group_by(tiers.c.name, datasets.c.name)
        .order_by(tiers.c.name, datasets.c.name)
    )
    found: dict[str, dict[str, int]] = {}
    with context.catalog.read() as conn:
        for row in conn.execute(query):
            found.setdefault(row.tier, {})[row.dataset] = row.blobs
    return found


KINDS: Final = (ENCODER_CHANGED, ENCODER_UNLIKE)
