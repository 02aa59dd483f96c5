"""What people said of plans in the browser, and what doctor found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "approvals",
        sa.Column("plan_id", number, autoincrement=False),
        sa.Column("verb", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("approver", sa.Text(), nullable=False),
        sa.Column("asked_us", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False, server_default="waiting"),
        sa.Column("ended_us", sa.BigInteger()),
        sa.Column("note", sa.Text(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("plan_id", name=op.f("pk_approvals")),
        sa.CheckConstraint("verb IN ('apply', 'discard')", name=op.f("ck_approvals_verb")),
        sa.CheckConstraint("state IN ('waiting', 'done', 'refused')", name=op.f("ck_approvals_state")),
    )
    waiting = sa.text("state = 'waiting'")
    op.create_index("ix_approvals_waiting", "approvals", ["asked_us"], sqlite_where=waiting, postgresql_where=waiting)
    op.create_table(
        "examinations",
        sa.Column("at_us", sa.BigInteger(), autoincrement=False),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("at_us", name=op.f("pk_examinations")),
    )
