"""Damage belongs to an object in a blob, no longer to the blob; what was overwritten at a released key is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("replicas", sa.Column("damaged", sa.Text()))
    op.execute(
        sa.text(
            "UPDATE replicas SET damaged = (SELECT b.damaged FROM blobs b WHERE b.id = replicas.blob_id) "
            "WHERE blob_id IN (SELECT id FROM blobs WHERE damaged IS NOT NULL)"
        )
    )
    op.create_index(
        "ix_replicas_damaged",
        "replicas",
        ["object_id"],
        sqlite_where=sa.text("damaged IS NOT NULL"),
        postgresql_where=sa.text("damaged IS NOT NULL"),
    )
    op.add_column("replicas", sa.Column("overwritten", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_index(
        "ix_replicas_overwritten",
        "replicas",
        ["object_id"],
        sqlite_where=sa.text("overwritten"),
        postgresql_where=sa.text("overwritten"),
    )
    op.drop_column("blobs", "damaged")
    op.drop_column("blob_totals", "damaged")
