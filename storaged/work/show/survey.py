"""A survey: what everything costs, what applied plans saved of what was expected, and how much there is of which age
and heat. It looks at every object, so it is made now and then, and kept; pages and metrics show the newest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Final

import sqlalchemy as sa
from pydantic import TypeAdapter

from storaged.catalog import surveys
from storaged.catalog.engine import Catalog
from storaged.prices.amount import ZERO

NEVER: Final = "never read"
UNKNOWN: Final = "reads unknown"
AGE_NAMES: Final = ("under 30 days", "30 to 90 days", "90 days to a year", "over a year")
HEAT_NAMES: Final = (UNKNOWN, NEVER, "under one a month", "under one a day", "one a day or more")


@dataclass(frozen=True, slots=True)
class BillLine:
    """USD per month of a dataset (empty: none) in a tier for one kind of cost."""

    dataset: str
    tier: str
    kind: str
    usd: Decimal


@dataclass(frozen=True, slots=True)
class SavingLine:
    """Parts of plans of one policy that were applied in one month. USD once, USD per month, and USD saved so far.

    `expected_once`, `expected_saving`: of those of which it was known.
    """

    month: str
    policy: str
    parts: int
    expected_once: Decimal
    once: Decimal
    expected_saving: Decimal
    saving: Decimal
    saved: Decimal


@dataclass(frozen=True, slots=True)
class PackLine:
    """Packs of a tier: what they take, what they held when they were made, and what of that is still somebody's."""

    tier: str
    packs: int
    stored_bytes: int
    content_bytes: int
    live_bytes: int


@dataclass(frozen=True, slots=True)
class MoneySurvey:
    """`unpriced_bytes`: stored where no prices are known. `unread`: datasets of whose reads no log tells."""

    at_us: int
    bill: tuple[BillLine, ...] = ()
    grace: Decimal = ZERO
    unpriced_bytes: int = 0
    unread: tuple[str, ...] = ()
    savings: tuple[SavingLine, ...] = ()
    packs: tuple[PackLine, ...] = ()

    @property
    def total(self) -> Decimal:
        """USD per month."""
        return sum((line.usd for line in self.bill), ZERO)

    def by(self, what: str) -> Mapping[str, Decimal]:
        """The bill by `dataset`, `tier` or `kind`, the largest first."""
        found: dict[str, Decimal] = {}
        for line in self.bill:
            name = getattr(line, what)
            found[name] = found.get(name, ZERO) + line.usd
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True, slots=True)
class Cell:
    """Objects of a dataset of one age (of AGE_NAMES) and heat (of HEAT_NAMES), by number; stored bytes."""

    dataset: str
    age: int
    heat: int
    objects: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Survey:
    """All of it."""

    money: MoneySurvey
    cells: tuple[Cell, ...] = ()


@cache  # 50 ms, which commands that read no survey need not wait for
def _money() -> TypeAdapter[MoneySurvey]:
    return TypeAdapter(MoneySurvey)


@cache
def _cells() -> TypeAdapter[tuple[Cell, ...]]:
    return TypeAdapter(tuple[Cell, ...])


def as_kept(survey: Survey) -> tuple[str, str]:
    """Its money and its cells as the catalog keeps them."""
    return _money().dump_json(survey.money).decode(), _cells().dump_json(survey.cells).decode()


def keep(catalog: Catalog, survey: Survey) -> None:
    """Keep it as its day's."""
    with catalog.begin() as conn:
        surveys.keep(conn, survey.money.at_us, *as_kept(survey))


def newest(conn: sa.Connection) -> Survey | None:
    """The newest that was kept; None: none was yet."""
    found = surveys.newest(conn)
    return None if found is None else Survey(_money().validate_json(found[0]), _cells().validate_json(found[1]))


def newest_money(conn: sa.Connection) -> MoneySurvey | None:
    """The money of the newest."""
    found = surveys.newest(conn)
    return None if found is None else _money().validate_json(found[0])


def past_months(conn: sa.Connection, number: int = 12) -> Mapping[str, MoneySurvey]:
    """The last of each calendar month (UTC, 2026-11), oldest first."""
    found = surveys.months(conn, number)
    return {month: _money().validate_json(money) for month, money in found.items()}
