"""What compressing would gain, for plans: read samples of a few objects of each kind. Writes nothing anywhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa

from storaged.catalog import placements
from storaged.catalog.schema import datasets, objects
from storaged.codecs.registry import compresses, sampled
from storaged.decide.planner import in_order
from storaged.decide.policy import LoadedPolicy, Policy
from storaged.errors import StoreError
from storaged.model import IDENTITY, CodecSpec
from storaged.work.content import open_current
from storaged.work.context import Context
from storaged.work.plan import Ratios

PER_KIND: Final = 5  # objects read of every (dataset, format), the largest: they weigh most


def sample_ratios(context: Context, policies: Iterable[LoadedPolicy]) -> Ratios:
    """Stored bytes over content bytes that compression would reach, by (dataset, format, codec), for `make_plan`.

    Of the plain objects that these policies' targets name. What does not shrink enough counts as 1, for it is stored
    as it is; an object that cannot be read is left out. The first policy that wants a kind sets the level.
    """
    found: dict[tuple[str, str, str], float] = {}
    for loaded in in_order(policies):
        wanted = loaded.policy.to.codec
        if wanted is None or not compresses(wanted):
            continue
        for (dataset, kind), ids in _largest(context, loaded.policy).items():
            if (dataset, kind, wanted.name) not in found:
                ratio = _ratio(context, ids, wanted)
                if ratio is not None:
                    found[dataset, kind, wanted.name] = ratio
    return found


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


def _ratio(context: Context, ids: list[int], wanted: CodecSpec) -> float | None:
    with context.catalog.read() as conn:
        held = placements.load(conn, ids)
    size = stored = 0.0
    for one in held.values():
        try:
            with open_current(context, one) as content:
                _, told = sampled(wanted, content)
        except StoreError:  # changed, gone or not readable: the next scan tells, this is only an estimate
            continue
        size += one.placement.size
        stored += one.placement.size * (told.ratio if told.taken else 1.0)
    return stored / size if size else None
