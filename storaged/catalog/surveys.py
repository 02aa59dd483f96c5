"""What surveys found, kept by day: the last of each day stands for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema_surveys import surveys
from storaged.clock import DAY, to_datetime

KEPT_DAYS: Final = 400


def keep(conn: sa.Connection, at_us: int, money: str, spread: str) -> None:
    """Keep a survey (JSON) in the place of the same day's, and no more what is older than KEPT_DAYS."""
    day = at_us // DAY
    conn.execute(sa.delete(surveys).where(sa.or_(surveys.c.day == day, surveys.c.day < day - KEPT_DAYS)))
    conn.execute(sa.insert(surveys).values(day=day, at_us=at_us, money=money, spread=spread))


def newest(conn: sa.Connection) -> tuple[str, str] | None:
    """Money and spread of the newest survey, as `keep` was given them; None: there was none yet."""
    row = conn.execute(sa.select(surveys.c.money, surveys.c.spread).order_by(surveys.c.day.desc()).limit(1)).first()
    return None if row is None else (row.money, row.spread)


def months(conn: sa.Connection, number: int) -> Mapping[str, str]:
    """The money of the last survey of each calendar month (UTC, 2026-11), at most so many, oldest first."""
    last: dict[str, int] = {}
    for day in conn.execute(sa.select(surveys.c.day).order_by(surveys.c.day)).scalars():
        last[f"{to_datetime(day * DAY):%Y-%m}"] = day
    wanted = dict(list(last.items())[-number:])
    found = conn.execute(sa.select(surveys.c.day, surveys.c.money).where(surveys.c.day.in_(wanted.values())))
    money = {row.day: row.money for row in found}
    return {month: money[day] for month, day in wanted.items()}
