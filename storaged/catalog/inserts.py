"""INSERT … ON CONFLICT, which both databases have and SQLAlchemy gives each a class of its own for.

Two processes that both find a row missing both insert it: whatever more than one of them may write first goes this way.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def into(table: sa.TableClause, dialect: str) -> postgresql.Insert | sqlite.Insert:
    """An insert that knows ON CONFLICT. `dialect`: a connection's `dialect.name`."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
