"""What compressing would gain, for plans: read samples of a few objects of each kind. Writes nothing anywhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

import sqlalchemy as sa

from storaged.catalog import collections, placements, refused
from storaged.catalog.among import among
from storaged.catalog.refused import Refused
from storaged.catalog.schema import datasets, objects
from storaged.catalog.schema_totals import object_totals
from storaged.codecs.base import Content
from storaged.codecs.pack import LEVEL, Member, Packer, why_not
from storaged.codecs.registry import Choice, Sampled, choose, preferred, sampled
from storaged.decide.kinds import DENSE
from storaged.decide.packing import PackSpec, shrinks
from storaged.decide.planner import in_order
from storaged.decide.policy import LoadedPolicy, Policy
from storaged.decide.selection import KindChoice
from storaged.errors import StoreError
from storaged.model import AUTO, IDENTITY, PACK, Origin
from storaged.work.content import open_current
from storaged.work.context import Context
from storaged.work.plan.make import Choices, Kind, Ratios

T = TypeVar("T")

PER_KIND: Final = 5  # objects read of every (dataset, format), the largest: they weigh most
MANY: Final = 1_000  # objects of a kind, not all of which are put in order to find the largest
KINDS: Final = 50  # of so many at most
NEIGHBOURS: Final = 64  # objects read of each where packs are made
BEGIN: Final = 256 << 10  # bytes read of each of these at most
IN_ALL: Final = 1 << 20  # of a kind, or a little more


@dataclass(frozen=True, slots=True)
class Sampling:
    """What samples tell, by kind, for `make_plan`. `ratios`: stored bytes over content bytes that compression would
    reach; `not_taken`: how many samples their codec does not take, and why of one of them, in words, if there are any;
    `passed`: kinds of which it takes none, so that the ratio is another codec's, or 1. `choices`: for `codec: auto`.
    `encrypted`: samples that no codec takes, whatever others of their kind come to.
    """

    ratios: Ratios
    not_taken: Mapping[Kind, str]
    passed: frozenset[Kind] = frozenset()
    choices: Choices = field(default_factory=dict)
    encrypted: tuple[Refused, ...] = ()


def sample_kinds(
    context: Context, policies: Iterable[LoadedPolicy], *, only: tuple[str, str] | None = None
) -> Sampling:
    """Sample the plain objects that these policies' targets name; `only`: of one kind (dataset, format). What does not
    shrink enough has ratio 1, for it is stored as it is; an object that cannot be read is left out. The first policy
    that wants a kind sets the level.
    """
    found = _Found({}, {}, set(), {})
    largest: dict[tuple[str, ...], dict[tuple[str, str], list[int]]] = {}
    for loaded in in_order(policies):
        wanted = loaded.policy.to.codec
        if isinstance(wanted, PackSpec):
            found.ratios.update(list(_of_packs(context, loaded.policy, wanted, found.ratios)))
            continue
        if wanted is None or not shrinks(wanted):
            continue
        names = tuple(name for name in context.datasets if loaded.policy.target.takes(name))
        if names not in largest:
            largest[names] = _largest(context, loaded.policy)
        for kind, ids in largest[names].items():
            if only not in (None, kind):
                continue
            if wanted.name == AUTO:
                found.choose(kind, _asked(context, ids, choose))
            elif (*kind, wanted.name) not in found.ratios:
                found.note(kind, wanted.name, list(_asked(context, ids, partial(sampled, wanted))))
    return Sampling(found.ratios, found.not_taken, frozenset(found.passed), found.choices, tuple(found.encrypted))


def remember(context: Context, told: Sampling) -> None:
    """Plans know from now on which of the samples are encrypted, as if a worker had looked at them."""
    if told.encrypted:
        with context.catalog.begin() as conn:
            refused.note(conn, told.encrypted)


def sample_auto(context: Context, policies: Iterable[LoadedPolicy], *, only: tuple[str, str] | None = None) -> Sampling:
    """The same of policies with `codec: auto` alone, which do nothing without it."""
    mine = (p for p in policies if p.policy.to.codec is not None and p.policy.to.codec.name == AUTO)
    return sample_kinds(context, mine, only=only)


def refusals(context: Context, policies: Iterable[LoadedPolicy], dataset: str, name: str) -> dict[str, str]:
    """Of the codecs that these policies name those for which this object would stay as it is, as `CodecSpec.asked` has
    them, and why, in words. None of what is in a blob, gone, or not readable now."""
    mine = [p.policy.to.codec for p in in_order(policies) if p.policy.target.takes(dataset)]
    wanted = [c for c in mine if c is not None and not isinstance(c, PackSpec) and c.name != AUTO and shrinks(c)]
    with context.catalog.read() as conn:
        seen = placements.find(conn, dataset, name) if wanted else None
    if seen is None or not seen.placement.exists or seen.placement.current is not None:
        return {}
    try:
        with open_current(context, seen) as content:
            told = [sampled(spec, content) for spec in wanted]
            return {one.asked.asked: one.not_taken for one in told if not one.sample.taken}
    except StoreError:
        return {}


class _Asked(NamedTuple):
    """A sample: which it is, its name, and the bytes that it takes, at least one."""

    id: int
    generation: int
    name: str
    weight: int


@dataclass(frozen=True, slots=True)
class _Found:
    """What was sampled so far."""

    ratios: dict[Kind, float]
    not_taken: dict[Kind, str]
    passed: set[Kind]
    choices: dict[tuple[str, str], KindChoice]
    encrypted: list[Refused] = field(default_factory=list)

    def note(self, kind: tuple[str, str], codec: str, told: Sequence[tuple[_Asked, Sampled]]) -> None:
        """What a codec says of the samples of a kind, each by what it takes: a hole weighs nothing."""
        if not told:
            return
        sealed = [(p, one) for p, one in told if one.encrypted]
        self.encrypted.extend(Refused(p.id, p.generation, one.asked.asked, one.not_taken) for p, one in sealed)
        told = [pair for pair in told if pair not in sealed] or told  # these are told one by one
        stored = sum(p.weight * (one.sample.ratio if one.sample.taken else 1.0) for p, one in told)
        self.ratios[*kind, codec] = stored / sum(p.weight for p, _ in told)
        refused = [(p.name, one.not_taken) for p, one in told if one.not_taken]
        if refused:
            name, why = refused[0]
            self.not_taken[*kind, codec] = f"{len(refused)} of {len(told)}, such as {name}: {why}"
        if len(refused) == len(told):
            self.passed.add((*kind, codec))

    def choose(self, kind: tuple[str, str], samples: Iterable[tuple[_Asked, Choice]]) -> None:
        """The codec that the samples of a kind are best off with, by what each codec says of them."""
        chosen = list(samples)
        if not chosen or kind in self.choices:
            return
        for codec in chosen[0][1].tried:
            if (*kind, codec) not in self.ratios:
                self.note(kind, codec, [(p, one.tried[codec]) for p, one in chosen])
        taken = (c for c in chosen[0][1].tried if (*kind, c) not in self.passed)
        ratios = {codec: self.ratios[*kind, codec] for codec in taken}
        name = preferred(ratios)
        if name:
            words = f"{name} leaves {ratios[name]:.0%} of {len(chosen)} sampled"
            self.choices[kind] = KindChoice(name, words)
        else:
            self.choices[kind] = KindChoice(IDENTITY.name, f"{chosen[0][0].name}: {chosen[0][1].why}")


def _of_packs(
    context: Context, policy: Policy, packing: PackSpec, known: Mapping[Kind, float]
) -> Iterator[tuple[Kind, float]]:
    """What packs of each kind would come to: some neighbours are packed, as they would be, for members are compressed
    together. Of each no more than its begin is read, and so many that a few frames are full."""
    for (dataset, kind), ids in _neighbours(context, policy, packing).items():
        if (dataset, kind, PACK) in known:
            continue
        content = 0
        with _packer(packing) as packer:
            for name, data in _begins(context, ids):
                packer.put(Member(name, len(data)), data)
                content += len(data)
            if content:
                yield (dataset, kind, PACK), (packer.finish().stored_size - _ending(packing)) / content


def _packer(packing: PackSpec) -> Packer:
    """A pack that is written nowhere."""
    return Packer(lambda _: None, level=packing.level or LEVEL, origin=Origin("", "", "", "", 0, ""))


def _ending(packing: PackSpec) -> int:
    """Bytes that a pack has whatever is in it: next to those of a few members they would seem much."""
    with _packer(packing) as packer:
        return packer.finish().stored_size


def _begins(context: Context, ids: list[int]) -> Iterator[tuple[str, bytes]]:
    """Names and begins of these objects, those that can be read and that a pack takes."""
    with context.catalog.read() as conn:
        held = placements.load(conn, ids)
    left = IN_ALL
    for one in sorted(held.values(), key=lambda h: h.placement.name):
        if left <= 0:
            return
        with contextlib.suppress(StoreError), open_current(context, one) as content:
            data = content.read_at(0, min(content.size, BEGIN))
            if not why_not(Member(one.placement.name, len(data))):
                left -= len(data)
                yield one.placement.name, data


def _neighbours(context: Context, policy: Policy, packing: PackSpec) -> dict[tuple[str, str], list[int]]:
    """By kind, of the objects that a pack takes some that follow one another, in the middle."""
    kind = (objects.c.dataset_id, objects.c.format)
    place = sa.func.row_number().over(partition_by=kind, order_by=objects.c.name)
    count = sa.func.count().over(partition_by=kind)
    near = place - sa.case((count > NEIGHBOURS, (count - NEIGHBOURS) // 2), else_=0)
    ranked = _plain(context, policy, near.label("place")).where(objects.c.size <= packing.largest).subquery()
    return _by_kind(context, ranked, sa.and_(ranked.c.place > 0, ranked.c.place <= NEIGHBOURS))


def _largest(context: Context, policy: Policy) -> dict[tuple[str, str], list[int]]:
    """By kind, the largest objects: they weigh most. Of kinds with many, what takes less than their mean is put in no
    order, unless too few take more."""
    kind = (objects.c.dataset_id, objects.c.format)
    place = sa.func.row_number().over(partition_by=kind, order_by=(objects.c.stored_bytes.desc(), objects.c.name))
    plain = _plain(context, policy, place.label("place"))

    def ranked(which: sa.ColumnElement[bool]) -> dict[tuple[str, str], list[int]]:
        rows = plain.where(which).subquery()
        return _by_kind(context, rows, rows.c.place <= PER_KIND)

    means = _means(context)
    are = {key: sa.and_(datasets.c.name == key[0], objects.c.format == key[1]) for key in means}
    least = sa.case(*((are[key], mean) for key, mean in means.items()), else_=0) if means else sa.literal(0)
    found = ranked(objects.c.stored_bytes >= least)
    few = [are[key] for key in means if len(found.get(key, ())) < PER_KIND]
    return found | ranked(sa.or_(*few)) if few else found


def _means(context: Context) -> dict[tuple[str, str], int]:
    """Bytes that a plain object of the largest kinds takes on the average, of kinds with MANY or more."""
    c = object_totals.c
    number = sa.func.sum(c.objects)
    query = sa.select(datasets.c.name, c.format, sa.func.sum(c.stored_bytes), number)
    query = query.join(datasets, datasets.c.id == c.dataset_id).where(c.codec == IDENTITY.name, c.removed == 0)
    query = query.group_by(datasets.c.name, c.format).having(number >= MANY).order_by(number.desc()).limit(KINDS)
    with context.catalog.read() as conn:
        return {(dataset, form): int(stored) // int(count) for dataset, form, stored, count in conn.execute(query)}


def _plain(context: Context, policy: Policy, place: sa.ColumnElement[int]) -> sa.Select[Any]:
    """The plain objects that a policy's target names, with their `place`."""
    names = [name for name in context.datasets if policy.target.takes(name)]
    return (
        sa.select(datasets.c.name.label("dataset"), objects.c.format, objects.c.id, place)
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .where(
            datasets.c.name.in_(names),
            objects.c.removed_us.is_(None),
            objects.c.codec == IDENTITY.name,
            objects.c.size > 0,
            ~collections.of_kinds(DENSE),
        )
    )


def _by_kind(context: Context, ranked: sa.Subquery, which: sa.ColumnElement[bool]) -> dict[tuple[str, str], list[int]]:
    found: dict[tuple[str, str], list[int]] = {}
    with context.catalog.read() as conn:
        for row in conn.execute(sa.select(ranked).where(which).order_by(ranked.c.id)):
            found.setdefault((row.dataset, row.format), []).append(row.id)
    return found


def _asked(context: Context, ids: list[int], ask: Callable[[Content], T]) -> Iterator[tuple[_Asked, T]]:
    """What is said of the content of these objects, those that can be read."""
    taken = sa.select(objects.c.id, objects.c.stored_bytes).where(among(objects.c.id, ids))
    with context.catalog.read() as conn:
        held = placements.load(conn, ids)
        weights = {row.id: row.stored_bytes for row in conn.execute(taken)}
    for one in held.values():
        try:
            with open_current(context, one) as content:
                said = ask(content)
        except StoreError:  # changed, gone or not readable: the next scan tells, this is only an estimate
            continue
        yield _Asked(one.id, one.placement.generation, one.placement.name, max(weights.get(one.id, 0), 1)), said
