"""What a plan comes to, as a value that prints and that the catalog keeps as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Final

from humanize import naturalsize
from pydantic import TypeAdapter

from storaged.decide.funnel import FunnelStep, funnel_lines
from storaged.decide.money import PACK_SIZE, PlanMoney
from storaged.decide.planner import HELD, why_held
from storaged.decide.selection import GUARDS
from storaged.prices.amount import KINDS, Amount, usd
from storaged.prices.book import DAYS_PER_MONTH

SAMPLES: Final = 3  # names shown of each kind
YEAR: Final = 12 * DAYS_PER_MONTH  # days


@dataclass(frozen=True, slots=True)
class Tally:
    """Objects, their stored bytes now and as expected, and some of their names (`dataset: object`)."""

    objects: int = 0
    bytes_now: int = 0
    bytes_after: int = 0
    samples: tuple[str, ...] = ()

    def names(self) -> str:
        """The sample names, and whether there are more."""
        return ", ".join(self.samples) + (", …" if self.objects > len(self.samples) else "")


@dataclass(frozen=True, slots=True)
class PolicySummary:
    """One policy's part: what it would do, and what is held back by which guard or limit.

    `raw_reads`: reads seen of the objects that `readers` holds. `unknown_ratio`: actions whose compression is not
    known yet; they count with their whole size. `stop_on_error_rate` (0 to 1) is for whoever works it off.

    `packs`: how many the actions become; 0: they are not packed. `tables`: what becomes of the bytes of tables that
    become other files of the same table, in words; empty: none does. `funnel`: how many of its target's objects are
    left after each thing that it asks for; empty: nobody wanted to know.

    `money`: what the actions come to; None: no prices are known of any of them. `held_money`: what is held back would,
    where prices are known. `packed`: what objects would come to as packs, where only then they would pay back; by what
    holds them back, or empty for the actions.
    """

    name: str
    mode: str
    sentence: str
    actions: Tally = field(default_factory=Tally)
    held: Mapping[str, Tally] = field(default_factory=dict)
    raw_reads: int = 0
    unknown_ratio: int = 0
    stop_on_error_rate: float | None = None
    notes: tuple[str, ...] = ()
    money: PlanMoney | None = None
    held_money: Mapping[str, PlanMoney] = field(default_factory=dict)
    packed: Mapping[str, PlanMoney] = field(default_factory=dict)
    packs: int = 0
    tables: str = ""
    funnel: tuple[FunnelStep, ...] = ()

    def lines(self) -> Iterator[str]:
        yield f"{self.name} ({self.mode}): {self.sentence}"
        a = self.actions
        if not a.objects:
            yield "  nothing to do"
        else:
            become = f", in {self.packs:,} pack{'' if self.packs == 1 else 's'}" if self.packs else ""
            yield f"  {_objects(a.objects)}, {_size(a.bytes_now)} → {_size(a.bytes_after)}{become}"
            yield f"    {a.names()}"
            yield from money_lines(self.money)
            if self.packs and self.money is not None:
                yield f"    requests: {self.money.requests:,}"
            yield from self._packed("")
        if self.funnel:
            yield "  left of its objects:"
            yield from (f"    {line}" for line in funnel_lines(self.funnel))
        if self.unknown_ratio:
            yield f"    ratio not known yet: {_objects(self.unknown_ratio)} counted at full size"
        if self.tables:
            yield f"    {self.tables}"
        for note in self.notes:
            yield f"    {note}"
        order = list(HELD)
        for code in sorted(self.held, key=lambda code: (order.index(code.partition(":")[0]), code)):
            tally, guarded = self.held[code], code.partition(":")[0] in GUARDS
            seen = f" ({self.raw_reads:,} raw reads seen)" if code == "readers" else ""
            yield f"  held back: {_objects(tally.objects)}, {_size(tally.bytes_now)}: {why_held(code)}{seen}"
            yield f"    {tally.names()}"
            if code in self.held_money and not guarded:
                yield from money_lines(self.held_money[code])
                yield from self._packed(code)

    def _packed(self, code: str) -> Iterator[str]:
        money = self.packed.get(code)
        if money is not None:
            amounts = money_words(money)
            yield f"    it is their number that costs; as packs of {_size(PACK_SIZE)} they would pay: {amounts}"


@dataclass(frozen=True, slots=True)
class Summary:
    """A plan's summary: every policy that was tried, in that order. `basis`: what its money rests on."""

    policies: tuple[PolicySummary, ...] = ()
    basis: tuple[str, ...] = ()

    @property
    def actions(self) -> int:
        """How many objects the plan would act on."""
        return sum(policy.actions.objects for policy in self.policies)

    @property
    def money(self) -> PlanMoney | None:
        """What all of it comes to; None: no prices are known of any action."""
        known = [policy.money for policy in self.policies if policy.money is not None]
        unknown = sum(policy.actions.objects for policy in self.policies if policy.money is None)
        return sum(known, PlanMoney(Amount(), Amount(), Amount(), unknown)) if known else None

    def __str__(self) -> str:
        return "\n".join(self.lines()) or "no policies"

    def lines(self) -> Iterator[str]:
        for policy in self.policies:
            yield from policy.lines()
        yield from self.basis

    def to_json(self) -> str:
        return _json().dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Summary:
        return _json().validate_json(text)


def money_words(money: PlanMoney) -> str:
    """What it costs once, per month now and then, when that has paid for itself, and what is left after a year."""
    once, before, after = (usd(amount.total) for amount in (money.one_time, money.before, money.after))
    year = money.saving_12_months
    saved = f"{usd(year)} saved" if year >= 0 else f"{usd(-year)} lost"
    return f"{once} once, {before} → {after} a month, {payback_words(money.payback_months)}, {saved} in 12 months"


def payback_words(months: Decimal | None) -> str:
    """When it has paid for itself."""
    if months is None:
        return "never pays back"
    return "pays back at once" if months == 0 else f"pays back in {_span(months * DAYS_PER_MONTH)}"


def _span(days: Decimal) -> str:
    """Days as people say them: less than a day, 12 days, 2.5 years."""
    if days < 1:
        return "less than a day"
    return f"{days:,.0f} day{'' if round(days) == 1 else 's'}" if days < 730 else f"{days / YEAR:,.1f} years"


def money_lines(money: PlanMoney | None) -> Iterator[str]:
    """What objects come to, by kind."""
    if money is None:
        yield "    no prices: what this costs is not known; give the tiers `prices` in storaged.yaml"
        return
    yield f"    {money_words(money)}"
    for what, amount in (("once", money.one_time), ("a month now", money.before), ("a month then", money.after)):
        kinds = [f"{kind.replace('_', ' ')} {usd(getattr(amount, kind))}" for kind in KINDS if getattr(amount, kind)]
        if kinds:
            yield f"      {what}: {', '.join(kinds)}"
    if money.unpriced:
        yield f"    no prices: {_objects(money.unpriced)} not in these figures"
    if money.unread:
        yield f"    reads unknown: {_objects(money.unread)} in these figures as if nobody read them"


@cache
def _json() -> TypeAdapter[Summary]:
    return TypeAdapter(Summary)


def _size(size: int) -> str:
    return naturalsize(size, binary=True)


def _objects(count: int) -> str:
    return f"{count:,} object{'' if count == 1 else 's'}"
