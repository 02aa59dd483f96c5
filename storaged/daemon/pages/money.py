"""/: what everything costs now, the last months, and what was saved of what was expected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog.schema_daemon import tasks
from storaged.daemon.pages.chart import Box, bars
from storaged.daemon.pages.view import Query, View, WebPage
from storaged.prices.amount import ZERO, usd
from storaged.work.show.survey import MoneySurvey, newest_money, past_months

SHOWN: Final = 20  # lines of each bill
DRAWING: Final = Box(0, 10, 720, 150)


def money(view: View, _query: Query) -> WebPage:
    with view.context.catalog.read() as conn:
        now, months = newest_money(conn), past_months(conn)
        due = survey_due(conn)
    title = "Money"
    if now is None:
        return WebPage("money.html", title, {"now": None, "due_us": due, "measured": view.measured})
    proposed = [b for b in view.measured.backlog if b.proposed_saving is not None] if view.measured else []
    applied = _by_month(now)
    values: dict[str, Any] = {
        "now": now,
        "saving": sum((line.saving for line in now.savings), ZERO),
        "expected": sum((line.expected_saving for line in now.savings), ZERO),
        "saved": sum((line.saved for line in now.savings), ZERO),
        "once": sum((line.once for line in now.savings), ZERO),
        "proposed": proposed,
        "proposed_saving": sum((b.proposed_saving or ZERO for b in proposed), ZERO),
        "bills": [(what, _lines(now.by(what))) for what in ("dataset", "tier", "kind")],
        "months": [(month, survey.total) for month, survey in months.items()],
        "month_bars": bars([[("bill", float(s.total), usd(s.total))] for s in months.values()], DRAWING),
        "applied": applied,
    }
    pairs = [
        [("expected", float(m["expected"]), usd(m["expected"])), ("saving", float(m["saving"]), usd(m["saving"]))]
        for m in applied
    ]
    return WebPage("money.html", title, {**values, "applied_bars": bars(pairs, DRAWING)})


def survey_due(conn: sa.Connection) -> int | None:
    """When a daemon counts everything next; None: no daemon ever led."""
    return conn.execute(sa.select(tasks.c.due_us).where(tasks.c.name == "survey")).scalar()


def _lines(bill: Mapping[str, Decimal]) -> list[tuple[str, Decimal, float]]:
    """Name, USD and share of the largest; beyond SHOWN one line of all others."""
    lines = list(bill.items())
    if len(lines) > SHOWN:
        others = sum((amount for _, amount in lines[SHOWN:]), ZERO)
        lines = [*lines[:SHOWN], (f"{len(lines) - SHOWN:,} others", others)]
    most = max((amount for _, amount in lines), default=ZERO)
    return [(name, amount, float(amount / most) if most > 0 else 0.0) for name, amount in lines]


def _by_month(now: MoneySurvey) -> list[dict[str, Any]]:
    """Applied plans by the month in which they were; the last twelve of these."""
    found: dict[str, list[Any]] = {}
    for line in now.savings:
        found.setdefault(line.month, []).append(line)

    def total(lines: Iterable[Any], what: str) -> Decimal:
        return sum((getattr(line, what) for line in lines), ZERO)

    names = ("expected_once", "once", "expected_saving", "saving", "saved")
    rows = [
        {"month": month, "parts": sum(line.parts for line in lines), **{name: total(lines, name) for name in names}}
        for month, lines in sorted(found.items())
    ]
    return [{**row, "expected": row["expected_saving"]} for row in rows[-12:]]
