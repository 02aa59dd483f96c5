"""Whether the values of another file of a table may be encoded otherwise."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("plan_items", "job_items"):
        op.add_column(table, sa.Column("reencode", sa.Boolean(), nullable=False, server_default=sa.false()))
