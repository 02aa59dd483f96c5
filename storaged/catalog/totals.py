"""What the catalog holds, counted as it changes: a few rows that tell what a look at every object would.

Triggers keep them in the transaction of each change, so that they are true whoever writes. SQLite has one writer and
changes the one row of a kind. On Postgres, where writers must not wait for each other, every statement adds rows of its
own, below 0 for what is no more, and `fold` makes one of many now and then. So readers add up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema_totals import blob_totals, object_totals


@dataclass(frozen=True, slots=True)
class _Counted:
    """A table and its totals: the columns of `totals` by what they are of a row of `table`, which is called @."""

    table: str
    totals: str
    keys: Mapping[str, str]
    sums: Mapping[str, str]
    of: tuple[str, ...]  # columns of `table` on which these depend: no other needs a look

    def sql(self, text: str, **more: str) -> str:
        """The text with these for its names in braces."""
        return text.format(
            **more,
            table=self.table,
            totals=self.totals,
            of=", ".join(self.of),
            keys=", ".join(self.keys),
            columns=", ".join((*self.keys, *self.sums)),
            added=", ".join((*self.keys, *(f"sum({name})" for name in self.sums))),
            something=" OR ".join(f"sum({name}) <> 0" for name in self.sums),
        )

    def of_row(self, row: str, sign: str = "") -> str:
        """The values of a row, named like the columns of the totals; below 0 with a minus."""
        keys = [f"{text.replace('@', row)} AS {name}" for name, text in self.keys.items()]
        return ", ".join((*keys, *(f"{sign}{text.replace('@', row)} AS {name}" for name, text in self.sums.items())))


_OBJECTS: Final = _Counted(
    "objects",
    object_totals.name,
    {
        "dataset_id": "@.dataset_id",
        "tier_id": "@.tier_id",
        "format": "@.format",
        "codec": "@.codec",
        "raw_state": "@.raw_state",
        "raw_class": "@.raw_class",
        "removed": "(CASE WHEN @.removed_us IS NULL THEN 0 ELSE 1 END)",
        "empty": "(CASE WHEN @.size > 0 THEN 0 ELSE 1 END)",
    },
    {
        "objects": "1",
        "size": "@.size",
        "stored_bytes": "@.stored_bytes",
        "damaged": "(CASE WHEN @.damaged IS NULL THEN 0 ELSE 1 END)",
    },
    (
        "dataset_id",
        "tier_id",
        "format",
        "codec",
        "raw_state",
        "raw_class",
        "removed_us",
        "size",
        "stored_bytes",
        "damaged",
    ),
)
_BLOBS: Final = _Counted(
    "blobs",
    blob_totals.name,
    {"tier_id": "@.tier_id", "state": "@.state"},
    {"blobs": "1", "size": "@.size"},
    ("tier_id", "state", "size"),
)
_COUNTED: Final = (_OBJECTS, _BLOBS)


_ADD: Final = "INSERT INTO {totals} ({columns}) SELECT {added} FROM ({rows}) told GROUP BY {keys} HAVING {something}"
_EVERY: Final = "SELECT {row} FROM {table} c"
_FOLD: Final = """
WITH gone AS (
  DELETE FROM {totals} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {totals} FOR UPDATE SKIP LOCKED)) RETURNING *
)
INSERT INTO {totals} ({columns}) SELECT {added} FROM gone GROUP BY {keys} HAVING {something}"""

_TELL: Final = """
UPDATE {totals} SET {change} WHERE {same};
INSERT INTO {totals} ({columns}) SELECT {row} WHERE changes() = 0;"""
_SQLITE: Final = (
    "CREATE TRIGGER {totals}_insert AFTER INSERT ON {table} BEGIN {came} END",
    "CREATE TRIGGER {totals}_delete AFTER DELETE ON {table} BEGIN {went} END",
    "CREATE TRIGGER {totals}_update AFTER UPDATE OF {of} ON {table} WHEN {differs} BEGIN {went} {came} END",
)

_CAME: Final = "SELECT {row} FROM came c"
_WENT: Final = "SELECT {row} FROM went c"
_FUNCTION: Final = """
CREATE FUNCTION count_{table}() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN
  IF TG_OP = 'INSERT' THEN {inserted};
  ELSIF TG_OP = 'DELETE' THEN {deleted};
  ELSE {updated}; END IF;
  RETURN NULL;
END $body$"""
_POSTGRES: Final = (
    "CREATE TRIGGER {totals}_insert AFTER INSERT ON {table} REFERENCING NEW TABLE AS came {each}",
    "CREATE TRIGGER {totals}_delete AFTER DELETE ON {table} REFERENCING OLD TABLE AS went {each}",
    "CREATE TRIGGER {totals}_update AFTER UPDATE ON {table} REFERENCING NEW TABLE AS came OLD TABLE AS went {each}",
)


def create(conn: sa.Connection) -> None:
    """Count everything, and keep count from then on. In the connection's transaction."""
    make = _sqlite if conn.dialect.name == "sqlite" else _postgres
    for counted in _COUNTED:
        every = counted.sql(_EVERY, row=counted.of_row("c"))
        for statement in (counted.sql("DELETE FROM {totals}"), counted.sql(_ADD, rows=every), *make(counted)):
            conn.exec_driver_sql(statement)


def drop(conn: sa.Connection) -> None:
    """Keep count no longer, while tables are built anew. In the connection's transaction."""
    for counted in _COUNTED:
        if conn.dialect.name == "postgresql":
            conn.exec_driver_sql(counted.sql("DROP FUNCTION IF EXISTS count_{table}() CASCADE"))
        else:
            for event in ("insert", "delete", "update"):
                conn.exec_driver_sql(counted.sql("DROP TRIGGER IF EXISTS {totals}_{event}", event=event))


def fold(conn: sa.Connection) -> None:
    """On Postgres: make one row of all that tell of the same kind. It waits for nobody: what is locked stays."""
    if conn.dialect.name == "postgresql":
        for counted in _COUNTED:
            conn.exec_driver_sql(counted.sql(_FOLD))


def _sqlite(counted: _Counted) -> Iterator[str]:
    """Row by row: the totals' own row is changed, or made."""

    def tell(row: str, sign: str) -> str:
        same = " AND ".join(f"{name} IS {text.replace('@', row)}" for name, text in counted.keys.items())
        change = ", ".join(f"{name} = {name} {sign} {text.replace('@', row)}" for name, text in counted.sums.items())
        return counted.sql(_TELL, change=change, same=same, row=counted.of_row(row, sign))

    came, went = tell("NEW", "+"), tell("OLD", "-")
    differs = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in counted.of)
    for trigger in _SQLITE:
        yield counted.sql(trigger, came=came, went=went, differs=differs)


def _postgres(counted: _Counted) -> Iterator[str]:
    """Statement by statement: what it changed is added up, and told by rows that are new."""
    came = counted.sql(_CAME, row=counted.of_row("c"))
    went = counted.sql(_WENT, row=counted.of_row("c", "-"))
    yield counted.sql(
        _FUNCTION,
        inserted=counted.sql(_ADD, rows=came),
        deleted=counted.sql(_ADD, rows=went),
        updated=counted.sql(_ADD, rows=f"{came} UNION ALL {went}"),
    )
    for trigger in _POSTGRES:
        yield counted.sql(trigger, each=counted.sql("FOR EACH STATEMENT EXECUTE FUNCTION count_{table}()"))
