"""Packs: blobs that hold many objects."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("blobs", sa.Column("packed_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("blobs", sa.Column("live_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    packs = sa.text("packed_bytes > 0")
    op.create_index("ix_blobs_packs", "blobs", ["id"], sqlite_where=packs, postgresql_where=packs)
