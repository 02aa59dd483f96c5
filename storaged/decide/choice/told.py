"""Why an object goes where `tier: auto` sends it, or stays: dollars of each alternative, and what would change that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from storaged.clock import SECOND, iso
from storaged.config.quantities import format_duration
from storaged.decide.choice.weighed import Foretold, Weighed
from storaged.decide.money import TWICE
from storaged.prices.amount import PICODOLLAR, ZERO, plain, usd

_FORGOTTEN: Final = Decimal("0.0001")
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
class EvenlyTold:
    """From how many reads a month on it would be in a tier, were it read evenly so often."""

    reads_per_month: Decimal
    tier: str

    def __str__(self) -> str:
        return f"from {_rate(self.reads_per_month)} reads a month on in {self.tier}"


@dataclass(frozen=True, slots=True)
class RememberedTold:
    """What is remembered of its reads: a month, by those of about a year, and by those of the last days."""

    year: Decimal
    days: Decimal

    def __str__(self) -> str:
        return f"{_rate(self.year)} reads a month by a year's, {_rate(self.days)} by the last days'"


@dataclass(frozen=True, slots=True)
class ChoiceTold:
    """What `tier: auto` chooses for an object. `stays`: why it stays, where nothing is foretold; empty: it is.
    `rests_on`: of the forecast. `remembered`: what memory goes by. `weights`: of the ways to decide; `picks`: the tier
    that each of them is for. `evenly`: where it would be were it read evenly, the first from no reads on; `if_read`:
    after one more read now. `left_out`: tiers that nothing is sent to, and why.
    """

    horizon_us: int
    stays: str = ""
    reads_per_month: Decimal | None = None
    rests_on: str = ""
    remembered: RememberedTold | None = None
    weights: Mapping[str, float] | None = None
    picks: Mapping[str, str] | None = None
    if_read: str = ""
    alternatives: tuple[AlternativeTold, ...] = ()
    evenly: tuple[EvenlyTold, ...] = ()
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
            "remembered": None
            if self.remembered is None
            else {"year": _plain(self.remembered.year), "days": _plain(self.remembered.days)},
            "weights": dict(self.weights or {}),
            "picks": dict(self.picks or {}),
            "if_read": self.if_read,
            "alternatives": [
                {"tier": one.tier, "stays": one.stays, "chosen": one.chosen, "too_little": one.too_little}
                | {name: _plain(getattr(one, name)) for name in ("keep", "reads", "move", "back", "risk", "total")}
                for one in self.alternatives
            ],
            "evenly": [{"from_reads_per_month": _plain(one.reads_per_month), "tier": one.tier} for one in self.evenly],
            "left_out": dict(self.left_out),
        }

    def lines(self) -> Iterator[str]:
        """As people read it."""
        if self.stays:
            yield f"stays where it is: {self.stays}"
        if self.reads_per_month is not None:
            yield f"foretold: {self.reads_per_month:.3g} reads a month ({self.rests_on})"
        if self.remembered is not None:
            yield f"remembered: {self.remembered}"
        if self.alternatives:
            yield f"in {format_duration(self.horizon_us)}:"
        for one in self.alternatives:
            yield f"  {one}"
        if self.weights:
            yield "weighed: " + ", ".join(self._weighed())
        if self.evenly:
            least, *more = self.evenly
            yield "; ".join([f"read evenly, or never, it would be in {least.tier}", *map(str, more)])
        if self.if_read:
            yield f"after one more read now: {self.if_read}"
        for tier, why in self.left_out:
            yield f"nothing is sent to {tier}: {why}"

    def _weighed(self) -> Iterator[str]:
        for name, weight in (self.weights or {}).items():
            if weight:
                pick = (self.picks or {}).get(name)
                yield f"{name} {weight:.0%}" + ("" if pick is None else f" for {pick}")


def alternatives(
    weighed: Mapping[int, Weighed], tiers: Mapping[int, str], here: int, chosen: int, foretold: Foretold
) -> Iterator[AlternativeTold]:
    """Each place, the hottest first; the one where the object is, `here`, is one of them. `weighed`: by position, what
    may be chosen; `chosen`: which it is. Positions are of `tiers`, in their order."""
    for at in sorted({here, *weighed}):
        one = weighed.get(at)
        if one is None:
            of = next(iter(weighed.values()))
            keep, reads = of.keep_here * foretold.months, of.read_here * foretold.reads
            yield AlternativeTold(tiers[at], True, at == chosen, keep, reads)
            continue
        keep, reads = one.keep_there * foretold.months, one.read_there * foretold.reads
        risk, too_little = one.risk(foretold), one.worth(foretold) is None and one.saved(foretold) > one.cost(foretold)
        yield AlternativeTold(tiers[at], False, at == chosen, keep, reads, one.once, one.back, risk, too_little)


def _rate(reads: Decimal) -> str:
    """With three digits; what was forgotten long ago is nothing."""
    return f"{float(reads):.3g}" if reads >= _FORGOTTEN else "0"


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


def model_words(called: str, cut_us: int, *, foretells: bool) -> str:
    """Which model it is. `foretells`: its forecasts are better than simple ones."""
    trusted = "" if foretells else "; not trusted, for it is no better than simple forecasts"
    return f"{called}, learnt of what was before {iso(cut_us)}{trusted}"
