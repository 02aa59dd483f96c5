"""Policies of storaged.yaml in a simulation: each tier, in each form that objects have there, is a place of its own.

What a policy asks of what never changes (formats, tags, partitions, most of `where`) is asked once, before the days
begin. What a simulation cannot know is told by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.clock import DAY
from storaged.config.messages import YamlPath
from storaged.decide.choice.candidates import among
from storaged.decide.conditions import Condition
from storaged.decide.conditions.labels import Format, Partition, Tags
from storaged.decide.forecast.ways import NOWHERE
from storaged.decide.policy import LoadedPolicy, Policy
from storaged.decide.selection import Inputs, KindChoice, Selection
from storaged.decide.simulate.choice import TierOptions
from storaged.decide.simulate.rules import REPLAYED, Rule, RuleSet
from storaged.decide.simulate.run import Listing
from storaged.model import AUTO, IDENTITY, PACK
from storaged.prices.book import ClassPrices

_FIXED: Final = (Format, Tags, Partition)
_FIXED_COLUMNS: Final = frozenset(
    {"dataset", "owner", "name", "object", "format", "size", "tags", "partition", "created_at", "modified_at"}
)
_NO_CATALOG: Final = "a trace does not tell it; `--history` does"
_ENDLESS: Final = 1 << 62  # bytes


@dataclass(frozen=True, slots=True)
class TierForm:
    """A tier, the form of what is there, and whether that is at its original key."""

    tier: str
    form: str
    at_key: bool

    @property
    def plain(self) -> bool:
        """Whether content is there as it is."""
        return self.form == IDENTITY.name


Asker = tuple[str, YamlPath, str]  # a policy, by where it stands: several may stand in one line; and a codec


@dataclass(frozen=True, slots=True)
class ReplayedPolicy:
    """A policy as it is replayed. `codec`: the form that it wants; None: the one that is there. One with `codec: auto`
    is several, one for each codec that samples chose, with the `kinds` (dataset, format) for which they did; None: it
    looks at all. `tiers`: those that `tier: auto` chooses from, or the one that is named; None: the one where it is."""

    loaded: LoadedPolicy
    codec: str | None
    kinds: frozenset[tuple[str, str]] | None
    tiers: tuple[str | None, ...]

    @property
    def key(self) -> Asker:
        """Which it is among all of a simulation."""
        return self.loaded.file, self.loaded.at, self.codec or ""

    @property
    def policy(self) -> Policy:
        return self.loaded.policy

    def leads(self, here: TierForm, tier: str | None) -> TierForm | None:
        """Where it takes what is there, to one of its `tiers`; None: it does not look at it, has nothing to do, or a
        guard holds it."""
        to = self.policy.to
        if self.policy.target.tier not in (None, here.tier) or (self.kinds is not None and not here.plain):
            return None
        if to.in_place:
            found = replace(here, tier=str(tier))
            return None if found == here or not here.at_key else found
        if here.form == PACK and self.codec is None:
            return None
        found = TierForm(tier or here.tier, self.codec or here.form, at_key=False)
        return None if (found.tier, found.form) == (here.tier, here.form) else found


def replayed(
    policies: Iterable[LoadedPolicy],
    prices: Mapping[str, ClassPrices],
    choices: Mapping[tuple[str, str], KindChoice] = MappingProxyType({}),
) -> Iterator[ReplayedPolicy]:
    """Policies as they are replayed. `prices`: of the tiers, by rank; `choices`: what samples chose for
    `codec: auto`."""
    for loaded in policies:
        to = loaded.policy.to
        tiers = among(to, prices) if to.chooses else (to.tier,)
        codec = loaded.policy.to.codec
        if codec is None or codec.name != AUTO:
            yield ReplayedPolicy(loaded, None if codec is None else codec.name, None, tiers)
            continue
        kinds: dict[str, set[tuple[str, str]]] = {}
        for kind, choice in choices.items():
            if choice.codec != IDENTITY.name and loaded.policy.target.takes(kind[0]):
                kinds.setdefault(choice.codec, set()).add(kind)
        yield from (ReplayedPolicy(loaded, name, frozenset(those), tiers) for name, those in sorted(kinds.items()))


def forms_of(policies: Iterable[ReplayedPolicy], tiers: Iterable[str]) -> tuple[TierForm, ...]:
    """The tiers as objects begin there, and all that the policies make of these, one after the other."""
    found = [TierForm(tier, IDENTITY.name, at_key=True) for tier in tiers]
    given = list(policies)
    for here in found:  # which grows
        ways = [p.leads(here, tier) for p in given for tier in p.tiers]
        found += dict.fromkeys(to for to in ways if to is not None and to not in found)
    return tuple(found)


def listing(
    forms: Sequence[TierForm],
    prices: Mapping[str, ClassPrices],
    ranks: Mapping[str, int],
    pack_share: Decimal,
    *,
    one_home: bool,
) -> Listing:
    """The places with their prices and what a move into each costs: of what is rewritten a PUT, of a pack the share of
    it that one object has; else a transition, or where the class has none, a PUT."""
    plain = sum(form.plain and form.at_key for form in forms)
    fees = []
    for form in forms:
        of = prices[form.tier]
        if form.form == PACK:
            fees.append(of.put * pack_share)
        else:
            fees.append(of.put if not form.at_key else of.transition_in or of.put)
    return Listing(
        tuple(_in_packs(prices[f.tier]) if f.form == PACK else prices[f.tier] for f in forms),
        tuple(fees),
        plain,
        tuple(ranks[form.tier] for form in forms),
        one_home,
    )


def _in_packs(prices: ClassPrices) -> ClassPrices:
    """What is billed by object is next to nothing for each of a pack's."""
    return replace(prices, minimum_bytes=0, overhead_bytes=0, overhead_standard_bytes=0, monitoring_bytes=_ENDLESS)


