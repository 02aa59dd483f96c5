"""What compressing would gain, for plans: read samples of a few objects of each kind. Writes nothing anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from storaged.catalog import placements
from storaged.catalog.schema import datasets, objects
from storaged.codecs.registry import Sampled, compresses, sampled
from storaged.decide.packing import Packing
from storaged.decide.planner import in_order
from storaged.decide.policy import LoadedPolicy, Policy
from storaged.errors import StoreError
from storaged.model import IDENTITY, CodecSpec, Placement
from storaged.work.content import open_current
from storaged.work.context import Context
from storaged.work.plan.make import Kind, Ratios

PER_KIND: Final = 5  # objects read of every (dataset, format), the largest: they weigh most


@dataclass(frozen=True, slots=True)
class Sampling:
    """What samples tell, by kind, for `make_plan`. `ratios`: stored bytes over content bytes that compression would
    reach; `not_taken`: how many samples their codec does not take, and why of one of them, in words, if there are any.
    """

    ratios: Ratios
    not_taken: Mapping[Kind, str]


def sample_kinds(context: Context, policies: Iterable[LoadedPolicy]) -> Sampling:
    """Sample the plain objects that these policies' targets name. What does not shrink enough has ratio 1, for it is
    stored as it is; an object that cannot be read is left out. The first policy that wants a kind sets the level.
    """
    ratios: dict[Kind, float] = {}
    not_taken: dict[Kind, str] = {}
    for loaded in in_order(policies):
        wanted = loaded.policy.to.codec
        if wanted is None or isinstance(wanted, Packing) or not compresses(wanted):
            continue
        for (dataset, kind), ids in _largest(context, loaded.policy).items():
            if (dataset, kind, wanted.name) in ratios:
                continue
            found = list(_sampled(context, ids, wanted))
            if not found:
                continue
            stored = sum(p.size * (told.sample.ratio if told.sample.taken else 1.0) for p, told in found)
            ratios[dataset, kind, wanted.name] = stored / sum(p.size for p, _ in found)
            refused = [(p.name, told.not_taken) for p, told in found if told.not_taken]
            if refused:
                name, why = refused[0]
                words = f"{len(refused)} of {len(found)}, such as {name}: {why}"
                not_taken[dataset, kind, wanted.name] = words
    return Sampling(ratios, not_taken)


def _largest(context: Context, policy: Policy) -> dict[tuple[str, str], list[int]]:
    names = [name for name in context.datasets if policy.target.takes(name)]
    kind = (objects.c.dataset_id, objects.c.format)
    place = sa.func.row_number().over(partition_by=kind, order_by=(objects.c.size.desc(), objects.c.name))
    ranked = (
        sa.select(datasets.c.name.label("dataset"), objects.c.format, objects.c.id, place.label("place"))
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .where(
            datasets.c.name.in_(names),
            objects.c.removed_us.is_(None),
            objects.c.codec == IDENTITY.name,
            objects.c.size > 0,
        )
        .subquery()
    )
    found: dict[tuple[str, str], list[int]] = {}
    with context.catalog.read() as conn:
        for row in conn.execute(sa.select(ranked).where(ranked.c.place <= PER_KIND).order_by(ranked.c.id)):
            found.setdefault((row.dataset, row.format), []).append(row.id)
    return found


def _sampled(context: Context, ids: list[int], wanted: CodecSpec) -> Iterator[tuple[Placement, Sampled]]:
    """What a codec says of these objects, those that can be read."""
    with context.catalog.read() as conn:
        held = placements.load(conn, ids)
    for one in held.values():
        try:
            with open_current(context, one) as content:
                yield one.placement, sampled(wanted, content)
        except StoreError:  # changed, gone or not readable: the next scan tells, this is only an estimate
            continue
