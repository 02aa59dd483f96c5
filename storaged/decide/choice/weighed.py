"""What one object comes to in each tier that it may be sent to: exact, in Decimal, as `choosing.py` has it in SQL."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from storaged.decide.money import TWICE, Counts, MoveTerms, Route, Volumes, reckon
from storaged.decide.returns import counts_back, terms_back
from storaged.prices.amount import ZERO
from storaged.prices.formulas import Traffic, read


@dataclass(frozen=True, slots=True)
class Foretold:
    """What one guess says: `reads` in `months`, with this `variance`. `evidence`: reads that it counts as seen, its own
    and the prior's."""

    reads: Decimal
    variance: Decimal
    months: Decimal
    evidence: Decimal

    def with_reads(self, reads: Decimal) -> Foretold:
        """The same if so many were foretold, since more or fewer were seen: what the rate changes by until then
        (storaged.decide.forecast.rates) stays as it is."""
        if not reads:
            return Foretold(ZERO, ZERO, self.months, ZERO)
        relative = (self.variance - self.reads) / self.reads**2
        drift = (1 + relative) / (1 + 1 / self.evidence) - 1
        seen = self.evidence * reads / self.reads
        return Foretold(reads, reads + reads**2 * ((1 + 1 / seen) * (1 + drift) - 1), self.months, seen)


@dataclass(frozen=True, slots=True)
class Weighed:
    """USD. `keep_here`, `keep_there`: per month without reads; `read_here`, `read_there`: of each read; `once`: of the
    move; `back`: of its way back."""

    keep_here: Decimal
    keep_there: Decimal
    read_here: Decimal
    read_there: Decimal
    once: Decimal
    back: Decimal

    def here(self, foretold: Foretold) -> Decimal:
        """What staying comes to."""
        return self.keep_here * foretold.months + self.read_here * foretold.reads

    def there(self, foretold: Foretold) -> Decimal:
        """What being there comes to, the move aside."""
        return self.keep_there * foretold.months + self.read_there * foretold.reads

    def saved(self, foretold: Foretold) -> Decimal:
        return self.here(foretold) - self.there(foretold)

    def risk(self, foretold: Foretold) -> Decimal:
        """The most that it is likely that the way back is due (Cantelli's inequality)."""
        saved = self.saved(foretold)
        if saved <= 0:
            return Decimal(1)
        spread = (self.read_there - self.read_here) ** 2 * foretold.variance
        return spread / (spread + saved**2)

    def cost(self, foretold: Foretold) -> Decimal:
        """What the move costs, with its way back as far as it is to be feared."""
        return self.once + self.risk(foretold) * self.back

    def worth(self, foretold: Foretold) -> Decimal | None:
        """What it saves beyond that; None: too little to move for."""
        saved, cost = self.saved(foretold), self.cost(foretold)
        return saved - cost if saved > 0 and saved > cost and saved >= TWICE * cost else None


def weighed(route: Route, counts: Counts, back: Route, terms: MoveTerms, volumes: Volumes, share: Decimal) -> Weighed:
    """Of an object without reads. `share`: of its content that a read takes."""
    once, before, after = reckon([(route, counts)], terms, volumes.copy())
    home = counts_back(counts, route.target.minimum_days)
    returned, _, _ = reckon([(back, home)], terms_back(terms), volumes.copy())
    nbytes = counts.size * share
    shrunk = nbytes * counts.after / counts.stored if counts.stored > counts.after else nbytes
    return Weighed(
        before.total,
        after.total,
        read(route.source, Traffic(1, nbytes)).total,
        read(route.target, Traffic(1, shrunk)).total,
        once.total,
        returned.total,
    )
