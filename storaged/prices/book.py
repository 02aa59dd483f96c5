"""Price books: dated YAML files of what a store charges, read into values. Every figure has a source and its date.

Prices are USD, per GB of `gb` bytes where they are per GB, and per single request here (files say per 1,000).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from storaged.config.quantities import PERIOD_DAYS
from storaged.prices.amount import ZERO

DAYS_PER_MONTH: Final = Decimal(PERIOD_DAYS["month"])  # to the last digit
STANDARD_SPEED: Final = "standard"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a figure was read, and the date of what was read (ISO)."""

    text: str
    date: str


@dataclass(frozen=True, slots=True)
class Step:
    """A price per GB and month for the volume up to so many GB; None: without end."""

    up_to_gb: int | None
    per_gb: Decimal


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Reading from a class at one speed: per GB, per request, and how long the first byte takes at most."""

    per_gb: Decimal = ZERO
    per_request: Decimal = ZERO
    hours: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Inner:
    """A tier inside a class that moves objects by itself: from so many days without a read, at this price per GB."""

    name: str
    idle_days: int
    per_gb: Decimal


@dataclass(frozen=True, slots=True)
class Disk:
    """What a disk of one's own costs: bought once, used for some years, and always powered."""

    price_per_tb: Decimal  # of 10^12 bytes, once
    lifetime_months: Decimal
    copies: Decimal  # of every byte: 2 for a mirror, 1.5 for 4 + 2 disks
    usable: Decimal  # share of the space that is ever filled, 0 to 1
    watts_per_tb: Decimal
    per_kwh: Decimal


@dataclass(frozen=True, slots=True)
class Egress:
    """Per GB that leaves: to the internet, to other regions of the provider."""

    internet: Decimal
    regions: Decimal


@dataclass(frozen=True, slots=True)
class ClassPrices:
    """What one storage class costs in one region. `id` is provider/region/name, such as aws/us-east-1/standard-ia."""

    id: str
    storage_class: str  # the store's own name
    gb: int  # bytes in the GB of these prices
    storage: tuple[Step, ...]
    put: Decimal  # also COPY and POST
    get: Decimal  # also HEAD
    list_: Decimal
    transition_in: Decimal  # changing an object's class to this one
    retrieval: Mapping[str, Retrieval]  # by speed; every class has "standard"
    minimum_days: int
    minimum_bytes: int  # smaller objects are billed as if they had this size
    overhead_bytes: int  # stored beside each object at this class's price
    overhead_standard_bytes: int  # and at the standard class's
    standard: tuple[Step, ...]  # that class's storage
    monitoring: Decimal  # per object of `monitoring_bytes` or more, and month
    monitoring_bytes: int
    inner: tuple[Inner, ...]  # by idle days; `storage` is what an object that is read costs
    archived: bool  # a read needs a restore first
    egress: Egress
    unverified: frozenset[str] = field(default_factory=frozenset)  # figures that no source was seen of, by their path
    sources: Mapping[str, Source] = field(default_factory=dict)  # by path of the figure; "" for all others
    opt_in: tuple[Inner, ...] = ()  # inner tiers that somebody must have switched on: told, never reckoned with
    disk: Disk | None = None  # what `storage` was worked out from

    @property
    def region(self) -> str:
        """provider/region: inside it a move is a change of class and nothing leaves."""
        return self.id.rpartition("/")[0]

    @property
    def provider(self) -> str:
        """The first part of the id."""
        return self.id.partition("/")[0]

    def doubted(self, figure: str) -> bool:
        """Whether no source was seen of a figure, of the group that it is in, or of a part of it."""
        return any(
            f"{known}.".startswith(f"{figure}.") or f"{figure}.".startswith(f"{known}.") for known in self.unverified
        )

    def source(self, figure: str) -> Source:
        """Where a figure was read: what is said of it, else of the nearest group that it is in."""
        while figure and figure not in self.sources:
            figure = figure.rpartition(".")[0]
        return self.sources[figure]


@dataclass(frozen=True, slots=True)
class PriceBook:
    """All classes that are known, by id. The order of a file's classes is from the hottest down."""

    classes: Mapping[str, ClassPrices]

    def of(self, prices: ClassPrices, storage_class: str) -> ClassPrices | None:
        """The class in the same region that the store calls so; None: the book has no such."""
        if prices.storage_class == storage_class:  # on a disk of one's own several have the same
            return prices
        siblings = (c for c in self.classes.values() if c.region == prices.region and c.storage_class == storage_class)
        return next(siblings, None)
