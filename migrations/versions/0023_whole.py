"""Collections that are moved whole: with which of them an object of a plan goes, and which of them a job is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    key = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    for table in ("plan_items", "jobs"):
        op.add_column(table, sa.Column("whole", key))
