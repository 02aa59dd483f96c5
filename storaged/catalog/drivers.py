"""What the errors of the databases' drivers mean for a user.

Every error of a driver that a user can cause comes out as a CatalogError with a hint; errors that only our own SQL can
cause (a broken constraint, a misspelt column) keep their type.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from storaged.errors import CatalogError, CatalogLocked, CatalogMissing, CatalogReadOnly, StoragedError

if TYPE_CHECKING:
    import psycopg

POOL_SIZE: Final = 10  # threads beyond it wait for a connection


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn what a database driver raises in the block into the CatalogError it means, if a user can cause it."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        known = explain(error.orig, url) if error.orig else None
        if known is None:
            raise
        raise known from error
    except sa.exc.TimeoutError as error:
        raise CatalogLocked(f"all {POOL_SIZE} connections to {url} are busy") from error
    except (sqlite3.Error, postgres_error()) as error:
        known = explain(error, url)
        if known is None:
            raise
        raise known from error


def postgres_error() -> type[psycopg.Error]:
    """The base of psycopg's errors. Only who has an error to explain loads psycopg, which takes its time."""
    import psycopg

    return psycopg.Error


def explain(error: BaseException, url: str) -> StoragedError | None:
    """What a driver's error means for the user; None where only our own SQL can be at fault."""
    if isinstance(error, sqlite3.Error):
        return _explain_sqlite(error, url)
    if isinstance(error, postgres_error()):
        return _explain_postgres(error, url)
    return None


def _explain_sqlite(error: sqlite3.Error, url: str) -> CatalogError | None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary result code
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return CatalogLocked(
                f"another process holds the catalog {url}", hint="try again, or see who has the file open (fuser)"
            )
        case sqlite3.SQLITE_READONLY:
            return CatalogReadOnly(
                f"the catalog {url} cannot be written", hint="check the owner and mode of the file and of its directory"
            )
        case sqlite3.SQLITE_CANTOPEN:
            return CatalogError(
                f"the catalog {url} cannot be opened",
                hint="check the owner and mode of the file and of its directory",
            )
        case sqlite3.SQLITE_FULL:
            return CatalogError(f"no space left for the catalog {url}", hint="free space on its file system")
        case sqlite3.SQLITE_NOTADB:
            return CatalogError(f"{url} is not a catalog: the file is no SQLite database")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_IOERR:
            return CatalogError(
                f"the catalog {url} cannot be read: {error}",
                hint="check the disk, then restore a backup and run `storagectl catalog reconcile`",
            )
    return None


def _explain_postgres(error: psycopg.Error, url: str) -> CatalogError | None:
    import psycopg

    state = error.sqlstate or ""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    # SQLSTATE codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
    if state in ("55P03", "40001", "40P01"):  # lock_not_available, serialization_failure, deadlock_detected
        return CatalogLocked(f"another process holds rows of the catalog {url}: {text}", hint="try again")
    if state == "25006":
        return CatalogReadOnly(f"the catalog {url} cannot be written: {text}", hint="is this server a standby?")
    if state == "42501":
        return CatalogReadOnly(f"the catalog {url} refuses this user: {text}", hint="GRANT what is missing")
    if state.startswith("53"):  # disk full, out of memory, too many connections
        return CatalogError(f"the catalog's server has no room: {text}", hint="free space or connections there")
    if state == "3D000" or (not state and 'database "' in text and text.endswith("does not exist")):
        return CatalogMissing(
            f"there is no database at {url}", hint="make it (createdb), then run `storagectl catalog create`"
        )
    if state == "57014":
        return CatalogError(
            f"the catalog's server ended the statement: {text}", hint="is its statement_timeout too low?"
        )
    if isinstance(error, psycopg.OperationalError) and (not state or state[:2] in ("08", "28", "57")):
        return CatalogError(f"the catalog {url} cannot be reached: {text}", hint="is the server up, the URL right?")
    return None
