"""The bill as rows for who pays: a file that a spreadsheet or a warehouse takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from storaged.catalog.sql import write_rows
from storaged.errors import StoragedError, UsageError
from storaged.prices.amount import plain
from storaged.private import opener
from storaged.work.money.cost import MONTHLY, Bill, BillPart, line

_USD: Final = pa.decimal128(38, 12)
SCHEMA: Final = pa.schema(
    [
        pa.field("month", pa.string(), nullable=False),  # in which the bill was made, UTC: 2026-11
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("owner", pa.string(), nullable=False),
        pa.field("tags", pa.string(), nullable=False),  # JSON object of text
        pa.field("tier", pa.string(), nullable=False),
        pa.field("storage_class", pa.string(), nullable=False),
        pa.field("prices", pa.string()),  # id in the price books; NULL: none are known
        pa.field("kind", pa.string(), nullable=False),
        pa.field("objects", pa.int64(), nullable=False),  # in this place: the same in the rows of all its kinds
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("usd", _USD),  # per month; NULL: no prices are known
        pa.field("in_grace_usd", _USD),  # the part of it that is for what is kept through grace
    ]
)


def export(bill: Bill, file: Path) -> int:
    """Write the bill to a file that ends in .csv or .parquet; returns how many rows it has. Replaces the file.

    The `usd` of all rows add up to the bill's total exactly. Raises UsageError for any other ending, StoragedError for
    a file that cannot be written.
    """
    if file.suffix not in (".csv", ".parquet"):
        raise UsageError(f"{file} is no file that a bill can be written to", hint="it ends in .csv or .parquet")
    rows = list(_rows(bill))
    try:
        with open(file, "wb", opener=opener) as out:
            if file.suffix == ".csv":
                return write_rows(SCHEMA.names, ([_text(value) for value in row] for row in rows), "csv", out)
            table = pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)
            pq.write_table(table, out, compression="zstd")
            return len(rows)
    except OSError as error:
        raise StoragedError(f"{file} cannot be written: {error.strerror}") from error


def _rows(bill: Bill) -> Iterator[tuple[Any, ...]]:
    """A row for each kind of each place: the one of storage always, the others where they cost something."""
    places: dict[tuple[str, ...], list[BillPart]] = {}
    for p in bill.parts:
        tags = json.dumps(dict(p.tags), sort_keys=True, ensure_ascii=False)
        places.setdefault((p.dataset, p.owner, tags, p.tier, p.storage_class), []).append(p)
    for place, parts in sorted(places.items()):
        sums = line("", parts)
        prices = parts[0].prices.id if parts[0].prices else None
        for kind in MONTHLY:
            usd: Decimal = getattr(sums.cost, kind)
            if kind == "storage" or usd:
                money = (usd, getattr(sums.grace, kind)) if sums.priced else (None, None)
                yield bill.month, *place, prices, kind, sums.objects, sums.bytes, *money


def _text(value: Any) -> Any:
    return plain(value) if isinstance(value, Decimal) else value
