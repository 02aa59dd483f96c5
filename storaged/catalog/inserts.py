"""INSERT … ON CONFLICT, which both databases have and SQLAlchemy gives each a class of its own for.

Two processes that both find a row missing both insert it: whatever more than one of them may write first goes this way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql


def into(table: sa.TableClause, dialect: str) -> postgresql.Insert | sqlite.Insert:
    """An insert that knows ON CONFLICT. `dialect`: a connection's `dialect.name`."""
    if dialect != "postgresql":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # here: it loads every driver of Postgres that there is

    return postgresql.insert(table)
