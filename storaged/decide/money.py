"""What a part of a plan costs once, and per month before and after: exact, in Decimal, from sums that SQL made.

The same functions, asked about one unit of each count, give the coefficients with which SQL tells the money of every
single object (storaged.decide.spend): all of them are linear, but for the volume steps, of which SQL takes the margin.
docs/adr/0016 says what is counted, and what is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer

from storaged.clock import DAY
from storaged.model import DEFAULT_CLASS
from storaged.prices.amount import ZERO, Amount, plain
from storaged.prices.book import DAYS_PER_MONTH, STANDARD_SPEED, ClassPrices, PriceBook
from storaged.prices.formulas import (
    Stock,
    Traffic,
    by_steps,
    gigabytes,
    leaving,
    owed_early,
    payback_months,
    read,
    stored,
)
from storaged.stores.schemes import CHEAPEST

PACK_SIZE: Final = 256 << 20  # bytes of content in a pack, unless a policy says otherwise
# The next twelve are the stores' and the workers' own (a test compares them).
PIECE: Final = 4 << 20  # bytes that one GET reads
PART: Final = 8 << 20  # bytes that one PUT stores at most, and the least that a part of more has
PARTS: Final = 9_000  # parts that an upload has about at most
LARGEST_COPY: Final = 5 << 30  # bytes that a server copies with one request
SAMPLED: Final = 1 << 20  # bytes that are read at most to tell whether something shrinks, of more than these
SAMPLE_GETS: Final = 4  # by so many GETs,
SAMPLED_LARGE: Final = 16 << 20  # and of more than these
SAMPLE_GETS_LARGE: Final = 8  # by so many
NEIGHBOURS: Final = 32  # originals that are read together for a pack at most,
NEIGHBOURS_BYTES: Final = 1 << 20  # and of how much content, the last one aside
NEIGHBOUR: Final = 4 << 20  # bytes of content of the largest of them
WORTH_LISTING: Final = 13  # of which so many are looked at by a page of a listing
WARM_DAYS: Final = 3  # that the readable copy of a source in an archive class is kept for its job
WARM_SPEED: Final = CHEAPEST.lower()  # what its restore is asked for at, as price books call it
# Bytes of content per second and core, as measured: S3 to S3 with xxh3, 537 MB in 1.46 s of CPU; zstd at levels 3 to 6
# on text, each frame decoded again as proof.
COPIED: Final = 360_000_000
COMPRESSED: Final = 120_000_000

MONTH_US: Final = int(DAYS_PER_MONTH * DAY)
_MONTHS: Final = Decimal("0.000001")


def _amount(told: object) -> object:
    return Amount.from_json(told) if isinstance(told, dict) else told


_Told = Annotated[Amount, BeforeValidator(_amount), PlainSerializer(Amount.as_json)]


@dataclass(frozen=True, slots=True)
class PlanMoney:
    """USD of the objects whose prices are known. `one_time`: in all; `before`, `after`: per month.

    `unpriced`: objects that are not in it, as a tier of theirs has no prices. `unread`: objects of which no log tells
    a month's reads, so that their reads are left out, before and after. `requests`: that it takes once.
    """

    one_time: _Told
    before: _Told
    after: _Told
    unpriced: int = 0
    unread: int = 0
    requests: int = 0

    @property
    def monthly_saving(self) -> Decimal:
        """USD per month; below 0: it would cost more."""
        return self.before.total - self.after.total

    @property
    def payback_months(self) -> Decimal | None:
        """After how many months it has paid for itself; None: never."""
        return payback_months(self.one_time.total, self.before.total, self.after.total)

    @property
    def saving_12_months(self) -> Decimal:
        """USD within twelve months, what it costs once taken off."""
        return 12 * self.monthly_saving - self.one_time.total

    def pays_within(self, within_us: int) -> bool:
        """Whether it has paid for itself in this time."""
        months = self.payback_months
        return months is not None and months * MONTH_US <= within_us

    def __add__(self, other: PlanMoney) -> PlanMoney:
        return PlanMoney(
            self.one_time + other.one_time,
            self.before + other.before,
            self.after + other.after,
            self.unpriced + other.unpriced,
            self.unread + other.unread,
            self.requests + other.requests,
        )

    def as_json(self) -> dict[str, Any]:
        """As commands tell it: amounts by kind, decimal strings."""
        months = self.payback_months
        return {
            "one_time": self.one_time.as_json(),
            "monthly_before": self.before.as_json(),
            "monthly_after": self.after.as_json(),
            "payback_months": None if months is None else plain(months.quantize(_MONTHS)),
            "saving_12_months": plain(self.saving_12_months),
            "unpriced": self.unpriced,
            "unread": self.unread,
            "requests": self.requests,
        }


@dataclass(frozen=True, slots=True)
class Counts:
    """Sums over objects, bytes unless said otherwise. A month's reads may be fractions, as they are scaled, and what an
    object has of a pack."""

    objects: int | Decimal = 0
    size: int = 0  # of the content
    stored: int = 0  # where they are now
    billable: int = 0
    monitored: int | Decimal = 0  # objects
    packs: int | Decimal = 0  # of `objects`, those that hold others
    opened: int | Decimal = 0  # packs that some of these are read from
    gets: int | Decimal = 0  # requests that read the source
    sampled: int = 0
    copied: int = 0  # of `size`, what its server copies, so that no byte of it passes through us
    after_objects: int | Decimal = 0
    after: int = 0  # stored where they go
    after_billable: int = 0
    after_monitored: int | Decimal = 0  # objects
    after_gets: int | Decimal = 0  # requests that would read them back
    singles: int | Decimal = 0  # objects written with one PUT
    multiparts: int | Decimal = 0  # objects written in parts
    parts: int | Decimal = 0  # of these
    had: int | Decimal = 0  # of the sources, those that the GET opens that reads them
    listed: int | Decimal = 0  # of these, those that a listing looks at before the swap
    listings: int | Decimal = 0
    owed_bytes: int = 0  # billable, times the days left of the minimum duration when the source goes
    owed_objects: int | Decimal = 0  # times the same days
    reads: Decimal | int = 0  # per month
    read_bytes: Decimal | int = 0  # per month
    after_read_bytes: Decimal | int = 0  # per month

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in COUNTS))

    def as_packs(self, target: int = PACK_SIZE) -> Counts:
        """The same content written as packs of so many bytes of it. Reads stay as they are: a member is a range."""
        packs = -(-self.size // target)
        parts = -(-self.after // PART)
        whole = self.after <= PART * packs
        return replace(
            self,
            after_objects=packs,
            after_billable=self.after,
            after_monitored=packs,
            after_gets=-(-self.after // PIECE),
            singles=packs if whole else 0,
            multiparts=0 if whole else packs,
            parts=0 if whole else parts,
        )

    def of_full_pack(self, target: int = PACK_SIZE) -> Counts:
        """Its own, and its share of what a pack of so many bytes of content comes to."""
        share = Decimal(self.size) / target
        whole = replace(self, size=target, after=round(self.after / share) if share else 0).as_packs(target)
        shares = {name: getattr(whole, name) * share for name in PACKED}
        return replace(self, **shares, after_billable=self.after)


COUNTS: Final = tuple(field.name for field in fields(Counts))
PACKED: Final = ("after_objects", "after_monitored", "after_gets", "singles", "multiparts", "parts")
"""What of these a pack has, and not each of its members."""


@dataclass(frozen=True, slots=True)
class Route:
    """From one class to another. `begun`: the class at whose price an upload in parts is begun and sent.

    `notes`: the class of notes about uploads. `reads_back`: what is written is read back, its store tells no checksum.
    """

    source: ClassPrices
    target: ClassPrices
    begun: ClassPrices
    notes: ClassPrices
    in_place: bool = False
    at_key: bool = True  # the source is an original key, not a blob of ours
    reads_back: bool = False


@dataclass(frozen=True, slots=True)
class MoveTerms:
    """What the policy and the configuration say. `cpu_hour`: USD of one core. `samples`: each object is looked into
    first, whether it shrinks."""

    grace_us: int = 0
    cpu_hour: Decimal = ZERO
    compresses: bool = False
    samples: bool = False

    @property
    def grace_months(self) -> Decimal:
        return Decimal(self.grace_us) / MONTH_US


class Volumes:
    """Billable bytes by class, on top of which more is stored: where large volumes cost less."""

    def __init__(self, known: Mapping[str, int] | None = None) -> None:
        self._bytes = dict(known or {})

    def of(self, prices: ClassPrices) -> int:
        """What is in a class."""
        return self._bytes.get(prices.id, 0)

    def copy(self) -> Volumes:
        """The same, to be changed by itself."""
        return Volumes(self._bytes)

    def add(self, prices: ClassPrices, nbytes: int) -> None:
        self._bytes[prices.id] = max(0, self.of(prices) + nbytes)


Reckoned = tuple[Amount, Amount, Amount]  # once; per month before and after


def reckon(groups: Iterable[tuple[Route, Counts]], terms: MoveTerms, volumes: Volumes) -> Reckoned:
    """What these cost. `volumes` are afterwards as they would be."""
    routes = list(groups)
    once, before, after = Amount(), Amount(), Amount()
    for route, counts in routes:
        volumes.add(route.source, -counts.billable)
        stock = Stock(counts.objects, counts.stored, counts.billable, counts.monitored)
        kept = stored(route.source, stock, above=volumes.of(route.source))
        before += kept + read(route.source, Traffic(counts.reads, counts.read_bytes))
        once += one_time(route, counts, terms)
        if not route.in_place:
            once += Amount(grace=kept.total * terms.grace_months)
    for route, counts in routes:
        stock = Stock(counts.after_objects, counts.after, counts.after_billable, counts.after_monitored)
        after += stored(route.target, stock, above=volumes.of(route.target))
        after += read(route.target, Traffic(counts.reads, counts.after_read_bytes))
        volumes.add(route.target, counts.after_billable)
    return once, before, after


TWICE: Final = 2  # times what a move costs, that it must save at least where nobody says within what time
LOOKS_AT_KEY: Final = 4  # an original: opened, which tells its metadata; before the swap, the release, and the deletion
LOOKS_AT_NEW: Final = 2  # what was written: at once, and before the release


@dataclass(frozen=True, slots=True)
class Requests:
    """Every request that storaged makes once for what it moves. Not in it: requests per batch (the journal, listings),
    and one GET each for tags, for the ACLs of a bucket that has them, and for locks, where there are some."""

    source_gets: int | Decimal = 0
    source_looks: int | Decimal = 0
    puts: int | Decimal = 0  # that make objects
    begun: int | Decimal = 0  # that begin uploads in parts, and send the parts
    notes: int | Decimal = 0  # about such uploads
    listings: int | Decimal = 0  # of sources
    looks: int | Decimal = 0  # at what was written
    looks_at_notes: int | Decimal = 0
    read_back: int | Decimal = 0
    transitions: int | Decimal = 0

    @classmethod
    def of(cls, route: Route, counts: Counts, terms: MoveTerms) -> Requests:
        """What is made for these."""
        if route.in_place:  # look, its checksum, before the copy, its ACL; then what it is, and its checksum again
            return cls(source_looks=4 * counts.objects, looks=2 * counts.objects, transitions=counts.objects)
        # Of a blob: opened; before the swap; when it is deleted. Once more where a sample is read. A pack is
        # opened once, and looked at when it is deleted.
        looks = (LOOKS_AT_KEY if route.at_key else 3) + (1 if terms.samples else 0)
        packs = counts.opened + counts.packs
        return cls(
            source_gets=counts.gets,
            source_looks=(counts.objects - counts.packs) * looks + packs - counts.had - counts.listed,
            listings=counts.listings,
            puts=counts.singles + counts.multiparts,
            begun=counts.multiparts + counts.parts,
            notes=counts.multiparts,
            looks=LOOKS_AT_NEW * counts.after_objects,
            looks_at_notes=2 * counts.multiparts,  # before it is deleted
            read_back=counts.after_gets if route.reads_back else 0,
        )

    @property
    def total(self) -> int:
        """All of them, to the nearest."""
        made: Decimal = sum((Decimal(getattr(self, field.name)) for field in fields(self)), ZERO)
        return round(made)


def one_time(route: Route, counts: Counts, terms: MoveTerms) -> Amount:
    """What a move costs once, its grace aside: every request that storaged makes, what it reads and what is owed."""
    source, target, made = route.source, route.target, Requests.of(route, counts, terms)
    early = owed_early(source, counts.owed_bytes, counts.owed_objects)
    restored = counts.objects - counts.packs + counts.opened if source.archived else 0
    speed = WARM_SPEED if source.archived and WARM_SPEED in source.retrieval else STANDARD_SPEED
    if route.in_place:
        return Amount(
            transition=made.transitions * target.put,
            retrieval=read(source, Traffic(restored, counts.stored), speed).retrieval,
            proof=made.source_looks * source.get + made.looks * target.get,
            early_deletion=early,
        )
    begun, notes = route.begun, route.notes
    taken = counts.stored if source.archived else counts.stored + counts.sampled  # a restored copy is read for nothing
    proof = made.source_looks * source.get + made.looks * target.get + made.looks_at_notes * notes.get
    proof += made.listings * source.list_
    if route.reads_back:
        back = read(target, Traffic(0, counts.after))
        proof += made.read_back * target.get + back.retrieval
    copies = by_steps(source.standard[:1], gigabytes(source, counts.stored)) if source.archived else ZERO
    speed_of_work = COMPRESSED if terms.compresses else COPIED
    return Amount(
        storage=copies * WARM_DAYS / DAYS_PER_MONTH,
        requests=made.source_gets * source.get
        + made.puts * target.put
        + made.begun * begun.put
        + made.notes * notes.put,
        retrieval=read(source, Traffic(restored, taken), speed).retrieval,
        early_deletion=early,
        egress=leaving(source, target, counts.stored),
        cpu=Decimal(counts.size - counts.copied) / speed_of_work / 3600 * terms.cpu_hour,
        proof=proof,
    )


def route_of(
    source: ClassPrices, target: ClassPrices, book: PriceBook, *, in_place: bool, at_key: bool, reads_back: bool
) -> Route:
    """The route between two classes. S3 bills parts for its archive classes as it does for Standard, and only the
    completion at the class's own price (User Guide, "Multipart upload and pricing")."""
    standard = book.of(target, DEFAULT_CLASS) or target
    begun = standard if target.archived else target
    return Route(source, target, begun, standard, in_place, at_key, reads_back)
