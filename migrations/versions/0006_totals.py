"""What the catalog holds, counted as it changes; migrations/env.py fills it and makes the triggers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "object_totals",
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("tier_id", sa.Integer()),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("codec", sa.Text(), nullable=False),
        sa.Column("raw_state", sa.Text(), nullable=False),
        sa.Column("raw_class", sa.Text(), nullable=False),
        sa.Column("removed", sa.Integer(), nullable=False),
        sa.Column("empty", sa.Integer(), nullable=False),
        sa.Column("objects", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("damaged", sa.BigInteger(), nullable=False),
    )
    op.create_index(
        op.f("ix_object_totals_dataset_id_format_tier_id_raw_state"),
        "object_totals",
        ["dataset_id", "format", "tier_id", "raw_state"],
    )
    op.create_table(
        "blob_totals",
        sa.Column("tier_id", sa.Integer()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("blobs", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("damaged", sa.BigInteger(), nullable=False),
    )
