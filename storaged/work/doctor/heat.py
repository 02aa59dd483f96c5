"""Access logs: up to when they tell, and whether they still tell anything."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema import datasets, heat_coverage, log_lines, log_sources
from storaged.clock import iso
from storaged.work.context import Context
from storaged.work.doctor.base import LATE_US, Finding, FindingKind, Severity
from storaged.work.ingest import FORMATS
from storaged.work.ingest.counted_lines import MINUTE
from storaged.work.ingest.known import garbled_logs
from storaged.work.ingest.reads import LAG_US

SPOOL: Final = "spool"  # the source that our own reader writes
SILENT_US: Final = 7 * LATE_US

LOG_UNREAD = FindingKind(
    "log-unread",
    Severity.WARNING,
    "The configuration names an access log that tells of nothing yet: what only it covers never counts as idle.",
    "`storagectl ingest {source}`",
)
LOG_STOPPED = FindingKind(
    "log-stopped",
    Severity.WARNING,
    "An access log tells of a dataset's reads up to long ago: idleness is judged as of then, so that nothing cools.",
    "`storagectl ingest {source}` reads what is new, or says what cannot be read.",
)
LOG_GARBLED = FindingKind(
    "log-garbled",
    Severity.WARNING,
    "Too many lines of an access log cannot be read as events: what it covers ends there, and nothing cools that would "
    "have to be idle later than that.",
    "Give the source the right `format` or `keys` in storaged.yaml, or take the file out of its path, or raise "
    "`max_malformed`; then `storagectl ingest {source}`.",
)
LOG_SILENT = FindingKind(
    "log-silent",
    Severity.INFO,
    "An access log is read and had no event for a week: nobody reads, or nobody writes the log any more.",
    "See that the server still logs. If it does not, take the log out of storaged.yaml: its silence counts as idle.",
)
LOG_GONE = FindingKind(
    "log-gone",
    Severity.INFO,
    "The configuration does not name an access log any more that was read before: it tells up to when it was.",
    "Nothing, or put it back into storaged.yaml.",
)


def logs(context: Context) -> Iterator[Finding]:
    """Sources of the configuration against what the catalog knows of them."""
    by_source: dict[str, list[tuple[str, int]]] = {}
    with context.catalog.read() as conn:
        query = sa.select(heat_coverage.c.source, datasets.c.name, heat_coverage.c.until_us).join(datasets)
        for source, dataset, until in conn.execute(query.order_by(heat_coverage.c.source, datasets.c.name)):
            by_source.setdefault(source, []).append((dataset, int(until)))
        begun = set(conn.execute(sa.select(log_sources.c.source)).scalars())
        last = sa.select(log_lines.c.source, sa.func.max(log_lines.c.minute)).group_by(log_lines.c.source)
        newest = {source: int(minute) * MINUTE for source, minute in conn.execute(last)}
        garbled = {source: read.trouble(key) for source, key, read in garbled_logs(conn)}
    lags = {s.name: FORMATS[s.format].lag_us if s.lag is None else s.lag for s in context.settings.heat}
    for name, lag in lags.items():
        covered = [(d, until) for d, until in by_source.get(name, []) if _tells_of(context, name, d)]
        if name in garbled:
            yield LOG_GARBLED.found(f"log:{name}", garbled[name], source=name)
            continue
        if name not in begun or not covered:
            yield LOG_UNREAD.found(f"log:{name}", "it covers no dataset", source=name)
            continue
        yield from _stopped(context, name, lag, covered)
        at = newest.get(name)
        if at is not None and at < max(until for _, until in covered) - SILENT_US:
            yield LOG_SILENT.found(f"log:{name}", f"its last event is of {iso(at)}")
    yield from _stopped(context, SPOOL, LAG_US, [c for c in by_source.get(SPOOL, []) if c[0] in context.datasets])
    for name in sorted(by_source.keys() - lags.keys() - {SPOOL}):
        yield LOG_GONE.found(f"log:{name}", f"it tells up to {iso(max(until for _, until in by_source[name]))}")


def _tells_of(context: Context, source: str, dataset: str) -> bool:
    """Whether the configuration still says so."""
    globs = next(s.datasets for s in context.settings.heat if s.name == source)
    return dataset in context.datasets and (globs is None or any(fnmatchcase(dataset, g) for g in globs))


def _stopped(context: Context, name: str, lag: int, covered: list[tuple[str, int]]) -> Iterator[Finding]:
    late = [(dataset, until) for dataset, until in covered if until < context.now_us() - lag - LATE_US]
    if late:
        dataset, until = min(late, key=lambda found: found[1])
        others = f", and {len(late) - 1:,} others" if len(late) > 1 else ""
        yield LOG_STOPPED.found(f"log:{name}", f"it tells of {dataset}{others} up to {iso(until)}", source=name)


KINDS: Final = (LOG_UNREAD, LOG_STOPPED, LOG_GARBLED, LOG_SILENT, LOG_GONE)
