"""The catalog's connection: SQLite (one machine) or Postgres 14 and later (many), never migrated silently.

In this process only Python's sqlite3 may open a live
SQLite catalog: closing any other handle of that file drops our POSIX locks, and an acknowledged commit is lost.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from storaged.catalog import migrate
from storaged.catalog.drivers import POOL_SIZE, translated
from storaged.catalog.schema import meta
from storaged.clock import new_id
from storaged.errors import (
    CatalogError,
    CatalogMissing,
    CatalogReadOnly,
    SchemaOutOfDate,
)
from storaged.private import make_file

_NO_CATALOG: Final = "run `storagectl catalog create`, or `storagectl catalog rebuild` if it was lost"


LONGEST_NAME: Final = 2_400  # bytes, where names have a limit


class Catalog:
    """An open catalog. Safe for threads; not for use after a fork.

    `url` has its password masked, `dialect` is "sqlite" or "postgresql", `journal_note` says how commits are made
    durable and why (for `status`).
    """

    def __init__(self, url: URL, engine: sa.Engine, *, read_only: bool, journal_note: str) -> None:
        self.url = shown(url)
        self.engine = engine
        self.dialect = engine.dialect.name
        self.read_only = read_only
        self.journal_note = journal_note
        self._pid = os.getpid()

    @property
    def longest_name(self) -> int:
        """Bytes of an object's name that its indexes take: those of Postgres refuse rows of more than 2,704 bytes, in
        which other columns stand too. Those of SQLite take any."""
        return LONGEST_NAME if self.dialect == "postgresql" else 1 << 30

    def takes_name(self, name: str) -> bool:
        """Whether it has at most `longest_name` bytes."""
        return len(name.encode()) <= self.longest_name

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A write transaction, committed at the end of the block and rolled back if it raises.

        On SQLite it takes the write lock at once, so it cannot fail for another writer later on. On Postgres it is
        READ COMMITTED: what must hold stands in the WHERE of each statement.
        Raises CatalogLocked, CatalogReadOnly, CatalogMissing or CatalogError.
        """
        if self.read_only:
            raise CatalogReadOnly(f"the catalog {self.url} is open for reading only")
        self.check_process()
        with translated(self.url), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A read transaction over one snapshot. Nothing it did stays, and it holds no lock after the block.

        Keep it short: on SQLite without WAL a writer's commit waits for it. Raises as `begin` does.
        """
        self.check_process()
        with translated(self.url), self.engine.connect() as connection:
            connection.execution_options(**{_READ: True})
            with connection.begin() as transaction:
                try:
                    yield connection
                finally:
                    transaction.rollback()

    def close(self) -> None:
        """Close every connection. In a forked child it only forgets the parent's."""
        self.engine.dispose(close=os.getpid() == self._pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check_process(self) -> None:
        """Raise CatalogError in a process that was forked off the one that opened the catalog."""
        # SQLite's locks and a Postgres socket both break when two processes share one connection.
        if os.getpid() != self._pid:
            raise CatalogError(
                f"the catalog {self.url} was opened by another process, before a fork",
                hint="open the catalog again in the child process",
            )


def open_catalog(url: str, *, read_only: bool = False, wait_s: float = 30.0) -> Catalog:
    """Open the catalog at an SQLAlchemy URL (`sqlite:////var/lib/storaged/catalog.db`, `postgresql://host/name`).

    `wait_s` is how long a statement waits for another process's lock (seconds). Raises CatalogMissing where there is
    none, SchemaOutOfDate where its schema is older or newer than this program, CatalogError for all else.
    """
    where = parse_url(url)
    catalog = _connect(where, read_only=read_only, wait_s=wait_s)
    try:
        with catalog.read() as connection:
            _check_schema(migrate.revision(connection), catalog.url)
    except BaseException:
        catalog.close()
        raise
    return catalog


def create_catalog(url: str, *, catalog_id: str | None = None) -> Catalog:
    """Make a catalog in an empty place: a file that does not exist, or a Postgres database without tables.

    All or nothing, in one transaction. Raises CatalogError where there is a catalog or anything else already.
    """
    where = parse_url(url)
    catalog = _connect(where, read_only=False, wait_s=30.0, create=True)
    try:
        with catalog.begin() as connection:
            migrate.lock(connection)
            if migrate.revision(connection) is not None:
                raise CatalogError(f"there is a catalog at {catalog.url} already")
            if sa.inspect(connection).get_table_names():
                raise CatalogError(
                    f"the database {catalog.url} holds other tables", hint="give the catalog a database of its own"
                )
            migrate.upgrade(connection)
            connection.execute(
                meta.insert(),
                [
                    {"key": "catalog_id", "value": catalog_id or new_id()},
                    {"key": "epoch", "value": "1"},
                    {"key": "journal_number", "value": "0"},
                ],
            )
    except BaseException:
        catalog.close()
        raise
    return catalog


def upgrade_catalog(url: str) -> tuple[str, str]:
    """Bring a catalog to this program's schema, in one transaction; returns the revisions before and after.

    Raises CatalogMissing where there is none and SchemaOutOfDate where a newer storaged wrote it.
    """
    with (
        _connect(parse_url(url), read_only=False, wait_s=30.0, foreign_keys=False) as catalog,
        catalog.begin() as connection,
    ):
        migrate.lock(connection)
        before = migrate.revision(connection)
        if before is None or before not in migrate.revisions():
            _check_schema(before, catalog.url)
        migrate.upgrade(connection)
        return str(before), migrate.HEAD


def parse_url(url: str) -> URL:
    """The URL of a catalog, with the driver that we use. Raises CatalogError for any other database."""
    hint = "such as sqlite:////var/lib/storaged/catalog.db or postgresql://user@host/database"
    try:
        parsed = make_url(url)
    except sa.exc.ArgumentError as error:
        raise CatalogError("the catalog's URL cannot be read", hint=hint) from error  # may hold a password: not shown
    if parsed.get_backend_name() == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed.set(drivername="sqlite+pysqlite", database=os.path.abspath(parsed.database), query={})
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise CatalogError(f"{shown(parsed)} is no catalog URL", hint=hint)


def shown(url: URL) -> str:
    """The URL as users write it, its password masked."""
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)