def rules(
    name: str,
    policies: Sequence[ReplayedPolicy],
    forms: Sequence[TierForm],
    masks: Mapping[Asker, int],
    ranks: Mapping[str, int],
    rest_us: Mapping[str, int],
) -> RuleSet:
    """The rules of policies that have no `obstacles`. `masks`: which mask of the trace each has.
    `rest_us`: how long what came to a tier does not go back, where a policy does not say it."""
    tiers = sorted({form.tier for form in forms}, key=lambda tier: (ranks[tier], tier))
    order = tuple(tiers.index(form.tier) for form in forms)
    found = []
    for one in policies:
        policy, packing = one.policy, one.policy.to.packing
        ways = [tuple(_number(forms, one.leads(here, tier)) for here in forms) for tier in one.tiers]
        conditions = tuple(c for c in policy.conditions.values() if not isinstance(c, _FIXED))
        within = None if policy.require is None else policy.require.payback_within
        rests = (rest_us[form.tier] if policy.rest is None else policy.rest for form in forms)
        days = tuple(-(-us // DAY) for us in rests)
        pack_bytes = None if packing is None else packing.target
        mask = masks.get(one.key)
        options = TierOptions(tuple(ways), policy.to.horizon_us / DAY, order) if policy.to.chooses else None
        leads = () if policy.to.chooses else ways[0]
        found.append(Rule(policy.target, conditions, leads, mask, within, days, pack_bytes, one.loaded.at, options))
    back = [[[_back(ranks, came, here, to) for to in forms] for here in forms] for came in forms]
    return RuleSet(name, tuple(found), np.array(back))


def _number(forms: Sequence[TierForm], form: TierForm | None) -> int:
    return NOWHERE if form is None else forms.index(form)


def _back(ranks: Mapping[str, int], came: TierForm, here: TierForm, to: TierForm) -> bool:
    """Whether a move goes back where the object came from: as storaged.decide.rest has it."""
    direction = ranks[came.tier] - ranks[here.tier], ranks[to.tier] - ranks[here.tier]
    return direction[0] * direction[1] > 0 or (to.tier == here.tier and to.form == came.form != here.form)


def fixed(policy: Policy) -> tuple[Condition, ...]:
    """The conditions on what never changes."""
    return tuple(condition for condition in policy.conditions.values() if isinstance(condition, _FIXED))


def asks_fixed(policy: Policy) -> bool:
    """Whether it asks anything of what never changes."""
    return bool(fixed(policy)) or policy.where is not None or policy.to.packing is not None


def fixed_holds(policy: Policy, inputs: Inputs) -> ColumnElement[bool]:
    """Whether all that it asks of what never changes holds for an object, over the planner's tables."""
    selection = Selection(policy, inputs)
    parts = [condition.holds(inputs.evidence) for condition in fixed(policy)]
    return sa.and_(*parts, selection.where(), selection.fits())


def obstacles(
    policy: Policy, prices: Collection[str], *, of_trace: bool, samples: bool
) -> Iterator[tuple[YamlPath, str, str | None]]:
    """What of a policy cannot be replayed: where, what, and what to do. `prices`: the tiers that have some. `of_trace`:
    there is a file of accesses and no catalog. `samples`: objects may be looked into."""
    to = None if policy.to.chooses else policy.to.tier  # a choice leaves out what has no prices
    for path, tier in ((("target", "tier"), policy.target.tier), (("to", "tier"), to)):
        if tier is not None and tier not in prices:
            yield path, f"the tier {tier} has no prices", "give it `prices` in storaged.yaml"
    if policy.to.codec is not None and policy.to.codec.name == AUTO and (of_trace or not samples):
        hint = "name the codec" if of_trace else "leave out --no-sample, or name the codec"
        yield ("to", "codec"), f"what `{AUTO}` takes is known by samples of the objects", hint
    for key, condition in policy.conditions.items():
        if of_trace and isinstance(condition, Tags | Partition):
            yield ("when", key), f"`{key}` cannot be known in a simulation of a trace", _NO_CATALOG
        elif type(condition) not in REPLAYED and not isinstance(condition, _FIXED):
            yield ("when", key), f"`{key}` cannot be known in a simulation", "what is stored when is what it works out"
    if policy.where is not None:
        if of_trace:
            yield ("where",), "`where` cannot be known in a simulation of a trace", _NO_CATALOG
        elif moving := sorted(_columns(policy.where) - _FIXED_COLUMNS):
            hint = "write it as a condition under `when`, where there is one"
            yield ("where",), f"`{', '.join(moving)}` in `where` changes from day to day", hint


def _columns(where: str) -> set[str]:
    from sqlglot import exp  # slow to import, and seldom needed

    from storaged.decide.where import parsed_where

    return {column.name.lower() for column in parsed_where(where).find_all(exp.Column)}
