"""Conditions on the tier that an object is in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import PlainValidator, TypeAdapter, WithJsonSchema
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import objects
from storaged.config.quantities import Percent, parse_percent
from storaged.decide import sql
from storaged.decide.conditions.base import Condition, Told
from storaged.decide.evidence import Evidence, Window

HIGH: Final = "high"


def _share(value: object) -> float | str:
    return HIGH if value == HIGH else parse_percent(value)


def _percent(share: float) -> str:
    return f"{share * 100:.4g}%"


class TierFullAbove(Condition):
    """What its tier stores is more than this share of the tier's capacity; `high`: than the tier's own high mark. A
    tier without a capacity is never full. Such a policy empties the tier, the coldest objects first, down to its low
    mark and no further."""

    wants = Annotated[
        float | Literal["high"],
        PlainValidator(_share),
        WithJsonSchema({"anyOf": [{"const": HIGH}, TypeAdapter(Percent).json_schema()]}),
    ]

    def __str__(self) -> str:
        return (
            "its tier above its high mark" if self.value == HIGH else f"its tier more than {_percent(self.value)} full"
        )

    def _above(self, tier: int, evidence: Evidence) -> float:
        return evidence.high[tier] if self.value == HIGH else self.value

    def holds(self, evidence: Evidence) -> ColumnElement[bool]:
        full = [tier for tier, share in evidence.full.items() if share > self._above(tier, evidence)]
        return sql.in_ids(objects.c.tier_id, full)

    def reason(self, evidence: Evidence) -> ColumnElement[str]:
        shares = [
            (objects.c.tier_id == tier, f"{share * 100:.0f}% > {_percent(self._above(tier, evidence))}")
            for tier, share in evidence.full.items()
        ]
        full: str | ColumnElement[Any] = sa.case(*shares, else_="") if shares else ""
        return sql.words("tier full ", full)

    def facts(self) -> tuple[ColumnElement[Any], ...]:
        return (objects.c.tier_id,)

    def tell(self, facts: Sequence[Any], window: Window | None, evidence: Evidence) -> Told:
        share = evidence.full.get(facts[0])
        return Told("its tier has no capacity" if share is None else f"its tier is {share:.0%} full")
