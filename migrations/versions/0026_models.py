"""Forecast models, in versions of which one at most is in use; and a score of recent reads beside heat."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("objects", sa.Column("heat_recent", sa.Double()))
    op.create_table(
        "models",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite")),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sa.Column("cut_day", sa.Integer(), nullable=False),
        sa.Column("half_life_us", sa.BigInteger(), nullable=False),
        sa.Column("in_use", sa.Boolean(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sqlite_autoincrement=True,
    )
    used = sa.text("in_use")
    op.create_index("uq_models_in_use", "models", ["in_use"], unique=True, sqlite_where=used, postgresql_where=used)
