"""Up to when a source tells of a dataset's accesses. Where nothing tells, idleness is not known and nothing is idle."""

from __future__ import annotations

from fnmatch import fnmatchcase

import sqlalchemy as sa

from storaged.catalog.schema import datasets, heat_coverage
from storaged.work.ingest import counted_lines
from storaged.work.ingest.base import LogFormat, LogSource


def extend(
    conn: sa.Connection, source: LogSource, log: LogFormat, *, now_us: int, heard_us: int | None
) -> dict[str, tuple[int, int]]:
    """Extend a source's coverage to `heard_us` less its lag, its files having been read to their ends: up to then what
    they tell was understood. None: that is not known, and the coverage stays.

    It begins where the source is known to be complete (`since`) or at its first event; for our own spool, which knows
    only of datasets that all read through us and cannot tell since when, now. Of a dataset that was registered after
    the source was first ingested, earlier events may have been in no dataset: it begins no sooner. It never shrinks.
    Returns the windows (from_us, until_us) by dataset name. In a transaction that began with `ledger.lock`.
    """
    lag_us = log.lag_us if source.lag_us is None else source.lag_us
    until_us = now_us - lag_us if heard_us is None else min(heard_us, now_us) - lag_us
    state = counted_lines.memory(conn, source.name, now_us=now_us)
    if log.own:
        from_us: int | None = until_us
    else:
        from_us = state.from_us if source.since_us is None else source.since_us
    if from_us is None or from_us > until_us:
        return {}
    old = {
        row.dataset_id: row
        for row in conn.execute(sa.select(heat_coverage).where(heat_coverage.c.source == source.name))
    }
    windows: dict[str, tuple[int, int]] = {}
    query = sa.select(datasets.c.id, datasets.c.name, datasets.c.readers, datasets.c.registered_us)
    for dataset in conn.execute(query):
        if log.own and dataset.readers != "storaged":
            continue
        if source.datasets is not None and not any(fnmatchcase(dataset.name, glob) for glob in source.datasets):
            continue
        row = old.get(dataset.id)
        if heard_us is None:
            if row:
                windows[dataset.name] = row.from_us, row.until_us
            continue
        low = from_us if dataset.registered_us <= state.begun_us else max(from_us, dataset.registered_us)
        if low > until_us:
            continue
        window = (min(row.from_us, low), max(row.until_us, until_us)) if row else (low, until_us)
        windows[dataset.name] = window
        key = {"source": source.name, "dataset_id": dataset.id}
        values = {"from_us": window[0], "until_us": window[1]}
        if row is None:
            conn.execute(sa.insert(heat_coverage).values(**key, **values))
        else:
            conn.execute(sa.update(heat_coverage).filter_by(**key).values(**values))
    return windows
