"""The catalog's schema as a chain of Alembic revisions; what they need is passed a connection in a transaction.

The scripts stand in `migrations/` of a checkout and in `storaged/migrations/` of an installed wheel.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlalchemy as sa
    from alembic.config import Config

HEAD: Final = "0029"  # the schema that this program reads and writes; a test compares it with the scripts

_LOCK_KEY: Final = 0x5354_4F52_4147_4544  # "STORAGED": any constant, for Postgres' advisory lock


def directory() -> Path:
    """Where the migration scripts are."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def revision(connection: sa.Connection) -> str | None:
    """The schema revision of the database, or None where there is no catalog."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return found


def revisions() -> frozenset[str]:
    """Every revision that this program knows how to upgrade from or reads."""
    from alembic.script import ScriptDirectory  # slow to import, and needed only where schemas differ

    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def upgrade(connection: sa.Connection) -> None:
    """Run every missing migration and build the views anew, inside the connection's transaction."""
    from alembic import command  # slow to import, and needed only here

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)


def lock(connection: sa.Connection) -> None:
    """Let no second process create or upgrade the same catalog meanwhile (SQLite's BEGIN IMMEDIATE does that)."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})")


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(directory()).replace("%", "%%"))
    return config
