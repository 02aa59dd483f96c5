"""Policy files in a simulation: what of them can be replayed, and where their objects go day by day."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from storaged.clock import DAY
from storaged.config.messages import YamlPath, did_you_mean, path_text
from storaged.config.yaml import Document
from storaged.decide.choice.candidates import among
from storaged.decide.conditions import Condition
from storaged.decide.conditions.reads import ReadsAbove, ReadsBelow, ReadShareBelow
from storaged.decide.conditions.size import SizeOver, SizeUnder
from storaged.decide.conditions.time import AgeOver, IdleFor
from storaged.decide.destination import To
from storaged.decide.forecast.taught import TaughtTerm
from storaged.decide.forecast.ways import NOWHERE
from storaged.decide.policy import Policy, Target, policies_of
from storaged.decide.simulate.auto.costs import Reads
from storaged.decide.simulate.choice import Chooser, TierOptions
from storaged.decide.simulate.paying import Paying
from storaged.decide.simulate.stays import Stays, settle
from storaged.decide.simulate.tariff import Floats, Tariff
from storaged.decide.simulate.trace import Days, Ints, Mask, Places, ReadsByDay, Trace
from storaged.errors import ConfigError, Problem
from storaged.heat import decay_rate
from storaged.model import AUTO, IDENTITY, Mode
from storaged.prices.book import ClassPrices

NAMES: Final = ("hot", "warm", "cold", "archive")  # of the tiers, in policy files
_AS_IT_IS: Final = "without --tiers those of storaged.yaml are taken, and with them codecs, packs and `require`"


@dataclass(frozen=True, slots=True)
class DayState:
    """What is known at the end of a day, of the objects that exist by then. Rates are per day, decayed (heat.py)."""

    day: int
    created: Days
    last_read: Days  # before the first read: the day before creation
    sizes: Ints
    reads_per_day: Floats
    bytes_per_day: Floats


@dataclass(frozen=True, slots=True)
class Rule:
    """One policy. A rule of N days holds from N on. `leads`: where it takes an object, by the place where that is;
    NOWHERE: it does not look at what is there, or has nothing to do. `mask`: which of the trace's masks holds too.
    `pays_within_us`: what it must pay back in. `rest_days`: by place, how long what came there does not go back;
    None: it knows no rest. `pack_bytes`: how large the packs are that it makes, of which each must pay back as a
    whole. `at`: where its policy stands in its file. `options`: between what it chooses, of `tier: auto`, whose `leads`
    are none."""

    target: Target
    conditions: tuple[Condition, ...]
    leads: tuple[int, ...]
    mask: int | None = None
    pays_within_us: int | None = None
    rest_days: tuple[int, ...] | None = None
    pack_bytes: int | None = None
    at: YamlPath = ()
    options: TierOptions | None = None

    def holds(self, state: DayState) -> Mask:
        """Which objects its conditions hold for."""
        found = np.ones(len(state.created), bool)
        for condition in self.conditions:
            found &= REPLAYED[type(condition)](condition.value, state)
        return found


def _days(us: int) -> int:
    return math.ceil(us / DAY)


REPLAYED: Final[Mapping[type[Condition], Callable[[Any, DayState], Mask]]] = {
    IdleFor: lambda value, state: state.last_read <= state.day - _days(value),
    AgeOver: lambda value, state: state.created <= state.day + 1 - _days(value),
    SizeOver: lambda value, state: state.sizes > value,
    SizeUnder: lambda value, state: state.sizes < value,
    ReadsBelow: lambda value, state: state.reads_per_day < value.per_day,
    ReadsAbove: lambda value, state: state.reads_per_day >= value.per_day,
    ReadShareBelow: lambda value, state: state.bytes_per_day < value.per_day * np.maximum(state.sizes, 1),
}
_RATES: Final = (ReadsBelow, ReadsAbove, ReadShareBelow)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """A policy file: the first rule that matches an object decides about it. `name` is the file's stem. `back`: whether
    a move goes back, by where the object came from, is and goes; None: no rule knows rest."""

    name: str
    rules: tuple[Rule, ...]
    back: Mask | None = None

    @property
    def chooses(self) -> bool:
        """Whether any rule chooses between tiers, by what it has learnt."""
        return any(rule.options is not None for rule in self.rules)


def rules_of(document: Document, name: str, tiers: Sequence[ClassPrices]) -> RuleSet:
    """The rules of a policy file, where the first of `NAMES` stand for these tiers.

    Raises ConfigError with everything in it that cannot be, or cannot be simulated.
    """
    given = [(at, policy) for at, policy in policies_of(document) if policy.mode is not Mode.DISABLED]
    problems = [problem for at, policy in given for problem in _problems(document, at, policy, len(tiers))]
    if not given:
        problems = [Problem(document.file, 1, "", "every policy in it is disabled")]
    if problems:
        raise ConfigError(tuple(problems))
    return RuleSet(name, tuple(_rule(at, policy, tiers) for at, policy in given))


def _rule(at: YamlPath, policy: Policy, tiers: Sequence[ClassPrices]) -> Rule:
    known = NAMES[: len(tiers)]

    def leads(to: str) -> tuple[int, ...]:
        return tuple(known.index(to) if policy.target.tier in (None, name) else NOWHERE for name in known)

    conditions = tuple(policy.conditions.values())
    if not policy.to.chooses:
        return Rule(policy.target, conditions, leads(str(policy.to.tier)), at=at)
    given = among(policy.to, dict(zip(known, tiers, strict=True)))
    options = TierOptions(tuple(map(leads, given)), policy.to.horizon_us / DAY, tuple(range(len(known))))
    return Rule(policy.target, conditions, (), at=at, options=options)


def unbound(tiers: Sequence[ClassPrices]) -> Rule:
    """That of a policy with `tier: auto` and nothing else, over tiers from the hottest on."""
    to, places = To.model_validate({"tier": AUTO}), range(len(tiers))
    given = among(to, {str(place): prices for place, prices in enumerate(tiers)})
    leads = tuple((int(place),) * len(tiers) for place in given)
    options = TierOptions(leads, to.horizon_us / DAY, tuple(places))
    return Rule(Target.model_validate({"dataset": "*"}), (), (), options=options)


def _problems(document: Document, at: YamlPath, policy: Policy, tiers: int) -> list[Problem]:
    found: list[tuple[YamlPath, str, str | None]] = []
    known = NAMES[:tiers]
    to = policy.to
    named = ((("to", "among"), tier) for tier in to.among or ()) if to.chooses else ((("to", "tier"), to.tier),)
    for path, tier in ((("target", "tier"), policy.target.tier), *named):
        if tier in NAMES[tiers:]:
            message = f"`{tier}` is the {NAMES.index(tier) + 1}. of --tiers, which has {tiers}"
            found.append((path, message, f"name one of {', '.join(known)}, or more classes in --tiers"))
        elif tier is not None and tier not in known:
            hint = did_you_mean(tier, known)
            found.append((path, f"there is no tier `{tier}`: in a simulation they are {', '.join(known)}", hint))
    if policy.to.codec not in (None, IDENTITY):
        found.append((("to", "codec"), "a simulation of --tiers knows no codecs", _AS_IT_IS))
    elif policy.to.tier is None:
        found.append((("to",), "a simulation moves between tiers only", "give `tier`"))
    elif policy.to.tier == policy.target.tier:
        found.append((("to",), f"objects in {policy.to.tier} would stay in {policy.to.tier}", "name another tier"))
    for key, condition in policy.conditions.items():
        if type(condition) not in REPLAYED:
            message = f"`{key}` cannot be known in a simulation"
            found.append((("when", key), message, "a trace has reads, sizes and creation, and nothing else"))
    found += [
        (
            (name,),
            f"`{name}` cannot be simulated",
            _AS_IT_IS if name == "require" else "remove it from a copy of the file",
        )
        for name in ("where", "require")
        if getattr(policy, name) is not None
    ]
    return [
        Problem(document.file, document.line((*at, *path)), path_text((*at, *path)), message, hint)
        for path, message, hint in found
    ]


def follow(
    trace: Trace,
    rules: Sequence[Rule],
    half_life_us: int,
    tariff: Tariff,
    back: Mask | None = None,
    terms: Sequence[TaughtTerm] = (),
) -> Stays:
    """Where the rules take the objects of a trace, which covers all of their reads. `back`: as RuleSet has it. `terms`:
    what those that choose would have known (storaged.decide.forecast.taught)."""
    by_day = ReadsByDay.of(trace)
    decay = decay_rate(half_life_us) if any(isinstance(c, _RATES) for rule in rules for c in rule.conditions) else None
    last = trace.created - 1
    place = trace.begins().copy()
    came = place.copy()
    since = np.maximum(trace.created, trace.opens)
    reads, nbytes = np.zeros(trace.objects), np.zeros(trace.objects)
    looked_at = [_looked_at(trace, rule) for rule in rules]
    leads = [np.array(rule.leads, np.int8) for rule in rules]
    chooser = Chooser.of(trace, tariff, half_life_us, terms) if any(rule.options for rule in rules) else None
    money = Paying.of(trace, by_day, tariff) if any(rule.pays_within_us is not None for rule in rules) else None
    held = _Held(back, money, chooser)
    waves = np.zeros(max(len(trace.datasets), 1), bool)
    born = np.searchsorted(trace.created, np.arange(trace.days), side="right")
    moves: list[tuple[Ints, int, NDArray[np.int8]]] = []
    for day in range(trace.days - 1):
        rows, objects = by_day.rows[on := by_day.on(day)], by_day.objects[on]
        last[objects] = day
        if decay is not None:
            for rate, counts in ((reads, trace.reads), (nbytes, trace.read_bytes)):
                rate *= math.exp(-decay)
                rate[objects] += counts[rows] * (decay * math.exp(-decay / 2))  # heat.py: a rollup stands at midday
        if money is not None:
            money.see(day)
        if chooser is not None:
            of_day = Reads(objects, trace.reads[rows].astype(float), trace.read_bytes[rows].astype(float))
            chooser.see(day, of_day)
        if day < trace.opens:
            continue
        here = slice(0, int(born[day]))
        if chooser is not None and chooser.knows():
            waves = chooser.waves(place[here])
        state = DayState(day, trace.created[here], last[here], trace.sizes[here], reads[here], nbytes[here])
        undecided = np.ones(int(born[day]), bool)
        wanted = place[here].copy()
        for rule, mask, lead in zip(rules, looked_at, leads, strict=True):
            looks = undecided & rule.holds(state)
            if mask is not None:
                looks &= mask[here]
            if rule.options is None:
                to = lead[place[here]]
                some = np.flatnonzero(looks & (to != NOWHERE))
                to = to[some]
                free = held.free(rule, day, some, place[some], came[some], since[some], to)
            else:
                some = np.flatnonzero(looks)
                to, free = held.chosen(rule, rule.options, day, some, place[some], came[some], since[some], waves)
                goes = to != place[some]
                some, to, free = some[goes], to[goes], free[goes]
            undecided[some] = False
            wanted[some[free]] = to[free]
        moved = np.flatnonzero(wanted != place[here])
        if len(moved):
            came[moved] = place[moved]
            place[moved] = wanted[moved]
            since[moved] = day + 1
            moves.append((moved, day + 1, wanted[moved]))
    none = np.zeros(0, np.int64)
    return settle(
        trace,
        np.concatenate((none, *(objects for objects, _, _ in moves))),
        np.concatenate((none, *(np.full(len(objects), day) for objects, day, _ in moves))),
        np.concatenate((none, *(to for _, _, to in moves))),
    )


@dataclass(frozen=True, slots=True)
class _Held:
    """What holds moves back, and what is chosen beside it."""

    back: Mask | None
    money: Paying | None
    chooser: Chooser | None

    def free(self, rule: Rule, day: int, some: Ints, here: Places, came: Places, since: Days, to: Places) -> Mask:
        """Whether neither rest nor `require` holds moves of some objects back. `to`: NOWHERE where there is none."""
        found: Mask = to != NOWHERE
        if self.back is not None and rule.rest_days is not None:
            young = day + 1 - since < np.array(rule.rest_days)[here]
            found &= ~(young & self.back[came, here, to])
        if self.money is not None and rule.pays_within_us is not None:
            on = np.flatnonzero(found)
            kept = day - since[on] + 1
            within_us, packs = rule.pays_within_us, rule.pack_bytes
            found[on] = self.money.pays(some[on], here[on], to[on], kept, within_us, pack_bytes=packs)
        return found

    def chosen(
        self,
        rule: Rule,
        options: TierOptions,
        day: int,
        some: Ints,
        here: Places,
        came: Places,
        since: Days,
        waves: Mask,
    ) -> tuple[Places, Mask]:
        """Where `tier: auto` takes some objects, and whether nothing holds that back."""
        if self.chooser is None or not self.chooser.knows():
            return here, np.ones(len(some), bool)
        ways = [np.array(lead, np.int8)[here] for lead in options.leads]
        open_ = [self.free(rule, day, some, here, came, since, to) for to in ways]
        found = self.chooser.choose(day, some, options, here, day + 1 - since, open_, waves)
        free = np.zeros(len(some), bool)
        for to, able in zip(ways, open_, strict=True):
            free |= able & (found == to)
        return found, free


def _looked_at(trace: Trace, rule: Rule) -> Mask | None:
    """Which objects are in the rule's datasets and its mask; None: all of them. A trace without datasets is in all."""
    found = None if rule.mask is None else trace.masks[rule.mask]
    if trace.dataset is None:
        return found
    taken: Mask = np.array([rule.target.takes(name) for name in trace.datasets])[trace.dataset]
    return taken if found is None else taken & found
