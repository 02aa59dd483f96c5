"""One statement with many rows of values, handed to the database's driver as they are.

SQLAlchemy looks at each value of each row by itself, which takes several times as long as writing the row does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

FEW: Final = 8  # rows; a statement of fewer is taken from SQLAlchemy's cache, and made faster than it is compiled here


def execute(conn: sa.Connection, statement: sa.Insert | sa.Update, rows: Sequence[Mapping[str, Any]]) -> int:
    """Run the statement once with each row, which are alike: values by the names of its columns or parameters, in types
    that drivers know (text, numbers, bytes, None). How many rows of the table were touched."""
    if len(rows) < FEW:
        return conn.execute(statement, list(rows)).rowcount if rows else 0
    compiled = statement.compile(dialect=conn.dialect, column_keys=list(rows[0]), for_executemany=True)
    said = {name: value for name, value in compiled.params.items() if name not in rows[0]}
    if any(name in statement.table.c for name in said):  # what SQLAlchemy itself would fill in
        return conn.execute(statement, list(rows)).rowcount
    names = getattr(compiled, "positiontup", None)
    values: Any
    if names is None:
        values = [{**said, **row} for row in rows] if said else list(rows)
    elif said:
        values = [tuple([row[n] if n in row else said[n] for n in names]) for row in rows]
    else:
        values = [tuple([row[n] for n in names]) for row in rows]
    return conn.exec_driver_sql(str(compiled), values).rowcount
