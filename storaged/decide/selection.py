"""What a policy makes of every object, as expressions: whether it looks at it, where it belongs, what holds it back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog import collections, summaries
from storaged.catalog.blobs import share_of
from storaged.catalog.schema import blobs, datasets, objects, replicas
from storaged.catalog.schema_totals import object_totals
from storaged.clock import LATEST
from storaged.codecs.registry import compresses
from storaged.config.settings import Limits
from storaged.decide import sql
from storaged.decide.evidence import Evidence
from storaged.decide.forecast.model import ForecastModel
from storaged.decide.guards import AT_ITS_KEY, GUARDS, TABLES, Now, guard, locked
from storaged.decide.kinds import BY_NAME, DENSE
from storaged.decide.packing import PackSpec, shrinks, unpackable
from storaged.decide.places import Prices
from storaged.decide.policy import Policy
from storaged.decide.rest import Rests
from storaged.decide.rooms import Room
from storaged.decide.sentence import price_of_undo
from storaged.decide.written import shrunk, written
from storaged.model import AUTO, IDENTITY, PACK, CodecSpec, Fidelity, ReplicaState
from storaged.stores.locks import FOREVER

__all__ = ["AT_ITS_KEY", "GUARDS", "NO_TEXT", "PLACED", "TABLES", "Inputs", "Selection"]

PLACED: Final[Mapping[str, str]] = {
    "summary": "a `_metadata` in a folder above it tells where in its bytes each row group is: another file of its "
    "table would not be read by that",
}
NO_TEXT: Final = sa.literal("", sa.Text())

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KindChoice:
    """The codec that `codec: auto` takes for a kind and why, in words; `identity`: what is of it stays as it is."""

    codec: str
    why: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a plan depends on besides the catalog's rows.

    `datasets`: the catalog's ids by name. `limits`: of policies that do not set their own. `ratios`: stored bytes over
    content bytes by (dataset, format, codec), where known. `classes`: the storage classes of the tiers, by name.
    `prices`: None where no tier has any. `spending_limit`: whether all policies together have one.
    `rooms`: tiers with a capacity, by id. `rests`: for how long what was moved does not go back. `aside`: guards that
    hold nothing back, as it would be if a person had seen to what they are there for. `choices`: what
    `codec: auto` takes, by (dataset, format); kinds that are not in it are left alone. `every`: of the objects each
    so many-th is looked at, for a quick answer about many; collections that move whole are looked at all the same.
    `summaries`: folders of which a `_metadata` tells, asked for where a policy makes other files of tables.
    `model`: that foretells reads, for `tier: auto`; `model_called`: how people call it, or why there is none. `waves`:
    ids of datasets over which a wave of reads goes, for the same. `only_back`: names of such policies of which what
    comes back to a hotter tier is planned, and nothing else.
    """

    evidence: Evidence
    datasets: Mapping[str, int]
    quiet_for_us: int
    grace_us: int
    limits: Limits = field(default_factory=Limits)
    ratios: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)
    prices: Prices | None = None
    spending_limit: bool = False
    rooms: Mapping[int, Room] = field(default_factory=dict)
    rests: Rests = field(default_factory=Rests)
    aside: frozenset[str] = frozenset()
    choices: Mapping[tuple[str, str], KindChoice] = field(default_factory=dict)
    every: int = 1
    model: ForecastModel | None = None
    model_called: str = ""
    summaries: summaries.Folders = ()
    waves: frozenset[int] = frozenset()
    only_back: frozenset[str] = frozenset()

    def about(self, policy: Policy) -> Inputs:
        """The same, for objects that this policy looks at: what differs between other datasets is no question then,
        which would be asked of each row."""
        ids = frozenset(number for name, number in self.datasets.items() if policy.target.takes(name))
        ratios = {kind: ratio for kind, ratio in self.ratios.items() if policy.target.takes(kind[0])}
        return replace(self, evidence=replace(self.evidence, asked=ids), ratios=ratios)


