"""What a job does to each of its objects, as values: to a tier, into a pack there, back to the root, or another class
where it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from storaged.catalog.placements import Seen
from storaged.catalog.schema import job_items, tiers
from storaged.codecs.registry import key_of
from storaged.model import IDENTITY, PACK, CodecSpec, Fidelity


@dataclass(frozen=True, slots=True)
class ToTier:
    """A rewrite: a new replica in a tier. `allow_loss`: names of metadata that may be lost, see Store.not_restorable.
    `purge`: when its source is released, the source's older versions go too. `apart`: it may be a part of a collection.
    """

    tier: str
    codec: CodecSpec
    grace_us: int
    allow_loss: frozenset[str] = frozenset()
    purge: bool = False
    apart: bool = False


@dataclass(frozen=True, slots=True)
class IntoPack(ToTier):
    """A rewrite of an object as a member of the pack that its job makes."""


@dataclass(frozen=True, slots=True)
class ToRoot:
    """A return to the original key, as plain bytes."""

    grace_us: int


@dataclass(frozen=True, slots=True)
class InPlace:
    """A transition: another storage class at the original key. `apart` as in `ToTier`; nothing is superseded, so that
    its grace only says how long its job is kept."""

    storage_class: str
    grace_us: int = 0
    apart: bool = False


To = ToTier | ToRoot | InPlace


@dataclass(frozen=True, slots=True)
class NewItem:
    """One object that a job shall be made for, as it was read. `expected`: what its new place is expected to take
    (bytes); None: as many as its content has. `name`: for messages."""

    object_id: int
    version: int
    size: int
    to: To
    name: str = ""
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a claimed job, with the attempt that may write it, or change its storage class where it is."""

    seen: Seen
    attempt: str
    to: To
    key: str
    note: str = ""  # why it is not stored in the codec that was asked for, in words

    @property
    def aim(self) -> Aim:
        """What of it its swap needs."""
        return Aim(self.seen.id, self.seen.version, self.attempt, self.to, self.note)


class Aim(NamedTuple):  # not a dataclass: there is one for each member of a pack
    """An object at the version that it was claimed at, and what an attempt was to make of it. `note` as an item's."""

    id: int
    version: int
    attempt: str
    to: To
    note: str = ""


def tier_of(to: To) -> str | None:
    """The tier that something goes to; None: it goes to its original key, or stays there."""
    return to.tier if isinstance(to, ToTier) else None


def codec_of(to: To) -> CodecSpec:
    """What is stored there: at an original key always the content as it is."""
    return to.codec if isinstance(to, ToTier) else IDENTITY


def encodes(to: To) -> bool:
    """Whether what is stored there is not the content as it is."""
    return isinstance(to, IntoPack) or codec_of(to).name != IDENTITY.name


def stored_as(spec: CodecSpec) -> str:
    """How a blob is read that this codec makes of an object: another file of the same table as it is."""
    return spec.name if spec.fidelity is Fidelity.BYTES else IDENTITY.name


def key_at(to: To, name: str, attempt: str, dataset: str, pack: str = "") -> str:
    """The key that an attempt at an object works on; of the members of a pack one key, called after the pack."""
    if not isinstance(to, ToTier):
        return name
    of = pack if isinstance(to, IntoPack) else name
    return key_of(of, attempt, dataset=dataset, codec_name=to.codec.name)


def columns(to: To, tiers: Mapping[str, int]) -> dict[str, Any]:
    """The columns of `job_items` that tell it; `tiers` gives their numbers."""
    tier, codec = tier_of(to), codec_of(to)
    moved = to if isinstance(to, ToTier) else None
    return {
        "tier_id": None if tier is None else tiers[tier],
        "codec": codec.name,
        "level": codec.level,
        "fidelity": codec.fidelity.value,
        "reencode": codec.reencode,
        "grace_us": to.grace_us,
        "allow_loss": json.dumps(sorted(moved.allow_loss if moved else ())),
        "storage_class": to.storage_class if isinstance(to, InPlace) else None,
        "purge": moved.purge if moved else False,
        "apart": False if isinstance(to, ToRoot) else to.apart,
    }


# What `of_row` reads, and all else of a job's items.
ROWS: Final = sa.select(job_items, tiers.c.name.label("tier")).outerjoin(tiers, tiers.c.id == job_items.c.tier_id)


_i: Final = job_items.c
TOLD: Final = (  # what `of_columns` takes
    *(_i.storage_class, tiers.c.name.label("tier"), _i.codec, _i.level, _i.fidelity, _i.reencode, _i.grace_us),
    *(_i.allow_loss, _i.purge, _i.apart),
)


def of_row(row: Any) -> To:
    """What a row of `ROWS` tells."""
    return of_columns(*_told(row))


_told = attrgetter(*(column.name for column in TOLD))


@lru_cache(maxsize=64)  # those of a job are alike
def of_columns(
    storage_class: str | None,
    tier: str | None,
    codec_name: str,
    level: int | None,
    fidelity: str,
    reencode: bool,
    grace_us: int,
    allow_loss: str,
    purge: bool,
    apart: bool,
) -> To:
    """What these columns of a job's item tell."""
    if storage_class is not None:
        return InPlace(storage_class, grace_us, apart)
    if tier is None:
        return ToRoot(grace_us)
    codec, loss = CodecSpec(codec_name, level, Fidelity(fidelity), reencode), frozenset(json.loads(allow_loss))
    moved = IntoPack if codec.name == PACK else ToTier
    return moved(tier, codec, grace_us, loss, purge, apart)
