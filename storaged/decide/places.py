"""What the places cost in which objects are: by tier, storage class, and whether they are at their original keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from storaged.decide.evidence import Window
from storaged.decide.money import Volumes
from storaged.prices.amount import ZERO
from storaged.prices.book import ClassPrices, PriceBook


@dataclass(frozen=True, slots=True)
class PricedPlace:
    """Where objects are: in a tier, at original keys or as blobs of ours, in a storage class (empty: the tier's)."""

    tier_id: int
    at_key: bool
    storage_class: str


@dataclass(frozen=True, slots=True)
class CopiedFrom:
    """What one server has beside a tier, so that it copies what is there into it: tiers, and roots of datasets, by id.
    `in_parts`: a pattern of LIKE that the identities have of what its user stored in parts, of which it may tell no
    checksum of all bytes, so that a copy could not be proven."""

    tiers: frozenset[int]
    datasets: frozenset[int]
    in_parts: str


@dataclass(frozen=True, slots=True)
class Prices:
    """`tiers`: prices by tier id; tiers without any are left out. `classes`: storage classes of all tiers, by tier id.

    `stored`: bytes by place, as the catalog knows them. `months`: the part of the last month of which logs tell, by
    dataset id. `reads_back`: tiers whose stores tell no checksums. `copied_from`: by tier id. `cpu_hour`: USD.
    `by_one_get`: of datasets (by id) whose small originals are had by one GET each where several are read together, a
    pattern of LIKE that the identities have of what is kept in versions, of which no listing tells.
    """

    book: PriceBook
    tiers: Mapping[int, ClassPrices]
    classes: Mapping[int, str]
    stored: Mapping[PricedPlace, int] = field(default_factory=dict)
    months: Mapping[int, Window] = field(default_factory=dict)
    reads_back: frozenset[int] = frozenset()
    cpu_hour: Decimal = ZERO
    copied_from: Mapping[int, CopiedFrom] = field(default_factory=dict)
    by_one_get: Mapping[int, str] = field(default_factory=dict)

    def of(self, place: PricedPlace) -> ClassPrices | None:
        """The prices of a place; None: its tier has none, or no book has its class in the tier's region."""
        own = self.tiers.get(place.tier_id)
        if own is None or place.storage_class in ("", self.classes[place.tier_id]):
            return own
        return self.book.of(own, place.storage_class)

    def volumes(self) -> Volumes:
        """What is in each class."""
        found = Volumes()
        for place, nbytes in self.stored.items():
            if prices := self.of(place):
                found.add(prices, nbytes)
        return found

    def places(self) -> Iterator[tuple[PricedPlace, ClassPrices]]:
        """All that something may be in whose price is known. What class a blob was made in, its row tells."""
        for place in self.stored:
            classes = [place.storage_class]
            if not place.at_key and (own := self.tiers.get(place.tier_id)):
                classes.append(self.classes[place.tier_id])
                classes += [c.storage_class for c in self.book.classes.values() if c.region == own.region]
            for name in dict.fromkeys(classes):
                at = replace(place, storage_class=name)
                if prices := self.of(at):
                    yield at, prices
