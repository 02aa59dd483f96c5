"""Up to when a source tells of a dataset's accesses. Where nothing tells, idleness is not known and nothing is idle."""

from __future__ import annotations

from fnmatch import fnmatchcase

import sqlalchemy as sa

from storaged.catalog.schema import datasets, heat_coverage, log_segments
from storaged.work.ingest.base import LogFormat, LogSource


def extend(conn: sa.Connection, source: LogSource, log: LogFormat, *, now_us: int) -> dict[str, tuple[int, int]]:
    """Extend a source's coverage to `now_us` less its lag, its files having been read to their ends.

    It begins where the source is known to be complete (`since`) or at its first event; for our own spool, which knows
    only of datasets that all read through us and cannot tell since when, now. It never shrinks. Returns the windows
    (from_us, until_us) by dataset name. In a transaction that began with `ledger.lock`.
    """
    until_us = now_us - source.lag_us
    if log.own:
        from_us: int | None = until_us
    elif source.since_us is not None:
        from_us = source.since_us
    else:
        first = sa.select(sa.func.min(log_segments.c.from_us)).where(log_segments.c.source == source.name)
        from_us = conn.execute(first).scalar()
    if from_us is None or from_us > until_us:
        return {}
    old = {
        row.dataset_id: row
        for row in conn.execute(sa.select(heat_coverage).where(heat_coverage.c.source == source.name))
    }
    windows: dict[str, tuple[int, int]] = {}
    for dataset in conn.execute(sa.select(datasets.c.id, datasets.c.name, datasets.c.readers)):
        if log.own and dataset.readers != "storaged":
            continue
        if source.datasets is not None and not any(fnmatchcase(dataset.name, glob) for glob in source.datasets):
            continue
        row = old.get(dataset.id)
        window = (min(row.from_us, from_us), max(row.until_us, until_us)) if row else (from_us, until_us)
        windows[dataset.name] = window
        key = {"source": source.name, "dataset_id": dataset.id}
        values = {"from_us": window[0], "until_us": window[1]}
        if row is None:
            conn.execute(sa.insert(heat_coverage).values(**key, **values))
        else:
            conn.execute(sa.update(heat_coverage).filter_by(**key).values(**values))
    return windows
