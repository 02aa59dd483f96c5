"""A made-up trace to simulate policies on: `python -m demo.trace reads.parquet`. The same on every machine.

4,000 objects of 8 KiB to 1 GiB, half of them there on the first day and the others written in the two years after it.
Objects are read much when they are new and less each week; one in twelve comes back, for a month, half a year later.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

FIRST: Final = (date(2024, 1, 1) - date(1970, 1, 1)).days
DAYS: Final = 730
OBJECTS: Final = 4_000
_WEEK: Final = 7

Row = tuple[int, str, str, int, int]  # second, object, op, bytes, count
NAMES: Final = ("ts", "object_id", "op", "size_bytes", "count")


def rows() -> Iterator[Row]:
    """Every write and read, by object: the columns of `storagectl simulate --trace`."""
    chance = random.Random(2024)  # noqa: S311  made up on purpose
    for number in range(OBJECTS):
        name = f"events/part-{number:05}.parquet"
        born = 0 if number < OBJECTS // 2 else chance.randrange(DAYS)
        size = min(1 << 30, max(8 << 10, int(chance.lognormvariate(17, 2))))
        yield (FIRST + born) * 86_400, name, "write", size, 1
        back = born + 180 if chance.random() < 1 / 12 else DAYS
        liked = chance.paretovariate(1.2)  # few are read much, most hardly
        for day in range(born, DAYS):
            rate = liked * 0.4 * 0.72 ** ((day - born) / _WEEK) + (0.3 if back <= day < back + 30 else 0)
            if chance.random() < min(rate, 1):
                at = (FIRST + day) * 86_400 + chance.randrange(86_400)
                yield at, name, "read", size, max(1, round(rate))


def write(path: Path) -> int:
    """Write the trace as Parquet, or as CSV where the name ends so; returns the number of its rows."""
    table = pa.table(dict(zip(NAMES, zip(*sorted(rows()), strict=True), strict=True)))
    if path.suffix == ".csv":
        csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    return int(table.num_rows)


def main() -> None:
    """Write it where the argument says."""
    parser = argparse.ArgumentParser(prog="python -m demo.trace", description="A made-up trace for simulations.")
    parser.add_argument("file", type=Path, help=".parquet or .csv")
    file = parser.parse_args().file
    print(f"{file}: {write(file):,} rows")  # noqa: T201  what the reader of the tutorial sees


if __name__ == "__main__":
    main()
