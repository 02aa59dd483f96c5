"""Editions: what a place holds of a generation, where that is another file of the same table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("objects", _text("edition"))
    op.add_column("objects", _text("raw_edition"))
    op.add_column("objects", sa.Column("raw_size", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("objects", _text("raw_digest"))
    other = sa.text("raw_size > 0")
    op.create_index("ix_objects_editions", "objects", ["id"], sqlite_where=other, postgresql_where=other)
    op.add_column("replicas", _text("edition"))
    op.add_column("replicas", _text("digest"))


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False, server_default="")
