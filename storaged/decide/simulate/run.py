"""One simulation: every policy and every baseline over one trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import reduce
from itertools import count
from operator import add
from typing import Final

from storaged.clock import DAY
from storaged.decide.forecast.taught import TaughtTerm, teach
from storaged.decide.simulate.auto.follow import auto_beside
from storaged.decide.simulate.auto.inner import SelfMoving
from storaged.decide.simulate.bill import SimulatedBill, amount, bill
from storaged.decide.simulate.break_even import break_even
from storaged.decide.simulate.optimum import optimum
from storaged.decide.simulate.rules import RuleSet, follow, unbound
from storaged.decide.simulate.stays import Stays, Step, by_age, by_idleness, stay, turned_back
from storaged.decide.simulate.tariff import Floats, Tariff, idle_steps
from storaged.decide.simulate.trace import Trace
from storaged.prices.amount import Amount
from storaged.prices.book import ClassPrices, PriceBook

STAY, LIFECYCLE, IDLE, OPTIMUM = "stay", "lifecycle-30-90", "idle-30-90-return", "optimum"
BREAK_EVEN: Final = "break-even"
AUTO, AUTO_WITH = "auto", "auto-intelligent-tiering"
MOVES_ITSELF: Final = {"intelligent-tiering": "aws", "autoclass": "gcs"}  # classes, and whose they are
_ENTERED: Final = "intelligent-tiering"  # which `auto` may choose as well, object by object
BASELINES: Final = (STAY, LIFECYCLE, IDLE, BREAK_EVEN, *MOVES_ITSELF, AUTO, AUTO_WITH, OPTIMUM)
_PART_BYTES: Final = 128 << 20  # of the optimum's choices, in each thread
_LARGEST_PART: Final = 8192  # objects: a day of them stays in the processor's cache
THREADS: Final = 2


@dataclass(frozen=True, slots=True)
class SimulatedOutcome:
    """What one policy would have cost, how often it moved an object, and about what it cost on each day (USD).
    `fixed`: it is what it was before the first day, and neither learns nor knows what comes."""

    name: str
    amount: Amount
    moves: int
    daily: Floats
    back: int = 0  # moves of policies that go back before their rest is over
    fixed: bool = True


@dataclass(frozen=True, slots=True)
class Listing:
    """The places that objects may be moved between, with their prices, and fees for a move into each. The first `plain`
    are tiers in the order of their ranks, where everything is as its users wrote it; those behind them are tiers again,
    for what is rewritten. `ranks`: of all. `one_home`: whether everything begins in the first."""

    prices: tuple[ClassPrices, ...]
    fees: tuple[Decimal, ...]
    plain: int
    ranks: tuple[int, ...]
    one_home: bool = True

    @classmethod
    def of(cls, tiers: Sequence[ClassPrices]) -> Listing:
        """Tiers and nothing else."""
        return cls(tuple(tiers), Tariff.of(tiers).fees, len(tiers), tuple(range(len(tiers))))

    @property
    def tiers(self) -> tuple[ClassPrices, ...]:
        """The prices of the tiers, each once."""
        return self.prices[: self.plain]


@dataclass(frozen=True, slots=True)
class _Rests:
    days: tuple[int, ...]  # by place
    ranks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    """`stays`: made of each part of a trace, or those of the whole. `whole`: they are to be made of the whole trace.
    `view`: how it sees a trace. `comes`: in so many of the first places of its tariff what comes there has moved."""

    name: str
    tariff: Tariff
    stays: Callable[[Trace], Stays] | Stays
    comes: int
    rests: _Rests | None = None  # None: of a baseline, which knows no rest
    view: Callable[[Trace], Trace] = lambda part: part
    fixed: bool = True
    whole: bool = False

    def made(self, trace: Trace) -> _Entry:
        """With the stays of the whole trace, where it looks at all of it."""
        if isinstance(self.stays, Stays) or not self.whole:
            return self
        return replace(self, stays=self.stays(trace), whole=False)

    def bill(self, part: Trace, begin: int) -> SimulatedBill:
        """Of a part of the trace, whose first object has the number `begin` in the whole."""
        part = self.view(part)
        stays = self.stays.of(begin, begin + part.objects) if isinstance(self.stays, Stays) else self.stays(part)
        if part.opens:
            part, stays = part.held_out(), stays.since(part.opens)
        found = bill(part, stays, self.tariff)
        if self.rests is None:
            return found
        return replace(found, back=turned_back(stays, self.rests.days, self.rests.ranks))


def simulate(
    trace: Trace,
    listing: Listing,
    book: PriceBook,
    policies: Sequence[RuleSet] = (),
    *,
    half_life_us: int,
    rest_us: int = 0,
    on_objects: Callable[[int], None] = lambda _done: None,
) -> list[SimulatedOutcome]:
    """Each given policy, the baselines that these tiers allow, and the optimum, on the days from which the trace opens;
    none of them moves anything before. `rest_us`: how long what was moved does
    not go back, or for the minimum duration of its class; moves before that are counted. `on_objects`: how many are
    done."""
    days = tuple(max(math.ceil(rest_us / DAY), prices.minimum_days) for prices in listing.prices)
    rests = _Rests(days, listing.ranks)
    entries = [
        entry if entry.name in BASELINES else replace(entry, rests=rests)
        for entry in _entries(trace, listing, book, policies, half_life_us)
    ]

    bills = _bills(trace, listing, entries, on_objects)
    return [_outcome(entry, bill) for entry, bill in zip(entries, bills, strict=True)]


def replay(trace: Trace, listing: Listing, policy: RuleSet, *, half_life_us: int) -> SimulatedOutcome:
    """One policy alone, as `simulate` has it."""
    tariff = Tariff.of(listing.prices, listing.fees)
    terms = _terms(trace, _plain(listing, tariff), [policy], half_life_us)
    followed = _followed(policy, tariff, half_life_us, terms)
    entry = _Entry(policy.name, tariff, followed, len(listing.prices), whole=policy.chooses)
    return _outcome(entry, *_bills(trace, listing, [entry]))


def _bills(
    trace: Trace, listing: Listing, entries: Sequence[_Entry], on_objects: Callable[[int], None] = lambda _done: None
) -> list[SimulatedBill]:
    """By entry, in threads, a part of the trace in each; before them what looks at the whole trace, one by one."""

    def run(part: Trace, begin: int) -> list[SimulatedBill]:
        return [entry.bill(part, begin) for entry in made]

    done = 0
    found = []
    size = _part_objects(trace.days, listing.prices)
    parts = list(trace.parts(size))
    with ThreadPoolExecutor(THREADS) as threads:
        made = list(threads.map(lambda entry: entry.made(trace), entries))
        for part, bills in zip(parts, threads.map(run, parts, count(0, size)), strict=False):
            found.append(bills)
            done += part.objects
            on_objects(done)
    return [reduce(add, bills) for bills in zip(*found, strict=True)]


def class_of(baseline: str, tiers: Sequence[ClassPrices], book: PriceBook) -> ClassPrices | None:
    """The class that a baseline which moves objects by itself stands for; None where these tiers do not have it."""
    provider = MOVES_ITSELF[baseline]
    if any(prices.provider != provider for prices in tiers):
        return None
    return book.classes.get(f"{tiers[0].region}/{baseline}")


def _entries(
    trace: Trace, listing: Listing, book: PriceBook, policies: Sequence[RuleSet], half_life_us: int
) -> list[_Entry]:
    listed, places = Tariff.of(listing.prices, listing.fees), len(listing.prices)
    steps: list[Step] = [(days, tier) for days, tier in ((30, 1), (90, 2)) if tier < listing.plain]
    entries = [_Entry(STAY, listed, stay, places)]
    if steps and listing.one_home:
        entries.append(_Entry(LIFECYCLE, listed, lambda part: by_age(part, steps), places))
        entries.append(_Entry(IDLE, listed, lambda part: by_idleness(part, steps), places))
    tiers = _plain(listing, listed)
    if listing.plain > 1:
        entries.append(_Entry(BREAK_EVEN, tiers, lambda part: break_even(part, tiers), listing.plain))
    for name in MOVES_ITSELF:
        own = class_of(name, listing.tiers, book)
        if own is not None:
            entries.append(_Entry(name, Tariff.inside(own), _moving_itself(own), 0, view=Trace.bare))
    alone = RuleSet(AUTO, (unbound(listing.tiers),))
    terms = _terms(trace, tiers, [alone, *policies], half_life_us)
    if listing.plain > 1:
        followed = _followed(alone, tiers, half_life_us, terms)
        entries.append(_Entry(AUTO, tiers, followed, listing.plain, fixed=False, whole=True))
        entries += _auto_with(trace, tiers, class_of(_ENTERED, listing.tiers, book))
    for policy in policies:
        followed = _followed(policy, listed, half_life_us, terms)
        entries.append(_Entry(policy.name, listed, followed, places, fixed=not policy.chooses, whole=policy.chooses))
    entries.append(_Entry(OPTIMUM, listed, lambda part: optimum(part, listed), places, fixed=False))
    return entries


def _plain(listing: Listing, listed: Tariff) -> Tariff:
    """Of the tiers alone."""
    return Tariff(listed.classes[: listing.plain], listed.fees[: listing.plain])


def _terms(trace: Trace, tiers: Tariff, policies: Sequence[RuleSet], half_life_us: int) -> tuple[TaughtTerm, ...]:
    """What the policies that choose would have known."""
    horizons = {rule.options.horizon_days for policy in policies for rule in policy.rules if rule.options is not None}
    return teach(trace, tiers, half_life_us, sorted(horizons)) if horizons else ()


def _auto_with(trace: Trace, tiers: Tariff, own: ClassPrices | None) -> list[_Entry]:
    """`auto` with a class that moves objects by itself as one choice more, where there is one."""
    if own is None:
        return []
    place, moving = len(tiers.classes), SelfMoving.of(own, trace)

    def beside(whole: Trace) -> Stays:
        return moving.unfold(whole, auto_beside(whole, tiers, moving), place)

    def view(part: Trace) -> Trace:
        return moving.placed(part, place)

    return [_Entry(AUTO_WITH, moving.tariff(tiers), beside, place + 1, view=view, fixed=False, whole=True)]


def _moving_itself(prices: ClassPrices) -> Callable[[Trace], Stays]:
    """Smaller objects than those that are monitored stay as if they were read."""
    return lambda part: by_idleness(replace(part, opens=0), idle_steps(prices), part.sizes >= prices.monitoring_bytes)


def _followed(
    policy: RuleSet, tariff: Tariff, half_life_us: int, terms: Sequence[TaughtTerm]
) -> Callable[[Trace], Stays]:
    """Where a policy's rules take objects. What chooses looks at the whole trace, for the objects of a dataset tell of
    each other."""
    return lambda some: follow(some, policy.rules, half_life_us, tariff, policy.back, terms)


def _outcome(entry: _Entry, total: SimulatedBill) -> SimulatedOutcome:
    moves = sum(use.moved_in for use in total.uses[: entry.comes])
    return SimulatedOutcome(entry.name, amount(entry.tariff, total.uses), moves, total.daily, total.back, entry.fixed)


def _part_objects(days: int, tiers: Sequence[ClassPrices]) -> int:
    """So many objects at a time that what the optimum keeps of them fits (see there)."""
    each = 5 * days * len(tiers) + 32 * sum(prices.minimum_days for prices in tiers)
    return max(1, min(_PART_BYTES // each, _LARGEST_PART))
