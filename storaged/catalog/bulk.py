"""Many new objects at once, as a scan finds them.

SQLite gets them through a private staging file that Arrow's driver fills and that is attached once it is closed: twice
as fast as rows from Python. That driver brings a SQLite of its own, which must never open the catalog itself (see
engine.py). Postgres gets binary COPY into a temporary table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pyarrow as pa
import sqlalchemy as sa

from storaged.catalog.drivers import translated
from storaged.catalog.engine import Catalog
from storaged.catalog.inserts import into
from storaged.catalog.schema import objects
from storaged.clock import new_id
from storaged.errors import CatalogError

COPY_ROWS: Final = 10_000  # turned into Python values at a time

NEW_OBJECTS: Final = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("mtime_us", pa.int64(), nullable=False),
        pa.field("created_us", pa.int64(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("partition", pa.string()),
        pa.field("raw_identity", pa.string(), nullable=False),
        pa.field("raw_class", pa.string(), nullable=False),
        pa.field("tier_id", pa.int64(), nullable=False),  # that its original key counts as being in
        pa.field("locked_until_us", pa.int64()),
        pa.field("raw_allocated", pa.int64()),  # None: its size
    ]
)


def insert_objects(catalog: Catalog, dataset_id: int, rows: pa.Table, *, staging: Path) -> int:
    """Insert objects that the catalog does not know yet, in one transaction; returns how many were new.

    `rows` has the columns of NEW_OBJECTS. Stored bytes are what they take, all else is the schema's default. A name
    that the dataset has already is left as it is. `staging` is a directory for the staging file (SQLite only) that no
    scan may look into. Raises as `Catalog.begin` does, and pyarrow.ArrowInvalid or KeyError for rows that do not fit.
    """
    # Sorted: an index that is filled in order is dense, and fast to fill.
    rows = rows.select(NEW_OBJECTS.names).cast(NEW_OBJECTS).sort_by("name")
    if catalog.dialect == "sqlite":
        with _staged_in_file(rows, staging) as path, _attached(catalog, path) as connection:
            return _merge(connection, dataset_id, schema="staging")
    with catalog.begin() as connection:
        _copy(connection, rows)
        return _merge(connection, dataset_id, schema="pg_temp")


def _merge(connection: sa.Connection, dataset_id: int, *, schema: str) -> int:
    # WHERE is there for SQLite, which would take ON CONFLICT for the ON of a join.
    staged = sa.table("new_objects", *(sa.column(name) for name in NEW_OBJECTS.names), schema=schema)
    taken = sa.func.coalesce(staged.c.raw_allocated, staged.c.size)
    new = sa.select(sa.literal(dataset_id), taken, *staged.c).where(sa.true())
    statement = into(objects, connection.dialect.name).from_select(
        ["dataset_id", "stored_bytes", *NEW_OBJECTS.names], new
    )
    statement = statement.on_conflict_do_nothing(index_elements=["dataset_id", "name"])
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount


@contextmanager
def _staged_in_file(rows: pa.Table, directory: Path) -> Iterator[Path]:
    from adbc_driver_sqlite import dbapi as adbc  # slow to import, and needed only where there is something new

    path = directory / f"staging-{new_id()}.db"
    try:
        try:
            with adbc.connect(str(path)) as connection, connection.cursor() as cursor:
                cursor.adbc_ingest("new_objects", rows, mode="create")
                connection.commit()
        except adbc.Error as error:
            raise CatalogError(
                f"the staging file {path} could not be written: {error}",
                hint="the state directory must be writable and have space",
            ) from error
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _attached(catalog: Catalog, path: Path) -> Iterator[sa.Connection]:
    # Outside the transaction: an attached file cannot be detached before its end.
    catalog.check_process()
    with translated(catalog.url), catalog.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.execute("ATTACH DATABASE ? AS staging", (f"file:{quote(str(path.absolute()))}?mode=ro",))
        try:
            with connection.begin():
                yield connection
        finally:
            driver.execute("DETACH DATABASE staging")


def _copy(connection: sa.Connection, rows: pa.Table) -> None:
    connection.exec_driver_sql(
        "CREATE TEMPORARY TABLE new_objects (name text, size int8, mtime_us int8, created_us int8, "
        "format text, partition text, raw_identity text, raw_class text, tier_id int8, locked_until_us int8, "
        "raw_allocated int8) ON COMMIT DROP"
    )
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy("COPY pg_temp.new_objects FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["text" if pa.types.is_string(field.type) else "int8" for field in NEW_OBJECTS])
        for batch in rows.to_batches(max_chunksize=COPY_ROWS):
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                copy.write_row(row)
