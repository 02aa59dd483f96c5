"""Rest: what was moved is not moved back by a policy for some time, whatever its conditions say.

Back is against the direction of its last move (up after down, down after up), and within a tier into the codec that it
had. A policy's own `rest` holds as it is written; without one it is that of storaged.yaml, or the minimum duration of
the class that the object would leave, whichever is longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import objects
from storaged.catalog.schema_moves import moves
from storaged.clock import DAY

REST: Final[Mapping[str, str]] = {
    "rest": "it would go back where it came from, and rests (rest, or the minimum duration of its storage class)"
}


@dataclass(frozen=True, slots=True)
class Rests:
    """`rest_us`: of storaged.yaml. `ranks` of all tiers, and the `minimum_days` that they bill, by tier id."""

    rest_us: int = 0
    ranks: Mapping[int, int] = field(default_factory=dict)
    minimum_days: Mapping[int, int] = field(default_factory=dict)

    def us(self, own_us: int | None) -> dict[int, int]:
        """For how long an object rests that came to a tier, by its id. `own_us`: what the policy says."""
        if own_us is not None:
            return dict.fromkeys(self.ranks, own_us)
        return {tier_id: max(self.rest_us, self.minimum_days.get(tier_id, 0) * DAY) for tier_id in self.ranks}

    def until(self, own_us: int | None, *, tier: ColumnElement[int], codec: ColumnElement[str]) -> ColumnElement[int]:
        """Until when an object rests that would go to a tier in a codec; NULL: it would not go back."""
        here = objects.c.tier_id
        rests = {tier_id: us for tier_id, us in self.us(own_us).items() if us}
        if not rests:
            return sa.cast(sa.null(), sa.BigInteger())
        now, then, came = (self._rank(number) for number in (here, tier, moves.c.tier_id))
        back = sa.or_(
            sa.and_(came < now, then < now),
            sa.and_(came > now, then > now),
            sa.and_(tier == here, codec == moves.c.codec, codec != objects.c.codec),
        )
        rest = sa.case(*((here == tier_id, sa.literal(us, sa.BigInteger())) for tier_id, us in rests.items()))
        query = sa.select(moves.c.at_us + rest).where(
            moves.c.object_id == objects.c.id, moves.c.generation == objects.c.generation, back
        )
        return query.correlate_except(moves).scalar_subquery()

    def _rank(self, tier: ColumnElement[Any]) -> ColumnElement[int]:
        return sa.case(*((tier == number, sa.literal(rank, sa.Integer())) for number, rank in self.ranks.items()))
