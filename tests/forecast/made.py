"""Pasts that are made: with a law that is known, so that what is learnt can be compared with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from storaged.catalog.schema import access, datasets, heat_coverage, objects
from storaged.clock import DAY
from storaged.decide.simulate.trace import Trace

Rates = Callable[[np.random.Generator, NDArray[np.int64]], NDArray[np.float64]]  # of an object, by age in days


def steady(mean: float, shape: float) -> Rates:
    """A rate for life, of a Gamma."""
    return lambda chance, age: np.full(len(age), chance.gamma(shape, mean / shape))


def cooling(days: float) -> Rates:
    """Much read when new, and hardly ever after some days."""
    return lambda chance, age: chance.gamma(2.0, 1.0) * np.exp(-age / days) + 0.002


def made(rates: Rates, objects: int, days: int, *, seed: int = 1, old: bool = False, name: str = "") -> Trace:
    """Objects of 1 MiB that are made over the days (`old`: all on the first), each read whole, by a Poisson law."""
    chance = np.random.default_rng(seed)
    created = np.sort(np.zeros(objects, np.int64) if old else chance.integers(0, days - 1, objects))
    read_day, reads, starts = [], [], [0]
    for begin in created:
        counts = chance.poisson(rates(chance, np.arange(days - begin)))
        on = np.flatnonzero(counts)
        read_day.append(begin + on)
        reads.append(counts[on])
        starts.append(starts[-1] + len(on))
    told = np.concatenate(reads).astype(np.int64)
    return Trace(
        days=days,
        created=created.astype(np.int32),
        sizes=np.full(objects, 1 << 20),
        starts=np.array(starts),
        read_day=np.concatenate(read_day).astype(np.int32),
        reads=told,
        read_bytes=told << 20,
        datasets=(name,) if name else (),
        dataset=np.zeros(objects, np.int32) if name else None,
    )


def shuffled_after(trace: Trace, cut: int, seed: int = 5) -> Trace:
    """The same with the days from `cut` on in another order."""
    order = np.arange(trace.days)
    order[cut:] = np.random.default_rng(seed).permutation(order[cut:])
    day = order[trace.read_day].astype(np.int32)
    day = np.maximum(day, trace.created[trace.read_object()])
    by = np.lexsort((day, trace.read_object()))
    fields = {name: getattr(trace, name) for name in Trace.__dataclass_fields__}
    told = {"read_day": day[by], "reads": trace.reads[by], "read_bytes": trace.read_bytes[by]}
    return Trace(**(fields | told))


def fill(conn: sa.Connection, trace: Trace, *, dataset: str, end_day: int, first_id: int = 1) -> None:
    """A trace into a catalog, whose last day is the one before `end_day` (since 1970), all of it covered."""
    ids = {row.name: (row.id, row.tier_id) for row in conn.execute(sa.select(datasets))}
    dataset_id, tier_id = ids[dataset]
    first = end_day - trace.days
    span = {"from_us": first * DAY, "until_us": end_day * DAY}
    conn.execute(sa.insert(heat_coverage).values(source="log", dataset_id=dataset_id, **span))
    common = {"dataset_id": dataset_id, "tier_id": tier_id}
    rows = [
        common
        | {"id": first_id + n, "name": f"{n:05}.csv", "size": size, "stored_bytes": size, "format": "csv"}
        | {"mtime_us": (first + born) * DAY, "created_us": (first + born) * DAY}
        for n, (born, size) in enumerate(zip(trace.created.tolist(), trace.sizes.tolist(), strict=True))
    ]
    conn.execute(sa.insert(objects), rows)
    told = zip(trace.read_object(), trace.read_day, trace.reads, trace.read_bytes, strict=True)
    counted = [
        {"object_id": first_id + int(n), "day": first + int(d), "reads": int(r), "read_bytes": int(b), "last_us": 0}
        for n, d, r, b in told
    ]
    conn.execute(sa.insert(access), counted)
