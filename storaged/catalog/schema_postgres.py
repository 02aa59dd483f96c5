"""What the tables say of Postgres alone: said with each of them, it would load SQLAlchemy's dialect of Postgres, with
all of its drivers, at every start on SQLite too."""

from __future__ import annotations

from storaged.catalog.schema_models import metadata


def on_postgres() -> None:
    """Say which rows indexes have, for what makes or compares tables on Postgres."""
    for table in metadata.tables.values():
        for index in table.indexes:
            if (rows := index.dialect_kwargs.get("sqlite_where")) is not None:
                index.dialect_kwargs["postgresql_where"] = rows
