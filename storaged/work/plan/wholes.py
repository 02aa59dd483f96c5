"""What would move each collection now: the first policy that selects all of it, and what would hold it back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from storaged.catalog.engine import Catalog
from storaged.catalog.placements import dataset_ids
from storaged.config.settings import Settings
from storaged.decide.planner import in_order, why_held
from storaged.decide.policy import LoadedPolicy
from storaged.decide.selection import Selection
from storaged.decide.whole import Wholes
from storaged.work.plan.functions import give_functions
from storaged.work.plan.make import gather


@dataclass(frozen=True, slots=True)
class MovedBy:
    """A policy that selects a collection, where it leads, and what would hold all of it back; limits, money and what
    policies before it decide about parts aside. `held` None: nothing."""

    policy: str
    tier: str
    held: str | None

    def __str__(self) -> str:
        return f"{self.policy} → {self.tier}" if self.held is None else f"{self.policy}, {why_held(self.held)}"


def moved_by(
    catalog: Catalog, settings: Settings, policies: Iterable[LoadedPolicy], now_us: int
) -> Mapping[tuple[str, str], MovedBy]:
    """By dataset and prefix. What no policy moves whole is not in it. Raises as `gather` does."""
    whole = [p for p in in_order(policies) if p.policy.collections == "whole"]
    found: dict[tuple[str, str], MovedBy] = {}
    if not whole:
        return found
    inputs = gather(catalog, settings, whole, now_us, {})
    with catalog.read() as conn:
        give_functions(conn)
        names = {number: name for name, number in dataset_ids(conn).items()}
        for p in whole:
            for row in conn.execute(Wholes(Selection(p.policy, inputs), None).verdicts()):
                one = MovedBy(p.name, str(p.policy.to.tier), row.held)
                found.setdefault((names[row.dataset_id], row.prefix), one)
    return found
