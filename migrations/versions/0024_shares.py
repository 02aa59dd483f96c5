"""Members of a pack by what is before them, and the packs that objects of plans came out of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("replicas", sa.Column("packed_before", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("ledger_items", sa.Column("source_blob", sa.Text()))
    op.add_column("ledger_items", sa.Column("source_bytes", sa.BigInteger()))
    op.add_column("ledger_items", sa.Column("size", sa.BigInteger()))
    where = sa.text("source_blob IS NOT NULL")
    op.create_index(
        "ix_ledger_items_source_blob", "ledger_items", ["source_blob"], sqlite_where=where, postgresql_where=where
    )
