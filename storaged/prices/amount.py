"""Amounts of money by what they are for. Decimal throughout; the parts always add up to the total."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

ZERO: Final = Decimal(0)
PICODOLLAR: Final = Decimal("1e-12")  # the finest that is told: a millionth of a millionth


@dataclass(frozen=True, slots=True)
class Amount:
    """USD by kind: one-time, or per month, as whoever gives it says."""

    storage: Decimal = ZERO  # of the content, and of what small objects are billed for beyond it
    requests: Decimal = ZERO
    retrieval: Decimal = ZERO  # per GB, and the restore requests of archive classes
    transition: Decimal = ZERO  # requests that change a storage class
    early_deletion: Decimal = ZERO  # the rest of a minimum duration
    monitoring: Decimal = ZERO
    overhead: Decimal = ZERO  # what archive classes store beside each object
    egress: Decimal = ZERO
    cpu: Decimal = ZERO
    proof: Decimal = ZERO  # HEADs, and reading back
    grace: Decimal = ZERO  # the source's storage while both are kept

    @property
    def total(self) -> Decimal:
        return sum((getattr(self, kind) for kind in KINDS), ZERO)

    def __add__(self, other: Amount) -> Amount:
        return Amount(*(getattr(self, kind) + getattr(other, kind) for kind in KINDS))

    def __sub__(self, other: Amount) -> Amount:
        return Amount(*(getattr(self, kind) - getattr(other, kind) for kind in KINDS))

    def __mul__(self, factor: Decimal | int) -> Amount:
        return Amount(*(getattr(self, kind) * factor for kind in KINDS))

    def rounded(self) -> Amount:
        """Every kind to the picodollar. Sums of such amounts are exact, in whatever order."""
        return Amount(*(getattr(self, kind).quantize(PICODOLLAR, ROUND_HALF_EVEN) for kind in KINDS))

    def as_json(self) -> dict[str, str]:
        """`total` and every kind as decimal strings, which add up exactly."""
        told = self.rounded()
        kinds = {kind: getattr(told, kind) for kind in KINDS}
        return {name: plain(value) for name, value in {"total": sum(kinds.values(), ZERO), **kinds}.items()}

    @classmethod
    def from_json(cls, told: dict[str, str]) -> Amount:
        return cls(**{kind: Decimal(told[kind]) for kind in KINDS if kind in told})


KINDS: Final = tuple(field.name for field in fields(Amount))


def configured(money: str) -> Decimal:
    """An amount as configurations have it, such as `50 USD`."""
    return Decimal(money.removesuffix(" USD"))


def plain(value: Decimal) -> str:
    """A decimal without an exponent and without zeros at its end."""
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def usd(value: Decimal) -> str:
    """An amount as people read it: cents, or below a cent two digits that say something: $43,400.00, $0.0012."""
    sign, value = ("-", -value) if value < 0 else ("", value)
    if 0 < value < Decimal("0.01"):
        shown = plain(Decimal(f"{value:.1e}"))
        return f"{sign}${shown}" if value >= Decimal("1e-9") else f"{sign}<$0.000000001"
    return f"{sign}${value.quantize(Decimal('0.01'), ROUND_HALF_EVEN):,}"
