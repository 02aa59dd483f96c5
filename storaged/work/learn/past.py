"""The catalog's past to learn from: which days are known of each dataset, and what was read of a sample of its objects.

Memory is bounded: of more than MOST_OBJECTS objects a sample is read, the same at each time, in which small datasets
are whole and large ones have equal parts; and fewer of these where they would have more than MOST_ROWS days of reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.engine import Catalog
from storaged.catalog.placements import dataset_ids
from storaged.catalog.schema import access, heat_coverage, objects
from storaged.clock import DAY
from storaged.decide.forecast.history import History, Stretch, heard
from storaged.decide.sql import in_ids
from storaged.errors import UsageError
from storaged.work.money.past import trace_of, whole_numbers

MOST_OBJECTS: Final = 100_000
MOST_ROWS: Final = 5_000_000
MOST_DAYS: Final = 730
_PRIME, _FACTOR = 1_000_003, 7_919  # (id · factor) mod prime scatters ids, and overflows on no database


@dataclass(frozen=True, slots=True)
class LearningPast:
    """The history of `history.trace.objects` objects of `objects`, and what is to be said of it."""

    history: History
    objects: int
    notes: tuple[str, ...]


def read_history(catalog: Catalog, now_us: int, days: int | None = None) -> LearningPast:
    """The last so many whole UTC days that any heat source tells of (None: all, at most MOST_DAYS).

    Raises UsageError where there are none, or not so many.
    """
    with catalog.read() as conn:
        names = {number: name for name, number in dataset_ids(conn).items()}
        known = _known(conn, now_us // DAY)
        begin, end = _span(known, days)
        covered = sorted(known)
        here = (objects.c.dataset_id.in_(covered), objects.c.removed_us.is_(None), objects.c.created_us < end * DAY)
        counted = conn.execute(
            sa.select(objects.c.dataset_id, sa.func.count()).where(*here).group_by(objects.c.dataset_id)
        )
        sizes = {int(i): int(n) for i, n in counted}
        if not sizes:
            raise UsageError("the catalog holds no objects whose reads are known", hint="`storagectl scan` finds them")
        during = (access.c.day >= begin, access.c.day < end, access.c.reads > 0)
        taken = sa.and_(*here, _sampled(_shares(sizes)))
        joined = access.join(objects, objects.c.id == access.c.object_id)
        number = conn.execute(sa.select(sa.func.count()).select_from(joined).where(taken, *during)).scalar_one()
        if number > MOST_ROWS:
            taken = sa.and_(*here, _sampled({i: s * MOST_ROWS / number for i, s in _shares(sizes).items()}))
        about = (objects.c.id, objects.c.dataset_id, objects.c.size, objects.c.created_us // DAY)
        found = whole_numbers(conn, sa.select(*about).where(taken).order_by(objects.c.id))
        counts = (access.c.object_id, access.c.day, access.c.reads, access.c.read_bytes)
        query = sa.select(*counts).select_from(joined).where(taken, *during)
        rows = whole_numbers(conn, query.order_by(access.c.object_id, access.c.day))
        ahead = conn.execute(sa.select(sa.func.count()).where(access.c.day > now_us // DAY)).scalar_one()
    trace, order = trace_of(found, rows, begin, end, [names[i] for i in covered], covered)
    born = np.minimum(found[order, 3] - begin, trace.created)
    stretches = tuple(
        tuple((max(a, begin) - begin, min(b, end) - begin) for a, b in known[i] if a < end and b > begin)
        for i in covered
    )
    told = History(trace, born.astype(np.int32), stretches, begin)
    whole = History(trace, told.born, heard(told), begin)
    notes = [*_silences(told, whole), *_left_out(names, covered)]
    if ahead:
        notes.append(f"{ahead:,} days of reads are in the future, and do not count: a clock jumped")
    if trace.objects < sum(sizes.values()):
        notes.append(f"a sample: {trace.objects:,} of {sum(sizes.values()):,} objects, the same at each time")
    return LearningPast(whole, sum(sizes.values()), tuple(notes))


def _known(conn: sa.Connection, today: int) -> dict[int, list[Stretch]]:
    """By dataset id the stretches of whole days (since 1970) that sources tell of, in order; those before today."""
    found: dict[int, list[Stretch]] = {}
    for row in conn.execute(sa.select(heat_coverage).order_by(heat_coverage.c.from_us)):
        begin, end = -(-row.from_us // DAY), min(row.until_us // DAY, today)
        if begin < end:
            found.setdefault(row.dataset_id, []).append((begin, end))
    return {i: _united(stretches) for i, stretches in found.items()}


def _united(stretches: list[Stretch]) -> list[Stretch]:
    """Stretches in the order of their begins, without overlap."""
    found: list[Stretch] = []
    for begin, end in stretches:
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return found


def _span(known: Mapping[int, list[Stretch]], days: int | None) -> tuple[int, int]:
    if not known:
        raise UsageError("no heat source tells of a whole day of reads", hint="`storagectl ingest` reads the logs")
    end = max(stretches[-1][1] for stretches in known.values())
    longest = end - min(stretches[0][0] for stretches in known.values())
    if days is not None and days > longest:
        raise UsageError(f"heat sources tell of {longest} days of reads, not of {days}", hint=f"--history {longest}d")
    return end - min(longest, MOST_DAYS if days is None else days), end


def _shares(sizes: Mapping[int, int]) -> dict[int, float]:
    """By dataset id the share of its objects that is read: all of small ones, the same number of each large one."""
    left, most, waiting = MOST_OBJECTS, 0.0, len(sizes)
    for size in sorted(sizes.values()):
        most = left / waiting
        if size > most:
            break
        left, waiting = left - size, waiting - 1
    return {i: min(1.0, most / size) if waiting else 1.0 for i, size in sizes.items()}


def _sampled(shares: Mapping[int, float]) -> ColumnElement[bool]:
    """Whether an object is in a sample of these shares of datasets."""
    whole = [i for i, share in shares.items() if share >= 1]
    parts = {i: int(share * _PRIME) for i, share in shares.items() if share < 1}
    if not parts:
        return in_ids(objects.c.dataset_id, whole)
    limit = sa.case(*((objects.c.dataset_id == i, most) for i, most in parts.items()), else_=_PRIME)
    return (objects.c.id % _PRIME) * _FACTOR % _PRIME < limit


def _silences(told: History, whole: History) -> list[str]:
    """Days of which some source says that it tells all, and of which it most likely does not."""
    found = []
    for name, before, after in zip(told.names, told.known, whole.known, strict=True):
        lost = sum(b - a for a, b in before) - sum(b - a for a, b in after)
        if lost:
            found.append(f"{lost:,} days of {name}")
    if not found:
        return []
    more = f" and of {len(found) - 3:,} more datasets" if len(found) > 3 else ""
    return [f"not learnt from, for nothing at all was read, as if the log had a hole: {', '.join(found[:3])}{more}"]


def _left_out(names: Mapping[int, str], covered: list[int]) -> list[str]:
    found = sorted(name for i, name in names.items() if i not in covered)
    return [f"left out, for no log tells of their reads: {', '.join(found)}"] if found else []
