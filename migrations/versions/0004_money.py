"""Money: what plans are expected to cost and to save, what is charged for them, and what they moved."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite gives rowids only to INTEGER


def upgrade() -> None:
    op.add_column("plan_items", sa.Column("spend", sa.BigInteger()))
    op.add_column("plan_items", sa.Column("saving", sa.BigInteger()))
    op.create_table(
        "ledger",
        sa.Column("plan_id", ID, autoincrement=False, nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("applied_us", sa.BigInteger(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("objects", sa.BigInteger(), nullable=False),
        sa.Column("expected", sa.Text()),
        sa.Column("monthly_limit", sa.BigInteger()),
        sa.Column("settled_us", sa.BigInteger()),
        sa.Column("closed_us", sa.BigInteger()),
        sa.Column("outcome", sa.Text()),
        sa.PrimaryKeyConstraint("plan_id", "policy", name=op.f("pk_ledger")),
    )
    op.create_index(op.f("ix_ledger_applied_us"), "ledger", ["applied_us"])
    op.create_table(
        "ledger_items",
        sa.Column("plan_id", ID, autoincrement=False, nullable=False),
        sa.Column("object_id", ID, autoincrement=False, nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("job_id", ID, nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("source_tier_id", sa.Integer(), nullable=False),
        sa.Column("source_class", sa.Text(), nullable=False),
        sa.Column("tier_id", sa.Integer(), nullable=False),
        sa.Column("storage_class", sa.Text()),
        sa.Column("before_bytes", sa.BigInteger(), nullable=False),
        sa.Column("spend", sa.BigInteger()),
        sa.Column("charged", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("done_us", sa.BigInteger()),
        sa.Column("blob_id", sa.Text()),
        sa.Column("after_bytes", sa.BigInteger()),
        sa.PrimaryKeyConstraint("plan_id", "object_id", name=op.f("pk_ledger_items")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_ledger_items_job_id"), "ledger_items", ["job_id"])
    op.create_table(
        "charges",
        sa.Column("id", ID, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("plan_id", ID, nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("job_id", ID),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('apply', 'try', 'refund')", name=op.f("ck_charges_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_charges")),
    )
    op.create_index(op.f("ix_charges_month_policy"), "charges", ["month", "policy"])
    op.create_index(op.f("ix_charges_plan_id"), "charges", ["plan_id"])
