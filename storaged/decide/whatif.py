"""What it would cost to move so many objects from one storage class to another: from prices alone, without a catalog.

docs/money.md says the same in words. Amounts are exact Decimals in USD; sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from storaged.decide.money import LOOKS_AT_KEY, LOOKS_AT_NEW, PACK_SIZE
from storaged.prices.amount import ZERO, Amount
from storaged.prices.book import DAYS_PER_MONTH, ClassPrices
from storaged.prices.formulas import Stock, Traffic, leaving, payback_months, read, settled

MOST_OBJECTS: Final = 10**15  # and reads a month
MOST_BYTES: Final = 10**24  # beyond, decimals of 28 digits could not tell a picodollar of each kind


@dataclass(frozen=True, slots=True)
class Question:
    """Objects of one size in a class, and how they would be kept elsewhere."""

    objects: int
    size: int  # bytes of each
    source: ClassPrices
    target: ClassPrices
    reads: Decimal = ZERO  # of the whole of each object, per month
    pack: int | None = None  # bytes of the new objects, each with many of the old in it
    ratio: Decimal = Decimal(1)  # 3: a third of the size is stored and read
    grace_days: Decimal = ZERO  # how long the source is kept beside a copy

    @property
    def beyond(self) -> bool:
        """Whether it is about more than the amounts can tell exactly."""
        times = max(Decimal(1), self.reads)
        objects, kept = max(self.objects, self.new_objects), max(self.objects * self.size, self.new_bytes)
        return objects * times > MOST_OBJECTS or kept * times > MOST_BYTES

    @property
    def rewritten(self) -> bool:
        """Whether new objects are written. Else the store only changes the class of those that are there."""
        return self.source.region != self.target.region or self.pack is not None or self.ratio != 1

    @property
    def new_bytes(self) -> int:
        """All bytes stored afterwards, to the nearest."""
        return int((Decimal(self.objects * self.size) / self.ratio).to_integral_value())

    @property
    def new_objects(self) -> int:
        """Objects afterwards."""
        return self.objects if self.pack is None else max(1, -(-self.new_bytes // self.pack))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a move costs once, and what is paid per month before and after it."""

    one_time: Amount
    before: Amount
    after: Amount

    @property
    def payback(self) -> Decimal | None:
        """Months until the move has paid for itself; None: never."""
        return payback_months(self.one_time.total, self.before.total, self.after.total)

    @property
    def first_year(self) -> Decimal:
        """What is saved in twelve months, the move paid; below 0: it costs more."""
        return 12 * (self.before.total - self.after.total) - self.one_time.total


def answer(asked: Question) -> Answer:
    """What the move costs, and what it saves."""
    source, target = asked.source, asked.target
    old_bytes = asked.objects * asked.size
    kept = _kept(source, asked.objects, old_bytes, asked.reads)
    before = kept + read(source, Traffic(asked.objects * asked.reads, old_bytes * asked.reads))
    after = _kept(target, asked.new_objects, asked.new_bytes, asked.reads * asked.objects / asked.new_objects) + read(
        target, Traffic(asked.objects * asked.reads, asked.new_bytes * asked.reads)
    )
    out = read(source, Traffic(asked.objects, old_bytes))
    if not asked.rewritten:
        once = Amount(retrieval=out.retrieval, transition=asked.objects * target.transition_in)
    else:
        once = out + Amount(
            requests=asked.new_objects * target.put,
            egress=leaving(source, target, old_bytes),
            proof=LOOKS_AT_KEY * asked.objects * source.get + LOOKS_AT_NEW * asked.new_objects * target.get,  # HEADs
            grace=kept.total * asked.grace_days / DAYS_PER_MONTH,
        )
    return Answer(once, before, after)


def packed(asked: Question) -> Answer | None:
    """The same move in packs, where count is what costs: single objects lose money in a year and packs do not."""
    if asked.pack is not None or asked.size >= PACK_SIZE or answer(asked).first_year >= 0:
        return None
    found = answer(replace(asked, pack=PACK_SIZE))
    return found if found.first_year > 0 else None


def _kept(prices: ClassPrices, objects: int, nbytes: int, reads: Decimal) -> Amount:
    stock = Stock(
        objects=objects,
        bytes=nbytes,
        billable=max(nbytes, objects * prices.minimum_bytes),
        monitored=objects if nbytes >= objects * prices.monitoring_bytes else 0,
    )
    return settled(prices, stock, reads)
