"""Conditions on the tier that an object is in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import objects
from storaged.config.quantities import Percent
from storaged.decide import sql
from storaged.decide.conditions.base import Condition, Told
from storaged.decide.evidence import Evidence, Window


class TierFullAbove(Condition):
    """What its tier stores is more than this share of the tier's capacity. A tier without one is never full."""

    wants = Percent

    def __str__(self) -> str:
        return f"its tier more than {self.value * 100:.4g}% full"

    def holds(self, evidence: Evidence) -> ColumnElement[bool]:
        return sql.in_ids(objects.c.tier_id, [tier for tier, share in evidence.full.items() if share > self.value])

    def reason(self, evidence: Evidence) -> ColumnElement[str]:
        shares = [(objects.c.tier_id == tier, f"{share * 100:.0f}%") for tier, share in evidence.full.items()]
        full: str | ColumnElement[Any] = sa.case(*shares, else_="") if shares else ""
        return sql.words("tier full ", full, f" > {self.value * 100:.4g}%")

    def facts(self) -> tuple[ColumnElement[Any], ...]:
        return (objects.c.tier_id,)

    def tell(self, facts: Sequence[Any], window: Window | None, evidence: Evidence) -> Told:
        share = evidence.full.get(facts[0])
        return Told("its tier has no capacity" if share is None else f"its tier is {share:.0%} full")
