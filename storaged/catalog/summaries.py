"""Files named `_metadata`, which say where in the bytes of the Parquet files below their folders each row group is.

Dask, pyarrow and Spark write them, and who reads a table by one reads its files at the places that it tells: of another
file of the same table these would be wrong.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import objects

NAME: Final = "_metadata"
MOST: Final = 200  # folders of a dataset that a statement names; of more all of the dataset counts as below one

Folders = Collection[tuple[int, str]]  # dataset id and prefix; an empty prefix: all of it


def folders(conn: sa.Connection) -> Folders:
    """The folders with such a file."""
    named = sa.or_(objects.c.name == NAME, objects.c.name.endswith(f"/{NAME}", autoescape=True))
    found: defaultdict[int, list[str]] = defaultdict(list)
    query = sa.select(objects.c.dataset_id, objects.c.name).where(objects.c.removed_us.is_(None), named)
    for dataset_id, name in conn.execute(query.order_by(objects.c.dataset_id, objects.c.name)):
        prefixes = found[dataset_id]
        prefix = name.removesuffix(NAME)
        if name.endswith(NAME) and not (prefixes and prefix.startswith(prefixes[-1])):  # LIKE knows no case in SQLite
            prefixes.append(prefix)
    return [(number, prefix) for number, known in found.items() for prefix in (known if len(known) <= MOST else [""])]


def within(known: Folders) -> ColumnElement[bool]:
    """Whether an object is below one of these folders."""
    return sa.or_(sa.false(), *(_below(number, prefix) for number, prefix in known))


def _below(number: int, prefix: str) -> ColumnElement[bool]:
    mine = objects.c.dataset_id == number
    if not prefix:
        return mine
    return sa.and_(mine, objects.c.name >= prefix, objects.c.name < f"{prefix[:-1]}0")  # "0" is the sign behind "/"


def above(conn: sa.Connection, dataset_id: int, name: str) -> str:
    """The first such file in a folder that an object is in, at whatever height; empty: there is none."""
    parts = name.split("/")[:-1]
    names = ["/".join([*parts[:depth], NAME]) for depth in range(len(parts) + 1)]
    query = sa.select(objects.c.name).where(
        objects.c.dataset_id == dataset_id, objects.c.name.in_(names), objects.c.removed_us.is_(None)
    )
    return str(conn.execute(query.order_by(objects.c.name).limit(1)).scalar() or "")
