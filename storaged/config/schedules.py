"""When recurring work runs: schedules as cron writes them, in UTC, and windows that open by one."""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from pydantic import AfterValidator

from storaged.clock import DAY, from_datetime, to_datetime
from storaged.config.quantities import BadValueError, shown

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger

_FORMS: Final = 'minute hour day month weekday, such as "0 2 * * *" (UTC)'
_ANY: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)  # a schedule fires at some time after it, or never
_YEAR_DAYS: Final = 366


def _schedule(text: str) -> str:
    fields = text.split()
    if len(fields) == 5 and re.search("[0-9]", fields[4]):
        raise BadValueError(
            f"{shown(fields[4])}: numbers of weekdays mean different days to different programs",
            hint="write mon, tue, wed, thu, fri, sat or sun",
        )
    try:
        fires = _trigger(text).get_next_fire_time(None, _ANY)
    except ValueError as error:
        raise BadValueError(f"{shown(text)} is not a schedule: {error}", hint=_FORMS) from error
    if fires is None:
        raise BadValueError(f"{shown(text)}: there is no such day", hint=_FORMS)
    return text


Schedule: TypeAlias = Annotated[str, AfterValidator(_schedule)]


def next_fire(schedule: str, after_us: int) -> int:
    """The first instant after `after_us` at which a schedule fires (microseconds since 1970, UTC)."""
    found = _trigger(schedule).get_next_fire_time(None, to_datetime(after_us + 1))
    return from_datetime(found)


def is_open(opens: str, for_us: int, now_us: int) -> bool:
    """Whether a window that opens by a schedule, and then stays open for so long, is open now."""
    return next_fire(opens, now_us - for_us) <= now_us


def daily(schedule: str) -> str:
    """The schedule that fires at the same times of the day, on each day."""
    minute, hour, *_ = schedule.split()
    return f"{minute} {hour} * * *"


@lru_cache(maxsize=256)
def rests_a_day(schedule: str) -> bool:
    """Whether there is a day of a year, of whole UTC, in which and with whose end a schedule does not fire."""
    begin = from_datetime(_ANY)
    return any(next_fire(schedule, begin + day * DAY) > begin + (day + 1) * DAY for day in range(_YEAR_DAYS))


@lru_cache(maxsize=1024)
def _trigger(schedule: str) -> CronTrigger:
    from apscheduler.triggers.cron import CronTrigger  # here only: few commands ask when something fires

    return CronTrigger.from_crontab(schedule, timezone=dt.UTC)
