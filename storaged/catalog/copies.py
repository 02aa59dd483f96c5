"""The whole catalog in one file, copied while others write, and a catalog made from such a file.

SQLite is copied by its own backup interface, from a connection of the open catalog: any other handle of the live file
would drop this process's locks when it is closed (engine.py). Postgres is copied by pg_dump.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import URL

from storaged.catalog import facts, migrate, postgres_programs
from storaged.catalog.drivers import translated
from storaged.catalog.engine import Catalog, shown
from storaged.clock import Clock
from storaged.errors import CatalogError, VerificationFailed

SIDES: Final = ("", "-journal", "-wal", "-shm")  # the files of an SQLite database: they belong together
_STEP: Final = 1_000  # pages copied without letting a writer in, 4 MiB
_PAUSE_S: Final = 0.005  # for writers, who look for the lock in between
_PATIENCE: Final = 3  # times the pages of the catalog: each commit of another connection starts a copy anew


@dataclass(frozen=True, slots=True)
class CopyTold:
    """What a copy says of itself."""

    catalog: str
    epoch: int
    journal_number: int
    dialect: str
    revision: str


def copy_out(catalog: Catalog, path: Path, clock: Clock) -> CopyTold:
    """Copy the catalog into the file `path`, which is empty or not there, and check the copy.

    Raises CatalogError: no space for it, the catalog is damaged, no pg_dump that can be used.
    """
    catalog.check_process()
    if catalog.dialect == "postgresql":
        return _copy_postgres(catalog, path)
    with translated(catalog.url), closing(catalog.engine.raw_connection()) as pooled:
        source: Any = pooled.driver_connection
        with closing(sqlite3.connect(path)) as copy:
            copy.execute("PRAGMA synchronous = OFF")  # a copy that a power loss takes is made again
            try:
                _copy_sqlite(source, copy, clock)
                copy.execute("PRAGMA journal_mode = DELETE").fetchall()  # one file, whatever the catalog has beside it
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                    raise CatalogError(
                        f"no space left in {path.parent} for a copy of the catalog", hint="free space there"
                    ) from error
                raise
    return examine(path)


def _copy_sqlite(source: sqlite3.Connection, copy: sqlite3.Connection, clock: Clock) -> None:
    """In steps that let writers in; or, where they leave no time for that, in one. With a write-ahead log one step
    stops nobody; without it writers wait for its end."""
    copied = 0

    def count(_status: int, remaining: int, total: int) -> None:
        nonlocal copied
        copied += _STEP
        if remaining and copied > _PATIENCE * total + _STEP:
            raise _Overtaken
        clock.sleep(_PAUSE_S)

    if source.execute("PRAGMA journal_mode").fetchall() != [("wal",)]:
        with contextlib.suppress(_Overtaken):
            source.backup(copy, pages=_STEP, progress=count, sleep=_PAUSE_S)
            return
    source.backup(copy, pages=-1, sleep=_PAUSE_S)


class _Overtaken(Exception):
    """Writers change the catalog faster than it can be copied in steps."""


def examine(path: Path) -> CopyTold:
    """What a copy of an SQLite catalog says of itself, once it is found whole. Raises VerificationFailed."""
    try:
        with _engine(_file(path)) as engine, engine.connect() as conn:
            found = conn.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            if found != "ok":
                raise VerificationFailed(
                    f"the copy of the catalog is damaged: {found}",
                    hint="the catalog itself may be: restore an older backup, then `storagectl catalog reconcile`",
                )
            return told_by(conn)
    except sa.exc.DatabaseError as error:
        raise VerificationFailed(f"the copy of the catalog cannot be read: {error.orig}") from error


def _file(path: Path) -> URL:
    return URL.create("sqlite+pysqlite", database=str(path))


def told_by(conn: sa.Connection) -> CopyTold:
    """What the catalog at the end of a connection says of itself."""
    who = facts.identity(conn)
    revision = migrate.revision(conn) or ""
    return CopyTold(who.catalog, who.epoch, facts.journal_number(conn), conn.dialect.name, revision)


def _copy_postgres(catalog: Catalog, path: Path) -> CopyTold:
    with catalog.read() as conn:  # open until the end: it is this snapshot that is dumped
        told = told_by(conn)
        snapshot = conn.execute(sa.select(sa.func.pg_export_snapshot())).scalar_one()
        postgres_programs.dump(catalog.engine, path, server=_server(conn), snapshot=snapshot)
    return told


def require_vacant(where: URL, *, replace: bool) -> None:
    """That a catalog may be put there. Raises CatalogError where one is (or, in Postgres, anything), unless an SQLite
    file is to be replaced; CatalogMissing where there is no such database."""
    if where.get_backend_name() == "sqlite":
        path = Path(str(where.database))
        if not path.parent.is_dir():
            raise CatalogError(f"the directory {path.parent} does not exist", hint="make it first")
        if path.exists() and not replace:
            raise CatalogError(
                f"there is a catalog at {shown(where)} already",
                hint="`storagectl catalog reconcile` brings it up to its journal; --replace sets it aside",
            )
        return
    with _connected(where) as conn:
        if sa.inspect(conn).get_table_names():
            raise CatalogError(
                f"the database {shown(where)} is not empty",
                hint="rename it (ALTER DATABASE ... RENAME TO ...) and make an empty one (createdb)",
            )


def put_in_place(where: URL, path: Path, *, replace: bool, suffix: str) -> list[Path]:
    """Make the copy at `path` the catalog: one that does nothing before it is reconciled.

    What an SQLite catalog left there gets this suffix: its journals too, or SQLite would write what they hold into the
    copy. The copy is in the same directory, and gone afterwards. Returns the files that were set aside. Raises as
    `require_vacant`.
    """
    require_vacant(where, replace=replace)
    if where.get_backend_name() == "postgresql":
        with _connected(where) as conn:
            server = _server(conn)
        with _engine(where) as engine:
            postgres_programs.restore(engine, path, server=server)
            _refuse_to_act(engine)
        return []
    with _engine(_file(path)) as engine:
        _refuse_to_act(engine)
    place = str(where.database)
    aside = []
    for side in SIDES:
        if os.path.lexists(place + side):
            aside.append(Path(place + suffix + side))
            os.rename(place + side, aside[-1])
    try:
        os.link(path, place)  # unlike a rename it replaces nothing
    except FileExistsError as error:
        raise CatalogError(f"somebody made a catalog at {shown(where)} meanwhile") from error
    os.unlink(path)
    folder = os.open(os.path.dirname(place), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return aside


def _refuse_to_act(engine: sa.Engine) -> None:
    """Until it was reconciled: even where the journal tells nothing new, the lost catalog may turn up again and act."""
    with engine.begin() as conn:
        facts.put(conn, "reconciling", "1")


def _server(conn: sa.Connection) -> int:
    """The major version of the Postgres at the end of a connection."""
    return int(conn.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000


@contextlib.contextmanager
def _engine(where: URL) -> Iterator[sa.Engine]:
    engine = sa.create_engine(where, poolclass=sa.NullPool)
    try:
        yield engine
    finally:
        engine.dispose()


@contextlib.contextmanager
def _connected(where: URL) -> Iterator[sa.Connection]:
    with translated(shown(where)), _engine(where) as engine, engine.connect() as conn:
        yield conn
