"""Why an object goes where `tier: auto` sends it, or stays: dollars of each alternative, and what would change that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from storaged.clock import SECOND, iso
from storaged.config.quantities import format_duration
from storaged.decide.choice.weighed import Foretold, Weighed, flips
from storaged.decide.forecast.model import BREAK_EVEN, FORECAST, MEMORY, STAY
from storaged.decide.money import TWICE
from storaged.prices.amount import PICODOLLAR, ZERO, plain, usd

_HALF: Final = Decimal("0.5")
_CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class AlternativeTold:
    """USD over the horizon: `keep` and `reads` of being in a `tier`, the `move` there, and its way `back`, which is due
    with at most the likelihood `risk`. `stays`: the object is there. `chosen`: it goes or stays there. `too_little`: it
    is cheaper than staying, and yet saves less than `TWICE` what the move costs."""

    tier: str
    stays: bool
    chosen: bool
    keep: Decimal
    reads: Decimal
    move: Decimal = ZERO
    back: Decimal = ZERO
    risk: Decimal = ZERO
    too_little: bool = False

    @property
    def total(self) -> Decimal:
        """All of it, the way back as far as it is to be feared."""
        return self.keep + self.reads + self.move + self.risk * self.back

    def __str__(self) -> str:
        parts = [f"storage {_usd(self.keep)}", f"reads {_usd(self.reads)}"]
        if not self.stays:
            parts += [f"the move {_usd(self.move)}", f"its way back {_usd(self.back)} at {self.risk:.2%} risk"]
        mark = " ← chosen" if self.chosen else ""
        less = f", saves less than {TWICE} times what it costs" if self.too_little else ""
        return f"{'stay in ' if self.stays else ''}{self.tier}: {_usd(self.total)} ({', '.join(parts)}){less}{mark}"


@dataclass(frozen=True, slots=True)
class FlipTold:
    """From how many reads a month on (or down to how few), foretold while it is left alone as long as it is now, it
    goes to another tier, and which."""

    reads_per_month: Decimal
    tier: str
    more: bool

    def __str__(self) -> str:
        edge = "from" if self.more else "below"
        return f"{edge} {self.reads_per_month:.3g} reads a month{' on' if self.more else ''}: {self.tier}"


@dataclass(frozen=True, slots=True)
class ChoiceTold:
    """What `tier: auto` chooses for an object. `stays`: why it stays, where nothing is foretold; empty: it is.
    `rests_on`: of the forecast. `weights`: of the ways to decide; `picks`: the tier that each of them is for.
    `if_read`: where it would be after one more read now. `left_out`: tiers that nothing is sent to, and why.
    """

    horizon_us: int
    stays: str = ""
    reads_per_month: Decimal | None = None
    rests_on: str = ""
    weights: Mapping[str, float] | None = None
    picks: Mapping[str, str] | None = None
    if_read: str = ""
    alternatives: tuple[AlternativeTold, ...] = ()
    flips: tuple[FlipTold, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def outweighed(self) -> bool:
        """Whether some way to decide is for another tier, and yet it stays."""
        here = {one.tier for one in self.alternatives if one.stays and one.chosen}
        return bool(here) and any(tier not in here for tier in (self.picks or {}).values())

    def as_json(self) -> dict[str, Any]:
        """As commands tell it: decimal strings, USD and reads per month."""
        return {
            "horizon_seconds": self.horizon_us / SECOND,
            "stays": self.stays,
            "reads_per_month": None if self.reads_per_month is None else _plain(self.reads_per_month),
            "rests_on": self.rests_on,
            "weights": dict(self.weights or {}),
            "picks": dict(self.picks or {}),
            "if_read": self.if_read,
            "alternatives": [
                {"tier": one.tier, "stays": one.stays, "chosen": one.chosen, "too_little": one.too_little}
                | {name: _plain(getattr(one, name)) for name in ("keep", "reads", "move", "back", "risk", "total")}
                for one in self.alternatives
            ],
            "flips": [
                {"reads_per_month": _plain(one.reads_per_month), "more": one.more, "tier": one.tier}
                for one in self.flips
            ],
            "left_out": dict(self.left_out),
        }

    def lines(self) -> Iterator[str]:
        """As people read it."""
        if self.stays:
            yield f"stays where it is: {self.stays}"
        if self.reads_per_month is not None:
            yield f"foretold: {self.reads_per_month:.3g} reads a month ({self.rests_on})"
        if self.alternatives:
            yield f"in {format_duration(self.horizon_us)}:"
        for one in self.alternatives:
            yield f"  {one}"
        if self.weights:
            yield "weighed: " + ", ".join(self._weighed())
        for flip in self.flips:
            yield f"left alone as now, it would change its mind {flip}"
        if self.if_read:
            yield f"after one more read now: {self.if_read}"
        for tier, why in self.left_out:
            yield f"nothing is sent to {tier}: {why}"

    def _weighed(self) -> Iterator[str]:
        for name, weight in (self.weights or {}).items():
            if weight:
                pick = (self.picks or {}).get(name)
                yield f"{name} {weight:.0%}" + ("" if pick is None else f" for {pick}")


@dataclass(frozen=True, slots=True)
class Ways:
    """All that a choice is made of, for one object. `tiers`: by position in their order; the one where it is is `here`.
    `weighed`: by position, what may be chosen; `passing`: those of them that guards, rest and
    `require` let pass. `guesses`: by name,
    with `picks` that do not depend on the forecast; `weights`: of all ways to decide."""

    tiers: Mapping[int, str]
    here: int
    weighed: Mapping[int, Weighed]
    passing: frozenset[int]
    forecast: Foretold
    picks: Mapping[str, int]
    weights: Mapping[str, float]

    def position(self, reads: Decimal) -> int:
        """Where it would be, were so many reads foretold for the horizon."""
        return self._middle({**self.picks, FORECAST: self._pick(self.forecast.with_reads(reads))})

    def if_read(self) -> str:
        """The tier where it would be after one more read, of the usual share, at the end of what logs tell."""
        seen = self.forecast.evidence
        more = self.forecast.with_reads(self.forecast.reads * (seen + 1) / seen)
        remembers = min(self.here, self.picks[MEMORY])  # a read on the last day lets nothing go
        return self.tiers[self._middle({MEMORY: remembers, BREAK_EVEN: self.here, FORECAST: self._pick(more)})]

    def picked(self) -> dict[str, str]:
        """The tier that each way to decide is for, of those with any weight."""
        picks = self._voted({**self.picks, FORECAST: self._pick(self.forecast)})
        return {name: self.tiers[picks[name]] for name, weight in self.weights.items() if weight}

    def _voted(self, picks: Mapping[str, int]) -> dict[str, int]:
        """With staying, which picks the hottest of these and of where it is."""
        return {STAY: min(self.here, *picks.values()), **picks}

    def _middle(self, given: Mapping[str, int]) -> int:
        picks = self._voted(given)
        beyond = {
            one: sum(weight for name, weight in self.weights.items() if weight and picks[name] >= one)
            for one in picks.values()
        }
        return max(one for one, weight in beyond.items() if weight > _HALF)

    def _pick(self, foretold: Foretold) -> int:
        worth = {at: one for at, way in self.weighed.items() if (one := way.worth(foretold)) is not None}
        able = {at: one for at, one in worth.items() if at in self.passing} or worth
        return max(able, key=lambda at: (able[at], -at), default=self.here)

    def flips(self) -> Iterator[FlipTold]:
        """What would change its mind."""
        fewer, more = flips(self.position, self.forecast.reads)
        for reads, up in ((fewer, False), (more, True)):
            if reads is not None:
                yield FlipTold(reads / self.forecast.months, self.tiers[self.position(reads)], up)

    def alternatives(self, chosen: int) -> Iterator[AlternativeTold]:
        """Each place, the hottest first; where the object is is one of them."""
        told = self.forecast
        for at in sorted({self.here, *self.weighed}):
            one = self.weighed.get(at)
            if one is None:
                of = next(iter(self.weighed.values()))
                keep, reads = of.keep_here * told.months, of.read_here * told.reads
                yield AlternativeTold(self.tiers[at], True, at == chosen, keep, reads)
                continue
            keep, reads = one.keep_there * told.months, one.read_there * told.reads
            risk, too_little = one.risk(told), one.worth(told) is None and one.saved(told) > one.cost(told)
            yield AlternativeTold(
                self.tiers[at], False, at == chosen, keep, reads, one.once, one.back, risk, too_little
            )


def _usd(value: Decimal) -> str:
    """With tenths of a cent and less, for places differ by that."""
    return usd(value) if value >= 1 or value < _CENT else f"${value:.4f}"


def _plain(number: Decimal) -> str:
    return plain(number.quantize(PICODOLLAR))


def rests_words(seen: float, days: float, prior: float, prior_days: float, like: str, model: str) -> str:
    """What a forecast rests on: reads seen in so many days, weighed by age, and those of the prior, of its like."""
    return (
        f"{max(seen, 0):.3g} reads seen in {max(days, 0):.3g} days, weighed by age; {like} count as {prior:.3g} in "
        f"{prior_days:.3g} days; {model}"
    )


def like_words(dataset: str, bands: Sequence[int], band: int) -> str:
    """Whose past a prior is: of a dataset's objects of an age."""
    begin, end = bands[band], bands[band + 1] if band + 1 < len(bands) else None
    return f"objects of {dataset or 'all datasets'} {begin} {f'to {end}' if end else 'and more'} days old"


def model_words(called: str, cut_us: int) -> str:
    """Which model it is."""
    return f"{called}, learnt of what was before {iso(cut_us)}"
