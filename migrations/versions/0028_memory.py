"""What `tier: auto` remembers of reads: of a year, of the last days, and of the one day of these that counts most."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("year_reads", "year_bytes", "days_reads", "days_bytes", "day_reads", "day_bytes"):
        op.add_column("objects", sa.Column(name, sa.Double()))