def where_words(policy: Policy) -> str:
    """A policy's `where:` as it was written, in one line."""
    return f"where {' '.join((policy.where or '').split())}"


def dense_words(kind: str) -> str:
    """Why a part of a collection of this kind stays in its form."""
    return f"part of {BY_NAME[kind].what}, whose program compresses or encrypts it"


def refused(wanted: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a codec, as `CodecSpec.asked` tells it with a space before and behind, did not take this generation of an
    object."""
    by = objects.c.no_gain_by.contains(wanted)
    return sa.func.coalesce(sa.and_(objects.c.no_gain == objects.c.generation, by), sa.false())


@dataclass(frozen=True, slots=True)
class Selection:
    """What one policy makes of an object, as expressions over `TABLES`."""

    policy: Policy
    inputs: Inputs

    def target(self) -> ColumnElement[bool]:
        """Whether the policy looks at the object at all: of the tier where its packs are, at what it would pack anew.
        Needs the objects table only."""
        parts = [self.of_datasets()]
        if self.inputs.every > 1 and self.policy.collections != "whole":
            parts.append(objects.c.id % self.inputs.every == 0)
        if self.policy.target.tier is not None:
            here = objects.c.tier_id == self.inputs.evidence.tiers[self.policy.target.tier]
            parts.append(here if (there := self._worn_there()) is None else sa.or_(here, objects.c.id.in_(there)))
        return sa.and_(*parts)

    def takes(self) -> ColumnElement[bool]:
        """Whether the policy would move the object, if nothing held it back."""
        holds = [condition.holds(self.inputs.evidence) for condition in self.policy.conditions.values()]
        return sa.and_(self.target(), *holds, self.where(), self.fits(), sa.not_(self.there_already()))

    def of_datasets(self) -> ColumnElement[bool]:
        """Whether it is there, in one of the datasets that the policy looks at."""
        there = sa.and_(objects.c.removed_us.is_(None), objects.c.tier_id.is_not(None))
        return sa.and_(sql.in_ids(objects.c.dataset_id, self._datasets()), there)

    def tiers(self) -> frozenset[int] | None:
        """Where what `target` takes may be; None: anywhere."""
        if self.policy.target.tier is None:
            return None
        named = (
            {self.policy.target.tier}
            if self.policy.to.packing is None
            else {self.policy.target.tier, self.policy.to.tier}
        )
        return frozenset(self.inputs.evidence.tiers[name] for name in named if name is not None)

    def _datasets(self) -> list[int]:
        return [number for name, number in self.inputs.datasets.items() if self.policy.target.takes(name)]

    def _worn_there(self) -> sa.Select[Any] | None:
        """The objects in worn packs of the tier that the policy packs into; None: it makes no packs in another one."""
        if self.policy.to.packing is None or self.policy.to.tier is None:
            return None
        member, pack = replicas.alias("packed_replica"), blobs.alias("worn_pack")
        inside = sa.and_(pack.c.id == member.c.blob_id, member.c.state == ReplicaState.CURRENT.value)
        found = sa.select(member.c.object_id).select_from(member.join(pack, inside))
        return found.where(pack.c.tier_id == self.tier(), pack.c.packed_bytes > 0, self.worn(pack))

    def looked_at(self) -> ColumnElement[int]:
        """How many objects the policy looks at."""
        held, tier = object_totals.c, self.policy.target.tier
        number = sa.select(sa.func.coalesce(sa.func.sum(held.objects), 0))
        number = number.where(sql.in_ids(held.dataset_id, self._datasets()), held.removed == 0)
        if tier is None:
            return number.where(held.tier_id.is_not(None)).scalar_subquery()
        number = number.where(held.tier_id == self.inputs.evidence.tiers[tier])
        if tier == self.policy.to.tier or (there := self._worn_there()) is None:
            return number.scalar_subquery()
        anew = sa.select(sa.func.count()).where(self.of_datasets(), objects.c.id.in_(there))
        return number.scalar_subquery() + anew.scalar_subquery()

    def where(self) -> ColumnElement[bool]:
        if self.policy.where is None:
            return sa.true()
        from storaged.decide.where import compile_where  # slow to import, and seldom needed

        return compile_where(self.policy.where, self.inputs.evidence)

    def tier(self) -> ColumnElement[int]:
        """The tier that the object shall be in."""
        name = self.policy.to.tier
        return objects.c.tier_id if name is None else sa.literal(self.inputs.evidence.tiers[name], sa.Integer())

    def codec(self) -> ColumnElement[str]:
        """The codec that the object shall have."""
        return self.as_it_is(objects.c.codec, self._codec())

    def as_it_is(self, kept: ColumnElement[T], wanted: ColumnElement[T]) -> ColumnElement[T]:
        """What is `wanted`, but for what stays in its form whatever its policy says, which has what it has `kept`."""
        return sa.case((self.dense(), kept), else_=wanted) if self.may_be_dense else wanted

    @property
    def may_be_dense(self) -> bool:
        """Whether parts of collections are asked for in a form that makes things smaller, each by itself."""
        wanted = self.policy.to.codec
        return wanted is not None and self.policy.collections == "ignore" and shrinks(wanted)

    def dense(self) -> ColumnElement[bool]:
        """Whether it is a part of what its program compresses or encrypts itself. Of packs it is a guard."""
        packs = self.policy.to.packing is not None
        return collections.of_kinds(DENSE) if self.may_be_dense and not packs else sa.false()

    def _codec(self) -> ColumnElement[str]:
        wanted = self.policy.to.codec
        if self.auto:
            of_kinds = [(kind, sa.literal(choice.codec, sa.Text())) for kind, choice in self._choices()]
            return sa.case((objects.c.codec != IDENTITY.name, objects.c.codec), *of_kinds, else_=objects.c.codec)
        return objects.c.codec if wanted is None else sa.literal(wanted.name, sa.Text())

    @property
    def auto(self) -> bool:
        """Whether samples choose the codec."""
        return self.policy.to.codec is not None and self.policy.to.codec.name == AUTO

    def _choices(self) -> Iterator[tuple[ColumnElement[bool], KindChoice]]:
        """Whether an object is of a kind, for each kind that this policy looks at and for which there is a choice."""
        for (dataset, kind), choice in sorted(self.inputs.choices.items()):
            if dataset in self.inputs.datasets and self.policy.target.takes(dataset):
                yield self._of_kind(dataset, kind), choice

    def _of_kind(self, dataset: str, kind: str) -> ColumnElement[bool]:
        return sa.and_(objects.c.dataset_id == self.inputs.datasets[dataset], objects.c.format == kind)

    def fits(self) -> ColumnElement[bool]:
        """Whether it is not too large for packs, where the policy makes some. What is left is for other policies."""
        packing = self.policy.to.packing
        return sa.true() if packing is None else objects.c.size <= sa.literal(packing.largest, sa.BigInteger())

    def there_already(self) -> ColumnElement[bool]:
        """Whether there is nothing to do: right tier and codec, or only compression is wanted and does not pay; in
        place: right storage class."""
        if self.policy.to.in_place:
            return sa.and_(AT_ITS_KEY, objects.c.raw_class == self.storage_class())
        formed = sa.or_(
            sa.and_(objects.c.codec == self.codec(), sa.not_(self.worn())), self._useless(), self._made_already()
        )
        return sa.and_(objects.c.tier_id == self.tier(), formed)

    def worn(self, pack: sa.FromClause = blobs) -> ColumnElement[bool]:
        """Whether it is in a pack of which so little is still somebody's that the policy packs that anew."""
        packing = self.policy.to.packing
        if packing is None:
            return sa.false()
        left = pack.c.live_bytes * sql.FINENESS < pack.c.packed_bytes * packing.repack_below
        return sa.func.coalesce(left, sa.false())

    def stored_bytes(self) -> ColumnElement[int]:
        """What it takes where it is; of a pack that is made anew, with its part of what is nobody's there any more."""
        return sa.case(
            (self.worn(), share_of(blobs.c.size, blobs.c.live_bytes, objects.c.size)), else_=objects.c.stored_bytes
        )

    def _useless(self) -> ColumnElement[bool]:
        """Whether compression is wanted, and this codec was asked for at this level before and did not take this
        generation."""
        wanted = self.policy.to.codec
        if self.auto:
            kinds = ((kind, choice.codec) for kind, choice in self._choices() if choice.codec != IDENTITY.name)
            return sa.or_(
                sa.false(), *(sa.and_(kind, refused(sa.literal(f" {name} ", sa.Text()))) for kind, name in kinds)
            )
        if wanted is None or isinstance(wanted, PackSpec) or not compresses(wanted):
            return sa.false()
        return refused(sa.literal(f" {wanted.asked} ", sa.Text()))

    def _made_already(self) -> ColumnElement[bool]:
        """Whether another file of its table is wanted, and it is one."""
        made = objects.c.edition != NO_TEXT
        return made if self.policy.to.fidelity is Fidelity.TABLE else sa.false()

    def storage_class(self) -> str:
        """The class that the object's tier shall give it in place."""
        return self.inputs.classes[str(self.policy.to.tier)]

    def locked(self) -> ColumnElement[bool]:
        """Whether the store refuses to delete the original now. NULL counts as false."""
        return locked(self.inputs.evidence.now_us)

    def frees_nothing(self) -> ColumnElement[bool]:
        """Whether the original could not be deleted after a move. NULL counts as false."""
        kept = sa.or_(sa.not_(datasets.c.conditional), objects.c.stuck.is_not(None))
        return sa.or_(self.locked(), sa.and_(AT_ITS_KEY, kept))

    def guard(self) -> ColumnElement[str]:
        """Which guard holds the object back, or that it rests, is in a pack that it would leave in a form that nobody
        named, is of no group, has a name that no tar gives back, or would be another file than a `_metadata` tells of;
        NULL: none."""
        now = Now(self.inputs.evidence.now_us, self.inputs.quiet_for_us)
        apart = self.policy.collections != "keep"
        asked = GUARDS.keys() - self.inputs.aside
        how = {"in_place": self.policy.to.in_place, "apart": apart, "encoded": self.policy.to.packing is not None}
        held = guard(now, tier=self.tier(), **how, asked=asked)
        lost = sa.false() if self.policy.group_by is None else self.policy.group_by.label().is_(None)
        packed = sa.and_(objects.c.codec == PACK, sa.true() if self.policy.to.codec is None else sa.false())
        odd = sa.false() if self.policy.to.packing is None else unpackable(objects.c.name)
        derived = self.policy.to.fidelity is Fidelity.TABLE
        placed = summaries.within(self.inputs.summaries) if derived else sa.false()
        others = {"rest": self._rests(), "packed": packed, "ungrouped": lost, "unpackable": odd, "summary": placed}
        return sa.func.coalesce(
            held, sa.case(*((holds, sa.literal(code, sa.Text())) for code, holds in others.items()))
        )

    def rests_until(self) -> ColumnElement[int]:
        """Until when the object does not go back to where it came from; NULL: it would not go back."""
        return self.inputs.rests.until(self.policy.rest, tier=self.tier(), codec=self.codec())

    def young_until(self) -> ColumnElement[int]:
        """Until when the object counts as modified too recently. Users may date a file as they like."""
        last = LATEST - self.inputs.quiet_for_us
        return sa.case((objects.c.mtime_us > last, LATEST), else_=objects.c.mtime_us + self.inputs.quiet_for_us)

    def _rests(self) -> ColumnElement[bool]:
        return self.rests_until() > self.inputs.evidence.now_us

    def _dated_ahead(self) -> ColumnElement[bool]:
        return objects.c.mtime_us > self.inputs.evidence.now_us

    def after_bytes(self) -> ColumnElement[int]:
        """What the new place is expected to take; the whole size where no ratio is known."""
        wanted = self.policy.to.codec
        if wanted is None:
            return written(self.policy)
        parts: list[tuple[ColumnElement[bool], ColumnElement[int]]] = [
            (self.frees_nothing(), objects.c.stored_bytes),
            (sa.or_(objects.c.codec == self.codec(), self._made_already()), written(self.policy)),
        ]
        if not isinstance(wanted, PackSpec):
            parts.append((self._useless(), objects.c.size))
        for (dataset, kind, codec), ratio in sorted(self.inputs.ratios.items()):
            if codec == self._codec_of(wanted, dataset, kind) and dataset in self.inputs.datasets:
                known = self._of_kind(dataset, kind)
                parts.append((known, shrunk(self.policy, objects.c.size * round(ratio * sql.FINENESS) // sql.FINENESS)))
        return sa.case(*parts, else_=shrunk(self.policy, objects.c.size) if shrinks(wanted) else objects.c.size)

    def _codec_of(self, wanted: CodecSpec, dataset: str, kind: str) -> str:
        """The codec that objects of a kind shall have; empty: none is chosen for it."""
        if not self.auto:
            return wanted.name
        choice = self.inputs.choices.get((dataset, kind))
        return "" if choice is None else choice.codec

    def reason(self) -> ColumnElement[str]:
        """Why the object was selected: each condition's words, and `where:` as it was written; until when it is locked,
        rests, could not be deleted, or waits because it is dated ahead; why a codec did not take it; and of a change in
        place, what undoing it costs."""
        parts: list[str | ColumnElement[Any]] = []
        for condition in self.policy.conditions.values():
            parts += ["; " if parts else "", condition.reason(self.inputs.evidence)]
        if self.policy.where is not None:
            parts += ["; " if parts else "", where_words(self.policy)]
        until = sa.case(
            (objects.c.locked_until_us >= FOREVER, sa.literal("its legal hold is lifted", sa.Text())),
            else_=sql.instant(objects.c.locked_until_us),
        )
        chosen = [(kind, sa.literal(f"; {AUTO}: {choice.why}", sa.Text())) for kind, choice in self._choices()]
        if self.auto and chosen:
            parts.append(sa.case((objects.c.codec != IDENTITY.name, NO_TEXT), *chosen, else_=NO_TEXT))
        left = sql.words("; of its pack ", blobs.c.live_bytes * 100 // blobs.c.packed_bytes, " % are left")
        rests = sql.words("; rests until ", sql.instant(self.rests_until()))
        dated = sql.instant(objects.c.mtime_us)
        ahead = sql.words("; modified at ", dated, ", which is to come: waits until ", sql.instant(self.young_until()))
        told = sa.and_(self._useless(), objects.c.not_taken.is_not(None))
        kept_there = sa.and_(AT_ITS_KEY, objects.c.stuck.is_not(None))
        named = {name: sa.literal(f"; stays in its form: {dense_words(name)}", sa.Text()) for name in DENSE}
        seldom = (
            *([(self.dense(), sa.case(named, value=collections.of_object("kind")))] if self.may_be_dense else []),
            (self.worn(), left),
            (self._rests(), rests),
            (self._dated_ahead(), ahead),
            (self.locked(), sql.words("; locked until ", until, ": nothing would be freed")),
            (told, sql.words("; ", objects.c.not_taken)),
            (kept_there, sql.words("; ", objects.c.stuck)),
        )
        said = sql.words(*(sa.case((holds, words), else_=NO_TEXT) for holds, words in seldom))
        parts.append(sa.case((sa.or_(*(holds for holds, _ in seldom)), said), else_=NO_TEXT))
        return sql.words(*parts, *self.undo_words())

    def undo_words(self) -> tuple[str | ColumnElement[Any], ...]:
        """What the undo of a change in place is billed for, for the end of a reason."""
        if not self.policy.to.in_place:
            return ()
        return ("; undo: ", *price_of_undo(self.storage_class(), objects.c.raw_class))
