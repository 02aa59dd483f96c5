"""An examination: what doctor finds, the first of each kind and how many there are, and the newest that was kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import sqlalchemy as sa
from pydantic import TypeAdapter

from storaged.catalog.schema_approvals import examinations
from storaged.work.context import Context
from storaged.work.doctor.base import Finding, Severity

KEPT: Final = 20  # findings of each kind


@dataclass(frozen=True, slots=True)
class Examination:
    """`findings`: the first of each kind, the worst kinds first; `numbers`: how many there are, by kind."""

    at_us: int
    findings: tuple[Finding, ...]
    numbers: Mapping[str, int]

    @property
    def to_mend(self) -> int:
        """How many are more than worth knowing."""
        kinds = {finding.check for finding in self.findings if finding.severity is not Severity.INFO}
        return sum(self.numbers[kind] for kind in kinds)

    def first(self, most: int) -> Examination:
        """The same with at most so many findings of each kind."""
        return replace(self, findings=gathered(self.findings, self.at_us, most=most).findings)


@cache
def _examinations() -> TypeAdapter[Examination]:
    return TypeAdapter(Examination)


def gathered(findings: Iterable[Finding], at_us: int, *, most: int = KEPT) -> Examination:
    """At most so many findings of each kind."""
    numbers: Counter[str] = Counter()
    kept: list[Finding] = []
    for finding in findings:
        numbers[finding.check] += 1
        if numbers[finding.check] <= most:
            kept.append(finding)
    worst = (Severity.ERROR, Severity.WARNING, Severity.INFO)
    kept.sort(key=lambda found: (worst.index(found.severity), found.check))
    return Examination(at_us, tuple(kept), dict(numbers))


def keep(context: Context, found: Examination) -> None:
    """In the place of what was found before. Raises CatalogError."""
    with context.catalog.begin() as conn:
        conn.execute(sa.delete(examinations))
        conn.execute(sa.insert(examinations).values(at_us=found.at_us, findings=as_json(found.first(KEPT))))


def as_json(found: Examination) -> str:
    """As the catalog keeps it."""
    return _examinations().dump_json(found).decode()


def newest(conn: sa.Connection) -> Examination | None:
    """What was found last; None: doctor was not asked yet."""
    row = conn.execute(sa.select(examinations.c.findings).order_by(examinations.c.at_us.desc()).limit(1)).scalar()
    return None if row is None else _examinations().validate_json(row)
