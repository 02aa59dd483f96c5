"""Files that hold references into other files, and what they name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    key = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "referrers",
        sa.Column("id", number),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("key", key, nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("form", sa.Text(), nullable=False, server_default=""),
        sa.Column("unread", sa.Text()),
        sa.Column("through", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("elsewhere", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("roots", sa.Text(), nullable=False, server_default=""),
        sa.Column("read_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_referrers")),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_referrers_dataset_id")),
    )
    op.create_index("ix_referrers_dataset_id_key", "referrers", ["dataset_id", "key"])
    some = sa.text("form <> ''")
    op.create_index("ix_referrers_forms", "referrers", ["id"], sqlite_where=some, postgresql_where=some)
    op.create_table(
        "referred",
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("key", key, nullable=False),
        sa.Column("referrer_id", number, nullable=False),
        sa.Column("guess", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("dataset_id", "key", "referrer_id", name=op.f("pk_referred")),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_referred_dataset_id")),
        sa.ForeignKeyConstraint(["referrer_id"], ["referrers.id"], name=op.f("fk_referred_referrer_id")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_referred_referrer_id_dataset_id_key", "referred", ["referrer_id", "dataset_id", "key"])
