"""Where each object came from last, and what jobs are going to bring into each tier."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite gives rowids only to INTEGER


def upgrade() -> None:
    op.create_table(
        "moves",
        sa.Column("object_id", ID, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("tier_id", sa.Integer(), nullable=False),
        sa.Column("codec", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["object_id"], ["objects.id"], name=op.f("fk_moves_object_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tier_id"], ["tiers.id"], name=op.f("fk_moves_tier_id")),
        sa.PrimaryKeyConstraint("object_id", name=op.f("pk_moves")),
    )
    op.create_table(
        "promises",
        sa.Column("job_id", ID, autoincrement=False, nullable=False),
        sa.Column("tier_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_promises_job_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tier_id"], ["tiers.id"], name=op.f("fk_promises_tier_id")),
        sa.PrimaryKeyConstraint("job_id", "tier_id", name=op.f("pk_promises")),
    )
    op.execute(
        sa.text(
            "INSERT INTO promises (job_id, tier_id, bytes) SELECT i.job_id, i.tier_id, sum(i.size) FROM job_items i "
            "JOIN jobs j ON j.id = i.job_id WHERE j.state IN ('queued', 'running') AND i.state = 'pending' "
            "AND i.tier_id IS NOT NULL GROUP BY i.job_id, i.tier_id"
        )
    )
