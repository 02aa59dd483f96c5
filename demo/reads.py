"""An access log such as a gateway writes: who read which file in the last 90 days."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Final

from demo.lake import EXPORT, Lake, days_of
from storaged.clock import DAY, SECOND, iso

COMPLETE_DAYS: Final = 90  # the log is complete since then
_HOUR: Final = 3_600 * SECOND


def write_log(lake: Lake, now_us: int) -> int:
    """Write logs/reads-YYYY-MM.jsonl and return the number of their lines."""
    lines = sorted(_reads(lake, now_us))
    months: dict[str, list[str]] = {}
    for at_us, agent, name in lines:
        when = str(iso(at_us))
        line = {"ts": when, "op": "GET", "url": f"file://{lake.data / name}", "agent": agent}
        months.setdefault(when[:7], []).append(json.dumps(line))
    for month, written in months.items():
        (lake.place / "logs" / f"reads-{month}.jsonl").write_text("\n".join(written) + "\n")
    return len(lines)


def _reads(lake: Lake, now_us: int) -> Iterator[tuple[int, str, str]]:
    """(instant, agent, DATASET/NAME). The same for every run, but for the days that they are moved to."""
    chance = random.Random(2013)  # noqa: S311  made up on purpose
    days, charts = days_of(lake), sorted(p.name for p in lake.root("charts").iterdir() if p.is_file())

    def at(days_ago: int) -> int:
        return now_us - days_ago * DAY - 2 * _HOUR - chance.randrange(4 * _HOUR)

    for ago in range(COMPLETE_DAYS - 1):
        for day in days[-7:]:  # a dashboard of the last week
            yield at(ago), "dashboard/2.1", f"flights/dt={day}/flights.csv"
            if (
                chance.random() < 0.3 and (lake.root("weather") / f"dt={day}").exists()
            ):  # there is none of New Year's Eve
                yield at(ago), "dashboard/2.1", f"weather/dt={day}/weather.csv"
        for origin in ("EWR", "JFK", "LGA"):  # yesterday's events are loaded every night
            yield at(ago), "loader/0.9", f"events/dt={days[-1]}/{origin}.jsonl"
        if ago % 7 < 5:  # somebody's notebook, on working days
            yield at(ago), "Jupyter", f"charts/{chance.choice(charts)}"
    for day in days[:5]:  # an inquiry, 50 days ago
        for origin in ("EWR", "JFK", "LGA"):
            yield at(50), "duckdb/2.0", f"events/dt={day}/{origin}.jsonl"
    for day in chance.sample(days[5:-7], 4):  # and a few days of which somebody wanted to know last week
        yield at(6), "pandas/3.1", f"flights/dt={day}/flights.csv"
        yield at(6), "pandas/3.1", f"events/dt={day}/JFK.jsonl"
    yield at(80), "curl/8.14", f"exports/{EXPORT}"