_READ: Final = "storaged_read"  # execution option: what the transaction is for


def _connect(url: URL, *, read_only: bool, wait_s: float, create: bool = False, foreign_keys: bool = True) -> Catalog:
    if url.get_backend_name() == "sqlite":
        return _connect_sqlite(url, read_only, wait_s, create, foreign_keys)
    return _connect_postgres(url, read_only, wait_s)


def _connect_sqlite(url: URL, read_only: bool, wait_s: float, create: bool, foreign_keys: bool) -> Catalog:
    path = Path(str(url.database))
    if create and not path.parent.is_dir():
        raise CatalogError(f"the directory {path.parent} does not exist", hint="make it first")
    if not create and not path.exists():
        raise CatalogMissing(
            f"there is no catalog at {shown(url)}",
            hint=_NO_CATALOG,
        )
    if read_only:
        _roll_back(path)
    if create:
        with suppress(OSError):  # SQLite says it better
            make_file(path)  # its journals get the mode that it has
    mode = "ro" if read_only else "rwc" if create else "rw"
    uri = f"file:{quote(str(path))}?mode={mode}"

    def connect() -> sqlite3.Connection:
        # isolation_level None: the driver starts no transaction of its own, `begin` below does.
        return sqlite3.connect(uri, uri=True, timeout=wait_s, isolation_level=None, check_same_thread=False)

    engine = sa.create_engine(url, creator=connect, pool_size=POOL_SIZE, max_overflow=0, pool_timeout=wait_s)

    @event.listens_for(engine, "connect")
    def set_up(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        # EXTRA is FULL, and syncs the directory after the rollback journal's end: a commit survives a power loss.
        cursor.execute("PRAGMA synchronous = EXTRA")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        reading = bool(connection.get_execution_options().get(_READ))
        if connection.info.get(_READ) is not reading:  # of this connection, since it was last begun
            connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if reading else 'OFF'}")
            connection.info[_READ] = reading
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    wal = wal_is_safe(sqlite3.sqlite_version_info)
    note = (
        f"SQLite {sqlite3.sqlite_version}, write-ahead log"
        if wal
        else f"SQLite {sqlite3.sqlite_version}, rollback journal: this version's write-ahead log can lose commits"
    )
    catalog = Catalog(url, engine, read_only=read_only, journal_note=note)
    if not read_only and os.access(path if path.exists() else path.parent, os.W_OK):
        wanted = "wal" if wal else "delete"
        try:
            with translated(catalog.url), closing(engine.raw_connection()) as connection:
                cursor = connection.cursor()
                cursor.execute("PRAGMA journal_mode")
                if cursor.fetchall() != [(wanted,)]:
                    cursor.execute(f"PRAGMA journal_mode = {wanted}")
                    cursor.fetchall()
        except BaseException:
            catalog.close()
            raise
    return catalog


def _roll_back(path: Path) -> None:
    """What a writer left that was killed in mid-commit: a connection that may only read cannot take it back itself."""
    if Path(f"{path}-journal").exists() and os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(path, timeout=0)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchall()  # reading is what makes SQLite look


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """Whether this SQLite's write-ahead log keeps every commit.

    The WAL-reset bug (3.7.0 to 3.51.2) loses commits when two connections meet at a checkpoint; it is mended in
    3.51.3, 3.50.7 and 3.44.6 (https://sqlite.org/wal.html#walresetbug).
    """
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


def _connect_postgres(url: URL, read_only: bool, wait_s: float) -> Catalog:
    from psycopg import IsolationLevel  # here only: SQLite needs no driver of Postgres

    engine = sa.create_engine(
        url,
        isolation_level="READ COMMITTED",
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=wait_s,
        pool_pre_ping=True,  # the server may have been restarted
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET lock_timeout = {max(1, round(wait_s * 1000))}")  # ms; 0 would wait for ever
        if read_only:
            cursor.execute("SET default_transaction_read_only = on")
        cursor.close()
        connection.commit()

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # The driver says both in its BEGIN, where SQLAlchemy's options set and reset them around each read. None leaves
        # it to the session, whether it may write.
        reading = bool(connection.get_execution_options().get(_READ))
        if connection.info.get(_READ) is not reading:
            driver: Any = connection.connection.driver_connection
            # Several statements see one snapshot, as they do on SQLite.
            driver.isolation_level = IsolationLevel.REPEATABLE_READ if reading else IsolationLevel.READ_COMMITTED
            driver.read_only = True if reading else None
            connection.info[_READ] = reading

    return Catalog(url, engine, read_only=read_only, journal_note="Postgres")


def _check_schema(found: str | None, url: str) -> None:
    if found == migrate.HEAD:
        return
    if found is None:
        raise CatalogMissing(
            f"there is no catalog at {url}",
            hint=_NO_CATALOG,
        )
    if found in migrate.revisions():
        raise SchemaOutOfDate(
            f"the catalog {url} has schema {found}, this storaged needs {migrate.HEAD}",
            hint="stop the daemon, back the catalog up, then run `storagectl catalog upgrade`",
        )
    raise SchemaOutOfDate(
        f"the catalog {url} was written by a newer storaged (schema {found}, this one knows {migrate.HEAD})",
        hint="update storaged",
    )
