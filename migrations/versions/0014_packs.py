"""Which pack an object of a plan goes into, and which one a job makes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("plan_items", sa.Column("pack", sa.Text()))
    op.add_column("jobs", sa.Column("pack", sa.Text()))
