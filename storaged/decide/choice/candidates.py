"""Between which tiers a policy with `tier: auto` chooses, and why not others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from storaged.clock import DAY
from storaged.config.quantities import format_duration
from storaged.decide.destination import To
from storaged.decide.policy import Policy
from storaged.decide.selection import Inputs, Selection
from storaged.decide.spend import Costs
from storaged.prices.book import ClassPrices

_NOWHERE: Final = "no prices are known of where objects are"


@dataclass(frozen=True, slots=True)
class TierCandidate:
    """A tier that objects may be sent to: the policy as if it named that tier, and what its moves cost."""

    tier: str
    tier_id: int
    policy: Policy
    selection: Selection
    costs: Costs


@dataclass(frozen=True, slots=True)
class Candidates:
    """`of`: the hottest first. `left_out`: other tiers, and why nothing is sent there, in words."""

    of: tuple[TierCandidate, ...]
    left_out: tuple[tuple[str, str], ...]

    def __iter__(self) -> Iterator[TierCandidate]:
        return iter(self.of)


def sent_to(policy: Policy, tier: str) -> Policy:
    """The policy as if it named a tier."""
    to = policy.to.model_copy(update={"tier": tier, "among": None, "horizon": None})
    return policy.model_copy(update={"to": to})


def candidates(policy: Policy, inputs: Inputs) -> Candidates:
    """Those of a policy that chooses. `inputs` are about it."""
    tiers, ranks, prices = inputs.evidence.tiers, inputs.rests.ranks, inputs.prices
    found, left_out = [], []
    for name in sorted(policy.to.among or tiers, key=lambda tier: (ranks.get(tiers[tier], 0), tier)):
        own = None if prices is None else prices.tiers.get(tiers[name])
        if prices is None or own is None:
            left_out.append((name, "no prices are known of it"))
            continue
        if (why := _unfit(policy.to, own)) is not None:
            left_out.append((name, why))
            continue
        named = sent_to(policy, name)
        selection = Selection(named, inputs)
        costs = Costs(selection, prices, f"_{tiers[name]}", returns=True)
        if costs.stretches:
            found.append(TierCandidate(name, tiers[name], named, selection, costs))
        else:
            why = "no object could get there in place" if policy.to.in_place else _NOWHERE
            left_out.append((name, why))
    return Candidates(tuple(found), tuple(left_out))


def among(to: To, prices: Mapping[str, ClassPrices]) -> tuple[str, ...]:
    """The tiers that objects may be sent to, of those that have prices, in the order of these."""
    asked = to.among or prices
    return tuple(name for name, of in prices.items() if name in asked and _unfit(to, of) is None)


def _unfit(to: To, prices: ClassPrices) -> str | None:
    if to.among is None and prices.archived:
        return "what is in it is not read at once; `among` may name it"
    if prices.minimum_days * DAY > to.horizon_us:
        return f"it bills {prices.minimum_days} days at least, and the horizon is {format_duration(to.horizon_us)}"
    return None
