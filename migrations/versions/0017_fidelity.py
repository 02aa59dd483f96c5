"""What survives a rewrite, and attempts whose fact waits for the journal."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite gives rowids only to INTEGER
KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
STATES = "state IN ('staged', 'proposed', 'tombstone')"


def upgrade() -> None:
    for table in ("plan_items", "job_items"):
        op.add_column(table, sa.Column("fidelity", sa.Text(), nullable=False, server_default="bytes"))
    if op.get_bind().dialect.name == "sqlite":
        _attempts_anew()
    else:
        op.drop_constraint(op.f("ck_attempts_state"), "attempts")
        op.create_check_constraint(op.f("ck_attempts_state"), "attempts", STATES)


def _attempts_anew() -> None:
    """SQLite does not change a check of a table that is there."""
    op.create_table(
        "attempts_anew",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("dataset_id", sa.Integer()),
        sa.Column("tier_id", sa.Integer()),
        sa.Column("key", KEY, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("codec", sa.Text(), server_default="identity", nullable=False),
        sa.Column("storage_class", sa.Text(), server_default="", nullable=False),
        sa.Column("source_identity", sa.Text(), server_default="", nullable=False),
        sa.Column("source_checksum", sa.Text(), server_default="", nullable=False),
        sa.Column("visible_identity", sa.Text(), server_default="", nullable=False),
        sa.Column("visible_digest", sa.Text(), server_default="", nullable=False),
        sa.Column("size", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("job_id", ID),
        sa.Column("note", sa.Text()),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("sign_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('blob', 'return', 'transition')", name=op.f("ck_attempts_kind")),
        sa.CheckConstraint(STATES, name=op.f("ck_attempts_state")),
        sa.CheckConstraint("(kind = 'blob') = (tier_id IS NOT NULL)", name=op.f("ck_attempts_tier")),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_attempts_dataset_id")),
        sa.ForeignKeyConstraint(["tier_id"], ["tiers.id"], name=op.f("fk_attempts_tier_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
    )
    op.execute(sa.text("INSERT INTO attempts_anew SELECT * FROM attempts"))
    op.drop_table("attempts")
    op.rename_table("attempts_anew", "attempts")
    op.create_index(op.f("ix_attempts_job_id"), "attempts", ["job_id"])
    op.create_index(op.f("ix_attempts_tier_id_key"), "attempts", ["tier_id", "key"])
