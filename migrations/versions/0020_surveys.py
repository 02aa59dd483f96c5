"""Surveys by day, and notices with their way to receivers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "surveys",
        sa.Column("day", sa.Integer(), autoincrement=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("money", sa.Text(), nullable=False),
        sa.Column("spread", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_surveys")),
    )
    op.create_table(
        "notices",
        sa.Column("id", number),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.Column("over_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
    )
    unended = sa.text("over_us IS NULL")
    op.create_index(
        "uq_notices_open", "notices", ["kind", "about"], unique=True, sqlite_where=unended, postgresql_where=unended
    )
    op.create_index("ix_notices_over_us", "notices", ["over_us"])
    op.create_table(
        "deliveries",
        sa.Column("notice_id", number),
        sa.Column("receiver", sa.Text()),
        sa.Column("state", sa.Text(), nullable=False, server_default="waiting"),
        sa.Column("tries", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger()),
        sa.Column("error", sa.Text(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("notice_id", "receiver", name=op.f("pk_deliveries")),
        sa.ForeignKeyConstraint(
            ["notice_id"], ["notices.id"], name=op.f("fk_deliveries_notice_id"), ondelete="CASCADE"
        ),
        sa.CheckConstraint("state IN ('waiting', 'delivered', 'failed')", name=op.f("ck_deliveries_state")),
    )
    waiting = sa.text("state = 'waiting'")
    op.create_index("ix_deliveries_waiting", "deliveries", ["due_us"], sqlite_where=waiting, postgresql_where=waiting)
